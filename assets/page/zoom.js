// A result looked at closely: buttons, Ctrl and the wheel, or two fingers; what is enlarged is dragged about. The picture
// before, which lies over it, moves along, and the line between the two stays in sight.
const ZOOM = { most: 16, scale: 1, x: 0, y: 0, fingers: new Map(), of: '' };
const clampTo = (value, most) => Math.max(-most, Math.min(most, value));

function zoomed(scale, clientX, clientY) {
  const box = stage.getBoundingClientRect(), next = clampTo(scale, ZOOM.most);
  const px = (clientX ?? box.left + box.width / 2) - box.left - box.width / 2, py = (clientY ?? box.top + box.height / 2) - box.top - box.height / 2;
  const ratio = Math.max(next, 1) / ZOOM.scale;
  ZOOM.x = px - ratio * (px - ZOOM.x);
  ZOOM.y = py - ratio * (py - ZOOM.y);
  ZOOM.scale = Math.max(next, 1);
  moved();
}

function moved() {
  const wide = Math.max(0, (ZOOM.scale * shown.offsetWidth - stage.clientWidth) / 2), high = Math.max(0, (ZOOM.scale * shown.offsetHeight - stage.clientHeight) / 2);
  ZOOM.x = clampTo(ZOOM.x, wide);
  ZOOM.y = clampTo(ZOOM.y, high);
  for (const [name, value] of [['--zoom', ZOOM.scale], ['--zoom-x', `${ZOOM.x}px`], ['--zoom-y', `${ZOOM.y}px`]]) stage.style.setProperty(name, value);
  stage.classList.toggle('close', ZOOM.scale > 1);
  at('.zoom-out').disabled = at('.zoom-fit').disabled = ZOOM.scale <= 1;
  at('.zoom-in').disabled = ZOOM.scale >= ZOOM.most;
  const natural = shown.naturalWidth ? (ZOOM.scale * shown.offsetWidth * devicePixelRatio) / shown.naturalWidth : 1;
  at('.zoom-says').textContent = `${Math.round(100 * natural)} %`;
  lineInSight();
}

// Where the line between before and after has left the stage, it comes to the middle of what is seen.
function lineInSight() {
  const slide = at('.compare-slide'), wide = ZOOM.scale * shown.offsetWidth;
  slide.step = Math.max(0.1, Math.round(10 / ZOOM.scale) / 10); // a key moves it by about as much at any zoom
  if (at('.compare').hidden || !wide) return;
  const [left, right] = [-stage.clientWidth / 2, stage.clientWidth / 2].map((edge) => 100 * ((edge - ZOOM.x) / wide + 0.5));
  if (slide.value >= left && slide.value <= right) return;
  slide.value = clampTo((left + right) / 2, 100);
  slid();
}

function slideTo(clientX) {
  const box = shown.getBoundingClientRect();
  at('.compare-slide').value = (100 * (clientX - box.left)) / box.width;
  slid();
}

stage.addEventListener('wheel', (event) => {
  if (shown.hidden || !(event.ctrlKey || event.metaKey || ZOOM.scale > 1)) return;
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) { zoomed(ZOOM.scale * Math.exp(-event.deltaY / 240), event.clientX, event.clientY); return; }
  ZOOM.x -= event.shiftKey ? event.deltaY : event.deltaX;
  ZOOM.y -= event.shiftKey ? 0 : event.deltaY;
  moved();
}, { passive: false });

// One finger or the mouse drags what is enlarged, or the line where it begins on it; two fingers zoom.
stage.addEventListener('pointerdown', (event) => {
  if (shown.hidden || event.button || event.target.closest('.zooms')) return;
  const line = at('.compare-line').getBoundingClientRect(), onLine = !at('.compare').hidden && Math.abs(event.clientX - line.left - line.width / 2) < 24;
  ZOOM.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, onLine });
  if (ZOOM.scale > 1) { stage.setPointerCapture(event.pointerId); if (!onLine) event.preventDefault(); }
});
stage.addEventListener('pointermove', (event) => {
  const finger = ZOOM.fingers.get(event.pointerId);
  if (!finger) return;
  const others = [...ZOOM.fingers.entries()].filter(([id]) => id !== event.pointerId).map(([, each]) => each), dx = event.clientX - finger.x, dy = event.clientY - finger.y;
  if (others.length) {
    const apart = (x, y) => Math.hypot(x - others[0].x, y - others[0].y) || 1;
    zoomed((ZOOM.scale * apart(event.clientX, event.clientY)) / apart(finger.x, finger.y), (event.clientX + others[0].x) / 2, (event.clientY + others[0].y) / 2);
  } else if (ZOOM.scale > 1 && finger.onLine) slideTo(event.clientX);
  else if (ZOOM.scale > 1) { ZOOM.x += dx; ZOOM.y += dy; moved(); }
  Object.assign(finger, { x: event.clientX, y: event.clientY });
});
for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture']) stage.addEventListener(kind, (event) => ZOOM.fingers.delete(event.pointerId));

at('.zoom-in').addEventListener('click', () => zoomed(ZOOM.scale * 1.6));
at('.zoom-out').addEventListener('click', () => zoomed(ZOOM.scale / 1.6));
at('.zoom-fit').addEventListener('click', () => zoomed(1));
shown.addEventListener('load', () => { if (ZOOM.of !== shown.src) { ZOOM.of = shown.src; zoomed(1); } });
new ResizeObserver(moved).observe(stage);
if (props.compares) { at('.compares').setAttribute('aria-pressed', 'true'); draw(); }

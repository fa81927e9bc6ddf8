// Mouse, pen, fingers and keys on the board.
const pointers = new Map(); // those that are down, by their id, in CSS pixels of the board
let pinch = null, panning = null, space = null;

const onBoard = (event) => { const box = sheet.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
const force = (event) => (event.pointerType === 'pen' && event.pressure > 0 ? 0.25 + 0.75 * event.pressure : 1);

sheet.addEventListener('pointerdown', (event) => {
  if (!state.picture) return;
  event.preventDefault();
  sheet.focus({ preventScroll: true });
  sheet.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, onBoard(event));
  state.cursor = null;
  if (pointers.size === 2) { gather(); return; }
  if (pointers.size > 2) return;
  if (space) space.used = true;
  if (event.button === 1 || space || state.tool === 'hand' || !able()) { panning = onBoard(event); return; }
  if (event.button !== 0 && !(event.buttons & 32)) return;
  state.flipped = event.altKey || Boolean(event.buttons & 32); // 32 is the far end of a pen
  tools[state.tool].press(view.toPicture(onBoard(event)), force(event));
  state.pressed = true;
  redraw();
});

// Two fingers: what one of them began is forgotten.
function gather() {
  tools[state.tool].cancel();
  state.pressed = false;
  panning = null;
  stale();
  pinch = span();
}
function span() {
  const [a, b] = [...pointers.values()];
  return { middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], wide: Math.hypot(a[0] - b[0], a[1] - b[1]) || 1 };
}

sheet.addEventListener('pointermove', (event) => {
  if (!state.picture) return;
  const here = onBoard(event);
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, here);
  if (pinch && pointers.size >= 2) {
    const next = span();
    view.pan(next.middle[0] - pinch.middle[0], next.middle[1] - pinch.middle[1]);
    view.zoom(next.wide / pinch.wide, next.middle);
    pinch = next;
  } else if (panning) {
    view.pan(here[0] - panning[0], here[1] - panning[1]);
    panning = here;
  } else {
    if (event.pointerType !== 'touch') { state.pointer = view.toPicture(here); state.cursor = null; }
    if (state.pressed) {
      const passed = event.getCoalescedEvents?.() || [];
      for (const each of passed.length ? passed : [event]) tools[state.tool].move(view.toPicture(onBoard(each)), force(each));
      stale();
    }
  }
  redraw();
});

for (const end of ['pointerup', 'pointercancel']) sheet.addEventListener(end, (event) => {
  pointers.delete(event.pointerId);
  if (pointers.size < 2) pinch = null;
  if (pointers.size) return;
  panning = null;
  if (state.pressed) {
    state.pressed = false;
    if (end === 'pointerup') tools[state.tool].release(); else tools[state.tool].cancel();
    state.flipped = false;
    dress();
  }
  redraw();
});
sheet.addEventListener('pointerleave', () => { state.pointer = null; redraw(); });
sheet.addEventListener('auxclick', (event) => event.preventDefault());
sheet.addEventListener('wheel', (event) => {
  if (!state.picture) return;
  event.preventDefault();
  view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.0016)), onBoard(event));
  redraw();
}, { passive: false });

// The keyboard path: a cursor of its own.
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PICKS = { b: 'brush', e: 'eraser', r: 'rectangle', l: 'lasso', s: 'select', h: 'hand', a: 'arrow', m: 'carry' };
const DEEDS = { f: 'fill', i: 'invert', Delete: 'clear', Backspace: 'clear', '+': 'in', '=': 'in', '-': 'out', 0: 'fit' };

function steer([dx, dy], single) {
  const { width, height } = state.picture, by = single ? 1 : Math.max(1, Math.round(Math.max(width, height) / 32));
  const from = state.cursor || [width / 2, height / 2];
  const to = [Math.max(0, Math.min(width, from[0] + dx * by)), Math.max(0, Math.min(height, from[1] + dy * by))];
  if (space && able() && !space.used) {
    space.used = true;
    tools[state.tool].press(from);
  }
  state.cursor = to;
  if (space && able()) { tools[state.tool].move(to); stale(); }
  view.reveal(to);
  if (tools[state.tool].from) tools[state.tool].move(to);
  say(`${Math.floor(to[0])}, ${Math.floor(to[1])}`);
  redraw();
}

sheet.addEventListener('keydown', (event) => {
  if (!state.picture) return;
  const command = event.ctrlKey || event.metaKey, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (command && (key === 'z' || key === 'y')) act(key === 'y' || event.shiftKey ? 'redo' : 'undo');
  else if (command || (event.altKey && !WAYS[key])) return;
  else if (WAYS[key]) steer(WAYS[key], event.shiftKey);
  else if (key === ' ') space = space || { used: false };
  else if (key === 'Enter' && tools.lasso.line) { tools.lasso.close(); dress(); }
  else if (key === 'Escape' && state.pressed !== true) { tools[state.tool].cancel(); redraw(); return; }
  else if (PICKS[key]) choose(PICKS[key]);
  else if (key === '[' || key === ']') resize(key === ']' ? Math.max(state.size + 1, state.size * 1.2) : state.size / 1.2);
  else if (DEEDS[key]) act(DEEDS[key]);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
sheet.addEventListener('keyup', (event) => {
  if (event.key !== ' ' || !space) return;
  event.preventDefault();
  const { used } = space;
  space = null;
  if (!able() || panning) return;
  if (used) tools[state.tool].release();
  else if (state.cursor) tools[state.tool].spot(state.cursor);
  else { state.cursor = [state.picture.width / 2, state.picture.height / 2]; say('The cursor is in the middle.'); }
  dress();
});
sheet.addEventListener('blur', () => { space = null; state.cursor = null; redraw(); });

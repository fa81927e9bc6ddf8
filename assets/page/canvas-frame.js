// The frame of a picture that grows: its four sides are dragged, or moved by the arrow keys while they have the focus.
const GRID = 8, MOST = 4096; // pixels that a side moves by; the most it grows by
const frame = {
  held: null,

  paper(view) {
    if (!state.sides) return;
    const [x0, y0, x1, y1] = whole(), [a, b] = [view.toBoard([x0, y0]), view.toBoard([x1, y1])];
    view.squares(a[0], a[1], b[0] - a[0], b[1] - a[1]);
  },
  draw(view) {
    if (!state.sides) return;
    view.box(whole());
    this.place();
  },
  // Put each handle at the middle of its side.
  place() {
    const there = Boolean(state.sides && state.picture);
    at('.sides').hidden = !there;
    if (!there) return;
    const [x0, y0, x1, y1] = whole(), [a, b] = [view.toBoard([x0, y0]), view.toBoard([x1, y1])];
    const within = (value, most) => Math.max(24, Math.min(most - 24, value));
    const middle = [within((a[0] + b[0]) / 2, view.width), within((a[1] + b[1]) / 2, view.height)];
    const places = [[a[0], middle[1]], [middle[0], a[1]], [b[0], middle[1]], [middle[0], b[1]]];
    every('.side').forEach((handle, i) => {
      handle.style.left = `${within(places[i][0], view.width)}px`;
      handle.style.top = `${within(places[i][1], view.height)}px`;
      handle.setAttribute('aria-valuenow', state.sides[i]);
      handle.setAttribute('aria-valuetext', `${state.sides[i]} pixels`);
    });
  },
  move(side, size) {
    const sides = [...state.sides];
    sides[side] = Math.max(0, Math.min(MOST, Math.round(size / GRID) * GRID));
    state.sides = sides;
    redraw();
  },
  tell() {
    trigger('framed', { sides: state.sides });
    if (view.fitted) fit();
  },
};

every('.side').forEach((handle, side) => {
  const along = (event) => { const box = board.getBoundingClientRect(); return view.toPicture([event.clientX - box.left, event.clientY - box.top])[side % 2]; };
  const outward = side < 2 ? -1 : 1;
  handle.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    handle.focus();
    handle.setPointerCapture(event.pointerId);
    frame.held = { from: along(event), size: state.sides[side] };
  });
  handle.addEventListener('pointermove', (event) => {
    if (frame.held) frame.move(side, frame.held.size + outward * (along(event) - frame.held.from));
  });
  for (const end of ['pointerup', 'pointercancel']) handle.addEventListener(end, () => {
    if (!frame.held) return;
    frame.held = null;
    frame.tell();
  });
  handle.addEventListener('keydown', (event) => {
    const outside = [['ArrowLeft'], ['ArrowUp'], ['ArrowRight'], ['ArrowDown']][side], inside = [['ArrowRight'], ['ArrowDown'], ['ArrowLeft'], ['ArrowUp']][side];
    const sign = outside.includes(event.key) ? 1 : inside.includes(event.key) ? -1 : 0;
    if (!sign) return;
    event.preventDefault();
    frame.move(side, state.sides[side] + sign * GRID * (event.shiftKey ? 8 : 1));
    frame.tell();
  });
});

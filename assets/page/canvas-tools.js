// The tools that draw a mask. Each is told of a press, a move and a release, at points of the picture; `cancel` forgets
// what it has begun, `sketch` shows it. By keyboard, `spot` is a press and a release at the cursor.
const tools = {};

tools.brush = tools.eraser = {
  value: () => (state.tool === 'eraser' || state.flipped ? 0 : 255),
  press(point, pressure = 1) {
    this.last = point;
    state.mask.begin();
    this.move(point, pressure);
  },
  move(point, pressure = 1) {
    if (!this.last) return;
    state.mask.segment(this.last, point, (state.size / 2) * pressure, this.value());
    this.last = point;
  },
  release() {
    if (!this.last) return;
    this.last = null;
    if (state.mask.end()) altered();
  },
  cancel() {
    if (this.last) state.mask.abort();
    this.last = null;
  },
  spot(point) { this.press(point); this.release(); },
  sketch(view, point) {
    if (!point) return;
    const [x, y] = view.toBoard(point);
    view.outline((pen) => pen.arc(x, y, Math.max((state.size / 2) * view.scale, 1.5), 0, 7));
  },
};

tools.rectangle = {
  press(point) { this.from = this.to = point; },
  move(point) { if (this.from) this.to = point; },
  release() {
    const { from, to } = this;
    this.from = null;
    if (from && state.mask.step((mask) => mask.rectangle(from, to, joined()))) altered();
  },
  cancel() { this.from = null; },
  spot(point) {
    if (this.from) { this.to = point; this.release(); return; }
    this.press(point);
    say('First corner set. Move, and press Space for the other.');
  },
  sketch(view) { if (this.from) view.box([...this.from, ...this.to]); },
};

tools.lasso = {
  press(point) { this.line = [point]; },
  move(point) { if (this.line && !this.spots) this.line.push(point); },
  release() {
    if (this.spots) return;
    const line = this.line || [];
    this.line = null;
    if (line.length > 2 && state.mask.step((mask) => mask.polygon(line, joined()))) altered();
  },
  cancel() { this.line = null; this.spots = false; },
  spot(point) {
    if (!this.line) this.press(point); else this.line.push(point);
    this.spots = true;
    say(`Corner ${this.line.length} set. Enter closes the line.`);
  },
  close() { this.spots = false; this.release(); },
  sketch(view) {
    if (this.line) view.outline((pen) => [...this.line, this.line[0]].forEach((each, i) => pen[i ? 'lineTo' : 'moveTo'](...view.toBoard(each))));
  },
};

tools.hand = { press() {}, move() {}, release() {}, cancel() {}, spot() {}, sketch() {} };

// The thing under the pointer: the server answers with its mask.
tools.select = {
  press(point) { this.point = point; },
  move() {},
  release() { if (this.point) this.spot(this.point); },
  cancel() { this.point = null; },
  spot(point) {
    this.point = null;
    const inside = point[0] >= 0 && point[1] >= 0 && point[0] < state.picture.width && point[1] < state.picture.height;
    if (!inside) return;
    const less = joined() === 0;
    wait('Looking for what is there');
    settled().then((there) => (there ? trigger('pointed', { x: Math.floor(point[0]), y: Math.floor(point[1]), less, mask: known }) : wait('')));
  },
  sketch() {},
};

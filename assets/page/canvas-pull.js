// What is pulled: arrows from where points are to where they belong, a thing that is carried, copied or pasted, or the
// look of a reference. The server says which of them a mode has in `pulls`; places are in pixels of the picture.
const GRIP = 18, TAP = 5, RESTS = 250; // CSS pixels around an end that hold it; that a tap may slip; milliseconds
const SIZES = [0.05, 8], EXAMPLE = 72; // CSS pixels of the reference's longer side
const pull = {
  kind: '', arrows: [], chosen: -1, to: null, size: 1, past: [], future: [], known: '', pending: null, timer: 0, other: null, ghost: null,

  on() { return Boolean(this.kind && state.picture); },
  text() { return this.kind === 'arrows' ? this.arrows.map((each) => each.map((end) => end.join(',')).join(' > ')).join('; ') : [this.to ? this.to.join(',') : '', this.size].join('|'); },
  // What the server should know of it when the work begins.
  said() { return this.kind === 'look' ? {} : this.kind === 'arrows' ? { arrows: this.text(), ...(this.pending === null ? {} : { things: '' }) } : this.kind ? { to: this.to ? this.to.join(',') : '', size: this.size } : {}; },
  held([x, y]) { const { width, height } = state.picture; return [Math.max(0, Math.min(width - 1, Math.floor(x))), Math.max(0, Math.min(height - 1, Math.floor(y)))]; },

  arrived(value) {
    const kind = value.pulls || '';
    if (kind !== this.kind) {
      if (this.kind && kind && state.mask?.box() && state.mask.step((mask) => mask.fill(0))) altered(); // a mask means another thing there
      Object.assign(this, { kind, chosen: -1, past: [], future: [], known: null, pending: null });
      if (kind) { tools[state.tool].cancel(); state.tool = { arrows: 'arrow', look: 'select' }[kind] || 'carry'; }
    }
    if (!kind) return;
    const of = state.picture?.name || '';
    if (of !== this.of) { clearTimeout(this.timer); Object.assign(this, { of, chosen: -1, past: [], future: [], known: null, pending: null, timer: 0 }); } // another picture has its own
    this.gesture = value.gesture;
    const other = value.other?.name && value.other.mask ? value.other : null;
    if (`${other?.name}${other?.mask}` !== `${this.other?.name}${this.other?.mask}`) this.bring(other);
    if (kind === 'look') return;
    const text = kind === 'arrows' ? value.arrows || '' : [value.to || '', value.size].join('|');
    if (this.pending !== null) { if (text !== this.pending) return; this.pending = null; this.known = text; return; }
    if (text === this.known) return;
    this.known = text;
    this.read(text);
  },
  read(text) {
    const numbers = (text.match(/-?\d+(\.\d+)?/g) || []).map(Number);
    if (this.kind === 'arrows') {
      this.arrows = [];
      for (let i = 0; i + 3 < numbers.length; i += 4) this.arrows.push([numbers.slice(i, i + 2), numbers.slice(i + 2, i + 4)]);
      this.chosen = Math.min(this.chosen, this.arrows.length - 1);
    } else [this.to, this.size] = numbers.length > 2 ? [numbers.slice(0, 2), numbers[2]] : [null, numbers[0] || 1];
    redraw();
  },
  // A change that can be undone.
  change(alter) {
    const before = this.text();
    alter();
    if (this.text() === before) return;
    this.past.push(before);
    this.future = [];
    this.tell();
  },
  swap(from, to) {
    if (!from.length) return false;
    to.push(this.text());
    this.read(from.pop());
    this.tell();
    return true;
  },
  tell() {
    this.pending = this.text();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), RESTS);
    dress();
  },
  send() {
    this.timer = 0;
    if (this.kind === 'arrows') trigger('arrowed', { arrows: this.text() });
    else trigger('placed', { to: this.to ? this.to.join(',') : '', size: this.size });
  },
  // Resolves once the server has answered to what was pulled, so that no answer comes after that to what follows.
  async told() {
    if (this.timer && this.pending !== null) { clearTimeout(this.timer); this.send(); }
    for (let waited = 0; this.pending !== null && waited < 5000; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
  },
  // Whether there is something for a button to do.
  may(deed) {
    if (deed === 'lift') return Boolean(state.picture && state.share) && !(this.other && this.kind === 'thing');
    if (deed !== 'drop') return true;
    return Boolean(state.picture) && (this.kind === 'arrows' ? this.arrows.length > 0 : Boolean(this.to) || this.size !== 1);
  },
  refused() { if (this.pending !== null) { this.pending = null; this.read(this.known || ''); } },
  act(deed) {
    if (deed === 'undo' || deed === 'redo') { say(this.swap(...(deed === 'undo' ? [this.past, this.future] : [this.future, this.past])) ? (deed === 'undo' ? 'Undone' : 'Done again') : 'Nothing changed.'); dress(); return; }
    if (deed === 'lift') { wait(this.kind === 'look' ? 'Taking it as reference' : 'Taking it along'); settled().then(() => { trigger('lifted', { mask: known }); if (this.kind === 'look' && state.mask.step((mask) => mask.fill(0))) altered(); }); return; }
    if (deed !== 'clear' && deed !== 'drop') return;
    if (this.kind === 'arrows') this.change(() => { if (this.chosen >= 0 || deed === 'drop') this.arrows.splice(this.chosen, 1); else this.arrows = []; this.chosen = -1; });
    else this.change(() => Object.assign(this, { to: null, size: 1 }));
    say(this.kind === 'arrows' ? `${this.arrows.length || 'No'} arrow${this.arrows.length === 1 ? '' : 's'} left.` : 'The thing is back where it was.');
  },
  scale(factor) { this.change(() => { this.size = Math.max(SIZES[0], Math.min(SIZES[1], Math.round(this.size * factor * 20) / 20)); }); say(`${this.size} times as large`); },
  facts() {
    if (!this.on()) return '';
    if (this.kind === 'look') return this.other ? 'select what should look like the reference' : 'select how it should look, then take it as reference';
    if (this.kind === 'arrows') return this.arrows.length ? `${this.arrows.length} arrow${this.arrows.length > 1 ? 's' : ''}` : 'draw an arrow from a thing to where it belongs';
    if (!this.part()) return 'point at a thing';
    return `${this.to ? `to ${this.to.join(', ')}` : 'pull it, or its corner'}${this.size === 1 ? '' : `, ${this.size} times as large`}`;
  },

  // The end of an arrow near a point: [which, end], targets first.
  near(point) {
    const [x, y] = view.toBoard(point), apart = (end) => { const [a, b] = view.toBoard([end[0] + 0.5, end[1] + 0.5]); return Math.hypot(a - x, b - y); };
    const ends = this.arrows.flatMap((each, i) => [[i, 1, apart(each[1])], [i, 0, apart(each[0]) + 0.1]]).filter((each) => each[2] <= GRIP);
    return ends.sort((a, b) => a[2] - b[2])[0];
  },

  // The thing as a picture of its own, from what is masked, here or in another picture.
  async bring(other) {
    this.other = other ? { ...other } : null;
    if (!other) return;
    try {
      const [image, bytes] = [await loaded(other.url), await grey(other.mask, other.width, other.height)];
      if (this.other?.mask === other.mask) Object.assign(this.other, { image, cut: cut(image, { ...other, bytes }) });
    } catch (problem) { say(problem.message); }
    redraw();
  },
  part() {
    if (this.kind !== 'thing') return null;
    if (this.other) return this.other.cut || null;
    if (this.gesture === 'paste' || !masks()) return null;
    if (this.ghost?.version !== version || this.ghost?.of !== state.picture.name) this.ghost = { version, of: state.picture.name, cut: cut(state.picture.image, state.mask) };
    return this.ghost.cut;
  },
  // Its box where it belongs: left, top, right, bottom.
  box() {
    const part = this.part();
    if (!part) return null;
    const [x0, y0, x1, y1] = part.box, middle = this.to || (this.other ? [state.picture.width / 2, state.picture.height / 2] : [(x0 + x1) / 2, (y0 + y1) / 2]);
    const [w, h] = [((x1 - x0) * this.size) / 2, ((y1 - y0) * this.size) / 2];
    return [middle[0] - w, middle[1] - h, middle[0] + w, middle[1] + h];
  },
  draw(view) {
    if (!this.on()) return;
    if (this.kind === 'arrows') { this.arrows.forEach((each, i) => arrow(view, each, i === this.chosen, i + 1)); return; }
    if (this.kind === 'look') { if (this.other?.cut) example(view, this.other.cut.sheet); return; }
    const box = this.box();
    if (!box) return;
    const [a, b] = [view.toBoard(box), view.toBoard(box.slice(2))];
    view.pen.globalAlpha = 0.88;
    view.pen.drawImage(this.part().sheet, a[0], a[1], b[0] - a[0], b[1] - a[1]);
    view.pen.globalAlpha = 1;
    view.box(box);
    dot(view, b, 8, '#26325c');
  },
};

// What is masked of an image, cut out: {sheet, box}; null where nothing is.
function cut(image, { width, height, bytes }) {
  const box = Mask.prototype.box.call({ width, height, bytes });
  if (!box) return null;
  const [x0, y0, x1, y1] = box, k = Math.min(1, 1024 / Math.max(x1 - x0, y1 - y0)), [w, h] = [Math.max(1, Math.round((x1 - x0) * k)), Math.max(1, Math.round((y1 - y0) * k))];
  const sheet = Object.assign(document.createElement('canvas'), { width: w, height: h }), pen = sheet.getContext('2d', { willReadFrequently: true });
  const [fx, fy] = [image.naturalWidth / width, image.naturalHeight / height];
  pen.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, 0, 0, w, h);
  const levels = pen.getImageData(0, 0, w, h);
  for (let y = 0, i = 3; y < h; y++) for (let x = 0; x < w; x++, i += 4) levels.data[i] = Math.min(levels.data[i], bytes[(y0 + Math.min(y1 - y0 - 1, Math.floor(y / k))) * width + x0 + Math.min(x1 - x0 - 1, Math.floor(x / k))]);
  pen.putImageData(levels, 0, 0);
  return { sheet, box };
}

// The reference, small, in the corner of the board.
function example(view, sheet) {
  const { pen } = view, k = EXAMPLE / Math.max(sheet.width, sheet.height), [w, h] = [sheet.width * k, sheet.height * k];
  Object.assign(pen, { fillStyle: '#fff', strokeStyle: '#26325c', lineWidth: 1.5 });
  pen.beginPath();
  pen.roundRect(8, 8, w + 12, h + 12, 6);
  pen.fill();
  pen.stroke();
  pen.drawImage(sheet, 14, 14, w, h);
}

function dot(view, [x, y], radius, colour, text = '') {
  const { pen } = view;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  Object.assign(pen, { fillStyle: colour, strokeStyle: '#fff', lineWidth: 2, font: '700 11px "IBM Plex Sans", sans-serif', textAlign: 'center', textBaseline: 'middle' });
  pen.fill();
  pen.stroke();
  pen.fillStyle = '#fff';
  if (text) pen.fillText(text, x, y + 0.5);
}
// An arrow with its number at the handle; one to itself is a pin that holds.
function arrow(view, [from, to], chosen, number) {
  const { pen } = view, [a, b] = [from, to].map((end) => view.toBoard([end[0] + 0.5, end[1] + 0.5])), long = Math.hypot(b[0] - a[0], b[1] - a[1]);
  if (long > 1) {
    const [ux, uy] = [(b[0] - a[0]) / long, (b[1] - a[1]) / long], head = Math.min(14, long);
    for (const [colour, width] of [['#fff', 6], [chosen ? '#c8371f' : '#26325c', 3]]) {
      pen.beginPath();
      pen.moveTo(...a);
      pen.lineTo(...b);
      pen.moveTo(b[0] - head * (ux - 0.6 * uy), b[1] - head * (uy + 0.6 * ux));
      pen.lineTo(...b);
      pen.lineTo(b[0] - head * (ux + 0.6 * uy), b[1] - head * (uy - 0.6 * ux));
      Object.assign(pen, { strokeStyle: colour, lineWidth: width, lineCap: 'round', lineJoin: 'round' });
      pen.stroke();
    }
    pen.lineCap = 'butt';
  }
  dot(view, a, 9, chosen ? '#c8371f' : '#26325c', String(number));
  if (long > 1) { pen.beginPath(); pen.arc(...b, 5, 0, 7); Object.assign(pen, { fillStyle: '#fff', strokeStyle: chosen ? '#c8371f' : '#26325c', lineWidth: 2.5 }); pen.fill(); pen.stroke(); }
}

tools.arrow = {
  pulls: true,
  press(point) {
    const end = this.begun ? null : pull.near(point);
    this.from = this.to = point;
    this.end = end;
    this.was = pull.text();
    if (end) pull.chosen = end[0];
  },
  move(point) {
    if (!this.from) return;
    this.to = point;
    if (this.end && this.far()) pull.arrows[this.end[0]][this.end[1]] = pull.held(point);
    redraw();
  },
  far() { return Math.hypot(this.to[0] - this.from[0], this.to[1] - this.from[1]) * view.scale > TAP; },
  release() {
    if (!this.from) return;
    const { from, to, end, begun } = this, far = this.far();
    this.from = this.end = null;
    if (end) { const now = pull.text(); if (now !== this.was) { pull.read(this.was); pull.change(() => pull.read(now)); } else dress(); return; }
    if (!far && !begun) { this.begun = to; say('The arrow begins here. Point at where it should go; at the same place, it holds.'); dress(); return; }
    this.begun = null;
    pull.change(() => { pull.arrows.push([pull.held(begun || from), pull.held(to)]); pull.chosen = pull.arrows.length - 1; });
    say(`Arrow ${pull.arrows.length} set.`);
  },
  cancel() {
    if (this.end && this.was !== undefined) pull.read(this.was);
    this.from = this.end = this.begun = null;
  },
  spot(point) { this.press(point); this.release(); },
  sketch(view, point) {
    const from = this.begun || (this.end ? null : this.from), to = this.from ? this.to : point;
    if (from) arrow(view, [pull.held(from), pull.held(to || from)], true, pull.arrows.length + 1);
  },
};

tools.carry = {
  pulls: true,
  press(point) {
    const box = pull.box(), [x, y] = view.toBoard(point), corner = box && view.toBoard(box.slice(2));
    Object.assign(this, { from: point, was: pull.text(), deed: 'select' });
    if (!box) return;
    this.middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    if (Math.hypot(corner[0] - x, corner[1] - y) <= GRIP) Object.assign(this, { deed: 'scale', size: pull.size });
    else if (point[0] >= box[0] && point[0] <= box[2] && point[1] >= box[1] && point[1] <= box[3]) this.deed = 'move';
  },
  move(point) {
    if (!this.from) return;
    const { deed, middle, from } = this;
    if (deed === 'move' && Math.hypot(point[0] - from[0], point[1] - from[1]) * view.scale > TAP) pull.to = pull.held([middle[0] + point[0] - from[0], middle[1] + point[1] - from[1]]);
    if (deed === 'scale') {
      const share = Math.hypot(point[0] - middle[0], point[1] - middle[1]) / Math.max(1, Math.hypot(from[0] - middle[0], from[1] - middle[1]));
      pull.size = Math.max(SIZES[0], Math.min(SIZES[1], Math.round(this.size * share * 20) / 20));
    }
    redraw();
  },
  release() {
    if (!this.from) return;
    const { from, deed, was } = this, now = pull.text();
    this.from = null;
    if (deed === 'select') { if (!pull.other && pull.gesture !== 'paste') pick(from); return; }
    if (now !== was) { pull.read(was); pull.change(() => pull.read(now)); }
  },
  cancel() { if (this.from) { this.from = null; pull.read(this.was); } },
  spot(point) { this.press(point); this.release(); },
  sketch() {},
};
// The thing at a point, alone.
function pick(point) {
  if (point[0] < 0 || point[1] < 0 || point[0] >= state.picture.width || point[1] >= state.picture.height) return;
  wait('Looking for what is there');
  settled().then((there) => (there ? trigger('pointed', { x: Math.floor(point[0]), y: Math.floor(point[1]), less: false, mask: '' }) : wait('')));
}

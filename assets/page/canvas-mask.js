// A mask: one byte for each pixel of the picture, 255 where it may change. Exact, whatever the screen: it knows no
// canvas and no zoom. Points are in pixels of the picture, with (0, 0) the outer corner of the first pixel.
const TILE = 256, HISTORY = 256 * 2 ** 20; // pixels of a tile's side; bytes that undo may hold

class Mask {
  constructor(width, height) {
    Object.assign(this, { width, height, bytes: new Uint8Array(width * height), past: [], future: [], open: null });
  }

  // One step of undo: whatever `change` does, together.
  step(change) {
    this.begin();
    change(this);
    return this.end();
  }
  begin() { this.open = new Map(); }
  end() {
    const tiles = this.open;
    this.open = null;
    if (!tiles || ![...tiles].some(([key, held]) => !same(held, this.tile(key)))) return false;
    this.past.push(tiles);
    this.future = [];
    let held = 0;
    for (let i = this.past.length; i--;) {
      for (const each of this.past[i].values()) held += each.length || 8;
      if (held > HISTORY && i < this.past.length - 1) { this.past.splice(0, i + 1); break; }
    }
    return true;
  }
  // Forget the step that is open, and what it did.
  abort() {
    for (const [key, held] of this.open || []) this.put(key, held);
    this.open = null;
  }
  undo() { return this.swap(this.past, this.future); }
  redo() { return this.swap(this.future, this.past); }
  swap(from, to) {
    const tiles = from.pop();
    if (!tiles) return false;
    to.push(new Map([...tiles.keys()].map((key) => [key, this.tile(key)])));
    for (const [key, held] of tiles) this.put(key, held);
    return true;
  }

  // A tile as it is: its bytes, or one number where all are the same.
  tile(key) {
    const [x0, y0, x1, y1] = this.place(key), held = new Uint8Array((x1 - x0) * (y1 - y0));
    for (let y = y0; y < y1; y++) held.set(this.bytes.subarray(y * this.width + x0, y * this.width + x1), (y - y0) * (x1 - x0));
    return held.every((each) => each === held[0]) ? held[0] : held;
  }
  put(key, held) {
    const [x0, y0, x1, y1] = this.place(key);
    for (let y = y0; y < y1; y++) {
      const row = y * this.width;
      if (typeof held === 'number') this.bytes.fill(held, row + x0, row + x1);
      else this.bytes.set(held.subarray((y - y0) * (x1 - x0), (y - y0 + 1) * (x1 - x0)), row + x0);
    }
  }
  place(key) {
    const across = Math.ceil(this.width / TILE), x = (key % across) * TILE, y = Math.floor(key / across) * TILE;
    return [x, y, Math.min(x + TILE, this.width), Math.min(y + TILE, this.height)];
  }
  // Keep what a box of pixels holds before it changes; the box, cut to the picture, or null where it is outside.
  touch(x0, y0, x1, y1) {
    [x0, y0, x1, y1] = [Math.max(0, x0), Math.max(0, y0), Math.min(this.width, x1), Math.min(this.height, y1)];
    if (x0 >= x1 || y0 >= y1) return null;
    const across = Math.ceil(this.width / TILE);
    for (let ty = Math.floor(y0 / TILE); ty * TILE < y1; ty++)
      for (let tx = Math.floor(x0 / TILE); tx * TILE < x1; tx++) {
        const key = ty * across + tx;
        if (!this.open.has(key)) this.open.set(key, this.tile(key));
      }
    return [x0, y0, x1, y1];
  }

  // All pixels whose centre is within `radius` of the segment from a to b; at the least the pixel under b.
  segment(a, b, radius, value) {
    const box = this.touch(
      Math.floor(Math.min(a[0], b[0]) - radius), Math.floor(Math.min(a[1], b[1]) - radius),
      Math.ceil(Math.max(a[0], b[0]) + radius) + 1, Math.ceil(Math.max(a[1], b[1]) + radius) + 1,
    );
    if (!box) return;
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]], long = dx * dx + dy * dy || 1, reach = radius * radius;
    for (let y = box[1]; y < box[3]; y++) {
      const py = y + 0.5 - a[1];
      for (let x = box[0], at = y * this.width + x; x < box[2]; x++, at++) {
        const px = x + 0.5 - a[0], t = Math.max(0, Math.min(1, (px * dx + py * dy) / long));
        const [ex, ey] = [px - t * dx, py - t * dy];
        if (ex * ex + ey * ey <= reach) this.bytes[at] = value;
      }
    }
    const [x, y] = [Math.floor(b[0]), Math.floor(b[1])];
    if (x >= 0 && y >= 0 && x < this.width && y < this.height) this.bytes[y * this.width + x] = value;
  }
  // The pixels between two corners, each rounded to the nearest edge between pixels.
  rectangle(a, b, value) {
    const [x0, x1] = [a[0], b[0]].map(Math.round).sort((p, q) => p - q);
    const [y0, y1] = [a[1], b[1]].map(Math.round).sort((p, q) => p - q);
    const box = this.touch(x0, y0, x1, y1);
    if (box) for (let y = box[1]; y < box[3]; y++) this.bytes.fill(value, y * this.width + box[0], y * this.width + box[2]);
  }
  // All pixels whose centre is inside a closed line, by the even-odd rule.
  polygon(points, value) {
    const xs = points.map((each) => each[0]), ys = points.map((each) => each[1]);
    const box = this.touch(Math.floor(Math.min(...xs)), Math.floor(Math.min(...ys)), Math.ceil(Math.max(...xs)), Math.ceil(Math.max(...ys)));
    if (!box) return;
    for (let y = box[1]; y < box[3]; y++) {
      const cuts = [], level = y + 0.5;
      points.forEach((a, i) => {
        const b = points[(i + 1) % points.length];
        if (a[1] <= level !== b[1] <= level) cuts.push(a[0] + ((level - a[1]) / (b[1] - a[1])) * (b[0] - a[0]));
      });
      cuts.sort((p, q) => p - q);
      for (let i = 0; i + 1 < cuts.length; i += 2) {
        const [from, to] = [Math.max(Math.ceil(cuts[i] - 0.5), 0), Math.min(Math.ceil(cuts[i + 1] - 0.5), this.width)];
        if (from < to) this.bytes.fill(value, y * this.width + from, y * this.width + to);
      }
    }
  }
  fill(value) { this.touch(0, 0, this.width, this.height); this.bytes.fill(value); }
  invert() { this.touch(0, 0, this.width, this.height); for (let i = 0; i < this.bytes.length; i++) this.bytes[i] = 255 - this.bytes[i]; }
  replace(bytes) { this.touch(0, 0, this.width, this.height); this.bytes.set(bytes); }
  // Join another mask, or with `less` cut it out.
  merge(bytes, less) {
    this.touch(0, 0, this.width, this.height);
    for (let i = 0; i < bytes.length; i++) this.bytes[i] = less ? Math.min(this.bytes[i], 255 - bytes[i]) : Math.max(this.bytes[i], bytes[i]);
  }

  // Grown by `radius` pixels to all sides, or shrunk by a negative one; rounded as an octagon is.
  grow(radius) {
    const less = radius < 0, by = Math.abs(radius), slant = by > 3 ? Math.floor(0.293 * by) : 0;
    this.around(by, (part) => {
      if (less) part.flip();
      part.widen('across', by - 2 * slant);
      part.widen('down', by - 2 * slant);
      if (slant) { part.widen('falling', slant); part.widen('rising', slant); }
      if (less) part.flip();
    });
  }
  // Softened over `radius` pixels: three box blurs, which is nearly a Gaussian.
  feather(radius) {
    const by = Math.max(1, Math.round(radius / 2));
    this.around(3 * by, (part) => { for (let i = 0; i < 3; i++) { part.soften('across', by); part.soften('down', by); } });
  }
  around(margin, change) {
    const box = this.box();
    if (!box) return;
    const cut = this.touch(box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin);
    const part = new Part(this, cut);
    change(part);
    part.back();
  }

  // The box of all that is not 0, or null.
  box() {
    const { width, height, bytes } = this;
    let [x0, y0, x1, y1] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) {
      const row = bytes.subarray(y * width, (y + 1) * width);
      let first = 0, last = width - 1;
      while (first < width && !row[first]) first++;
      if (first === width) continue;
      while (!row[last]) last--;
      [x0, x1, y0, y1] = [Math.min(x0, first), Math.max(x1, last + 1), Math.min(y0, y), y + 1];
    }
    return y1 ? [x0, y0, x1, y1] : null;
  }
  share() {
    let sum = 0;
    for (let i = 0; i < this.bytes.length; i++) sum += this.bytes[i];
    return sum / 255 / this.bytes.length;
  }
}

function same(a, b) {
  if (typeof a === 'number' || typeof b === 'number') return a === b;
  return a.every((each, i) => each === b[i]);
}

// A box of a mask on its own, for what looks at a pixel's neighbours along lines. Beyond the picture nothing changes it.
class Part {
  constructor(mask, [x0, y0, x1, y1]) {
    Object.assign(this, { mask, x0, y0, width: x1 - x0, height: y1 - y0 });
    this.bytes = new Uint8Array(this.width * this.height);
    for (let y = 0; y < this.height; y++) this.bytes.set(mask.bytes.subarray((y0 + y) * mask.width + x0, (y0 + y) * mask.width + x1), y * this.width);
  }
  back() { for (let y = 0; y < this.height; y++) this.mask.bytes.set(this.bytes.subarray(y * this.width, (y + 1) * this.width), (this.y0 + y) * this.mask.width + this.x0); }
  flip() { for (let i = 0; i < this.bytes.length; i++) this.bytes[i] = 255 - this.bytes[i]; }

  // Every line of one direction: where it starts, how far its pixels lie apart, how many there are.
  *lines(direction) {
    const { width, height } = this;
    if (direction === 'across') for (let y = 0; y < height; y++) yield [y * width, 1, width];
    if (direction === 'down') for (let x = 0; x < width; x++) yield [x, width, height];
    if (direction === 'falling') {
      for (let x = 0; x < width; x++) yield [x, width + 1, Math.min(height, width - x)];
      for (let y = 1; y < height; y++) yield [y * width, width + 1, Math.min(width, height - y)];
    }
    if (direction === 'rising') {
      for (let x = 0; x < width; x++) yield [x, width - 1, Math.min(height, x + 1)];
      for (let y = 1; y < height; y++) yield [y * width + width - 1, width - 1, Math.min(width, height - y)];
    }
  }
  // The largest value within `radius` along every line. A queue of falling values: each enters and leaves it once.
  widen(direction, radius) {
    if (!radius) return;
    const line = new Uint8Array(Math.max(this.width, this.height)), queue = new Int32Array(line.length);
    for (const [start, stride, count] of this.lines(direction)) {
      for (let i = 0; i < count; i++) line[i] = this.bytes[start + i * stride];
      let head = 0, tail = 0;
      for (let i = 0; i < count + radius; i++) {
        if (i < count) {
          while (tail > head && line[queue[tail - 1]] <= line[i]) tail--;
          queue[tail++] = i;
        }
        if (i < radius) continue;
        while (queue[head] < i - 2 * radius) head++;
        this.bytes[start + (i - radius) * stride] = line[queue[head]];
      }
    }
  }
  soften(direction, radius) {
    const line = new Uint8Array(Math.max(this.width, this.height));
    for (const [start, stride, count] of this.lines(direction)) {
      for (let i = 0; i < count; i++) line[i] = this.bytes[start + i * stride];
      const held = (i) => line[Math.max(0, Math.min(count - 1, i))];
      let sum = 0;
      for (let i = -radius; i <= radius; i++) sum += held(i);
      for (let i = 0; i < count; i++) {
        this.bytes[start + i * stride] = Math.round(sum / (2 * radius + 1));
        sum += held(i + radius + 1) - held(i - radius);
      }
    }
  }
}

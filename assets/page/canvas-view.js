// Where the picture lies on the board, and how it is drawn with its mask. Screen points are in CSS pixels of the board.
const CLOSEST = 40, EDGE = 14; // CSS pixels a pixel of the picture may take; free pixels around a picture that fits
const STRIPE = 7, FINEST = 1_400_000; // pixels of a stripe; pixels of the overlay at the most, above it gets coarser
const tint = (r, g, b, alpha) => Uint32Array.from({ length: 256 }, (_, m) => ((((m * alpha) & 255) << 24) | (b << 16) | (g << 8) | r) >>> 0);
const RED = tint(224, 46, 30, 0.56), DEEP = tint(28, 22, 78, 0.42), WHITE = 0xffffffff, BLACK = 0xff000000;

class View {
  constructor(sheet) {
    Object.assign(this, { sheet, pen: sheet.getContext('2d'), width: 0, height: 0, ratio: 1, scale: 1, left: 0, top: 0, fitted: true });
    this.film = document.createElement('canvas'); // the overlay, drawn anew only when mask or view have changed
    this.stamp = '';
  }
  // Take the size of the board; true where it has one.
  measure() {
    const ratio = window.devicePixelRatio || 1, { clientWidth, clientHeight } = this.sheet.parentElement;
    if (clientWidth !== this.width || clientHeight !== this.height || ratio !== this.ratio) {
      Object.assign(this, { width: clientWidth, height: clientHeight, ratio });
      this.sheet.width = Math.round(clientWidth * ratio);
      this.sheet.height = Math.round(clientHeight * ratio);
    }
    return clientWidth > 0 && clientHeight > 0;
  }
  // Show all of a box of the picture, in its middle.
  fit([x0, y0, x1, y1], edge = EDGE) {
    this.scale = Math.min((this.width - 2 * edge) / (x1 - x0), (this.height - 2 * edge) / (y1 - y0), CLOSEST);
    this.scale = Math.max(this.scale, 1e-3);
    this.left = (this.width - (x0 + x1) * this.scale) / 2;
    this.top = (this.height - (y0 + y1) * this.scale) / 2;
    this.least = this.scale / 2;
    this.fitted = true;
  }
  toPicture([x, y]) { return [(x - this.left) / this.scale, (y - this.top) / this.scale]; }
  toBoard([x, y]) { return [x * this.scale + this.left, y * this.scale + this.top]; }
  zoom(factor, [x, y] = [this.width / 2, this.height / 2]) {
    const scale = Math.max(Math.min(this.scale * factor, CLOSEST), Math.min(this.least || 0, this.scale));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
  }
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
  }
  // Move the picture so that a point of it is on the board.
  reveal(point) {
    const [x, y] = this.toBoard(point), by = (at, most) => Math.max(24 - at, 0) + Math.min(most - 24 - at, 0);
    if (by(x, this.width) || by(y, this.height)) this.pan(by(x, this.width), by(y, this.height));
  }

  begin() {
    this.pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.pen.clearRect(0, 0, this.width, this.height);
  }
  picture(picture) {
    const { pen, scale } = this, [x, y] = [this.left, this.top], [w, h] = [picture.width * scale, picture.height * scale];
    if (picture.clear) this.squares(x, y, w, h);
    pen.imageSmoothingEnabled = (scale * this.ratio * picture.width) / picture.image.naturalWidth < 3;
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(picture.image, x, y, w, h);
  }
  // Paper of two greys under what is clear, or still to be painted.
  squares(x, y, w, h, dark = '#b9b3a7', light = '#d9d4c9') {
    if (!this.pattern || this.patterned !== dark) {
      const tile = Object.assign(document.createElement('canvas'), { width: 16, height: 16 }), ink = tile.getContext('2d');
      ink.fillStyle = light;
      ink.fillRect(0, 0, 16, 16);
      ink.fillStyle = dark;
      ink.fillRect(0, 0, 8, 8);
      ink.fillRect(8, 8, 8, 8);
      this.pattern = this.pen.createPattern(tile, 'repeat');
      this.patterned = dark;
    }
    this.pen.fillStyle = this.pattern;
    this.pen.fillRect(x, y, w, h);
  }
  // The mask: stripes of two colours, and a white and a black line along its edge, so that it shows on every picture.
  mask(mask, version) {
    const x0 = Math.max(0, Math.floor(this.left)), y0 = Math.max(0, Math.floor(this.top));
    const x1 = Math.min(this.width, Math.ceil(this.left + mask.width * this.scale)), y1 = Math.min(this.height, Math.ceil(this.top + mask.height * this.scale));
    if (x0 >= x1 || y0 >= y1) return;
    const stamp = [version, this.left, this.top, this.scale, this.width, this.height, this.ratio].join();
    if (stamp !== this.stamp) {
      this.expose(mask, x0, y0, x1 - x0, y1 - y0);
      this.stamp = stamp;
    }
    this.pen.imageSmoothingEnabled = false;
    this.pen.drawImage(this.film, x0, y0, x1 - x0, y1 - y0);
  }
  expose(mask, x0, y0, w, h) {
    const fine = Math.min(this.ratio, Math.sqrt(FINEST / (w * h))), across = Math.max(1, Math.round(w * fine)), down = Math.max(1, Math.round(h * fine));
    Object.assign(this.film, { width: across, height: down });
    const ink = this.film.getContext('2d'), sheet = ink.createImageData(across, down), out = new Uint32Array(sheet.data.buffer);
    const source = (i, count, long, start, offset, most) => { const at = Math.floor((start + ((i + 0.5) * long) / count - offset) / this.scale); return at < 0 || at >= most ? -1 : at; };
    const columns = Int32Array.from({ length: across }, (_, i) => source(i, across, w, x0, this.left, mask.width));
    const above = new Uint8Array(across), stripe = Math.max(2, Math.round(STRIPE * fine));
    for (let j = 0, at = 0; j < down; j++) {
      const row = source(j, down, h, y0, this.top, mask.height) * mask.width;
      let before = 0;
      for (let i = 0; i < across; i++, at++) {
        const value = row < 0 || columns[i] < 0 ? 0 : mask.bytes[row + columns[i]], inside = value > 127 ? 1 : 0;
        const edge = (i && before !== inside) || (j && above[i] !== inside);
        if (edge) out[at] = inside ? WHITE : BLACK;
        else if (value) out[at] = (((i + j) / stripe) | 0) & 1 ? RED[value] : DEEP[value];
        before = above[i] = inside;
      }
    }
    ink.putImageData(sheet, 0, 0);
  }
  // A line that shows on every ground: white with black dashes.
  outline(path, width = 1.5) {
    const { pen } = this;
    for (const [colour, dashes] of [['#fff', []], ['#000', [5, 5]]]) {
      pen.beginPath();
      path(pen);
      pen.setLineDash(dashes);
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke();
    }
    pen.setLineDash([]);
  }
  box([x0, y0, x1, y1]) {
    const [a, b] = [this.toBoard([x0, y0]), this.toBoard([x1, y1])];
    this.outline((pen) => pen.rect(a[0], a[1], b[0] - a[0], b[1] - a[1]));
  }
}

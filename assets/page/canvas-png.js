// A mask as a PNG file of 8-bit grey, written here byte for byte: a canvas would go through colours and transparency.
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set([...kind].map((each) => each.charCodeAt(0)), 4);
  bytes.set(content, 8);
  let sum = 0xffffffff;
  for (let i = 4; i < content.length + 8; i++) sum = CRC[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
  view.setUint32(content.length + 8, (sum ^ 0xffffffff) >>> 0);
  return bytes;
}

async function png({ width, height, bytes }) {
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter: 0, none
  for (let y = 0; y < height; y++) rows.set(bytes.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8; // bits; colour type 0 is grey
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return new File([signature, chunk('IHDR', head), chunk('IDAT', body), chunk('IEND', new Uint8Array(0))], 'mask.png', { type: 'image/png' });
}

// The bytes of a grey picture at an address, a band of rows at a time.
async function grey(url, width, height) {
  const picture = await loaded(url), bytes = new Uint8Array(width * height), band = Math.max(1, Math.floor(2 ** 22 / width));
  const sheet = Object.assign(document.createElement('canvas'), { width, height: Math.min(band, height) });
  const pen = sheet.getContext('2d', { willReadFrequently: true });
  for (let y = 0; y < height; y += band) {
    const rows = Math.min(band, height - y);
    pen.drawImage(picture, 0, y, width, rows, 0, 0, width, rows);
    const read = pen.getImageData(0, 0, width, rows).data;
    for (let i = 0; i < width * rows; i++) bytes[y * width + i] = read[4 * i];
  }
  return bytes;
}

function loaded(url) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error('The picture could not be shown.'));
    picture.src = url;
  });
}

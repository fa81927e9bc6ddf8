// The pictures to work on. `props.value` is what the server knows of them, as studio/pile.py puts it; this page shows
// them, and says which came and which went.
const root = element.querySelector('.pile'), easel = () => root.closest('.easel') || root;
const at = (name) => root.querySelector(name), every = (name) => [...root.querySelectorAll(name)];
const LARGEST = 64 * 2 ** 20, KINDS = /\.(png|jpe?g|webp|gif|bmp|tiff?)$/i; // bytes of an upload; what a folder is searched for
const now = () => props.value || {};
const held = () => (now().pictures || []).map((each) => each.name);
const wait = (text) => { at('.veil-text').textContent = text; at('.veil').hidden = !text; };
const made = (tag, name, text = '') => Object.assign(document.createElement(tag), { className: name, textContent: text });
const sized = ([width, height]) => `${width} × ${height}`;
let told = '';

function show(face) {
  easel().dataset.face = root.dataset.face = face;
  for (const each of every('.face')) each.setAttribute('aria-pressed', String(each.dataset.show === face));
}

function card(each, k) {
  const item = made('li', 'pile-card'), title = each.title || `Picture ${k + 1}`;
  item.dataset.name = each.name;
  const picture = Object.assign(made('img', 'pile-picture'), { src: each.url, alt: title, loading: 'lazy' });
  const words = made('div', 'pile-words'), gone = made('button', 'pile-gone');
  const size = made('p', 'pile-size', sized([each.width, each.height]) + (each.becomes ? ` → ${sized(each.becomes)}` : ''));
  words.append(made('p', 'pile-title', title), size);
  if (each.refused) words.append(made('p', 'pile-refused', each.refused));
  gone.type = 'button';
  gone.setAttribute('aria-label', `Take ${title} out`);
  gone.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="m6 6 12 12M18 6 6 18"/></svg>';
  gone.addEventListener('click', () => trigger('removed', { name: each.name, held: held() }));
  item.append(picture, words, gone);
  return item;
}

function draw() {
  const pictures = now().pictures || [], count = pictures.length;
  root.dataset.count = count;
  root.classList.toggle('one', count === 1);
  at('.pile-list').replaceChildren(...pictures.map(card));
  at('.begin').hidden = count > 0;
  at('.pile-clear').hidden = count < 2;
  at('.pile-count').textContent = count > 1 ? `${count} pictures` : '';
}

function note(text) {
  told = text || told;
  at('.pile-note').textContent = told;
  at('.pile-note').hidden = !told;
}

// Files go up one by one; one that will not is named with the others, by the server.
async function bring(files) {
  if (!files.length) return;
  show('picture');
  told = '';
  const came = [], room = MOST - held().length;
  for (const file of files.slice(0, Math.max(room, 0) + 1)) {
    wait(files.length > 1 ? `Reading ${came.length + 1} of ${files.length}` : 'Reading the picture');
    const path = file.size > LARGEST ? '' : await upload(file).then((each) => each.path, () => '');
    came.push({ path, name: file.name, size: file.size });
  }
  trigger('brought', { files: came, held: held() });
}

// What was dropped, with all that lies in folders among it.
async function inside(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
      if (file) found.push(file);
      continue;
    }
    const reader = entry.createReader(), children = [];
    for (let some = [null]; some.length;) {
      some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
      children.push(...some);
    }
    found.push(...(await inside(children)).filter((file) => KINDS.test(file.name)));
  }
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

const picked = (files) => [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
at('.pile-files').addEventListener('change', (event) => { bring(picked(event.target.files)); event.target.value = ''; });
at('.pile-folder').addEventListener('change', (event) => { bring(picked(event.target.files).filter((file) => KINDS.test(file.name))); event.target.value = ''; });
at('.pile-clear').addEventListener('click', () => trigger('removed', { held: held() }));
every('.face').forEach((each) => each.addEventListener('click', () => show(each.dataset.show)));
at('.samples').replaceChildren(...SAMPLES.map((each) => {
  const button = Object.assign(made('button', 'sample'), { type: 'button', title: each.title });
  button.setAttribute('aria-label', `Begin with ${each.title}`);
  button.style.backgroundImage = `url("${each.thumb}")`;
  button.addEventListener('click', () => { wait('Reading the picture'); trigger('brought', { files: [{ sample: each.name }], held: held() }); });
  return button;
}));

window.addEventListener('dragenter', () => document.body.classList.toggle('to-pile', Boolean(root.offsetParent)), true);
window.addEventListener('drop', async (event) => { // before the page itself, which knows of no folders
  if (!root.offsetParent || !event.dataTransfer?.types.includes('Files')) return;
  const files = [...event.dataTransfer.files], entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
  bring(entries.some((each) => each.isDirectory) ? await inside(entries) : files);
}, true);
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files || [])].filter((each) => each.type.startsWith('image/'));
  if (!files.length || !root.offsetParent) return;
  event.preventDefault();
  bring(files);
});
window.addEventListener('palimpsest:generate', () => { if (root.offsetParent) { told = ''; note(); trigger('generate', { held: held() }); } });
window.addEventListener('palimpsest:face', (event) => { if (easel().contains(event.detail.from)) show(event.detail.face); });

watch('value', () => {
  wait('');
  draw();
  note(now().note);
  at('.said').textContent = held().length ? `${held().length} pictures` : '';
});
watch('answer', () => { wait(''); note(props.note); });
show('picture');
draw();

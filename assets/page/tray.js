const at = (name) => element.querySelector(name);
const made = (tag, name, text) => {
  const each = document.createElement(tag);
  if (name) each.className = name;
  if (text) each.textContent = text;
  return each;
};
const held = () => (props.value || {}).pictures || [];
let coming = '';
let wrong = '';

const picture = (each) => {
  const item = made('li', 'tray-picture');
  item.dataset.doubts = String(each.doubts.length > 0);
  item.title = [each.label, ...each.doubts].join('\n');
  const shot = made('img');
  shot.src = each.thumb;
  shot.alt = [each.label, ...each.doubts].join('. ');
  const button = made('button', 'tray-remove', '×');
  button.type = 'button';
  button.setAttribute('aria-label', `Remove ${each.label}`);
  button.addEventListener('click', () => trigger('removed', { name: each.name }));
  item.append(shot, button);
  if (each.doubts.length) item.append(made('span', 'tray-doubt', each.doubts[0].split(':')[0].replace(/\.$/, '')));
  return item;
};
const clear = () => {
  const item = made('li', 'tray-all');
  const button = made('button', 'act', 'Remove all');
  button.type = 'button';
  button.addEventListener('click', () => trigger('removed', { name: '' }));
  item.append(button);
  return item;
};
const words = () => {
  const now = props.value || {};
  const lines = [...(now.left_out || []).map((text) => ['left', text]), ...(now.together || []).map((text) => ['doubt', text])];
  if (wrong) lines.unshift(['left', wrong]);
  if (coming) lines.unshift(['news', coming]);
  at('.tray-words').replaceChildren(...lines.map(([kind, text]) => { const line = made('li', '', text); line.dataset.kind = kind; return line; }));
};
const show = () => {
  const list = held();
  at('.tray').dataset.state = list.length ? 'some' : 'empty';
  at('.tray-count').textContent = list.length ? `${list.length} of ${props.most}` : '';
  at('.tray-pictures').replaceChildren(...list.map(picture), ...(list.length > 1 ? [clear()] : []));
  words();
};
const bring = async (files) => {
  const room = Math.max(0, props.most - held().length), sent = [];
  wrong = '';
  for (const file of files.slice(0, room)) {
    coming = `Reading ${file.name}, ${sent.length + 1} of ${Math.min(files.length, room)}`;
    words();
    try {
      const got = file.size > 64 * 2 ** 20 ? { path: '' } : await upload(file);
      sent.push({ path: got.path, name: file.name, size: file.size });
    } catch (problem) {
      sent.push({ path: '', name: file.name, size: file.size });
    }
  }
  coming = '';
  trigger('brought', { files: sent, beyond: Math.max(0, files.length - room) });
};
at('.file').addEventListener('change', (event) => {
  const files = [...event.target.files];
  event.target.value = '';
  if (files.length) bring(files);
});
window.addEventListener('palimpsest:files', (event) => { if (at('.tray')?.offsetParent) bring(event.detail); });
watch('value', show);
show();
trigger('look', {});

const at = (name) => element.querySelector(name);
const made = (tag, name, text) => {
  const each = document.createElement(tag);
  if (name) each.className = name;
  if (text) each.textContent = text;
  return each;
};
const SHELVES = [
  ['Here', (row) => row.state === 'ready'],
  ['Here, but left out', (row) => row.state === 'refused'],
  ['To be had', (row) => row.state === 'known'],
  ['Cannot be had', (row) => row.state === 'unavailable'],
];
const KINDS = { checkpoint: 'Model', adapter: 'Adapter', embedding: 'Word', autoencoder: 'Autoencoder' };
const folded = { 'Cannot be had': true };
const ask = at('dialog');
let asking = null;
let drawn = '';

const wish = (what, name = '') => trigger('wish', { wish: what, name });
const question = (title, text, yes, then, no = () => {}) => {
  at('.stock-ask h2').textContent = title;
  at('.stock-ask p').textContent = text;
  at('.stock-ask .yes').textContent = yes;
  asking = { then, no };
  if (!ask.open) ask.showModal();
};
const answered = (yes) => {
  const { then, no } = asking || {};
  asking = null;
  ask.close();
  if (yes) then?.(); else no?.();
};
at('.stock-ask .yes').addEventListener('click', () => answered(true));
at('.stock-ask .no').addEventListener('click', () => answered(false));
ask.addEventListener('cancel', (event) => { event.preventDefault(); answered(false); });

const deed = (what, text, row, act, pressed) => {
  const button = made('button', 'act', text);
  button.type = 'button';
  button.dataset.deed = what;
  button.dataset.row = row.name;
  button.setAttribute('aria-label', `${text} ${row.title}`);
  if (pressed !== undefined) button.setAttribute('aria-pressed', String(pressed));
  button.addEventListener('click', act);
  return button;
};
const deeds = (row, now) => {
  const box = made('div', 'stock-row-deeds');
  if (!now.may) return box;
  if (row.parts.length) box.append(deed('keep', row.kept ? 'Kept' : 'Keep', row, () => wish('keep', row.name), row.kept));
  if (row.loaded && !row.lent) box.append(deed('free', 'Free', row, () => wish('free', row.name)));
  if (row.own) {
    box.append(deed('remove', 'Remove', row, () => question(`Remove ${row.title}?`,
      `Its files are deleted from ${row.place}. This cannot be taken back.`, 'Delete the files', () => wish('remove', row.name))));
  }
  if (row.state === 'known' && !now.offline) box.append(deed('offer', 'Download', row, () => wish('offer', row.name)));
  return box;
};
const network = (part) => {
  const item = made('li');
  item.dataset.tier = part.tier;
  item.append(made('b', '', part.name), made('span', '', [part.where, part.size, part.type, part.lent ? 'in use' : ''].filter(Boolean).join(' · ')));
  return item;
};
const card = (row, now) => {
  const box = made('li', 'stock-row');
  const words = made('div', 'stock-words');
  const title = made('p', 'stock-title', row.title);
  if (KINDS[row.kind] && row.kind !== 'checkpoint') title.append(made('span', 'stock-kind', KINDS[row.kind]));
  if (row.lent) title.append(made('span', 'stock-kind busy', 'in use'));
  words.append(title, made('p', 'stock-facts', row.facts.join(' · ')));
  if (row.words) words.append(made('p', 'stock-facts', `Say: ${row.words}`));
  if (row.reason) words.append(made('p', 'stock-reason', row.reason));
  if (row.place && row.state !== 'known' && row.state !== 'unavailable') words.append(made('p', 'stock-place', row.place));
  const parts = made('ul', 'stock-parts');
  parts.append(...row.parts.map(network));
  words.append(parts);
  box.append(words, deeds(row, now));
  return box;
};
const shelf = ([name, fits], now) => {
  const rows = now.rows.filter(fits);
  if (!rows.length) return null;
  const box = made('details', 'stock-shelf');
  box.open = !folded[name];
  box.addEventListener('toggle', () => { folded[name] = !box.open; });
  box.append(made('summary', '', `${name} (${rows.length})`));
  const list = made('ul', 'stock-rows');
  list.append(...rows.map((row) => card(row, now)));
  box.append(list);
  return box;
};
const meter = (tier) => {
  const box = made('div', 'stock-tier');
  const words = made('span', 'gauge-words');
  words.append(made('span', '', tier.name), made('b', '', tier.text));
  const bar = made('span', 'gauge-bar');
  bar.setAttribute('role', 'meter');
  bar.setAttribute('aria-label', tier.name);
  bar.setAttribute('aria-valuemin', '0');
  bar.setAttribute('aria-valuemax', '1');
  bar.setAttribute('aria-valuenow', tier.share);
  bar.setAttribute('aria-valuetext', tier.text);
  const fill = made('i');
  fill.style.width = `${100 * tier.share}%`;
  bar.append(fill);
  box.append(words, bar);
  return box;
};
const show = () => {
  const now = props.value || {};
  if (!now.rows) return;
  at('.stock').dataset.ready = String(now.tiers.length > 0);
  for (const each of ['.stock-add', '.stock-deeds']) at(each).hidden = !now.may;
  const moving = now.transfer || {};
  at('.stock-transfer').hidden = !moving.name;
  at('.stock-transfer b').textContent = moving.name || '';
  at('.stock-transfer div span').textContent = moving.text || '';
  at('.stock-transfer').dataset.failed = String(Boolean(moving.failed));
  at('.stock-transfer .gauge-bar').hidden = !moving.going;
  at('.stock-transfer .gauge-bar i').style.width = `${100 * (moving.share || 0)}%`;
  at('.stock-transfer .gauge-bar').setAttribute('aria-valuenow', moving.share || 0);
  at('.stock-transfer .act').hidden = !moving.going;
  if (now.note) {
    at('.stock-note').textContent = now.note.text;
    at('.stock-note').dataset.bad = String(now.note.bad);
    at('.stock-note').hidden = false;
    if (!now.note.bad) at('.stock-add input').value = '';
  }
  if (now.offer && !asking) {
    question(`Download ${now.offer.name}?`,
      `${now.offer.text}. Licence: ${now.offer.licence}.${now.offer.gated ? ' Its terms must have been accepted on the Hub.' : ''}`,
      'Download', () => wish('fetch'), () => wish('drop'));
  }
  const rows = JSON.stringify([now.rows, now.tiers, now.may, now.offline]);
  if (rows === drawn) return;
  drawn = rows;
  const { deed: done, row: of } = document.activeElement?.dataset || {};
  at('.stock-tiers').replaceChildren(...now.tiers.map(meter));
  if (!now.may) at('.stock-tiers').append(made('p', 'stock-facts', 'You may look; the host of this studio decides what is here.'));
  at('.stock-shelves').replaceChildren(...SHELVES.map((each) => shelf(each, now)).filter(Boolean));
  if (of) { // the keyboard stays where it was, on another button of the row where that one is gone
    const own = [...element.querySelectorAll('[data-deed]')].filter((each) => each.dataset.row === of);
    (own.find((each) => each.dataset.deed === done) || own[0])?.focus();
  }
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-wish]');
  if (button) wish(button.dataset.wish);
});
at('.stock-add').addEventListener('submit', (event) => {
  event.preventDefault();
  at('.stock-note').hidden = true;
  wish('add', at('.stock-add input').value.trim());
});
const look = () => { if (document.visibilityState === 'visible' && at('.stock')?.offsetParent) trigger('look', { mark: (props.value || {}).mark || '' }); };
new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) look(); }).observe(at('.stock'));
setInterval(look, 1500);
watch('value', show);
show();

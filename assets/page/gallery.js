const root = element.querySelector('.album');
const at = (name) => root.querySelector(name);
const all = (name) => [...root.querySelectorAll(name)];
const grid = at('.album-grid'), find = at('.album-find'), large = at('.album-large'), two = at('.album-compare');
let shown = [];            // the pictures in the grid
let chosen = new Set();    // their ids
let last = null;           // where a range of chosen ones begins
let asked = 0, wants = 0;  // numbers of questions: an answer to an older one is dropped
let open = null;           // the picture that is open
let total = 0, next = 0, busy = false;

const make = (kind, made = {}, ...inside) => { const each = Object.assign(document.createElement(kind), made); each.append(...inside); return each; };
const filters = () => ({
  ...Object.fromEntries(new FormData(find)),
  favourite: at('[data-flag=favourite]').getAttribute('aria-pressed') === 'true',
  binned: at('[data-flag=binned]').getAttribute('aria-pressed') === 'true',
});
const seen = () => Boolean(root.offsetParent);

function look(start = 0) {
  wants = ++asked;
  busy = true;
  trigger('look', { ...filters(), start, asked: wants });
}
function wish(name, ids) {
  wants = ++asked;
  trigger('wish', { ...filters(), wish: name, ids, asked: wants });
  if (['bin', 'erase', 'restore'].includes(name)) ids.forEach((id) => chosen.delete(id));
}

function cell(picture) {
  const face = make('button', { type: 'button', className: 'album-face' });
  face.dataset.id = picture.id;
  face.setAttribute('aria-label', `${picture.prompt || 'Without a prompt'}, seed ${picture.seed}`);
  face.append(make('img', { src: picture.thumb, alt: '', loading: 'lazy', decoding: 'async' }));
  const box = make('input', { type: 'checkbox', className: 'album-box', checked: chosen.has(picture.id) });
  box.setAttribute('aria-label', `Choose: ${picture.prompt || picture.seed}`);
  const made = make('div', { className: 'album-cell' }, face, make('label', { className: 'album-pick' }, box));
  made.dataset.id = picture.id;
  made.classList.toggle('loved', picture.favourite);
  made.classList.toggle('picked', chosen.has(picture.id));
  return made;
}

function paged() {
  const now = props.value || {};
  if (!now.pictures || (now.asked !== undefined && now.asked < wants)) return;
  busy = false;
  total = now.total || 0;
  next = now.next || 0;
  if (now.start) {
    const known = new Set(shown.map((each) => each.id));
    const fresh = now.pictures.filter((each) => !known.has(each.id));
    shown = [...shown, ...fresh];
    grid.append(...fresh.map(cell));
  } else {
    shown = now.pictures;
    const focus = document.activeElement?.closest?.('.album-cell')?.dataset.id;
    grid.replaceChildren(...shown.map(cell));
    if (focus) grid.querySelector(`.album-face[data-id="${focus}"]`)?.focus();
  }
  options('task', now.task || [], (name) => name.replaceAll('_', ' '));
  options('model', now.model || [], (name) => name);
  at('.album-bin').textContent = now.binned ? `Bin (${now.binned})` : 'Bin';
  at('.album-count').textContent = `${total === 1 ? '1 picture' : `${total} pictures`} · ${now.room || ''}`;
  at('.album-count').classList.toggle('warns', Boolean(now.warns));
  const wanted = filters(), filtered = wanted.words || wanted.task || wanted.model || wanted.since || wanted.until || wanted.favourite;
  at('.album-nothing').hidden = shown.length > 0;
  at('.album-nothing').textContent = wanted.binned ? 'The bin is empty.' : filtered ? 'No picture is like that.' : 'Nothing was painted yet. What you paint is kept here.';
  at('.album-empty').hidden = !wanted.binned || !shown.length;
  at('.album-more').hidden = next >= total;
  picked();
}
function options(name, values, words) {
  const select = find.elements[name], held = select.value;
  select.replaceChildren(select.options[0], ...values.map((each) => make('option', { value: each, textContent: words(each) })));
  select.value = values.includes(held) ? held : '';
}

function picked() {
  const binned = filters().binned;
  at('.album-deeds').hidden = !chosen.size;
  at('.album-chosen').textContent = `${chosen.size} chosen`;
  at('[data-deed=compare]').disabled = chosen.size !== 2;
  for (const [name, there] of [['bin', !binned], ['favour', !binned], ['restore', binned], ['erase', binned]]) at(`[data-deed=${name}]`).hidden = !there;
  for (const each of grid.children) {
    each.classList.toggle('picked', chosen.has(each.dataset.id));
    each.querySelector('.album-box').checked = chosen.has(each.dataset.id);
  }
}
function pick(id, range) {
  const ids = shown.map((each) => each.id);
  if (range && last && ids.includes(last)) {
    const [from, to] = [ids.indexOf(last), ids.indexOf(id)].sort((a, b) => a - b);
    ids.slice(from, to + 1).forEach((each) => chosen.add(each));
  } else if (!chosen.delete(id)) chosen.add(id);
  last = id;
  picked();
}

grid.addEventListener('click', (event) => {
  const box = event.target.closest('.album-box'), face = event.target.closest('.album-face');
  if (box) pick(box.closest('.album-cell').dataset.id, event.shiftKey);
  else if (face && (event.shiftKey || event.ctrlKey || event.metaKey)) { event.preventDefault(); pick(face.dataset.id, event.shiftKey); }
  else if (face) show(face.dataset.id);
});
grid.addEventListener('keydown', (event) => {
  const here = document.activeElement.closest('.album-cell');
  if (!here) return;
  const across = Math.max(1, getComputedStyle(grid).gridTemplateColumns.split(' ').length);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
  const id = here.dataset.id;
  if (step) {
    const there = grid.children[[...grid.children].indexOf(here) + step];
    if (there) { event.preventDefault(); there.querySelector('.album-face').focus(); }
  } else if (event.key === ' ' && event.target.closest('.album-face')) { event.preventDefault(); pick(id, event.shiftKey); }
  else if (event.key === 'f') wish(shown.find((each) => each.id === id)?.favourite ? 'disfavour' : 'favour', [id]);
  else if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); thrown(chosen.size ? [...chosen] : [id]); }
});
function thrown(ids) {
  if (!filters().binned) wish('bin', ids);
  else if (confirm(`Delete ${ids.length === 1 ? 'this picture' : `these ${ids.length} pictures`} for good?`)) wish('erase', ids);
}

const fetched = (as, ids) => { at('.album-told').textContent = 'Making the file ...'; trigger('export', { as, ids, kind: at('.album-kind').value, stripped: at('.album-stripped').checked, asked: ++asked }); };
at('.album-deeds').addEventListener('click', (event) => {
  const deed = event.target.closest('[data-deed]')?.dataset.deed, ids = shown.map((each) => each.id).filter((id) => chosen.has(id));
  const all = ids.length === chosen.size ? ids : [...chosen];
  if (deed === 'none') { chosen.clear(); picked(); }
  else if (deed === 'compare') compare(all);
  else if (deed === 'zip' || deed === 'sheet') fetched(deed, all);
  else if (deed === 'erase') thrown(all);
  else if (deed === 'favour') wish(all.every((id) => shown.find((each) => each.id === id)?.favourite) ? 'disfavour' : 'favour', all);
  else if (deed) wish(deed, all);
});
at('.album-empty').addEventListener('click', () => { if (confirm('Delete everything in the bin for good?')) wish('empty', []); });

// one picture, large
function show(id) {
  const picture = shown.find((each) => each.id === id) || [...(open?.family?.members || []), ...(open?.alike || [])].find((each) => each.id === id);
  if (!picture) return;
  open = picture;
  at('.album-shown').src = picture.url;
  at('.album-shown').alt = picture.prompt || 'Picture without a prompt';
  at('.album-prompt').textContent = picture.prompt || 'Without a prompt';
  at('.album-facts').textContent = at('.album-said').textContent = '';
  at('.album-family').hidden = at('.album-alike').hidden = true;
  for (const list of all('.album-knobs dl')) list.replaceChildren();
  if (!large.open) large.showModal();
  deeds();
  trigger('open', { id, asked: ++asked });
}
function deeds() {
  const binned = filters().binned, place = (props.places || {})[open.task];
  at('[data-one=favour]').textContent = open.favourite ? 'No favourite' : 'Favourite';
  for (const [name, there] of [['bin', !binned], ['restore', binned], ['erase', binned]]) at(`[data-one=${name}]`).hidden = !there;
  at('[data-one=reuse]').hidden = !place;
  at('[data-one=reuse]').textContent = place ? `Settings to ${place}` : '';
  at('.album-sends').replaceChildren(...(props.targets || []).map((target) => {
    const button = make('button', { type: 'button', className: 'act', textContent: `Send to ${target}` });
    button.addEventListener('click', () => { trigger('send', { to: target, id: open.id }); away(target); });
    return button;
  }));
}
const away = (name) => { large.close(); [...document.querySelectorAll('[role=tab]')].find((each) => each.textContent.trim() === name)?.click(); };

function opened() {
  const now = props.opened || {};
  if (!open || now.id !== open.id) return;
  open = { ...open, ...now };
  const seconds = now.seconds ? `${now.seconds.toFixed(1)} s` : '';
  at('.album-facts').textContent = [now.day, `seed ${now.seed}`, `${now.width} × ${now.height}`, now.model, seconds].filter(Boolean).join(' · ');
  rows(at('.album-knobs dl'), JSON.parse(now.recipe));
  rows(at('.album-origin dl'), now.origin || {});
  family(now.family);
  at('.album-alike').hidden = !now.alike?.length;
  at('.album-alike div').replaceChildren(...(now.alike || []).map((each) => {
    const face = make('button', { type: 'button', className: 'album-like', title: `${each.prompt}, seed ${each.seed}` }, make('img', { src: each.thumb, alt: `${each.prompt}, seed ${each.seed}` }));
    face.addEventListener('click', () => show(each.id));
    return face;
  }));
}
function rows(list, values) {
  list.replaceChildren(...Object.entries(values).filter(([, value]) => value !== '' && value !== null && !(Array.isArray(value) && !value.length)).flatMap(([name, value]) => {
    return [make('dt', { textContent: name.replaceAll('_', ' ') }), make('dd', { textContent: name === 'task' ? value.replaceAll('_', ' ') : spelled(value) })];
  }));
}
function spelled(value) {
  if (Array.isArray(value)) return value.map(spelled).join('; ');
  if (value === null || typeof value !== 'object') return String(value);
  const { name, knobs, ...others } = value;
  return [name, ...Object.entries(knobs || others).map(([knob, each]) => `${knob.replaceAll('_', ' ')} ${spelled(each)}`)].filter(Boolean).join(', ');
}
// The family as rows by generation, each member beneath what it came from first; what else it needed stands behind it.
function family(related) {
  const members = new Map((related?.members || []).map((each) => [each.id, each]));
  const links = related?.links || [], placed = new Set();
  const above = (id) => links.filter((each) => each.child === id);
  const first = (id) => above(id).find((each) => members.has(each.parent)) || above(id).find((each) => each.role === 'source') || above(id)[0];
  const leads = (id) => links.some((each) => each.parent === id && first(each.child).parent === id);
  const branch = (id) => {
    const item = make('li'), picture = members.get(id);
    if (placed.has(id)) return null;
    placed.add(id);
    if (picture) {
      const more = [...above(id).filter((each) => !members.has(each.parent) && each !== first(id)).map((each) => `a ${each.role}`), ...(picture.worn || [])];
      const words = [picture.task.replaceAll('_', ' '), picture.prompt && `: ${picture.prompt.slice(0, 60)}`, more.length && ` · with ${[...new Set(more)].join(', ')}`];
      const face = make('button', { type: 'button', className: 'album-kin' }, make('img', { src: picture.thumb, alt: '' }), make('span', { textContent: words.filter(Boolean).join('') }));
      face.setAttribute('aria-current', String(id === open.id));
      face.addEventListener('click', () => show(id));
      item.append(face);
      item.title = above(id).length ? `by its ${[...new Set(above(id).map((each) => each.role))].join(', ')}` : '';
    } else item.append(make('span', { className: 'album-kin', textContent: `a ${[...new Set(links.filter((each) => each.parent === id).map((each) => each.role))].join(', ')} brought from elsewhere` }));
    const below = [...new Set(links.filter((each) => each.parent === id).map((each) => each.child))].map(branch).filter(Boolean);
    if (below.length) item.append(make('ul', {}, ...below));
    return item;
  };
  const roots = [...[...members.keys()].filter((id) => !above(id).length), ...(related?.brought || []).filter(leads)];
  at('.album-family').hidden = members.size < 2 && !(related?.brought || []).length && ![...members.values()].some((each) => each.worn?.length);
  at('.album-tree').replaceChildren(make('ul', {}, ...roots.map(branch).filter(Boolean)));
}
function step(by) {
  const ids = shown.map((each) => each.id), there = ids[ids.indexOf(open?.id) + by];
  if (there) show(there);
}
all('.album-step').forEach((each) => each.addEventListener('click', () => step(Number(each.dataset.step))));
large.addEventListener('keydown', (event) => {
  if (event.target.closest('input, summary')) return;
  if (event.key === 'ArrowLeft') step(-1);
  else if (event.key === 'ArrowRight') step(1);
  else if (event.key === 'f') at('[data-one=favour]').click();
  else if (event.key === 'Delete') at(filters().binned ? '[data-one=erase]' : '[data-one=bin]').click();
});
at('.album-close').addEventListener('click', () => large.close());
large.addEventListener('click', (event) => { if (event.target === large) large.close(); });
large.addEventListener('close', () => { grid.querySelector(`.album-face[data-id="${open?.id}"]`)?.focus(); open = null; });
root.querySelector('.album-acts').addEventListener('click', (event) => {
  const deed = event.target.closest('[data-one]')?.dataset.one;
  if (!deed) return;
  if (deed === 'again' || deed === 'fresh') trigger('again', { id: open.id, fresh: deed === 'fresh', asked: ++asked });
  else if (deed === 'reuse') { const place = props.places[open.task]; trigger('reuse', { to: place, recipe: JSON.parse(open.recipe || '{}') }); away(place); }
  else if (deed === 'export') fetched('one', [open.id]);
  else if (deed === 'replay') { at('.album-said').textContent = 'Painting it once more ...'; trigger('replay', { id: open.id, asked: ++asked }); }
  else if (deed === 'favour') { wish(open.favourite ? 'disfavour' : 'favour', [open.id]); open.favourite = !open.favourite; deeds(); }
  else {
    if (deed === 'erase' && !confirm('Delete this picture for good?')) return;
    wish(deed, [open.id]);
    const ids = shown.map((each) => each.id), there = ids[ids.indexOf(open.id) + 1];
    if (there) show(there); else large.close();
  }
});

// any two, one over the other
function compare(ids) {
  const [old, fresh] = ids.map((id) => shown.find((each) => each.id === id)).sort((a, b) => a.made - b.made);
  if (!old || !fresh) return;
  at('.album-old').src = old.url;
  at('.album-new').src = fresh.url;
  at('.album-old').alt = `First: ${old.prompt}`;
  at('.album-new').alt = `Second: ${fresh.prompt}`;
  at('.album-two').style.setProperty('--shape', `${old.width} / ${old.height}`);
  const names = [...new Set([...Object.keys(old.settings), ...Object.keys(fresh.settings)])];
  const said = (value) => (value === undefined || value === null || value === '' || (Array.isArray(value) && !value.length) ? 'none' : spelled(value));
  const differ = (name) => JSON.stringify(old.settings[name]) !== JSON.stringify(fresh.settings[name]);
  const apart = names.filter(differ).map((name) => [name, `${said(old.settings[name])}  →  ${said(fresh.settings[name])}`]);
  const alike = names.filter((name) => !differ(name)).map((name) => name.replaceAll('_', ' ')).join(', ');
  rows(at('.album-apart'), { ...Object.fromEntries(apart), 'the same': alike });
  slid();
  two.showModal();
  at('.album-two input').focus();
}
function slid() { at('.album-two').style.setProperty('--share', `${at('.album-two input').value}%`); }
at('.album-two input').addEventListener('input', slid);
at('.album-compare-close').addEventListener('click', () => two.close());

function told() {
  const now = props.told || {};
  at('.album-told').textContent = now.replay ? '' : now.text || '';
  at('.album-told').classList.toggle('warns', Boolean(now.wrong));
  if (large.open) at('.album-said').textContent = now.replay || now.text || '';
  if (now.url) Object.assign(document.createElement('a'), { href: now.url, download: now.name }).click();
  if (now.text === '' && !now.url) at('.album-told').textContent = '';
}

let typing = 0;
find.addEventListener('submit', (event) => { event.preventDefault(); look(); });
find.addEventListener('input', (event) => { clearTimeout(typing); typing = setTimeout(() => { chosen.clear(); look(); }, event.target.name === 'words' ? 250 : 0); });
all('.album-flag').forEach((each) => each.addEventListener('click', () => {
  each.setAttribute('aria-pressed', String(each.getAttribute('aria-pressed') !== 'true'));
  chosen.clear();
  look();
}));
at('.album-more').addEventListener('click', () => look(next));
new IntersectionObserver((entries) => { if (entries.some((each) => each.isIntersecting) && !busy && next < total && seen()) look(next); }, { rootMargin: '600px' }).observe(at('.album-more'));
let there = false;
new IntersectionObserver((entries) => {
  const now = entries.some((each) => each.isIntersecting);
  if (now && !there) look();
  there = now;
}).observe(find);

watch('value', paged);
watch('opened', opened);
watch('told', told);
if (seen()) look();

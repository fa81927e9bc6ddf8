const root = element.querySelector('.matrix');
const at = (name) => root.querySelector(name);
const sheets = at('.matrix-sheets'), large = at('.matrix-large');
let before = {};         // the moment shown last
let opened = null;       // the cell that is large
let asked = 0;           // the number of the export that is waited for

const busy = (now) => ['waiting', 'working', 'stopping'].includes(now.state);
const spoken = (seconds) => (seconds < 10 ? seconds.toFixed(1) : seconds < 90 ? Math.round(seconds) : Math.round(seconds / 60)) + (seconds < 90 ? ' s' : ' min');
const put = (name, text) => { const place = at(name); if (place.textContent !== text) place.textContent = text; };
const make = (kind, made = {}, ...inside) => { const each = Object.assign(document.createElement(kind), made); each.append(...inside); return each; };
const grid = () => (props.grid && props.grid.cells ? props.grid : null);
const title = (cell) => grid().axes.map((axis, k) => (axis.word ? `${axis.word} ${cell.values[k]}` : '')).filter(Boolean).join(', ');

function status() {
  const now = props.value || {}, working = busy(now), bar = at('.bar'), known = grid();
  root.dataset.state = now.state || 'idle';
  at('.matrix-empty').hidden = Boolean(known) || working;
  at('.line').hidden = !now.text;
  put('.status', [now.text, now.remark].filter(Boolean).join(' '));
  put('.left', now.state === 'working' && now.left !== undefined ? `${spoken(now.left)} left` : '');
  bar.hidden = !working;
  const counted = now.state === 'working' && now.done !== undefined;
  bar.classList.toggle('unknown', working && !counted);
  bar.firstElementChild.style.width = counted ? `${100 * now.done}%` : '';
  if (counted) bar.setAttribute('aria-valuenow', Math.round(100 * now.done)); else bar.removeAttribute('aria-valuenow');
  if (now.state !== before.state || now.job !== before.job) put('.said', now.state === 'working' ? 'Painting a grid' : now.text || '');
  at('.matrix-acts').hidden = !known;
  at('.matrix-resume').hidden = !known || !known.left || working;
  for (const each of root.querySelectorAll('[data-kind]')) each.disabled = !known || !known.made;
  sheets.querySelectorAll('.matrix-cell').forEach((cell, k) => {
    const here = working && k === now.live;
    cell.classList.toggle('working', here);
    if (here && now.preview && !cell.dataset.id) cell.style.setProperty('--seen', `url("${now.preview}")`);
  });
  before = now;
}

function square(cell, k) {
  const known = grid(), face = make('button', { type: 'button', className: 'matrix-cell', disabled: !cell.url });
  face.style.setProperty('--shape', known.shape);
  if (cell.url) {
    face.dataset.id = cell.id;
    face.append(make('img', { src: cell.thumb, alt: '', decoding: 'async' }));
    face.addEventListener('click', () => show(k));
  } else if (cell.refusal) face.append(make('span', { className: 'matrix-why', textContent: cell.refusal }));
  face.setAttribute('aria-label', `${title(cell) || known.prompt}: ${[cell.cost, cell.far].filter(Boolean).join(', ') || 'not painted yet'}`);
  const words = make('p', { className: 'matrix-words' }, make('b', { textContent: cell.cost }), make('span', { textContent: cell.url ? cell.far : '' }));
  return make('div', { className: 'matrix-box' }, face, words);
}

function lay() {
  const known = grid();
  if (!known) return;
  const [across, down, deep] = known.axes;
  const columns = across.values.length;
  const blocks = deep.values.map((depth, s) => {
    const head = deep.word ? [make('h3', { textContent: `${deep.word} ${depth}` })] : [];
    const table = make('div', { className: 'matrix-table' });
    table.style.gridTemplateColumns = `${down.word ? 'var(--label) ' : ''}repeat(${columns}, minmax(var(--least), var(--most)))`;
    if (down.word) table.append(make('span', { className: 'matrix-corner', textContent: down.word }));
    for (const [c, value] of across.values.entries()) {
      table.append(make('b', { className: c === known.reference && columns > 1 ? 'matrix-head reference' : 'matrix-head', textContent: [across.word, value].filter(Boolean).join(' ') }));
    }
    down.values.forEach((value, r) => {
      if (down.word) table.append(make('b', { className: 'matrix-row', textContent: value }));
      for (let c = 0; c < columns; c += 1) {
        const k = (s * down.values.length + r) * columns + c;
        table.append(square(known.cells[k], k));
      }
    });
    return make('section', { className: 'matrix-sheet' }, ...head, table);
  });
  sheets.replaceChildren(...blocks);
  plots();
}

function show(k) {
  const known = grid(), cell = known.cells[k];
  opened = k;
  at('.matrix-shown').src = cell.url;
  at('.matrix-shown').alt = title(cell) || known.prompt;
  const [, r, s] = cell.at;
  const twin = known.cells[(s * known.axes[1].values.length + r) * known.axes[0].values.length + known.reference];
  const hold = at('.matrix-hold');
  hold.hidden = !twin.url || twin === cell;
  hold.setAttribute('aria-pressed', 'false');
  hold.textContent = 'Show the reference';
  hold.onclick = () => {
    const on = hold.getAttribute('aria-pressed') !== 'true';
    hold.setAttribute('aria-pressed', String(on));
    hold.textContent = on ? 'Show this one' : 'Show the reference';
    at('.matrix-shown').src = on ? twin.url : cell.url;
  };
  const figure = (value, digits, unit = '') => (value === undefined || value === null ? '–' : value.toFixed(digits) + unit);
  const facts = [
    ...known.axes.map((axis, n) => (axis.word ? [axis.word, cell.values[n]] : null)).filter(Boolean),
    ['Seconds', figure(cell.seconds, 2)], ['Network evaluations', figure(cell.evaluations, 0)],
    ['PSNR', figure(cell.psnr, 1, ' dB')], ['SSIM', figure(cell.ssim, 3)], ['GMSD', figure(cell.gmsd, 3)], ['Seed', String(cell.seed)],
  ];
  at('.matrix-facts').replaceChildren(...facts.flatMap(([name, value]) => [make('dt', { textContent: name }), make('dd', { textContent: value })]));
  at('.matrix-save').href = cell.url;
  at('.matrix-save').setAttribute('download', `palimpsest-${cell.seed}.png`);
  if (!large.open) large.showModal();
}

const turn = (name) => [...document.querySelectorAll('[role=tab]')].find((each) => each.textContent.trim() === name)?.click();
at('.matrix-open').addEventListener('click', () => {
  const cell = grid().cells[opened];
  trigger('reuse', { to: props.places?.text_to_image || 'Create', recipe: JSON.parse(cell.recipe) });
  large.close();
  turn('Create');
});
at('.matrix-sends').replaceChildren(...(props.targets || []).map((target) => {
  const button = make('button', { type: 'button', className: 'act', textContent: `Send to ${target}` });
  button.addEventListener('click', () => { trigger('send', { to: target, id: grid().cells[opened].id }); large.close(); turn(target); });
  return button;
}));
at('.matrix-close').addEventListener('click', () => large.close());
large.addEventListener('click', (event) => { if (event.target === large) large.close(); });
large.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const cells = grid().cells;
  for (let k = opened + step; k >= 0 && k < cells.length; k += step) if (cells[k].url) { show(k); break; }
});
at('.matrix-resume').addEventListener('click', () => trigger('resume', {}));
for (const each of root.querySelectorAll('[data-kind]')) {
  each.addEventListener('click', () => { asked += 1; put('.matrix-told', 'One moment'); trigger('export', { kind: each.dataset.kind, asked }); });
}
at('.matrix-by').addEventListener('change', () => plots());
at('.chips').replaceChildren(...(props.examples || []).map((name) => {
  const chip = make('button', { type: 'button', className: 'chip', textContent: name });
  chip.addEventListener('click', () => trigger('example', { prompt: name }));
  return chip;
}));

watch('value', () => {
  heard = Date.now();
  const ended = busy(before) && !busy(props.value || {});
  status();
  if (ended) trigger('settled', {});
});
watch('grid', () => { lay(); status(); });
watch('told', () => {
  const told = props.told || {};
  if (told.asked !== asked) return;
  put('.matrix-told', told.text || '');
  if (told.url) make('a', { href: told.url, download: told.name }).click();
});
window.addEventListener('palimpsest:stop', () => {
  const now = props.value || {};
  if (root.offsetParent && busy(now)) { put('.status', 'Stopping'); trigger('stop', { job: now.job }); }
});
window.addEventListener('palimpsest:file', async (event) => {
  if (!root.offsetParent) return;
  const sent = await upload(event.detail).catch(() => ({ path: '' }));
  trigger('dropped', { path: sent.path, name: event.detail.name });
});

const at = (name) => element.querySelector(name);
const made = (tag, name, text) => {
  const each = document.createElement(tag);
  if (name) each.className = name;
  if (text) each.textContent = text;
  return each;
};
const busy = (now) => ['waiting', 'working', 'stopping'].includes(now.state);
const spoken = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);
const put = (name, text) => { const place = at(name); if (place && place.textContent !== text) place.textContent = text; };
const ask = at('dialog');
let before = {};
let agreed = null; // what happens once the question is answered with yes

const question = (title, text, yes, act) => {
  ask.querySelector('h2').textContent = title;
  ask.querySelector('p').textContent = text;
  ask.querySelector('.yes').textContent = yes;
  agreed = act;
  ask.showModal();
};

// The losses as a line: thin as they came, thick as a running mean of them.
const line = (points) => points.map(([x, y], k) => `${k ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
const smooth = (losses) => {
  let mean = losses[0][1];
  return losses.map(([step, loss], k) => { mean += (loss - mean) * Math.max(0.12, 1 / (k + 1)); return [step, mean]; });
};
const curve = (now) => {
  const losses = now.losses || [];
  at('.course-curve').hidden = losses.length < 2;
  if (losses.length < 2) return;
  const means = smooth(losses), values = losses.map((each) => each[1]);
  const end = Math.max(now.steps || 0, losses[losses.length - 1][0]), low = Math.min(...values), high = Math.max(...values, low + 1e-9);
  const place = ([step, loss]) => [(600 * step) / end, 152 - (144 * (loss - low)) / (high - low)];
  at('.curve-raw').setAttribute('d', line(losses.map(place)));
  at('.curve-mean').setAttribute('d', line(means.map(place)));
  put('.curve-high', high.toPrecision(3));
  put('.curve-low', low.toPrecision(3));
  put('.curve-end', `step ${end}`);
  const words = `${means[0][1].toPrecision(3)} at first, ${means[means.length - 1][1].toPrecision(3)} now`;
  put('.course-loss', words);
  at('.course-curve svg').setAttribute('aria-label', `Loss: ${words}`);
};

const shot = (proof, words) => {
  const box = made('figure', 'course-shot');
  const image = made('img');
  image.src = proof.url;
  image.alt = `${proof.prompt}, ${words}`;
  image.loading = 'lazy';
  box.append(image, made('figcaption', '', words));
  return box;
};
const rows = (list, words) => [...new Set(list.map((each) => each.prompt))].map((prompt) => {
  const row = made('div', 'course-row'), strip = made('div', 'course-strip');
  strip.setAttribute('role', 'group');
  strip.setAttribute('aria-label', prompt);
  strip.tabIndex = 0;
  strip.append(...list.filter((each) => each.prompt === prompt).map((each) => shot(each, words(each))));
  row.append(made('p', 'course-prompt', prompt), strip);
  return row;
});
const proofs = () => {
  const list = props.proofs || [], compared = list.filter((each) => each.loaded), on = list.filter((each) => !each.loaded);
  at('.course-compare').hidden = !compared.length;
  at('.course-compare .course-grid').replaceChildren(...rows(compared, (each) => (each.weight ? `weight ${each.weight}` : 'without')));
  at('.course-proofs').hidden = !on.length;
  at('.course-proofs .course-grid').replaceChildren(...rows(on, (each) => (each.step ? `step ${each.step}` : 'before')));
  for (const strip of element.querySelectorAll('.course-proofs .course-strip')) strip.scrollLeft = strip.scrollWidth;
};

const show = () => {
  heard = Date.now();
  const now = props.value || {}, state = now.state || 'idle', working = busy(now);
  const known = state !== 'idle';
  at('.course').dataset.state = state;
  at('.course').dataset.job = now.job || '';
  at('.course-now').hidden = !known;
  at('.course-empty').hidden = known;
  put('.course-title', now.word ? `${now.word}${now.kind ? `, ${now.kind}` : ''}` : '');
  put('.course-text', [now.text, working && now.more ? `${now.more} more in line` : ''].filter(Boolean).join(' · '));
  put('.course-left', working && now.left !== undefined ? `${spoken(now.left)} left` : '');
  at('.course-line').hidden = !known || !now.text;
  const bar = at('.course .bar'), counted = now.done !== undefined;
  bar.hidden = !working;
  bar.classList.toggle('unknown', working && !counted);
  bar.firstElementChild.style.width = counted ? `${100 * now.done}%` : '';
  if (counted) bar.setAttribute('aria-valuenow', Math.round(100 * now.done)); else bar.removeAttribute('aria-valuenow');
  const may = { pause: ['waiting', 'working'].includes(state), go_on: state === 'paused', keep: ['working', 'paused'].includes(state) && (now.losses || []).length > 0, stop: working || state === 'paused' };
  for (const button of element.querySelectorAll('.course-deeds [data-wish]')) {
    button.hidden = !may[button.dataset.wish];
    button.disabled = state === 'stopping';
  }
  at('.course-remarks').replaceChildren(...(now.remarks || []).map((text) => made('li', '', text)));
  if (state !== before.state || now.job !== before.job) put('.course .said', now.text || '');
  curve(now);
  const began = now.job !== before.job && working, ended = busy(before) && !working;
  before = now;
  if (began && innerWidth < 900) at('.course-line').scrollIntoView({ block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
  if (ended) trigger('settled', {});
};

const deed = (text, label, act) => {
  const button = made('button', 'act', text);
  button.type = 'button';
  button.setAttribute('aria-label', `${text}: ${label}`);
  button.addEventListener('click', act);
  return button;
};
const card = (each) => {
  const item = made('li', 'course-adapter'), words = made('div', 'course-words'), deeds = made('div', 'course-adapter-deeds');
  if (each.thumb) { const image = made('img'); image.src = each.thumb; image.alt = ''; item.append(image); }
  words.append(made('p', 'course-name', each.name), made('p', 'stock-facts', each.facts.join(' · ')));
  if (each.use) deeds.append(deed('Use in Create', each.name, () => { trigger('use', { name: each.name }); [...document.querySelectorAll('[role=tab]')].find((tab) => tab.textContent.trim() === 'Create')?.click(); }));
  deeds.append(...props.kinds.map((kind) => deed(`Export for ${kind}`, each.name, () => trigger('export', { id: each.id, kind }))));
  const remove = () => trigger('remove', { id: each.id });
  deeds.append(deed('Remove', each.name, () => question(`Remove ${each.name}?`, 'Its file is deleted, and its word means nothing any more. This cannot be taken back.', 'Remove it', remove)));
  words.append(deeds);
  item.append(words);
  return item;
};
const shelf = () => {
  const list = props.taught || [];
  at('.course-none').hidden = list.length > 0;
  at('.course-taught').replaceChildren(...list.map(card));
  show();
};
const told = () => {
  const said = props.told || {};
  const line = at('.course-told');
  line.hidden = !said.text;
  line.textContent = said.text || '';
  line.dataset.bad = String(Boolean(said.bad));
  if (said.url) { const link = Object.assign(document.createElement('a'), { href: said.url, download: said.name }); link.click(); }
};
at('.course-shelf .file').addEventListener('change', async (event) => {
  const [file] = event.target.files;
  event.target.value = '';
  if (!file) return;
  let path = '';
  try { path = (await upload(file)).path; } catch (problem) { /* the server says that nothing arrived */ }
  trigger('take', { path, name: file.name });
});
ask.querySelector('.yes').addEventListener('click', () => { ask.close(); agreed(); });
ask.querySelector('.no').addEventListener('click', () => ask.close());
for (const button of element.querySelectorAll('.course-deeds [data-wish]')) {
  button.addEventListener('click', () => {
    const now = props.value || {}, { wish } = button.dataset, act = () => trigger('wish', { wish, job: now.job });
    if (wish !== 'stop' || !(now.losses || []).length) act();
    else question('Stop and throw it away?', 'What was learned so far is lost. Stop and keep makes it usable as it is; Pause lets it go on later.', 'Throw it away', act);
  });
}
watch('value', show);
watch('proofs', proofs);
watch('taught', shelf);
watch('told', told);
show();
proofs();
shelf();
attach();

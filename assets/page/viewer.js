const root = element.querySelector('.viewer');
const at = (name) => root.querySelector(name);
const stage = at('.stage'), shown = at('.shown'), strip = at('.film');
let picked = null;      // the name of the picture somebody chose from the strip; null follows the work
let job;                // the job that the page watches; undefined until the server has spoken
let before = {};        // the moment shown last

const film = () => props.film || [];
const busy = (now) => ['waiting', 'working', 'stopping'].includes(now.state);
const spoken = (seconds) => (seconds < 10 ? seconds.toFixed(1) : seconds < 90 ? Math.round(seconds) : Math.round(seconds / 60)) + (seconds < 90 ? ' s' : ' min');
const put = (name, text) => { const place = at(name); if (place.textContent !== text) place.textContent = text; };

const look = (source, alt, width, height) => {
  at('.empty').hidden = Boolean(source);
  shown.hidden = !source;
  if (!source) return;
  if (shown.getAttribute('src') !== source) shown.src = source;
  shown.alt = alt;
  if (width && height) stage.style.setProperty('--shape', `${width} / ${height}`);
};

const frame = () => film().find((each) => each.name === picked) || null;

function draw() {
  const now = props.value || {};
  const working = busy(now);
  const chosen = frame() || (working ? null : film()[0] || null);
  root.dataset.state = now.state || 'idle';
  root.dataset.job = now.job || '';
  if (chosen) look(chosen.url, chosen.prompt, chosen.width, chosen.height);
  else if (working) look(now.preview || (now.job === before.job && before.seen) || '', 'Preview of the picture in the making', now.width, now.height);
  else look('', '');
  const seen = now.preview || (now.job === before.job ? before.seen : '');
  if (working && !chosen && now.width) stage.style.setProperty('--shape', `${now.width} / ${now.height}`);
  at('.empty').hidden = Boolean(chosen) || working;
  at('.veil').hidden = !working || Boolean(chosen) || (Boolean(seen) && now.state === 'working');
  shown.classList.toggle('soft', working && !chosen);
  line(now, working);
  caption(chosen);
  compare(chosen);
  tile(now, working, seen, chosen);
  before = { ...now, seen };
}

// The picture before, over the result, as far as the slider says; a range input, so that keys and fingers move it.
function compare(chosen) {
  const button = at('.compares'), from = chosen?.before, on = Boolean(from) && button.getAttribute('aria-pressed') === 'true';
  button.hidden = !from;
  at('.compare').hidden = !on;
  if (!on) return;
  const old = at('.compare-before'), [width, height] = from.whole;
  if (old.getAttribute('src') !== from.url) old.src = from.url;
  at('.compare').style.setProperty('--shape', `${width} / ${height}`);
  for (const [side, share] of [['left', from.left / width], ['top', from.top / height], ['width', from.width / width], ['height', from.height / height]]) old.style[side] = `${100 * share}%`;
  slid();
}
function slid() {
  const slide = at('.compare-slide'), from = (frame() || film()[0])?.before;
  at('.compare').style.setProperty('--share', `${slide.value}%`);
  slide.setAttribute('aria-valuetext', `${slide.value} % of the picture before`);
  if (!from) return;
  const left = (100 * from.left) / from.whole[0], wide = (100 * from.width) / from.whole[0];
  at('.compare-before').style.clipPath = `inset(0 ${Math.max(0, Math.min(100, 100 - (100 * (slide.value - left)) / wide))}% 0 0)`;
}
at('.compare-slide').addEventListener('input', slid);
at('.compares').addEventListener('click', (event) => {
  const button = event.currentTarget;
  button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
  draw();
  if (!at('.compare').hidden) at('.compare-slide').focus();
});

// Beside a canvas the two share a place: what is looked at there is said to it.
const face = (name) => { if (props.beside) window.dispatchEvent(new CustomEvent('palimpsest:face', { detail: { from: root, face: name } })); };

function line(now, working) {
  const more = working && now.more ? ` · ${now.more} more in line` : '';
  const said = working || ['failed', 'stopped'].includes(now.state) || now.remark;
  put('.status', said ? [now.text + more, now.remark].filter(Boolean).join(/[.!?]$/.test(now.text + more) ? ' ' : ' · ') : '');
  at('.line').hidden = !said;
  put('.veil-text', now.text || '');
  put('.left', working && now.left !== undefined ? `${spoken(now.left)} left` : '');
  const bar = at('.bar'), counted = working && now.done !== undefined;
  bar.hidden = !working;
  bar.classList.toggle('unknown', working && !counted);
  bar.firstElementChild.style.width = counted ? `${100 * now.done}%` : '';
  if (counted) bar.setAttribute('aria-valuenow', Math.round(100 * now.done)); else bar.removeAttribute('aria-valuenow');
  // The screen reader hears what changed in kind, not every step.
  if (now.state !== before.state || now.job !== before.job) put('.said', now.state === 'working' ? 'Painting' : now.text || '');
}

function caption(chosen) {
  for (const name of ['.caption', '.save', '.again', '.show-recipe', '.sends']) at(name).hidden = !chosen;
  at('.recipe').hidden = !chosen || at('.show-recipe').getAttribute('aria-expanded') !== 'true';
  if (!chosen) return;
  put('.words', chosen.prompt || (props.compares ? 'Enlarged' : 'Without a prompt'));
  put('.facts', [`seed ${chosen.seed}`, `${chosen.width} × ${chosen.height}`, chosen.seconds ? spoken(chosen.seconds) : ''].filter(Boolean).join(' · '));
  at('.save').href = chosen.url;
  at('.save').setAttribute('download', `palimpsest-${chosen.seed}.png`);
  put('.recipe pre', JSON.stringify(JSON.parse(chosen.recipe), null, 2));
}

function tile(now, working, seen, chosen) {
  let live = strip.querySelector('.live');
  if (!working) live?.remove();
  else {
    if (!live) {
      live = document.createElement('button');
      live.type = 'button';
      live.className = 'shot live';
      live.setAttribute('aria-label', 'The picture in the making');
      live.addEventListener('click', () => { picked = null; face('result'); draw(); });
      strip.prepend(live);
    }
    live.style.backgroundImage = seen ? `url("${seen}")` : '';
    live.style.setProperty('--done', now.done || 0);
  }
  strip.hidden = !strip.childElementCount;
  for (const each of strip.children) each.setAttribute('aria-pressed', String(chosen ? each.dataset.name === chosen.name : each === live));
}

function reel() {
  const known = new Map([...strip.children].map((each) => [each.dataset.name, each]));
  const shots = film().map((each) => {
    const old = known.get(each.name);
    if (old) return old;
    const shot = document.createElement('button');
    shot.type = 'button';
    shot.className = 'shot';
    shot.dataset.name = each.name;
    shot.setAttribute('aria-label', `${each.prompt || 'Without a prompt'}, seed ${each.seed}`);
    shot.style.backgroundImage = each.thumb ? `url("${each.thumb}")` : '';
    shot.addEventListener('click', () => { picked = each.name; face('result'); draw(); });
    return shot;
  });
  strip.replaceChildren(...[strip.querySelector('.live'), ...shots].filter(Boolean));
}

strip.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const shots = [...strip.children], here = shots.indexOf(document.activeElement);
  const next = step && here >= 0 ? shots[here + step] : null;
  if (next) { event.preventDefault(); next.focus(); next.click(); }
});

function arrived() {
  heard = Date.now();
  const now = props.value || {};
  // Work may be done before the page hears that it began; what was done before the page came is no news.
  const fresh = Boolean(now.job) && now.job !== job && (busy(now) || job !== undefined), ended = (busy(before) || fresh) && !busy(now);
  if (fresh || job === undefined) job = now.job || null;
  if (fresh) {
    picked = null; // new work is what the page shows
    face('result');
  }
  draw();
  if (fresh && innerWidth < 900) at('.line').scrollIntoView({ block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' });
  if (ended) trigger('settled', {});
}

watch('value', arrived);
watch('film', () => { reel(); draw(); });

window.addEventListener('palimpsest:stop', () => {
  if (!root.offsetParent) return;
  const now = props.value || {};
  if (busy(now)) { put('.status', 'Stopping'); trigger('stop', { job: now.job }); }
});

async function restore(file) {
  if (!root.offsetParent) return;
  try {
    const sent = await upload(file);
    trigger('dropped', { path: sent.path, name: file.name });
  } catch (problem) {
    trigger('dropped', { path: '', name: file.name });
  }
}
window.addEventListener('palimpsest:file', (event) => { if (!props.beside) restore(event.detail); });
at('.file').addEventListener('change', (event) => { if (event.target.files[0]) restore(event.target.files[0]); event.target.value = ''; });
at('.sends').replaceChildren(...(props.targets || []).map((target) => {
  const button = document.createElement('button');
  const here = target === props.place;
  Object.assign(button, { type: 'button', className: 'act send', textContent: here ? 'Use as picture' : `Send to ${target}` });
  button.addEventListener('click', () => {
    const chosen = frame() || film()[0];
    if (!chosen) return;
    trigger('send', { to: target, id: chosen.id });
    if (here) face('picture');
    else [...document.querySelectorAll('[role=tab]')].find((each) => each.textContent.trim() === target)?.click();
  });
  return button;
}));
at('.again').addEventListener('click', () => { const chosen = frame() || film()[0]; if (chosen) trigger('reuse', { recipe: JSON.parse(chosen.recipe) }); });
at('.show-recipe').addEventListener('click', (event) => {
  const button = event.currentTarget;
  button.setAttribute('aria-expanded', String(button.getAttribute('aria-expanded') !== 'true'));
  draw();
});
at('.copy').addEventListener('click', async (event) => {
  const button = event.currentTarget;
  await navigator.clipboard.writeText(at('.recipe pre').textContent).catch(() => getSelection().selectAllChildren(at('.recipe pre')));
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});
at('.chips').replaceChildren(...(props.examples || []).map((prompt) => {
  const chip = document.createElement('button');
  chip.type = 'button';
  chip.className = 'chip';
  chip.textContent = prompt;
  chip.addEventListener('click', () => trigger('example', { prompt }));
  return chip;
}));

if (props.invite) at('.invite h2').textContent = props.invite;
if (props.beside) {
  at('.invite h2').textContent = 'Nothing here yet';
  at('.invite p').textContent = 'Bring a picture, and press Generate.';
}
reel();
draw();
if (props.asks) attach();

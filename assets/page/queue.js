const at = (name) => element.querySelector(name);
const box = at('details'), list = at('ol'), left = at('.line-left');
const pictures = { front: 'M12 19V6M6 11l6-6 6 6M5 3h14', stop: 'M6 6l12 12M18 6L6 18', retry: 'M4 12a8 8 0 1 0 2.5-5.8M4 4v4.5h4.5' };
const names = { front: 'Move to the front', stop: 'Remove', retry: 'Try again' };

const button = (wish, job, label) => {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'line-deed';
  made.dataset.wish = wish;
  made.dataset.job = job.id;
  made.title = names[wish];
  made.setAttribute('aria-label', `${names[wish]}: ${label}`);
  made.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${pictures[wish]}"/></svg>`;
  return made;
};

function row(job, first) {
  const made = document.createElement('li'), words = document.createElement('div');
  const label = job.prompt || job.task;
  made.dataset.state = job.state;
  made.dataset.job = job.id;
  for (const [kind, text] of [['line-prompt', label], ['line-text', [job.text, job.left ? `${job.left}${job.state === 'working' ? ' left' : ''}` : ''].filter(Boolean).join(' · ')]]) {
    const place = document.createElement('p');
    place.className = kind;
    place.textContent = text;
    words.append(place);
  }
  const ended = ['failed', 'stopped'].includes(job.state);
  const deeds = ended ? ['retry'] : job.state === 'working' || job.state === 'stopping' ? ['stop'] : first ? ['stop'] : ['front', 'stop'];
  made.append(words, ...deeds.map((wish) => button(wish, job, label)));
  if (job.state === 'working') made.style.setProperty('--done', job.done || 0);
  return made;
}

function show() {
  heard = Date.now();
  const now = props.value || {}, jobs = now.jobs || [];
  const waits = (job) => ['waiting', 'held'].includes(job.state);
  const first = jobs.find(waits);
  const held = document.activeElement?.dataset?.job && { ...document.activeElement.dataset };
  list.replaceChildren(...jobs.map((job) => row(job, job === first)));
  if (held) list.querySelector(`[data-job="${held.job}"][data-wish="${held.wish}"]`)?.focus();
  at('.line-none').hidden = jobs.length > 0;
  at('.line-deeds').hidden = !jobs.some((job) => job.state !== 'working' && job.state !== 'stopping');
  at('.line-deeds [data-wish=hold]').hidden = !jobs.some((job) => job.state === 'waiting');
  at('.line-deeds [data-wish=go_on]').hidden = !now.held;
  at('.line-count').textContent = now.held ? `${now.held} paused` : now.waiting ? String(now.waiting) : '';
  box.dataset.busy = String(Boolean(now.waiting));
  left.hidden = !now.left;
  left.querySelector('p').textContent = now.left === 1 ? 'One picture waits from before the studio was ended.' : `${now.left} jobs wait from before the studio was ended.`;
}

element.addEventListener('click', (event) => {
  const asked = event.target.closest('[data-wish]');
  if (asked) trigger('wish', { wish: asked.dataset.wish, job: asked.dataset.job || '' });
});
document.addEventListener('click', (event) => { if (!event.composedPath().includes(box)) box.open = false; });
box.addEventListener('keydown', (event) => { if (event.key === 'Escape' && box.open) { box.open = false; event.stopPropagation(); at('summary').focus(); } });

watch('value', show);
show();

const at = (name) => element.querySelector(name);
const show = () => {
  const now = props.value || {};
  const ready = now.state === 'ready';
  at('.gauge-name').textContent = ready ? now.device : 'Memory';
  at('.gauge-level').textContent = ready ? `${now.used.toFixed(1)} / ${now.total.toFixed(1)} GB` : 'starting';
  const share = ready ? Math.min(now.used / now.total, 1) : 0;
  at('.gauge-bar i').style.width = `${100 * share}%`;
  const bar = at('.gauge-bar');
  bar.setAttribute('aria-valuenow', share.toFixed(3));
  bar.setAttribute('aria-valuetext', at('.gauge-level').textContent);
  bar.classList.toggle('high', share > 0.85);
  const parts = now.parts || [];
  at('.gauge-parts p').textContent = parts.length ? 'Loaded now' : ready ? 'No model is loaded.' : 'The studio is starting.';
  at('.gauge-parts ul').replaceChildren(...parts.map((part) => {
    const row = document.createElement('li');
    const size = document.createElement('span');
    row.textContent = part.name;
    size.textContent = `${part.megabytes} MB`;
    row.append(size);
    return row;
  }));
};
const box = at('details');
document.addEventListener('click', (event) => { if (!box.contains(event.target)) box.open = false; });
box.addEventListener('keydown', (event) => { if (event.key === 'Escape' && box.open) { box.open = false; event.stopPropagation(); } });
watch('value', show);
show();

// Buttons and menus around the board, pictures that come, and what starts the work.
function act(deed) {
  const by = Math.max(1, Math.min(256, Math.round(Number(at('.pixels').value) || 8)));
  const steps = {
    fill: (mask) => mask.fill(255), invert: (mask) => mask.invert(), clear: (mask) => mask.fill(0),
    grow: (mask) => mask.grow(by), shrink: (mask) => mask.grow(-by), feather: (mask) => mask.feather(by),
  };
  if (deed === 'fit') { fit(); return; }
  if (deed === 'in' || deed === 'out') {
    view.zoom(deed === 'in' ? 1.25 : 0.8, state.cursor ? view.toBoard(state.cursor) : undefined);
    redraw();
    return;
  }
  if (deed === 'lift' || deed === 'drop' || (able() && tools[state.tool].pulls && ['undo', 'redo', 'clear'].includes(deed))) { pull.act(deed); return; }
  if (!masks()) return;
  if (deed === 'save') { save(); return; }
  if (deed === 'alpha') { wait('Reading what is transparent'); trigger('masked', { alpha: true }); return; }
  tools[state.tool].cancel();
  const changed = steps[deed] ? state.mask.step(steps[deed]) : state.mask[deed]();
  if (changed) altered();
  const words = { fill: 'All of it is masked', clear: 'The mask is clear', invert: 'Inverted', grow: `Grown by ${by} pixels`, shrink: `Shrunk by ${by} pixels`, feather: `Feathered over ${by} pixels`, undo: 'Undone', redo: 'Done again' };
  say(changed ? `${words[deed]}. ${(100 * state.share).toFixed(1)} percent masked.` : 'Nothing changed.');
  dress();
}

async function save() {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(await png(state.mask)), download: 'mask.png' });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}

// A file becomes the picture, or the mask.
async function bring(file, what = 'picture') {
  show('picture');
  wait(what === 'mask' ? 'Reading the mask' : 'Reading the picture');
  try {
    const arrivedFile = await upload(file);
    if (what === 'mask') trigger('masked', { upload: arrivedFile.path });
    else trigger('brought', { path: arrivedFile.path });
  } catch (problem) {
    trigger('brought', { path: '', size: file.size });
  }
}

every('.pick').forEach((each) => each.addEventListener('click', () => choose(each.dataset.tool)));
every('[data-do]').forEach((each) => each.addEventListener('click', () => act(each.dataset.do)));
every('.join').forEach((each) => each.addEventListener('click', () => { state.less = Boolean(each.dataset.less); dress(); }));
every('.face').forEach((each) => each.addEventListener('click', () => show(each.dataset.show)));
at('.size-slide').addEventListener('input', (event) => resize(largest() ** (event.target.value / 100)));
at('.open .file').addEventListener('change', (event) => { if (event.target.files[0]) bring(event.target.files[0]); event.target.value = ''; });
at('.load .file').addEventListener('change', (event) => { if (event.target.files[0]) bring(event.target.files[0], 'mask'); event.target.value = ''; });
at('.back').addEventListener('click', async () => {
  const last = earlier[earlier.length - 1];
  show('picture');
  await settled();
  if (last) { wait('Going back'); trigger('brought', last); }
});
at('.tools-row').addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const stops = every('.tools-row button, .tools-row summary').filter((each) => each.offsetParent && !each.disabled), here = stops.indexOf(document.activeElement);
  if (!step || here < 0 || !stops[here + step]) return;
  event.preventDefault();
  stops[here + step].focus();
});
for (const menu of every('.menu')) {
  document.addEventListener('click', (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener('keydown', (event) => { if (event.key === 'Escape' && menu.open) { menu.open = false; menu.querySelector('summary').focus(); event.stopPropagation(); } });
}

at('.samples').replaceChildren(...SAMPLES.map((each) => {
  const button = document.createElement('button');
  Object.assign(button, { type: 'button', className: 'sample', title: each.title });
  button.setAttribute('aria-label', `Begin with ${each.title}`);
  button.style.backgroundImage = `url("${each.thumb}")`;
  button.addEventListener('click', () => { wait('Reading the picture'); trigger('brought', { sample: each.name }); });
  return button;
}));

window.addEventListener('palimpsest:file', (event) => { if (root.offsetParent) bring(event.detail); });
document.addEventListener('paste', (event) => {
  const file = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith('image/'));
  if (!file || !root.offsetParent) return;
  event.preventDefault();
  bring(file);
});
window.addEventListener('palimpsest:generate', async () => {
  if (!root.offsetParent) return;
  await pull.told();
  if (!(await settled())) return;
  const held = { source: state.picture?.name || '', ...pull.said() };
  trigger('generate', kept === version ? { ...held, mask: known } : held);
});
// The viewer beside it has begun to show something, or was told to use it.
window.addEventListener('palimpsest:face', (event) => { if (easel().contains(event.detail.from)) show(event.detail.face); });

new ResizeObserver(() => { if (view.fitted) fit(); else redraw(); }).observe(board);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
watch('value', arrived);
watch('answer', () => { wait(''); pull.refused(); if (root.dataset.mask === 'sending') heard(-1); }); // a wish was refused; the note says why
show('picture');
dress();
arrived();

(() => {
  // The light that was chosen last: before anything is drawn, and again once Gradio has set its own.
  window.palimpsestLight = () => {
    const chosen = localStorage.getItem('palimpsest-light');
    if (chosen && !new URLSearchParams(location.search).get('__theme')) document.body?.classList.toggle('dark', chosen === 'dark');
  };
  document.addEventListener('DOMContentLoaded', window.palimpsestLight);

  const press = (kind) => [...document.querySelectorAll(`.${kind} button, button.${kind}`)].find((each) => each.offsetParent);
  const typing = (target) => target.closest && target.closest('input, textarea, select, [contenteditable]');
  const open = () => document.querySelector('dialog[open], [role=listbox], details.gauge-box[open]');

  document.addEventListener('keydown', (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === 'Enter') {
      event.preventDefault();
      event.stopPropagation();
      setTimeout(() => press('go')?.click(), 30); // a letter typed just before has reached the form by then
    } else if ((command && event.key === '.') || (event.key === 'Escape' && !open())) {
      press('halt')?.click();
    } else if (!command && !event.altKey && !typing(event.target)) {
      if (event.key === '?') window.dispatchEvent(new Event('palimpsest:keys'));
      if (event.key === '/') {
        const prompt = [...document.querySelectorAll('[id$=knob-prompt] textarea')].find((each) => each.offsetParent);
        if (prompt) { event.preventDefault(); prompt.focus(); }
      }
    }
  }, true);

  // A picture dropped anywhere brings its settings back; where there is a canvas, it becomes the picture there.
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  let depth = 0;
  const over = (on) => { depth = on ? depth + 1 : Math.max(depth - 1, 0); document.body.classList.toggle('dropping', depth > 0); for (const kind of ['canvas', 'tray']) document.body.classList.toggle(`to-${kind}`, [...document.querySelectorAll(`.${kind}`)].some((each) => each.offsetParent)); };
  document.addEventListener('dragenter', (event) => carries(event) && over(true), true);
  document.addEventListener('dragleave', (event) => carries(event) && over(false), true);
  document.addEventListener('dragover', (event) => carries(event) && event.preventDefault(), true);
  document.addEventListener('drop', (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    document.body.classList.remove('dropping');
    const file = event.dataTransfer.files[0];
    if (file) window.dispatchEvent(new CustomEvent('palimpsest:files', { detail: [...event.dataTransfer.files] })); // a tray takes all
    if (file) window.dispatchEvent(new CustomEvent('palimpsest:file', { detail: file }));
  }, true);
})();

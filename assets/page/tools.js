const keys = element.querySelector('dialog');
element.querySelector('[data-tool=light]').addEventListener('click', () => {
  const dark = document.body.classList.toggle('dark');
  localStorage.setItem('palimpsest-light', dark ? 'dark' : 'light');
});
element.querySelector('[data-tool=keys]').addEventListener('click', () => keys.showModal());
window.addEventListener('palimpsest:keys', () => keys.open || keys.showModal());
window.palimpsestLight();

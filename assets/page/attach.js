// For what is told of something as long as it is looked at. A page in the background lets go of its line to the server;
// one that hears nothing for long, after sleep or a lost network, asks for a new one.
let heard = Date.now(), resting = 0; // when the server last spoke
const attach = () => { heard = Date.now(); trigger('attach', {}); };
document.addEventListener('visibilitychange', () => {
  clearTimeout(resting);
  if (document.visibilityState === 'visible') attach();
  else resting = setTimeout(() => trigger('rest', {}), 2000);
});
setInterval(() => {
  if (document.visibilityState !== 'visible') return;
  if (Date.now() - heard > 12000) attach();
  const unknown = element.closest('.desk')?.querySelector('.expectation[data-known="no"]'); // it may be known by now
  if (unknown?.offsetParent) trigger('settled', {});
}, 2500);


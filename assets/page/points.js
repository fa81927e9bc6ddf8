
// Where what is pulled has come to, over the preview; and once it is done, the next drag goes on from the result.
const overlay = () => at('.points');
function points() {
  const now = props.value || {}, on = now.state === 'working' && Boolean(now.points) && !frame();
  overlay().toggleAttribute('hidden', !on);
  if (!on) return;
  const width = now.width || 1, height = now.height || 1, unit = Math.max(width, height) / 60;
  overlay().setAttribute('viewBox', `0 0 ${width} ${height}`);
  overlay().style.setProperty('--shape', `${width} / ${height}`);
  const line = (a, b) => `<path d="M${a[0]} ${a[1]}L${b[0]} ${b[1]}" stroke="#fff" stroke-width="${unit / 2}" stroke-dasharray="${unit} ${unit}"/>`;
  const ring = ([x, y], fill) => `<circle cx="${x}" cy="${y}" r="${unit * 0.8}" fill="${fill}" stroke="#fff" stroke-width="${unit / 3}"/>`;
  overlay().innerHTML = now.points.map((each, i) => { const goal = (now.targets || [])[i] || each; return line(each, goal) + ring(goal, 'none') + ring(each, '#c8371f'); }).join('');
}
let continued = '';
function goOn() {
  const now = props.value || {}, last = film()[0];
  if (!props.goes_on || busy(now) || !job || !last || last.job !== job || continued === last.name) return;
  continued = last.name;
  trigger('send', { to: props.place, id: last.id });
  face('picture');
}
watch('value', () => { points(); goOn(); });
watch('film', goOn);

// Plots of a grid as plain SVG: likeness against evaluations, a line a row; and seconds, a bar a column.
const NS = 'http://www.w3.org/2000/svg';
const draw = (kind, made = {}, text = '') => {
  const each = document.createElementNS(NS, kind);
  for (const [name, value] of Object.entries(made)) each.setAttribute(name, value);
  each.textContent = text;
  return each;
};
const INKS = ['#b23a1e', '#4c5d9c', '#7a8b2f', '#a9823f', '#6b3f7d', '#2f7f86', '#8a8172'];

function marks(low, high, count = 4) {
  const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let each = Math.ceil(low / step) * step; each <= high + step / 1e6; each += step) found.push(Number(each.toPrecision(6)));
  return found;
}

function lines() {
  const known = grid(), by = at('.matrix-by').value, svg = at('.matrix-quality');
  const rows = new Map();
  for (const cell of known.cells) {
    const [column, row, sheet] = cell.at;
    if (!cell.url || cell[by] === undefined || cell.evaluations === null || cell.evaluations === undefined || column === known.reference) continue;
    const name = [known.axes[1].word && known.axes[1].values[row], known.axes[2].word && known.axes[2].values[sheet]].filter(Boolean).join(', ');
    if (!rows.has(name)) rows.set(name, []);
    rows.get(name).push({ x: cell.evaluations, y: cell[by], word: known.axes[0].values[column] });
  }
  const points = [...rows.values()].flat();
  svg.closest('figure').hidden = !points.length;
  if (!points.length) return;
  const wide = 460, tall = 240, left = 46, low = 34, top = 12, right = 16;
  const span = (values) => { const [a, b] = [Math.min(...values), Math.max(...values)], room = (b - a || Math.abs(a) || 1) * 0.08; return [a - room, b + room]; };
  const [x0, x1] = span(points.map((each) => each.x)), [y0, y1] = span(points.map((each) => each.y));
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (wide - left - right);
  const y = (value) => tall - low - ((value - y0) / (y1 - y0)) * (tall - low - top);
  const parts = [];
  for (const each of marks(y0, y1)) parts.push(draw('line', { x1: left, x2: wide - right, y1: y(each), y2: y(each), class: 'rule' }), draw('text', { x: left - 6, y: y(each) + 4, 'text-anchor': 'end' }, String(each)));
  for (const each of marks(x0, x1)) parts.push(draw('text', { x: x(each), y: tall - low + 18, 'text-anchor': 'middle' }, String(each)));
  parts.push(draw('text', { x: (left + wide - right) / 2, y: tall - 2, 'text-anchor': 'middle' }, 'network evaluations'));
  const key = [];
  [...rows].forEach(([name, row], n) => {
    const ink = INKS[n % INKS.length];
    row.sort((a, b) => a.x - b.x);
    if (row.length > 1) parts.push(draw('polyline', { points: row.map((each) => `${x(each.x)},${y(each.y)}`).join(' '), fill: 'none', stroke: ink, 'stroke-width': 2 }));
    for (const each of row) {
      const dot = draw('circle', { cx: x(each.x), cy: y(each.y), r: 4.5, fill: ink });
      dot.append(draw('title', {}, `${[each.word, name].filter(Boolean).join(', ')}: ${each.y.toFixed(3)} at ${each.x}`));
      parts.push(dot);
      if (rows.size === 1 && row.length <= 8) parts.push(draw('text', { x: x(each.x), y: y(each.y) - 9, 'text-anchor': 'middle' }, each.word));
    }
    if (name) key.push(make('span', {}, Object.assign(make('i'), { style: `background:${ink}` }), name));
  });
  svg.setAttribute('viewBox', `0 0 ${wide} ${tall}`);
  svg.replaceChildren(...parts);
  at('.matrix-key').replaceChildren(...key);
}

function bars() {
  const known = grid(), svg = at('.matrix-times');
  const times = known.axes[0].values.map((word, c) => {
    const own = known.cells.filter((each) => each.at[0] === c && each.url && each.seconds !== null).map((each) => each.seconds);
    return { word, own, mean: own.reduce((sum, each) => sum + each, 0) / (own.length || 1) };
  }).filter((each) => each.own.length);
  svg.closest('figure').hidden = !times.length;
  if (!times.length) return;
  const wide = 460, step = 30, left = 120, right = 66, most = Math.max(...times.flatMap((each) => each.own));
  const parts = times.flatMap((each, n) => {
    const y = n * step, long = Math.max((each.mean / most) * (wide - left - right), 1);
    const dots = each.own.length > 1 ? each.own.map((one) => draw('circle', { cx: left + (one / most) * (wide - left - right), cy: y + 13, r: 3, class: 'dot' })) : [];
    const word = each.word.length > 16 ? `${each.word.slice(0, 15)}…` : each.word;
    return [
      draw('text', { x: left - 8, y: y + 18, 'text-anchor': 'end' }, word),
      draw('rect', { x: left, y: y + 3, width: long, height: 20, rx: 4, class: 'bar-of-time' }), ...dots,
      draw('text', { x: left + Math.max(long, ...each.own.map((one) => (one / most) * (wide - left - right))) + 8, y: y + 18 }, `${each.mean.toFixed(2)} s`),
    ];
  });
  svg.setAttribute('viewBox', `0 0 ${wide} ${times.length * step + 4}`);
  svg.replaceChildren(...parts);
}

function plots() {
  const known = grid();
  at('.matrix-plots').hidden = !known || known.made < 2;
  if (!known || known.made < 2) return;
  lines();
  bars();
}

lay();
status();
attach();

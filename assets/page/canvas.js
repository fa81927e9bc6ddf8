// The picture that is worked on, its mask and its frame. `props.value` is what the server knows of them, as
// studio/canvas.py puts it; this page draws, and says what it drew.
const root = element.querySelector('.canvas'), easel = () => root.closest('.easel') || root;
const at = (name) => root.querySelector(name), every = (name) => [...root.querySelectorAll(name)];
const board = at('.board'), sheet = at('canvas'), view = new View(sheet);
const SMALLEST = 1, PAUSE = 500; // pixels of the finest brush; milliseconds after which a mask is sent
const state = { picture: null, mask: null, tool: 'brush', size: 40, less: false, flipped: false, cursor: null, pointer: null, sides: null, crop: null };
let version = 0, sent = 0, kept = 0, fresh = 0, known = '', turn = 0, timer = 0, drawing = false, waiting = [];
let earlier = [];

const now = () => props.value || {};
const say = (text) => { at('.said').textContent = text; };
const joined = () => (state.less !== state.flipped ? 0 : 255);
const wait = (text) => { at('.veil-text').textContent = text; at('.veil').hidden = !text; };
const masks = () => Boolean(now().masks && state.mask);
const able = () => (tools[state.tool].pulls ? pull.on() : masks()); // whether the tool has something to work on

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

// What the mask shows has changed, though nothing is to be sent yet.
function stale() {
  view.stamp = '';
  redraw();
}

function whole() {
  const { width, height } = state.picture, [left, top, right, bottom] = state.sides || [0, 0, 0, 0];
  return [-left, -top, width + right, height + bottom];
}
const fit = () => { if (state.picture && view.measure()) view.fit(whole(), state.sides ? 40 : EDGE); redraw(); };

function draw() {
  if (!state.picture || !view.measure()) return;
  view.begin();
  frame.paper(view);
  view.picture(state.picture);
  if (masks()) view.mask(state.mask, version);
  if (state.crop && String(state.crop.box) !== String([0, 0, state.picture.width, state.picture.height])) view.box(state.crop.box);
  frame.draw(view);
  pull.draw(view);
  const tool = tools[state.tool];
  if (able()) tool.sketch(view, state.cursor || state.pointer);
  if (state.cursor) cross(...view.toBoard(state.cursor));
  facts();
}

function cross(x, y) {
  view.outline((pen) => { for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(x + 4 * dx, y + 4 * dy); pen.lineTo(x + 13 * dx, y + 13 * dy); } }, 2);
}

function facts() {
  const { picture, cursor } = state, place = cursor ? `cursor at ${Math.floor(cursor[0])}, ${Math.floor(cursor[1])}` : '';
  const covered = !masks() || state.share === undefined ? '' : state.share ? `${state.share < 0.001 ? 'under 0.1' : (100 * state.share).toFixed(1)} % masked` : pull.on() ? '' : 'nothing masked: all of it may change';
  at('.board-facts').textContent = [`${picture.width} × ${picture.height}`, covered, pull.facts(), `shown at ${Math.round(100 * view.scale)} %`, place, picture.note].filter(Boolean).join(' · ');
  Object.assign(root.dataset, { scale: view.scale, left: view.left, top: view.top });
}

// The mask has changed: show it, and send it once the hand rests.
function altered() {
  version++;
  state.share = state.mask.share();
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE);
  redraw();
}

async function send() {
  clearTimeout(timer);
  if (!state.mask || sent === version) return;
  const stamp = sent = version;
  root.dataset.mask = 'sending';
  const empty = !state.mask.box();
  try {
    const file = empty ? null : await upload(await png(state.mask));
    trigger('masked', { path: file ? file.path : '', stamp });
  } catch (problem) {
    sent = -1;
    heard(-1);
    say('The mask could not be sent; the studio does not answer.');
  }
}
// Resolves once the server has the mask as it is here, or has refused it: false.
async function settled() {
  if (state.mask && sent !== version) send();
  if (!state.mask || kept === version) return true;
  await new Promise((resolve) => { waiting.push(resolve); setTimeout(resolve, 15000); });
  return kept !== -1;
}
function heard(stamp) {
  kept = stamp;
  if (kept !== version && kept !== -1) return;
  root.dataset.mask = kept === -1 ? 'failed' : 'kept';
  for (const each of waiting.splice(0)) each();
}

// What the server says. A picture or mask is taken over only where it is fresher than the last that was; else what is
// drawn here is newer.
async function arrived() {
  const value = now();
  if (value.stamp !== undefined && value.picture?.name === state.picture?.name) { known = value.mask?.name || ''; heard(value.stamp); }
  if ((value.fresh || 0) > fresh) {
    const mine = ++turn;
    fresh = value.fresh;
    wait('');
    await take(value, mine);
    if (mine !== turn) return;
  }
  const latest = now();
  state.crop = latest.crop || null;
  if (!frame.held) state.sides = latest.sides || null;
  pull.arrived(latest);
  const framed = String(latest.sides || '');
  if (framed !== state.framed && view.fitted && state.picture) { state.framed = framed; fit(); }
  dress();
}

async function take(value, mine) {
  const { picture, mask } = value;
  if (!picture) {
    Object.assign(state, { picture: null, mask: null });
    known = '';
    return;
  }
  try {
    if (picture.name !== state.picture?.name) {
      const image = await loaded(picture.url);
      if (mine !== turn) return;
      leave(picture);
      state.picture = { ...picture, image };
      state.mask = new Mask(picture.width, picture.height);
      state.sides = value.sides || null;
      Object.assign(state, { share: 0, cursor: null, size: Math.max(SMALLEST, Math.round(Math.min(picture.width, picture.height) / 8)) });
      version = sent = kept = version + 1;
      known = '';
      fit();
      say(`Picture of ${picture.width} by ${picture.height} pixels. ${picture.note || ''}`);
    }
    if ((mask?.name || '') !== known || sent !== version) {
      const bytes = mask ? await grey(mask.url, picture.width, picture.height) : new Uint8Array(picture.width * picture.height);
      if (mine !== turn) return;
      if (known || mask || state.mask.past.length) state.mask.step((drawn) => drawn.replace(bytes));
      known = mask?.name || '';
      version = sent = kept = version + 1;
      state.share = state.mask.share();
    }
    root.dataset.mask = 'kept';
  } catch (problem) {
    say(problem.message);
  }
  redraw();
}

// The picture before this one stays within reach, one step at a time.
function leave(next) {
  const last = earlier[earlier.length - 1];
  if (last?.source === next.name) earlier.pop();
  else if (state.picture) earlier.push({ source: state.picture.name, mask: known, arrows: pull.kind === 'arrows' ? pull.text() : '' });
}

// Tools and faces as mode and picture have them.
function dress() {
  const there = Boolean(state.picture), value = now();
  sheet.hidden = !there;
  root.dataset.picture = there ? state.picture.name : '';
  for (const name of ['.begin']) at(name).hidden = there;
  at('.board-facts').hidden = !there;
  at('.tools-row').hidden = !there;
  for (const each of every('.draws')) each.classList.toggle('off', !masks() && !(pull.on() && each.matches('.of-pull')));
  for (const each of every('[data-pulls]')) each.hidden = each.dataset.pulls !== pull.kind || !pull.may(each.dataset.do);
  at('[data-tool=select]').hidden = !value.selects;
  at('[data-do=alpha]').hidden = !state.picture?.clear;
  at('.back').hidden = !earlier.length;
  at('.board-crop').hidden = !there || !value.crop;
  at('.board-crop').textContent = value.crop?.text || '';
  const shapes = ['rectangle', 'lasso', 'select'].includes(state.tool), sized = ['brush', 'eraser'].includes(state.tool);
  at('.size').hidden = !sized;
  at('.joins').hidden = !shapes;
  for (const each of every('.pick')) each.setAttribute('aria-pressed', String(each.dataset.tool === state.tool));
  for (const each of every('.join')) each.setAttribute('aria-pressed', String(Boolean(each.dataset.less) === state.less));
  const steps = tools[state.tool].pulls ? pull : state.mask;
  at('[data-do=undo]').disabled = !steps?.past.length;
  at('[data-do=redo]').disabled = !steps?.future.length;
  root.dataset.tool = able() ? state.tool : 'hand';
  root.dataset.pulls = pull.kind;
  at('.size-says').textContent = `${state.size} px`;
  at('.size-slide').value = 100 * Math.log(state.size) / Math.log(largest());
  at('.size-slide').setAttribute('aria-valuetext', `${state.size} pixels`);
  frame.place();
  redraw();
}
const largest = () => Math.max(8, Math.round(Math.max(state.picture?.width || 0, state.picture?.height || 0) / 2));

function choose(tool) {
  if (at(`[data-tool=${tool}].pick`).hidden) return;
  tools[state.tool].cancel();
  state.tool = tool;
  say(at(`[data-tool=${tool}].pick`).getAttribute('aria-label'));
  dress();
}

function resize(size) {
  if (tools[state.tool].pulls) { pull.scale(size > state.size ? 1.1 : 1 / 1.1); return; }
  state.size = Math.max(SMALLEST, Math.min(largest(), Math.round(size)));
  dress();
}

function show(face) {
  easel().dataset.face = root.dataset.face = face;
  for (const each of every('.face')) each.setAttribute('aria-pressed', String(each.dataset.show === face));
  if (face === 'picture') { if (view.fitted) fit(); else redraw(); }
}

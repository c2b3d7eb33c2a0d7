// The timeline: one row of bars for each type, a span that is picked by dragging, and zoom. The Pod counts.

const DAYMS = 86_400_000, YEARMS = 31_556_952_000, LEFT = 168, TALL = 46, GAP = 14, TOP = 10, EDGE = 12;
const TICKS = [1e3, 5e3, 15e3, 6e4, 3e5, 9e5, 36e5, 3 * 36e5, 6 * 36e5, 12 * 36e5, DAYMS, 2 * DAYMS, 7 * DAYMS];
const MONTHS = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000, 12_000];

const two = n => String(n).padStart(2, '0');
function dayText(ms) {
  const d = new Date(ms), y = d.getUTCFullYear();
  return Number.isNaN(y) ? '' : `${y < 0 ? '−' : ''}${String(Math.abs(y)).padStart(4, '0')}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
}
const clock = (ms, step) => `${two(new Date(ms).getUTCHours())}:${two(new Date(ms).getUTCMinutes())}${step < 6e4 ? `:${two(new Date(ms).getUTCSeconds())}` : ''}`;
const when = (ms, step) => (step < DAYMS ? `${dayText(ms)} ${clock(ms, step)}` : dayText(ms));

// Where the axis has marks, and what they say: whole months and years where a span is long.
function ticks(start, end, most) {
  const step = TICKS.find(s => (end - start) / s <= most);
  if (step) {
    const marks = [];
    for (let v = Math.ceil(start / step) * step; v < end; v += step) marks.push([v, step < DAYMS && v % DAYMS ? clock(v, step) : dayText(v)]);
    return marks;
  }
  const months = MONTHS.find(m => (end - start) / (m * YEARMS / 12) <= most) ?? MONTHS.at(-1), marks = [];
  const first = new Date(start), at = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  for (let n = at; ; n += months) {
    const d = new Date(0);
    d.setUTCFullYear(Math.floor(n / 12), ((n % 12) + 12) % 12, 1);
    if (Number.isNaN(d.getTime()) || d.getTime() >= end) return marks;
    if (d.getTime() >= start) marks.push([d.getTime(), months < 12 ? dayText(d.getTime()).slice(0, -3) : String(d.getUTCFullYear())]);
  }
}

export default view(async ({el, ask, on, say, signal}) => {
  const me = Math.random().toString(36).slice(2), answer = await ask('start');
  if (!answer) return;
  const {rows, moreTypes} = answer.result, all = answer.result.span;
  let [start, end] = all, picked = answer.result.picked, counts = [], step = DAYMS, wide = 600, cursor = null, anchor = null;

  // ---- the parts
  const button = (name, text, onclick) => h('button', {type: 'button', 'aria-label': name, title: name, onclick}, text);
  const status = h('span', {class: 'pm-timeline-said'});
  const from = h('input', {type: 'date', 'aria-label': 'from'}), to = h('input', {type: 'date', 'aria-label': 'to, the last day'});
  const clear = h('button', {type: 'button', onclick: () => choose(null)}, 'Clear');
  const into = h('button', {type: 'button', onclick: () => picked && show(...picked)}, 'Zoom to selection');
  const bar = h('div', {class: 'pm-timeline-bar'}, from, h('span', {'aria-hidden': 'true'}, '–'), to, status, into, clear,
    button('Zoom in', '+', () => zoom(.5)), button('Zoom out', '−', () => zoom(2)), h('button', {type: 'button', onclick: () => show(...all)}, 'All'));
  const bottom = TOP + rows.length * (TALL + GAP), height = bottom + 28;
  const brush = svg('rect', {class: 'pm-timeline-brush', y: 2, height: bottom - 4, visibility: 'hidden'});
  const line = svg('line', {class: 'pm-timeline-cursor', y1: 2, y2: bottom, visibility: 'hidden'});
  const axis = svg('g', {class: 'pm-timeline-axis'});
  const drawn = rows.map((r, i) => svg('path', {class: 'pm-timeline-bars', fill: r.colour}));
  const labels = rows.map((r, i) => {
    const y = TOP + i * (TALL + GAP) + TALL / 2;
    return [svg('text', {class: 'pm-timeline-type', x: LEFT - 14, y, 'text-anchor': 'end'}, r.type.length > 22 ? `${r.type.slice(0, 21)}…` : r.type),
      svg('text', {class: 'pm-timeline-date', x: LEFT - 14, y: y + 15, 'text-anchor': 'end'},
        `${r.date} · ${(r.total - r.without).toLocaleString('en')}`,
        svg('title', {}, r.without ? `${r.without.toLocaleString('en')} more have no ${r.date}` : `all have ${r.date}`))];
  });
  const most = rows.map((r, i) => svg('text', {class: 'pm-timeline-most', y: TOP + i * (TALL + GAP) + 9}));
  const floors = rows.map((r, i) => svg('line', {class: 'pm-timeline-floor', y1: TOP + i * (TALL + GAP) + TALL + .5, y2: TOP + i * (TALL + GAP) + TALL + .5}));
  const sheet = svg('svg', {class: 'pm-timeline-sheet', role: 'application', tabindex: 0, height, 'aria-roledescription': 'timeline',
    'aria-label': 'Timeline. Arrow keys move by one bar, with shift they pick, plus and minus zoom, Page keys move on, Escape clears.'},
  axis, brush, ...floors, ...drawn, ...labels.flat(), ...most, line);
  const rest = [moreTypes ? `${moreTypes} more types are not shown.` : '', ...rows.filter(r => r.without).map(r => `${r.without.toLocaleString('en')} × ${r.type} without ${r.date}.`)].filter(Boolean).join(' ');
  el.append(h('div', {class: 'pm-timeline'}, bar, rows.length ? sheet : h('p', {class: 'pm-timeline-empty'}, 'No items'),
    rest ? h('p', {class: 'pm-timeline-rest'}, rest) : null));

  // ---- drawing
  const xOf = ms => LEFT + (ms - start) / (end - start) * wide, msOf = x => start + (x - LEFT) / wide * (end - start);
  function render() {
    wide = Math.max(60, sheet.clientWidth - LEFT - EDGE);
    const right = LEFT + wide, clip = x => Math.max(LEFT, Math.min(right, x));
    axis.replaceChildren(...ticks(start, end, Math.max(2, wide / 92)).map(([v, text]) => svg('g', {},
      svg('line', {x1: xOf(v), x2: xOf(v), y1: 2, y2: bottom}),
      svg('text', {x: Math.min(xOf(v), right - 4), y: bottom + 17, 'text-anchor': xOf(v) > right - 34 ? 'end' : 'middle'}, text))));
    counts.forEach((bars, i) => {
      const y = TOP + i * (TALL + GAP) + TALL, top = Math.max(1, ...bars.map(([, n]) => n));
      drawn[i].setAttribute('d', bars.map(([v, n]) => {
        const a = clip(xOf(v)), b = Math.max(clip(xOf(v + step)) - 1, a + 1.5), t = Math.max(2, n / top * (TALL - 12));
        return xOf(v + step) < LEFT || xOf(v) > right ? '' : `M${a.toFixed(1)} ${y}V${(y - t).toFixed(1)}H${b.toFixed(1)}V${y}z`;
      }).join(''));
      most[i].textContent = bars.length ? top.toLocaleString('en') : '';
      most[i].setAttribute('x', LEFT + 2);
      floors[i].setAttribute('x1', LEFT);
      floors[i].setAttribute('x2', right);
    });
    const [a, b] = picked ? picked.map(v => clip(xOf(v))) : [0, 0];
    brush.setAttribute('visibility', picked && b > a ? 'visible' : 'hidden');
    brush.setAttribute('x', a);
    brush.setAttribute('width', Math.max(0, b - a));
    const seen = cursor !== null && cursor >= start && cursor < end && document.activeElement === sheet;
    line.setAttribute('visibility', seen ? 'visible' : 'hidden');
    if (seen) for (const n of ['x1', 'x2']) line.setAttribute(n, xOf(cursor + step / 2));
  }
  async function show(a, b) {
    const middle = (a + b) / 2, span = Math.max(6e4, Math.min(b - a, 20_000 * YEARMS));
    [start, end] = [Math.max(-8.64e15, middle - span / 2), Math.min(8.64e15, middle + span / 2)];
    render();
    const answer = await ask('bars', {start, end}, {seq: 'bars'});
    if (!answer) return;
    step = answer.result.step;
    counts = answer.result.rows;
    render();
  }
  const zoom = (by, at = (start + end) / 2) => show(at - (at - start) * by, at + (end - at) * by);

  // ---- what is picked
  function mark(count = null) {
    into.disabled = clear.disabled = !picked;
    from.value = picked ? dayText(picked[0]) : '';
    to.value = picked ? dayText(picked[1] - 1) : '';
    status.textContent = picked ? count === null ? '…' : `${count.toLocaleString('en')} selected` : `${rows.reduce((n, r) => n + r.total - r.without, 0).toLocaleString('en')} items`;
    render();
  }
  async function choose(span) {
    picked = span;
    mark();
    const answer = await ask('pick', {start: span?.[0] ?? null, end: span?.[1] ?? null, by: me}, {seq: 'pick'});
    if (!answer) return;
    mark(answer.result);
    say(span ? `${answer.result} items from ${when(span[0], step)} to ${when(span[1] - 1, step)}` : 'nothing selected');
  }
  for (const input of [from, to]) input.addEventListener('change', () => {
    const a = Date.parse(`${from.value}T00:00:00Z`), b = Date.parse(`${to.value}T00:00:00Z`);
    const span = [Number.isNaN(a) ? all[0] : a, Number.isNaN(b) ? all[1] : b + DAYMS];
    if (span[0] < span[1]) choose(span);
  });
  on('picked', ({span, by}) => { if (by !== me) { picked = span; mark(); } });

  // ---- mouse
  const at = e => Math.max(start, Math.min(end, msOf(e.clientX - sheet.getBoundingClientRect().x)));
  let drag = null;
  sheet.addEventListener('pointerdown', e => {
    if (e.button) return;
    drag = [e.clientX, at(e)];
    sheet.setPointerCapture(e.pointerId);
  });
  sheet.addEventListener('pointermove', e => {
    if (!drag || Math.abs(e.clientX - drag[0]) < 4) return;
    const [a, b] = [drag[1], at(e)].sort((x, y) => x - y);
    picked = [Math.floor(a / step) * step, Math.ceil(b / step) * step]; // whole bars
    mark();
  });
  sheet.addEventListener('pointerup', e => {
    if (!drag) return;
    const moved = Math.abs(e.clientX - drag[0]) >= 4;
    if (moved) choose(picked);
    else if (e.detail < 2) { cursor = Math.floor(drag[1] / step) * step; anchor = cursor; tell(); }
    drag = null;
  });
  sheet.addEventListener('pointercancel', () => { drag = null; });
  sheet.addEventListener('dblclick', e => zoom(.4, at(e)));
  sheet.addEventListener('wheel', e => { // without focus the page scrolls, as ever
    if (!e.ctrlKey && document.activeElement !== sheet) return;
    e.preventDefault();
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) { const by = (end - start) * e.deltaX / 600; show(start + by, end + by); }
    else zoom(Math.exp(e.deltaY / 400), at(e));
  }, {passive: false});

  // ---- keys
  function tell() {
    const here = rows.map((r, i) => [counts[i]?.find(([v]) => v === cursor)?.[1] ?? 0, r.type]).filter(([n]) => n);
    say(`${when(cursor, step)}: ${here.map(([n, t]) => `${n.toLocaleString('en')} ${t}`).join(', ') || 'nothing'}`);
    render();
  }
  sheet.addEventListener('keydown', e => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[e.key], page = {PageUp: -.5, PageDown: .5}[e.key];
    if (by) {
      const old = cursor;
      cursor = old === null || old < start || old >= end ? Math.floor((start + end) / 2 / step) * step : old + by * step;
      if (cursor < start || cursor >= end) show(start + by * (end - start) / 4, end + by * (end - start) / 4);
      if (e.shiftKey) {
        anchor ??= old ?? cursor;
        choose([Math.min(anchor, cursor), Math.max(anchor, cursor) + step]);
      } else anchor = cursor;
      tell();
    } else if (page) show(start + page * (end - start), end + page * (end - start));
    else if (e.key === 'Home') show(...all);
    else if (e.key === '+' || e.key === '=') zoom(.5, cursor ?? (start + end) / 2);
    else if (e.key === '-') zoom(2, cursor ?? (start + end) / 2);
    else if (e.key === 'Escape') choose(null);
    else return;
    e.preventDefault();
  });
  for (const name of ['focus', 'blur']) sheet.addEventListener(name, render);
  const sized = new ResizeObserver(render);
  sized.observe(sheet);
  on('dispose', () => sized.disconnect());
  mark();
  if (picked) choose(picked);
  if (rows.length) show(...all);
}, {label: 'timeline'});

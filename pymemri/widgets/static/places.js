// The map: an outline that came from Python, and dots for photos. Dots that would touch are one with a number; zoom splits them.

const NEAR = 46, SHOWN = 24, DEEPEST = 6000; // Pixels between two dots; small copies in the strip; pixels for one degree at the deepest zoom
const degrees = (v, plus, minus) => `${Math.abs(v).toFixed(2)}° ${v < 0 ? minus : plus}`;
const photosText = n => `${n.toLocaleString('en')} photo${n === 1 ? '' : 's'}`;

function pathOf(lines, closed) {
  return lines.map(flat => {
    let d = `M${flat[0]} ${-flat[1]}`;
    for (let i = 2; i < flat.length; i += 2) d += `L${flat[i]} ${-flat[i + 1]}`;
    return closed ? `${d}z` : d;
  }).join('');
}
function runsOf(places) {
  const runs = [];
  for (const i of [...places].sort((a, b) => a - b)) if (runs.length && runs.at(-1)[1] === i) runs.at(-1)[1]++; else runs.push([i, i + 1]);
  return runs;
}

export default view(async ({el, ask, on, say, signal}) => {
  const me = Math.random().toString(36).slice(2), answer = await ask('start');
  if (!answer) return;
  const {total, without, land, borders} = answer.result;
  const numbers = b => Float32Array.from({length: total}, (_, i) => b.getFloat32(4 * i, true));
  const [lats, longs] = answer.buffers.map(b => numbers(b instanceof DataView ? b : new DataView(b.buffer ?? b, b.byteOffset ?? 0)));
  let k = 2, x0 = 0, y0 = 0, clusters = [], active = null, urls = [], picked = new Set(answer.result.picked); // k: pixels for a degree

  // ---- the parts
  const button = (name, text, onclick) => h('button', {type: 'button', 'aria-label': name, title: name, onclick}, text);
  const count = h('span', {class: 'pm-places-said'});
  const clear = h('button', {type: 'button', onclick: () => choose([])}, 'Clear');
  const bar = h('div', {class: 'pm-places-bar'}, count, clear, button('Zoom in', '+', () => scale(2)), button('Zoom out', '−', () => scale(.5)),
    h('button', {type: 'button', onclick: () => fit()}, 'Photos'), h('button', {type: 'button', onclick: () => frame(-180, -62, 180, 84)}, 'World'));
  const earth = svg('g', {'aria-hidden': 'true'}, svg('path', {class: 'pm-places-land', d: pathOf(land, true)}), svg('path', {class: 'pm-places-borders', d: pathOf(borders, false)}));
  const dots = svg('g', {role: 'presentation'});
  const sheet = svg('svg', {class: 'pm-places-sheet', role: 'group', 'aria-roledescription': 'map',
    'aria-label': 'Map. Tab goes to the places, arrow keys from one to the next, Enter shows its photos, plus and minus zoom.'}, earth, dots);
  const strip = h('ul', {class: 'pm-places-strip', 'aria-label': 'photos in this place', hidden: true, tabIndex: 0});
  el.append(h('div', {class: 'pm-places'}, bar, sheet, strip));

  // ---- dots
  function cluster() {
    const [w, t] = [sheet.clientWidth, sheet.clientHeight], cells = new Map();
    for (let i = 0; i < total; i++) {
      const x = longs[i] * k + x0, y = -lats[i] * k + y0;
      if (x < -NEAR || x > w + NEAR || y < -NEAR || y > t + NEAR) continue;
      const key = `${Math.floor(longs[i] * k / NEAR)} ${Math.floor(-lats[i] * k / NEAR)}`; // of the earth, so that panning changes nothing
      const c = cells.get(key) ?? {places: [], x: 0, y: 0};
      c.places.push(i);
      c.x += longs[i];
      c.y += lats[i];
      cells.set(key, c);
    }
    const found = [...cells.values()].map(c => ({places: c.places, long: c.x / c.places.length, lat: c.y / c.places.length}))
      .sort((a, b) => b.places.length - a.places.length), kept = [];
    for (const c of found) { // a cell's border may run through a town: what touches a larger dot joins it
      const host = kept.find(o => Math.hypot((o.long - c.long) * k, (o.lat - c.lat) * k) < size(o) + size(c) + 2);
      if (host) host.places = host.places.concat(c.places); else kept.push(c);
    }
    clusters = kept;
    draw();
  }
  const size = c => (c.places.length === 1 ? 7 : 10 + Math.min(12, 3 * Math.log10(c.places.length) + 2));
  const nameOf = c => `${photosText(c.places.length)} near ${degrees(c.lat, 'north', 'south')}, ${degrees(c.long, 'east', 'west')}`;
  function draw() {
    const held = sheet.contains(document.activeElement) && document.activeElement !== sheet;
    if (!clusters.some(c => c.places[0] === active)) active = clusters[0]?.places[0] ?? null;
    dots.replaceChildren(...clusters.map(c => {
      const on = c.places.some(i => picked.has(i));
      c.node = svg('g', {class: 'pm-places-dot', role: 'button', 'aria-label': nameOf(c), 'aria-pressed': on, tabindex: c.places[0] === active ? 0 : -1},
        svg('circle', {class: 'pm-places-ring', r: size(c) + 4}), svg('circle', {class: 'pm-places-disc', r: size(c)}),
        c.places.length > 1 ? svg('text', {'text-anchor': 'middle', dy: '.35em'}, c.places.length < 10_000 ? c.places.length : `${Math.round(c.places.length / 1000)}k`) : null);
      c.node.addEventListener('click', () => { active = c.places[0]; c.node.focus({preventScroll: true}); choose(c.places); });
      c.node.addEventListener('dblclick', e => { e.stopPropagation(); open(c); });
      return c.node;
    }));
    place();
    if (held) clusters.find(c => c.places[0] === active)?.node.focus({preventScroll: true});
  }
  function place() {
    earth.setAttribute('transform', `translate(${x0} ${y0}) scale(${k / 10})`);
    for (const c of clusters) c.node.setAttribute('transform', `translate(${(c.long * k + x0).toFixed(1)} ${(-c.lat * k + y0).toFixed(1)})`);
  }

  // ---- where one looks
  function frame(west, south, east, north) {
    const [w, t] = [sheet.clientWidth || 600, sheet.clientHeight || 400];
    k = Math.min(DEEPEST, w / Math.max(east - west, .01), t / Math.max(north - south, .01));
    x0 = w / 2 - k * (west + east) / 2;
    y0 = t / 2 + k * (south + north) / 2;
    cluster();
  }
  function around(places) {
    let [w, s, e, n] = [180, 90, -180, -90];
    for (const i of places) { w = Math.min(w, longs[i]); e = Math.max(e, longs[i]); s = Math.min(s, lats[i]); n = Math.max(n, lats[i]); }
    const pad = Math.max(.01, .15 * Math.max(e - w, n - s));
    return [w - pad, s - pad, e + pad, n + pad];
  }
  function fit() {
    if (!total) { frame(-180, -62, 180, 84); return; }
    let [w, s, e, n] = around(longs.keys());
    const wider = Math.max(0, 8 - (e - w)) / 2; // one sees which country it is
    frame(w - wider, s - wider / 2, e + wider, n + wider / 2);
  }
  function open(c) {
    const [w, s, e, n] = around(c.places);
    if (c.places.length > 1 && (e - w > .0201 || n - s > .0201)) frame(w, s, e, n); else scale(3, c.long * k + x0, -c.lat * k + y0);
  }
  function scale(by, x = sheet.clientWidth / 2, y = sheet.clientHeight / 2) {
    const to = Math.max(.8, Math.min(DEEPEST, k * by));
    x0 = x - to / k * (x - x0);
    y0 = y - to / k * (y - y0);
    k = to;
    cluster();
  }

  // ---- what is picked
  function tell() { // once Python knows: "selected" is what the next cell has
    count.textContent = picked.size ? `${picked.size.toLocaleString('en')} of ${photosText(total)} selected`
      : `${photosText(total)}${without ? `; ${without.toLocaleString('en')} more know no place` : ''}`;
  }
  function mark() {
    clear.disabled = !picked.size;
    for (const c of clusters) c.node.setAttribute('aria-pressed', c.places.some(i => picked.has(i)));
  }
  async function choose(places) {
    picked = new Set(places);
    mark();
    ask('pick', {runs: runsOf(places), by: me}, {seq: 'pick'}).then(known => {
      if (!known) return;
      tell();
      say(`${picked.size} selected`);
    });
    for (const u of urls) URL.revokeObjectURL(u);
    urls = [];
    strip.hidden = !places.length;
    strip.replaceChildren(...places.slice(0, SHOWN).map(i => h('li', {dataset: {place: i}}, h('span', {class: 'pm-places-mat'}), h('span', {class: 'pm-places-title', dir: 'auto'}))));
    if (places.length > SHOWN) strip.append(h('li', {class: 'pm-places-more'}, `and ${(places.length - SHOWN).toLocaleString('en')} more in .selected`));
    if (!places.length) return;
    const answer = await ask('tiles', {places: places.slice(0, SHOWN)}, {seq: 'tiles'});
    for (const told of answer?.result ?? []) {
      const li = strip.querySelector(`[data-place="${told.place}"]`);
      if (!li) continue;
      const url = told.copy === null ? null : URL.createObjectURL(new Blob([answer.buffers[told.copy]], {type: 'image/webp'}));
      if (url) urls.push(url);
      li.querySelector('.pm-places-mat').replaceChildren(url ? h('img', {src: url, alt: ''}) : h('span', {}, told.word === 'missing' ? 'its file is missing' : told.word));
      li.querySelector('.pm-places-title').textContent = told.title;
      li.title = [told.title, told.facts].filter(Boolean).join('\n');
    }
  }
  on('picked', ({runs, by}) => {
    if (by === me) return;
    picked = new Set(runs.flatMap(([a, b]) => Array.from({length: b - a}, (_, i) => a + i)));
    mark();
    tell();
  });

  // ---- mouse and keys
  let pan = null, moved = false;
  sheet.addEventListener('pointerdown', e => {
    if (e.button || e.target.closest('.pm-places-dot')) return;
    pan = [e.clientX - x0, e.clientY - y0];
    moved = false;
    sheet.setPointerCapture(e.pointerId);
  });
  sheet.addEventListener('pointermove', e => {
    if (!pan) return;
    [x0, y0] = [e.clientX - pan[0], e.clientY - pan[1]];
    moved = true;
    place();
  });
  for (const name of ['pointerup', 'pointercancel']) sheet.addEventListener(name, () => { if (pan && moved) cluster(); pan = null; });
  sheet.addEventListener('dblclick', e => { const b = sheet.getBoundingClientRect(); scale(2, e.clientX - b.x, e.clientY - b.y); });
  sheet.addEventListener('wheel', e => { // without focus the page scrolls, as ever
    if (!e.ctrlKey && !sheet.contains(document.activeElement)) return;
    e.preventDefault();
    const b = sheet.getBoundingClientRect();
    scale(Math.exp(-e.deltaY / 300), e.clientX - b.x, e.clientY - b.y);
  }, {passive: false});
  sheet.addEventListener('keydown', e => {
    const at = clusters.findIndex(c => c.places[0] === active), c = clusters[at];
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[e.key];
    if (way && c) {
      const cost = o => { const [x, y] = [o.long - c.long, o.lat - c.lat], along = x * way[0] + y * way[1]; return along > 0 ? along + 2 * Math.abs(x * way[1] - y * way[0]) : Infinity; };
      const to = clusters.filter(o => o !== c && cost(o) < Infinity).sort((a, b) => cost(a) - cost(b))[0];
      if (to) { active = to.places[0]; draw(); to.node.focus({preventScroll: true}); }
    } else if ((e.key === 'Enter' || e.key === ' ') && c) choose(c.places);
    else if (e.key === '+' || e.key === '=') { if (c) { const b = c; scale(2, b.long * k + x0, -b.lat * k + y0); } else scale(2); }
    else if (e.key === '-') scale(.5);
    else if (e.key === '0') fit();
    else if (e.key === 'Escape') choose([]);
    else return;
    e.preventDefault();
  });
  let wide = 0;
  const sized = new ResizeObserver(() => {
    if (sheet.clientWidth && !wide) fit(); else if (sheet.clientWidth !== wide) cluster();
    wide = sheet.clientWidth;
    mark();
  });
  sized.observe(sheet);
  on('dispose', () => { sized.disconnect(); for (const u of urls) URL.revokeObjectURL(u); });
  if (picked.size) choose([...picked]);
  mark();
  tell();
}, {label: 'map of photographs'});

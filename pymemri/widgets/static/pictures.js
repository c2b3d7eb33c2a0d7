// The live gallery: a grid of which only the visible tiles exist, what is picked, and one photo at a time in large.

const WORDS = {'damaged': 'cannot be read', 'not readable': 'cannot be read', 'missing': 'its file is missing',
  'no picture': 'no picture', 'gone': 'no longer in the Pod'};
const ROW = 'pm-pictures-tile', TOGETHER = 12, KEPT = 600;
const plural = n => `${n.toLocaleString('en')} photo${n === 1 ? '' : 's'}`;

// Small copies as addresses of blobs; the oldest of many are let go.
function keeper(signal) {
  const kept = new Map();
  const drop = place => { const t = kept.get(place); if (t?.url) URL.revokeObjectURL(t.url); kept.delete(place); };
  signal.addEventListener('abort', () => { for (const place of [...kept.keys()]) drop(place); });
  return {
    get: place => kept.get(place),
    put(place, told, needed) {
      drop(place);
      kept.set(place, told);
      for (const old of kept.keys()) { if (kept.size <= KEPT) break; if (!needed(old)) drop(old); }
    }};
}
const urlOf = (told, buffers) => told.copy === null ? null
  : URL.createObjectURL(new Blob([buffers[told.copy]], {type: 'image/webp'}));

function nothing(word) {
  return h('span', {class: 'pm-pictures-none'},
    svg('svg', {viewBox: '0 0 24 24', width: 26, height: 26, 'aria-hidden': 'true', fill: 'none', stroke: 'currentColor',
      'stroke-width': 1.4}, svg('rect', {x: 3, y: 5, width: 18, height: 14, rx: 2}),
    svg('path', {d: 'M3 16l5-5 4 4m2-2l2-2 5 5M4 3l16 18'})), h('span', {}, WORDS[word] ?? word));
}

// Places that are picked, as runs: 5,000 of them are one pair of numbers.
function runsOf(picked) {
  const runs = [];
  for (const i of [...picked].sort((a, b) => a - b)) {
    if (runs.length && runs.at(-1)[1] === i) runs.at(-1)[1]++; else runs.push([i, i + 1]);
  }
  return runs;
}

export default view(async ({el, ask, on, say, signal}) => {
  const me = Math.random().toString(36).slice(2), kept = keeper(signal);
  const answer = await ask('start');
  if (!answer) return;
  const total = answer.result.total, picked = new Set(answer.result.picked);
  let active = 0, anchor = 0, columns = 1, cell = 160, height = 190, wanted = [], busy = 0, open = null;
  const tiles = new Map(), flying = new Set();

  // ---- the parts
  const count = h('span', {class: 'pm-pictures-count'});
  const all = h('button', {type: 'button', onclick: () => choose(range(0, total))}, 'Select all');
  const none = h('button', {type: 'button', onclick: () => choose([])}, 'Clear');
  const bar = h('div', {class: 'pm-pictures-bar'}, count, h('span', {class: 'pm-pictures-space'}), all, none);
  const space = h('div', {class: 'pm-pictures-all', role: 'presentation'});
  const grid = h('div', {class: 'pm-pictures-grid', role: 'listbox', 'aria-multiselectable': 'true', tabIndex: 0,
    'aria-label': `${plural(total)}; arrows move, space picks, Enter enlarges`}, space);
  const frame = h('div', {class: 'pm-pictures'}, bar, grid);
  el.append(frame);
  if (!total) grid.replaceChildren(h('p', {class: 'pm-pictures-empty', role: 'option', 'aria-disabled': 'true'}, 'No photos'));

  // ---- what is picked
  function range(a, b) { return Array.from({length: b - a}, (_, i) => a + i); }
  function tell() { // once Python knows: "selected" is what the next cell has
    count.textContent = picked.size ? `${picked.size.toLocaleString('en')} of ${plural(total)} selected` : plural(total);
  }
  function mark() {
    for (const [i, tile] of tiles) tile.setAttribute('aria-selected', picked.has(i));
    none.disabled = !picked.size;
    all.disabled = picked.size === total;
    open?.mark();
  }
  async function choose(places) {
    picked.clear();
    for (const i of places) picked.add(i);
    mark();
    if (!await ask('pick', {runs: runsOf(picked), by: me}, {seq: 'pick'})) return;
    tell();
    say(`${picked.size} selected`);
  }
  const toggle = i => choose(picked.has(i) ? [...picked].filter(j => j !== i) : [...picked, i]);
  const span = i => choose(range(Math.min(anchor, i), Math.max(anchor, i) + 1));
  on('picked', ({runs, by}) => {
    if (by === me) return;
    picked.clear();
    for (const [a, b] of runs) for (let i = a; i < b; i++) picked.add(i);
    mark();
    tell();
  });

  // ---- tiles
  function fill(tile, told) {
    tile.setAttribute('aria-label', [told.title, told.people.join(', '), told.facts].filter(Boolean).join('. '));
    tile.querySelector('.pm-pictures-mat').replaceChildren(told.url
      ? h('img', {src: told.url, alt: '', draggable: 'false'}) : nothing(told.word));
    tile.querySelector('.pm-pictures-title').textContent = told.title;
    tile.title = [told.title, told.people.join(', ')].filter(Boolean).join('\n');
  }
  function tileAt(i) {
    const tile = h('div', {class: ROW, role: 'option', id: `pm-${me}-${i}`, 'aria-selected': picked.has(i), 'aria-label': `photo ${i + 1}`,
      'aria-setsize': total, 'aria-posinset': i + 1, dataset: {place: i}},
    h('span', {class: 'pm-pictures-mat'}), h('span', {class: 'pm-pictures-tick', 'aria-hidden': 'true'}),
    h('span', {class: 'pm-pictures-title', dir: 'auto'}));
    if (kept.get(i)) fill(tile, kept.get(i));
    return tile;
  }
  function draw() {
    if (!total) return;
    const from = Math.max(0, Math.floor(grid.scrollTop / height) - 1) * columns;
    const to = Math.min(total, (Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 1) * columns);
    const needed = i => i >= from && i < to || i === active;
    for (const [i, tile] of tiles) if (!needed(i)) { tile.remove(); tiles.delete(i); }
    for (const i of [...range(from, to), active]) {
      if (!tiles.has(i)) { const tile = tileAt(i); tiles.set(i, tile); space.append(tile); }
      const style = tiles.get(i).style;
      style.width = `${cell}px`;
      style.height = `${height}px`;
      style.transform = `translate(${i % columns * cell}px, ${Math.floor(i / columns) * height}px)`;
      tiles.get(i).classList.toggle('pm-pictures-active', i === active);
    }
    grid.setAttribute('aria-activedescendant', `pm-${me}-${active}`);
    wanted = range(from, to).filter(i => !kept.get(i) && !flying.has(i));
    fetchMore();
  }
  async function fetchMore() { // a dozen at a time, and of what was scrolled past nothing
    while (busy < 2 && wanted.length) {
      const places = wanted.splice(0, TOGETHER);
      busy++;
      for (const i of places) flying.add(i);
      ask('tiles', {places}).then(answer => {
        busy--;
        if (signal.aborted) return;
        for (const i of places) flying.delete(i);
        for (const told of answer?.result ?? []) {
          kept.put(told.place, {...told, url: urlOf(told, answer.buffers)}, i => tiles.has(i));
          if (tiles.has(told.place)) fill(tiles.get(told.place), kept.get(told.place));
        }
        if (answer) draw();
      });
    }
  }
  function measure() {
    const width = space.clientWidth || grid.clientWidth;
    columns = Math.max(1, Math.floor(width / 150));
    cell = Math.floor(width / columns);
    height = cell + 24;
    space.style.height = `${Math.ceil(total / columns) * height}px`;
    draw();
  }
  function go(i) {
    active = Math.max(0, Math.min(total - 1, i));
    const top = Math.floor(active / columns) * height;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
    draw();
  }

  // ---- one photo in large
  function enlarge(i) {
    let url = null;
    const picture = h('div', {class: 'pm-pictures-large'}), title = h('h3', {dir: 'auto', id: `pm-${me}-title`});
    const people = h('ul', {'aria-label': 'people'}), facts = h('p', {class: 'pm-pictures-facts', dir: 'auto'});
    const button = (name, text, onclick) => h('button', {type: 'button', 'aria-label': name, title: name, onclick}, text);
    const back = button('Previous', '‹', () => step(-1)), next = button('Next', '›', () => step(1));
    const pick = h('button', {type: 'button', 'aria-pressed': 'false', onclick: () => toggle(active)}, 'Select');
    const box = h('div', {class: 'pm-pictures-box', role: 'dialog', 'aria-modal': 'true', 'aria-labelledby': `pm-${me}-title`, tabIndex: -1},
      h('div', {class: 'pm-pictures-boxbar'}, title, pick, button('Close', '×', close)),
      h('div', {class: 'pm-pictures-stage'}, back, picture, next), h('div', {class: 'pm-pictures-said'}, people, facts));
    const hide = () => { if (url) URL.revokeObjectURL(url); url = null; };
    function close() { hide(); box.remove(); open = null; grid.inert = bar.inert = false; grid.focus({preventScroll: true}); }
    function step(by) { if (active + by >= 0 && active + by < total) { go(active + by); show(); } }
    function tell(told, address) {
      title.textContent = told.title;
      people.replaceChildren(...told.people.map(p => h('li', {dir: 'auto'}, p)));
      facts.textContent = [told.name, told.facts, `${(told.place + 1).toLocaleString('en')} of ${total.toLocaleString('en')}`]
        .filter(Boolean).join(' · ');
      picture.replaceChildren(address ? h('img', {src: address, alt: told.title}) : nothing(told.word));
    }
    async function show() {
      const small = kept.get(active);
      if (small?.url) tell(small, small.url);
      back.disabled = active === 0;
      next.disabled = active === total - 1;
      mark();
      const answer = await ask('large', {place: active}, {seq: 'large'});
      if (!answer || open?.box !== box || answer.result[0].place !== active) return;
      hide();
      url = urlOf(answer.result[0], answer.buffers);
      tell(answer.result[0], url);
    }
    box.addEventListener('keydown', e => {
      const by = {ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1}[e.key];
      if (by) step(by);
      else if (e.key === 'Escape') close();
      else if (e.key === ' ' && e.target === box) toggle(active);
      else if (e.key === 'Tab') {
        const stops = [...box.querySelectorAll('button:not(:disabled)')], at = stops.indexOf(document.activeElement);
        stops.at((at + (e.shiftKey ? -1 : 1)) % stops.length).focus();
      } else return;
      e.preventDefault();
    });
    const marked = () => { pick.setAttribute('aria-pressed', picked.has(active)); pick.textContent = picked.has(active) ? 'Selected ✓' : 'Select'; };
    open = {box, mark: marked};
    grid.inert = bar.inert = true;
    frame.append(box);
    box.focus({preventScroll: true});
    go(i);
    show();
  }

  // ---- keys and clicks
  grid.addEventListener('keydown', e => {
    if (!total) return;
    const page = Math.max(1, Math.floor(grid.clientHeight / height)) * columns;
    const to = {ArrowLeft: active - 1, ArrowRight: active + 1, ArrowUp: active - columns, ArrowDown: active + columns, Home: 0,
      End: total - 1, PageUp: active - page, PageDown: active + page}[e.key];
    if (to !== undefined) {
      if (!e.shiftKey) anchor = Math.max(0, Math.min(total - 1, to));
      go(to);
      if (e.shiftKey) span(active);
    } else if (e.key === ' ') { anchor = active; toggle(active); }
    else if (e.key === 'Enter') enlarge(active);
    else if (e.key === 'Escape') choose([]);
    else if (e.key.toLowerCase() === 'a' && (e.ctrlKey || e.metaKey)) choose(range(0, total));
    else return;
    e.preventDefault();
  });
  const placeOf = e => { const tile = e.target.closest(`.${ROW}`); return tile ? Number(tile.dataset.place) : null; };
  grid.addEventListener('click', e => {
    const i = placeOf(e);
    if (i === null) return;
    if (e.shiftKey) { go(i); span(i); return; }
    active = anchor = i;
    draw();
    if (e.ctrlKey || e.metaKey || e.target.closest('.pm-pictures-tick')) toggle(i); else choose([i]);
  });
  grid.addEventListener('dblclick', e => {
    if (placeOf(e) !== null && !e.target.closest('.pm-pictures-tick')) enlarge(placeOf(e));
  });
  let frameAsked = false;
  grid.addEventListener('scroll', () => {
    if (!frameAsked) requestAnimationFrame(() => { frameAsked = false; draw(); });
    frameAsked = true;
  });
  const sized = new ResizeObserver(measure);
  sized.observe(grid);
  on('dispose', () => sized.disconnect());
  measure();
  grid.style.height = total ? `${Math.min(520, Math.ceil(total / columns) * height + 10)}px` : 'auto';
  measure();
  mark();
  tell();
}, {label: 'photo gallery'});

// The graph: an SVG that grows. d3-force finds the places; what is drawn stands in Python.

const CALM = matchMedia('(prefers-reduced-motion: reduce)'), NAMED = 40, KEYS = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'];

export default view(async ({el, ask, on, say, signal}) => {
  const me = Math.random().toString(36).slice(2);
  let nodes = [], arrows = [], colours = {}, picked = [], active = null, zoom = 1, shift = [0, 0], fitted = true, frame = 0;

  // ---- the parts
  const button = (name, text, onclick) => h('button', {type: 'button', 'aria-label': name, title: name, onclick}, text);
  const legend = h('ul', {class: 'pm-graph-legend', 'aria-label': 'types'});
  const count = h('span', {class: 'pm-graph-count'});
  const hider = h('button', {type: 'button', onclick: () => hide()}, 'Hide');
  const bar = h('div', {class: 'pm-graph-bar'}, legend, count, hider, button('Zoom in', '+', () => scale(1.3)),
    button('Zoom out', '−', () => scale(1 / 1.3)), h('button', {type: 'button', onclick: () => { fitted = true; render(); }}, 'Fit'));
  const lines = svg('g', {class: 'pm-graph-lines'}), dots = svg('g', {role: 'presentation'}), world = svg('g', {role: 'presentation'}, lines, dots);
  const tip = `pm-graph-tip-${me}`;
  const sheet = svg('svg', {class: 'pm-graph-sheet', role: 'group', 'aria-roledescription': 'graph',
    'aria-label': 'Graph. Arrow keys go from node to node, Enter expands, space picks, Delete hides, plus and minus zoom.'},
  svg('defs', {}, svg('marker', {id: tip, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto'},
    svg('path', {d: 'M0 0L8 4L0 8z', fill: 'currentColor'}))), world);
  el.append(h('div', {class: 'pm-graph'}, bar, sheet));

  // ---- forces
  const links = d3.forceLink().id(n => n.key).distance(l => 100 + 1.5 * Math.sqrt(Math.max(l.source.degree, l.target.degree)) * 6).strength(.5);
  const sim = d3.forceSimulation().force('link', links).force('apart', d3.forceManyBody().strength(-320).distanceMax(700))
    .force('touch', d3.forceCollide(30)).force('x', d3.forceX().strength(.035)).force('y', d3.forceY().strength(.05)).alphaDecay(.035).stop();
  function run(heat) {
    sim.alpha(Math.max(sim.alpha(), heat));
    if (CALM.matches) { while (sim.alpha() > sim.alphaMin()) sim.tick(); render(); return; }
    if (!frame) frame = requestAnimationFrame(step);
  }
  function step() {
    frame = 0;
    if (signal.aborted) return;
    sim.tick(1 + Math.floor(nodes.length / 60)); // drawing is what costs; many nodes come to rest in as many pictures as few
    render();
    if (sim.alpha() > sim.alphaMin()) frame = requestAnimationFrame(step);
  }

  // ---- drawing
  const radius = n => (n.first ? 11 : 8) + Math.min(5, Math.sqrt(n.degree));
  const away = (a, key) => (a.source.key === key ? a.target : a.source);
  function told(n) {
    const near = arrows.filter(a => a.source === n || a.target === n).slice(0, 6)
      .map(a => (a.source === n ? `${a.name} to ${a.target.name}` : `${a.name} from ${a.source.name}`));
    return [`${n.name}, ${n.type}`, ...near, n.open ? n.more ? `${n.more} more` : '' : 'Enter expands'].filter(Boolean).join('; ');
  }
  function take(state) {
    const old = new Map(nodes.map(n => [n.key, n]));
    colours = state.colours;
    nodes = state.nodes.map(n => Object.assign(old.get(n.key) ?? {degree: 0}, n));
    const at = new Map(nodes.map(n => [n.key, n]));
    for (const n of nodes) n.degree = 0;
    arrows = state.arrows.map(a => ({...a, source: at.get(a.source), target: at.get(a.target)}));
    for (const a of arrows) { a.source.degree++; a.target.degree++; }
    for (const n of nodes) { // a new node comes out of the one it belongs to
      if (n.x !== undefined) continue;
      const from = arrows.filter(a => a.source === n || a.target === n).map(a => away(a, n.key)).find(o => o.x !== undefined);
      const turn = nodes.indexOf(n) * 2.4;
      if (from) { n.x = from.x + 30 * Math.cos(turn); n.y = from.y + 30 * Math.sin(turn); }
    }
    const twins = new Map();
    for (const a of arrows) { // several edges between two nodes are bent apart
      const pair = [a.source.key, a.target.key].sort().join('\n');
      a.nth = twins.get(pair) ?? 0;
      twins.set(pair, a.nth + 1);
    }
    picked = picked.filter(k => at.has(k));
    if (!at.has(active)) active = nodes[0]?.key ?? null;
    sim.nodes(nodes);
    links.links(arrows);
    build();
    run(.8);
  }
  function build() {
    const held = sheet.contains(document.activeElement);
    lines.replaceChildren(...arrows.map(a => {
      a.line = svg('path', {'marker-end': `url(#${tip})`});
      a.text = svg('text', {class: 'pm-graph-edge', 'text-anchor': 'middle'}, a.name);
      return svg('g', {}, a.line, a.text);
    }));
    dots.replaceChildren(...nodes.map(n => {
      const r = radius(n), open = !n.open || n.more;
      n.node = svg('g', {class: 'pm-graph-node', role: 'button', tabindex: n.key === active ? 0 : -1, 'aria-label': told(n),
        'aria-pressed': picked.includes(n.key)},
      svg('circle', {class: 'pm-graph-ring', r: r + 4}), svg('circle', {class: open ? 'pm-graph-dot pm-graph-closed' : 'pm-graph-dot', r, fill: colours[n.type]}),
      svg('text', {class: 'pm-graph-name', y: r + 14, 'text-anchor': 'middle'}, n.name),
      n.more ? svg('text', {class: 'pm-graph-more', y: r + 27, 'text-anchor': 'middle'}, `… ${n.more} more`) : null);
      listen(n);
      return n.node;
    }));
    legend.replaceChildren(...Object.entries(colours).filter(([t]) => nodes.some(n => n.type === t)).map(([t, c]) =>
      h('li', {}, h('span', {class: 'pm-graph-swatch', style: {background: c}}), t)));
    sheet.classList.toggle('pm-graph-busy', arrows.length > NAMED);
    mark();
    tell();
    if (held) nodes.find(n => n.key === active)?.node.focus({preventScroll: true});
  }
  function mark() {
    for (const n of nodes) {
      n.node.setAttribute('aria-pressed', picked.includes(n.key));
      n.node.setAttribute('tabindex', n.key === active ? 0 : -1);
    }
    for (const a of arrows) {
      const near = [a.source.key, a.target.key].some(k => picked.includes(k));
      a.line.parentNode.classList.toggle('pm-graph-near', near);
    }
    hider.disabled = !picked.length;
    if (arrows.length > NAMED && nodes.every(n => n.x !== undefined)) render();
  }
  function fit() {
    const box = sheet.getBoundingClientRect();
    if (!nodes.length || !box.width) return;
    const xs = nodes.map(n => n.x ?? 0), ys = nodes.map(n => n.y ?? 0);
    const [x0, x1, y0, y1] = [Math.min(...xs) - 80, Math.max(...xs) + 80, Math.min(...ys) - 40, Math.max(...ys) + 50];
    zoom = Math.min(1.4, box.width / (x1 - x0), box.height / (y1 - y0));
    shift = [box.width / 2 - zoom * (x0 + x1) / 2, box.height / 2 - zoom * (y0 + y1) / 2];
  }
  function render() {
    if (fitted) fit();
    world.setAttribute('transform', `translate(${shift[0].toFixed(2)} ${shift[1].toFixed(2)}) scale(${zoom.toFixed(4)})`);
    sheet.classList.toggle('pm-graph-far', zoom < .45);
    for (const n of nodes) n.node.setAttribute('transform', `translate(${n.x.toFixed(1)} ${n.y.toFixed(1)})`);
    for (const a of arrows) {
      const [s, t] = [a.source, a.target], dx = t.x - s.x, dy = t.y - s.y, long = Math.hypot(dx, dy) || 1, [ux, uy] = [dx / long, dy / long];
      if (s === t) {
        const r = radius(s);
        a.line.setAttribute('d', `M${s.x - 4} ${s.y - r - 3}C${s.x - 34} ${s.y - r - 44} ${s.x + 34} ${s.y - r - 44} ${s.x + 6} ${s.y - r - 5}`);
        a.text.setAttribute('transform', `translate(${s.x} ${s.y - r - 36})`);
        continue;
      }
      const bend = (a.nth % 2 ? -1 : 1) * Math.ceil(a.nth / 2) * 26 * (s.key < t.key ? 1 : -1), [mx, my] = [(s.x + t.x) / 2 - uy * bend, (s.y + t.y) / 2 + ux * bend];
      const [p, q] = [radius(s) + 5, radius(t) + 7], into = Math.hypot(t.x - mx, t.y - my) || 1, out = Math.hypot(mx - s.x, my - s.y) || 1;
      a.line.setAttribute('d', `M${s.x + (mx - s.x) / out * p} ${s.y + (my - s.y) / out * p}Q${mx} ${my} ${t.x - (t.x - mx) / into * q} ${t.y - (t.y - my) / into * q}`);
      if (arrows.length > NAMED && !picked.includes(s.key) && !picked.includes(t.key)) continue; // its name is not shown
      let turn = Math.atan2(dy, dx) * 180 / Math.PI;
      if (turn > 90 || turn < -90) turn += 180;
      a.text.setAttribute('transform', `translate(${((s.x + t.x) / 2 + mx) / 2} ${((s.y + t.y) / 2 + my) / 2}) rotate(${turn.toFixed(1)}) translate(0 -4)`);
    }
  }

  // ---- what one can do
  function tell() { // once Python knows: "selected" is what the next cell has
    count.textContent = `${nodes.length} node${nodes.length === 1 ? '' : 's'}${picked.length ? `, ${picked.length} selected` : ''}`;
  }
  async function choose(keys) {
    picked = keys;
    mark();
    if (!await ask('pick', {keys: picked, by: me}, {seq: 'pick'})) return;
    tell();
    say(picked.length === 1 ? `${nodes.find(n => n.key === picked[0])?.name} selected` : `${picked.length} selected`);
  }
  const toggle = key => choose(picked.includes(key) ? picked.filter(k => k !== key) : [...picked, key]);
  async function expand(n) {
    if (n.open && !n.more || n.asked) return;
    n.asked = true;
    const before = nodes.length, answer = await ask('expand', {key: n.key});
    n.asked = false;
    if (answer) say(`${nodes.length - before} more nodes${answer.result ? `, ${answer.result} edges remain` : ''}`);
  }
  function hide() {
    if (picked.length) ask('hide', {keys: picked.length ? picked : [active]});
    picked = [];
  }
  function scale(by, x = sheet.clientWidth / 2, y = sheet.clientHeight / 2) {
    const to = Math.max(.08, Math.min(4, zoom * by)), k = to / zoom;
    shift = [x - k * (x - shift[0]), y - k * (y - shift[1])];
    zoom = to;
    fitted = false;
    render();
  }
  function focus(n) {
    active = n.key;
    mark();
    n.node.focus({preventScroll: true});
    const x = n.x * zoom + shift[0], y = n.y * zoom + shift[1], [w, t] = [sheet.clientWidth, sheet.clientHeight];
    if (x < 20 || x > w - 20 || y < 20 || y > t - 20) { shift = [shift[0] + w / 2 - x, shift[1] + t / 2 - y]; fitted = false; render(); }
  }
  function neighbour(n, key) { // the nearest node in a direction
    const [dx, dy] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[key];
    let best = null, cost = Infinity;
    for (const o of nodes) {
      const [x, y] = [o.x - n.x, o.y - n.y], along = x * dx + y * dy, across = Math.abs(x * dy - y * dx);
      if (o !== n && along > 0 && across < 2 * along && along + 2 * across < cost) { best = o; cost = along + 2 * across; }
    }
    return best;
  }
  function listen(n) {
    let from = null, moved = false;
    n.node.addEventListener('pointerdown', e => {
      if (e.button) return;
      e.stopPropagation();
      from = [e.clientX, e.clientY, n.x, n.y];
      moved = false;
      n.node.setPointerCapture(e.pointerId);
    });
    n.node.addEventListener('pointermove', e => {
      if (!from) return;
      if (!moved && Math.hypot(e.clientX - from[0], e.clientY - from[1]) < 4) return;
      moved = true;
      fitted = false;
      n.fx = n.x = from[2] + (e.clientX - from[0]) / zoom;
      n.fy = n.y = from[3] + (e.clientY - from[1]) / zoom;
      run(.25);
    });
    n.node.addEventListener('pointerup', e => {
      if (!from) return;
      from = null;
      active = n.key;
      if (moved) return;
      n.node.focus({preventScroll: true});
      if (e.ctrlKey || e.metaKey || e.shiftKey) { toggle(n.key); return; }
      choose([n.key]);
      expand(n);
    });
  }
  sheet.addEventListener('keydown', e => {
    const n = nodes.find(o => o.key === active);
    if (!n) return;
    if (KEYS.includes(e.key)) { const to = neighbour(n, e.key); if (to) focus(to); }
    else if (e.key === 'Enter') { choose([n.key]); expand(n); }
    else if (e.key === ' ') toggle(n.key);
    else if (e.key === 'Escape') choose([]);
    else if (e.key === 'Delete' || e.key === 'Backspace') { if (!picked.length) picked = [n.key]; hide(); }
    else if (e.key === '+' || e.key === '=') scale(1.3);
    else if (e.key === '-') scale(1 / 1.3);
    else if (e.key === '0') { fitted = true; render(); }
    else return;
    e.preventDefault();
  });
  let pan = null;
  sheet.addEventListener('pointerdown', e => {
    if (e.button) return;
    pan = [e.clientX - shift[0], e.clientY - shift[1]];
    sheet.setPointerCapture(e.pointerId);
  });
  sheet.addEventListener('pointermove', e => {
    if (!pan) return;
    shift = [e.clientX - pan[0], e.clientY - pan[1]];
    fitted = false;
    render();
  });
  for (const name of ['pointerup', 'pointercancel']) sheet.addEventListener(name, () => { pan = null; });
  sheet.addEventListener('wheel', e => { // without focus the page scrolls, as ever
    if (!e.ctrlKey && !sheet.contains(document.activeElement)) return;
    e.preventDefault();
    const box = sheet.getBoundingClientRect();
    scale(Math.exp(-e.deltaY / 400), e.clientX - box.x, e.clientY - box.y);
  }, {passive: false});
  const sized = new ResizeObserver(() => render());
  sized.observe(sheet);
  on('dispose', () => { sized.disconnect(); cancelAnimationFrame(frame); });
  on('drawn', take);
  on('picked', ({keys, by}) => { if (by !== me) { picked = keys; mark(); tell(); } });
  const answer = await ask('start');
  if (!answer) return;
  picked = answer.result.picked;
  take(answer.result);
}, {label: 'graph'});

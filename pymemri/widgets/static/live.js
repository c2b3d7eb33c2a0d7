// The base of all live views. The file of one view is put behind this one, and the two are one module, so a view calls
// `h`, `svg` and `view` without importing anything. Nothing here turns text into markup: text goes in as text.

const SVG = 'http://www.w3.org/2000/svg';
const PROPERTIES = new Set(['value', 'checked', 'selected', 'indeterminate', 'disabled', 'hidden', 'tabIndex']);
const ADDRESSES = {href: /^(https?:|mailto:|#)/i, src: /^(blob:|data:image\/(webp|png|jpeg|gif);)/i};
const SILENT = 'The kernel does not answer. A cell that runs delays it; after a restart, run this cell again.';

// One attribute of a node. Functions listen, properties are set, addresses must be of a harmless kind.
function put(node, name, value) {
  if (value === null || value === undefined || (value === false && !PROPERTIES.has(name))) return;
  if (typeof value === 'function') node.addEventListener(name.replace(/^on/, '').toLowerCase(), value);
  else if (/^on/i.test(name)) throw new Error(`${name} takes a function`);
  else if (name === 'style') for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
  else if (name === 'dataset') Object.assign(node.dataset, value);
  else if (PROPERTIES.has(name)) node[name] = value;
  else if (!(name in ADDRESSES) || ADDRESSES[name].test(String(value).trim()))
    node.setAttribute(name, value === true ? '' : String(value));
}

function build(node, attrs, children) {
  for (const [name, value] of Object.entries(attrs ?? {})) put(node, name, value);
  node.append(
    ...children
      .flat(Infinity)
      .filter(c => c !== null && c !== undefined && c !== false)
      .map(c => (c instanceof Node ? c : document.createTextNode(String(c)))),
  );
  return node;
}

// h('button', {class: 'x', onclick: f, 'aria-label': 'Back'}, 'text', node, [more]) builds an element.
function h(tag, attrs, ...children) {
  return build(document.createElement(tag), attrs, children);
}
// The same for drawings.
function svg(tag, attrs, ...children) {
  return build(document.createElementNS(SVG, tag), attrs, children);
}

// Instead of what is in a node, these children; what is null is left out.
function refill(node, ...children) {
  node.replaceChildren();
  return build(node, null, children);
}

// Calls `fn` once, `ms` (or `ms()`) after the last of many calls; `.now()` does not wait, `.cancel()` forgets.
function debounce(fn, ms) {
  let timer = null,
    args = [];
  const run = () => {
    timer = null;
    fn(...args);
  };
  const later = (...a) => {
    args = a;
    clearTimeout(timer);
    timer = setTimeout(run, typeof ms === 'function' ? ms() : ms);
  };
  later.now = (...a) => {
    if (a.length) args = a;
    clearTimeout(timer);
    run();
  };
  later.cancel = () => {
    clearTimeout(timer);
    timer = null;
  };
  return later;
}

// What talks to the Python side. `lanes`: of the questions on one lane one is under way and one waits, the newest;
// an answer that came too late for its lane is dropped.
function talker(model, {onSilent, onAnswer}) {
  const me = Math.random().toString(36).slice(2),
    waiting = new Map(),
    lanes = new Map();
  let last = 0;
  const send = (name, args) =>
    new Promise(resolve => {
      const seq = ++last,
        timer = setTimeout(() => waiting.has(seq) && onSilent(true), 3000);
      waiting.set(seq, {name, timer, resolve});
      try {
        model.send({ask: name, args, seq, view: me});
      } catch (e) {
        onSilent(true);
      }
    });
  const receive = (content, buffers) => {
    const asked = content.view === me ? waiting.get(content.seq) : undefined;
    if (!asked) return;
    waiting.delete(content.seq);
    clearTimeout(asked.timer);
    onSilent(false);
    onAnswer(asked.name, content.error);
    asked.resolve({result: content.result, error: content.error, buffers: buffers ?? []});
  };
  const inLane = async (key, name, args) => {
    if (!lanes.has(key)) lanes.set(key, {busy: false, next: null, last: null});
    const lane = lanes.get(key),
      mine = (lane.last = Symbol());
    if (lane.busy) {
      lane.next?.(false);
      if (
        !(await new Promise(go => {
          lane.next = go;
        }))
      )
        return undefined;
    }
    lane.busy = true;
    const answer = await send(name, args);
    if (lane.next) {
      const go = lane.next;
      lane.next = null;
      go(true);
    } else lane.busy = false;
    return lane.last === mine ? answer : undefined;
  };
  const stop = () => {
    for (const {timer} of waiting.values()) clearTimeout(timer);
    waiting.clear();
  };
  return {receive, stop, ask: (name, args, lane) => (lane === null ? send(name, args) : inLane(lane, name, args))};
}

// 'dark' where the text around `node` is light.
function themeOf(node) {
  const [r, g, b] = getComputedStyle(node)
    .color.match(/[\d.]+/g)
    .map(Number);
  return 0.3 * r + 0.6 * g + 0.1 * b > 128 ? 'dark' : 'light';
}

// Calls `fn` when the host changes its colours.
function watchTheme(node, signal, fn) {
  let now = themeOf(node);
  const look = () =>
    requestAnimationFrame(() => {
      if (!signal.aborted && node.isConnected && now !== themeOf(node)) fn((now = themeOf(node)));
    });
  const watcher = new MutationObserver(look),
    attributeFilter = ['class', 'style', 'data-jp-theme-name', 'data-theme'];
  for (const e of [document.documentElement, document.body]) watcher.observe(e, {attributes: true, attributeFilter});
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', look, {signal});
  signal.addEventListener('abort', () => watcher.disconnect());
}

// A view: `setup` gets
//   el       where it draws                       root     the element around it, with the notices
//   model    the traits                           signal   for addEventListener(…, {signal}): ends with the view
//   ask      ask('search', {query}, {seq: 'results'}) → {result, buffers}, or undefined if stale or failed; the failure
//            is told in the view; with {own: true} it comes as {error: {type, message}} and the view tells it
//   on       on('name', fn) for what Python tells, on('change:trait', fn), on('theme', fn), on('dispose', fn)
//   theme    theme() → 'light' or 'dark'          say      say('12 found'): what a screen reader is told
//   fail     fail('text'): an error in the view; fail('') takes it away
function view(setup, {label = 'live view'} = {}) {
  return {
    render({model, el}) {
      const gone = new AbortController(),
        {signal} = gone,
        heard = new Map();
      const silent = h('div', {class: 'pm-live-silent', role: 'alert', hidden: true});
      const failure = h('div', {class: 'pm-live-error', role: 'alert', hidden: true});
      const status = h('div', {class: 'pm-live-status', role: 'status'}),
        body = h('div', {class: 'pm-live-body'});
      const root = h('div', {class: 'pm-live', role: 'group', 'aria-label': label}, silent, failure, body, status);
      el.append(root);

      let failed = null;
      const fail = (text, name = null) => {
        failed = name;
        failure.hidden = !text;
        failure.replaceChildren(
          ...(text
            ? [
                h('span', {dir: 'auto'}, text),
                h('button', {type: 'button', 'aria-label': 'Dismiss', onclick: () => fail('')}, '×'),
              ]
            : []),
        );
      };
      const onSilent = yes => {
        if (silent.hidden === !yes) return;
        silent.hidden = !yes;
        silent.textContent = yes ? SILENT : '';
      };
      const onAnswer = (name, error) => {
        if (!error && failed === name) fail('');
      };
      const talk = talker(model, {onSilent, onAnswer});
      const ask = async (name, args = {}, {seq = null, own = false} = {}) => {
        const answer = await talk.ask(name, args, seq);
        if (answer === undefined || signal.aborted) return undefined;
        if (!answer.error || own) return answer;
        fail(answer.error.message, name);
        return undefined;
      };
      const on = (name, fn) => {
        if (name === 'theme') watchTheme(root, signal, fn);
        else if (name === 'dispose') signal.addEventListener('abort', fn);
        else if (name.startsWith('change:')) {
          const changed = () => fn(model.get(name.slice(7)));
          model.on(name, changed);
          signal.addEventListener('abort', () => model.off(name, changed));
        } else heard.set(name, [...(heard.get(name) ?? []), fn]);
      };
      const receive = (content, buffers) => {
        if (content.tell) for (const fn of heard.get(content.tell) ?? []) fn(content.content, buffers ?? []);
        else talk.receive(content, buffers);
      };
      model.on('msg:custom', receive);
      // JupyterLab would cut the cell at an `x`; saving alone is left to it
      for (const type of ['keydown', 'keypress', 'keyup'])
        root.addEventListener(type, e => {
          if (!((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 's')) e.stopPropagation();
        });
      const say = text => {
        status.textContent = text;
      };
      const theme = () => themeOf(root);
      Promise.resolve()
        .then(() => setup({el: body, root, model, ask, on, theme, say, fail, signal}))
        .then(end => typeof end === 'function' && (signal.aborted ? end() : signal.addEventListener('abort', end)))
        .catch(e => {
          fail(`This view stopped: ${e.message}`);
          talk.ask('view_failed', {message: String(e.stack ?? e).slice(0, 4000)}, null);
        });
      return () => {
        gone.abort();
        model.off('msg:custom', receive);
        talk.stop();
        root.remove();
      };
    },
  };
}

// The browser half of `pymemri.widgets.browser`: search box, counts, a list of any length, and the panel of one item.

const ROW = 32,
  PAGE = 50,
  SPARE = 8,
  MOST = 400_000; // px, items, lines beyond the edges, lines a scroll bar can hold
let browsers = 0; // how many there are on the page, for ids in the DOM

const ICONS = {
  // Drawn, so that no font has to have them
  search: 'M7 2a5 5 0 1 0 3 9l4 4 1-1-4-4A5 5 0 0 0 7 2m0 1.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7',
  back: 'M9.5 3 4.5 8l5 5 1-1-4-4 4-4z',
  close: 'm4 5 1-1 3 3 3-3 1 1-3 3 3 3-1 1-3-3-3 3-1-1 3-3z',
  copy: 'M5 2h8v9h-2v2H3V4h2zm1.5 1.5v6h5v-6zM4.5 5.5v6h5V11H5V5.5z',
  undo: 'M6 3 2.5 6.5 6 10V7.5h3.5a2.2 2.2 0 0 1 0 4.5H6v1.5h3.5a3.7 3.7 0 0 0 0-7.5H6z',
  bin: 'M6 2h4v1h3v1.5H3V3h3zM4 5.5h8L11.4 14H4.6zM6.2 7l.3 5.5h1L7.2 7zm2.6 0-.3 5.5h1L9.8 7z',
  edit: 'm11 2 3 3-8 8H3v-3zM4.5 10.6v.9h.9l6.5-6.5-.9-.9z',
};
const icon = name =>
  svg(
    'svg',
    {viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true', focusable: 'false'},
    svg('path', {d: ICONS[name], fill: 'currentColor', 'fill-rule': 'evenodd'}),
  );
const number = n => n.toLocaleString('en-US');
const moment = ms => {
  const d = new Date(ms),
    two = n => String(n).padStart(2, '0');
  return isNaN(d)
    ? String(ms)
    : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`;
};
const spoken = (value, kind) =>
  value === null || value === undefined
    ? ''
    : kind === 'DateTime' && typeof value === 'number'
      ? moment(value)
      : value === true
        ? 'yes'
        : value === false
          ? 'no'
          : String(value);
const hue = text => [...text].reduce((n, c) => (n * 31 + c.codePointAt(0)) % 360, 7);
const chip = type => h('span', {class: 'pm-chip', style: {'--hue': hue(type)}}, type);

export default view(
  async ({el, root, ask, model, on, say, signal}) => {
    const me = `pm-browser-${++browsers}`,
      now = {line: '', order: null, typing: false};
    let all = [],
      count = 0,
      known = true,
      lines = new Map(),
      loading = new Set(),
      cursor = 0,
      anchor = 0,
      version = 0;
    let chosen = new Set(model.get('chosen') ?? []),
      trail = [],
      seen = null,
      cost = 40,
      pressed = 0;

    // --- what there is to see ---------------------------------------------------------------------------------------
    const box = h('input', {
      class: 'pm-box',
      type: 'search',
      role: 'combobox',
      autocomplete: 'off',
      spellcheck: 'false',
      dir: 'auto',
      'aria-label': 'Search',
      'aria-autocomplete': 'list',
      'aria-expanded': 'false',
      'aria-controls': `${me}-words`,
      'aria-describedby': `${me}-problem`,
      placeholder: 'Search: words, type:Person, age>=18, lastName^=Be …',
    });
    const words = h('ul', {
      class: 'pm-words',
      id: `${me}-words`,
      role: 'listbox',
      'aria-label': 'How the word may go on',
      hidden: true,
    });
    const problem = h('p', {class: 'pm-problem', id: `${me}-problem`, role: 'alert', hidden: true});
    const undoing = h(
      'button',
      {type: 'button', class: 'pm-tool', hidden: true, onclick: () => takeBack()},
      icon('undo'),
      h('span', {}, 'Undo'),
    );
    const erasing = h(
      'button',
      {type: 'button', class: 'pm-tool', hidden: true, onclick: () => erase([...chosen])},
      icon('bin'),
      h('span', {}, 'Delete'),
    );
    const copying = h(
      'button',
      {type: 'button', class: 'pm-tool', onclick: () => copy()},
      icon('copy'),
      h('span', {}, 'Copy as Python'),
    );
    const counts = h('div', {class: 'pm-counts', role: 'group', 'aria-label': 'Counts'});
    const head = h('div', {class: 'pm-head', role: 'row', 'aria-rowindex': 1});
    const tall = h('div', {class: 'pm-tall', role: 'rowgroup'});
    const scroller = h(
      'div',
      {class: 'pm-scroll', role: 'grid', tabIndex: 0, 'aria-label': 'Items', 'aria-multiselectable': 'true'},
      h('div', {role: 'rowgroup', class: 'pm-headgroup'}, head),
      tall,
    );
    const none = h('p', {class: 'pm-none', hidden: true}, 'Nothing found');
    const panel = h('section', {class: 'pm-panel', 'aria-label': 'Item', hidden: true});
    const foot = h('div', {class: 'pm-foot'}),
      code = h('div', {class: 'pm-code', hidden: true});
    const frame = h(
      'div',
      {class: 'pm-browser'},
      h(
        'div',
        {class: 'pm-bar', role: 'search'},
        h('div', {class: 'pm-field'}, icon('search'), box, words),
        undoing,
        erasing,
        copying,
      ),
      problem,
      code,
      h('div', {class: 'pm-main'}, counts, h('div', {class: 'pm-list'}, scroller, none), panel),
      foot,
    );
    el.append(frame);

    // --- searching --------------------------------------------------------------------------------------------------
    const args = () => ({line: now.line, order: now.order, typing: now.typing});
    const save = changes => {
      for (const [k, v] of Object.entries(changes)) model.set(k, v);
      model.save_changes();
    };

    async function search() {
      const asked = args(),
        from = performance.now(),
        first = pressed || from;
      pressed = 0;
      const answer = await ask('search', asked, {seq: 'search'});
      if (!answer) return;
      cost = 0.5 * cost + 0.5 * (performance.now() - from);
      const {result} = answer;
      tell(result.problem);
      if (result.problem) return;
      version++; // what is still on its way belongs to another list
      all = result.columns;
      fitColumns();
      lines = new Map(result.rows.map((row, i) => [i, row]));
      loading = new Set();
      known = result.count !== null;
      count = known ? result.count : result.rows.length;
      cursor = anchor = 0;
      scroller.scrollTop = 0;
      if (asked.line !== scroller.dataset.line) chosen = new Set(); // what is out of sight shall not be deleted
      if (!chosen.size && model.get('chosen')?.length) save({chosen: []});
      drawHead();
      draw();
      foot.classList.toggle('pm-busy', !known);
      scroller.dataset.line = asked.line; // what the lines answer, and how long after the last key
      scroller.dataset.took = Math.round(performance.now() - first);
      if (known) announce();
      counting(asked, result.facets);
    }
    const soon = debounce(search, () => Math.min(120, cost / 3)); // the slower the answers, the longer the wait: 120 ms at most
    const again = () => {
      soon.cancel();
      return search();
    };

    async function measure(asked) {
      const mine = version,
        answer = await ask('count', asked, {seq: 'count'});
      if (!answer || mine !== version) return;
      known = true;
      count = answer.result;
      foot.classList.remove('pm-busy');
      draw();
      announce();
    }
    function announce() {
      foot.replaceChildren(
        ...[
          count === 0 ? 'no items' : `${number(count)} item${count === 1 ? '' : 's'}`,
          chosen.size ? ` · ${number(chosen.size)} selected` : '',
          count > MOST ? ` · the first ${number(MOST)} can be scrolled to` : '',
        ],
      );
      erasing.hidden = !chosen.size;
      say(foot.textContent);
    }
    function tell(wrong) {
      problem.hidden = !wrong;
      box.setAttribute('aria-invalid', String(!!wrong));
      const {message, start, end} = wrong ?? {};
      problem.replaceChildren(
        ...(wrong
          ? [
              h(
                'code',
                {dir: 'auto'},
                now.line.slice(0, start),
                h('mark', {}, now.line.slice(start, end)),
                now.line.slice(end),
              ),
              h('span', {}, message),
            ]
          : []),
      );
    }

    // --- counts -----------------------------------------------------------------------------------------------------
    const QUIET = 200; // ms; not while somebody types: counting all of a large Pod takes longer than finding a page
    let later = null;
    function counting(asked, names) {
      clearTimeout(later);
      const mine = version;
      later = setTimeout(async () => {
        if (model.get('line') !== asked.line || model.get('order') !== asked.order)
          save({line: asked.line, order: asked.order});
        if (!known) await measure(asked);
        const found = [];
        for (const by of ['type', ...names]) {
          const answer = await ask('facet', {by, line: asked.line, typing: asked.typing}, {seq: 'facet'});
          if (!answer || mine !== version) return;
          found.push([by, answer.result]);
          drawCounts(found, names.length + 1 - found.length);
        }
      }, QUIET);
    }
    function drawCounts(found, more) {
      const old = [...counts.children].slice(found.length, found.length + more);
      counts.replaceChildren(
        ...found
          .filter(([, values]) => values.length)
          .map(([by, values]) =>
            h(
              'div',
              {class: 'pm-group', role: 'group', 'aria-label': by},
              h('div', {class: 'pm-by'}, by),
              values.map(({value, label, count, on}) =>
                h(
                  'button',
                  {type: 'button', class: 'pm-value', 'aria-pressed': String(on), onclick: () => narrow(by, value)},
                  h('span', {class: 'pm-label', dir: 'auto', title: label}, label || '“”'),
                  h('span', {class: 'pm-count'}, number(count)),
                ),
              ),
            ),
          ),
        ...old,
      );
    }
    async function narrow(name, value) {
      const answer = await ask('narrow', {line: box.value, name, value});
      if (answer) setLine(answer.result);
    }
    function setLine(line) {
      box.value = now.line = line;
      now.typing = false;
      offer([]);
      again();
    }

    // --- the list ---------------------------------------------------------------------------------------------------
    const WIDTHS = {DateTime: [136, 0.7], Bool: [64, 0.4], Integer: [76, 0.5], Real: [76, 0.5], type: [118, 0.7]}; // px at least, share
    const widthOf = c => WIDTHS[c.name] ?? WIDTHS[c.kind] ?? [104, 1];
    let columns = []; // of those that there are, as many as fit
    function fitColumns() {
      let room = scroller.clientWidth - 28 - 180 - 14;
      const fitting = all.filter(c => (room -= widthOf(c)[0]) >= 0); // those on the right go first
      const same = fitting.length === columns.length && fitting.every((c, i) => c === columns[i]);
      columns = fitting;
      return !same;
    }
    function drawHead() {
      const sortOf = name => (now.order === name ? 'ascending' : now.order === `-${name}` ? 'descending' : 'none');
      scroller.style.setProperty(
        '--grid',
        ['28px', 'minmax(0, 2.2fr)', ...columns.map(c => `minmax(${widthOf(c)[0]}px, ${widthOf(c)[1]}fr)`)].join(' '),
      );
      scroller.setAttribute('aria-colcount', columns.length + 2);
      head.replaceChildren(
        h('span', {class: 'pm-cell', role: 'columnheader'}, h('span', {class: 'pm-live-status'}, 'Selected')),
        h('span', {class: 'pm-cell', role: 'columnheader'}, h('span', {class: 'pm-name'}, 'Item')),
        ...columns.map(({name}) =>
          h(
            'span',
            {class: 'pm-cell', role: 'columnheader', 'aria-sort': sortOf(name)},
            h(
              'button',
              {type: 'button', class: 'pm-name', title: `Sort by ${name}`, onclick: () => sortBy(name)},
              h('span', {}, name === 'dateServerModified' ? 'changed' : name),
              h(
                'span',
                {class: 'pm-arrow', 'aria-hidden': 'true'},
                {ascending: '▲', descending: '▼', none: ''}[sortOf(name)],
              ),
            ),
          ),
        ),
      );
    }
    function sortBy(name) {
      const ways = name === 'dateServerModified' ? [`-${name}`, name, null] : [name, `-${name}`, null];
      now.order = ways[(ways.indexOf(now.order) + 1) % 3];
      again();
    }
    const total = () => Math.min(count, MOST),
      fit = () => Math.max(1, Math.floor((scroller.clientHeight - ROW) / ROW));
    const pool = []; // nodes of lines, used again and again
    function draw() {
      const n = total(),
        top = Math.floor(scroller.scrollTop / ROW),
        from = Math.max(0, top - SPARE),
        to = Math.min(n, top + fit() + SPARE + 1);
      tall.style.height = `${n * ROW}px`;
      none.hidden = n > 0;
      scroller.setAttribute('aria-rowcount', n + 1);
      while (pool.length < to - from) pool.push(tall.appendChild(h('div', {class: 'pm-row', role: 'row'})));
      while (pool.length > to - from) pool.pop().remove();
      for (let i = from; i < to; i++) drawLine(pool[i - from], i);
      if (pool.length)
        scroller.setAttribute('aria-activedescendant', `${me}-line-${Math.max(from, Math.min(cursor, to - 1))}`);
      else scroller.removeAttribute('aria-activedescendant');
      for (let p = Math.floor(from / PAGE); p * PAGE < to; p++) need(p);
    }
    function drawLine(node, i) {
      const row = lines.get(i),
        [id, , title, gone, ...cells] = row ?? [null, '', row === null ? 'removed' : '…', false];
      const picked = id !== null && chosen.has(id);
      node.id = `${me}-line-${i}`;
      node.style.transform = `translateY(${i * ROW}px)`;
      node.className = `pm-row${i === cursor ? ' pm-cursor' : ''}${picked ? ' pm-picked' : ''}${gone ? ' pm-gone' : ''}${row ? '' : ' pm-empty'}`;
      node.setAttribute('aria-rowindex', i + 2);
      node.setAttribute('aria-selected', String(picked));
      node.dataset.index = i;
      node.replaceChildren(
        h(
          'span',
          {class: 'pm-cell pm-tick', role: 'gridcell'},
          h('span', {class: 'pm-mark', 'aria-hidden': 'true'}, picked ? '✓' : ''),
        ),
        h('span', {class: 'pm-cell pm-title', role: 'gridcell'}, h('span', {dir: 'auto'}, title)),
        ...columns.map(({name, kind}, k) =>
          h(
            'span',
            {class: `pm-cell pm-${kind}`, role: 'gridcell'},
            name === 'type' && row ? chip(cells[k]) : h('span', {dir: 'auto'}, spoken(cells[k], kind)),
          ),
        ),
      );
    }
    async function need(p) {
      let missing = false;
      for (let i = p * PAGE; i < Math.min((p + 1) * PAGE, total()); i++) missing ||= !lines.has(i);
      if (!missing || loading.has(p)) return;
      if (loading.size > 3) return; // a scroll bar that is dragged passes many pages: only those where it stops are asked for
      const mine = version;
      loading.add(p);
      const answer = await ask('page', {
        ...args(),
        line: scroller.dataset.line,
        offset: p * PAGE,
        columns: all.map(c => c.name),
      });
      if (mine !== version) return;
      loading.delete(p);
      if (!answer) return;
      answer.result.rows.forEach((row, i) => lines.set(p * PAGE + i, row));
      if (lines.size > 5000) forget(p);
      if (known && answer.result.count !== count) {
        count = answer.result.count;
        announce();
      }
      draw();
    }
    function forget(p) {
      for (const i of lines.keys()) if (Math.abs(i / PAGE - p) > 40) lines.delete(i);
    }

    // --- choosing ---------------------------------------------------------------------------------------------------
    const idAt = i => lines.get(i)?.[0];
    function choose(ids) {
      chosen = new Set(ids);
      save({chosen: [...chosen]});
      draw();
      announce();
    }
    function toggle(i) {
      const id = idAt(i),
        next = new Set(chosen);
      if (id) {
        if (!next.delete(id)) next.add(id);
        choose(next);
      }
    }
    function span(to) {
      const ids = new Set();
      for (let i = Math.min(anchor, to); i <= Math.max(anchor, to); i++) if (idAt(i)) ids.add(idAt(i));
      choose(ids);
    }
    function go(i, {extend = false} = {}) {
      cursor = Math.max(0, Math.min(total() - 1, i));
      const top = cursor * ROW,
        seenHeight = scroller.clientHeight - ROW;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + ROW > scroller.scrollTop + seenHeight) scroller.scrollTop = top + ROW - seenHeight;
      if (extend) span(cursor);
      else {
        anchor = cursor;
        draw();
      }
      const row = lines.get(cursor);
      if (row) say(`${row[2]}, ${row[1]}, ${number(cursor + 1)} of ${number(total())}`);
    }

    // --- one item ---------------------------------------------------------------------------------------------------
    async function open(id, {remember = true, focus = true} = {}) {
      const answer = await ask('look', {id}, {seq: 'look'});
      if (!answer) return;
      if (remember && seen && !panel.hidden && seen.id !== id) trail.push(seen.id);
      show(answer.result, focus);
    }
    function show(item, focus = true) {
      seen = item;
      panel.hidden = false;
      frame.classList.add('pm-open');
      save({current: item.id});
      drawPanel();
      draw();
      if (focus) panel.querySelector('h3')?.focus();
    }
    function shut() {
      panel.hidden = true;
      frame.classList.remove('pm-open');
      seen = null;
      trail = [];
      save({current: null});
      draw();
      scroller.focus();
    }
    function back() {
      if (trail.length) open(trail.pop(), {remember: false});
      else shut();
    }
    function drawPanel() {
      const {id, type, title, deleted, properties, empty, system, outgoing, incoming} = seen;
      const tool = (name, label, fn, off = false) =>
        h(
          'button',
          {type: 'button', class: 'pm-icon', 'aria-label': label, title: label, disabled: off, onclick: fn},
          icon(name),
        );
      refill(
        panel,
        h(
          'div',
          {class: 'pm-top'},
          tool('back', 'Back', back, !trail.length),
          chip(type),
          h('span', {class: 'pm-space'}),
          tool('bin', 'Delete this item', () => erase([id]), deleted),
          tool('close', 'Close', shut),
        ),
        h('h3', {class: 'pm-h', dir: 'auto', tabIndex: -1}, title),
        deleted ? h('p', {class: 'pm-note'}, 'deleted') : null,
        h(
          'dl',
          {class: 'pm-properties'},
          properties.map(p => drawProperty(p, id)),
        ),
        empty.length ? adding(empty, id) : null,
        drawEdges(outgoing, '→'),
        drawEdges(incoming, '←'),
        h(
          'details',
          {class: 'pm-system'},
          h('summary', {}, 'System'),
          h(
            'dl',
            {class: 'pm-properties'},
            system.map(p => drawProperty(p, id)),
          ),
        ),
      );
      panel.scrollTop = 0;
    }
    function drawProperty(p, id) {
      const value = h('dd', {}),
        entry = h('div', {class: 'pm-property'}, h('dt', {}, p.name), value);
      value.append(h('span', {class: `pm-text pm-${p.kind}`, dir: 'auto'}, p.hidden ? '•••' : spoken(p.value, p.kind)));
      if (p.editable)
        value.append(
          h(
            'button',
            {
              type: 'button',
              class: 'pm-icon pm-edit',
              'aria-label': `Edit ${p.name}`,
              title: `Edit ${p.name}`,
              onclick: () => edit(p, id, value),
            },
            icon('edit'),
          ),
        );
      return entry;
    }
    function edit(p, id, value) {
      const before = [...value.childNodes],
        long = p.kind === 'Text' && (p.text.length > 40 || p.text.includes('\n')),
        named = {'aria-label': p.name, class: 'pm-input'};
      const input =
        p.kind === 'Bool'
          ? h(
              'select',
              named,
              ['', 'yes', 'no'].map(o => h('option', {value: o, selected: o === p.text}, o || '–')),
            )
          : h(long ? 'textarea' : 'input', {
              ...named,
              value: p.text,
              dir: 'auto',
              rows: long ? 4 : null,
              placeholder: {DateTime: '2024-05-31T12:00', Integer: '0', Real: '0.0'}[p.kind] ?? '',
            });
      const wrong = h('p', {class: 'pm-wrong', role: 'alert', hidden: true});
      const cancel = () => {
        value.replaceChildren(...before);
        value.querySelector('button')?.focus();
      };
      const store = async () => {
        const answer = await ask('change', {id, name: p.name, text: input.value}, {own: true});
        if (!answer) return;
        if (answer.error) {
          wrong.hidden = false;
          wrong.textContent = answer.error.message;
          input.setAttribute('aria-invalid', 'true');
          return input.focus();
        }
        changed(`${p.name} saved`);
        show(answer.result, false);
        panel.querySelector(`[aria-label="Edit ${CSS.escape(p.name)}"]`)?.focus();
      };
      value.replaceChildren(
        h(
          'form',
          {
            class: 'pm-form',
            onsubmit: e => {
              e.preventDefault();
              store();
            },
          },
          input,
          wrong,
          h(
            'div',
            {class: 'pm-buttons'},
            h('button', {type: 'submit', class: 'pm-main-button'}, 'Save'),
            h('button', {type: 'button', class: 'pm-button', onclick: cancel}, 'Cancel'),
          ),
        ),
      );
      input.addEventListener('keydown', e => {
        if (e.key === 'Escape') {
          e.preventDefault();
          e.stopPropagation();
          cancel();
        } else if (e.key === 'Enter' && (!long || e.ctrlKey || e.metaKey)) {
          e.preventDefault();
          store();
        }
      });
      input.focus();
      input.select?.();
    }
    function adding(empty, id) {
      const choice = h(
        'select',
        {
          class: 'pm-input pm-add',
          'aria-label': 'Add a property',
          onchange: () => {
            const p = empty.find(e => e.name === choice.value);
            if (!p) return;
            const list = panel.querySelector('dl'),
              entry = drawProperty({...p, text: '', editable: true}, id);
            list.append(entry);
            choice.value = '';
            edit({...p, text: ''}, id, entry.querySelector('dd'));
          },
        },
        h('option', {value: ''}, '+ property'),
        empty.map(p => h('option', {value: p.name}, p.name)),
      );
      return choice;
    }
    function drawEdges(groups, arrow) {
      if (!groups.length) return null;
      return h(
        'div',
        {class: 'pm-edges'},
        groups.map(({name, count, items}) =>
          h(
            'div',
            {class: 'pm-edge'},
            h(
              'div',
              {class: 'pm-by'},
              arrow === '→' ? `${name} →` : `← ${name}`,
              count > 1 ? h('span', {class: 'pm-count'}, number(count)) : null,
            ),
            h(
              'ul',
              {},
              items.map(({id, type, title}) =>
                h(
                  'li',
                  {},
                  h('button', {type: 'button', class: 'pm-link', dir: 'auto', onclick: () => open(id)}, title),
                  chip(type),
                ),
              ),
              count > items.length ? h('li', {class: 'pm-note'}, `and ${number(count - items.length)} more`) : null,
            ),
          ),
        ),
      );
    }

    // --- changing ---------------------------------------------------------------------------------------------------
    function changed(text) {
      undoing.hidden = false;
      say(text);
      lines = new Map();
      version++;
      loading = new Set();
      refresh();
    }
    async function refresh() {
      // the same place of the list, as it is now
      const mine = version,
        asked = {...args(), line: scroller.dataset.line ?? ''},
        p = Math.floor(scroller.scrollTop / ROW / PAGE);
      const answer = await ask('page', {...asked, offset: p * PAGE, columns: all.map(c => c.name)});
      if (!answer || mine !== version) return;
      count = answer.result.count;
      known = true;
      answer.result.rows.forEach((row, i) => lines.set(p * PAGE + i, row));
      cursor = Math.max(0, Math.min(cursor, total() - 1));
      draw();
      announce();
    }
    async function erase(ids) {
      if (!ids.length) return;
      const answer = await ask('delete', {ids});
      if (!answer) return;
      chosen = new Set([...chosen].filter(id => !ids.includes(id)));
      save({chosen: [...chosen]});
      if (seen && ids.includes(seen.id)) back();
      changed(answer.result);
      undoing.focus();
      undoing.title = `Undo: ${answer.result}`;
    }
    async function takeBack() {
      const answer = await ask('undo');
      if (!answer) return;
      const {what, more, ids} = answer.result;
      changed(`taken back: ${what}`);
      undoing.hidden = !more;
      if (!more) scroller.focus();
      if (seen && ids.includes(seen.id)) open(seen.id, {remember: false, focus: false});
    }
    async function copy() {
      const answer = await ask('python', args());
      if (!answer) return;
      const text = h('textarea', {
        class: 'pm-input',
        readonly: true,
        rows: Math.min(8, answer.result.split('\n').length),
        'aria-label': 'The search in Python',
        value: answer.result,
      });
      const told = h('span', {class: 'pm-note'}, '');
      code.replaceChildren(
        text,
        h(
          'div',
          {class: 'pm-buttons'},
          told,
          h(
            'button',
            {
              type: 'button',
              class: 'pm-button',
              onclick: () => {
                code.hidden = true;
                copying.focus();
              },
            },
            'Close',
          ),
        ),
      );
      code.hidden = false;
      text.select();
      try {
        await navigator.clipboard.writeText(answer.result);
        told.textContent = 'Copied';
        say('Copied');
      } catch {
        told.textContent = 'Press Ctrl+C to copy';
      }
    }

    // --- how a word may go on ---------------------------------------------------------------------------------------
    let options = [],
      option = -1;
    function offer(found) {
      options = found;
      option = -1;
      words.hidden = !found.length;
      box.setAttribute('aria-expanded', String(!!found.length));
      box.removeAttribute('aria-activedescendant');
      words.replaceChildren(
        ...found.map((o, i) =>
          h(
            'li',
            {
              role: 'option',
              id: `${me}-word-${i}`,
              'aria-selected': 'false',
              class: 'pm-word',
              onmousedown: e => {
                e.preventDefault();
                take(i);
              },
            },
            h('span', {}, o.text),
            h('span', {class: 'pm-note'}, o.kind),
          ),
        ),
      );
    }
    function point(i) {
      option = (i + options.length) % options.length;
      [...words.children].forEach((li, k) => li.setAttribute('aria-selected', String(k === option)));
      box.setAttribute('aria-activedescendant', `${me}-word-${option}`);
    }
    function take(i) {
      const {text, start, end} = options[i],
        line = box.value.slice(0, start) + text + box.value.slice(end),
        at = start + text.length;
      box.value = line;
      box.setSelectionRange(at, at);
      offer([]);
      if (!/[:<>=^*]$/.test(text)) setLine(line); // a whole condition; a name still needs a value
    }
    async function suggest() {
      const answer = await ask(
        'complete',
        {line: box.value, at: box.selectionStart ?? box.value.length},
        {seq: 'complete'},
      );
      if (answer && document.activeElement === box) offer(answer.result);
    }
    const suggestSoon = debounce(suggest, 150);

    // --- hands ------------------------------------------------------------------------------------------------------
    box.addEventListener('input', () => {
      pressed = performance.now();
      now.line = box.value;
      now.typing = true;
      soon();
      suggestSoon();
    });
    box.addEventListener('blur', () => {
      suggestSoon.cancel();
      offer([]);
    });
    box.addEventListener('keydown', e => {
      const open = options.length > 0;
      if (open && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) point(option + (e.key === 'ArrowDown' ? 1 : -1));
      else if (open && option >= 0 && (e.key === 'Enter' || e.key === 'Tab')) take(option);
      else if (open && e.key === 'Escape') offer([]);
      else if (e.key === 'Enter') {
        now.line = box.value;
        now.typing = false;
        offer([]);
        again();
      } else if (e.key === 'ArrowDown') {
        scroller.focus();
        go(0);
      } else if (e.key === 'Escape' && box.value) setLine('');
      else return;
      e.preventDefault();
    });
    scroller.addEventListener('keydown', e => {
      if (e.target !== scroller || e.ctrlKey || e.metaKey || e.altKey) return;
      const extend = e.shiftKey,
        moves = {
          ArrowDown: cursor + 1,
          ArrowUp: cursor - 1,
          PageDown: cursor + fit(),
          PageUp: cursor - fit(),
          Home: 0,
          End: total() - 1,
        };
      if (e.key in moves) go(moves[e.key], {extend});
      else if (e.key === 'Enter' && idAt(cursor)) open(idAt(cursor));
      else if (e.key === ' ') toggle(cursor);
      else if (e.key === 'Delete') erase(chosen.size ? [...chosen] : idAt(cursor) ? [idAt(cursor)] : []);
      else if (e.key === 'Escape' && chosen.size) choose([]);
      else if (e.key === 'Escape') box.focus();
      else return;
      e.preventDefault();
    });
    panel.addEventListener('keydown', e => {
      const field = e.target.matches('input, textarea, select');
      if ((e.key === 'Escape' && !field) || (e.key === 'ArrowLeft' && e.altKey)) {
        e.preventDefault();
        back();
      }
    });
    root.addEventListener('keydown', e => {
      if (e.key === '/' && !e.target.matches('input, textarea, select')) {
        e.preventDefault();
        box.focus();
        box.select();
      }
      if (
        e.key.toLowerCase() === 'z' &&
        (e.ctrlKey || e.metaKey) &&
        !undoing.hidden &&
        !e.target.matches('input, textarea, select')
      ) {
        e.preventDefault();
        takeBack();
      }
    });
    tall.addEventListener('click', e => {
      const line = e.target.closest('.pm-row');
      if (!line) return;
      const i = Number(line.dataset.index);
      cursor = i;
      scroller.focus({preventScroll: true});
      if (e.shiftKey) return span(i);
      anchor = i;
      if (e.ctrlKey || e.metaKey || e.target.closest('.pm-tick')) return toggle(i);
      if (!idAt(i)) return draw();
      choose([idAt(i)]);
      trail = [];
      open(idAt(i), {remember: false, focus: false});
    });
    let drawing = 0;
    const redraw = () => {
      cancelAnimationFrame(drawing);
      drawing = requestAnimationFrame(() => {
        if (fitColumns()) drawHead();
        draw();
      });
    };
    scroller.addEventListener('scroll', redraw, {passive: true});
    const watcher = new ResizeObserver(redraw);
    watcher.observe(scroller);
    on('dispose', () => {
      watcher.disconnect();
      clearTimeout(later);
      soon.cancel();
      suggestSoon.cancel();
      cancelAnimationFrame(drawing);
    });
    on('change:chosen', ids => {
      if (ids.length === chosen.size && ids.every(id => chosen.has(id))) return;
      chosen = new Set(ids);
      draw();
      announce();
    });

    // --- the beginning ----------------------------------------------------------------------------------------------
    box.value = now.line = scroller.dataset.line = model.get('line');
    now.order = model.get('order');
    await search();
    if (!signal.aborted) ask('ready');
  },
  {label: 'Items of a Pod'},
);

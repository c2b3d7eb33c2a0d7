// All types, searched while you type. Python has the types and the search; this draws rows, and fields when one unfolds.

export default view(async ({el, model, ask, say}) => {
  let words = [], rows = new Map();
  const input = h('input', {type: 'search', placeholder: 'Search types, properties, edges, meanings', 'aria-label': 'Search types',
    spellcheck: 'false', autocomplete: 'off', oninput: () => search(input.value)});
  const head = h('p'), list = h('div', {class: 'pm-rows', role: 'region', 'aria-label': 'Types', tabIndex: 0});
  el.append(h('div', {class: 'pm-types-live'}, input, head, list));

  // `text` with the words that were searched for marked, as nodes
  function marked(text) {
    const known = words.map(w => w.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    if (!known.length) return [text];
    return text.split(new RegExp(`(${known.join('|')})`, 'i')).flatMap((part, i) => i % 2 ? h('mark', {}, part) : part);
  }

  // A meaning, in which a name between backticks is code
  function prose(text) {
    return text.split(/`([^`]+)`/).flatMap((part, i) => i % 2 ? h('code', {}, marked(part)) : marked(part));
  }

  function fieldRow(f) {
    const kind = f.targets.length
      ? f.targets.flatMap((t, i) => [i ? ' | ' : '→ ', h('button', {type: 'button', onclick: () => go(t)}, t)]) : f.kind;
    return h('tr', {}, h('th', {scope: 'row'}, marked(f.name)), h('td', {}, kind),
      h('td', {dir: 'auto'}, prose(f.meaning), f.of ? h('small', {}, `of ${f.of}`) : null));
  }

  async function unfold(details, name) {
    if (!details.open) return;
    model.set('picked', name);
    model.save_changes();
    if (details.querySelector('table, p')) return;
    const answer = await ask('fields', {name});
    if (!answer || details.querySelector('table, p')) return;
    details.append(answer.result.length
      ? h('table', {}, h('thead', {}, h('tr', {}, ...['name', 'kind', 'meaning'].map(t => h('th', {scope: 'col'}, t)))),
        h('tbody', {}, answer.result.map(fieldRow)))
      : h('p', {}, 'nothing but what every item has'));
  }

  function row(t) {
    const details = h('details', {}, h('summary', {}, h('b', {}, marked(t.name)),
      !t.count ? null : h('small', {}, `${t.count.toLocaleString('en')} ${t.count === 1 ? 'item' : 'items'}`),
      t.own ? h('small', {}, 'your own') : null, h('span', {dir: 'auto'}, prose(t.meaning)),
      t.hits.length ? h('small', {}, `· ${t.hits.slice(0, 4).join(', ')}${t.hits.length > 4 ? ' …' : ''}`) : null));
    details.addEventListener('toggle', () => unfold(details, t.name));
    rows.set(t.name, details);
    return details;
  }

  async function search(query) {
    const answer = await ask('search', {query}, {seq: 'search'});
    if (!answer) return;
    words = answer.result.words;
    rows = new Map();
    head.textContent = answer.result.head;
    list.replaceChildren(...answer.result.types.map(row));
    list.scrollTop = 0;
    say(answer.result.head);
  }

  // To the type that an edge leads to; a search that hides it is taken back.
  async function go(name) {
    if (!rows.has(name)) {
      input.value = '';
      await search('');
    }
    const details = rows.get(name);
    if (!details) return;
    details.open = true;
    details.scrollIntoView({block: 'nearest'});
    details.querySelector('summary').focus();
  }

  await search('');
}, {label: 'types of items'});

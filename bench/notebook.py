#!/usr/bin/env python
"""How fast is a notebook? Cells are run in a real JupyterLab in Chromium, and the clock of the page says when something
can be seen. What people know stands beside each: an ipywidgets button, a pandas table of the same rows.

    python bench/notebook.py                            # 100,000 items
    python bench/notebook.py --items 5000               # a quick look
    python bench/notebook.py --json bench/notebook.json # keep the figures, for the docs

Both sides are measured in turns, in one notebook of one run; a figure is the median, and what was timed is looked at:
the right card, the right number of pictures that have loaded, the right rows. Nothing here fails on a clock.
"""
import argparse, json, statistics, sys, tempfile
from pathlib import Path
from textwrap import dedent

root = Path(__file__).resolve().parents[1]
sys.path = [str(root/'tests'/'browser')] + [p for p in sys.path if p and Path(p).resolve() != Path(__file__).parent]
from lab import CHROMIUM, Lab, Loop, Notebook, Server, chromium, missing

SETUP = '''
    import ipywidgets as widgets, pandas as pd, numpy as np
    from pymemri.data.item import Item, ItemList, unset
    from pymemri.data.schema import Person
    from pymemri.data.photo import Photo
    from pymemri.pod.client import PodClient
    class Record(Item):
        title: str = unset
        number: int = unset
    N, client = {items}, PodClient(quiet=True)
    word = [a + b + c for a in 'bdfgklmnprstvz' for b in 'aeiou' for c in 'klmnprst']
    rows = [dict(title=f'{{word[i % len(word)]}} {{word[i // len(word) % len(word)]}} needle{{i:06}}', number=i) for i in range(N)]
    client.add_to_schema(Record)
    for i in range(0, N, 10_000): client.api.bulk(create_items=[r | dict(type='Record') for r in rows[i:i + 10_000]])
    frame = pd.DataFrame(rows)
    pod = PodClient(quiet=True)  # another one, with people and photos
    ada = Person(firstName='Ada', lastName='Lovelace', itemDescription='Wrote the first program')
    pod.bulk_action(create_items=[ada])
    picture = np.random.default_rng(1).integers(0, 255, (200, 24, 32, 3), np.uint8)
    photos = ItemList(Photo.from_np(p.repeat(20, 0).repeat(20, 1)) for p in picture)
    pod.bulk_action(create_items=[*photos, *(f for p in photos for f in p.file)], create_edges=[e for p in photos for e in p.get_edges('file')])
    for p in photos: pod.upload_photo(p)
    def pressed(_): label.value = str(int(label.value) + 1)
    print(client.count(dict(type='Record')), pod.count(dict(type='Photo')))'''
CELLS = dict(
    card='ada',
    button="widgets.Button(description='Press')",
    still='photos',
    gallery='pod.gallery(photos)',
    browser="browser = client.browse(types='Record')\nbrowser",
    table='frame',
    find="frame[frame.title.str.contains({query!r})]",
    round="label, button = widgets.Label('0'), widgets.Button(description='Press')\nbutton.on_click(pressed)\nwidgets.HBox([button, label])")

# in the page: run cell `a.i`, and wait until `a.seen`, a function of the cell's node, is true in a frame that is drawn
RUN = '''
    const cell = w.content.widgets[a.i], seen = eval(a.seen), frame = () => new Promise(requestAnimationFrame);
    w.content.activeCellIndex = a.i; w.content.deselectAll(); app.shell.activateById(w.id);
    await app.commands.execute('notebook:clear-cell-output'); await frame(); await frame();
    cell.node.scrollIntoView();
    const begin = performance.now();
    app.commands.execute('notebook:run-cell');
    while (!seen(cell.node.querySelector('.jp-Cell-outputWrapper'))) {
        if (performance.now() - begin > 60000) throw new Error('nothing to be seen after a minute: ' + a.seen);
        await frame();
    }
    await frame();
    return performance.now() - begin'''
# in the page: from the last `input` or `click` on until `a.seen` is true of cell `a.i`
WATCH = '''
    const node = w.content.widgets[a.i].node.querySelector('.jp-Cell-outputWrapper'), seen = eval(a.seen);
    w.took = null;
    let begin = null;
    const on = () => { begin = performance.now(); };
    node.addEventListener(a.event, on, {capture: true, once: true});
    (async () => {
        const start = performance.now();
        while (performance.now() - start < 30000) {
            await new Promise(requestAnimationFrame);
            if (begin !== null && seen(node)) { w.took = performance.now() - begin; return; }
        }
        w.took = -1;
    })()'''

results = []


def shows(text): return f'n => n.textContent.includes({json.dumps(text)}) && n.offsetHeight > 0'
def pictures(n, css='img'):
    return f'n => {{ const all = [...n.querySelectorAll({css!r})]; return all.length >= {n} && all.every(i => i.complete && i.naturalWidth); }}'


class Bench:
    "One notebook, with a cell for each question"
    def __init__(self, lab, items):
        codes = [dedent(SETUP).format(items=items).strip(), *CELLS.values()]
        self.nb, self.cells = Notebook(lab, lab.write(codes, 'python3')), {n: i + 1 for i, n in enumerate(CELLS)}
        self.nb.run(0, timeout=600)
        said = self.nb.outputs()[0][-1]['text'].split()
        assert said == [str(items), '200'], said

    def run(self, name, seen):
        "Milliseconds from running a cell until something in it can be seen"
        try: return self.nb.js(RUN, i=self.cells[name], seen=seen)
        except Exception as e:
            self.nb.check()
            e.add_note(f'the cell shows {self.nb.out(self.cells[name]).inner_text()[:500]!r}')
            raise

    def act(self, name, event, seen, do):
        "Milliseconds from an event, which `do` brings about, until something can be seen"
        self.nb.js(WATCH, i=self.cells[name], seen=seen, event=event)
        do()
        self.nb.page.wait_for_function('id => window.panels[id].took !== null', arg=self.nb.id, timeout=60_000)
        took = self.nb.js('return w.took')
        assert took >= 0, f'{name}: nothing after {event}'
        return took


def duel(rounds, *sides):
    "Medians of functions that are called in turns, after a first round that does not count"
    for side in sides: side()
    return [statistics.median(times) for times in zip(*[[side() for side in sides] for _ in range(rounds)])]


def report(gate, what, value, goal, unit, detail):
    ok = goal is None or value <= goal
    results.append(dict(gate=gate, what=what, value=round(value, 3), goal=goal, unit=unit, ok=ok, least=False, detail=detail))
    wanted = '' if goal is None else f'≤ {goal:g}'
    print(f'{gate:4} {what:58} {value:9.2f} {unit:3} {wanted:8} {"" if goal is None else "yes" if ok else "NO":4} {detail}')


def cards(bench, rounds):
    "A card, a gallery and the browser, from running their cell until they can be seen"
    card, button = duel(rounds, lambda: bench.run('card', shows('Lovelace')), lambda: bench.run('button', shows('Press')))
    report('J1', 'cell run to visible card, against a button', card / button, 1.5, '×', f'{card:.0f} ms, button {button:.0f} ms')
    still, = duel(max(1, rounds // 3), lambda: bench.run('still', pictures(200)))
    report('J2', 'cell run to 200 photographs, loaded', still, None, 'ms', 'static, small copies made before')
    live, = duel(rounds, lambda: bench.run('gallery', pictures(8, '.pm-live img')))
    report('J3', 'the same, live: first pictures', live, None, 'ms', f'{live / button:.2f} × button')


def browsing(bench, items, rounds):
    "The browser over all items: when its rows are there, and from a key to new rows"
    rows = "n => n.querySelectorAll('.pm-browser .pm-row').length > 5 && n.querySelector('.pm-browser').textContent.includes('needle')"
    browser, table = duel(max(1, rounds // 2), lambda: bench.run('browser', rows), lambda: bench.run('table', shows(f'{items:,}'[:1])))
    report('J4', f'cell run to a browser over {items:,} items', browser, None, 'ms', f'pandas table of the same rows {table:.0f} ms')
    box, times, finds = bench.nb.out(bench.cells['browser']).locator('input[type=search]'), [], []
    for k in range(rounds):
        needle = f'needle{(k * 7919 + 13) % items:06}'
        box.fill(needle[:-1])
        bench.nb.page.wait_for_timeout(700)
        seen = f"n => {{ const t = [...n.querySelectorAll('.pm-browser .pm-row')].filter(r => r.offsetHeight && r.textContent);" \
               f" return t.length === 1 && t[0].textContent.includes({needle!r}); }}"
        times.append(bench.act('browser', 'input', seen, lambda: box.press_sequentially(needle[-1])))
        i = bench.cells['find']
        bench.nb.js('w.content.model.sharedModel.cells[a.i].setSource(a.code)', i=i, code=CELLS['find'].format(query=needle))
        finds.append(bench.run('find', shows(needle)))
    key, find = statistics.median(times), statistics.median(finds)
    report('J5', 'last key to new results, p50', key, 150, 'ms', f'worst {max(times):.0f} ms; pandas, a cell run, {find:.0f} ms')
    bench.run('round', shows('Press'))
    button = bench.nb.out(bench.cells['round']).get_by_role('button', name='Press')
    clicks = [bench.act('round', 'click', f"n => n.querySelector('.widget-label').textContent === '{k + 1}'", button.click)
              for k in range(rounds)]
    report('J6', 'a button of ipywidgets, click to changed label, p50', statistics.median(clicks), None, 'ms', 'the way there and back')


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--items', type=int, default=100_000, help='in the browser (%(default)s)')
    p.add_argument('--rounds', type=int, default=10, help='of each measurement (%(default)s)')
    p.add_argument('--json', type=Path, help='write the figures there, too')
    args = p.parse_args()
    if lacks := missing(): sys.exit(lacks)
    from playwright.sync_api import sync_playwright
    with tempfile.TemporaryDirectory(prefix='pymemri-bench-') as home, Server(Path(home)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM)
        lab = Lab(server, browser)
        bench = Bench(lab, args.items)
        cards(bench, args.rounds)
        browsing(bench, args.items, args.rounds)
        assert (lab.errors, lab.foreign) == ([], []), (lab.errors, lab.foreign)
        lab.tidy()
        browser.close()
    gates = [r for r in results if r['goal'] is not None]
    print(f'\n{sum(r["ok"] for r in gates)} of {len(gates)} goals hold')
    if args.json: args.json.write_text(json.dumps(dict(items=args.items, rounds=args.rounds, gates=results), indent=1) + '\n')


if __name__ == '__main__': main()

"""What items, lists, photographs, edges, runs and types show by themselves: HTML without a script, which must hold wherever
a notebook goes: in both themes, saved and opened again, sent by mail, as a page made by nbconvert, in Notebook 7"""
import json, re, subprocess, sys

import pytest

from lab import HOSTILE, PATIENCE, SHOTS, Server, root, soon, watch, write

POD = '''
    import io
    from pymemri.data.item import Edges, Item, ItemList, unset
    from pymemri.data.photo import Photo
    from pymemri.data.schema import Account, File, Message, Person, PluginRun
    from pymemri.pod.client import PodClient
    class Book(Item):
        title: str = unset
        pages: int = unset
        author: Edges['Person'] = unset
    client = PodClient(quiet=True)
    client.add_to_schema(Book, Person, Photo)
    ada = Person(firstName='Ada', lastName='Lovelace', displayName='Ada Lovelace')
    book = Book('Notes on the Analytical Engine', pages=66)
    book.add_edge('author', ada)
    client.bulk_action(create_items=[ada, book], create_edges=book.get_edges('author'))
    book.pages = 67
    def picture(n):
        from PIL import Image
        out = io.BytesIO()
        Image.new('RGB', (320, 200), (40*n % 256, 90, 200-20*n)).save(out, 'PNG')
        return Photo.from_bytes(out.getvalue())
    photos = ItemList([picture(n) for n in range(6)])
    run = PluginRun('none', 'photos.plugin', 'PhotoImporter', status='error', progress=.4, error='ValueError: no folder')'''
# What each view is called, what makes it, and a word that a reader must find
VIEWS = {'item': ('book', 'Notes on the Analytical Engine'), 'edge': ('book.get_edges("author")[0]', 'Ada Lovelace'),
         'list': ('ItemList([book, ada])', 'Analytical Engine'), 'photo': ('photos[0]', '320'),
         'gallery': ('photos', '6'), 'run': ('run', 'no folder'), 'client': ('client', 'Pod'), 'types': ('client.schema', 'Book')}
CELLS = [POD, *(code for code, _ in VIEWS.values())]
words = [word for _, word in VIEWS.values()]


def shown(nb, i):
    "The text of an output, the folded parts too"
    return nb.page.evaluate('''e => { const c = e.cloneNode(true);
        for (const s of c.querySelectorAll('style')) s.remove(); return c.textContent }''', nb.out(i).element_handle())


def test_every_view_in_both_themes(notebook):
    "axe-core has nothing to say, keys unfold, and each shows what it must, within 900 kB"
    nb = notebook(*CELLS)
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe() == []
        for i, name in enumerate(VIEWS, 1): nb.shot(f'{name}-{theme}', i)
    for i, word in enumerate(words, 1):
        assert word in shown(nb, i), (i, word)
        html = ''.join(o['data'].get('text/html', '') for o in nb.outputs()[i])
        assert '<script' not in html and len(html) < 900_000 and html, i
    folded = nb.out(1).locator('details:not([open]) > summary').first.element_handle()
    folded.focus()
    nb.page.keyboard.press('Enter')
    nb.page.wait_for_function('s => s.parentElement.open', arg=folded)


def test_every_view_on_ipykernel_6(notebook):
    nb = notebook(*CELLS, kernel='ipykernel6')
    for i, word in enumerate(words, 1): assert word in shown(nb, i), (i, word)


@pytest.mark.parametrize('trusted', [True, False])
def test_reopened_without_a_kernel(notebook, trusted):
    "By its author, or by somebody who got it by mail, for whom JupyterLab takes out styles and more"
    nb = notebook(*CELLS).reopen(trusted=trusted)
    for i, word in enumerate(words, 1):
        nb.page.wait_for_function('([e, w]) => e.textContent.includes(w)', arg=[nb.out(i).element_handle(), word])
        assert word in shown(nb, i), (i, word)
    soon(lambda: nb.out(5).locator('img').count() == 6)
    soon(lambda: nb.out(1).locator('details').count() > 0)
    assert nb.axe() == []
    nb.shot(f'reopened-{"trusted" if trusted else "untrusted"}', 1)


HOSTILE_POD = '''
    from pymemri.data.item import Edge, Item, ItemList
    from pymemri.data.schema import Account, File, Message, Person, PluginRun, Website
    from pymemri.pod.client import PodClient
    texts = %r
    made = []
    for text in texts:
        p = Person(firstName=text, displayName=text)
        f = File(filename=text, sha256=text)
        w = Website(url=text)
        m = Message(content=text, subject=text)
        r = PluginRun('none', text, text, status=text, error=text, authUrl=text)
        for item in (f, w, m, r): item._new_edges.append(Edge(p, item, text)); p.__dict__.setdefault(text, [])
        for item, name in ((p, 'file'), (m, 'sender')):
            if name in item.edges: item.add_edge(name, f if name == 'file' else p)
        made += [p, f, w, m, r]
        made.append(type(text, (Item,), {})()) # a Pod takes no such name of a property, but it takes one of a type
    class Odd(Item): "Has odd properties all the same"
    Odd.properties = Item.properties + texts
    made.append(odd := Odd())
    for text in texts: odd.__dict__[text] = text''' % HOSTILE


def test_hostile_text_is_text(notebook):
    "In names, properties, edges, file names, addresses and types: the guards of the harness see what runs"
    nb = notebook(HOSTILE_POD, '''
        from IPython.display import display
        for item in made: display(item)''', 'ItemList(made)', '''
        for text in texts: display(Edge(made[0], made[1], text))''')
    for i in (1, 2, 3):
        assert nb.out(i).locator('script, iframe, [onload], [onerror], [onfocus], [autofocus]').count() == 0
        for a in nb.out(i).locator('a').all(): assert a.get_attribute('href').startswith(('http://', 'https://', 'mailto:'))
    assert HOSTILE[0] in shown(nb, 1) and HOSTILE[0] in shown(nb, 3)


def test_keys_on_a_folded_part_are_not_jupyterlabs(notebook):
    """A page without scripts can't keep keys from its host, but it can ask: JupyterLab leaves those alone that come from an
    element with `data-lm-suppress-shortcuts`, which all that can have the focus in our cards has. Enter and Space fold"""
    nb = notebook(POD, 'book', 'client.schema', '1')
    for i in (1, 2):
        for tag in ('summary', 'a'):
            for place in nb.out(i).locator(tag).all()[:3]:
                if not place.is_visible(): continue
                place.focus()
                for key in 'xddab': nb.page.keyboard.press(key)
        place = nb.out(i).locator('summary').first
        place.focus()
        opened = place.evaluate('s => s.parentElement.open')
        nb.page.keyboard.press('Enter')
        nb.page.wait_for_function('([s, o]) => s.parentElement.open !== o', arg=[place.element_handle(), opened])
        assert nb.out(i).locator(':is(summary, a):not([data-lm-suppress-shortcuts])').count() == 0
    assert nb.eval_py('1') == '1' and nb.cells == 4


# A page that needs no other machine: static HTML before widgets, whose state is left out, and none of nbconvert's scripts.
# The guide of notebooks says the same
OFFLINE = ['--ClearMetadataPreprocessor.enabled=True', '--HTMLExporter.require_js_url=', '--HTMLExporter.mathjax_url=',
           '--HTMLExporter.jquery_url=', '--NbConvertBase.display_data_priority=text/html',
           '--NbConvertBase.display_data_priority=image/png', '--NbConvertBase.display_data_priority=text/plain']


def test_a_page_made_by_nbconvert(notebook, lab, tmp_path):
    "Opened as a file it shows every view; other machines are asked for nothing but what nbconvert's own page loads, or nothing"
    nb = notebook(*CELLS, 'from pymemri.plugin.authenticators.ask import LoginForm\nLoginForm()')
    nb.save(widgets=True)
    guide = json.loads((root/'nbs/guide/notebook.ipynb').read_text(encoding='utf-8'))
    text = ''.join(line for cell in guide['cells'] for line in cell['source'])
    for option in OFFLINE: assert f'{option} ' in text, option
    for options in ([], OFFLINE):
        done = subprocess.run([sys.executable, '-m', 'nbconvert', '--to', 'html', *options, nb.file, '--output-dir', tmp_path],
                              capture_output=True, text=True, env=lab.server.env)
        assert done.returncode == 0, done.stderr
        page, foreign, errors = lab.browser.new_page(viewport=dict(width=1000, height=3000)), [], []
        page.set_default_timeout(PATIENCE*1000)
        try:
            watch(page, 'file:', errors, foreign)
            page.goto((tmp_path/nb.file.with_suffix('.html').name).as_uri())
            text = page.evaluate('() => document.body.textContent')
            for word in words: assert word in text
            soon(lambda: page.locator('.jp-OutputArea-output img:visible').count() == 7)
            if options: assert 'Run this cell to use it' in text and (foreign, errors) == ([], [])
            else: assert all(re.search('/require.min.js|/mathjax/|/html-manager@', url) for url in foreign), foreign
            page.screenshot(path=SHOTS/f'nbconvert-{"offline" if options else "as-it-comes"}.png')
        finally: page.close()


def test_notebook_7(awake, tmp_path):
    "Items, photographs and the live views in Notebook 7, where a page is one notebook"
    live = dict(browse='client.browse()', gallery='client.gallery(photos)', graph='client.graph(ada)', types='client.schema.browse()',
                timeline="client.timeline({'type': 'Book'})")
    cells = [POD, 'book', 'photos', 'from pymemri.plugin.authenticators.ask import LoginForm\nLoginForm()', *live.values()]
    with Server(tmp_path, 'notebook') as server:
        write(server.notebooks/'n.ipynb', cells)
        page, foreign, errors = awake.new_page(viewport=dict(width=1200, height=5000)), [], []
        page.set_default_timeout(PATIENCE*1000)
        try:
            watch(page, server.base, errors, foreign)
            page.goto(f'{server.base}/notebooks/n.ipynb?token={server.token}')
            page.wait_for_function('() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel')
            page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
            out = page.locator('.jp-OutputArea-output')
            out.get_by_text('Notes on the Analytical Engine').first.wait_for()
            soon(lambda: page.locator('.jp-Cell').nth(2).locator('img:visible').count() == 6)
            out.get_by_text('Nothing to do yet.').wait_for()
            views = page.locator('.pm-live')
            views.nth(len(live)).wait_for() # the form, and these
            for seen in ('.pm-graph-node', '[role=option] img', '.pm-timeline-bars', '[role=searchbox], input[type=search]'):
                views.locator(seen).first.wait_for()
            soon(lambda: views.count() == 1 + len(live))
            page.screenshot(path=SHOTS/'notebook-7.png')
            assert foreign == [] and [e for e in errors if '/static/notebook/' not in e] == [], errors # not Notebook's own
        finally: page.close()

"""The graph in a real JupyterLab: it grows on a click, is walked with keys, and what is picked is in Python."""
import json
from lab import HOSTILE, soon

POD = """
from pymemri.pod.client import PodClient
from pymemri.data.schema import Account, EmailMessage, Person, Photo
client = PodClient(quiet=True)
ada, charles = Person(displayName='Ada Lovelace'), Person(displayName='Charles Babbage')
acc = [Account(handle='ada@example.org', owner=ada), Account(handle='charles@example.org', owner=charles)]
mails = [EmailMessage(subject=f'Letter {i}', sender=acc[i % 2], receiver=acc[1 - i % 2]) for i in range(N)]
photo = Photo(caption='At the exhibition', includes=[ada, charles])
client.bulk_action(create_items=[ada, charles, *acc, *mails, photo],
                   create_edges=[e for i in [*acc, *mails, photo] for e in i.get_all_edges()])
"""


def graph(notebook, n=20, what='ada', kernel='python3'):
    nb = notebook(POD.replace('N)', f'{n})'), f'g = client.graph({what}); g', kernel=kernel)
    out = nb.out(1)
    out.locator('.pm-graph-node').first.wait_for()
    still(nb)
    return nb, out


def still(nb):
    "Wait until the drawing rests"
    nb.page.wait_for_function("""() => { const at = [...document.querySelectorAll('.pm-graph-node')].map(n => n.getAttribute('transform')).join();
        const same = at === window.pmAt; window.pmAt = at; return same }""", polling=250)


def test_it_grows_on_a_click_and_with_keys(notebook, kernel):
    nb, out = graph(notebook, kernel=kernel)
    assert len(json.dumps(nb.outputs()[1])) < 8000
    out.get_by_text('3 nodes', exact=True).wait_for()
    out.get_by_role('button', name='ada@example.org, Account').click()
    out.get_by_text('15 nodes, 1 selected').wait_for()
    out.get_by_text('… 8 more').wait_for()
    assert nb.value('[i.handle for i in g.selected]') == ['ada@example.org']
    still(nb)
    node = out.get_by_role('button', name='ada@example.org, Account')
    node.focus()
    nb.page.keyboard.press('Enter')
    out.get_by_text('23 nodes, 1 selected').wait_for()
    assert nb.value('len(g.nodes)') == 23
    still(nb)
    before = nb.page.evaluate('document.activeElement.getAttribute("aria-label")')
    nb.page.keyboard.press('ArrowLeft')
    if nb.page.evaluate('document.activeElement.getAttribute("aria-label")') == before: nb.page.keyboard.press('ArrowRight')
    after = nb.page.evaluate('document.activeElement.getAttribute("aria-label")')
    assert after != before
    nb.page.keyboard.press(' ')
    out.get_by_text('23 nodes, 2 selected').wait_for()
    assert nb.value('g.item.id') == nb.value('g.picked[-1]')
    cells = nb.cells
    for key in ('x', 'd', 'd'): nb.page.keyboard.press(key)
    assert nb.cells == cells
    nb.page.keyboard.press('Delete')
    out.get_by_text('21 nodes', exact=True).wait_for()
    assert nb.value('(len(g.nodes), len(g.selected))') == [21, 0]
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe(1) == []


def test_drag_pan_and_zoom(notebook):
    nb, out = graph(notebook)
    node, mouse = out.get_by_role('button', name='Ada Lovelace, Person'), nb.page.mouse
    box = node.locator('.pm-graph-dot').bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    mouse.move(x, y); mouse.down(); mouse.move(x + 60, y + 40, steps=5); mouse.up()
    still(nb)
    moved = node.locator('.pm-graph-dot').bounding_box()
    assert abs(moved['x'] - box['x'] - 60) < 4 and abs(moved['y'] - box['y'] - 40) < 4
    assert nb.value('g.picked') == []  # a drag is no click
    world = out.locator('.pm-graph-sheet > g')
    before = world.get_attribute('transform')
    sheet = out.locator('.pm-graph-sheet').bounding_box()
    mouse.move(sheet['x'] + 8, sheet['y'] + 8); mouse.down(); mouse.move(sheet['x'] + 60, sheet['y'] + 60); mouse.up()
    soon(lambda: world.get_attribute('transform') != before)
    out.get_by_role('button', name='Zoom in').click()
    soon(lambda: 'scale' in world.get_attribute('transform'))
    out.get_by_role('button', name='Fit').click()


def test_hundreds_of_nodes(notebook):
    nb, out = graph(notebook, 400, 'acc[0]')
    nb.eval_py('g.grow(acc[0].id, 450); g.grow(mails[0].id); g.grow(acc[1].id, 450); g.tell("drawn", g.state())')
    out.get_by_text('404 nodes').wait_for()
    still(nb)
    assert nb.value('len(g.nodes)') == 404
    soon(lambda: out.locator('.pm-graph-node').count() == 404)
    nb.page.emulate_media(reduced_motion='reduce')
    try:
        nb.eval_py('g.hide([mails[0].id])')
        out.get_by_text('403 nodes').wait_for()
        first, then = [out.locator('.pm-graph-node').first.get_attribute('transform') for _ in range(2)]
        assert first == then
    finally: nb.page.emulate_media(reduced_motion='no-preference')
    nb.shot('graph-many', 1)


def test_hostile_text(notebook):
    nb = notebook(f'''
        from pymemri.data.schema import Person, Photo
        from pymemri.widgets.graph import Graph
        hub = Photo(caption='hub', id='hub', includes=[Person(displayName=t, id=t) for t in {HOSTILE!r}])
        g = Graph(hub); g''')
    out = nb.out(0)
    out.get_by_text('… 2 more').wait_for()
    still(nb)
    out.get_by_role('button', name='hub, Photo').click()
    out.get_by_text(f'{len(HOSTILE) + 1} nodes, 1 selected').wait_for()
    assert nb.axe(0) == []


def test_how_it_looks(notebook):
    nb, out = graph(notebook, 9, 'photo')
    out.get_by_role('button', name='Ada Lovelace, Person').click()
    still(nb)
    out.get_by_role('button', name='ada@example.org, Account').click()
    still(nb)
    out.get_by_role('button', name='Letter 3, EmailMessage').click()
    out.get_by_role('button', name='Charles Babbage, Person').first.wait_for()
    still(nb)
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'graph-{theme}', 1)
    nb.run('from IPython.display import HTML; HTML(g.still())')
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'graph-still-{theme}', 2)

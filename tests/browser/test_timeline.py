"""The timeline in a real JupyterLab: rows with their dates, picking by mouse, keys and date fields, zoom, many items."""
import json
from lab import HOSTILE

POD = """
from datetime import datetime, timedelta, timezone
from pymemri.pod.client import PodClient
from pymemri.data.schema import EmailMessage, Note, Person, Photo
client = PodClient(quiet=True)
day = datetime(2023, 1, 1, 12, tzinfo=timezone.utc)
items = [Photo(caption=f'photo {i}', dateTaken=day + timedelta(days=i * i % 700)) for i in range(200)] + [Photo(caption='no date')] * 1
items += [EmailMessage(subject=f'mail {i}', dateSent=day + timedelta(days=3 * i)) for i in range(150)]
items += [Person(displayName=f'person {i}', birthDate=datetime(1950 + i % 40, 3, 1, tzinfo=timezone.utc)) for i in range(30)]
client.bulk_action(create_items=items)
"""


def timeline(notebook, query="{'type': ['Photo', 'EmailMessage']}", kernel='python3'):
    nb = notebook(POD, f'g = client.timeline({query}); g', kernel=kernel)
    out = nb.out(1)
    out.get_by_text('350 items').wait_for()
    drawn(nb)
    return nb, out


def drawn(nb):
    nb.page.wait_for_function("""() => { const at = [...document.querySelectorAll('.pm-timeline-bars')].map(n => n.getAttribute('d')).join();
        const same = at && at === window.pmAt; window.pmAt = at; return same }""", polling=200)


def test_rows_and_picking(notebook, kernel):
    nb, out = timeline(notebook, kernel=kernel)
    assert len(json.dumps(nb.outputs()[1])) < 40_000
    out.get_by_text('1 × Photo without dateTaken.').wait_for()
    out.get_by_text('dateSent · 150').wait_for()
    sheet, mouse = out.locator('.pm-timeline-sheet'), nb.page.mouse
    box = sheet.bounding_box()
    mouse.move(box['x'] + 300, box['y'] + 40); mouse.down(); mouse.move(box['x'] + 420, box['y'] + 60, steps=6); mouse.up()
    out.get_by_text('selected').first.wait_for()
    nb.page.wait_for_function("() => /^[1-9][0-9,]* selected$/.test(document.querySelector('.pm-timeline-said').textContent)")
    n = int(out.locator('.pm-timeline-said').text_content().split()[0])
    a, b = nb.value('g.picked')
    assert 0 < n < 350 and n == nb.value('len(g.selected)') == nb.value('g.picked_count')
    assert nb.value('all(a <= i.dateTaken.timestamp() * 1000 < b for i in g.selected if type(i).__name__ == "Photo")'.replace('a <=', f'{a} <=').replace('< b', f'< {b}'))
    out.get_by_role('button', name='Zoom to selection').click()
    drawn(nb)
    out.get_by_role('button', name='Clear').click()
    out.get_by_text('350 items').wait_for()
    assert nb.value('(g.picked, len(g.selected))') == [None, 0]
    out.get_by_label('from').fill('2023-02-01')
    out.get_by_label('to, the last day').fill('2023-02-28')
    nb.page.wait_for_function("() => document.querySelector('.pm-timeline-said').textContent.endsWith('selected')")
    assert nb.value('len(g.selected)') == nb.value("len([i for i in items if (d := i.dateTaken if isinstance(i, Photo) else getattr(i, 'dateSent', None)) and d.year == 2023 and d.month == 2])")


def test_keys_and_axe(notebook):
    nb, out = timeline(notebook)
    sheet, press = out.locator('.pm-timeline-sheet'), nb.page.keyboard.press
    sheet.focus()
    press('ArrowRight')
    for _ in range(3): press('Shift+ArrowRight')
    nb.page.wait_for_function("() => document.querySelector('.pm-timeline-said').textContent.endsWith('selected')")
    a, b = nb.value('g.picked')
    assert nb.value('g.bars(*g.span)["step"]') * 4 == b - a
    cells = nb.cells
    for key in ('x', 'd', 'd'): press(key)
    assert nb.cells == cells
    before = out.locator('.pm-timeline-bars').first.get_attribute('d')
    press('+')
    nb.page.wait_for_function('d => document.querySelector(".pm-timeline-bars").getAttribute("d") !== d', arg=before)
    press('Home')
    press('Escape')
    out.get_by_text('350 items').wait_for()
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe(1) == []


def test_a_hundred_thousand_items(notebook):
    nb = notebook("""
        from pymemri.pod.client import PodClient
        from pymemri.data.schema import Note
        client = PodClient(quiet=True)
        client.add_to_schema(Note)
        for k in range(10):
            client.api.bulk(create_items=[dict(type='Note', title=f'note {i}', dateCreated=1_500_000_000_000 + i * 1_000_000) for i in range(k * 10_000, (k + 1) * 10_000)])
        """, "g = client.timeline({'type': 'Note'}); g")
    out = nb.out(1)
    out.get_by_text('100,000 items').wait_for()
    drawn(nb)
    assert nb.value('(sum(n for _, n in g.bars(*g.span)["rows"][0]), g.last_error)') == [100_000, None]
    assert len(json.dumps(nb.outputs()[1])) < 20_000
    assert out.locator('svg *').count() < 80  # as many elements as for ten items


def test_hostile_types(notebook):
    nb = notebook(f'''
        from pymemri.widgets.timeline import Timeline
        class Client:
            "Answers with hostile names"
            @property
            def api(self): return self
            def schema(self): return dict(types={{}})
            def facets(self, query, by, limit=None, step=None):
                return [dict(value=t, count=1) for t in {HOSTILE!r}] if by == 'type' else [dict(value=1000 // step * step, count=1)]
            def count(self, query): return 1
        g = Timeline(Client()); g''')
    nb.out(0).get_by_text('4 more types are not shown.').wait_for()
    assert nb.axe(0) == []


def test_how_it_looks(notebook):
    nb, out = timeline(notebook)
    nb.run("h = client.timeline({'type': ['Photo', 'EmailMessage', 'Person']}, date=None); h.select(day, day + timedelta(days=120)); h")
    nb.out(2).get_by_text('selected').first.wait_for()
    drawn(nb)
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'timeline-{theme}', 2)
    nb.run('from IPython.display import HTML; HTML(h.still())')
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'timeline-still-{theme}', 3)

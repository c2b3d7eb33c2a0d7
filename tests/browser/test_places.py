"""The map in a real JupyterLab: dots that split when one comes nearer, the photos of a place, and no foreign request."""
import json
from lab import HOSTILE, soon

POD = """
import io
from PIL import Image
from pymemri.data.schema import Photo
from pymemri.pod.client import PodClient
client = PodClient(quiet=True)
towns = dict(Amsterdam=(52.37, 4.9), Utrecht=(52.09, 5.12), Paris=(48.86, 2.35), Kathmandu=(27.71, 85.32), Sydney=(-33.86, 151.21), Lima=(-12.05, -77.04))
photos = []
for n, (name, (lat, long)) in enumerate(towns.items()):
    out = io.BytesIO(); Image.new('RGB', (300, 200), ['teal', 'peru', 'slateblue', 'olive', 'crimson', 'navy'][n]).save(out, 'PNG')
    for i in range(3):
        p = Photo.from_bytes(out.getvalue())
        p.caption, p.latitude, p.longitude = f'{name} {i}', lat + i / 200, long + i / 200
        photos.append(p)
files = {p.file[0].sha256: p.file[0] for p in photos}
for p in photos: p.file = files[p.file[0].sha256]
photos.append(Photo(caption='nowhere'))
client.bulk_action(create_items=[*files.values(), *photos], create_edges=[e for p in photos for e in p.get_edges('file')])
for p in photos:
    if p.data: client.upload_file(p.data, asyncFlag=False)
client.reset_local_db()
"""


def places(notebook, kernel='python3'):
    nb = notebook(POD, 'g = client.map(); g', kernel=kernel)
    out = nb.out(1)
    out.get_by_text('18 photos; 1 more know no place').wait_for()
    out.locator('.pm-places-dot').first.wait_for()
    return nb, out


def test_dots_split_and_show_their_photos(notebook, kernel):
    nb, out = places(notebook, kernel=kernel)
    assert len(json.dumps(nb.outputs()[1])) < 40_000
    dots = out.locator('.pm-places-dot')
    assert dots.count() < 7
    europe = out.get_by_role('button', name='9 photos near')
    europe.click()
    out.get_by_text('9 of 18 photos selected').wait_for()
    assert nb.value('sorted({p.caption.split()[0] for p in g.selected})') == ['Amsterdam', 'Paris', 'Utrecht']
    out.get_by_role('listitem').filter(has_text='Paris 1').locator('img').wait_for()
    europe.dblclick()
    out.get_by_role('button', name='3 photos near 48.8').wait_for()
    soon(lambda: out.get_by_role('button', name='9 photos near').count() == 0)
    out.get_by_role('button', name='3 photos near 48.8').dblclick()
    out.get_by_role('button', name='1 photo near 48.86').wait_for()
    out.get_by_role('button', name='World').click()
    out.get_by_role('button', name='9 photos near').wait_for()
    out.get_by_role('button', name='Clear').click()
    out.get_by_text('18 photos; 1 more know no place').wait_for()
    assert nb.value('len(g.selected)') == 0


def test_keys_and_axe(notebook):
    nb, out = places(notebook)
    out.get_by_role('button', name='9 photos near').focus()
    nb.page.keyboard.press('ArrowRight')
    nb.page.keyboard.press('Enter')
    out.get_by_text('3 of 18 photos selected').wait_for()
    assert nb.value('{p.caption.split()[0] for p in g.selected} <= {"Kathmandu", "Sydney"}')
    cells = nb.cells
    for key in ('x', 'd', 'd', '+', '-'): nb.page.keyboard.press(key)
    assert nb.cells == cells
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe(1) == []


def test_many_places_and_hostile_text(notebook):
    nb = notebook(f'''
        from pymemri.data.schema import Photo
        from pymemri.widgets.places import Places
        photos = [Photo(caption=t, latitude=i, longitude=i) for i, t in enumerate({HOSTILE!r})]
        photos += [Photo(caption='x', latitude=(i * 37 % 1300) / 10 - 60, longitude=(i * 91 % 3600) / 10 - 180) for i in range(20_000)]
        g = Places(photos); g''')
    out = nb.out(0)
    out.locator('.pm-places-dot').first.wait_for()
    assert out.locator('.pm-places-dot').count() < 400
    nb.eval_py(f'g.pick([[0, {len(HOSTILE)}]])')
    out.get_by_text(f'{len(HOSTILE)} of 20,014 photos selected').wait_for()
    out.locator('.pm-places-dot').first.click()
    out.get_by_text('in .selected').wait_for()
    nb.run(f'h = Places(photos[:{len(HOSTILE)}]); h')
    nb.out(1).get_by_role('button', name='World').click()
    nb.out(1).locator('.pm-places-dot').first.click()
    nb.out(1).get_by_role('listitem').first.locator('.pm-places-title').wait_for()
    assert nb.value('len(h.selected)') > 0
    assert nb.axe(1) == []


def test_how_it_looks(notebook):
    nb, out = places(notebook)
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'map-{theme}', 1)
    out.get_by_role('button', name='9 photos near').dblclick()
    out.get_by_role('button', name='3 photos near 48.8').click()
    out.get_by_role('listitem').first.locator('img').wait_for()
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'map-near-{theme}', 1)
    nb.run('from IPython.display import HTML; HTML(g.still())')
    nb.theme('light')
    nb.shot('map-still-light', 2)

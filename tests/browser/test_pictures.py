"""The live gallery in a real JupyterLab: thousands of photos, picking with mouse and keyboard, one photo in large."""
import json
from lab import HOSTILE, soon

MANY = """
import io, numpy as np
from PIL import Image
from pymemri.data.schema import Person, Photo
from pymemri.widgets.pictures import Gallery
def made(i, size=(320, 240)):
    y, x = np.mgrid[:size[1], :size[0]]
    a, b = (i * 37) % 255, (i * 91) % 255
    im = np.stack([(x * a // size[0]) % 256, (y * 200 // size[1]) % 256, np.full_like(x, b)], -1).astype('uint8')
    out = io.BytesIO(); Image.fromarray(im).save(out, 'JPEG'); return out.getvalue()
some = [Photo.from_bytes(made(i)) for i in range(24)]
photos = []
for i in range(N):
    p = Photo(data=some[i % 24].data, caption=f'Picture {i}', width=320, height=240)
    photos.append(p)
"""
TILE = '[role=option]'


def gallery(notebook, n=5000, more='', kernel='python3'):
    nb = notebook(MANY.replace('N)', f'{n})') + more, 'g = Gallery(photos); g', kernel=kernel)
    nb.out(1).locator(f'{TILE} img').first.wait_for()
    return nb, nb.out(1)


def test_thousands_of_photos(notebook):
    nb, out = gallery(notebook)
    assert len(json.dumps(nb.outputs()[1])) < 2000
    grid = out.get_by_role('listbox')
    few = out.locator(TILE).count()
    assert 8 < few < 60
    grid.evaluate('g => { g.scrollTop = g.scrollHeight }')
    out.get_by_role('option', name='Picture 4999').locator('img').wait_for()
    grid.evaluate('g => { g.scrollTop = g.scrollHeight / 2 }')
    out.locator(f'{TILE}[aria-posinset="2501"] img').wait_for()
    assert out.locator(TILE).count() <= few + 40
    assert nb.value('g.last_error') is None
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe(1) == []
    assert len(nb.save(widgets=True)) < 50_000  # nearly all of it the script and style of the view


def test_picking(notebook, kernel):
    nb, out = gallery(notebook, 200, kernel=kernel)
    def picked(): return nb.value('[p.caption for p in g.selected]')
    option = lambda i: out.locator(f'{TILE}[aria-posinset="{i + 1}"]')
    option(1).click()
    out.get_by_text('1 of 200 photos selected').wait_for()
    assert picked() == ['Picture 1'] and nb.value('g.item.caption') == 'Picture 1'
    option(3).click(modifiers=['Shift'])
    out.get_by_text('3 of 200 photos selected').wait_for()
    option(2).click(modifiers=['Control'])
    out.get_by_text('2 of 200 photos selected').wait_for()
    assert picked() == ['Picture 1', 'Picture 3']
    option(5).hover()
    option(5).locator('.pm-pictures-tick').click()
    out.get_by_text('3 of 200 photos selected').wait_for()
    soon(lambda: [option(i).get_attribute('aria-selected') for i in (1, 2, 5)] == ['true', 'false', 'true'])
    out.get_by_role('button', name='Select all').click()
    out.get_by_text('200 of 200 photos selected').wait_for()
    assert len(picked()) == 200
    out.get_by_role('button', name='Clear').click()
    out.get_by_text('200 photos', exact=True).wait_for()
    assert picked() == []


def test_keys(notebook):
    nb, out = gallery(notebook, 200)
    grid, press = out.get_by_role('listbox'), nb.page.keyboard.press
    grid.focus()
    for key in ('ArrowRight', 'ArrowRight', ' '): press(key)
    out.get_by_text('1 of 200 photos selected').wait_for()
    for key in ('ArrowLeft', 'Shift+ArrowRight', 'Shift+ArrowRight'): press(key)
    out.get_by_text('3 of 200 photos selected').wait_for()
    assert nb.value('[p.caption for p in g.selected]') == ['Picture 1', 'Picture 2', 'Picture 3']
    press('Control+a')
    out.get_by_text('200 of 200 photos selected').wait_for()
    press('Escape')
    out.get_by_text('200 photos', exact=True).wait_for()
    press('End')
    out.get_by_role('option', name='Picture 199').wait_for()
    cells = nb.cells
    for key in ('x', 'd', 'd'): press(key)
    assert nb.cells == cells
    press('Enter')
    box = out.get_by_role('dialog', name='Picture 199')
    box.get_by_role('img').wait_for()
    press('ArrowLeft')
    out.get_by_role('dialog', name='Picture 198').wait_for()
    assert nb.axe(1) == []
    press(' ')
    box = out.get_by_role('dialog', name='Picture 198')
    box.get_by_role('button', name='Selected').wait_for()
    for key in ('Tab',) * 5: press(key)
    soon(lambda: box.evaluate('b => b.contains(document.activeElement)'))
    press('Escape')
    box.wait_for(state='detached')
    soon(lambda: grid.evaluate('g => document.activeElement === g'))
    assert nb.value('[p.caption for p in g.selected]') == ['Picture 198']


def test_damaged_missing_and_hostile(notebook):
    nb, out = gallery(notebook, 2, '\n'.join([
        f'hostile = {HOSTILE!r}',
        "photos += [Photo(data=b'torn', caption='torn'), Photo(caption='nothing')]",
        'for t in hostile: photos.append(Photo(data=some[0].data, caption=t, name=t, camera=t, includes=[Person(displayName=t)]))']))
    out.get_by_text('cannot be read').wait_for()
    out.get_by_text('no picture', exact=True).wait_for()
    option = out.locator(f'{TILE}[aria-posinset="5"]')
    option.locator('img').wait_for()
    soon(lambda: option.locator('.pm-pictures-title').text_content() == HOSTILE[0])
    option.dblclick()
    out.get_by_role('dialog').get_by_role('img').wait_for()
    for i in range(1, len(HOSTILE)):
        nb.page.keyboard.press('ArrowRight')
        out.get_by_text(f'{i + 5} of {4 + len(HOSTILE)}').wait_for()
    soon(lambda: out.get_by_role('dialog').locator('h3').text_content() == HOSTILE[-1])


def test_photos_of_a_pod(notebook):
    nb = notebook(MANY.replace('N)', '3)'), '''
        from pymemri.pod.client import PodClient
        client = PodClient(quiet=True)
        alice = Person(displayName='Alice')
        client.create(alice)
        for i in range(3):
            p = Photo.from_bytes(made(i))
            p.caption, p.includes = f'Stored {i}', [alice]
            client.create_photo(p, asyncFlag=False)
            client.create_edges(p.get_edges('includes'))
        client.reset_local_db()
        g = client.gallery()
        g''')
    out = nb.out(1)
    out.get_by_role('option', name='Stored 0. Alice').locator('img').wait_for()
    out.get_by_role('option', name='Stored 1. Alice').click()
    out.get_by_text('1 of 3 photos selected').wait_for()
    assert nb.value('[(p.caption, p.includes[0].displayName, p is client.get(p.id)) for p in g.selected]') == [['Stored 1', 'Alice', True]]
    out.get_by_role('option', name='Stored 1. Alice').dblclick()
    out.get_by_role('dialog').get_by_role('listitem').get_by_text('Alice').wait_for()
    # a photo that comes meanwhile moves nothing: places are those of the ids that were there at first
    nb.page.keyboard.press('Escape')
    nb.eval_py("q = Photo.from_bytes(made(9)); q.caption = 'Later'; client.create_photo(q, asyncFlag=False); g.photos.pages.clear()")
    assert nb.value('[p.caption for p in g.selected]') == ['Stored 1']
    nb.eval_py('client.delete_items([g.item]); g.photos.pages.clear()')
    assert nb.value('(len(g.selected), g.item, g.photo_at(g.picked[0]))') == [0, None, None]
    # who opens the notebook later, without a kernel, still reads what stood there
    nb.reopen(trusted=False)


def test_how_it_looks(notebook):
    nb, out = gallery(notebook, 60, "\nphotos[3] = Photo(data=b'torn', caption='Torn picture')\nphotos[0].includes=[Person(displayName='Ada Lovelace')]\n"
                                    "from skimage import data as _d\nphotos[0].data=Photo.from_np(_d.astronaut()).data\nphotos[1].data=Photo.from_np(_d.chelsea()).data")
    out.locator(f'{TILE}[aria-posinset="8"] img').wait_for()
    out.locator(f'{TILE}[aria-posinset="2"]').click()
    out.locator(f'{TILE}[aria-posinset="3"]').click(modifiers=['Control'])
    for theme in ('light', 'dark'):
        nb.theme(theme)
        nb.shot(f'gallery-{theme}', 1)
    out.locator(f'{TILE}[aria-posinset="1"]').dblclick()
    out.get_by_role('dialog').get_by_role('img').wait_for()
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe(1) == []
        nb.shot(f'gallery-large-{theme}', 1)

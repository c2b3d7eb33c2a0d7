"""`pymemri demo`, as a person runs it: a process of its own, a home of its own, real photographs and odd files."""
import base64, os, re, stat, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from pymemri.core import WrongKey
from pymemri.pod.client import PodClient
from pymemri.pod.keys import random_key, read_pod_key

START = [sys.executable, '-c', 'import sys; from pymemri.cli import main; sys.exit(main())']


def pymemri(*args, env, cwd, status=0):
    "Run the console script's function in a process of its own; what it printed, and its complaints"
    cwd.mkdir(parents=True, exist_ok=True)
    env = env | {'HOME': str(cwd), 'USERPROFILE': str(cwd), 'COLUMNS': '200'}
    r = subprocess.run([*START, *args], env=env, cwd=cwd, capture_output=True, timeout=120)
    out, err = r.stdout.decode(), r.stderr.decode()
    assert r.returncode == status, out + err
    return out, err


def table(out):
    "Step → what happened, from the printed table, whose long lines are broken"
    rows, last = {}, None
    for line in out.splitlines():
        m = re.fullmatch(r'  (\S.*?)  +(\S.*?) +\d+(?:\.\d\d s| ms)', line)
        if m: rows[last := m[1]] = m[2]
        elif last and line.startswith('   ') and not line.startswith("    '"): rows[last] += ' ' + line.strip()
        else: last = None
    return rows


def open_pod(folder, **kwargs):
    "The demo's Pod, with the keys that it kept"
    return PodClient.from_local_keys(folder / 'pod_keys' / 'keys.json', home=folder, quiet=True, **kwargs)


class Html(HTMLParser):
    "Elements, references and visible text of a page"
    def __init__(self, text):
        super().__init__()
        self.tags, self.refs, self.text, self.handlers = [], [], '', []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for k, v in attrs:
            if k in ('src', 'href', 'srcset', 'action', 'data', 'poster'): self.refs.append(v)
            if k.startswith('on'): self.handlers.append(k)

    def handle_data(self, data): self.text += data


def check_page(path):
    "A page that needs nothing from anywhere, and runs nothing"
    text = path.read_text(encoding='utf-8')
    page = Html(text)
    assert not {'script', 'iframe', 'object', 'link', 'form', 'base'} & set(page.tags) and not page.handlers
    assert all(r.startswith(('data:image/webp;base64,', '#')) for r in page.refs), [r[:80] for r in page.refs]
    assert 'url(' not in text and '@import' not in text and 'prefers-color-scheme:dark' in text \
        and "default-src 'none'" in text
    return page


@pytest.fixture(scope='module')
def first(tmp_path_factory, clean_env):
    "The demo on the photographs of scikit-image: what it printed, and where it ran"
    here = tmp_path_factory.mktemp('demo')
    return pymemri('demo', env=clean_env, cwd=here)[0], here


def test_the_table_says_what_was_done(first):
    out, here = first
    rows = table(out)
    assert re.match(r'(\d+) photos, \1 files, 1 person, \d+ edges; \d\.\d MB', rows['import']) \
        and int(rows['import'].split()[0]) >= 26
    assert re.fullmatch(r'0 new, \d+ there already', rows['import again'])
    assert rows['open with a wrong key'].startswith('refused: the key does not open the Pod')
    assert re.fullmatch(r'\d+ photos in it', rows['open with its key'])
    assert re.match(r'\d+ photos: retina.jpg, hubble_deep_field.jpg', rows['width >= 500, widest first'])
    assert rows['text "space"'].startswith('4 photos; ') and rows['text "space"'].count('**space**') == 3
    assert rows['edges'] == ('Eileen Collins is in 1 photo: astronaut.png; '
                             'and from astronaut.png: file → astronaut.png, includes → Eileen Collins')
    assert rows['look for readable text'].endswith('MB: none found')
    assert rows['gallery'].startswith(f'{rows["import"].split()[0]} of ')
    assert str(here / 'demo.html') in out and str(here / '.pymemri' / 'demo') in out
    way_in = '\n'.join(line.rpartition('  ')[2] for line in out.splitlines()[-2:]) # the last two lines are Python
    opened = subprocess.run([sys.executable, '-c', way_in + '; print(client.count({"type": "Photo"}))'], cwd=here, capture_output=True, timeout=600)
    assert opened.stdout.decode().splitlines()[-1] == rows['import'].split()[0], opened.stderr.decode()


def test_the_page_stands_alone(first):
    out, here = first
    page = check_page(here / 'demo.html')
    assert page.tags.count('img') == page.tags.count('figure') >= 26
    assert 'Chelsea the cat' in page.text and 'Eileen Collins' in page.text and '512 × 512' in page.text
    assert (here / 'demo.html').stat().st_size < 5_000_000


def test_the_pod_opens_with_its_keys_and_no_others(first):
    out, here = first
    folder = here / '.pymemri' / 'demo'
    keys = folder / 'pod_keys' / 'keys.json'
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    database_key, owner_key = (read_pod_key(k, keys, quiet=True) for k in ('database_key', 'owner_key'))
    assert database_key not in out and owner_key not in out and database_key not in (here / 'demo.html').read_text()
    with open_pod(folder) as client:
        photo, = client.search({'type': 'Photo', '_text': 'astronaut'})
        assert [p.displayName for p in photo.includes] == ['Eileen Collins']
        import skimage
        assert client.get_file(photo.file[0].sha256) \
            == (Path(skimage.__file__).parent / 'data' / 'astronaut.png').read_bytes()
        assert client.integrity_check() == []
    with pytest.raises(WrongKey): PodClient(home=folder, owner_key=owner_key, database_key=random_key())


def test_nothing_of_it_can_be_read_on_the_disk(first):
    folder, seen = first[1] / '.pymemri' / 'demo', 0
    import skimage
    picture = (Path(skimage.__file__).parent / 'data' / 'coffee.png').read_bytes()
    for path in (p for p in folder.rglob('*') if p.is_file()):
        data, seen = path.read_bytes(), seen + 1
        for secret in (b'Eileen', b'Chelsea', b'astronaut', b'caption', b'PNG\r\n', b'JFIF', picture[1000:1032],
                       picture[-2000:-1968]):
            assert secret not in data and secret not in str(path).encode()
    assert seen > 26


def odd_files(folder):
    "Pictures with hostile names, and files that are no pictures"
    folder.mkdir()
    (folder / 'sub & <b>folder').mkdir()
    for i, name in enumerate(['<img src=x onerror=alert(1)>.png', "'; drop table items; --.jpg", 'two\nlines.png',
                              '日本 🙂.webp', '"quoted" {x} %s.gif',
                              'sub & <b>folder/UPPER.JPG', '-rf.png', 'x' * 200 + '.png']):
        Image.new('RGB', (30 + i, 20), (i * 20, 90, 200)).save(folder / name)
    if sys.platform == 'linux': Image.new('L', (50, 50)).save(os.fsencode(folder) + b'/\xff\xfe.png', format='PNG')
    exif = Image.Exif()
    exif[0x0112], exif[0x010f], exif[0x010e] = 6, 'SecretCamera', '</style><script>alert(2)</script>'
    exif.get_ifd(0x8825).update({1: 'N', 2: (52.0, 22.0, 12.0), 3: 'E', 4: (4.0, 53.0, 42.0)})
    Image.new('RGB', (80, 40), 'green').save(folder / 'sideways.jpg', exif=exif)
    (folder / 'broken.png').write_bytes((folder / '-rf.png').read_bytes()[:60])
    (folder / 'empty.jpg').touch()
    (folder / 'text.png').write_text('<script>alert(3)</script>')
    (folder / 'loop').symlink_to(folder)
    (folder / 'people.json').write_text('{"sideways.jpg": {"caption": "<script>alert(4)</script> holiday", '
                                        '"people": ["<i>Mallory</i>"]}}')


def test_odd_files_end_nothing(tmp_path, clean_env):
    odd_files(tmp_path / 'odd')
    out, _ = pymemri('demo', '--folder', str(tmp_path / 'odd'), '--home', str(tmp_path / 'h'), '--out', 'page.html',
                     '--quiet', env=clean_env, cwd=tmp_path / 'cwd')
    n = 10 if sys.platform == 'linux' else 9
    rows = table(out)
    assert rows['import'].startswith(f'{n} photos, {n} files, 1 person') and '4 left out' in rows['import'] \
        and '4 files were left out' in out
    assert rows['look for readable text'].endswith('none found')
    assert all(name in out for name in ("'broken.png': ", "'empty.jpg': ", "'text.png': ", "'loop': "))
    page = check_page(tmp_path / 'cwd' / 'page.html')
    assert page.tags.count('figure') == n and '<script>alert(4)</script> holiday' in page.text \
        and '<i>Mallory</i>' in page.text
    # turned upright; the camera is told, but not inside the small copies
    assert '40 × 80' in page.text and page.text.count('SecretCamera') == 1
    small = [base64.b64decode(r.partition(',')[2]) for r in page.refs if r.startswith('data:')]
    assert len(small) == n and not any(b'SecretCamera' in d or b'EXIF' in d for d in small)
    with open_pod(tmp_path / 'h' / 'demo') as client:
        assert {'two\nlines.png', '日本 🙂.webp', "'; drop table items; --.jpg"} \
            <= {p.name for p in client.search({'type': 'Photo'})}


def test_twice_in_a_row_and_an_empty_folder(tmp_path, clean_env):
    (tmp_path / 'none').mkdir()
    args = ('demo', '--folder', str(tmp_path / 'none'), '--quiet')
    outs = [pymemri(*args, env=clean_env, cwd=tmp_path)[0] for _ in range(2)]
    assert all(table(o)['import'].startswith('0 photos, 0 files, 0 people') for o in outs)
    assert 'no pictures' in (tmp_path / 'demo.html').read_text()
    with open_pod(tmp_path / '.pymemri' / 'demo') as client: assert client.count({'type': 'Photo'}) == 0


def test_a_folder_of_somebody_else_is_not_touched(tmp_path, clean_env):
    (tmp_path / 'h' / 'demo').mkdir(parents=True)
    (tmp_path / 'h' / 'demo' / 'thesis.txt').write_text('years of work')
    (tmp_path / 'none').mkdir()
    out, err = pymemri('demo', '--folder', str(tmp_path / 'none'), '--home', str(tmp_path / 'h'), env=clean_env,
                       cwd=tmp_path, status=1)
    assert 'was not touched' in err and 'Traceback' not in err
    assert (tmp_path / 'h' / 'demo' / 'thesis.txt').read_text() == 'years of work'


def test_help_and_mistakes(tmp_path, clean_env):
    out, _ = pymemri('--help', env=clean_env, cwd=tmp_path)
    assert 'demo' in out and 'store-keys' in out and not list(tmp_path.iterdir())
    assert 'not a folder' in pymemri('demo', '--folder', 'nowhere', env=clean_env, cwd=tmp_path, status=1)[1]
    assert 'invalid choice' in pymemri('demmo', env=clean_env, cwd=tmp_path, status=2)[1]


def test_without_scikit_image_the_message_says_what_to_do(tmp_path, clean_env):
    (tmp_path / 'skimage').mkdir()
    (tmp_path / 'skimage' / '__init__.py').write_text('raise ImportError("not here")')
    env = clean_env | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{clean_env["PYTHONPATH"]}'}
    assert 'pip install scikit-image' in pymemri('demo', env=env, cwd=tmp_path / 'cwd', status=1)[1]

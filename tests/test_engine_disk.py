"""Nothing that was given to a Pod can be read on the disk: not in its files, not in its WAL, not in temporary files,
not for a moment."""
import hashlib, io, os, stat, sys, tempfile, threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pymemri.core import WrongKey
from pymemri.data.item import Edges, Item
from pymemri.data.photo import Photo
from pymemri.data.schema import EmailMessage, File
from pymemri.pod.client import PodClient

KEY, NEXT_KEY, PHRASE = '3c' * 31 + 'd5', '9e' * 31 + 'f7', 'open Sesambrötchen 1001'
OWNER = '0d' * 32


class Geheimtagebuch(Item):
    "A type whose names must not be readable either"
    verborgenerEintrag: str
    tageszaehler: int
    mitverschwoerer: Edges['Geheimtagebuch']


TEXTS = ['Geheimtagebuch', 'verborgenerEintrag', 'tageszaehler', 'mitverschwoerer', 'Quittenmarmelade', 'Zwölfthousand',
         'steuererklaerung2031.pdf', 'urlaubsfoto-am-See.png', 'Dear Aunt Philomena', 'philomena@example.org',
         'Suchwortkuchen', 'Nebenkammerfund', PHRASE]


class Watch(threading.Thread):
    "Reads every file below `places`, and every unlinked file this process has open, over and over, to find `secrets`"
    def __init__(self, places, secrets):
        super().__init__(daemon=True)
        self.places, self.secrets, self.over = places, list(secrets), threading.Event()
        self.seen, self.found, self.read = {}, set(), set()
    def look(self):
        "One round"
        for place in self.places:
            for path in place.rglob('*'):
                if path.is_file() and 'pod_keys' not in path.parts: self.grep(path, str(path.relative_to(place)))
        for fd in Path('/proc/self/fd').glob('*') if sys.platform == 'linux' else ():
            try:
                if os.readlink(fd).startswith('/') and os.readlink(fd).endswith(' (deleted)'):
                    self.grep(fd, 'an unlinked file')
            except OSError: pass # closed by now
    def grep(self, path, name):
        try:
            s = path.stat()
            if not stat.S_ISREG(s.st_mode) or self.seen.get(s.st_ino) == (s.st_size, s.st_mtime_ns, len(self.secrets)):
                return
            data = path.read_bytes()
        except OSError: return # gone by now
        self.seen[s.st_ino] = s.st_size, s.st_mtime_ns, len(self.secrets)
        self.read.add(Path(name).suffix or Path(name).name[:7])
        self.found |= {(name, i) for i, secret in enumerate(self.secrets) if secret in data}
    def run(self):
        while not self.over.wait(.01): self.look()
    def __enter__(self):
        self.start()
        return self
    def __exit__(self, *_):
        self.over.set()
        self.join()


def spelled(text): return [text.encode(e) for e in ('utf-8', 'utf-16-le', 'utf-16-be')]
def of_key(key): return [*spelled(key), *spelled(key.upper()), bytes.fromhex(key)]
def pieces(data, n=24): return [data[i:i + n] for i in range(0, len(data) - n, max(1, len(data) // 20))]


@pytest.fixture
def places(tmp_path, monkeypatch):
    "A home and the folder of temporary files, with a permissive umask"
    for name in ('TMPDIR', 'TEMP', 'TMP', 'SQLITE_TMPDIR'): monkeypatch.setenv(name, str(tmp_path / 'tmp'))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    (tmp_path / 'tmp').mkdir()
    old = os.umask(0)
    yield tmp_path / 'above' / 'home', tmp_path / 'tmp'
    os.umask(old)


def png():
    "A picture that does not compress, with a text in its header"
    out, note = io.BytesIO(), PngInfo()
    note.add_text('Comment', 'Nebenkammerfund')
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)).save(out, 'PNG', pnginfo=note)
    return out.getvalue()


def modes(home):
    "Files and folders of `home` that others could look into"
    return [(str(p.relative_to(home)), oct(p.stat().st_mode)) for p in [home, *home.rglob('*')]
            if p.exists() and stat.S_IMODE(p.stat().st_mode) != (0o700 if p.is_dir() else 0o600)]


def live(client, watch, photo, data):
    "Everything a user does, with `watch` looking after each step"
    diary = [Geheimtagebuch(verborgenerEintrag=f'Quittenmarmelade {i} ' + 'Zwölfthousand ' * 40, tageszaehler=i)
             for i in range(3000)]
    steps = [
        lambda: client.add_to_schema(Geheimtagebuch),
        lambda: client.bulk_action(create_items=diary),
        lambda: diary[0].add_edge('mitverschwoerer', diary[1])
        or client.create_edges(diary[0].get_edges('mitverschwoerer')),
        lambda: client.create(EmailMessage(subject='Dear Aunt Philomena',
                                           content='write to philomena@example.org ' * 9)),
        lambda: client.create(File(sha256=hashlib.sha256(data).hexdigest(), filename='steuererklaerung2031.pdf')),
        lambda: client.upload_file(data, asyncFlag=False),
        lambda: client.create_photo(photo, asyncFlag=False),
        lambda: [client.search({'_text': w}) for w in ('Quittenmarmelade', 'Suchwortkuchen', 'philomena')],
        lambda: [client.search({'type': 'Geheimtagebuch', 'verborgenerEintrag': 'Suchwortkuchen'}) for _ in range(3)],
        lambda: client.api.search({'type': 'Geheimtagebuch', '_sort': ['-verborgenerEintrag', 'tageszaehler'],
                                   '[[edges]]': {'depth': 2}}),
        lambda: client.facets({'type': 'Geheimtagebuch'}, 'verborgenerEintrag'),
        lambda: client.purge(diary[2000:]),
        lambda: client.vacuum(),
        lambda: client.integrity_check(),
    ]
    for step in steps:
        step()
        watch.look()


@pytest.mark.parametrize('temporary', [False, True])
def test_nothing_readable(places, temporary):
    home, data, photo = places[0], np.random.default_rng(2).bytes(2_500_000), png()
    secrets = [s for t in TEXTS for s in spelled(t)] + of_key(KEY) + of_key(NEXT_KEY) + pieces(photo) + pieces(data)
    with Watch(places, secrets) as watch:
        with PodClient(home=home, quiet=True,
                       **({} if temporary else dict(database_key=KEY, owner_key=OWNER))) as client:
            assert client.temporary == temporary
            client.api.road.pod.find.slow = 0 # the second search makes an index
            watch.secrets += of_key(client.database_key)
            picture = Photo.from_bytes(photo)
            picture.file[0].filename = 'urlaubsfoto-am-See.png'
            live(client, watch, picture, data)
            assert any('-wal' in str(p) for p in home.rglob('*')), 'the Pod was to be open'
            assert client.facets({'type': 'File'}, 'filename') and client.get_file(picture.file[0].sha256) == photo
            for item in client.api.search({'type': 'File'}): watch.secrets += of_key(item['key'])
            assert modes(home) == []
            client.backup(home / 'backups')
            watch.look()
            for key in (NEXT_KEY, PHRASE):
                client.rekey(key)
                watch.look()
            assert len(client.api.search({'type': 'Geheimtagebuch', '_text': 'quittenmarmelade'})) == 2000
            assert modes(home) == []
        watch.look()
        assert watch.found == set()
        assert {'.db', '.db-wal', '.db-shm', 'sha224-'} <= watch.read, 'the watch was asleep'


def test_the_watch_would_see_it(places):
    "The test of the test: plain bytes are found in a file, and in one that is unlinked already"
    with Watch(places, spelled('Quittenmarmelade')) as watch:
        (places[1] / 'a').write_bytes(b'xx' + 'Quittenmarmelade'.encode('utf-16-le'))
        with tempfile.TemporaryFile() as f:
            f.write(b'Quittenmarmelade')
            f.flush()
            watch.look()
    assert ('a', 1) in watch.found and (sys.platform != 'linux' or ('an unlinked file', 0) in watch.found)


def state(home): # without the memory that connections share
    return {str(p.relative_to(home)): (p.stat().st_mtime_ns, p.is_file() and p.read_bytes())
            for p in [home, *home.rglob('*')] if p.suffix != '.db-shm'}


@pytest.mark.parametrize('wrong', [NEXT_KEY, PHRASE, KEY[:-1], KEY + '0'],
                         ids=['another', 'phrase', 'shorter', 'longer'])
@pytest.mark.parametrize('right', [KEY, 'a passphrase'], ids=['raw', 'passphrase'])
def test_wrong_key_changes_nothing(places, right, wrong):
    home, keys = places[0], dict(owner_key=OWNER, home=places[0], quiet=True)
    with PodClient(database_key=right, **keys) as client: client.create(EmailMessage(subject='x'))
    before = state(home)
    with pytest.raises(WrongKey, match='the key does not open the Pod'): PodClient(database_key=wrong, **keys)
    assert state(home) == before
    with PodClient(database_key=right, **keys) as client: # and while somebody works in it
        client.create(EmailMessage(subject='y'))
        before = state(home)
        with pytest.raises(WrongKey): PodClient(database_key=wrong, **keys)
        assert state(home) == before
        assert client.count({'type': 'EmailMessage'}) == 2

"""Damaged files, full disks, wrong hands: an error that says what is wrong, or the right data; never wrong data,
never a key in a message."""
import json, os, random, shutil, stat, subprocess, sys, traceback

import pytest
import writers
from writers import KEY, OWNER, SCHEMA, Model, Pod

from pymemri.core import Damaged, Invalid, NotFound, PodError, TooLarge, Unavailable, WrongKey
from pymemri.engine.pod import pod_folder


def filled(home, n=150, key=KEY):
    "A Pod with some items, edges, words and a file, and its model"
    rnd = random.Random(7)
    data = rnd.randbytes(5000)
    made = [writers.thing(rnd, sha256=writers.digest(data)), writers.thing(rnd, note='hay ' * 10_000)]
    calls = [('bulk', dict(createItems=SCHEMA + made)),
             ('upload_file', dict(sha256=writers.digest(data)), data), ('bulk', writers.pair(rnd, n))]
    model = Model()
    with Pod(OWNER, key, home=home) as pod:
        for call in calls:
            getattr(pod, call[0])(*call[1:])
            model = model.after(call)
        pod.search(dict(_text='ant'))
    return model


def said(error):
    "Everything that an error says"
    return f'{error} {error!r} {error.args} ' + ''.join(traceback.format_exception(error))


def all_right(home, model):
    "Whether the Pod gives what it was given; anything else must be told by an error"
    try:
        with Pod(OWNER, KEY, home=home, create=False) as pod:
            if problems := pod.integrity_check(): raise Damaged(problems[0])
            wrong = model.wrong(pod)
            assert not wrong, f'wrong data, and no error: {wrong}'
            pod.search(dict(_text='ant'))
            return True
    except PodError as e:
        assert isinstance(e, (Damaged, WrongKey, NotFound)) and KEY not in said(e)
        return False


def reads_right(home, model):
    "The same without asking for a check first: each item, the words and the file, if they come, are the right ones"
    try:
        with Pod(OWNER, KEY, home=home, create=False) as pod:
            for id, item in [*list(model.items.items())[:2], *list(model.items.items())[::7]]:
                found, = pod.get_item(id)
                assert {k: found.get(k) for k in item if k != 'deleted'} \
                    == {k: v for k, v in item.items() if k != 'deleted'}
            ids = {i['id'] for i in pod.search(dict(_text='ant'))}
            assert ids == {i['id'] for i in model.items.values() if 'ant' in i['name'] + i['note']}
    except PodError as e: assert isinstance(e, (Damaged, WrongKey)), said(e)


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    home = tmp_path_factory.mktemp('good')
    return home, filled(home)


@pytest.fixture
def copy(good, tmp_path):
    "A copy of a good Pod to do harm to"
    shutil.copytree(good[0], tmp_path / 'home')
    return tmp_path / 'home', good[1], pod_folder(OWNER, tmp_path / 'home') / 'pod.db'


def test_flipped_bits(copy):
    home, model, db = copy
    whole, rnd, noticed = db.read_bytes(), random.Random(8), 0
    offsets = [0, 5, 15, 16, 24, 4095, len(whole) - 1] \
        + [page + rnd.randrange(4096) for page in range(0, len(whole), 4096)]
    for offset in offsets:
        db.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << rnd.randrange(8)]) + whole[offset + 1:])
        reads_right(home, model)
        noticed += not all_right(home, model)
    assert noticed == len(offsets), 'a changed byte went unnoticed'
    for f in db.parent.glob('pod.db-*'): f.unlink()
    db.write_bytes(whole)
    assert all_right(home, model), 'a bystander was changed'


def test_cut_off(copy):
    home, model, db = copy
    whole = db.read_bytes()
    for size in (1, 15, 16, 512, 4095, 4096, 4097, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        db.write_bytes(whole[:size])
        reads_right(home, model)
        assert not all_right(home, model), f'cut off after {size} bytes, and nobody noticed'
    db.write_bytes(whole)
    assert all_right(home, model)


def test_swapped_pages(copy):
    "Pages in another place, or of another Pod with the same key, do not pass for the right ones"
    home, model, db = copy
    whole = db.read_bytes()
    page = lambda n: whole[n * 4096:(n + 1) * 4096]
    db.write_bytes(whole[:3 * 4096] + page(5) + page(4) + page(3) + whole[6 * 4096:])
    reads_right(home, model)
    assert not all_right(home, model)


def test_damaged_file(copy):
    "The sealed bytes of a file: changed, cut, gone"
    home, model, db = copy
    sealed, = (p for p in (db.parent / 'files').rglob('sha224-*'))
    whole, (digest,) = sealed.read_bytes(), model.files
    for bad in (whole[:50] + b'?' + whole[51:], whole[:-1], whole + b'x', b'', None):
        sealed.unlink()
        if bad is not None: sealed.write_bytes(bad)
        with Pod(OWNER, KEY, home=home) as pod:
            with pytest.raises(Damaged): pod.get_file(dict(sha256=digest))
            assert len(pod.integrity_check()) == 1 and digest in pod.integrity_check()[0]


def test_later_layout(copy):
    home, model, db = copy
    with Pod(OWNER, KEY, home=home) as pod: pod.store.main.execute('pragma user_version=99').fetchall()
    before = db.read_bytes()
    with pytest.raises(Invalid, match='layout 99.*newer'): Pod(OWNER, KEY, home=home)
    assert db.read_bytes() == before


FULL = '''
import os, sys
sys.path[:0] = [{tests!r}]
from writers import *
from pymemri.core import PodError
home, ballast = sys.argv[1:3]
model, rnd, refused = Model(), random.Random(1), 0
with Pod(OWNER, KEY, home=home) as pod:
    pod.bulk(dict(createItems=SCHEMA))
    def attempt(call):
        global model, refused
        try: getattr(pod, call[0])(*call[1:])
        except PodError as e:
            assert e.status == 507 and ('space' in str(e) or 'full' in str(e)), repr(e)
            refused += 1
        else: model = model.after(call)
    while refused < 3 and len(model.items) < 20_000: attempt(('bulk', pair(rnd, 50)))
    assert refused >= 3
    first = next(iter(model.items))
    data = rnd.randbytes(3_000_000)
    for k in range(3): # what is there can be read, nothing half is there, and the small fails as well as the large
        assert not model.wrong(pod), model.wrong(pod)
        attempt(('bulk', pair(rnd, 500)))
    assert refused >= 6
    os.unlink(ballast)
    pod.create_item(dict(type='Thing', id='file-0001', sha256=digest(data)))
    pod.upload_file(dict(sha256=digest(data)), data[:]) if {room} else None
    pod.purge(dict(ids=['file-0001']))
    attempt(('update_item', dict(id=first, name='after')))
    attempt(('bulk', pair(rnd, 50)))
    assert model.items[first]['name'] == 'after' and not model.wrong(pod)
    assert pod.search(dict(_text='after')) and pod.integrity_check() == []
with Pod(OWNER, KEY, home=home, create=False) as pod: assert not model.wrong(pod) and pod.integrity_check() == []
print('went on')
'''


def test_full_disk(tmp_path, clean_env):
    "A small disk of its own, if we may mount one: 507, nothing half, and it goes on once there is room"
    disk = tmp_path / 'disk'
    disk.mkdir()
    if sys.platform != 'linux' or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', str(disk)],
                                                 capture_output=True).returncode:
        pytest.skip('may not mount')
    try:
        (disk / 'ballast').write_bytes(bytes(8 << 20))
        code = FULL.format(tests=os.path.dirname(__file__), room=True)
        done = subprocess.run([sys.executable, '-c', code, str(disk / 'home'), str(disk / 'ballast')], env=clean_env,
                              capture_output=True, text=True, timeout=120)
        assert done.stdout == 'went on\n', done.stderr
    finally: subprocess.run(['umount', str(disk)], check=True)


LIMIT = '''
import resource, signal, sys
sys.path[:0] = [{tests!r}]
from writers import *
from pymemri.core import PodError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model, rnd, refused = Model(), random.Random(1), 0
with Pod(OWNER, KEY, home=sys.argv[1]) as pod:
    pod.bulk(dict(createItems=SCHEMA))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard)) # no file may be larger
    for _ in range(60):
        call = 'bulk', pair(rnd, 50)
        try: pod.bulk(call[1])
        except PodError as e:
            assert e.status >= 500, repr(e)
            refused += 1
        else: model = model.after(call)
        if refused == 3: break
    assert refused and not model.wrong(pod)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    call = 'bulk', pair(rnd, 50)
    pod.bulk(call[1])
    model = model.after(call)
    assert not model.wrong(pod)
with Pod(OWNER, KEY, home=sys.argv[1], create=False) as pod: assert not model.wrong(pod) and pod.integrity_check() == []
print('went on')
'''


@pytest.mark.skipif(sys.platform == 'win32', reason='no such limit')
def test_files_that_may_not_grow(tmp_path, clean_env):
    done = subprocess.run([sys.executable, '-c', LIMIT.format(tests=os.path.dirname(__file__)), str(tmp_path)],
                          env=clean_env, capture_output=True, text=True, timeout=120)
    assert done.stdout == 'went on\n', done.stderr


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no way here to become somebody else')
def test_read_only_folder(tmp_path):
    "Somebody who may not write there is told so"
    (tmp_path / 'home').mkdir(mode=0o555)
    read, write = os.pipe()
    if not (child := os.fork()):  # root may write everywhere, so a child becomes nobody; it stands in the folder already
        os.chdir(tmp_path / 'home')
        if os.geteuid() == 0:
            os.setgroups([])
            os.setuid(65534)
        try: Pod(OWNER, KEY, home='.')
        except (PodError, PermissionError) as e: os.write(write, f'{type(e).__name__} {e}'.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as f: said = f.read()
    os.waitpid(child, 0)
    assert 'ermission' in said and 'pod' in said and KEY not in said, said


# --- keys ---

@pytest.mark.parametrize('key', ['', None, b'x' * 32, 7, f"x'{KEY}'"], ids=range(5))
def test_no_key(tmp_path, key):
    with pytest.raises(Invalid, match='database key|passphrase'): Pod(OWNER, key, home=tmp_path)
    assert not list(tmp_path.rglob('*.db'))


@pytest.mark.parametrize('key', ['key', ' ', 'ключ 鍵 🔑', "o'key\"; --", 'ab' * 31, 'ab' * 48, '0' * 64, 'x' * 5000,
                                 'a\0b'], ids=range(9))
def test_any_text_is_a_key(tmp_path, key):
    "It opens what it made, and no other key does"
    with Pod(OWNER, key, home=tmp_path) as pod:
        pod.bulk(dict(createItems=SCHEMA + [dict(type='Thing', id='thing-1', name='x')]))
    with Pod(OWNER, key, home=tmp_path) as pod: assert pod.get_item('thing-1')
    for other in (key + ' ', 'ab' * 32):
        with pytest.raises(WrongKey) as e: Pod(OWNER, other, home=tmp_path)
        assert len(other) < 6 or other not in said(e.value)
    with Pod(OWNER, key, home=tmp_path) as pod: pod.rekey(KEY)
    with Pod(OWNER, KEY, home=tmp_path) as pod: pod.rekey(key)
    with Pod(OWNER, key, home=tmp_path) as pod: assert pod.get_item('thing-1')


def test_case_of_hex(tmp_path):
    "A raw key is a number: its spelling does not count"
    with Pod(OWNER, 'AB' * 32, home=tmp_path) as pod: pod.bulk(dict(createItems=SCHEMA))
    with Pod(OWNER, 'ab' * 32, home=tmp_path) as pod: assert 'Thing' in pod.schema()['types']
    with Pod(OWNER, 'aB' * 32, home=tmp_path): pass


def test_no_key_in_errors(tmp_path):
    filled(tmp_path)
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        for bad in (lambda: Pod(OWNER, 'f' * 64, home=tmp_path), lambda: Pod('else', KEY, home=tmp_path, create=False),
                    lambda: pod.rekey(''), lambda: pod.store.main.execute('nonsense'),
                    lambda: pod.search({'nmae': 'x'}), lambda: pod.create_item({'type': 'Thing', 'count': 'x'}),
                    lambda: pod.backup(tmp_path), lambda: pod.get_file({'sha256': '0' * 64})):
            with pytest.raises(Exception) as e: bad()
            assert not any(k in said(e.value).lower()
                           for k in (KEY, 'f' * 64, str(bytes.fromhex(KEY))[2:-1])), said(e.value)
        assert KEY not in f'{pod!r} {pod.store!r} {pod.files!r} {pod.find!r} {pod}'
    with pytest.raises(PodError, match='was closed') as e: pod.get_item('thing-1')
    assert KEY not in said(e.value)


# --- items ---


def test_odd_items(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        pod.bulk(dict(createItems=SCHEMA + [dict(type='Thing')]))
        nest = []
        for _ in range(50_000): nest = [nest]
        for bad in ({'name': nest}, {'name': {}}, {'count': 2**63}, {'count': 1.5}, {'count': True}, {'name': 3},
                    {'name': '\ud800'}, {'count': float('nan')}, {'Name': 'x'}, {'x' * 5000: 1}, {'name\0': 'x'},
                    {'name"': 'x'}):
            with pytest.raises(Invalid): pod.create_item({'type': 'Thing', **bad})
            with pytest.raises(Invalid): pod.bulk(dict(createItems=[{'type': 'Thing'}, {'type': 'Thing', **bad}]))
            with pytest.raises(Invalid): pod.search({'type': 'Thing', **bad})
        for text in ('[' * 100_000, '{"createItems": [{"type": "Thing", "name": ' + '[' * 100_000,
                     '{"createItems": ' + '[' * 5000 + ']' * 5000 + '}', '', '{', '"x"', '{"createItems": 3}', b'\xff'):
            with pytest.raises(Invalid): pod.bulk_json(text)
        assert pod.count(dict(type='Thing')) == 1


def test_odd_searches(tmp_path):
    "A malformed word of a search is Invalid, also when a well-formed one of the same kind came before"
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        pod.bulk(dict(createItems=SCHEMA + [dict(type='Thing', id='thing-1', name='a', count=1)]))
        for good, bads in (({'_after': [0, '']}, [{'_after': []}, {'_after': ['x']}, {'_after': [{}, 'x']},
                                                  {'_after': [1, 2, 3]}, {'_after': 5}]),
                           ({'ids': ['thing-1']}, [{'ids': [1]}, {'ids': [{}]}, {'ids': 'thing-1'}]),
                           ({'_limit': 1}, [{'_limit': -1}, {'_limit': 1.5}, {'_limit': True}, {'_limit': '1'}]),
                           ({'count': [1]}, [{'count': ['x']}, {'count': [{}]}]),
                           ({'_text': 'a'}, [{'_text': 5}, {'_text': ''}, {'_text': '"'}]),
                           ({'name': 'a'}, [{'name': '\ud800'}, {'name': {}}]),
                           ({'_sort': 'name'}, [{'_sort': 'nmae'}, {'_sort': [3]}, {'_sort': {}}]),
                           ({'[[edges]]': {}},
                            [{'[[edges]]': {'depth': 99}}, {'[[edges]]': {'names': [1]}}, {'[[edges]]': 1}])):
            pod.search(good)
            for bad in bads:
                with pytest.raises(Invalid): pod.search(bad)
            pod.search(good)
        for bad in (None, [], 'x', {'type': 5}, {'type': [5]}, {'deleted': 'x'}, {'_nonsense': 1}):
            with pytest.raises(Invalid): pod.search(bad)


def test_large_items(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        names = [f'p{k}' for k in range(1000)]
        pod.bulk(dict(createItems=SCHEMA
                      + [dict(type='ItemPropertySchema', itemType='Thing', propertyName=n, valueType='Text')
                         for n in names]))
        wide = dict(type='Thing', id='wide-1', **{n: f'value of {n}' for n in names})
        long = dict(type='Thing', id='long-1', name='ä' * 100_000, note='needle ' + 'hay ' * 25_000)
        pod.bulk(dict(createItems=[wide, long]))
        assert pod.get_item('wide-1')[0].items() >= wide.items() and pod.get_item('long-1')[0].items() >= long.items()
        assert [i['id'] for i in pod.search({'p999': 'value of p999'})] == ['wide-1'] \
            and [i['id'] for i in pod.search({'_text': 'needle'})] == ['long-1']
        assert pod.search({'name': long['name']}) and pod.search({'name^=': 'ä' * 1000}) \
            and pod.search({'name*=': 'ä' * 99_999})
        # what SQLite says of a text beyond its limit, a thousand million bytes
        with pytest.raises(TooLarge), pod.store.write() as db:
            pod.create_item(dict(type='Thing', name='small'))
            db.execute('select zeroblob(2000000000)').fetchall()
        assert pod.count(dict(type='Thing', name='small')) == 0

"""What only a client over HTTP meets: another road, other machines between, servers that come and go"""
import hashlib, io, json, os, re, socket, threading, time, tracemalloc, traceback
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pymemri.core import (Conflict, Damaged, Forbidden, Invalid, NotFound, PodError, TooLarge, Unavailable, WrongKey,
                          now_ms)
from pymemri.data.item import Edge
from pymemri.data.photo import Photo
from pymemri.data.schema import File, Person
from pymemri.engine.pod import pod_folder
from pymemri.importers.photos import import_photos
from pymemri.pod.api import PodAPI
from pymemri.pod.client import Dog, PodClient
from pymemri.widgets.gallery import gallery

from serving import Peer, Server, http, request
from waiting import wait_for

KEYS = dict(database_key='d1' * 32, owner_key='0e' * 32)
ARGS = KEYS['database_key'], KEYS['owner_key']


@pytest.fixture
def server(tmp_path):
    with Server(tmp_path / 'there') as server: yield server


@pytest.fixture
def make(served, tmp_path):
    "Makes clients of one Pod, over both roads"
    made = []
    def client(**kw):
        where = dict(url=served.url) if served else dict(home=tmp_path)
        made.append(PodClient(**{**where, **KEYS, 'quiet': True, **kw}))
        return made[-1]
    client.server = served
    yield client
    for c in made: c.close()


def calm(e):
    "No key is in the error, nor in what a tool shows that prints local variables"
    shown = ''.join(traceback.TracebackException.from_exception(e, capture_locals=True).format())
    ours = [line for line in shown.splitlines() if 'test_client_http' not in line and 'KEYS' not in line]
    assert not any(k in line for k in ARGS for line in ours)
    return e


# ---- the same answers ----

def settled(x, names):
    "An answer without what differs between two Pods: made-up ids, the dates, the folder, the address"
    text = json.dumps(x, sort_keys=True) if not isinstance(x, str) else x
    for id in re.findall('[0-9a-f]{32}', text): text = text.replace(id, names.setdefault(id, f'id{len(names)}'))
    return re.sub(r'\b1[6-9]\d{11}\b', 'moment', text)


SCHEMA = [dict(type='ItemPropertySchema', itemType='Dog', propertyName=p, valueType=t)
          for p, t in (('name', 'Text'), ('age', 'Integer'), ('weight', 'Real'), ('bites', 'Bool'),
                       ('born', 'DateTime'))]
A, B = dict(type='Dog', id='dog-000a', name='A', age=1), dict(type='Dog', id='dog-000b', name='B', age=2)
EDGE = dict(_source='dog-000a', _target='dog-000b', _name='friend')
SHA = hashlib.sha256(b'woof').hexdigest()
CALLS = [
    lambda p: p.bulk(create_items=SCHEMA), lambda p: p.bulk(create_items=[A, B]), lambda p: p.bulk(),
    lambda p: p.create_item(A), lambda p: p.create_item({}), lambda p: p.create_item([]), lambda p: p.create_item(None),
    lambda p: p.create_item({'type': 'Dog', 'age': 'x'}), lambda p: p.create_item({'type': 'Dog', 'nope': 1}),
    lambda p: p.create_item({'type': 'Dog', 'id': 'no good!'}),
    lambda p: p.create_item({'type': 'Dog', 'name': 'ä€😀\n"'}),
    lambda p: p.create_item({'type': 'Dog', 'name': '\ud800'}),
    lambda p: p.create_item({'type': 'Dog', 'weight': 1e308}),
    lambda p: p.create_item({'type': 'Dog', 'weight': float('inf')}),
    lambda p: p.create_item({'type': 'Dog', 'age': 2**70}),
    lambda p: p.create_item({'type': 'Dog', 'id': 'dog-000c', 'born': -1}), lambda p: p.create_item({'type': 7}),
    lambda p: p.get_item('dog-000a'), lambda p: p.get_item('none'), lambda p: p.get_item(7), lambda p: p.get_item(None),
    lambda p: p.update_item({'id': 'dog-000a', 'age': None, 'name': 'AA'}),
    lambda p: p.update_item({'id': 'none', 'age': 1}),
    lambda p: p.update_item({}), lambda p: p.update_item({'id': 'dog-000a', 'age': 'x'}), lambda p: p.update_item(3),
    lambda p: p.create_edge(EDGE), lambda p: p.create_edge(EDGE), lambda p: p.create_edge({**EDGE, '_target': 'none'}),
    lambda p: p.create_edge({}), lambda p: p.create_edge({**EDGE, '_name': 'no good!'}),
    lambda p: p.get_edges('dog-000a'), lambda p: p.get_edges('dog-000b', 'Incoming', False),
    lambda p: p.get_edges('none'),
    lambda p: p.get_edges('dog-000a', 'Sideways'), lambda p: p.bulk(create_edges=[EDGE, EDGE]),
    lambda p: p.search({'id': 'dog-000a', '[[edges]]': {}}), lambda p: p.search({'age': 2, '[[edges]]': {'depth': 2}}),
    lambda p: p.search({'type': 'Dog', '_sort': 'name'}), lambda p: p.search({'type': 'Dog', '_limit': 1}),
    lambda p: p.search({'ids': ['dog-000b', 'none', 'dog-000a']}), lambda p: p.search({'nope': 1}),
    lambda p: p.search({'age>': 'x'}), lambda p: p.search({'_text': 'AA'}), lambda p: p.search({'age': None}),
    lambda p: p.search([]), lambda p: p.search({'_limit': -1}), lambda p: p.search({'type': 'Dog', 'deleted': False}),
    lambda p: p.bulk(search=[{'type': 'Dog'}, {'age>=': 2}]), lambda p: p.bulk(search=[{'nope': 1}]),
    lambda p: p.bulk(create_items=[{'type': 'Dog', 'name': 'C'}, {'type': 'Dog', 'age': 'x'}]),
    lambda p: p.bulk(create_items=3),
    lambda p: p.count({'type': 'Dog'}), lambda p: p.count({'nope': 1}), lambda p: p.ids({'type': 'Dog', '_sort': '-age'}),
    lambda p: p.ids({'nope': 1}), lambda p: p.facets({'type': 'Dog'}, 'name'),
    lambda p: p.facets({}, 'nope'), lambda p: p.facets({}, limit=-1), lambda p: p.schema(),
    lambda p: p.upload_file(b'woof'), lambda p: p.create_item({'type': 'File', 'sha256': SHA, 'id': 'file-001'}),
    lambda p: p.upload_file(b'woof'), lambda p: p.upload_file(io.BytesIO(b'woof')), lambda p: p.get_file(SHA).decode(),
    lambda p: p.get_file('0' * 64), lambda p: p.get_file('x'),
    lambda p: list(map(len, p.search_paginate({'type': 'Dog'}, 2))),
    lambda p: p.delete_item('dog-000b'), lambda p: p.delete_item('dog-000b'), lambda p: p.delete_item('none'),
    lambda p: p.delete_edge(EDGE), lambda p: p.delete_edge(EDGE), lambda p: p.delete_edge({'id': 'none'}),
    lambda p: p.settings(), lambda p: p.change_settings({'fullAccessPlugins': True}), lambda p: p.settings(),
    lambda p: p.change_settings({'nope': 1}), lambda p: p.change_settings([]), lambda p: p.send_email('a@example.org'),
    lambda p: p.purge({'ids': ['dog-000b', 'none']}), lambda p: p.purge({}), lambda p: p.purge({'ids': 'x'}),
    lambda p: p.vacuum(), lambda p: p.integrity_check(), lambda p: p.rekey(''), lambda p: p.rekey('ab' * 32),
    lambda p: p.get_item('dog-000a'), lambda p: p.delete_all(), lambda p: p.search({}), lambda p: p.road.call('nope')]


def test_both_roads_answer_alike(server, tmp_path):
    "Every operation, good and bad calls: the same value, or the same class of error with the same status and text"
    here, there = PodAPI(*ARGS, home=tmp_path / 'here'), PodAPI(*ARGS, server.url)
    said, names = {}, {'here': {}, 'there': {}}
    for name, pod in (('here', here), ('there', there)):
        said[name] = []
        for call in CALLS:
            try: out = call(pod)
            except PodError as e: out = [type(e).__name__, e.status, e.message]
            said[name].append(settled(out, names[name]))
        pod.close()
    differ = [(i, a, b) for i, (a, b) in enumerate(zip(said['here'], said['there']))
              if a != b and not ('SMTP' in a and 'SMTP' in b) # no mail server here, and none there
              and not (a.startswith('["Invalid", 400') and 'cannot be sent' in b)] # what is no JSON does not leave
    assert not differ, '\n'.join(map(str, differ))
    assert {p.split('/')[1] for p in server.seen} == {'v5'} and server.seen.count('/v5/health') == 1


def test_pictures_come_in_and_are_shown_over_both_roads(make, tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for i in range(3): (folder / f'{i}.png').write_bytes(Photo.from_np(np.full((9, 9), i * 50, dtype=np.uint8)).data)
    (folder / 'people.json').write_text('{"1.png": {"caption": "A grey one", "people": ["Alice"]}}')
    client = make()
    for _ in range(2): import_photos(client, folder)
    photos = make().search({'type': 'Photo'})
    assert len(photos) == 3 and make().count({'type': 'Person'}) == 1
    page = gallery(photos, make())
    assert page.count('data:image/webp;base64,') >= 3 and 'A grey one' in page


# ---- which wire ----

def test_one_question_for_a_client_and_none_for_who_insists_on_v3(server):
    with PodClient(url=server.url, **KEYS, quiet=True) as c:
        for i in range(5): c.create(Dog(f'd{i}'))
        c.search({'type': 'Dog'}), c.count()
    assert server.seen.count('/v5/health') == 1 and all(p.startswith('/v5/') for p in server.seen)
    server.app.asked.clear()
    tutorial = PodAPI('ab', 'ab', server.url, version='v3')
    tutorial.create_item({'type': 'ItemPropertySchema', 'itemType': 'Dog', 'propertyName': 'name', 'valueType': 'Text'})
    id = tutorial.create_item({'type': 'Dog', 'name': 'x'})
    assert tutorial.get_item(id)[0]['name'] == 'x' and tutorial.search({'type': 'Dog', 'name': 'x'})[0]['id'] == id
    assert {p.split('/')[1] for p in server.seen} == {'v3'}
    assert tutorial.count({'type': 'Dog'}) == 1 and server.seen[-2] == '/v5/health'


@pytest.mark.parametrize('wires', [('v4',), ('v3', 'v4'), ('v4', 'v5'), ('v3', 'v4', 'v5')])
def test_a_server_is_replaced_by_another_between_two_calls(tmp_path, wires):
    data = Photo.from_np(np.zeros((3, 3), dtype=np.uint8))
    with Server(tmp_path) as server:
        c = PodClient(url=server.url, **KEYS, quiet=True)
        dog = Dog('x', 1, id='dog-0001')
        c.bulk_action([dog, File(sha256=hashlib.sha256(data.data).hexdigest())])
    with Server(tmp_path, wires=wires, port=server.port) as server:
        dog.age = 2
        assert c.update_item(dog) and c.get('dog-0001').age == 2 and c.create(Dog('y'))
        assert c.upload_file(data.data, asyncFlag=False) \
            and c.get_file(hashlib.sha256(data.data).hexdigest()) == data.data
        assert len(c.search({'ids': ['dog-0001']})) == 1 and c.sync()
        if 'v5' in wires: assert c.count({'type': 'Dog'}) == 2
        else:
            with pytest.raises(PodError, match='does not know'): c.count()
        assert server.seen.count('/v5/health') == (0 if 'v5' in wires else 1)
    with pytest.raises(Unavailable, match=re.escape(server.url)): c.get('dog-0001')
    c.close()


def test_a_shared_server_takes_items_and_gives_none(tmp_path):
    with Server(tmp_path, shared_server=True) as server:
        api = PodAPI(*ARGS, server.url)
        assert len(api.create_item({'type': 'Person'})) == 32
        with pytest.raises(PodError, match='does not know'): api.get_item('x')


# ---- packing ----

def test_what_is_long_goes_packed_to_other_machines_only(server):
    api, sent = PodAPI(*ARGS, server.url), server.app.asked
    api.bulk(create_items=SCHEMA + [dict(type='Dog', id=f'dog-{i:04}', name=f'name {i}') for i in range(300)])
    plain = api.search({'type': 'Dog', '_sort': 'name'})
    assert not any(b'content-encoding' in head or b'gzip' in head.get(b'accept-encoding', b'') for _, head in sent)
    api.road.packs, read = True, []
    import gzip
    unpack, gzip.decompress = gzip.decompress, lambda data: read.append(len(data)) or unpack(data)
    try:
        assert api.search({'type': 'Dog', '_sort': 'name'}) == plain and len(read) == 1
        assert read[0] < len(json.dumps(plain)) / 4
        assert len(api.search({'ids': [f'dog-{i:04}' for i in range(300)] * 4})) >= 300
    finally: gzip.decompress = unpack
    assert sent[-1][1][b'content-encoding'] == b'gzip' and int(sent[-1][1][b'content-length']) < 4000
    assert b'content-encoding' not in sent[-2][1] and sent[-2][1][b'accept-encoding'] == b'gzip'
    with pytest.raises(TooLarge): api.create_item({'type': 'Dog', 'name': 'x' * 6_000_000}) # unpacked it counts
    api.create_item({'type': 'File', 'sha256': SHA})
    api.upload_file(b'woof')
    assert api.get_file(SHA) == b'woof' and b'gzip' not in sent[-1][1].get(b'accept-encoding', b'')
    old = PodAPI(*ARGS, server.url, version='v4')
    old.road.packs, old.road.v5 = True, False
    old.search({'type': 'Dog', 'name': 'x' * 9000})
    assert b'content-encoding' not in sent[-1][1] and b'gzip' not in sent[-1][1].get(b'accept-encoding', b'')


# ---- what stands between ----

class Proxy(Peer):
    "Passes requests on to a server, one connection each; `fate(n)` tells what becomes of the n-th request"
    def __init__(self, server, fate):
        super().__init__(self.pass_on)
        self.at, self.fate, self.n, self.sizes = server.port, fate, 0, []

    def pass_on(self, conn):
        while True:
            head, body = request(conn)
            if not head: return
            self.n += 1
            fate = self.fate(self.n)
            if fate == 'drop': return
            with socket.create_connection(('127.0.0.1', self.at)) as far:
                far.sendall(head + b'\r\nConnection: close\r\n\r\n' + body)
                answer = b''
                while more := far.recv(1 << 20): answer += more
            self.sizes.append(len(answer))
            if fate == 'lose': return
            if isinstance(fate, int): return conn.sendall(answer[:fate])
            conn.sendall(answer)
            if b'connection: close' in answer[:999].lower(): return


def test_questions_are_asked_again_and_changes_are_not(server):
    with PodClient(url=server.url, **KEYS, quiet=True) as c: c.create(Dog('x', 1, id='dog-0001'))
    for fate in ('drop', 'lose'):
        with Proxy(server, lambda n: fate if n % 2 else 'pass') as proxy:
            api = PodAPI(*ARGS, proxy.url)
            for _ in range(5): assert api.get_item('dog-0001')[0]['age'] == 1
            assert api.count({'type': 'Dog'}) >= 1 and api.search({'id': 'dog-0001'}) and api.schema() \
                and api.settings()
            proxy.n = 0
            before = api.count({'type': 'Dog'})
            proxy.n = 0
            with pytest.raises(Unavailable, match='may have done what it was asked, or not') as e:
                api.create_item({'type': 'Dog', 'name': 'once'})
            assert proxy.url in calm(e.value).message and proxy.n == 1
            assert api.count({'type': 'Dog'}) == before + (fate == 'lose')
    with Proxy(server, lambda n: 'drop') as proxy:
        with pytest.raises(Unavailable) as e: PodAPI(*ARGS, proxy.url).get_item('dog-0001')
        assert proxy.n == 3 and proxy.url in calm(e.value).message # three times, and no more


def test_an_answer_that_ends_half_way_is_an_error(server):
    data = os.urandom(300_000)
    sha = hashlib.sha256(data).hexdigest()
    with PodClient(url=server.url, **KEYS, quiet=True) as c:
        c.create(File(sha256=sha))
        c.upload_file(data, asyncFlag=False)
    for cut in (5, 60, 400, 100_000):
        with Proxy(server, lambda n: cut if n > 1 else 'pass') as proxy:
            with pytest.raises((Unavailable, Damaged)) as e: PodAPI(*ARGS, proxy.url).get_file(sha)
            assert proxy.url in calm(e.value).message
    with Proxy(server, lambda n: 150 if n > 1 else 'pass') as proxy:
        for call in (lambda p: p.schema(), lambda p: p.create_item({'type': 'Person'})):
            with pytest.raises(Unavailable, match='broke') as e: call(PodAPI(*ARGS, proxy.url))
            assert proxy.url in calm(e.value).message


def once(data, close=True):
    "A peer that answers each request with the same"
    def talk(conn):
        while request(conn)[0]:
            conn.sendall(data)
            if close: return
    return talk


GARBAGE = {
    'nothing': b'', 'ssh': b'SSH-2.0-OpenSSH_9.2\r\n', 'noise': bytes(range(256)) * 9,
    'half a head': b'HTTP/1.1 200 OK\r\nConte',
    'page': http(b'<html>Welcome</html>'), 'other service': http(b'{"hello": "world"}'), 'null': http(b'null'),
    'empty': http(b''), 'says gzip': http(b'no', '200 OK', 'Content-Encoding: gzip'), 'deep': http(b'[' * 100_000),
    'bad length': b'HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n[]',
    'many heads': b'HTTP/1.1 200 OK\r\n' + b'a: b\r\n' * 500,
    'bad chunk': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n',
    'gateway': http(b'<html>', '502 Bad Gateway'),
    'moved': http(b'', '301 Moved', 'Location: http://elsewhere.example/'),
    'login': http(b'<html>log in', '401 Unauthorized'),
    'busy': http(b'', '503 Service Unavailable'), 'not found': http(b'<html>none', '404 Not Found'),
    'long line': b'HTTP/1.1 200 ' + b'x' * 99_999 + b'\r\n\r\n', 'no content': b'HTTP/1.1 204 No Content\r\n\r\n'}


@pytest.mark.parametrize('what', GARBAGE)
def test_garbage_is_an_error_that_names_the_address(what, tmp_path):
    with Peer(once(GARBAGE[what])) as peer:
        for call in (lambda p: p.get_item('dog-0001'), lambda p: p.create_item({'type': 'Dog'}),
                     lambda p: p.search({'age>': 3}),
                     lambda p: p.upload_file(b'woof'), lambda p: p.get_file(SHA), lambda p: p.pod_version,
                     lambda p: p.rekey('ab' * 32),
                     lambda p: p.backup(tmp_path / 'copy'), lambda p: p.create_plugin_auth()):
            with pytest.raises(PodError) as e: call(PodAPI(*ARGS, peer.url, timeout=2))
            assert peer.url in calm(e.value).message
        with pytest.raises(PodError): PodClient(url=peer.url, **KEYS, quiet=True)
    assert not (tmp_path / 'copy').exists()


def test_slow_peers_are_waited_for_and_not_for_ever():
    def late(conn):
        while True:
            head, _ = request(conn)
            if not head: return
            time.sleep(.3)
            conn.sendall(http(b'{"wires":["v5"]}' if b'health' in head.split(b'\r\n')[0] else b'[]'))
    with Peer(late) as peer:
        assert PodAPI(*ARGS, peer.url, timeout=60).get_item('x') == [] and peer.connected == 1
        with pytest.raises(Unavailable, match='in time') as e: PodAPI(*ARGS, peer.url, timeout=.1).get_item('x')
        assert peer.url in calm(e.value).message and peer.connected == 2 # not asked again
    for url in ('http://pod..example', 'http://' + 'a' * 70 + '.example', 'http://name.invalid'):
        with pytest.raises(Unavailable, match='no host of this name'): PodAPI(*ARGS, url).get_item('x')


def test_keep_alive_from_many_threads(server):
    api, errors = PodAPI(*ARGS, server.url), []
    def work():
        try:
            for _ in range(30): assert api.get_item('none') == []
        except BaseException as e: errors.append(e)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert errors == [] and api.road.connections.made <= 8 and server.seen.count('/v5/health') == 1
    api.close()


# ---- large ----

def test_a_large_file_needs_little_memory(server):
    class Long(io.RawIOBase):
        "A film of 48 MiB that is never whole"
        at = 0
        def seek(self, at, whence=0):
            self.at = (at, 0, 48 << 20)[whence] if whence != 2 else 48 << 20
            return self.at
        def read(self, n=-1):
            n = min(n, (48 << 20) - self.at)
            self.at += n
            return bytes(n)
    digest = hashlib.sha256()
    for _ in range(48): digest.update(bytes(1 << 20))
    sha = digest.hexdigest()
    with PodClient(url=server.url, **KEYS, quiet=True) as c:
        c.create(File(sha256=sha))
        tracemalloc.start()
        try:
            c.api.upload_file(Long())
            size = sum(map(len, c.api.open_file(sha)))
            peak = tracemalloc.get_traced_memory()[1]
        finally: tracemalloc.stop()
    assert size == 48 << 20 and peak < 32 << 20 # client and server


# ---- the whole Pod ----

def fill(c):
    "Something of everything"
    photo = Photo.from_np(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    c.create_photo(photo, asyncFlag=False)
    dogs = [Dog(f'd{i}', i, id=f'dog-{i:04}') for i in range(50)]
    c.bulk_action(dogs, create_edges=[Edge(dogs[0], dogs[1], 'label')])
    c.delete_items([dogs[2]])
    return photo


def check(c, photo):
    "All of it is there"
    assert (c.get_photo(photo.id).data, c.count({'type': 'Dog'})) == (photo.data, 49) and c.get('dog-0003').age == 3
    assert [e['item'].id for e in c.get_edges('dog-0000')] == ['dog-0001'] and c.integrity_check() == []


def test_a_backup_is_a_pod_here(make, tmp_path):
    client, home = make(), tmp_path / 'a' / 'copy'
    photo = fill(client)
    at = client.backup(home)
    assert at == pod_folder(KEYS['owner_key'], home) and (at / 'pod.db').is_file()
    assert sorted(os.listdir(at)) == ['files', 'pod.db'] and os.listdir(home / 'pod') == [at.name]
    for f in (home, *home.rglob('*')): assert f.stat().st_mode & 0o077 == 0, f
    with PodClient(home=home, **KEYS, quiet=True) as copy:
        check(copy, photo)
        copy.create(Dog('only here'))
    with pytest.raises(Conflict, match='overwrites nothing'): client.backup(home)
    assert client.search({'name': 'only here'}) == [] and client.create(Dog('still works'))
    with Server(home) as second, PodClient(url=second.url, **KEYS, quiet=True) as copy: # and a server serves it
        assert copy.get_photo(photo.id).data == photo.data
        again = copy.backup(tmp_path / 'b')
    with PodClient(home=tmp_path / 'b', **KEYS, quiet=True) as copy: assert len(copy.search({'name': 'only here'})) == 1
    (again / 'pod.db').unlink() # as an interrupted one
    assert client.backup(tmp_path / 'b') == again
    with PodClient(home=tmp_path / 'b', **KEYS, quiet=True) as copy: assert copy.search({'name': 'only here'}) == []


def test_a_backup_that_breaks_off_leaves_nothing(server, tmp_path):
    with PodClient(url=server.url, **KEYS, quiet=True) as c: photo = fill(c)
    with Proxy(server, lambda n: 'pass') as proxy: whole = PodAPI(*ARGS, proxy.url).backup(tmp_path / 'whole')
    assert whole.exists() and proxy.sizes[-1] > 60_000
    whole = PodAPI(*ARGS, server.url)
    n = proxy.sizes[-1]
    for cut in (1000, 60_000, n - 3000, n - 6): # it ends with 0 and two line ends
        with Proxy(server, lambda n: cut if n > 1 else 'pass') as proxy:
            with pytest.raises(Unavailable) as e: PodAPI(*ARGS, proxy.url).backup(tmp_path / 'x' / 'copy')
            assert proxy.url in calm(e.value).message and not (tmp_path / 'x').exists()
    whole.backup(tmp_path / 'x' / 'copy')
    with PodClient(home=tmp_path / 'x' / 'copy', **KEYS, quiet=True) as copy: check(copy, photo)
    for bad in (PodAPI('ab' * 32, KEYS['owner_key'], server.url), ):
        with pytest.raises(WrongKey): bad.backup(tmp_path / 'y')
    with Server(tmp_path / 'old', wires=('v4',)) as old:
        with pytest.raises(PodError, match='does not know `backup`'): PodAPI(*ARGS, old.url).backup(tmp_path / 'y')
    assert not (tmp_path / 'y').exists()
    wait_for(lambda: not list((tmp_path / 'there').rglob('new/*')), 'something is left on the server')


def test_a_new_key(make, tmp_path):
    client, new = make(), 'c' * 64
    client.create(Dog('x', id='dog-0001'))
    other = make()
    if not make.server: other.close()
    assert client.rekey(new) == new == client.database_key and client.get('dog-0001').name == 'x'
    with pytest.raises(WrongKey): make()
    if make.server:
        with pytest.raises(WrongKey): other.api.get_item('dog-0001')
    assert make(database_key=new).api.get_item('dog-0001')
    with pytest.raises(Invalid): client.rekey('')
    if not make.server: return
    made_up = client.rekey()
    assert re.fullmatch('[0-9a-f]{64}', made_up) and make(database_key=made_up).api.get_item('dog-0001')
    client.rekey('pass')                              # a passphrase, which each wire spells in its own way
    for version in ('v3', 'v4'): assert make(database_key='pass', version=version).api.get_item('dog-0001')
    client.backup(tmp_path / 'copy')
    with PodClient(home=tmp_path / 'copy', database_key='pass', owner_key=KEYS['owner_key'], quiet=True) as copy:
        assert copy.get('dog-0001').name == 'x'


def test_a_new_key_whose_answer_is_lost_is_not_lost(server):
    with PodClient(url=server.url, **KEYS, quiet=True) as c: c.create(Dog('x', id='dog-0001'))
    lost = []
    with Proxy(server, lambda n: lost.pop() if lost else 'pass') as proxy:
        c = PodClient(url=proxy.url, **KEYS, quiet=True)
        lost.append('lose')
        key = c.rekey()
        assert c.database_key == key and c.api.get_item('dog-0001')
        lost.append('drop')
        with pytest.raises(Unavailable) as e: c.rekey() # it was never done
        assert c.database_key == key and c.api.get_item('dog-0001') and e.value.new_key != key
        assert 'new_key' in e.value.__notes__[0] and e.value.new_key not in ''.join(traceback.format_exception(e.value))
        lost += ['drop'] * 9
        with pytest.raises(Unavailable): c.rekey()
        c.close()


# ---- plugins ----

RIGHTS = dict(read={'Dog': ['name', 'age'], 'Photo': '*', 'File': '*'}, create={'Dog': ['name', 'bites'],
              'Photo': '*', 'File': '*'},
              update={'Dog': ['name']}, delete=['Dog'], edges=dict(read=['file'], create=['Photo.file']),
              files=dict(read=True, write=True))


def test_a_plugin_s_client_has_its_rights_and_no_more(make, tmp_path):
    owner = make()
    if not make.server:
        with pytest.raises(PodError, match='pymemri serve') as e: owner.plugin_auth(RIGHTS)
        assert e.value.status == 501
        with pytest.raises(Invalid, match='url'): make(auth_json={'data': {}}, database_key=None)
        return
    owner.bulk_action([Dog('Bob', 3, weight=2.5, id='dog-0001'), Person(firstName='Alice', id='person-01')])
    box = owner.plugin_auth(RIGHTS, expires=timedelta(hours=1))
    assert box.keys() == {'type', 'data'} and json.loads(json.dumps(box)) == box
    plugin = make(auth_json=box, database_key=None)
    assert plugin.add_to_schema(Dog)
    bob = plugin.get('dog-0001')
    assert (bob.name, bob.age, bob.weight) == ('Bob', 3, None)
    assert not plugin.exists('person-01') and {type(i).__name__ for i in plugin.get_all_items()} == {'Dog'}
    bob.name = 'Rex'
    assert plugin.update_item(bob) and owner.get('dog-0001').name == 'Rex'
    max = Dog('Max')
    assert plugin.create(max) and owner.get(max.id).name == 'Max'
    assert plugin.bulk_action([Dog('Moritz')], delete_items=[max]) and owner.count({'type': 'Dog'}) == 2
    photo = Photo.from_np(np.ones((4, 5), dtype=np.uint8))
    assert plugin.create_photo(photo, asyncFlag=False) and plugin.get_photo(photo.id).data == photo.data
    assert make().get_photo(photo.id).data == photo.data
    bob.age = 9
    for f in (lambda: plugin.update_item(bob), lambda: plugin.create(Person(firstName='Eve')), lambda: plugin.rekey(),
              lambda: plugin.create(Dog('x', weight=1.5)), lambda: plugin.backup(tmp_path / 'stolen'), plugin.settings,
              lambda: plugin.plugin_auth(), lambda: plugin.purge(['dog-0001']),
              lambda: plugin.change_settings(fullAccessPlugins=True)):
        with pytest.raises(Forbidden): f()
    assert not (tmp_path / 'stolen').exists()
    bare = make(auth_json={'data': box['data']}, database_key=None) # as the original gives it
    assert bare.get('dog-0001').name == 'Rex'
    data = box['data']
    shown = repr(plugin) + repr(plugin.api) + repr(plugin.api.road)
    assert data['nonce'] not in shown and data['encryptedPermissions'] not in shown


def test_boxes_end(server, tmp_path):
    owner = PodClient(url=server.url, **KEYS, quiet=True)
    keep = dict(url=server.url, owner_key=KEYS['owner_key'], quiet=True)
    over = owner.plugin_auth(RIGHTS, expires=now_ms() - 1)
    with pytest.raises(Forbidden, match='expired'): PodClient(**keep, auth_json=over)
    owner.change_settings(fullAccessPlugins=True)
    full = owner.plugin_auth()
    with PodClient(**keep, auth_json=full) as plugin: assert plugin.create(Person(firstName='Eve')) and plugin.count()
    changed = {**full, 'data': {**full['data'], 'nonce': '00' * 24}}
    for bad in (changed, {'data': {}}, {'data': {'nonce': 'x', 'encryptedPermissions': 'y'}}):
        with pytest.raises(PodError) as e: PodClient(**keep, auth_json=bad)
        assert e.value.status == 401 and '00' * 24 not in str(e.value)
    with pytest.raises(NotFound): owner.plugin_auth(RIGHTS, run='no-such-run')
    with pytest.raises(Invalid, match='permissions'): owner.plugin_auth({'reed': {}})
    with pytest.raises(PodError) as e: PodClient(**{**keep, 'owner_key': 'ab' * 32}, auth_json=full)
    assert e.value.status == 401
    server.stop()
    with Server(tmp_path / 'there', port=server.port):
        with pytest.raises(PodError, match='restarted') as e: PodClient(**keep, auth_json=full)
        assert e.value.status == 401 and owner.count() # the owner's key still opens it
    owner.close()

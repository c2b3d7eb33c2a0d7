"""A whole Pod as sealed blobs in a store: equal when it comes back, cheap to repeat, and whole whatever happens meanwhile"""
import hashlib, json, os, signal, subprocess, sys, tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blob_server import BlobServer
from pymemri.blobs.connection import connect
from pymemri.blobs.ref import ref_of
from pymemri.blobs.remote import RemoteBlobs
from pymemri.blobs.server import serve
from pymemri.blobs.signing import new_signing_key
from pymemri.blobs.store import DiskBlobs, MemoryBlobs
from pymemri.core import Conflict, Damaged, Invalid, NotFound, PodError, WrongKey
from pymemri.data.schema import File
from pymemri.engine import backup
from pymemri.engine.backup import back_up, check_backup, find_backups, restore
from pymemri.engine.pod import Pod
from pymemri.engine.store import DUMPS
from pymemri.pod.client import Dog, PodClient

OWNER, KEY = 'owner', 'd1' * 32
SIGNER = new_signing_key()
DEFINE = [dict(type='ItemPropertySchema', itemType=t, propertyName=n, valueType=k) for t, n, k in (
    ('Note', 'title', 'Text'), ('Note', 'rank', 'Integer'), ('Note', 'weight', 'Real'), ('Note', 'done', 'Bool'),
    ('File', 'sha256', 'Text'), ('Note', 'day', 'DateTime'))]


def all_of(pod):
    "Every record of a Pod, numbers and dates included"
    with pod.store.dump() as records: return {kind: list(records(kind)) for kind in DUMPS}


def equal(a, b):
    assert all_of(a) == all_of(b) and a.schema() == b.schema() and a.settings() == b.settings()
    for sha in a.store.file_digests(): assert a.get_file(dict(sha256=sha)) == b.get_file(dict(sha256=sha))
    assert b.integrity_check() == []


def add_file(pod, data):
    digest = hashlib.sha256(data).hexdigest()
    id = pod.create_item(dict(type='File', sha256=digest))
    pod.upload_file(dict(sha256=digest), data)
    return id


def fill(pod, n=2000, files=(b'hello', b'', os.urandom(2 << 20))):
    pod.bulk(dict(createItems=DEFINE + [dict(type='Note', id=f'note-{i:06}', rank=i, title=os.urandom(40).hex()) for i in range(n)]))
    pod.bulk(dict(createEdges=[dict(_source=f'note-{i:06}', _name='next', _target=f'note-{i+1:06}') for i in range(0, n - 1, 3)]))
    for data in files: add_file(pod, data)


@pytest.fixture(params=['memory', 'disk', 'server of the tests', 'our server'])
def store(request, tmp_path):
    "Places for backups"
    if request.param == 'memory': yield MemoryBlobs()
    elif request.param == 'disk': yield DiskBlobs(tmp_path / 'blobs')
    else:
        serving = serve(DiskBlobs(tmp_path / 'blobs'), SIGNER) if request.param == 'our server' else BlobServer()
        with serving as server, connect(server.url) as connection: yield connection


@pytest.fixture
def pod(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path / 'here') as p:
        fill(p)
        yield p


def into(tmp_path, name='there', key=KEY): return Pod(OWNER, key, home=tmp_path / name)


# ---- equal content ----

TEXT = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=40)
INT = st.integers(-2**63, 2**63 - 1)
NOTES = st.fixed_dictionaries({}, optional=dict(title=TEXT, rank=INT, weight=st.floats(allow_nan=False, allow_infinity=False),
    done=st.booleans(), deleted=st.booleans(), dateCreated=INT, dateModified=INT, day=INT))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(notes=st.lists(NOTES, min_size=2, max_size=30), edges=st.lists(st.tuples(st.integers(0, 99), TEXT, st.integers(0, 99))),
       gone=st.sets(st.integers(0, 29)), files=st.lists(st.binary(max_size=200), unique=True, max_size=3), full=st.booleans())
def test_any_pod_comes_back_equal(notes, edges, gone, files, full):
    with tempfile.TemporaryDirectory() as tmp:
        with Pod(OWNER, KEY, home=Path(tmp) / 'a') as a, Pod(OWNER, KEY, home=Path(tmp) / 'b') as b:
            a.bulk(dict(createItems=DEFINE))
            ids = a.bulk(dict(createItems=[dict(type='Note', **n) for n in notes]))['createItems']
            drawn = a.bulk(dict(createEdges=[dict(_source=ids[s % len(ids)], _name=n, _target=ids[t % len(ids)])
                                             for s, n, t in edges if n]))['createEdges']
            if drawn: a.delete_item(drawn[0]) # which gives it an item of its own
            for data in files: add_file(a, data)
            a.purge(dict(ids=[id for i, id in enumerate(ids) if i in gone])) if gone else None
            a.change_settings(dict(fullAccessPlugins=full))
            store = MemoryBlobs()
            back_up(a, store, SIGNER)
            restore(b, store)
            equal(a, b)
            assert b.create_item(dict(type='Note', title='new')) and b.integrity_check() == []


def test_over_every_store(pod, store, tmp_path):
    first = back_up(pod, store)
    assert first.sent == first.size and first.lost == [] and check_backup(store, OWNER, key=KEY) == []
    with into(tmp_path) as other:
        assert restore(other, store).claim == first.claim
        equal(pod, other)
        assert other.search(dict(type='Note', rank=77))[0]['id'] == 'note-000077'


# ---- increments ----

def test_what_did_not_change_is_not_sent_again(pod, store):
    "Under 1 % for an unchanged Pod, and a chunk or two for a change at the beginning, in the middle and at the end"
    first = back_up(pod, store)
    again = back_up(pod, store)
    assert again.manifest == first.manifest and again.claim != first.claim and again.sent < first.size / 100
    pod.update_item(dict(id='note-000100', title='other'))
    changed = back_up(pod, store)
    assert 0 < changed.sent < first.size / 5
    pod.create_item(dict(type='Note', title='new'))
    pod.purge(dict(ids=['note-001000']))
    assert back_up(pod, store).sent < first.size / 3
    add_file(pod, os.urandom(100_000))
    assert 100_000 < back_up(pod, store).sent < 100_000 + first.size / 3


def test_a_purge_near_the_front_leaves_most_chunks_as_they_were(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path / 'x') as pod:
        fill(pod, 20_000, ())
        first = back_up(pod, store := MemoryBlobs(), SIGNER)
        pod.purge(dict(ids=['note-000010']))
        assert back_up(pod, store, SIGNER).sent < first.size / 3


def test_a_long_file_goes_in_pieces_and_is_read_once(pod, store, tmp_path, monkeypatch):
    add_file(pod, os.urandom((17 << 20) + 5))
    first = back_up(pod, store)
    def never(*args): raise AssertionError('read again')
    with monkeypatch.context() as m:
        m.setattr(backup, 'pieces_of', never)
        assert back_up(pod, store).sent < first.size / 100
    with into(tmp_path) as other:
        restore(other, store)
        equal(pod, other)


# ---- moments ----

def test_as_it_was_at_a_moment(pod, store, tmp_path):
    states, dates = [], []
    for i in range(3):
        pod.update_item(dict(id='note-000001', title=f'state {i}'))
        dates.append(back_up(pod, store, at=f'2026-01-0{i + 1}T00:00:00Z').date)
        states.append(all_of(pod))
    assert [b.date for b, _ in find_backups(store, OWNER, key=KEY)] == dates
    for i, at in enumerate([*dates[:2], '2030-01-01T00:00:00Z']):
        with into(tmp_path, f'then{i}') as other:
            restore(other, store, at)
            assert all_of(other) == states[i]
    with into(tmp_path, 'never') as other:
        with pytest.raises(NotFound, match='the first is from 2026-01-01'): restore(other, store, '2025-12-31T00:00:00Z')
        assert other.count({}) == 14


def test_a_clock_that_goes_back_does_not_hide_the_newest(pod):
    store = MemoryBlobs()
    back_up(pod, store, SIGNER, at='2026-06-01T00:00:00Z')
    newest = back_up(pod, store, SIGNER, at='2020-01-01T00:00:00Z')
    assert find_backups(store, OWNER, key=KEY)[-1][0].claim == newest.claim


def test_a_restored_pod_goes_on_where_the_old_one_ended(pod, tmp_path):
    for key in (KEY, 'a passphrase'):
        with Pod('another', key, home=tmp_path / key) as old:
            fill(old, 300)
            first = back_up(old, store := MemoryBlobs(), SIGNER)
            with Pod('another', key, home=tmp_path / f'new {key}') as new:
                restore(new, store, key=key)
                equal(old, new)
                if key == KEY: assert back_up(new, store, SIGNER).sent < first.size / 100


# ---- keys ----

def test_a_wrong_key_is_told_from_no_backup(pod, store, tmp_path):
    with into(tmp_path) as other:
        with pytest.raises(NotFound, match='no backup'): restore(other, store)
    back_up(pod, store)
    for i, (owner, key) in enumerate([(OWNER, 'e' * 64), ('else', KEY), (OWNER, 'a passphrase')]):
        with Pod(owner, key, home=tmp_path / f'w{i}') as other:
            with pytest.raises(WrongKey) as e: restore(other, store)
            assert KEY not in str(e.value) and other.count({}) == 14
    pod.rekey('e' * 64)
    newer = back_up(pod, store)
    with Pod(OWNER, 'e' * 64, home=tmp_path / 'n') as other: assert restore(other, store).claim == newer.claim
    with Pod(OWNER, 'f' * 64, home=tmp_path / 'o') as other: # the old one opens with the old key
        restore(other, store, key=KEY)
        equal(pod, other)


def test_the_store_learns_nothing(pod):
    store = MemoryBlobs()
    pod.create_item(dict(type='Note', title='unmistakable'))
    pod.create_item(dict(type='Note', title='x' * 100_000))
    back_up(pod, store, SIGNER)
    said = b''.join(store.d.values()) + ''.join(store.d).encode()
    for secret in (b'unmistakable', b'note-0', b'Note', OWNER.encode(), KEY.encode(), bytes.fromhex(KEY), hashlib.sha256(b'hello').hexdigest().encode()):
        assert secret not in said, secret
    with tempfile.TemporaryDirectory() as tmp, Pod('bob', KEY, home=tmp) as bob: # two Pods have nothing in common
        before = set(store.d)
        fill(bob, 0, ())
        new = back_up(bob, store, SIGNER)
        assert new.sent == new.size - len(SIGNER.public.blob) and ref_of(SIGNER.public.blob) in before


# ---- refusals ----

def test_a_pod_that_holds_something_is_refused(pod, tmp_path):
    back_up(pod, store := MemoryBlobs(), SIGNER)
    with into(tmp_path) as other:
        other.bulk(dict(createItems=DEFINE))                    # types alone are nothing
        id = other.create_item(dict(type='Note', title='mine'))
        other.delete_item(id)                                   # deleted, but not gone
        before = all_of(other)
        with pytest.raises(Conflict, match='not empty'): restore(other, store)
        assert all_of(other) == before
        other.purge(dict(ids=[id]))
        restore(other, store)
        equal(pod, other)


@pytest.mark.parametrize('bad', [None, 3, {}, object()])
def test_what_is_no_store_is_refused(pod, bad):
    with pytest.raises(Invalid, match='store of blobs'): back_up(pod, bad)


# ---- damage ----

def blobs_of(store, made):
    "The refs of a backup's chunks, and of the blobs of its files"
    b, key = next(f for f in find_backups(store, OWNER, key=KEY) if f[0].claim == made.claim)
    rows = backup.read_manifest(store, b, key)['chunks']
    files = [r for kind, some in backup.read_records(backup.read_chunk(store, c, key) for c in rows) if kind == 'file'
             for row in some for r in row[4]]
    return rows, files


@pytest.mark.parametrize('how', ['flipped', 'cut', 'missing', 'exchanged'])
def test_damaged_blobs_are_named_and_nothing_is_half_restored(pod, tmp_path, how):
    store = MemoryBlobs()
    made = back_up(pod, store, SIGNER)
    chunks, files = blobs_of(store, made)
    kept = dict(store.d)
    for bad in (made.manifest, chunks[0], chunks[-1], chunks[len(chunks) // 2], files[0], files[-1]):
        data = kept[bad]
        if how == 'flipped': store.d[bad] = data[:-1] + bytes([data[-1] ^ 1])
        if how == 'cut': store.d[bad] = data[:-1]
        if how == 'exchanged': store.d[bad] = kept[chunks[1] if bad != chunks[1] else chunks[0]]
        if how == 'missing': del store.d[bad]
        assert bad in [d['ref'] for d in check_backup(store, OWNER, key=KEY)]
        with into(tmp_path) as other:
            with pytest.raises(Damaged, match=bad): restore(other, store)
            assert other.count({}) == 14 and list(other.files.blobs.refs()) == []
        store.d = dict(kept)
    for bad in (chunks[0], files[1]): del store.d[bad]
    assert [d['ref'] for d in check_backup(store, OWNER, key=KEY)] == [chunks[0], files[1]]


def test_a_manifest_of_another_permanode_does_not_count(pod, tmp_path):
    "Somebody who can write into the store points the Pod's permanode, or one of the same name, to what is there"
    from pymemri.blobs.schema import planned_permanode, set_attribute
    store, thief = MemoryBlobs(), new_signing_key()
    old = back_up(pod, store, SIGNER, at='2026-01-01T00:00:00Z')
    pod.create_item(dict(type='Note', title='new'))
    new = back_up(pod, store, SIGNER, at='2026-01-02T00:00:00Z')
    store.put(thief.public.blob)
    store.put(set_attribute(thief, old.permanode, backup.MANIFEST, old.manifest, at='2027-01-01T00:00:00Z'))
    assert find_backups(store, OWNER, key=KEY)[-1][0].claim == new.claim
    name = json.loads(store.get(old.permanode))['key']
    fake = store.put(planned_permanode(thief, name, backup.BORN))
    store.put(set_attribute(thief, fake, backup.MANIFEST, old.manifest, at='2027-01-01T00:00:00Z'))
    with into(tmp_path) as other:
        with pytest.raises(Damaged, match='manifest'): restore(other, store)
        restore(other, store, at='2026-12-01T00:00:00Z')
        equal(pod, other)


def test_a_damaged_file_in_the_pod_is_told_and_the_rest_is_kept(pod, tmp_path):
    ref = pod.store.file(bad := hashlib.sha256(b'hello').hexdigest())[0]
    path, = (pod.folder / 'files').rglob(ref)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    made = back_up(pod, store := MemoryBlobs(), SIGNER)
    assert made.lost == [bad]
    with into(tmp_path) as other:
        restore(other, store)
        assert other.count(dict(type='Note')) == 2000 and len(other.store.file_digests()) == 2
    path.write_bytes(whole)
    assert back_up(pod, store, SIGNER).lost == []


class Liar(MemoryBlobs):
    "A store that does not keep what it says it keeps"
    def __init__(self, lie): super().__init__(); self.lie, self.n = lie, 0
    def put(self, data, ref=None):
        ref = super().put(data, ref)
        self.n += 1
        if self.n == 3 and self.lie == 'drops': del self.d[ref]
        if self.n == 3 and self.lie == 'changes': self.d[ref] = bytes(len(self.d[ref]))
        return ref
    def get(self, ref):
        if self.lie == 'gives another': return self.d[min(self.d)]
        return super().get(ref)


@pytest.mark.parametrize('lie', ['drops', 'changes', 'gives another'])
def test_a_store_that_lies_is_caught_before_the_backup_counts(pod, lie):
    with pytest.raises(Damaged): back_up(pod, store := Liar(lie), SIGNER)
    store.lie = ''
    with pytest.raises(NotFound): backup.choose(find_backups(store, OWNER, key=KEY))


def test_a_server_that_lies_is_caught(pod):
    def lie(handler):
        if handler.command == 'GET' and 'sha224-' in handler.path: return handler.answer(200, b'something else') or True
    with BlobServer(lie=lie) as server, connect(server.url) as connection:
        with pytest.raises(PodError): back_up(pod, connection)


# ---- killed ----

WRITER = '''
import sys
from pymemri.blobs.store import DiskBlobs
from pymemri.engine.backup import back_up
from pymemri.engine.pod import Pod
home, folder, n = sys.argv[1:]
class Dies(DiskBlobs):
    left = int(n)
    def put(self, data, ref=None):
        if not self.left:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return super().put(data, ref)
with Pod('owner', 'd1' * 32, home=home) as pod: back_up(pod, Dies(folder))
'''


def test_killed_half_way_the_former_backup_stays_whole(pod, tmp_path, clean_env):
    store = DiskBlobs(tmp_path / 'blobs')
    first = back_up(pod, store)
    before = all_of(pod)
    pod.bulk(dict(createItems=[dict(type='Note', title=os.urandom(300).hex()) for _ in range(1000)]))
    for n in (0, 1, 3):
        done = subprocess.run([sys.executable, '-c', WRITER, tmp_path / 'here', tmp_path / 'blobs', str(n)], env=clean_env)
        assert done.returncode == -signal.SIGKILL
        assert find_backups(store, OWNER, key=KEY)[-1][0].claim == first.claim
    with into(tmp_path) as other:
        restore(other, store)
        assert all_of(other) == before
    assert back_up(pod, store).lost == [] and check_backup(store, OWNER, key=KEY) == []


RESTORER = WRITER.replace('back_up(pod', 'restore(pod').replace('import back_up', 'import restore').replace('def put', 'def get') \
    .replace('data, ref=None', 'ref').replace('super().put(data, ref)', 'super().get(ref)')


def test_a_killed_restore_leaves_an_empty_pod(pod, tmp_path, clean_env):
    store = DiskBlobs(tmp_path / 'blobs')
    back_up(pod, store)
    for n in (5, 7, 8, 9):
        done = subprocess.run([sys.executable, '-c', RESTORER, tmp_path / 'there', tmp_path / 'blobs', str(n)], env=clean_env)
        assert done.returncode == -signal.SIGKILL
        with into(tmp_path) as other: assert other.count({}) == 14 and other.store.file_digests() == []
    with into(tmp_path) as other:
        restore(other, store)
        other.vacuum() # what the killed ones left is swept
        equal(pod, other)


# ---- the client, over both roads ----

def test_the_client(served, tmp_path):
    keys = dict(owner_key='0e' * 32, database_key=KEY, quiet=True)
    store = DiskBlobs(tmp_path / 'blobs')
    with PodClient(**(dict(url=served.url) if served else dict(home=tmp_path)), **keys) as c:
        c.add_to_schema(Dog)
        c.bulk_action([Dog(f'dog {i}') for i in range(500)])
        first, second = c.backup(store), c.backup(store)
        assert second.sent < first.size / 20 and c.verify(store) == []
        assert [b.claim for b in c.backups(store)] == [first.claim, second.claim]
        with pytest.raises(Invalid, match='connect'): c.backup('http://localhost:1')
        if served:
            with pytest.raises(PodError, match='home folder') as e: c.restore(store)
            assert e.value.status == 501
        else:
            with pytest.raises(Conflict): c.restore(store)
    with PodClient(home=tmp_path / 'new', **keys) as c:
        c.restore(store, at=first.date)
        assert c.count({'type': 'Dog'}) == 500 and c.search({'name': 'dog 7'})[0].name == 'dog 7'
        assert c.create(Dog('another')) and c.integrity_check() == []
    with PodClient(home=tmp_path / 'wrong', **(keys | dict(database_key='e' * 64))) as c:
        with pytest.raises(WrongKey): c.restore(store)
        with pytest.raises(WrongKey): c.backups(store)
        c.restore(store, key=KEY)
        assert c.count({'type': 'Dog'}) == 500


def test_the_client_warns_of_a_lost_file(tmp_path):
    with PodClient(home=tmp_path, owner_key=OWNER, database_key=KEY, quiet=True) as c:
        c.create(File(sha256=hashlib.sha256(b'x').hexdigest()))
        c.upload_file(b'x', asyncFlag=False)
        for p in (c.api.road.pod.folder / 'files').rglob('sha224-*'):
            if p.is_file(): p.unlink()
        with pytest.warns(UserWarning, match='1 files'): c.backup(MemoryBlobs())

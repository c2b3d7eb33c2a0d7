"""Blobs under force: sizes nobody chose, single wrong bytes, kills, crowds and full disks.

The kill test runs BLOB_KILLS rounds (default 10)."""
import errno, hashlib, io, os, signal, subprocess, sys, tempfile, threading, time, tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.blobs import store
from pymemri.blobs.ref import ref_of
from pymemri.blobs.sealed import SealedBlobs, open_sealed, put_sealed
from pymemri.blobs.store import DiskBlobs, MemoryBlobs, check_blobs, remove_from
from pymemri.core import Damaged, NotFound, PodError, WrongKey
from pymemri.crypto import CHUNK, HEADER, TAG, open_chunks, pieces, random_key, seal, seal_chunks, unseal

KEY = random_key()
KILLS = int(os.environ.get('BLOB_KILLS', 10))
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sizes = st.integers(1, 40)
some_bytes = st.binary(max_size=200)


def sealed(data, size): return b''.join(seal_chunks(KEY, data, size=size))


# --- sealing ---------------------------------------------------------------------------------------------------------

@quick
@given(some_bytes, sizes, sizes, sizes)
def test_what_is_sealed_comes_back_however_it_is_cut(data, size, cut, back):
    whole = b''.join(seal_chunks(KEY, pieces(data, cut), size=size))
    chunks = max(1, -(-len(data) // size))
    assert len(whole) == HEADER + len(data) + chunks * TAG
    assert b''.join(open_chunks(KEY, pieces(whole, back))) == data
    assert b''.join(open_chunks(KEY, io.BytesIO(whole))) == data


def refused(whole):
    "Opening fails, and what was given out before was a true beginning"
    try:
        for _ in open_chunks(KEY, whole): pass
    except (Damaged, WrongKey) as e:
        assert KEY not in str(e)
        return True
    return False


@quick
@given(some_bytes, sizes, st.data())
def test_one_wrong_byte_is_caught(data, size, draw):
    whole = sealed(data, size)
    at, flip = draw.draw(st.integers(0, len(whole) - 1)), draw.draw(st.integers(1, 255))
    assert refused(whole[:at] + bytes([whole[at] ^ flip]) + whole[at+1:])
    assert refused(whole[:at])
    assert refused(whole[:at] + whole[at+1:])
    assert refused(whole[:at] + bytes([flip]) + whole[at:])
    assert refused(whole + draw.draw(st.binary(min_size=1, max_size=60)))


@quick
@given(st.binary(min_size=20, max_size=60), st.permutations(range(5)), st.integers(1, 5))
def test_chunks_in_another_order_or_number_are_caught(data, order, n):
    head, *chunks = seal_chunks(KEY, data[:20], size=4)
    new = [chunks[i] for i in order][:n]
    assert refused([head, *new]) == (new != chunks)


def test_a_true_beginning_is_all_that_comes_before_the_error():
    data = bytes(range(40))
    head, *chunks = seal_chunks(KEY, data, size=8)
    got = b''
    with pytest.raises(Damaged, match='cut off after chunk 2'):
        for part in open_chunks(KEY, [head, *chunks[:3]]): got += part
    assert data.startswith(got)
    with pytest.raises(Damaged, match='added to the sealed bytes after chunk 4'):
        list(open_chunks(KEY, [head, *chunks, b'x']))
    with pytest.raises(Damaged, match='chunk 1 '): list(open_chunks(KEY, [head, chunks[0], *chunks[2:]]))


def test_wrong_key_and_wrong_purpose():
    small = seal(KEY, b'token', context=b'mail')
    assert unseal(KEY, small, context=b'mail') == b'token'
    for key, context in ((random_key(), b'mail'), (KEY, b'photos'), (KEY, b'')):
        with pytest.raises(WrongKey): unseal(key, small, context)


def test_format_is_the_one_written_down():
    "A second, small implementation reads what ours writes: files must stay readable"
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    whole = sealed(b'ten bytes!', 4)
    head, check, rest = whole[:32], whole[32:64], whole[64:]
    assert head[:5] == b'pymS\1' and int.from_bytes(head[5:9], 'big') == 4
    both = HKDF(SHA256(), 64, None, b'pymemri stream' + head).derive(bytes.fromhex(KEY))
    assert both[32:] == check
    def chunk(n, last):
        return AESGCM(both[:32]).decrypt(head[25:] + bytes([0, 0, 0, n, last]), rest[n*20:n*20+20], head)
    plain = [chunk(0, 0), chunk(1, 0), chunk(2, 1)]
    assert b''.join(plain) == b'ten bytes!'


# --- every store ------------------------------------------------------------------------------------------------------

MAKES = dict(memory=lambda d: MemoryBlobs(), disk=DiskBlobs, sealed=lambda d: SealedBlobs(MemoryBlobs(), KEY),
             sealed_disk=lambda d: SealedBlobs(DiskBlobs(d), KEY))


@pytest.mark.parametrize('kind', MAKES)
@pytest.mark.parametrize('algorithm', ['sha224', 'sha256'])
def test_promises(kind, algorithm, tmp_path):
    count = iter(range(100))
    def make():
        s = MAKES[kind](tmp_path/str(next(count)))
        s.algorithm = algorithm
        return s
    if algorithm == 'sha224': check_blobs(make)
    else: assert make().put(b'x') == ref_of(b'x', 'sha256')


@settings(quick, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(['put', 'remove']), st.integers(0, 6)), max_size=25))
@pytest.mark.parametrize('kind', MAKES)
def test_a_store_is_a_dict(kind, steps):
    with tempfile.TemporaryDirectory() as d:
        s, model = MAKES[kind](Path(d)/'s'), {}
        for step, n in steps:
            data = bytes([n]) * n * 50
            if step == 'put': model[s.put(data)] = data
            else:
                s.remove(ref_of(data))
                model.pop(ref_of(data), None)
        again = s if kind == 'memory' or kind == 'sealed' else MAKES[kind](Path(d)/'s')
        assert {r: again.get(r) for r in again.refs()} == model


@settings(quick, max_examples=30)
@given(st.binary(min_size=1, max_size=300), st.data())
def test_one_wrong_byte_on_disk_is_caught(data, draw):
    with tempfile.TemporaryDirectory() as d:
        s = DiskBlobs(d)
        found = put_sealed(s, data)
        path = s.path/store._place(found.ref)
        whole = path.read_bytes()
        at = draw.draw(st.integers(0, len(whole) - 1))
        for harmed in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at+1:], whole[:at], whole + b'\0'):
            path.write_bytes(harmed)
            with pytest.raises((Damaged, WrongKey)): b''.join(open_sealed(s, found.ref, found.key, found.sha256))
        path.write_bytes(whole)
        assert b''.join(open_sealed(s, found.ref, found.key, found.sha256)) == data


def test_nothing_readable_on_disk(tmp_path):
    s = SealedBlobs(DiskBlobs(tmp_path/'s'), KEY)
    text = b'the quick brown fox ' * 60_000
    ref = s.put(text)
    for p in (tmp_path/'s').rglob('*'):
        assert ref not in p.name and ref[7:] not in p.name
        if p.is_file(): assert b'quick brown' not in p.read_bytes() and KEY.encode() not in p.read_bytes()
    with pytest.raises(WrongKey): SealedBlobs(DiskBlobs(tmp_path/'s'), random_key()).get(ref)
    assert s.get(ref) == text


# --- memory ----------------------------------------------------------------------------------------------------------

def flow(n, chunk=bytes(range(256)) * 4096):
    for _ in range(n): yield chunk


def test_streams_need_little_memory(tmp_path):
    "96 MiB through every layer in less than 16"
    n = 96
    s = SealedBlobs(DiskBlobs(tmp_path), KEY)
    digest = hashlib.sha256()
    for part in flow(n): digest.update(part)
    tracemalloc.start()
    try:
        ref = s.put(flow(n))
        assert sum(map(len, s.open(ref))) == n * CHUNK
        found = put_sealed(s.inner, flow(n), digest.hexdigest())
        assert sum(map(len, open_sealed(s.inner, found.ref, found.key, found.sha256))) == n * CHUNK
        assert tracemalloc.get_traced_memory()[1] < 16 * CHUNK
    finally: tracemalloc.stop()


# --- crowds ----------------------------------------------------------------------------------------------------------

def blob(i): return hashlib.sha256(b'%d' % i).digest() * (1 + i % 7 * 900)


def big(i): return blob(i) * 30 # writing it takes as long as syncing it


def child(code, *args):
    path = os.pathsep.join([str(Path(store.__file__).parents[2]), str(Path(__file__).parent)])
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], stdout=subprocess.PIPE, text=True,
                            env=os.environ | {'PYTHONPATH': path})


PUTTER = '''
import sys
from test_blobs import *
path, key, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = SealedBlobs(DiskBlobs(path), key) if key else DiskBlobs(path)
for i in range(n): s.put(blob(i))
print('done')
'''


@pytest.mark.parametrize('key', ['', KEY], ids=['disk', 'sealed'])
def test_threads_and_processes_put_the_same_blobs(key, tmp_path):
    n, failed = 40, []
    others = [child(PUTTER, tmp_path/'s', key, n) for _ in range(2)]
    s = SealedBlobs(DiskBlobs(tmp_path/'s'), key) if key else DiskBlobs(tmp_path/'s')
    def work(k):
        try:
            for i in range(k, n + k):
                ref = s.put(blob(i % n))
                assert s.get(ref) == blob(i % n) and s.size(ref) == len(blob(i % n))
                DiskBlobs(tmp_path/'s')  # opening sweeps: it must not take a file from under the others
        except BaseException as e: failed.append(e)
    threads = [threading.Thread(target=work, args=[k]) for k in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert [p.communicate(timeout=60)[0] for p in others] == ['done\n'] * 2 and not failed
    assert list(s.refs()) == sorted(ref_of(blob(i)) for i in range(n))
    assert not list((tmp_path/'s'/'new').iterdir())
    assert all(s.get(ref_of(blob(i))) == blob(i) for i in range(n))
    remove_from(s, [ref_of(blob(i)) for i in range(n)])
    fresh = SealedBlobs(DiskBlobs(tmp_path/'s'), key) if key else DiskBlobs(tmp_path/'s')
    assert list(fresh.refs()) == []


# --- removing what is sealed ------------------------------------------------------------------------------------------

class Watched(MemoryBlobs):
    "A store that counts its listings, and calls `step` with a number before each removal"
    def __init__(self): self.d, self.algorithm, self.removals, self.listings, self.step = {}, 'sha224', 0, 0, lambda n: None
    def remove(self, ref):
        self.step(self.removals)
        self.removals += 1
        super().remove(ref)
    def refs(self, after=''):
        self.listings += 1
        return super().refs(after)


def watched(n):
    "A sealed store with `n` blobs, what is under it, and their names"
    inner = Watched()
    s = SealedBlobs(inner, KEY)
    return s, inner, [s.put(b'%d' % i) for i in range(n)]


@pytest.mark.parametrize('n', [1, 10, 300])
def test_removing_many_lists_the_inner_store_once(n):
    s, inner, refs = watched(n)
    inner.listings = 0
    s.remove_many(refs)
    assert (inner.listings, inner.removals, len(inner.d), list(s.refs())) == (1, 3 * n, 0, [])


@pytest.mark.parametrize('at', range(9))
def test_a_removal_that_ends_half_way_leaves_no_half_blob(at):
    s, inner, refs = watched(3)
    def fail(n):
        if n == at: raise OSError('the disk went away')
    inner.step = fail
    with pytest.raises(OSError): s.remove_many(refs)
    inner.step = lambda n: None
    for store in (s, SealedBlobs(inner, KEY)): # who was there, and who comes now
        there = list(store.refs())
        assert there == sorted(refs[max(at - 3, 0):] if at < 6 else []) # marks go first, then labels
        assert all(store.get(r) == b'%d' % refs.index(r) for r in there)
        for r in set(refs) - set(there):
            with pytest.raises(NotFound): store.get(r)
    s.remove_many(refs)
    assert list(s.refs()) == []
    assert [s.put(b'%d' % i) for i in range(3)] == refs and list(SealedBlobs(inner, KEY).refs()) == sorted(refs)


@pytest.mark.parametrize('at', range(9))
def test_what_another_puts_during_a_removal_stays(at):
    s, inner, refs = watched(3)
    other, again = SealedBlobs(inner, KEY), []
    assert list(other.refs()) == sorted(refs)
    def put(n):
        if n != at: return
        inner.step = lambda n: None
        gone = [i for i, r in enumerate(refs) if other.size(r) is None] # whose label is removed already
        again.extend(other.put(b'%d' % i) for i in gone)
    inner.step = put
    s.remove_many(refs)
    assert len(again) == min(max(at - 3, 0), 3) # marks go first, then labels
    for store in (s, other, SealedBlobs(inner, KEY)):
        assert list(store.refs()) == sorted(again)
        assert [store.size(r) for r in refs] == [1 if r in again else None for r in refs]
        assert all(store.get(r) == b'%d' % refs.index(r) for r in again)


REMOVER = '''
import sys
from test_blobs import *
s = SealedBlobs(DiskBlobs(sys.argv[1]), sys.argv[2])
print('here', flush=True)
s.remove_many(list(s.refs())[::2])
print('done', flush=True)
'''


def test_killed_during_a_removal(tmp_path):
    s = SealedBlobs(DiskBlobs(tmp_path/'s'), KEY)
    kept = {s.put(blob(i)): i for i in range(60)}
    going = sorted(kept)[::2]
    for turn in range(KILLS // 3 + 1):
        p = child(REMOVER, tmp_path/'s', KEY)
        assert p.stdout.readline() == 'here\n'
        time.sleep(.004 * turn)
        p.send_signal(signal.SIGKILL)
        p.communicate()
        store = SealedBlobs(DiskBlobs(tmp_path/'s'), KEY)
        there = set(store.refs())
        assert there | set(going) >= set(kept) and there <= set(kept)
        assert all(store.get(r) == blob(kept[r]) for r in there)
        for r in going: store.put(blob(kept[r]))


# --- kill -9 ----------------------------------------------------------------------------------------------------------

WRITER = '''
import sys
from test_blobs import *
path, key, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = SealedBlobs(DiskBlobs(path), key) if key else DiskBlobs(path)
for i in range(start, start + 100_000): print(i, s.put(pieces(big(i), 4096)), flush=True)
'''


@pytest.mark.parametrize('key', ['', KEY], ids=['disk', 'sealed'])
def test_killed_at_any_moment(key, tmp_path):
    "What was acknowledged is there; nothing stands half under a name; leftovers go at the next opening"
    acknowledged = {}
    for turn in range(KILLS):
        p = child(WRITER, tmp_path/'s', key, turn * 100_000)
        lines = [p.stdout.readline() for _ in range(1 + turn % 3)] # it is at work now
        time.sleep(0.003 * turn % 0.05)
        p.send_signal(signal.SIGKILL)
        lines += p.communicate()[0].splitlines(keepends=True)
        acknowledged |= {ref: int(i) for i, ref in (l.split() for l in lines if l.endswith('\n'))}
        disk = DiskBlobs(tmp_path/'s')
        assert not list((disk.path/'new').iterdir()), 'a dead process left its file'
        s = SealedBlobs(disk, key) if key else disk
        there = set(s.refs())
        assert acknowledged.keys() <= there
        # each dying process may have finished one that it could not tell of
        assert len(there) <= len(acknowledged) + turn + 1
        for ref in disk.refs(): disk.get(ref) # raises if anything is half there
        for ref, i in acknowledged.items(): assert s.get(ref) == big(i)
    assert len(acknowledged) >= KILLS


# --- a full disk ------------------------------------------------------------------------------------------------------

class Full(io.BufferedWriter):
    "A file on a disk that has room for nothing"
    def flush(self): raise OSError(errno.ENOSPC, 'No space left on device')
    def write(self, data): self.flush()
    def close(self): self.raw.close()


@pytest.mark.parametrize('step', ['write', '_fresh', '_sync', '_folder'])
def test_full_disk_leaves_nothing(step, tmp_path, monkeypatch):
    s = DiskBlobs(tmp_path/'s')
    kept, fresh = s.put(b'kept'), store._fresh
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    def small(folder):
        f, path = fresh(folder)
        return Full(f.detach()), path
    monkeypatch.setattr(store, *(('_fresh', small) if step == 'write' else (step, full)))
    for data in (bytes(3 * CHUNK), b'small', [b'small'] * 3, b''):
        with pytest.raises(PodError, match='the disk is full') as e: s.put(data)
        assert e.value.status == 507
    monkeypatch.undo()
    assert list(s.refs()) == [kept] and not list((s.path/'new').iterdir())
    assert s.get(s.put(bytes(3 * CHUNK))) == bytes(3 * CHUNK)


@pytest.mark.skipif(sys.platform != 'linux' or os.geteuid() != 0, reason='mounting a small disk needs root')
def test_really_full_disk(tmp_path):
    mount = tmp_path/'small'
    mount.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mount], capture_output=True).returncode:
        pytest.skip('mounting is not allowed here')
    try:
        for s in (DiskBlobs(mount/'s'), SealedBlobs(DiskBlobs(mount/'t'), KEY)):
            kept = s.put(b'kept')
            with pytest.raises(PodError, match='the disk is full'): s.put(flow(4))
            assert list(s.refs()) == [kept] and s.get(kept) == b'kept'
            assert not list(mount.glob('*/new/*'))
            assert s.size(s.put(flow(1))) == CHUNK # there is room again
            s.remove(list(s.refs())[0] if list(s.refs())[0] != kept else list(s.refs())[1])
    finally: subprocess.run(['umount', mount], check=True)

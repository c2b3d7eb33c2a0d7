"""Files and folders in a store: cut as Perkeep cuts, read by range, and restored without trusting a name.

`data/perkeep-splits.json` is our own recording of what Perkeep's tool made of known bytes; it says so at its head."""
import hashlib, io, json, os, socket, stat, subprocess, sys, tempfile, time, tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.blobs import files, splitter
from pymemri.blobs.files import (MissingBlob, entry, list_folder, open_file, put_file, put_path, put_set, putter, reachable,
    read_file, restore, whole_ref)
from pymemri.blobs.ref import ref_of
from pymemri.blobs.schema import read_schema, schema_text
from pymemri.blobs.sealed import SealedBlobs
from pymemri.blobs.splitter import MASK, MOST_CHUNK, WINDOW, chunks, score, split, split_points
from pymemri.blobs.store import DiskBlobs, MemoryBlobs
from pymemri.core import Conflict, Damaged, Invalid, TooLarge
from pymemri.crypto import pieces, random_key

recorded = json.loads((Path(__file__).parent / 'data/perkeep-splits.json').read_text(encoding='utf-8'))
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def noise(n, seed=b's'): return b''.join(hashlib.sha256(seed + b':%d' % i).digest() for i in range(-(-n // 32)))[:n]


def content(vector):
    if vector['name'] == 'one': return b'x'
    return bytes(vector['size']) if 'zeros' in vector['name'] else noise(vector['size'])


# --- cutting -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('vector', recorded['vectors'], ids=lambda v: v['name'])
def test_files_are_cut_as_perkeep_cuts_them(vector):
    "The same parts, the same `bytes` blobs in the same tree, the same file blob, and not one blob more"
    data, store = content(vector), MemoryBlobs()
    assert hashlib.sha224(data).hexdigest() == vector['whole_sha224']
    said = json.loads(vector['file_json']) | dict(parts=split(data, store.put))
    assert store.put(schema_text(said).encode()) == vector['file_ref']
    assert len(store.d) == vector['blobs_written']
    def flat(parts):
        for p in parts:
            yield [p.get('bytesRef') or p['blobRef'], p['size']]
            if 'bytesRef' in p: yield from flat(read_schema(store.get(p['bytesRef']))['parts'])
    tree = list(flat(said['parts']))
    assert (len(tree), hashlib.sha224(json.dumps(tree).encode()).hexdigest()) == (vector['parts'], vector['parts_sha224'])


def plainly(data):
    "The rule of the specification, a byte at a time: size and score of each chunk"
    s1, s2, window, size = WINDOW * 31, WINDOW * (WINDOW - 1) * 31, bytes(WINDOW), 0
    padded = window + data
    for n, (new, old) in enumerate(zip(data, padded), 1):
        size += 1
        s1 = s1 + new - old & 0xffffffff
        s2 = s2 + s1 - WINDOW * (old + 31) & 0xffffffff
        if size == MOST_CHUNK: bits = 20
        elif n > 262_144 and size > 65_536 and s2 & 8191 == 8191:
            digest, bits = (s1 << 16 | s2 & 0xffff) >> 14, 13
            while digest & 1: digest, bits = digest >> 1, bits + 1
        elif n == 262_144: bits = 18
        else: continue
        yield size, bits
        size = 0
    if size: yield size, 0


@st.composite
def contents(draw):
    "Bytes of all sorts: noise, runs, text of few letters, repeated pieces"
    made = b''
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(0, 250_000))
        kind = draw(st.sampled_from(['noise', 'run', 'letters', 'again']))
        if kind == 'noise': made += noise(n, draw(st.binary(max_size=3)))
        elif kind == 'run': made += bytes([draw(st.integers(0, 255))]) * n
        elif kind == 'letters': made += noise(n, draw(st.binary(max_size=3))).translate(bytes([97, 98] * 128))
        else: made += (piece := noise(draw(st.integers(1, 5000)))) * (n // len(piece))
    return made


@few
@given(contents(), st.integers(1, 300_000))
def test_the_fast_way_cuts_where_the_rule_does(data, piece):
    found = [(len(c), bits) for c, bits in chunks(pieces(data, piece))]
    assert found == list(plainly(data))
    assert b''.join(c for c, _ in chunks(data)) == data


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40_000), st.binary(max_size=3), st.sampled_from([1 << 13, 100, 1]), st.integers(64, 20_000))
def test_sums_are_those_of_the_rule_wherever_they_begin(n, seed, block, start):
    if block == 1: n = min(n, start + 300)
    data, wanted = noise(n, seed), []
    s1, s2 = WINDOW * 31, WINDOW * (WINDOW - 1) * 31
    for i, (new, old) in enumerate(zip(data, bytes(WINDOW) + data)):
        s1 = s1 + new - old & 0xffffffff
        s2 = s2 + s1 - WINDOW * (old + 31) & 0xffffffff
        if i >= start and s2 & MASK == MASK: wanted.append((i + 1, score(s1, s2)))
    before, splitter.BLOCK = splitter.BLOCK, block
    try: assert list(split_points(data, start, max(start, len(data)))) == wanted
    finally: splitter.BLOCK = before


def test_three_megabytes_of_noise_against_the_rule():
    data = noise(3 << 20, b'm')
    assert [(len(c), bits) for c, bits in chunks(data)] == list(plainly(data))


def test_cutting_takes_a_few_megabytes_of_memory_however_long_the_file_is():
    block = noise(1 << 20)
    def source(n): return (block for _ in range(n))
    list(chunks(source(8)))
    tracemalloc.start()
    n = sum(len(c) for c, _ in chunks(source(64)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 64 << 20 and peak < 20 << 20, f'{peak >> 20} MiB for 64 MiB'


def test_an_insertion_changes_few_chunks():
    data = noise(8 << 20)
    def names(d): return {ref_of(c) for c, _ in chunks(d)}
    old, new = names(data), names(data[:1 << 20] + b'inserted' + data[1 << 20:])
    assert len(new - old) <= 3 and len(old) > 80


# --- files in and out --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('vector', recorded['vectors'], ids=lambda v: v['name'])
def test_put_file_gives_the_ref_that_perkeep_gave(vector):
    said, store = json.loads(vector['file_json']), MemoryBlobs()
    facts = {k: v for k, v in said.items() if k.startswith('unix')}
    ref = put_file(store, content(vector), said['fileName'], facts)
    assert ref == vector['file_ref'] and len(store.d) == vector['blobs_written']
    assert whole_ref(store, ref) == 'sha224-' + vector['whole_sha224']
    assert entry(store, ref).size == vector['size']
    assert {r.ref for r in reachable(store, ref, read=True)} == set(store.d)


def test_folders_that_perkeep_wrote_are_read():
    blobs = json.loads((Path(__file__).parent / 'data/perkeep-blobs.json').read_text(encoding='utf-8'))['blobs']
    store = MemoryBlobs()
    for text in blobs.values(): store.put(text.encode())
    top = 'sha224-1472399434c8b60164cc97558839726bb72796902ed89f7311bf8771'
    assert [(e.kind, e.name, e.mode) for e in list_folder(store, top)] == \
        [('file', 'a.txt', 0o644), ('file', 'big.bin', 0o644), ('symlink', 'link', None), ('directory', 'sub', 0o755)]
    assert next(e for e in list_folder(store, top) if e.kind == 'symlink').target == b'a.txt'
    lost = [r for r in reachable(store, top) if r.error]
    assert lost and all(isinstance(r.error, MissingBlob) and "'" in r.by for r in lost), 'the chunks were not recorded'


big = MemoryBlobs()
big_data = noise(1 << 20) + bytes(400_000) + noise(900_000, b't')
big_ref = put_file(big, big_data, 'big')
places = st.integers(0, len(big_data) + 10)


@settings(max_examples=80, deadline=None)
@given(places, places)
def test_any_range_is_what_a_slice_gives(a, b):
    a, b = sorted((a, b))
    assert b''.join(read_file(big, big_ref, a, b)) == big_data[a:b]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(places, st.integers(-1, 300_000)), max_size=6))
def test_a_file_object_reads_as_a_file_does(moves):
    with open_file(big, big_ref) as ours, io.BytesIO(big_data) as plain:
        for at, n in moves:
            assert ours.seek(at) == plain.seek(at) and ours.read(n) == plain.read(n) and ours.tell() == plain.tell()


def test_a_range_fetches_only_what_it_needs_and_memory_stays_small():
    asked = []
    class Counting(MemoryBlobs):
        def get(self, ref):
            asked.append(ref)
            return super().get(ref)
    store = Counting()
    store.d = dict(big.d)
    assert b''.join(read_file(store, big_ref, 1_000_000, 1_000_010)) == big_data[1_000_000:1_000_010]
    assert len(asked) < 10 < len(big.d)
    huge = big.put(schema_text(dict(camliType='file', parts=[dict(size=1 << 33)])).encode())
    tracemalloc.start()
    n = sum(len(p) for p in read_file(big, huge, 0, 1 << 28))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 1 << 28 and peak < 8 << 20
    with open_file(big, huge) as f:
        assert f.seek(-5, os.SEEK_END) == (1 << 33) - 5 and f.read() == bytes(5)


def test_bytes_that_are_not_what_their_name_says_are_never_given_out():
    store = MemoryBlobs()
    store.d = dict(big.d)
    chunk = max(store.d, key=lambda r: len(store.d[r]))
    store.d[chunk] = b'!' + store.d[chunk][1:]
    with pytest.raises(Damaged): list(read_file(store, big_ref))
    assert [r.ref for r in reachable(store, big_ref, read=True) if r.error] == [chunk]
    assert not [r for r in reachable(store, big_ref) if r.error]


# --- folders in and out ------------------------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=12).filter(lambda n: n not in (b'.', b'..') and not set(n) & {0, ord('/')})
leaves = st.tuples(st.just('file'), st.binary(max_size=300), st.sampled_from([0o644, 0o600, 0o755, 0o400])) \
    | st.tuples(st.just('link'), st.binary(min_size=1, max_size=20).filter(lambda t: 0 not in t), st.just(0)) \
    | st.tuples(st.just('fifo'), st.just(b''), st.just(0o600))
trees = st.recursive(st.dictionaries(names, leaves, max_size=4),
                     lambda inner: st.dictionaries(names, leaves | inner, max_size=4), max_leaves=12)
times = st.integers(-10**18, 3 * 10**18)


def build(folder, tree, mtime):
    "Make `tree` on the disk, below `folder`, in bytes"
    os.mkdir(folder)
    for name, what in tree.items():
        path = os.path.join(folder, name)
        if isinstance(what, dict): build(path, what, mtime)
        elif what[0] == 'link': os.symlink(what[1], path)
        elif what[0] == 'fifo': os.mkfifo(path)
        else:
            with open(path, 'wb') as f: f.write(what[1])
            os.chmod(path, what[2])
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
    os.utime(folder, ns=(mtime, mtime))


def seen(folder):
    "All that is on the disk below `folder`: kind, permissions, time, content"
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            at = os.path.join(path, name)
            s = os.lstat(at)
            what = os.readlink(at) if stat.S_ISLNK(s.st_mode) else open(at, 'rb').read() if stat.S_ISREG(s.st_mode) else b''
            found[os.path.relpath(at, folder)] = (s.st_mode, s.st_mtime_ns, what)
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, times)
def test_a_folder_comes_back_as_it_was(tree, mtime):
    "Names in any bytes, links, pipes, permissions and nanoseconds; and put again it is the same blob"
    with tempfile.TemporaryDirectory() as tmp:
        tmp, store = os.fsencode(tmp), MemoryBlobs()
        build(os.path.join(tmp, b'in'), tree, mtime)
        os.mkdir(os.path.join(tmp, b'there'))
        ref = put_path(store, os.fsdecode(os.path.join(tmp, b'in')))
        blobs = set(store.d)
        restore(store, ref, os.fsdecode(os.path.join(tmp, b'there', b'in')))
        assert seen(os.path.join(tmp, b'there', b'in')) == seen(os.path.join(tmp, b'in'))
        assert put_path(store, os.fsdecode(os.path.join(tmp, b'there', b'in'))) == ref and set(store.d) == blobs
        assert {r.ref for r in reachable(store, ref, read=True)} == blobs


nasty = st.sampled_from(['', '.', '..', '/', '../out', '../../out', 'a/b', '/out', 'a\0', 'x', 'y', 'x/../../out', '\\', '..\\out', 'ü' * 200])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.tuples(st.sampled_from(['file', 'symlink']), nasty, nasty),
                    lambda inner: st.tuples(st.just('directory'), nasty, st.lists(inner, max_size=5)), max_leaves=14),
       st.sampled_from(['refuse', 'keep', 'replace']), st.booleans())
def test_no_tree_writes_outside_of_where_it_was_restored(tree, existing, links):
    store = MemoryBlobs()
    def make(node, out):
        kind, name, rest = node
        says = dict(camliType=kind, fileName=name)
        if kind == 'file': says['parts'] = [dict(size=2, blobRef=store.put(b'in'))]
        elif kind == 'symlink': says['symlinkTarget'] = rest.replace('out', out)
        else: says['entries'] = put_set([make(n, out) for n in rest], store.put)
        return store.put(schema_text(says).encode())
    with tempfile.TemporaryDirectory() as tmp:
        out, to = Path(tmp) / 'out', Path(tmp) / 'deep' / 'in'
        out.mkdir()
        to.parent.mkdir()
        (out / 'x').write_bytes(b'mine')
        ref = make(('directory', 'top', [tree, tree]), str(out))
        for _ in range(2): restore(store, ref, to, existing=existing, links=links, trouble=[])
        assert {p.relative_to(tmp).parts[:2] for p in Path(tmp).rglob('*')} <= {('out',), ('out', 'x'), ('deep',), ('deep', 'in')}
        assert (out / 'x').read_bytes() == b'mine'
        assert not [p for p in to.rglob('*.part')]


@pytest.mark.parametrize('existing,kept', [('refuse', b'mine'), ('keep', b'mine'), ('replace', b'theirs')])
def test_what_is_there_is_replaced_only_when_asked(tmp_path, existing, kept):
    store = MemoryBlobs()
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'f').write_bytes(b'theirs')
    (tmp_path / 'a' / 'g').write_bytes(b'new')
    ref = put_path(store, tmp_path / 'a')
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'f').write_bytes(b'mine')
    restore(store, ref, tmp_path / 'b', existing=existing, trouble=(trouble := []))
    assert (tmp_path / 'b' / 'f').read_bytes() == kept and (tmp_path / 'b' / 'g').read_bytes() == b'new'
    assert [type(t.error) for t in trouble] == [Conflict] * (existing == 'refuse')


def test_rights_that_are_lent_are_dropped_and_what_cannot_be_read_is_told(tmp_path):
    store = MemoryBlobs()
    says = dict(camliType='file', fileName='f', parts=[], unixPermission='04777')
    restore(store, store.put(schema_text(says).encode()), tmp_path / 'f')
    assert stat.S_IMODE((tmp_path / 'f').stat().st_mode) == 0o777
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'good').write_bytes(b'x')
    (tmp_path / 'd' / 'left').write_bytes(b'x')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / 'd' / 's'))
        ref = put_path(store, tmp_path / 'd', skip=lambda p: p == 'left', trouble=(trouble := []))
    assert [e.name for e in list_folder(store, ref)] == ['good', 's'] and not trouble
    with pytest.raises(FileNotFoundError): put_path(store, tmp_path / 'none')
    with pytest.raises(Invalid, match='device'): put_path(store, '/dev/null')
    nest = tmp_path / 'deep'
    for _ in range(202): nest = nest / 'd'
    nest.mkdir(parents=True)
    with pytest.raises(TooLarge, match='more than 200 deep'): put_path(store, tmp_path / 'deep')


def test_a_set_of_many_is_cut_by_the_rule():
    "20,001 members: two full sets and a rest; with more sets than a set may hold, even ones"
    store, members = MemoryBlobs(), [ref_of(b'%d' % i) for i in range(20_001)]
    top = read_schema(store.get(put_set(members, store.put)))
    assert [len(read_schema(store.get(r))['members']) for r in top['mergeSets']] == [10_000, 10_000, 1]
    assert max(map(len, store.d.values())) < 1 << 20
    before, files.MOST_MEMBERS = files.MOST_MEMBERS, 4
    try:  # 17 of 4 a set: 17 // 4 = 4 runs are too many, so 3 even ones of 5, each cut again, and a rest of 2
        top = read_schema(store.get(put_set(members[:17], store.put)))
        sizes = [sum(1 for _ in files._members(store, r, 'test')) for r in top['mergeSets']]
    finally: files.MOST_MEMBERS = before
    assert sizes == [5, 5, 5, 2]


def test_stores_on_disk_and_sealed_take_folders_and_send_nothing_twice(tmp_path):
    (tmp_path / 'in').mkdir()
    for i in range(3): (tmp_path / 'in' / f'{i}.bin').write_bytes(noise(300_000, b'%d' % i))
    plain = put_path(MemoryBlobs(), tmp_path / 'in')
    for store in (DiskBlobs(tmp_path / 'disk'), SealedBlobs(MemoryBlobs(), random_key())):
        assert put_path(store, tmp_path / 'in') == plain
        def refuse(data, ref=None): raise AssertionError('sent twice')
        store.put = refuse
        assert put_path(store, tmp_path / 'in') == plain == put_path(store, tmp_path / 'in', put=putter(store, set(store.refs())))
        restore(store, plain, tmp_path / type(store).__name__)
        assert seen(tmp_path / type(store).__name__) == seen(tmp_path / 'in')


KILLED = '''
import sys
from pymemri.blobs.files import restore
from pymemri.blobs.store import DiskBlobs
store = DiskBlobs(sys.argv[1])
print('go', flush=True)
restore(store, sys.argv[2], sys.argv[3], existing='keep')
'''


def test_a_killed_restore_leaves_whole_files_and_is_taken_up_again(tmp_path):
    (tmp_path / 'in').mkdir()
    for i in range(60): (tmp_path / 'in' / f'{i}.bin').write_bytes(noise(40_000, b'%d' % i))
    store = DiskBlobs(tmp_path / 'store')
    ref, to = put_path(store, tmp_path / 'in'), tmp_path / 'out'
    for kill in range(4):
        run = subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path / 'store'), ref, str(to)], stdout=subprocess.PIPE)
        run.stdout.readline()
        done = len(os.listdir(to)) if to.exists() else 0
        while run.poll() is None and (len(os.listdir(to)) if to.exists() else 0) < done + 5: time.sleep(0.001)
        run.kill()
        run.communicate()
        for p in to.iterdir():
            assert p.name.endswith('.part') or p.read_bytes() == (tmp_path / 'in' / p.name).read_bytes(), 'half a file under its name'
    restore(store, ref, to, existing='keep')
    assert all((to / f'{i}.bin').read_bytes() == noise(40_000, b'%d' % i) for i in range(60))

"""Stores that are elsewhere keep the promises of `Blobs`: a server, a cache before it, and what fsspec reaches.

The S3 tests need s3fs and a server, moto's. They want a python-dateutil below 3 and the pinned environment has a package that wants one
above, so there they are skipped; `make s3` (and with it CI) runs them in an environment of their own."""
import importlib, itertools, os, signal, subprocess, sys, tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from blob_server import BlobServer
from pymemri.blobs.cached import Cached
from pymemri.blobs.connection import connect
from pymemri.blobs.filesystem import FileSystemBlobs
from pymemri.blobs.ref import ref_of
from pymemri.blobs.remote import RemoteBlobs
from pymemri.blobs.sealed import SealedBlobs
from pymemri.blobs.store import DiskBlobs, MemoryBlobs, check_blobs
from pymemri.core import Damaged, Forbidden, Invalid, NotFound, PodError, TooLarge
from pymemri.crypto import CHUNK, random_key

KEY = random_key()
count = itertools.count()


@pytest.fixture
def remote():
    "Makes stores on new servers"
    servers = []
    def make(**kw):
        servers.append(server := BlobServer(**kw))
        return RemoteBlobs(connect(server.url))
    yield make
    for s in servers: s.close()


@pytest.fixture(scope='module')
def s3():
    "A bucket on an S3 server of this machine, and how to reach it"
    find = importlib.import_module if os.environ.get('REQUIRE_S3') else partial(pytest.importorskip, reason='`make s3` runs it')
    s3fs, moto = find('s3fs'), find('moto.server')
    with pytest.MonkeyPatch.context() as m:
        for k, v in dict(AWS_EC2_METADATA_DISABLED='true', AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull).items(): m.setenv(k, v)
        server = moto.ThreadedMotoServer('127.0.0.1', 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        options = dict(key='k3y', secret='s3cret', client_kwargs=dict(endpoint_url=f'http://127.0.0.1:{port}', region_name='eu-west-1'))
        s3fs.S3FileSystem(**options, use_listings_cache=False).mkdir('bucket')
        yield options
        server.stop()


MAKES = dict(remote=lambda d, remote: remote(), sha1=lambda d, remote: RemoteBlobs(remote().connection, 'sha1'),
             remote_batch=lambda d, remote: remote(batch_get=True),
             cached=lambda d, remote: Cached(MemoryBlobs(), remote()), cached_disk=lambda d, remote: Cached(DiskBlobs(d/'c'), MemoryBlobs()),
             sealed_remote=lambda d, remote: SealedBlobs(remote(), KEY), sealed_files=lambda d, remote: SealedBlobs(FileSystemBlobs(f'file://{d}/s'), KEY),
             cached_files=lambda d, remote: Cached(MemoryBlobs(), FileSystemBlobs(f'file://{d}/s')),
             memory=lambda d, remote: FileSystemBlobs(f'memory://stores/{next(count)}'), local=lambda d, remote: FileSystemBlobs(f'file://{d}/s'),
             copied=lambda d, remote: FileSystemBlobs(f'dir::file://{d}'),
             plain_path=lambda d, remote: FileSystemBlobs(str(d/'s')))


@pytest.mark.parametrize('kind', MAKES)
def test_promises(kind, tmp_path, remote):
    def make():
        (folder := tmp_path/str(next(count))).mkdir()
        return MAKES[kind](folder, remote)
    check_blobs(make)


def test_promises_on_s3(s3):
    made = []
    def make():
        made.append(FileSystemBlobs(f's3://bucket/{next(count)}/photos', **s3))
        return made[-1]
    check_blobs(make)
    assert made[0].kind == 'whole' and 's3cret' not in repr(made[0]) + str(vars(made[0]))
    big = bytes(range(256)) * (6 * CHUNK // 256)
    ref = made[0].put(big)
    assert made[0].get(ref) == big == b''.join(made[0].open(ref))
    with pytest.raises(NotFound, match='no such place|s3'): FileSystemBlobs('s3://no-such-bucket/x', **s3).put(b'x')


def test_s3_with_what_another_program_did(s3):
    "Nothing is remembered of what was there: another program puts, removes and harms"
    one, two = (FileSystemBlobs('s3://bucket/shared', **s3) for _ in range(2))
    ref = one.put(b'hello')
    assert list(two.refs()) == [ref] and two.get(ref) == b'hello'
    two.remove(ref)
    assert list(one.refs()) == [] and one.size(ref) is None
    one.put(b'hello')
    two.fs.pipe_file(two._place(ref), b'harmed!')
    with pytest.raises(Damaged): one.get(ref)
    assert one.put(b'hello') == ref and two.get(ref) == b'hello'


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(['put', 'remove']), st.integers(0, 6)), max_size=20))
@pytest.mark.parametrize('kind', ['local', 'memory', 'cached_files'])
def test_a_store_is_a_dict(kind, steps):
    with tempfile.TemporaryDirectory() as d:
        s, model = MAKES[kind](Path(d), None), {}
        for step, n in steps:
            data = bytes([n]) * n * 50
            if step == 'put': model[s.put(data)] = data
            else:
                s.remove(ref_of(data))
                model.pop(ref_of(data), None)
        assert {r: s.get(r) for r in s.refs()} == model


def test_a_folder_is_that_of_a_disk_store(tmp_path):
    disk, files = DiskBlobs(tmp_path/'s'), FileSystemBlobs(f'file://{tmp_path}/s')
    refs = sorted([disk.put(b'one'), files.put(b'two'), disk.put(b'three', ref_of(b'three', 'sha1'))])
    assert list(disk.refs()) == list(files.refs()) == refs
    assert disk.get(ref_of(b'two')) == b'two' and files.get(ref_of(b'one')) == b'one'


@pytest.mark.parametrize('kind', ['remote', 'local', 'memory'])
def test_a_sealed_blob_is_removed_with_one_listing_of_the_store_below(kind, tmp_path, remote):
    "And with it goes what another program has put under the same name, of which we know nothing yet"
    inner, listings = MAKES[kind](tmp_path, remote), []
    below = inner.refs
    inner.refs = lambda after='': listings.append(after) or below(after)
    ours, theirs = SealedBlobs(inner, KEY), SealedBlobs(inner, KEY)
    stays, ref = ours.put(b'stays'), ours.put(b'goes')
    assert theirs.get(ref) == b'goes'
    theirs.remove(ref)
    assert theirs.put(b'goes') == ref # under a label that only they know
    for goes in (ref, ref_of(b'was never here')):
        listings.clear()
        ours.remove(goes)
        assert listings == ['']
    assert len(list(below())) == 3, 'ciphertext, label and mark of what stays'
    for s in (ours, theirs, SealedBlobs(inner, KEY)):
        assert list(s.refs()) == [stays] and s.size(ref) is None and s.get(stays) == b'stays'
    listings.clear()
    SealedBlobs(inner, KEY).remove(stays) # by one who has not looked before
    assert listings == [''] and not list(below())


def test_what_a_place_cannot_promise_is_said(tmp_path):
    assert 'power cut' in FileSystemBlobs(str(tmp_path)).promises
    assert 'half a blob' in FileSystemBlobs(f'dir::file://{tmp_path}').promises
    for bad in ('s4://x', 'nowhere://'):
        with pytest.raises(Invalid, match='cannot be used'): FileSystemBlobs(bad)
    with pytest.raises(Invalid, match='no credentials') as e: FileSystemBlobs('sftp://alice:s3cret@nowhere.example/x')
    assert 's3cret' not in str(e.value)


WRITER = '''
import sys
from pymemri.blobs.filesystem import FileSystemBlobs
s = FileSystemBlobs(sys.argv[1])
for i in range(100_000): print(s.put(b'%d' % i * 50_000), flush=True)
'''


def test_a_killed_writer_leaves_no_half_blob(tmp_path, clean_env):
    for turn in range(3):
        p = subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path/'s')], stdout=subprocess.PIPE, text=True, env=clean_env)
        told = [p.stdout.readline().strip() for _ in range(5 + turn * 7)]
        p.send_signal(signal.SIGKILL)
        told += p.communicate()[0].split()
        s = FileSystemBlobs(str(tmp_path/'s'))
        assert set(told[:-1]) <= set(s.refs())
        for ref in s.refs(): s.get(ref)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_place_that_does_not_let_us(tmp_path):
    (tmp_path/'s').mkdir(mode=0o500)
    with pytest.raises(Forbidden, match='does not let us'): FileSystemBlobs(str(tmp_path/'s')).put(b'x')


def test_a_place_that_fails_leaves_no_rest(tmp_path):
    s = FileSystemBlobs(str(tmp_path/'s'))
    class Full:
        fs = s.fs
        def __getattr__(self, name): return getattr(self.fs, name)
        def mv(self, *args): raise OSError(28, 'No space left on device')
    s.fs = Full()
    with pytest.raises(PodError, match='is full') as e: s.put(b'x')
    assert e.value.status == 507 and not [p for p in (tmp_path/'s').rglob('*') if p.is_file()]


def test_a_server_that_keeps_everything_says_so(remote):
    s = remote(removes=False)
    ref = s.put(b'x')
    with pytest.raises(PodError, match='does not permit deletes') as e: s.remove(ref)
    assert e.value.status == 403 and s.get(ref) == b'x'


def test_a_large_blob_is_refused_before_it_is_read_whole(remote):
    s, read = remote(), []
    def source():
        for i in range(100):
            read.append(i)
            yield bytes(CHUNK)
    with pytest.raises(TooLarge): s.put(source())
    assert len(read) <= 17 and list(s.refs()) == []


def test_a_cache_asks_once(remote):
    slow = remote()
    ref = slow.put(b'x')
    s = Cached(MemoryBlobs(), slow)
    asked = []
    slow.connection.http_session.hooks['response'].append(lambda r, *a, **kw: asked.append(r.url))
    for _ in range(3): assert s.get(ref) == b''.join(s.open(ref)) == b'x' and s.size(ref) == 1
    assert len(asked) == 1

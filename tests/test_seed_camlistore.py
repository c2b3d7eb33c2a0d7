"""The page of python-camlistore, snippet by snippet and name by name: the lines are the page's own (Python 3: `b"…"`, `print()`),
and what the page says of them must hold.

Each test runs against a small server of these tests (its index answers what a Perkeep answered, from
`tests/data/camlistore.json`), and against `pymemri.blobs.server` when there is one: see `SERVERS`.
"""
import hashlib, importlib.util, inspect
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

import pymemri.blobs as camlistore
from blob_server import BlobServer
from pymemri.blobs.ref import ref_of
from pymemri.core import Damaged, NotFound, PodError

PERMANODE = 'sha224-d81b6e619e6f0e464575999571a1dfe896395c230f4565a8c70c56d5'
CHILD = 'sha224-b4a2c5a1ccfb34efec2aeb2a2ab6d9309b054f1c8361f2189f62ec01'


def small_server():
    "The server of these tests"
    return BlobServer(labels=['describe/permanode', 'claims/all', 'query/expr-tag', 'query/expr-tag-removed', 'query/expr-bare-word',
                              'describe/unknown'])


def real_server():
    "Ours"
    if not importlib.util.find_spec('pymemri.blobs.server'): pytest.skip('there is no pymemri.blobs.server yet')
    from pymemri.blobs.server import serve
    return serve()


SERVERS = dict(small=small_server, real=real_server)


@pytest.fixture(params=SERVERS)
def server(request):
    "Has `url`, and `close`"
    server = SERVERS[request.param]()
    server.name = request.param
    yield server
    server.close()


@pytest.fixture
def conn(server):
    conn = camlistore.connect(server.url)
    yield conn
    conn.close()


@pytest.fixture
def node(server, conn):
    "A permanode with some history: (its ref, its child's)"
    if server.name == 'small': return PERMANODE, CHILD
    child = conn.permanode(attributes=dict(title='Child')).ref
    node = conn.permanode(at='2020-01-01T00:00:00Z')
    for i, (do, *what) in enumerate([('set', 'title', 'First title'), ('set', 'title', 'Second title'), ('add', 'tag', 'red'),
                                     ('add', 'tag', 'blue'), ('del', 'tag', 'red'), ('add', 'camliMember', child)], 1):
        getattr(node, f'{do}_attribute')(*what, at=f'2020-01-0{i}T00:00:00.123456789Z')
    return node.ref, child


# ---- Getting started ----

def test_connect_to_camlistore(server):
    base_url = server.url                                             # page: "http://localhost:3179/"
    conn = camlistore.connect(base_url)
    assert type(conn) is camlistore.Connection                        # "a camlistore.Connection object, configured and ready"
    assert conn.blob_root.startswith(server.url) and conn.search_root.startswith(server.url)


def test_try_writing_a_blob(conn, capsys):
    blobref = conn.blobs.put(camlistore.Blob(b"Hello, Camlistore!"))  # page: "Hello, Camlistore!"
    hello_blob = conn.blobs.get(blobref)
    print(hello_blob.data)                                            # page: print hello_blob.data
    assert capsys.readouterr().out == "b'Hello, Camlistore!'\n"


def test_the_snippet_as_it_stands_says_what_to_do(conn):
    with pytest.raises(TypeError, match='write b"'): conn.blobs.put(camlistore.Blob("Hello, Camlistore!"))


# ---- Connection ----

def test_connection(conn):
    signature = inspect.signature(camlistore.Connection)
    assert list(signature.parameters)[:4] == ['http_session', 'blob_root', 'search_root', 'sign_root']
    assert all(p.default is None for p in signature.parameters.values())
    assert type(conn.blobs) is camlistore.blobclient.BlobClient       # "pre-configured instance"
    assert type(conn.searcher) is camlistore.searchclient.SearchClient
    assert conn.blobs is conn.blobs and conn.blobs.http_session is conn.http_session
    bare = camlistore.Connection()
    with pytest.raises(camlistore.exceptions.ServerFeatureUnavailableError): bare.blobs.get('sha1-' + 'a' * 40)
    with pytest.raises(camlistore.exceptions.ServerFeatureUnavailableError): bare.searcher.query('tag:x')
    by_hand = camlistore.Connection(blob_root=conn.blob_root)         # "should not", and yet can
    assert by_hand.blobs.put(camlistore.Blob(b'x')) == ref_of(b'x')


# ---- BlobClient ----

def test_blob_exists(conn):
    blob = camlistore.Blob(b'here')
    assert conn.blobs.blob_exists(blob.blobref) is False
    conn.blobs.put(blob)
    assert conn.blobs.blob_exists(blob.blobref) is True


def test_enumerate(conn):
    blobs = [camlistore.Blob(b'%d' % i) for i in range(30)]
    conn.blobs.put_multi(*blobs)
    metas = list(conn.blobs.enumerate())                              # "in blobref order"
    assert [m.blobref for m in metas] == sorted(m.blobref for m in metas)
    assert {b.blobref: b.size for b in blobs}.items() <= {m.blobref: m.size for m in metas}.items()


def test_enumeration_is_lazy(monkeypatch):
    monkeypatch.setattr(camlistore.blobclient, 'PAGE', 10)
    with small_server() as server, camlistore.connect(server.url) as conn:
        conn.blobs.put_multi(*[camlistore.Blob(b'%d' % i) for i in range(30)])
        before = len(server.asked)
        listing = iter(conn.blobs.enumerate())
        assert len(server.asked) == before
        next(listing)                                                 # "beginning iteration will cause one request"
        assert len(server.asked) == before + 1
        for _ in range(10): next(listing)                             # "continued iteration may cause followup requests"
        assert len(server.asked) == before + 2
        assert len(list(listing)) == 19


def test_get(conn):
    blob = conn.blobs.get(conn.blobs.put(camlistore.Blob(b'x')))
    assert type(blob) is camlistore.Blob and blob.data == b'x'
    with pytest.raises(camlistore.exceptions.NotFoundError): conn.blobs.get(ref_of(b'nowhere'))


def test_get_size(conn):
    size = conn.blobs.get_size(conn.blobs.put(camlistore.Blob(b'four')))
    assert size == 4 and type(size) is int
    with pytest.raises(camlistore.exceptions.NotFoundError): conn.blobs.get_size(ref_of(b'nowhere'))


def test_get_size_multi(conn):
    known, unknown = conn.blobs.put(camlistore.Blob(b'four')), ref_of(b'nowhere')
    assert conn.blobs.get_size_multi(known, unknown) == {known: 4, unknown: None}
    assert conn.blobs.get_size_multi() == {}
    many = [ref_of(b'%d' % i) for i in range(2500)]                   # the old client failed from 1001 on
    assert conn.blobs.get_size_multi(*many) == dict.fromkeys(many)


def test_put(conn):
    blob = camlistore.Blob(b'put')
    assert conn.blobs.put(blob) == blob.blobref                       # "guaranteed to match blob.blobref of the given blob"
    assert conn.blobs.put(blob) == blob.blobref
    with pytest.raises(TypeError): conn.blobs.put(b'put')             # "must be given as a camlistore.Blob instance"


def test_put_asks_first():
    with small_server() as server, camlistore.connect(server.url) as conn:
        for _ in range(2): conn.blobs.put(camlistore.Blob(b'put'))    # "will first check with the server"
        assert [p.rpartition('/')[2] for _, p, _ in server.asked[1:]] == ['stat', 'upload', 'stat']


def test_put_multi(conn):
    blobs = [camlistore.Blob(b'%d' % (i % 40)) for i in range(60)]
    refs = conn.blobs.put_multi(*blobs)
    assert refs == [b.blobref for b in blobs]                         # "in the same order as they were provided"
    assert conn.blobs.put_multi() == []


def test_put_multi_beyond_32_mb(conn):
    blobs = [camlistore.Blob(bytes([i]) * (9 << 20)) for i in range(4)]  # page: "will fail if that limit is exceeded"
    conn.blobs.put_multi(*blobs)
    assert conn.blobs.get_size_multi(*[b.blobref for b in blobs]) == {b.blobref: 9 << 20 for b in blobs}


# ---- Blob ----

def test_blob():
    blob = camlistore.Blob(b'data', hash_func_name='sha1')
    assert (blob.data, blob.size, blob.hash_func_name) == (b'data', 4, 'sha1')
    assert blob.blobref == 'sha1-' + hashlib.sha1(b'data').hexdigest()
    assert list(inspect.signature(camlistore.Blob).parameters) == ['data', 'hash_func_name', 'blobref']
    assert camlistore.Blob(b'').hash_func_name == 'sha224'            # page: sha1, which today's servers do not use for new blobs


def test_mutating_a_blob_changes_its_name():
    blob = camlistore.Blob(b'one')
    blob.data = b'two'
    assert (blob.blobref, blob.size) == (ref_of(b'two'), 3)
    blob.data = b'three'
    assert (blob.blobref, blob.size) == (ref_of(b'three'), 5)
    blob.hash_func_name = 'sha256'
    assert blob.blobref == ref_of(b'three', 'sha256')
    for name in ('blobref', 'size'):
        with pytest.raises(AttributeError): setattr(blob, name, 'x')
    for wrong in ('text', None, 7, ['x']):
        with pytest.raises(TypeError): blob.data = wrong
        with pytest.raises(TypeError): camlistore.Blob(wrong)
    for wrong in (hashlib.sha1, None, 7):
        with pytest.raises(TypeError): camlistore.Blob(b'', hash_func_name=wrong)


def test_a_given_blobref_is_checked():
    ref = ref_of(b'data', 'sha256')
    assert camlistore.Blob(b'data', hash_func_name='sha1', blobref=ref).hash_func_name == 'sha256'  # "overrides the value passed in"
    with pytest.raises(camlistore.exceptions.HashMismatchError): camlistore.Blob(b'other', blobref=ref)
    for wrong in ('no-ref', 'noref', 'md5-' + 'a' * 32, ''):
        with pytest.raises(camlistore.exceptions.HashMismatchError): camlistore.Blob(b'data', blobref=wrong)


# ---- BlobMeta ----

def test_blob_meta(conn):
    ref = conn.blobs.put(camlistore.Blob(b'meta'))
    meta, = [m for m in conn.blobs.enumerate() if m.blobref == ref]
    assert type(meta) is camlistore.blobclient.BlobMeta and (meta.size, meta.blob_client) == (4, conn.blobs)
    assert meta.get_data().data == b'meta' and ref in repr(meta)      # "with the same behavior as BlobClient.get()"
    gone = camlistore.blobclient.BlobMeta(ref_of(b'nowhere'), blob_client=conn.blobs)
    assert gone.size is None
    with pytest.raises(camlistore.exceptions.NotFoundError): gone.get_data()


# ---- SearchClient ----

def test_describe_blob(conn, node):
    described = conn.searcher.describe_blob(node[0])
    assert type(described) is camlistore.searchclient.BlobDescription
    assert (described.blobref, described.type) == (node[0], 'permanode')
    assert described.size == 566 or described.size == conn.blobs.get_size(node[0])
    assert described.raw_dict['permanode']['attr']['title'] == ['Second title']
    assert described.attributes['tag'] == ['blue']
    with pytest.raises(camlistore.exceptions.NotFoundError):
        conn.searcher.describe_blob('sha224-48eaa698be2e00b401c444611c51059dbf92fdf5eb19265a7c981604')


def test_describe_another():
    searcher = SimpleNamespace(describe_blob=lambda ref: f'asked for {ref}')
    one = camlistore.searchclient.BlobDescription(searcher, {}, other_raw_dicts={'a-1': {'blobRef': 'a-1', 'size': 3}})
    near = one.describe_another('a-1')                                # "making use of that already-retrieved data"
    assert (near.blobref, near.size, near.type) == ('a-1', 3, None)
    assert near.other_raw_dicts is one.other_raw_dicts and near.searcher is searcher
    assert one.describe_another('b-1') == 'asked for b-1'             # "falling back on a new call"
    assert one.blobref is one.size is one.type is None


def test_query(conn, node):
    results = conn.searcher.query('tag:blue')                         # "an iterable of SearchResult"
    assert [type(r) for r in results] == [camlistore.searchclient.SearchResult]
    assert [r.blobref for r in results] == [node[0]]
    assert list(conn.searcher.query('tag:red')) == []                 # the old client fell over an empty answer
    with pytest.raises(camlistore.exceptions.ServerError): conn.searcher.query('Second')
    assert camlistore.searchclient.SearchResult('a-1').blobref == 'a-1'


def test_get_claims_for_permanode(conn, node):
    claims = list(conn.searcher.get_claims_for_permanode(node[0]))
    assert {type(c) for c in claims} == {camlistore.searchclient.ClaimMeta}
    assert [(c.type, c.attr, c.value) for c in claims][:2] == [('set-attribute', 'title', 'First title'), ('set-attribute', 'title', 'Second title')]
    assert {c.permanode_blobref for c in claims} == {node[0]} and len({c.signer_blobref for c in claims}) == 1
    assert len({c.blobref for c in claims}) == len(claims)
    assert [c.time for c in claims] == sorted(c.time for c in claims) and claims[0].time.utcoffset() == timedelta(0)
    assert [c.value for c in claims if c.attr == 'camliMember'] == [node[1]]


def test_claim_meta():
    claim = camlistore.searchclient.ClaimMeta(dict(blobref='c-1', signer='s-1', permanode='p-1', date='2013-02-13T12:32:34.123Z',
                                                   type='set-attribute', attr='a', value=12, target='t-1'))
    assert (claim.blobref, claim.signer_blobref, claim.permanode_blobref, claim.target_blobref) == ('c-1', 's-1', 'p-1', 't-1')
    assert (claim.type, claim.attr, claim.value) == ('set-attribute', 'a', 12)
    assert claim.time == datetime(2013, 2, 13, 12, 32, 34, 123000, tzinfo=timezone.utc)
    empty = camlistore.searchclient.ClaimMeta({})
    assert {getattr(empty, n) for n in ('attr', 'blobref', 'permanode_blobref', 'signer_blobref', 'target_blobref', 'time', 'type', 'value')} == {None}


# ---- Errors ----

def test_error_types():
    e = camlistore.exceptions
    for name in ('ConnectionError', 'HashMismatchError', 'NotCamliServerError', 'NotFoundError', 'ServerError', 'ServerFeatureUnavailableError'):
        assert issubclass(getattr(e, name), PodError), name
    assert issubclass(e.NotCamliServerError, e.ConnectionError) and issubclass(e.ConnectionError, ConnectionError)
    assert issubclass(e.NotFoundError, NotFound) and issubclass(e.HashMismatchError, Damaged)
    with small_server() as s: url = s.url
    with pytest.raises(e.ConnectionError): camlistore.connect(url)    # "while establishing an initial connection"
    with small_server() as s:
        s.lie = lambda h: h.answer(404, b'not here') or True
        with pytest.raises(e.NotCamliServerError): camlistore.connect(s.url)
    with small_server() as s, camlistore.connect(s.url) as conn:
        s.lie = lambda h: h.answer(500, b'broken') or True
        with pytest.raises(e.ServerError): conn.blobs.get(ref_of(b''))
        s.discovery['searchRoot'] = ''
        s.lie = None
        with camlistore.connect(s.url) as conn, pytest.raises(e.ServerFeatureUnavailableError): conn.searcher.query('tag:x')


def test_the_package_shows_its_names_and_loads_nothing_for_it(clean_env):
    import subprocess, sys
    code = ("import sys, pymemri.blobs.ref, pymemri.blobs as camlistore; assert 'pymemri.blobs.connection' not in sys.modules;"
            "assert {'connect', 'Connection', 'Blob', 'blobclient', 'searchclient', 'exceptions'} <= set(dir(camlistore));"
            "camlistore.connect; assert 'requests' not in sys.modules; camlistore.nothing")
    done = subprocess.run([sys.executable, '-c', code], env=clean_env, capture_output=True, text=True)
    assert done.stderr.strip().endswith("AttributeError: module 'pymemri.blobs' has no attribute 'nothing'")

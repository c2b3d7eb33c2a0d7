"""The client of blob servers against what a real Perkeep said (`tests/data/camlistore.json`), against a small server, and
against servers that lie."""
import json, re, threading
from datetime import datetime, timezone
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest, requests
from hypothesis import given, settings, strategies as st

from certificates import both_in_one
from blob_server import BS, BlobServer, body, parts, recorded, same_request
from pymemri.blobs.blobclient import MAX_BLOB, MAX_REQUEST, Blob, BlobClient, BlobMeta, Uploads, batches, unpack_blobs
from pymemri.blobs.connection import Connection, _connect, connect
from pymemri.blobs.exceptions import (AuthenticationError, ConnectionError, HashMismatchError, MalformedRefError,
                                      NotCamliServerError, NotFoundError, ServerError, ServerFeatureUnavailableError,
                                      ServerUnreachableError, UploadError)
from pymemri.blobs.files import restore
from pymemri.blobs.permanode import ALWAYS, ServerKey
from pymemri.blobs.ref import ref_of
from pymemri.blobs.schema import nanos, read_claim, state
from pymemri.blobs.searchclient import ClaimMeta, SearchClient
from pymemri.blobs.session import new_session
from pymemri.blobs.shares import Share, leads_to
from pymemri.blobs.signing import new_signing_key, sign_text
from pymemri.core import Invalid, NotFound, PodError, TooLarge

HELLO = 'sha224-bab8109e09c66d822580768b37c4f84d569871fcaf55b28113f3683c'
PERMANODE = 'sha224-d81b6e619e6f0e464575999571a1dfe896395c230f4565a8c70c56d5'
CHILD = 'sha224-b4a2c5a1ccfb34efec2aeb2a2ab6d9309b054f1c8361f2189f62ec01'
KEY = 'sha224-580103c4c63d5780f4f1bd2abb1ec82dad170cee7a8074d7cf591a94'
FILE = 'sha224-e568d415d81a3a5f97a31593d23db06c140cecc9500af2fabfaf373b'
WHOLE = 'sha224-4de4ef75191d07c84df0a8bcf5240e2bca0892d3a895e1f010d4a770'


# ---- what was recorded, through a fake session and through a real server ----

class Fake:
    "A session that knows some exchanges, and no others"
    def __init__(self, *labels): self.known = [recorded(label) for label in labels]
    def request(self, method, url, **kw):
        p = requests.Request(method, url, **kw).prepare()
        data = p.body or b''
        data = data.encode() if isinstance(data, str) else data
        for e in self.known:
            if same_request(e, method, p.path_url, data, p.headers.get('Content-Type', '')):
                r = e['response']
                return SimpleNamespace(status_code=r['status'], content=body(r), headers=r['headers'], url=url)
        raise AssertionError(f'nobody asked {method} {p.path_url} {data[:300]!r}')
    def get(self, url, **kw): return self.request('GET', url, **kw)
    def post(self, url, **kw): return self.request('POST', url, **kw)


@pytest.fixture(params=['fake', 'http'])
def heard(request):
    "Makes a connection to a server that knows the exchanges with some labels"
    servers = []
    def make(*labels):
        if request.param == 'fake': session, base = Fake(*labels), 'http://example.com/'
        else:
            servers.append(server := BlobServer(labels=labels))
            server.routes = {e['request']['path'].partition('?')[0]: None for e in server.recorded}
            def replay(h):
                for e in server.recorded:
                    if same_request(e, h.command, h.path, h.data, h.headers.get('Content-Type', '')):
                        r = e['response']
                        if h.command == 'HEAD': r = r | {'body': 'x' * int(r['headers'].get('Content-Length', 0))}
                        more = {'Content_Range': v for k, v in r['headers'].items() if k == 'Content-Range'}
                        return h.answer(r['status'], body(r), r['headers'].get('Content-Type', 'text/plain'), **more) or True
            server.lie = replay
            session, base = new_session(server.url), server.url
        return Connection(session, base + BS[1:], base + 'my-search/', base + 'sighelper/', base + 'share/')
    yield make
    for s in servers: s.close()


def test_discovery(heard):
    fake = Fake('discovery/query-param')
    conn = _connect('http://example.com/', fake)
    assert (conn.blob_root, conn.search_root) == ('http://example.com' + BS, 'http://example.com/my-search/')
    assert conn.signing['publicKeyBlobRef'] == KEY and conn.hash_func_name == 'sha224'
    assert 'authToken' not in conn.discovery, 'it may do everything; nothing of ours needs it'


def test_blobs_are_got(heard):
    blobs = heard('get/text', 'head/text', 'get/binary', 'get/empty-blob', 'head/empty-blob', 'get/missing', 'head/missing',
                  'head/16MiB', 'get/unknown-hash-well-formed', 'get/malformed-ref', 'get/short-digest').blobs
    empty = blobs.get('sha224-d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f')
    if isinstance(blobs.http_session, Fake):
        missing = recorded('get/missing')
        blobs.http_session.known.remove(missing)  # the same name was there later
    assert empty.data == b'' and blobs.get_size(empty.blobref) == 0
    assert blobs.get('sha224-6290817f6001432cd441058d2bb82d88b3f32425ade4c93d56207838').size == 1024
    assert blobs.get_size('sha224-8e26ee6d238fa4bd7df9eabbd72e81969496eeea77e356e907dfa759') == MAX_BLOB
    with pytest.raises(NotFoundError): blobs.get('foo-abcdef')
    with pytest.raises(ServerError, match='400'): blobs.get('notaref')
    with pytest.raises(ServerError, match='Malformed'): blobs.get('sha224-abcd')


def test_a_text_and_its_absence(heard):
    there, gone = heard('get/text', 'head/text').blobs, heard('get/missing', 'head/missing').blobs
    assert there.get(HELLO).data == b'Hello, Camlistore!' and there.get_size(HELLO) == 18 and there.blob_exists(HELLO)
    with pytest.raises(NotFoundError, match=f'no blob {HELLO}'): gone.get(HELLO)
    with pytest.raises(NotFoundError): gone.get_size(HELLO)
    assert not gone.blob_exists(HELLO)


def test_a_piece(heard):
    assert heard('get/range').blobs.get_part(HELLO, 7, 4) == b'Caml'


def test_sizes(heard):
    blobs = heard('stat/post-mixed', 'stat/unknown-hash', 'stat/bogus-ref', 'stat/post-none-present').blobs
    asked = [v for k, v in re.findall('(blob[0-9]+)=([^&]+)', recorded('stat/post-mixed')['request']['body'])]
    sizes = blobs.get_size_multi(*asked)
    assert list(sizes) == asked and sizes[HELLO] == 18 and None in sizes.values()
    assert blobs.get_size_multi('foo-abcdef', HELLO) == {'foo-abcdef': None, HELLO: 18}
    with pytest.raises(MalformedRefError, match='zzz'): blobs.get_size_multi('zzz')
    assert blobs.get_size_multi() == {}


def stat(*blobs): return recorded('stat/no-blobs') | {'request': dict(method='POST', path=BS + 'camli/stat', headers={}, body='&'.join(
    ['camliversion=1', *(f'blob{i}={b.blobref}' for i, b in enumerate(blobs, 1))]))}


def sent(label): return [Blob(data, blobref=ref if ref_of(data) == ref else None) for ref, data in
                         parts(body(recorded(label)['request']), recorded(label)['request']['headers']['Content-Type'])]


@pytest.mark.parametrize('label', ['upload/one-text', 'upload/two', 'permanode/upload', 'file/upload-all'])
def test_uploads(label):
    session, blobs = Fake(label), sent(label)
    session.known.append(stat(*blobs))
    assert BlobClient(session, 'http://x' + BS).put_multi(*blobs) == [b.blobref for b in blobs]


@pytest.mark.parametrize('label', ['upload/mismatch-in-the-middle', 'claim/upload-bad-signature'])
def test_an_upload_that_a_perkeep_refused_with_a_200_is_told(label):
    "The recorded answer, to the same names"
    e = recorded(label)
    names = [n for n, _ in parts(body(e['request']), e['request']['headers']['Content-Type'])]
    got = {o['blobRef'] for o in json.loads(e['response']['body'])['received']}
    datas = [d for _, d in parts(body(e['request']), e['request']['headers']['Content-Type'])]
    class Named(Blob): blobref = property(lambda self: self.named)
    blobs = [Blob.__new__(Named) for _ in names]
    for b, n, d in zip(blobs, names, datas): b._data, b._ref, b.named = d, n, n
    session = Fake(label)
    session.known.append(stat(*blobs))
    with pytest.raises(UploadError, match='corrupt blob|verification failed') as e: BlobClient(session, 'http://x' + BS).put_multi(*blobs)
    assert e.value.missing == [n for n in names if n not in got] and e.value.missing


def test_listings(heard):
    blobs = heard('enumerate/limit-2', 'enumerate/after', 'enumerate/after-prefix', 'enumerate/limit-exact-count').blobs
    assert [(b.blobref[:8], b.size) for b in blobs.enumerate(limit=2)] == [('sha1-468', 9), ('sha224-0', 12582912)]
    assert len(list(blobs.enumerate(after='sha224-21bbfca88f8e2d3b5e052e1b1819dfee5e473ab6a988c780d199e471', limit=3))) == 3
    assert [b.blobref[:9] for b in blobs.enumerate(after='sha224-8', limit=3)][0] == 'sha224-8c'
    assert len(list(blobs.enumerate(limit=15))) == 15


def test_descriptions(heard):
    s = heard('describe/permanode', 'describe/permanode-depth-3', 'describe/at', 'describe/two', 'describe/post-rules',
              'describe/file', 'describe/directory', 'describe/plain-blob', 'describe/claim-blob', 'describe/unknown',
              'describe/malformed', 'describe/bad-depth').searcher
    node = s.describe_blob(PERMANODE)
    assert (node.type, node.blobref, node.size) == ('permanode', PERMANODE, 566)
    assert node.attributes['title'] == ['Second title'] and node.attributes['camliMember'] == [CHILD]
    assert s.describe_blob(PERMANODE, depth=3).describe_another(CHILD).attributes['title'] == ['Child']
    assert s.describe_blob(PERMANODE, at=datetime(2020, 1, 3, 12, tzinfo=timezone.utc)).attributes['tag'] == ['red']
    assert set(s.describe_blobs(PERMANODE, CHILD)) == {PERMANODE, CHILD}
    ruled = s.describe_blobs(PERMANODE, rules=[{'attrs': ['camliMember', 'camliPath:*'], 'rules': [{'attrs': ['camliContent']}]}])
    assert CHILD in ruled[PERMANODE].other_raw_dicts
    assert s.describe_blob(FILE).file['fileName'] == 'note.txt'
    folder = s.describe_blob('sha224-ef93b00408a89e175a877ef99f5272bd02c08d01c9840b815bf0f445')
    assert folder.children == [FILE] and folder.describe_another(FILE).file['size'] == 24
    assert s.describe_blob(HELLO).type is None
    with pytest.raises(NotFoundError): s.describe_blob('sha224-48eaa698be2e00b401c444611c51059dbf92fdf5eb19265a7c981604')
    with pytest.raises(ServerError, match='Invalid parameter "blobref"'): s.describe_blob('zzz')
    with pytest.raises(ServerError, match='Invalid parameter "depth"'): s.describe_blob(PERMANODE, depth='x')


def test_claims(heard):
    s = heard('claims/all', 'claims/attr-filter', 'claims/unknown-permanode', 'claims/bad-param').searcher
    claims = s.get_claims_for_permanode(PERMANODE)
    assert [c.type for c in claims][:3] == ['set-attribute', 'set-attribute', 'add-attribute']
    assert claims[2].raw_time.endswith('00.123456789Z') and claims[2].time.microsecond == 123456
    assert {c.permanode_blobref for c in claims} == {PERMANODE} and {c.signer_blobref for c in claims} == {KEY}
    assert claims[0].target_blobref is None and claims[0].value == 'First title'
    assert {c.attr for c in s.get_claims_for_permanode(PERMANODE, attr='tag')} == {'tag'}
    assert s.get_claims_for_permanode('sha224-48eaa698be2e00b401c444611c51059dbf92fdf5eb19265a7c981604') == []
    with pytest.raises(ServerError, match='Invalid parameter'): s.get_claims_for_permanode('zzz')


def test_queries(heard):
    s = heard(*'''query/expr-tag query/expr-tag-removed query/expr-title query/expr-bare-word query/expr-bad
        query/expr-unknown-operator query/constraint-permanode-any query/constraint-attr query/constraint-attr-no-value
        query/constraint-logical query/constraint-anything query/constraint-empty query/constraint-with-describe
        query/sort-mod-desc-limit-1 query/continue query/around query/sort-created-asc query/sort-mod-asc query/bad-sort
        query/expr-none-given'''.split()).searcher
    def found(*args, **kw): return [r.blobref for r in s.query(*args, **kw)]
    blue = {'permanode': {'attr': 'tag', 'value': 'blue'}}
    nodes = {'camliType': 'permanode'}
    assert found('tag:blue') == found('title:second') == found(constraint=blue) == [PERMANODE]
    assert found('tag:red') == found(constraint={}) == []
    assert found() == found(constraint=nodes) == [CHILD, PERMANODE] == found(constraint=nodes, sort='created')[::-1]
    assert len(found(constraint={'anything': True}, sort='blobref', limit=3)) == 3
    r, = s.query(constraint=blue, describe={'depth': 1, 'rules': [{'attrs': ['camliMember']}]})
    assert r.description.attributes['title'] == ['Second title'] and CHILD in r.description.other_raw_dicts
    first = s.query(constraint=nodes, sort='-mod', limit=1)
    assert [r.blobref for r in first] == [CHILD]
    assert found(constraint=nodes, sort='-mod', limit=1, continue_=first.continue_) == [PERMANODE]
    assert PERMANODE in found(constraint=nodes, sort='-created', limit=5, around=PERMANODE)
    for wrong, why in (('Second', 'No support for literals'), ('((', 'parenthesis'), ('zorp:1', 'Unknown search predicate')):
        with pytest.raises(ServerError, match=why) as e: s.query(wrong)
        assert e.value.status == 500
    with pytest.raises(ServerError, match='requires also'): s.query(constraint={'permanode': {'attr': 'tag'}})
    with pytest.raises(ServerError, match='unsupported'): s.query(constraint=nodes, sort='mod')
    with pytest.raises(ServerError, match='Bogus'): s.query(constraint=nodes, sort='zzz')
    with pytest.raises(Invalid): s.query('tag:blue', constraint=nodes)


def test_other_questions(heard):
    s = heard(*'''search/permanodeattr search/permanodeattr-none search/signerattrvalue search/signerattrvalue-none
        search/signerpaths search/edgesto search/edgesto-none search/files-bad-param search/files-found
        search/unknown-path'''.split()).searcher
    assert [d.blobref for d in s.permanodes_with_attr('tag', 'blue', signer=KEY)] == [PERMANODE]
    assert s.permanodes_with_attr('tag', 'nope') == []
    assert s.permanode_of_signer(KEY, 'title', 'Child').blobref == CHILD
    with pytest.raises(NotFoundError): s.permanode_of_signer(KEY, 'title', 'zzz')
    assert s.paths_to(KEY, CHILD)[0]['suffix'] == 'kid'
    assert s.edges_to(CHILD) == [{'from': PERMANODE, 'fromType': 'permanode'}]
    assert s.edges_to('sha224-48eaa698be2e00b401c444611c51059dbf92fdf5eb19265a7c981604') == []
    assert s.files_with_digest(WHOLE) == {WHOLE: [FILE]}
    with pytest.raises(ServerError, match='Invalid'): s.files_with_digest('zz')
    with pytest.raises(ServerError, match='Unsupported'): s._get('zzz')


def test_recent_changes_of_a_store_without_any():
    s = SearchClient(MagicMock(), 'http://example.com/s/')
    s.http_session.get.return_value = SimpleNamespace(status_code=200, content=body(recorded('deleted/recent')['response']))
    assert s.recent() == []
    s.http_session.get.return_value = SimpleNamespace(status_code=200, content=body(recorded('search/recent')['response']))
    assert [d.blobref for d in s.recent(before='2021-01-01T00:00:00Z')] == [CHILD, PERMANODE]
    assert s.recent()[1].attributes['title'] == ['Second title']


# ---- the calls of the old client, word for word ----

def test_calls_are_those_of_the_old_client():
    session = MagicMock()
    blobs, s = BlobClient(session, 'http://example.com/b/'), SearchClient(session, 'http://example.com/s/')
    data = Blob(b'dummy blob')
    session.get.return_value = SimpleNamespace(status_code=200, content=b'dummy blob')
    with pytest.raises(HashMismatchError): blobs.get('dummy-blobref')
    session.get.assert_called_with('http://example.com/b/camli/dummy-blobref')
    session.request.return_value = SimpleNamespace(status_code=200, headers={'content-length': 5})
    assert blobs.get_size('dummy-blobref') == 5
    session.request.assert_called_with('HEAD', 'http://example.com/b/camli/dummy-blobref')
    session.post.side_effect = [SimpleNamespace(status_code=200, content=b'{"stat": []}'), SimpleNamespace(
        status_code=200, content=json.dumps(dict(received=[dict(blobRef=data.blobref, size=10)])).encode())]
    assert blobs.put(data) == data.blobref
    (stat_url,), stat_kw = session.post.call_args_list[0]
    assert (stat_url, stat_kw) == ('http://example.com/b/camli/stat', {'data': {'camliversion': '1', 'blob1': data.blobref}})
    (url,), kw = session.post.call_args
    assert url == 'http://example.com/b/camli/upload'
    assert dict(kw['files']) == {data.blobref: (data.blobref, b'dummy blob', 'application/octet-stream')}
    session.post.side_effect = None
    session.post.return_value = SimpleNamespace(status_code=200, content=b'{"blobs": [{"blob": "dummy-1"}]}')
    assert [r.blobref for r in s.query('dummyquery')] == ['dummy-1']
    session.post.assert_called_with('http://example.com/s/camli/search/query', data='{"expression": "dummyquery"}')
    session.get.return_value = SimpleNamespace(status_code=200, content=b'{"meta": {"d1": {"blobRef": "d1"}, "d2": {}}}')
    d = s.describe_blob('d1')
    session.get.assert_called_with('http://example.com/s/camli/search/describe', params={'blobref': 'd1'})
    assert (d.raw_dict, d.other_raw_dicts) == ({'blobRef': 'd1'}, {'d1': {'blobRef': 'd1'}, 'd2': {}})
    session.get.return_value = SimpleNamespace(status_code=200, content=b'{"claims": [{"dummy": 1}, {"dummy": 2}]}')
    assert [c.raw_dict['dummy'] for c in s.get_claims_for_permanode('d1')] == [1, 2]
    session.get.assert_called_with('http://example.com/s/camli/search/claims', params={'permanode': 'd1'})
    session.get.return_value = SimpleNamespace(status_code=200, content=b'{}', url='http://example.net/')
    assert _connect('http://example.com/', session).blob_root is None
    session.get.assert_called_with('http://example.com/?camli.mode=config')


# ---- over HTTP ----

@pytest.fixture
def server():
    with BlobServer() as s: yield s


@pytest.fixture
def conn(server):
    with connect(server.url) as c:
        c.http_session.pause = 0
        yield c


@pytest.mark.parametrize('algorithm', ['sha1', 'sha224', 'sha256'])
def test_every_digest_reads_back(conn, algorithm):
    b = Blob(b'hello', algorithm)
    assert conn.blobs.put(b) == b.blobref == ref_of(b'hello', algorithm)
    assert conn.blobs.get(b.blobref).data == b'hello' and conn.blobs.get(b.blobref).hash_func_name == algorithm
    assert conn.blobs.get_part(b.blobref, 1, 3) == b'ell' and conn.blobs.get_part(b.blobref, 3, 99) == b'lo'
    assert conn.blobs.get_part(b.blobref, 5, 1) == conn.blobs.get_part(b.blobref, 2, 0) == b''
    assert [(m.blobref, m.size, m.get_data().data) for m in conn.blobs.enumerate()] == [(b.blobref, 5, b'hello')]


def test_many_blobs_in_few_requests_over_one_socket(conn, server):
    blobs = [Blob(b'%d' % i) for i in range(2300)]
    given = blobs + blobs[:7]
    assert conn.blobs.put_multi(*given) == [b.blobref for b in given]
    paths = [p.rpartition('/')[2] for _, p, _ in server.asked[1:]]
    assert paths == ['stat'] * 3 + ['upload'] * 3
    assert conn.blobs.put_multi(*given) == [b.blobref for b in given] and server.asked[-1][1].endswith('stat')
    assert [m.blobref for m in conn.blobs.enumerate()] == sorted({b.blobref for b in blobs})
    assert len(server.connections) == 1, 'sockets are kept'
    absent = ref_of(b'nowhere')
    got = conn.blobs.get_multi(*[b.blobref for b in blobs[:30]], absent)
    assert got.pop(absent) is None and [b.data for b in got.values()] == [b.data for b in blobs[:30]]


@pytest.mark.parametrize('limit', [1, 50, 1 << 25])
def test_many_are_got_at_once_where_the_server_offers_it(limit):
    with BlobServer(batch_get=True) as server, connect(server.url) as conn:
        server.batch_limit = limit
        blobs, before = [Blob(b'%d' % i * 10) for i in range(12)], len(server.asked)
        conn.blobs.put_multi(*blobs)
        before = len(server.asked)
        got = conn.blobs.get_multi(*[b.blobref for b in blobs], ref_of(b'nowhere'))
        assert [b and b.data for b in got.values()] == [b.data for b in blobs] + [None]
        if limit > 10**6: assert len(server.asked) == before + 1


def test_uploads_stay_under_the_limit(conn, server):
    blobs = [Blob(bytes([i]) * (7 << 20)) for i in range(6)] + [Blob(bytes(MAX_BLOB))]
    conn.blobs.put_multi(*blobs)
    sizes = [n for _, p, n in server.asked if p.endswith('upload')]
    assert len(sizes) > 1 and max(sizes) <= MAX_REQUEST
    asked = len(server.asked)
    with pytest.raises(TooLarge, match='16777216'): conn.blobs.put_multi(Blob(b'small'), Blob(bytes(MAX_BLOB + 1)))
    assert len(server.asked) == asked, 'refused before anything was sent'


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=400)), st.integers(1, 3000), st.integers(1, 9), st.sampled_from(['sha1', 'sha256']))
def test_batches(datas, most, count, algorithm):
    blobs = [Blob(d, algorithm) for d in datas]
    cut = list(batches(blobs, most, count))
    assert [b for batch in cut for b in batch] == blobs
    for batch in cut:
        assert 0 < len(batch) <= count
        body = requests.Request('POST', 'http://x/', files=[(b.blobref, (b.blobref, b.data, 'application/octet-stream')) for b in batch]).prepare().body
        assert len(body) <= most or len(batch) == 1, 'a request is larger than it may be'
    for one, two in zip(cut, cut[1:]):  # no batch was ended too early
        assert len(one) == count or sum(b.size + 300 for b in [*one, two[0]]) + 300 > most


def test_removing(conn, server):
    refs = conn.blobs.put_multi(Blob(b'a'), Blob(b'b'))
    conn.blobs.remove(refs[0], ref_of(b'nowhere'))
    assert [m.blobref for m in conn.blobs.enumerate()] == refs[1:]
    server.removes = False
    with pytest.raises(ServerError, match='does not permit deletes') as e: conn.blobs.remove(refs[1])
    assert e.value.status == 403


# ---- who may, and over what ----

def test_credentials_go_where_they_belong_and_nowhere_else():
    basic = recorded('discovery/query-param')['request']['headers']['Authorization']
    with BlobServer(auth=[basic, 'Token t0ken']) as server, BlobServer() as other:
        for kw in (dict(auth=('alice', 'secret')), dict(token='t0ken')):
            with connect(server.url, **kw) as c:
                assert c.blobs.get_size_multi(ref_of(b'')) == {ref_of(b''): None}
                for shown in (repr(c), repr(c.blobs), repr(c.http_session), repr(vars(c)), c.blob_root):
                    assert not re.search('secret|t0ken|' + basic.split()[1], shown)
        for kw in ({}, dict(auth=('alice', 'wrong')), dict(token='wrong')):
            with pytest.raises(AuthenticationError, match='auth=') as e: connect(server.url, **kw)
            assert isinstance(e.value, ConnectionError) and 'wrong' not in str(e.value)
        server.discovery['searchRoot'] = other.url + 'my-search/'   # another host's, and the credentials are not for it
        other.recorded.append(recorded('describe/permanode'))
        with connect(server.url, token='t0ken') as c: c.searcher.describe_blob(PERMANODE)
        assert all('Authorization' not in h for h in other.seen)
        server.lie = lambda h: h.command == 'GET' and 'camli/' in h.path and (h.answer(302, Location=other.url + h.path[1:]) or True)
        with connect(server.url, token='t0ken') as c, pytest.raises(NotFoundError): c.blobs.get(ref_of(b''))
        assert other.asked and all('Authorization' not in h for h in other.seen)
        server.lie = lambda h: h.answer(500, b'you sent ' + h.headers['Authorization'].encode()) or True
        with pytest.raises(NotCamliServerError) as e: connect(server.url, auth=('alice', 'secret'))
        assert 'you sent' in str(e.value) and basic.split()[1] not in str(e.value)


def test_a_lost_right_in_the_middle_is_told(server, conn):
    server.auth = ['Token other']
    with pytest.raises(AuthenticationError): conn.blobs.get(HELLO)
    with pytest.raises(ServerError): conn.searcher.query('tag:blue')


@pytest.fixture(scope='session')
def certificate(tmp_path_factory):
    "A certificate that nobody vouches for: its file, and its fingerprint"
    return both_in_one(tmp_path_factory.mktemp('tls'))


def test_certificates(certificate):
    path, digits = certificate
    with BlobServer(tls=path) as server:
        with pytest.raises(ConnectionError, match='certificate'): connect(server.url)
        with connect(server.url, verify=path) as c: assert c.blobs.put(Blob(b'x')) == ref_of(b'x')
        with connect(server.url, fingerprint=':'.join(re.findall('..', digits)).upper()) as c: assert c.blobs.blob_exists(ref_of(b'x'))
        with pytest.raises(ConnectionError, match='[Ff]ingerprint'): connect(server.url, fingerprint='0' * 64)


def test_nobody_there_and_somebody_else(server):
    nobody = BlobServer()
    nobody.close()
    with pytest.raises(ConnectionError, match='cannot be reached'): connect(nobody.url)
    for status, text in ((404, b'404 page not found'), (200, b'<html>a printer</html>'), (200, b'[]'), (200, b'{"blobRoot": 3}')):
        server.lie = lambda h: h.answer(status, text) or True
        with pytest.raises(NotCamliServerError): connect(server.url)


def test_features_that_are_not_there(server):
    server.discovery |= dict(searchRoot='', blobRoot=None)
    with connect(server.url) as c:
        assert c.search_root is c.blob_root is None
        with pytest.raises(ServerFeatureUnavailableError): c.searcher.query('tag:x')
        with pytest.raises(ServerFeatureUnavailableError): c.blobs.put(Blob(b''))


# ---- servers that lie ----

def lies(answer):
    "A lie that is told to everything but discovery"
    return lambda h: None if 'camli.mode' in h.path else (answer(h) or True)


def cut(h):
    "Half an answer, and the line is dead"
    h.send_response(200)
    h.send_header('Content-Length', '100')
    h.end_headers()
    h.wfile.write(b'half')
    h.close_connection = True


def hang(h): h.close_connection = True


CALLS = dict(get=lambda c: c.blobs.get(HELLO), size=lambda c: c.blobs.get_size_multi(HELLO), put=lambda c: c.blobs.put(Blob(b'x')),
             enumerate=lambda c: list(c.blobs.enumerate()), query=lambda c: c.searcher.query('tag:x'), multi=lambda c: c.blobs.get_multi(HELLO),
             describe=lambda c: c.searcher.describe_blob(HELLO), claims=lambda c: c.searcher.get_claims_for_permanode(HELLO),
             recent=lambda c: c.searcher.recent(), files=lambda c: c.searcher.files_with_digest(HELLO))


@pytest.mark.parametrize('call', CALLS)
@pytest.mark.parametrize('answer', [cut, hang, lambda h: h.answer(500, b'broken'), lambda h: h.answer(200, b'{"blobs": [{"blobRef": "sha1-'),
                                    lambda h: h.answer(200, b'{{{ SERVER ERROR }}}'), lambda h: h.answer(200, b'null'),
                                    lambda h: h.answer(200, b'{"error": "no", "errorType": "input"}'), lambda h: h.answer(204),
                                    lambda h: h.answer(302, Location='/elsewhere')],
                         ids=['half', 'hangs-up', '500', 'half-json', 'marked', 'null', 'error-200', '204', 'redirect'])
def test_no_lie_is_taken_for_an_answer(server, conn, call, answer):
    server.lie = lies(answer)
    with pytest.raises(PodError) as e: CALLS[call](conn)
    assert isinstance(e.value, (ServerError, HashMismatchError, NotFoundError))
    assert str(e.value).isprintable()


LISTS = {'size': ['{"stat": 7}', '{"stat": [7]}', '{"stat": [{"blobRef": "%s", "size": -1}]}', '{"stat": [{"blobRef": "%s"}]}',
                  '{"stat": [{"size": 1}]}', '{"stat": [{"blobRef": ["%s"], "size": 1}]}', '{"stat": [{"blobRef": "sha1-other", "size": 1}]}', '{"stat": [{"blobRef": "%s", "size": "1"}]}'],
         'enumerate': ['{"blobs": [{"blobRef": 7, "size": 1}]}', '{"blobs": [{"blobRef": "b-1", "size": 1}, {"blobRef": "a-1", "size": 1}]}',
                       '{"blobs": [{"blobRef": "b-1", "size": 1}], "continueAfter": "z"}', '{"blobs": {}}', '{"blobs": [], "continueAfter": "x"}'],
         'query': ['{"blobs": [{"blob": null}]}', '{"blobs": [[]]}', '{"blobs": [], "description": 7}', '{"blobs": [], "description": {"meta": [7]}}'], 'describe': ['{"meta": []}', '{"meta": {"%s": 7}}'],
         'claims': ['{"claims": "none"}', '{}'], 'recent': ['{"recent": [7], "meta": {}}', '{"recent": [{}], "meta": {}}'], 'files': ['{"files": []}', '{"files": [1]}', '{}']}


@pytest.mark.parametrize('call, text', [(c, t) for c, ts in LISTS.items() for t in ts])
def test_no_wrong_list_is_taken_for_a_right_one(server, conn, call, text):
    server.lie = lies(lambda h: h.answer(200, (text.replace('%s', HELLO)).encode()))
    with pytest.raises(ServerError): CALLS[call](conn)


def test_wrong_bytes(server, conn):
    ref = conn.blobs.put(Blob(b'right'))
    server.store.d[ref] = b'wrong'
    server.store.get = lambda ref: b'wrong'
    for call in (conn.blobs.get, conn.blobs.get_multi, lambda r: BlobMeta(r, 5, conn.blobs).get_data()):
        with pytest.raises(HashMismatchError, match='are not sha224'): call(ref)


def test_a_piece_of_another_place_or_length(server, conn):
    ref = conn.blobs.put(Blob(b'0123456789'))
    for status, data, place in ((206, b'012', 'bytes 0-2/10'), (206, b'345', 'bytes 3-6/10'), (206, b'345', None), (206, b'34', 'bytes 3-4/10')):
        server.lie = lies(lambda h: h.answer(status, data, **({'Content_Range': place} if place else {})))
        with pytest.raises(ServerError, match='another piece'): conn.blobs.get_part(ref, 3, 3)
    server.lie = lies(lambda h: h.answer(200, b'9876543210'))  # it does not know pieces, and has other bytes
    with pytest.raises(HashMismatchError): conn.blobs.get_part(ref, 3, 3)
    server.lie = lies(lambda h: h.answer(200, b'0123456789'))
    assert conn.blobs.get_part(ref, 3, 3) == b'345'


def test_received_is_compared_with_what_was_sent(server, conn):
    blobs = [Blob(b'%d' % i) for i in range(3)]
    refs = [b.blobref for b in blobs]
    def says(received, **more):
        def lie(h):
            if h.path.endswith('upload'): return h.json(dict(received=received) | more) or True
        return lie
    whole = [dict(blobRef=r, size=1) for r in refs]
    for received, missing in ((whole[:1], refs[1:]), ([], refs), (None, refs), (whole[1:], refs[:1]),
                              ([*whole[:2], dict(blobRef=refs[2], size=0)], refs[2:])):
        server.lie = says(received)
        with pytest.raises(UploadError, match='not received') as e: conn.blobs.put_multi(*blobs)
        assert e.value.missing == missing and isinstance(e.value, ServerError)
    server.lie = says(whole, errorText='the disk burns')
    with pytest.raises(UploadError, match='the disk burns'): conn.blobs.put_multi(*blobs)
    server.lie = says([dict(blobRef='sha1-other', size=1)])
    with pytest.raises(ServerError, match='nobody asked'): conn.blobs.put_multi(*blobs)
    server.lie = None
    assert conn.blobs.put_multi(*blobs) == refs


def test_a_blob_that_is_there_in_another_size_is_sent_again(server, conn):
    b = Blob(b'whole')
    server.store.d[b.blobref] = b'who'
    conn.blobs.put(b)
    assert conn.blobs.get(b.blobref).data == b'whole'


def test_a_body_goes_to_no_other_place(server, conn):
    with BlobServer() as other:
        for status in (301, 302, 307, 308):
            server.lie = lies(lambda h: h.answer(status, Location=other.url + h.path[1:]))
            with pytest.raises(ServerError, match='points to another place'): conn.blobs.put(Blob(b'private'))
        assert other.asked == []


def test_a_redirect_at_home_is_followed(server, conn):
    server.lie = lambda h: h.path.startswith(BS) and (h.answer(307, Location='/moved' + h.path) or True)
    server.routes = {'/moved' + BS + 'camli/' + a: lambda h: h.blobs(h.path.rpartition('/')[2]) for a in ('stat', 'upload')}
    assert conn.blobs.put(Blob(b'x')) == ref_of(b'x') and server.store.get(ref_of(b'x')) == b'x'


# ---- what servers say when they have nothing ----

NOTHING = dict(query=('{"blobs": null, "description": null}', lambda s: list(s.query('tag:x')), []),
               claims=('{"claims": null}', lambda s: s.get_claims_for_permanode(PERMANODE), []),
               recent=('{"recent": null}', lambda s: s.recent(), []),
               with_attr=('{"withAttr": null}', lambda s: s.permanodes_with_attr('tag', 'x'), []),
               edges=('{"toRef": "%s", "edgesTo": null}', lambda s: s.edges_to(CHILD), []),
               paths=('{"paths": null}', lambda s: s.paths_to(KEY, CHILD), []),
               files=('{"files": {"%s": null}}', lambda s: s.files_with_digest(HELLO), {HELLO: []}))


@pytest.mark.parametrize('what', NOTHING)
def test_null_is_an_empty_list(server, conn, what):
    text, call, empty = NOTHING[what]
    server.lie = lies(lambda h: h.answer(200, text.replace('%s', HELLO).encode()))
    assert call(conn.searcher) == empty


def test_absent_roots_are_empty_texts_too(server):
    server.discovery |= dict.fromkeys(('blobRoot', 'searchRoot', 'jsonSignRoot', 'shareRoot'), '')
    server.discovery.pop('signing', None)
    with connect(server.url) as c:
        for call in (lambda: c.blobs.get(HELLO), lambda: c.blobs.put(Blob(b'x')), lambda: list(c.blobs.enumerate()), lambda: c.searcher.recent(),
                     lambda: c.permanode(), lambda: c.share(HELLO)):
            with pytest.raises(ServerFeatureUnavailableError): call()
    assert all('camli.mode' in path for _, path, _ in server.asked), 'nothing was asked at a wrong address'


def test_a_claim_says_only_what_is_in_it():
    assert ClaimMeta({}).attr is None and ClaimMeta(dict(attr='naïve', value=7)).attr == 'naïve'
    late, early = (ClaimMeta(dict(date=f'2020-01-01T00:00:00.00000000{n}Z')) for n in (2, 1))
    assert late.time == early.time and nanos(early.raw_time) < nanos(late.raw_time), 'the text keeps what a datetime cannot'


def test_a_listing_asks_for_a_thousand_and_quotes_where_it_goes_on(server, conn):
    refs = sorted(conn.blobs.put_multi(*[Blob(b'%d' % i) for i in range(5)]))
    assert [m.blobref for m in conn.blobs.enumerate()] == refs
    assert server.asked[-1][1].endswith('enumerate-blobs?limit=1000')
    assert list(conn.blobs.enumerate(after='z&limit=1#/é')) == []
    assert server.asked[-1][1].endswith('enumerate-blobs?after=z%26limit%3D1%23%2F%C3%A9&limit=1000')


@pytest.mark.parametrize('algorithm', ['sha1', 'sha224'])
def test_blobs_are_named_as_the_server_names_its_own(server, algorithm):
    server.discovery['signing'] = dict(publicKeyBlobRef=ref_of(b'key', algorithm))
    with connect(server.url) as c:
        assert c.hash_func_name == algorithm and c.blob(b'x').blobref == ref_of(b'x', algorithm) == c.store.put(b'x')
        assert c.put_file(b'text', 'a.txt').startswith(algorithm + '-')


# ---- networks that fail ----

def test_what_fails_once_is_asked_again(server, conn):
    for failure in (hang, cut, lambda h: h.answer(503, b'busy')):
        left = [failure] * 2
        server.lie = lambda h: left.pop()(h) or True if left else None
        b = Blob(repr(failure).encode())
        assert conn.blobs.put(b) == b.blobref, 'an upload may be repeated: it names what it sends'
        left = [failure] * 2
        assert conn.blobs.get(b.blobref).data == b.data
        left = [failure] * 2
        assert [m.blobref for m in conn.blobs.enumerate()][-1:]


def test_it_is_not_asked_for_ever(server, conn):
    for failure, error in ((hang, ServerUnreachableError), (lambda h: h.answer(503, b'busy'), ServerError)):
        server.lie = lies(failure)
        before = len(server.asked)
        with pytest.raises(error) as e: conn.blobs.get(HELLO)
        assert len(server.asked) == before + conn.http_session.tries
        assert error is ServerError or isinstance(e.value.__cause__, requests.RequestException)


def test_a_silent_server_is_given_up(server):
    quiet = threading.Event()
    server.lie = lies(lambda h: quiet.wait(20) and None)
    with connect(server.url, timeout=0.2) as c:
        c.http_session.tries = 1
        try:
            with pytest.raises(ServerUnreachableError, match='Timeout'): c.blobs.get(HELLO)
        finally: quiet.set()


def test_many_threads_share_a_connection(conn):
    failed = []
    def work(k):
        try:
            for i in range(20):
                b = Blob(b'%d' % (i % 7 * 10 + k % 3))
                assert conn.blobs.put(b) == b.blobref and conn.blobs.get(b.blobref).data == b.data
        except BaseException as e: failed.append(e)
    threads = [threading.Thread(target=work, args=[k]) for k in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not failed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=5), st.data())
def test_an_answer_with_many_blobs_is_whole_or_refused(datas, draw):
    blobs = {b.blobref: b for b in map(Blob, datas)}
    wire = b''.join(f'{r} {b.size}\n'.encode() + b.data for r, b in blobs.items()) + b'.\n'
    got, more = unpack_blobs(wire, set(blobs))
    assert not more and {r: b.data for r, b in got.items()} == {r: b.data for r, b in blobs.items()}
    at = draw.draw(st.integers(0, len(wire) - 1))
    for harmed in (wire[:at], wire + b'x', wire[:at] + bytes([wire[at] ^ draw.draw(st.integers(1, 255))]) + wire[at+1:]):
        try: again, more = unpack_blobs(harmed, set(blobs))
        except (ServerError, HashMismatchError): continue
        assert more and again.keys() == got.keys(), 'the last line became a plus: then the client asks for what is left, nothing'


# ---- writing: permanodes, claims, files, shares ----

KEPT = new_signing_key()


def signing(server, key=KEPT, answer=None):
    "Give a server a key: it signs what it is given, or answers something else"
    at, ref = '/sighelper/camli/', key.public.ref
    server.discovery['signing'] = dict(publicKeyBlobRef=ref, publicKey=at + ref, signHandler=at + 'sig/sign')
    server.routes[at + ref] = lambda h: h.answer(200, key.public.blob)
    def sign(h):
        says = json.loads(h.query['json'])
        when = nanos(says['claimDate']) // 10**9 if 'key' in says else None  # a planned one is dated by its plan
        h.answer(200, sign_text(h.query['json'], key, when))
    server.routes[at + 'sig/sign'] = sign if answer is None else lambda h: h.answer(200, answer)
    return key


def added_up(server, ref, key, at=None):
    "What the claims in a server's store make of a permanode"
    get = server.store.get
    claims = [c for r in server.store.refs() if get(r).startswith(b'{') and (c := read_claim(get(r), get, r))]
    return state(ref, claims, key.public.key_id, at)


@pytest.mark.parametrize('who', ['server', 'user'])
def test_permanodes_and_claims(server, who):
    key = signing(server) if who == 'server' else new_signing_key()
    with connect(server.url) as c:
        if who == 'user': c.signer = key
        node = c.permanode(at='2020-01-01T00:00:00Z', attributes=dict(title='First', tag=['red', 'blue']))
        assert server.store.get(key.public.ref) == key.public.blob, 'who reads the claims needs the key'
        claim = node.set_attribute('title', 'Second', at='2020-01-02T00:00:00Z')
        node.add_attribute('tag', 'green', at='2020-01-03T00:00:00Z')
        node.del_attribute('tag', 'red', at='2020-01-04T00:00:00Z')
        assert added_up(server, node.ref, key).attrs == dict(title=['Second'], tag=['blue', 'green'])
        assert added_up(server, node.ref, key, '2020-01-02T12:00:00Z').attrs == dict(title=['Second'], tag=['red', 'blue'])
        deleted = c.delete(claim, '2020-01-05T00:00:00Z')
        assert added_up(server, node.ref, key).attrs['title'] == ['First']
        gone = node.delete('2020-01-06T00:00:00Z')
        assert added_up(server, node.ref, key).deleted
        c.delete(gone, '2020-01-07T00:00:00Z')
        c.delete(deleted, '2020-01-07T00:00:00Z')
        assert (added_up(server, node.ref, key).deleted, added_up(server, node.ref, key).attrs['title']) == (False, ['Second'])
        planned = [c.permanode(name='whole', at='2020-01-01T00:00:00Z').ref for _ in range(2)]
        assert planned[0] == planned[1] != c.permanode(name='other', at='2020-01-01T00:00:00Z').ref
        assert c.permanode(node.ref).ref == node.ref


def test_a_server_that_goes_by_its_clock_plans_nothing(server):
    signing(server)
    server.routes['/sighelper/camli/sig/sign'] = lambda h: h.answer(200, sign_text(h.query['json'], KEPT))
    with connect(server.url) as c:
        with pytest.raises(ServerFeatureUnavailableError, match='its clock'): c.permanode(name='whole', at='2020-01-01T00:00:00Z')
        c.signer = KEPT
        assert c.permanode(name='whole', at='2020-01-01T00:00:00Z').ref


def test_a_server_that_signs_something_else_is_caught(server):
    stranger = new_signing_key()
    for answer in (b'{"camliVersion": 1}\n', b'', b'\xff' * 40):
        signing(server, answer=answer)
        with connect(server.url) as c, pytest.raises(ServerError, match='something else'): c.permanode()
    signing(server)
    other = lambda h: h.answer(200, sign_text(h.query['json'].replace(KEPT.public.ref, stranger.public.ref), stranger).replace(
        stranger.public.ref.encode(), KEPT.public.ref.encode()))
    server.routes['/sighelper/camli/sig/sign'] = other
    with connect(server.url) as c, pytest.raises(ServerError, match='wrong signature'): c.permanode()
    server.routes['/sighelper/camli/sig/sign'] = lambda h: h.answer(400, b'parameter "json" too large\n')
    with connect(server.url) as c, pytest.raises(ServerError, match='too large'): c.permanode()
    server.routes['/sighelper/camli/' + KEPT.public.ref] = lambda h: h.answer(200, stranger.public.blob)
    with connect(server.url) as c, pytest.raises(HashMismatchError, match='another key'): c.permanode()
    assert list(server.store.refs()) == []


def test_what_a_perkeep_signed_is_taken():
    "Its key, and its signature of a text, as recorded; the time in it is nonsense"
    e = recorded('sign/permanode')
    text = requests.utils.unquote(e['request']['body'].removeprefix('json=').replace('+', ' '))
    key = ServerKey(Fake('sign/public-key', 'sign/permanode'), 'http://x/sighelper/', json.loads(body(recorded('sign/discovery')['response'])))
    assert key.public.ref == KEY and key.public.key_id == '4E09A7C147EEC578'
    assert sign_text(text, key) == body(e['response']) and key.dated == ALWAYS


def test_files_and_folders(server, tmp_path):
    (top := tmp_path/'top').mkdir()
    for i in range(300): (top/f'{i}.txt').write_bytes(b'%d' % i)
    (top/'big').write_bytes(bytes(range(256)) * 20_000)
    (top/'empty').mkdir()
    with connect(server.url) as c:
        ref = c.put_path(top)
        assert len(server.asked) < 40, 'blobs are gathered'
        before = len(server.asked)
        assert c.put_path(top) == ref and all(p.endswith('stat') for _, p, _ in server.asked[before:]), 'nothing is sent twice'
        c.restore(ref, tmp_path/'again')
        assert {p.name: p.read_bytes() for p in (tmp_path/'again').iterdir() if p.is_file()} == \
            {p.name: p.read_bytes() for p in top.iterdir() if p.is_file()} and (tmp_path/'again'/'empty').is_dir()
        note = c.put_file(iter([b'file content, ', b'one chunk\n']), 'note.txt')
        assert b''.join(c.read_file(note)) == b'file content, one chunk\n' and b''.join(c.read_file(note, 5, 12)) == b'content'


def test_what_was_sent_is_not_remembered_for_ever(server, conn, monkeypatch):
    monkeypatch.setattr('pymemri.blobs.blobclient.REMEMBERED', 50)
    up, data = Uploads(conn.blobs), [b'%d' % i for i in range(500)]
    for _ in range(2):
        for i, d in enumerate(data):
            up.put(d)
            if i % 10 == 9: up.flush()
            assert len(up._done) <= 60
    assert all(conn.blobs.get_size_multi(*map(ref_of, data)).values())


def test_uploads_keep_their_order(server, conn):
    up = Uploads(conn.blobs, most=1000)
    refs = [up.put(bytes([i]) * 300) for i in range(10)] + [up.put(b'last'), up.put(b'last')]
    assert conn.blobs.get_size(refs[0]) == 300 and not conn.blobs.blob_exists(refs[-1])
    up.flush()
    assert conn.blobs.get_size(refs[-1]) == 4 and len(set(refs)) == 11
    up.flush()


@pytest.fixture
def shared(server):
    "A server that shares as the specification says: each step from the claim on is looked at"
    def share(h):
        ref, via = h.path.partition('?')[0].rpartition('/')[2], [v for v in h.query.get('via', '').split(',') if v]
        try:
            way = [*via, ref]
            for a, b in zip(way, way[1:]): assert b in leads_to(server.store.get(a))
            assert json.loads(server.store.get(way[0]).partition(b',"camliSig"')[0] + b'}')['claimType'] == 'share'
            assert 'Authorization' not in h.headers
        except (AssertionError, ValueError): return h.answer(401, b'<html><body><h1>Unauthorized</h1>')
        h.answer(200, server.store.get(ref))
    class Routes(dict):
        def __contains__(self, path): return path.startswith('/share/') or super().__contains__(path)
        def __getitem__(self, path): return share if path.startswith('/share/') else super().__getitem__(path)
    server.routes = Routes()
    signing(server)
    return server


def test_shares(shared, tmp_path):
    (tmp_path/'top').mkdir()
    (tmp_path/'top'/'note.txt').write_bytes(b'shared ' * 50_000)
    with connect(shared.url) as c:
        plain = c.share(c.blobs.put(Blob(b'one blob')))
        file = c.share(c.put_file(b'file ' * 500_000, 'f'), transitive=True)
        folder = c.share(c.put_path(tmp_path/'top'), transitive=True, expires='2030-01-01T00:00:00Z')
        private = c.blobs.put(Blob(b'private'))
    assert Share(plain.url).read() == b'one blob' and Share(file.url).read() == b'file ' * 500_000
    given = Share(folder.url)
    assert (given.claim['expires'], given.claim['transitive']) == ('2030-01-01T00:00:00Z', True)
    restore(given, given.target, tmp_path/'got')
    assert (tmp_path/'got'/'note.txt').read_bytes() == b'shared ' * 50_000
    assert folder.ref not in repr(given) and given.url == folder.url
    with pytest.raises(NotFound): given.get(private)
    given._ways[private] = (given.ref,)
    with pytest.raises(AuthenticationError, match='the share ended'): given.get(private)
    right = shared.store.get
    shared.store.get = lambda ref: right(ref) if ref == plain.ref else b'something else'
    with pytest.raises(HashMismatchError): Share(plain.url).read()


def test_shares_as_a_perkeep_answered():
    claim = 'sha224-2b355c170ac4541c4a18250821fa03f9b7eaed396a159a1d39d2d7b6'
    s = Share('http://example.com/share/' + claim, Fake('share/claim', 'share/target', 'share/chunk'))
    assert s.target == FILE and s.read() == body(recorded('share/assemble')['response']) == b'file content, one chunk\n'

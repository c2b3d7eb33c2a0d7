"""Our blob server against what a Perkeep server was recorded to answer, against our own client, and against being killed.

`tests/data/camlistore-replay.json` holds the exchanges. They are sent again in their order, to a server whose owner is the key that made
them; status, kind and content must be the same, except where `DIFFERENT` says why not.
"""
import base64, http.client, json, os, re, signal, subprocess, sys, threading, time
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

from blob_server import body, recorded
from pymemri.blobs.blobclient import Blob
from pymemri.blobs.connection import connect
from pymemri.blobs.exceptions import AuthenticationError
from pymemri.blobs.files import put_file
from pymemri.blobs.ref import ref_of
from pymemri.blobs.remote import RemoteBlobs
from pymemri.blobs.schema import delete, new_permanode, planned_permanode, schema_text, set_attribute, share
from pymemri.blobs.server import MOST_PARTS, Upload, serve
from pymemri.blobs.signing import keep_identity, new_signing_key, read_public_key, read_signed, sign_text
from pymemri.blobs.store import DiskBlobs, MemoryBlobs, check_blobs
from pymemri.core import NotFound, Unavailable
from waiting import wait_for

OWNER = read_public_key(body(recorded('sign/public-key')['response']))
KEY = new_signing_key(1024)

REPLAY = json.loads((Path(__file__).parent / 'data/camlistore-replay.json').read_text(encoding='utf-8'))['exchanges']

# what ours answers otherwise, and why
_LATE = 'a deletion that came before its target counts'
_MORE = 'a blob named by sha256 is here, or one that stood behind a bad part'
EXTRA = {'sha256-aae0d7506a9cd7a9f66f10afcde7929e94dbee771826b42bc1c1209ff66f0d0c',
         'sha224-a5b28cf1ca7e8cc595de6ad74d78f74c2e8a42279bcd8040dc512fee'} # the blobs that `_MORE` is about
DIFFERENT = {
    'auth/token-header-from-discovery': 'each server has a token of its own',
    'discovery/accept-list-not-matched': 'a page of our own', 'auth/root-page-no-credentials': 'a page of our own',
    'enumerate/default': _MORE, 'enumerate/limit-2': _MORE, 'enumerate/limit-3': _MORE, 'enumerate/after-prefix': _MORE,
    'enumerate/after-last': _MORE, 'enumerate/limit-exact-count': _MORE, 'enumerate/limit-0': _MORE, 'enumerate/limit-huge': _MORE,
    'enumerate/limit-garbage': _MORE, 'enumerate/limit-negative': _MORE, 'query/constraint-blobsize': _MORE, 'query/constraint-anything': _MORE,
    'enumerate/maxwaitsec': 'Perkeep gives an empty list at once though there are blobs',
    'upload/mismatch-in-the-middle': 'the parts behind a bad one are received', 'stat/after-mismatch': 'the same',
    'upload/hash-sha256': 'known to Perkeep only since the end of 2025',
    'remove/post': 'in our words',
    'claim/upload-bad-signature': 'stored, and told as stored; it means nothing',
    'query/unknown-field': 'refused, as Perkeep does since the end of 2025',
    'query/sort-mod-asc': 'ours can do that',
    'query/after-vivify': 'this owner has no secret key here',
    'ooo/describe-after-late-target': _LATE, 'ooo/describe-older-claim-does-not-win': _LATE, 'ooo/describe-same-date': _LATE,
    'ooo/describe-set-empty': _LATE, 'ooo/describe-dup-add': _LATE, 'ooo/claims-tag-minutes-later': _LATE,
    'ooo/describe-del-all': 'of claims with one date the greater ref wins', 'ooo/describe-future': 'the same', 'ooo/describe-bad-date': 'the same',
    'signer2/query-after-foreign-delete': "a stranger cannot delete what is the owner's",
    'signer2/query-after-foreign-delete-2': "a stranger cannot delete what is the owner's",
    'vivify-auth/discovery': 'there is no password that may only write', 'vivify-auth/get-blob': 'the same',
    'vivify-auth/enumerate': 'the same', 'vivify-auth/stat': 'the same', 'vivify-auth/upload': 'the same',
    'deleted/recent-after-undelete': 'deleting moves no date'}


@pytest.fixture(scope='module')
def servers():
    "Servers by the name that the recording gives them, each with an empty store, made when first asked"
    made = {}
    def get(name):
        name = name.partition('(')[0]
        if name not in made:
            made[name] = serve(MemoryBlobs(), OWNER, auth=None if name in ('mem-none', 'mem-fresh') else ('alice', 'secret'))
        return made[name]
    yield get
    for s in made.values(): s.close()


def send(server, request):
    "Status, headers and body of the answer to a recorded request"
    u = urlsplit(server.url)
    line = http.client.HTTPConnection(u.hostname, u.port, timeout=30)
    try:
        line.request(request['method'], request['path'], body(request) or None, request['headers'])
        answer = line.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally: line.close()


def plain(x):
    "An answer without what is left open: empty lists of values may be there or not"
    if isinstance(x, dict): return {k: plain(v) for k, v in x.items() if v != []}
    return [plain(v) for v in x] if isinstance(x, list) else x


def known(server, x):
    "A recorded answer without blobs that are too large to be sent again here"
    if isinstance(x, list): return [known(server, v) for v in x if not (isinstance(v, dict) and (r := v.get('blobRef') or v.get('blob'))
                                                                       and server.store.size(r) is None)]
    return {k: known(server, v) for k, v in x.items()} if isinstance(x, dict) else x


def differences(server, e):
    "In what our answer differs from the recorded one"
    q, r = e['request'], e['response']
    status, headers, data = send(server, q)
    if status != r['status']: return f'status {status}, not {r["status"]}: {data[:300]}'
    theirs = {k.lower(): v for k, v in r['headers'].items()}
    for k in ('content-type', 'content-range', 'accept-ranges', 'location', 'access-control-allow-origin'):
        if headers.get(k, '') != theirs.get(k, '') and 'assemble' not in q['path'] and status not in (302, 401):
            return f'{k}: {headers.get(k)}, not {theirs.get(k)}'
    if r.get('long') or status == 302: return ''
    wanted = body(r)
    try: ours, wanted = json.loads(data), json.loads(wanted)
    except ValueError: return '' if data == wanted or b'camli.mode' in q['path'].encode() and b'"blobRoot"' in data else f'{data[:300]}'
    if not isinstance(wanted, dict): return '' if ours == wanted else f'{ours}'
    if 'blobRoot' in wanted:
        lost = {'blobRoot', 'searchRoot', 'jsonSignRoot', 'shareRoot', 'helpRoot', 'importerRoot', 'statusRoot', 'signing', 'authToken',
                'storageInitTime', 'thumbVersion', 'ownerName', 'userName', 'hasLegacySHA1Index'} - set(ours)
        return f'no {lost}' if lost or ours['signing'] != wanted['signing'] else ''
    if status == 500: return '' if set(ours) == set(wanted) and ours['errorType'] == wanted['errorType'] else f'{ours}'
    wanted, ours = plain(known(server, wanted)), plain(ours)
    for o in (wanted, ours):
        if isinstance(o.get('stat'), list): o['stat'].sort(key=lambda x: x['blobRef'])
    return '' if ours == wanted else f'{ours}'


@pytest.mark.parametrize('n', range(len(REPLAY)), ids=lambda n: f"{n}-{REPLAY[n]['label']}")
def test_answers_as_perkeep_does(servers, n):
    "Each request of the recording, in order; where ours means to differ, it does"
    e = REPLAY[n]
    signs = e['request']['path'].endswith('/sig/sign') and e['response']['status'] == 200 # whose key is not here
    differs = differences(servers(e['server']), e)
    assert bool(differs) == (e['label'] in DIFFERENT or signs), differs
    if DIFFERENT.get(e['label']) is _MORE and e['response']['status'] == 200: # apart from those two, the lists are the same
        server = servers(e['server'])
        ours, theirs = (listed_in(known(server, json.loads(data))) for data in (send(server, e['request'])[2], body(e['response'])))
        ours = [r for r in ours if r not in EXTRA]
        assert ours[:len(theirs)] == theirs[:len(ours)] and len(ours) >= len(theirs) - len(EXTRA)


def listed_in(answer):
    "The names in an answer"
    return [o.get('blobRef') or o['blob'] for o in answer['blobs'] or []]


# ---- what the reference gets wrong, and what the recording cannot show ----

def ask(url, method='GET', path='/', data=None, **headers):
    "Status, headers and body"
    u = urlsplit(url)
    line = http.client.HTTPConnection(u.hostname, u.port, timeout=60)
    try:
        line.request(method, path, data, {k.replace('_', '-'): v for k, v in headers.items()})
        answer = line.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally: line.close()


def multipart(*parts, end=True):
    "Headers and body of an upload of (name, bytes)"
    lines = [f'--cut\r\nContent-Disposition: form-data; name="{n}"; filename="{n}"\r\n\r\n'.encode() + d + b'\r\n' for n, d in parts]
    return dict(Content_Type='multipart/form-data; boundary=cut'), b''.join(lines)[:None if end else -9] + (b'--cut--\r\n' if end else b'')


BS = '/bs-and-maybe-also-index/camli/'


def upload(server, *parts, end=True):
    "The answer to an upload"
    headers, data = multipart(*parts, end=end)
    return json.loads(ask(server.url, 'POST', BS + 'upload', data, **headers)[2])


@pytest.fixture(params=['memory', 'disk'])
def server(request, tmp_path):
    store = MemoryBlobs() if request.param == 'memory' else DiskBlobs(tmp_path / 'blobs')
    with serve(store, KEY, removes=True) as s: yield s


def test_a_bad_part_takes_no_other_with_it(server):
    data = [os.urandom(100) for _ in range(9)]
    parts = [(ref_of(d), d) for d in data]
    big = bytes(16 * 2**20 + 1)
    parts[2], parts[4], parts[6] = (parts[2][0], b'else'), ('md5-' + '0' * 32, b'x'), (ref_of(big), big)
    got = upload(server, *parts)
    assert [o['blobRef'] for o in got['received']] == [parts[i][0] for i in (0, 1, 3, 5, 7, 8)]
    assert all(server.store.size(o['blobRef']) == 100 for o in got['received'])
    assert server.store.size(parts[2][0]) is None and server.store.size(parts[6][0]) is None
    for text in ("digest doesn't match", 'no registered hash function', 'over the limit of 16777216'): assert text in got['errorText']


def test_two_of_one_name_do_not_take_each_other_with_them(server):
    for good, bad in ((b'good', b'evil'), (b'other', b'!')):
        for parts in ((good, bad), (bad, good)):
            server.store.remove(ref_of(good))
            got = upload(server, *((ref_of(good), d) for d in parts))
            assert got['received'] == [dict(blobRef=ref_of(good), size=len(good))] and got['errorText'].count("digest doesn't match") == 1
        assert server.store.get(ref_of(good)) == good and server.index.known(ref_of(good))


def test_half_a_body_leaves_whole_parts_alone(server):
    a, b = os.urandom(1000), os.urandom(1000)
    got = upload(server, (ref_of(a), a), (ref_of(b), b), end=False)
    assert [o['blobRef'] for o in got['received']] == [ref_of(a)] and 'unexpected EOF' in got['errorText']
    assert server.store.size(ref_of(b)) is None


def test_an_upload_has_so_many_parts_at_most_and_loses_none_of_them():
    "What is told of parts does not grow without end; the answer comes, and the connection goes on"
    seen = []
    with serve(MemoryBlobs(), KEY) as server, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Upload, 'close', lambda up, close=Upload.close: (close(up), seen.append(up))[0])
        u = urlsplit(server.url)
        line = http.client.HTTPConnection(u.hostname, u.port)
        blobs = [b'%d' % i for i in range(MOST_PARTS - 10)]
        bad = [('foo-' + 'a' * 1800, b'')] * 10 # well formed, of a digest that nobody knows
        behind = [(ref_of(b'behind %d' % i), b'behind %d' % i) for i in range(5000)]
        head, data = multipart(*bad, *((ref_of(b), b) for b in blobs), *behind)
        pieces = (data[i:i + 100_000] for i in range(0, len(data), 100_000))
        line.request('POST', BS + 'upload', pieces, {'Content-Type': head['Content_Type']}, encode_chunked=True)
        answer = line.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200 and [o['blobRef'] for o in found['received']] == [ref_of(b) for b in blobs]
        assert f'{MOST_PARTS} parts at most' in found['errorText'] and len(found['errorText']) < 6000
        assert len(seen[0].errors) == 11 and not seen[0].pending
        assert [server.store.size(ref_of(b)) for b in blobs] == list(map(len, blobs))
        assert not any(server.store.size(ref) is not None for ref, _ in behind)
        line.request('GET', BS + ref_of(blobs[-1])) # the same connection
        assert line.getresponse().read() == blobs[-1]
        line.close()


def test_largest_blobs_and_requests(server):
    whole, parts = os.urandom(16 * 2**20), [os.urandom(12 * 2**20) for _ in range(3)]
    assert ask(server.url, 'PUT', BS + ref_of(whole), whole)[0] == 204
    assert ask(server.url, 'PUT', BS + ref_of(whole + b'1'), whole + b'1')[0] == 400
    assert len(upload(server, *((ref_of(p), p) for p in parts))['received']) == 3
    assert ask(server.url, 'HEAD', BS + ref_of(whole))[1]['content-length'] == str(len(whole))
    assert ask(server.url, path=BS + ref_of(whole), Range='bytes=5-9')[2] == whole[5:10]
    assert ask(server.url, path=BS + ref_of(whole))[2] == whole
    names = {f'blob{i}': ref_of(b'%d' % i) for i in range(1, 1002)}
    form = dict(Content_Type='application/x-www-form-urlencoded')
    assert ask(server.url, 'POST', BS + 'stat', urlencode({'camliversion': 1} | names), **form)[0] == 400
    del names['blob1001']
    assert ask(server.url, 'POST', BS + 'stat', urlencode({'camliversion': 1} | names), **form)[0] == 200


CONFIG = 'text/x-camli-configuration'


@pytest.mark.parametrize('path', ['/', '/bs-and-maybe-also-index/', '/bs/', '/my-search/', '/sighelper/', '/nothing/here', BS + 'enumerate-blobs'])
def test_discovery_is_answered_at_any_address(server, path):
    "`pk list` and `pk sync` ask at the blob root; Perkeep's client takes no other type than the bare one"
    for more, head in (('', dict(Accept=CONFIG)), ('?camli.mode=config', {})):
        status, headers, data = ask(server.url, path=path + more, **head)
        assert (status, headers['content-type']) == (200, 'text/javascript')
        says = json.loads(data)
        assert data.startswith(b'{\n  "') and data.endswith(b'\n}')
        assert {'blobRoot', 'searchRoot', 'jsonSignRoot', 'shareRoot', 'helpRoot', 'importerRoot', 'statusRoot'} <= says.keys()
        assert says['helpRoot'] == '' and says['blobRoot'].endswith('/')
        assert says['signing']['publicKeyBlobRef'] == KEY.public.ref and says['authToken'] == 'OmitAuthToken'
        assert ask(server.url, 'HEAD', path + more, **head)[0] == 200
    assert ask(server.url, path='/nothing/here', Accept=f'{CONFIG}, */*')[0] == 404


def test_discovery_for_scripts(server):
    found = ask(server.url, path='/?camli.mode=config&cb=a.b')[2].decode()
    assert found.startswith('a.b({') and found.endswith('})')
    assert ask(server.url, path='/?camli.mode=config&var=x')[2].decode().startswith('x = {')
    assert ask(server.url, path='/?camli.mode=config&cb=alert(1)//')[2].startswith(b'{'), 'a name, or nothing'


def test_a_page_cannot_use_the_password_that_a_browser_knows():
    "A browser adds a password that it was told once to whatever a page has it fetch or send"
    knows = dict(Authorization='Basic ' + base64.b64encode(b'anna:secret').decode())
    with serve(MemoryBlobs(), KEY, auth=('anna', 'secret'), removes=True) as s:
        headers, data = multipart((ref_of(b'evil'), b'evil'))
        for origin in ('https://evil.example', 'null'):
            for path in (BS + 'upload', BS + 'remove', '/sighelper/camli/sig/sign', '/my-search/camli/search/query'):
                assert ask(s.url, 'POST', path, data, **headers, **knows, Origin=origin)[0] == 403
        assert s.store.size(ref_of(b'evil')) is None
        for script in ('cb=x', 'var=x'):
            status, _, text = ask(s.url, path=f'/?camli.mode=config&{script}', **knows)
            assert status == 200 and text.startswith(b'x') and s.app.access.session.encode() not in text
        assert ask(s.url, 'POST', BS + 'upload', data, **headers, **knows, Origin=s.url.rstrip('/'))[0] == 200 # a page of its own


def test_the_token_of_discovery_lets_in_and_only_that(tmp_path):
    with serve(MemoryBlobs(), KEY, auth=('anna', 'secret')) as s:
        with connect(s.url, auth=('anna', 'secret')) as conn:
            says = conn.http_session.get(s.url, params={'camli.mode': 'config'}).json()
        assert re.fullmatch('[0-9a-f]{40}', says['authToken'])
        assert ask(s.url, path=BS + 'enumerate-blobs', Authorization=f'Token {says["authToken"]}')[0] == 200
        assert ask(s.url, path=BS + 'enumerate-blobs', Authorization='Token ' + '0' * 40)[0] == 401


def test_a_claim_with_a_wrong_signature_is_kept_and_means_nothing(server):
    "Perkeep says that it is not stored, and stores it"
    node = ref_of(blob := new_permanode(KEY))
    upload(server, (node, blob), (ref_of(good := set_attribute(KEY, node, 'title', 'good')), good))
    bad = set_attribute(KEY, node, 'title', 'evil!').replace(b'evil!', b'wrong')
    got = upload(server, (ref_of(bad), bad))
    assert [o['blobRef'] for o in got['received']] == [ref_of(bad)] and 'errorText' not in got
    assert ask(server.url, path=BS + ref_of(bad))[2] == bad
    with connect(server.url) as conn:
        assert conn.searcher.describe_blob(node).attributes == dict(title=['good'])
        assert [c.value for c in conn.searcher.get_claims_for_permanode(node)] == ['good']


def test_a_deletion_may_come_before_what_it_deletes(server, tmp_path):
    "In any order, and after a start from nothing, the state is one; Perkeep applies such a deletion when it is started again"
    node = ref_of(blob := new_permanode(KEY))
    tag = set_attribute(KEY, node, 'tag', 'x', at='2020-01-01T00:00:00Z')
    for each in (delete(KEY, ref_of(tag)), tag, blob): upload(server, (ref_of(each), each))
    with connect(server.url) as conn:
        assert conn.searcher.describe_blob(node).attributes == {} and list(conn.searcher.query('tag:x')) == []
    with serve(server.store, KEY) as again, connect(again.url) as conn:
        assert conn.searcher.describe_blob(node).attributes == {} and list(conn.searcher.query('tag:x')) == []


def test_a_stranger_deletes_nothing(server):
    other, node = new_signing_key(1024), ref_of(blob := new_permanode(KEY))
    claim = set_attribute(KEY, node, 'title', 'mine')
    for each in (blob, claim, other.public.blob, delete(other, node), delete(other, ref_of(claim)), set_attribute(other, node, 'title', 'yours')):
        upload(server, (ref_of(each), each))
    with connect(server.url) as conn:
        assert [r.blobref for r in conn.searcher.query('title:mine')] == [node]
        assert conn.searcher.describe_blob(node).attributes == dict(title=['mine'])


def test_listing_and_waiting(server):
    refs = sorted(server.store.put(b'%d' % i) for i in range(5))
    refs = sorted([*refs, KEY.public.ref])
    def page(query): return json.loads(ask(server.url, path=BS + 'enumerate-blobs?' + query)[2])
    assert [o['blobRef'] for o in page('maxwaitsec=1&limit=2')['blobs']] == refs[:2] # at once, as the document says
    assert page('limit=6')['continueAfter'] == refs[-1] and 'continueAfter' not in page('limit=7')
    assert page('after=' + refs[-1])['blobs'] == []
    late, start = b'late', time.monotonic()
    threading.Timer(.3, lambda: ask(server.url, 'PUT', BS + ref_of(late), late)).start()
    got = json.loads(ask(server.url, path=BS + f'stat?camliversion=1&maxwaitsec=30&blob1={ref_of(late)}')[2])
    assert got['stat'] == [dict(blobRef=ref_of(late), size=4)] and time.monotonic() - start < 25


def test_our_client_sees_a_store_that_keeps_every_promise(tmp_path):
    made = []
    def make():
        made.append(serve(DiskBlobs(tmp_path / str(len(made))), KEY, removes=True))
        RemoteBlobs(connect(made[-1].url)).remove(KEY.public.ref) # an empty one
        return RemoteBlobs(connect(made[-1].url))
    try: check_blobs(make)
    finally:
        for s in made: s.close()


def test_signs_and_verifies(server):
    text = schema_text(dict(camliType='permanode', camliSigner=KEY.public.ref, random='x'))
    form = dict(Content_Type='application/x-www-form-urlencoded')
    status, headers, signed = ask(server.url, 'POST', '/sighelper/camli/sig/sign', urlencode(dict(json=text)), **form)
    assert status == 200 and signed.startswith(text[:-1].encode()) and signed.endswith(b'"}\n')
    def verify(data): return json.loads(ask(server.url, 'POST', '/sighelper/camli/sig/verify', urlencode(dict(sjson=data)), **form)[2])
    assert verify(signed)['signerKeyId'] == KEY.public.key_id and verify(signed)['verifiedData']['random'] == 'x'
    assert verify(signed.replace(b'"x"', b'"y"')) == dict(signatureValid=False, errorMessage='signature verification failed')
    other = new_signing_key(1024)
    assert verify(sign_text(text.replace(KEY.public.ref, other.public.ref), other))['errorMessage'] == 'key blob not found'


def test_what_the_server_signs_has_the_date_that_it_claims(server):
    "So a planned permanode is found again, by our own key as by the server's"
    at = '2019-05-06T07:08:09Z'
    with connect(server.url) as one, connect(server.url) as two:
        refs = {c.permanode(name='the thing', at=at).ref for c in (one, two)} | {ref_of(planned_permanode(KEY, 'the thing', at))}
        assert len(refs) == 1
        start = int(time.time())
        fresh = read_signed(one.blobs.get(one.permanode().ref).data, server.store.get)
        assert start <= fresh.created <= time.time()


def test_many_blobs_come_in_one_answer(server):
    blobs = [Blob(os.urandom(100)) for _ in range(50)]
    with connect(server.url) as conn:
        conn.blobs.put_multi(*blobs)
        asked = []
        conn.http_session.hooks['response'].append(lambda r, *a, **kw: asked.append(r.url))
        got = conn.blobs.get_multi(*[b.blobref for b in blobs], ref_of(b'nowhere'))
        assert [got[b.blobref].data for b in blobs] == [b.data for b in blobs] and got[ref_of(b'nowhere')] is None
        assert len(asked) == 1


def test_shares_end_when_the_owner_says_so(server):
    other, put = new_signing_key(1024), lambda d: (upload(server, (ref_of(d), d)), ref_of(d))[1]
    put(other.public.blob)
    file = put_file(server.store, b'a secret text', 'x.txt')
    for r in server.store.refs(): server.index.add(r)
    chunk = ref_of(b'a secret text')
    deep, flat, theirs = (put(share(k, file, t)) for k, t in ((KEY, True), (KEY, False), (other, True)))
    old = put(share(KEY, file, True, expires='2020-01-01T00:00:00Z', at='2019-01-01T00:00:00Z'))
    def status(ref, *via, more=''): return ask(server.url, path=f'/share/{ref}?via={",".join(via)}{more}')[0]
    assert [status(deep), status(file, deep), status(chunk, deep, file), status(file, deep, more='&assemble=1')] == [200] * 4
    assert [status(flat), status(file, flat), status(chunk, flat, file), status(file, flat, more='&assemble=1')] == [200, 200, 401, 401]
    start = time.monotonic()
    assert status(file) == 401 and time.monotonic() - start >= .19, 'a refusal does not tell, by being quick, that there is nothing'
    assert [status(theirs), status(file, theirs), status(old), status(chunk, deep), status(KEY.public.ref, deep), status(file)] == [401] * 6
    got = ask(server.url, path=f'/share/{file}?via={deep}&assemble=1')
    assert got[2] == b'a secret text' and got[1]['content-security-policy'] == 'sandbox'
    put(delete(other, deep)) # by a stranger: nothing
    assert status(file, deep) == 200
    put(delete(KEY, deep))
    assert status(file, deep) == 401


class Counting(MemoryBlobs):
    "It counts how often a blob is read"
    asked = 0
    def get(self, ref):
        self.asked += 1
        return super().get(ref)


def shared_file(store, data, **more):
    "A server with a file of these bytes, the path of a share of it, and the names of its chunks"
    file = put_file(store, data, 'x.bin')
    way = store.put(share(KEY, file, True))
    chunks = sorted((r for r in store.refs() if r not in (file, way)), key=lambda r: data.find(store.d[r]))
    return serve(store, KEY, **more), f'/share/{file}?via={way}&assemble=1', [r for r in chunks if data.find(store.d[r]) >= 0]


def test_for_who_hangs_up_in_a_download_nothing_more_is_read():
    server, path, chunks = shared_file(store := Counting(), os.urandom(64 * 2**20))
    with server as s:
        store.asked = 0
        line = http.client.HTTPConnection(urlsplit(s.url).hostname, urlsplit(s.url).port)
        line.request('GET', path)
        answer = line.getresponse()
        assert answer.status == 200 and len(answer.read(1000)) == 1000
        answer.close()
        line.close()
        wait_for(lambda: not s.server.server_state.tasks)
        assert 0 < store.asked < len(chunks) / 2


def test_damage_is_told_to_the_owner_wherever_it_is_met():
    lines = []
    server, path, chunks = shared_file(store := MemoryBlobs(), data := os.urandom(2**20), log=lines.append)
    with server as s:
        store.d[chunks[-1]] = b'rubbish' # what went before is on its way
        with pytest.raises(http.client.IncompleteRead) as got: ask(s.url, path=path)
        assert data.startswith(got.value.partial) and [chunks[-1] in line for line in lines] == [True]
        file, way = path.removeprefix('/share/').removesuffix('&assemble=1').split('?via=')
        store.d[file] = b'rubbish' # a stranger is told nothing
        assert ask(s.url, path=f'/share/{file}?via={way}')[0] == 401
        assert [f'blob {file} is damaged' in line for line in lines] == [False, True]


def test_a_share_ends_though_the_index_missed_that(server):
    "The blob is kept when the index fails; the next question makes up for it, also that of a stranger"
    def put(d):
        upload(server, (ref_of(d), d))
        return ref_of(d)
    deep = put(share(KEY, put(b'a secret text'), True))
    assert ask(server.url, path=f'/share/{ref_of(b"a secret text")}?via={deep}')[0] == 200
    def fail(*args): raise Unavailable('no room for the index')
    server.index.add = fail
    put(delete(KEY, deep))
    del server.index.add
    assert ask(server.url, path=f'/share/{ref_of(b"a secret text")}?via={deep}')[0] == 401


def test_no_blob_keeps_a_server_from_answering_or_from_starting_again(tmp_path):
    "JSON deeper than a stack, files of holes without end and of sizes that no table holds, lists of nothing"
    def schema(kind, rest): return b'{"camliVersion": 1, "camliType": "%b", %b}' % (kind, rest)
    def deep(n): return schema(b'claim', b'"x\\ud800": ' + b'[' * n + b']' * n)
    parts = json.dumps([dict(size=(1 << 62) - 1)] * 5).encode()
    endless = schema(b'bytes', b'"parts": ' + parts)
    small = schema(b'file', b'"parts": [{"size": 9, "bytesRef": "%b"}]' % ref_of(endless).encode()) # which is nine zeros
    poison = [*map(deep, (300, 500, 900, 5000, 100_000)), endless, small, schema(b'file', b'"parts": ' + parts), schema(b'directory', b'"entries": "%b"' % ref_of(b'').encode()),
              b'', schema(b'static-set', b'"mergeSets": [[]]')]
    for _ in range(2):
        with serve(DiskBlobs(tmp_path / 's'), KEY, index=tmp_path / 'index') as s, connect(s.url) as conn:
            conn.blobs.put_multi(*map(Blob, poison))
            assert [r.blobref for r in conn.searcher.query(constraint={'file': {'fileSize': {'min': 1}}})] == [ref_of(small)]
    with serve(DiskBlobs(tmp_path / 's'), KEY) as s: assert s.index.count('blob') == len(poison) + 1


def test_vivify_makes_a_permanode_that_is_found_again(server):
    chunk = b'some bytes'
    blob = schema_text(dict(camliType='file', fileName='x', parts=[dict(blobRef=ref_of(chunk), size=10)], unixMtime='2019-05-06T07:08:09Z')).encode()
    upload(server, (ref_of(chunk), chunk))
    headers, data = multipart((ref_of(blob), blob))
    for _ in range(2): assert ask(server.url, 'POST', BS + 'upload', data, **headers, X_Camlistore_Vivify='1')[1]['x-camlistore-vivified'] == ref_of(blob)
    with connect(server.url) as conn: assert len(conn.searcher.query(constraint=dict(permanode=dict(attr='camliContent', value=ref_of(blob))))) == 1


def test_removing_is_for_those_who_were_told_so(tmp_path):
    with serve(MemoryBlobs(), KEY) as s:
        ref = s.store.put(b'x')
        assert ask(s.url, 'POST', BS + 'remove', f'blob1={ref}')[0] == 403 and s.store.size(ref) == 1
    with serve(MemoryBlobs(), KEY, removes=True) as s:
        ref, before = s.store.put(b'x'), s.index.generation
        s.index.add(ref)
        assert json.loads(ask(s.url, 'POST', BS + 'remove', f'blob1={ref}')[2])['removed'] == [ref] and s.store.size(ref) is None
        assert not s.index.known(ref) and s.index.generation != before


@pytest.mark.parametrize('how', ['password', 'token'])
def test_strangers_stay_outside(how):
    right = dict(auth=('anna', 'sécret')) if how == 'password' else dict(token='s3cret')
    wrong = [{}, dict(auth=('anna', 'x')), dict(auth=('bob', 'sécret')), dict(token='x')]
    with serve(MemoryBlobs(), KEY, ip='0.0.0.0', **right) as s:
        url = s.url.replace('0.0.0.0', '127.0.0.1')
        with connect(url, **right) as conn: ref = conn.blobs.put(Blob(b'x'))
        for w in wrong:
            with pytest.raises(AuthenticationError): connect(url, **w)
        for method, path in [('GET', BS + ref), ('POST', BS + 'upload'), ('GET', '/my-search/camli/search/recent'), ('POST', BS + 'stat'),
                             ('POST', '/sighelper/camli/sig/sign'), ('GET', '/sighelper/camli/sig/discovery'), ('PUT', BS + ref), ('GET', '/nope'),
                             ('POST', BS + 'remove'), ('POST', BS + 'batch-get'), ('GET', BS + 'enumerate-blobs')]:
            assert ask(url, method, path)[0] == 401, path
        assert 'secret' not in repr(s.app.access) and 'sécret' not in repr(vars(s)['url'])


def test_pages_of_other_sites_reach_nothing(server):
    headers, data = multipart((ref_of(b'evil'), b'evil'))
    assert ask(server.url, 'POST', BS + 'upload', data, **headers, Origin='https://evil.example')[0] == 403
    assert ask(server.url, 'POST', BS + 'upload', data, **headers, Origin='null')[0] == 403
    assert ask(server.url, path=BS + 'enumerate-blobs', Host='evil.example')[0] == 403
    assert server.store.size(ref_of(b'evil')) is None


def test_names_from_outside_reach_no_file(server, tmp_path):
    for name in ('../../../etc/passwd', '..%2f..%2fetc%2fpasswd', 'sha224-../x', '%00', 'sha224-' + 'g' * 56):
        assert ask(server.url, path=BS + quote(name, safe='%/'))[0] in (400, 404)
        assert ask(server.url, 'PUT', BS + quote(name, safe='%/'), b'x')[0] == 400
    assert upload(server, ('../x', b'x'))['received'] == []


@pytest.mark.parametrize('what', [b'', b'--cut', b'--cut\r\n\r\n', b'\xff' * 5000, b'--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--\r\n'])
def test_rubbish_is_answered(server, what):
    status, _, data = ask(server.url, 'POST', BS + 'upload', what, Content_Type='multipart/form-data; boundary=cut')
    assert status in (200, 400)
    if status == 200: assert json.loads(data)['received'] == []


# ---- the process ----

class Process:
    "`pymemri serve-blobs` on a folder"
    def __init__(self, folder, env, *words):
        args = [sys.executable, '-c', 'from pymemri.cli import main; raise SystemExit(main())', 'serve-blobs', '--port=0', f'--folder={folder}', *words]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
        self.line = self.process.stdout.readline()
        found = re.search(r'http://\S+/', self.line)
        self.url = found[0] if found else ''
    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def env(clean_env, tmp_path):
    keep_identity(KEY, tmp_path / 'home' / 'blobs' / 'identity-secring.gpg')
    return clean_env | {'PYMEMRI_HOME': str(tmp_path / 'home')}


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_one_line_and_a_clean_end(tmp_path, env, how):
    (tmp_path / 'token').write_text('s3cret\n')
    server = Process(tmp_path / 'blobs', env, f'--token-file={tmp_path / "token"}')
    assert server.line.startswith('Blob server on http://127.0.0.1:') and KEY.public.key_id in server.line and 's3cret' not in server.line
    with connect(server.url, token='s3cret') as conn: node = conn.permanode(attributes=dict(title='kept')).ref
    assert server.end(how) == (0, '', '')
    server = Process(tmp_path / 'blobs', env, f'--token-file={tmp_path / "token"}')
    with connect(server.url, token='s3cret') as conn: assert [r.blobref for r in conn.searcher.query('title:kept')] == [node]
    assert server.end(how)[0] == 0


def test_needs_a_password_beyond_this_machine(tmp_path, env):
    server = Process(tmp_path / 'blobs', env, '--address=0.0.0.0')
    assert server.process.wait(60) == 1 and 'needs a password or a token' in server.process.stderr.read()


def test_what_is_no_port_is_named(tmp_path, env):
    server = Process(tmp_path / 'blobs', env, '--port=70000')
    assert server.process.wait() == 1
    assert (said := server.process.stderr.read()).endswith('70000 is not a port: a number up to 65535\n') and 'Traceback' not in said


@pytest.mark.parametrize('seed', range(3))
def test_killed_during_uploads_it_has_what_it_said_and_no_half_blob(tmp_path, env, seed):
    server, told, sent = Process(tmp_path / 'blobs', env), [], {}
    def send():
        while True:
            blobs = {ref_of(d): d for d in (os.urandom(1000 + seed * 20_000) for _ in range(30))}
            claim = set_attribute(KEY, node, 'title', f't{len(told)}')
            sent.update(blobs | {ref_of(claim): claim})
            try: told.extend(o['blobRef'] for o in upload(server, *blobs.items(), (ref_of(claim), claim))['received'])
            except (OSError, http.client.HTTPException, ValueError): return
    node = ref_of(blob := new_permanode(KEY))
    upload(server, (node, blob))
    threads = [threading.Thread(target=send) for _ in range(3)]
    for t in threads: t.start()
    while len(told) < 100: time.sleep(.01)
    time.sleep(.05 * seed)
    server.end(signal.SIGKILL)
    for t in threads: t.join()
    store = DiskBlobs(tmp_path / 'blobs')
    for r in told: assert store.get(r) == sent[r]
    assert list((tmp_path / 'blobs' / 'new').iterdir()) == []
    for r in store.refs(): store.get(r) # whole, or `Damaged`
    server = Process(tmp_path / 'blobs', env)
    with connect(server.url) as conn: claims = {c.blobref for c in conn.searcher.get_claims_for_permanode(node)}
    assert {r for r in told if b'set-attribute' in sent[r][:1000] and sent[r].startswith(b'{')} <= claims
    assert server.end()[0] == 0

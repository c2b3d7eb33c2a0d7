"""Section 9: uploads with their checks in order, who gets the key, and downloads"""
import hashlib, json, os, re
from urllib.parse import quote

import pytest

from .conftest import KEY, bare, check_failure, check_miss

CONTENT = b'some content\n'
SHA = hashlib.sha256(CONTENT).hexdigest()
NO_FILE = 'Failure: Failed to read data from target file, No such file or directory (os error 2)'


def made(pod, sha256=SHA, **item): return pod.make('File', sha256=sha256, **item)
def fetch(pod, sha256=SHA): return pod.post('get_file', {'sha256': sha256})


def uploaded(reply):
    assert (reply.status, reply.data) == (200, b'{}'), reply
    assert reply.headers['content-type'] == 'application/json' and reply.headers['access-control-allow-origin'] == '*'


def upload_b(pod, auth, sha256=SHA, data=CONTENT, safe=''):
    text = auth if isinstance(auth, str) else quote(json.dumps(auth), safe=safe)
    return pod.server.send('POST', f'/{pod.wire}/{pod.owner}/upload_file_b/{text}/{sha256}', data)


def test_up_and_down(pod):
    made(pod, id='file-1', dateModified=5)
    before = pod.get('file-1')
    uploaded(pod.upload(SHA, CONTENT))
    reply = fetch(pod)
    assert (reply.status, reply.data) == (200, CONTENT)
    assert reply.headers['content-type'] == 'application/octet-stream'
    assert reply.headers['access-control-allow-origin'] == '*'
    for name in ('etag', 'cache-control', 'last-modified', 'accept-ranges',
        'content-range'): assert reply.headers[name] is None
    item = pod.get('file-1')
    assert re.fullmatch('[0-9a-f]{64}', item.pop('key')) and re.fullmatch('[0-9a-f]{48}', item.pop('nonce'))
    assert item == before


@pytest.mark.parametrize('size', [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_sizes(pod, size):
    data = os.urandom(size)
    sha = hashlib.sha256(data).hexdigest()
    made(pod, sha)
    uploaded(pod.upload(sha, data))
    assert fetch(pod, sha).data == data


def test_a_range_is_not_looked_at(pod):
    made(pod)
    uploaded(pod.upload(SHA, CONTENT))
    reply = pod.post('get_file', {'sha256': SHA}, headers={'Range': 'bytes=0-3'})
    assert (reply.status, reply.data) == (200, CONTENT)


def test_every_item_with_the_digest_gets_the_key(pod):
    pod.define(other='Text')
    ids = [made(pod), pod.make('Photo', sha256=SHA), made(pod, deleted=True)]
    stranger, unlike = made(pod, '0' * 64), pod.make(other=SHA)
    uploaded(pod.upload(SHA, CONTENT))
    assert len({(pod.get(i)['key'], pod.get(i)['nonce']) for i in ids}) == 1
    assert 'key' not in pod.get(stranger) and 'key' not in pod.get(unlike)
    assert 'key' not in pod.get(made(pod))
    assert fetch(pod).data == CONTENT


def test_each_file_has_a_key_of_its_own(pod_server):
    keys = set()
    for _ in range(2):
        pod = pod_server.pod()
        made(pod, id='file-1')
        uploaded(pod.upload(SHA, CONTENT))
        keys.add((pod.get('file-1')['key'], pod.get('file-1')['nonce']))
    assert len(keys) == 2


def test_a_file_that_is_there_is_409_before_anything_is_hashed(pod):
    made(pod)
    uploaded(pod.upload(SHA, CONTENT))
    for data in (CONTENT, b'other', b''):
        assert check_failure(pod.upload(SHA, data), 409) == 'Failure: File already exists'
    assert fetch(pod).data == CONTENT


def test_the_digest_before_the_item(pod):
    calculated = hashlib.sha256(b'other').hexdigest()
    for _ in range(2):
        assert check_failure(pod.upload(SHA, b'other'),
            400) == f'Failure: Expected file sha256 hash differs from calculated {calculated}'
        assert pod.ids(type='File') == [] or made(pod)
        made(pod)
    uploaded(pod.upload(SHA, CONTENT))


def test_no_item(pod):
    assert check_failure(pod.upload(SHA, CONTENT), 404) == f'Failure: Item with sha256 {SHA} not found in database'
    assert fetch(pod).text == NO_FILE
    pod.define(other='Text')
    pod.make(other=SHA)
    check_failure(pod.upload(SHA, CONTENT), 404)


@pytest.mark.parametrize('sha, status, text', [
    ('z' * 64, 500, "Failure: Error converting from hex, Invalid character 'z' at position 0"),
    ('0' * 63 + 'g', 500, "Invalid character 'g' at position 63"), ('0' * 63, 500, 'Odd number of digits'),
    ('0' * 65, 500, 'Error converting from hex'), ('x', 500, 'Error converting from hex'),
    ('%30%30', 500, "Invalid character '%' at position 0"), ('..', 500, "Invalid character '.' at position 0"),
    ('00', 400, 'Expected file sha256 hash differs from calculated ' + SHA),
    ('0' * 128, 400, 'differs from calculated'), ('0' * 64, 400, 'differs from calculated ' + SHA)])
def test_digests_of_a_bad_form(pod, sha, status, text):
    check_failure(pod.upload(sha, CONTENT), status, text)
    if '%' not in sha: made(pod, sha)
    check_failure(pod.upload(sha, CONTENT), status, text)


@pytest.mark.parametrize('mark', [{'key': '00' * 32, 'nonce': '00' * 24}, {'key': 'x'}, {'nonce': ''}])
def test_an_item_that_has_a_key_already(pod, mark):
    id = made(pod, **mark)
    check_failure(pod.upload(SHA, b'other'), 400, 'differs from calculated')
    check_failure(pod.upload(SHA, CONTENT), 500, 'UNIQUE constraint failed: strings.item, strings.name')
    made(pod)
    check_failure(pod.upload(SHA, CONTENT), 500, 'UNIQUE constraint failed: strings.item, strings.name')
    assert {k: v for k, v in pod.get(id).items() if k in mark} == mark
    assert fetch(pod).text == NO_FILE


def test_capitals(pod):
    "The digest of an item is compared as it is spelled, though capitals are hex too"
    upper = SHA.upper()
    assert upper != SHA
    made(pod, id='file-1')
    check_failure(pod.upload(upper, CONTENT), 404, f'Item with sha256 {upper} not found in database')
    check_failure(pod.upload(upper, b'other'), 400, 'differs from calculated')
    assert fetch(pod, upper).text == NO_FILE
    made(pod, upper, id='file-2')
    uploaded(pod.upload(upper, CONTENT))
    assert fetch(pod, upper).data == CONTENT
    assert len(pod.get('file-2')['key']) == 64
    check_failure(pod.upload(upper, CONTENT), 409)


def test_each_spelling_is_a_file_of_its_own(pod):
    upper, mixed = SHA.upper(), SHA[:32].upper() + SHA[32:]
    made(pod, id='file-1')
    uploaded(pod.upload(SHA, CONTENT))
    for other in (upper, mixed):
        check_failure(pod.upload(other, b'other'), 400, 'differs from calculated')
        check_failure(pod.upload(other, CONTENT), 404, f'Item with sha256 {other} not found in database')
        assert fetch(pod, other).text == NO_FILE
    made(pod, upper, id='file-2')
    assert fetch(pod, upper).text == NO_FILE and 'key' not in pod.get('file-2')
    uploaded(pod.upload(upper, CONTENT))
    check_failure(pod.upload(upper, CONTENT), 409)
    assert fetch(pod, upper).data == fetch(pod).data == CONTENT
    assert pod.get('file-1')['key'] == pod.get('file-2')['key']  # the same bytes are stored once
    assert fetch(pod, mixed).text == NO_FILE


def test_uploaded_in_capitals_and_asked_for_in_small_letters(pod):
    made(pod, SHA.upper())
    uploaded(pod.upload(SHA.upper(), CONTENT))
    assert fetch(pod, SHA).text == NO_FILE


def test_the_key_is_checked_first(pod):
    for key in ('1_1', '-', '%31'): check_failure(pod.upload('zz', CONTENT, key=key), 400,
        'Failure: Invalid database key character')
    assert not pod.exists()
    check_miss(pod.upload(SHA, CONTENT, key=''))
    made(pod)
    check_failure(pod.upload(SHA, CONTENT, key='AB' * 32), 500, 'not a database')
    uploaded(pod.upload(SHA, CONTENT, key=KEY.lower()))


def test_trailing_slash_and_query(pod):
    made(pod)
    uploaded(pod.upload(SHA + '/?x=1', CONTENT))


@pytest.mark.parametrize('safe', ['', '{}":,', '"'])
def test_who_asks_as_json_in_the_path(pod, safe):
    made(pod)
    uploaded(upload_b(pod, {'type': 'ClientAuth', 'databaseKey': KEY, 'more': ' /?%é'}, safe=safe))
    check_failure(upload_b(pod, {'type': 'ClientAuth', 'databaseKey': KEY}), 409, 'File already exists')


def test_the_way_for_the_empty_key(pod_server):
    pod = pod_server.pod(key='')
    made(pod)
    uploaded(upload_b(pod, {'type': 'ClientAuth', 'databaseKey': ''}))
    assert fetch(pod).data == CONTENT


@pytest.mark.parametrize('auth, status, text', [
    ('%ff', 400, 'Failure: Failed to decode UTF-8 authorization JSON, '),
    ('%ED%A0%80', 400, 'Failed to decode UTF-8 authorization JSON'), ('x', 400, 'Failure: JSON formatting error '),
    ('%7B', 400, 'JSON formatting error'), ('%7B%7D', 400, 'Failure: JSON formatting error missing field `type`'),
    ({'type': 'ClientAuth', 'databaseKey': 5}, 400, 'Failure: JSON formatting error invalid type: integer `5`'),
    ('null', 400, 'JSON formatting error'), ('%5B%5D', 400, 'JSON formatting error'),
    ({'type': 'NoAuth'}, 400, 'unknown variant `NoAuth`, expected `PluginAuth` or `ClientAuth`'),
    ({'type': 'ClientAuth'}, 400, 'missing field `databaseKey`'), ({'databaseKey': ''}, 400, 'missing field `type`'),
    (quote(json.dumps({'type': 'ClientAuth', 'databaseKey': ''}) + ' x', safe=''), 400, 'JSON formatting error'),
    (quote('{"type":"ClientAuth","databaseKey":"","databaseKey":""}', safe=''), 400, 'JSON formatting error'),
    ({'type': 'ClientAuth', 'databaseKey': '1-1'}, 400, 'Invalid database key character'),
    ({'type': 'PluginAuth'}, 400, 'missing field `data`'),
    ({'type': 'PluginAuth', 'data': {'nonce': '00', 'encryptedPermissions': ''}}, 400,
    'PluginAuth nonce should be 48 hex characters'),
    ({'type': 'PluginAuth', 'data': {'nonce': 'q' * 48, 'encryptedPermissions': ''}}, 500, 'Error converting from hex'),
    ({'type': 'PluginAuth', 'data': {'nonce': '0' * 48, 'encryptedPermissions': '0' * 96}}, 500,
    'Error in symmetric encryption cypher, aead::Error')])
def test_bad_json_in_the_path(pod, auth, status, text):
    check_failure(upload_b(pod, auth), status, text)
    check_failure(upload_b(pod, auth, 'zz'), status, text)
    assert not pod.exists()


@pytest.mark.parametrize('sha', ['0' * 64, SHA, '', 'x', '../pod.db', '../../pod.db', '..', '/etc/passwd', '0' * 63,
    'z' * 64, SHA + '\x00', SHA + '/', '\x00', 'é' * 64, 'x' * 100_000])
def test_files_that_are_not_there(pod, sha):
    for _ in range(2):
        assert check_failure(fetch(pod, sha), 500) == NO_FILE
        if sha: made(pod, sha)


def test_a_file_whose_items_are_gone(pod):
    made(pod, id='file-1')
    uploaded(pod.upload(SHA, CONTENT))
    pod.ok('delete_item', 'file-1')
    assert fetch(pod).data == CONTENT
    pod.ok('update_item', {'id': 'file-1', 'sha256': '0' * 64})
    assert check_failure(fetch(pod), 404) == f'Failure: Item with sha256={SHA} not found'
    check_failure(pod.upload(SHA, CONTENT), 409, 'File already exists')
    made(pod)
    check_failure(fetch(pod), 500)


@pytest.mark.parametrize('nonce', [None, '', 'zz', '0' * 48, '0' * 47, 'x' * 10_000])
def test_a_nonce_that_was_changed(pod, nonce):
    made(pod, id='file-1')
    uploaded(pod.upload(SHA, CONTENT))
    true = pod.get('file-1')['nonce']
    pod.ok('update_item', {'id': 'file-1', 'nonce': nonce})
    check_failure(fetch(pod), 500)
    pod.ok('update_item', {'id': 'file-1', 'nonce': true})
    assert fetch(pod).data == CONTENT


def test_files_of_owners_are_apart(pod_server):
    a, b = pod_server.pod(), pod_server.pod()
    made(a)
    uploaded(a.upload(SHA, CONTENT))
    assert fetch(b).text == NO_FILE
    made(b)
    assert fetch(b).text == NO_FILE
    check_failure(a.post('get_file', {'sha256': SHA}, key='AB' * 32), 500, 'not a database')


def test_an_upload_or_a_download_makes_a_pod(pod_server):
    for f in (lambda p: p.upload(SHA, CONTENT), fetch):
        pod = pod_server.pod()
        f(pod)
        assert pod.exists() and len(pod.find()) == 14

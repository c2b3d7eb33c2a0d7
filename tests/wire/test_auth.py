"""Sections 3.2 and 5: the key of a database, its spelling, and the boxes of plugins"""
import hashlib, json
from urllib.parse import quote

import pytest

from pymemri.server.serve import Served

from .conftest import KEY, PodServer, body_of, check_failure

NONCE, BOX = '0' * 48, '0' * 96


@pytest.mark.parametrize('key', [
    '12-34', ' ', 'a b', 'é', '2F' * 31 + '2_', '\n', 'a\n', '/', '२', '"', "x'00'", '٣', 'ａ', '\x00', '-'])
def test_only_letters_and_digits(pod, key):
    assert check_failure(pod.post('get_item', 'x', key=key), 400, 'Failure: Invalid database key character')
    assert not pod.exists()


@pytest.mark.parametrize('key', ['', '0', 'abc', 'PassPhrase', '2f' * 32, '2F' * 31, 'Z' * 64, '2f' * 48, '2f' * 200,
    'not64hexdigits'])
def test_any_length_works_and_small_letters_count_as_capitals(pod, key):
    pod.make(id='thing-1', type='Box')
    other = pod.server.pod(key=key)
    other.make(id='thing-1', type='Box')
    for spelled in (key, key.upper(), key.lower(), key.title()):
        assert [i['id'] for i in other.ok('get_item', 'thing-1', key=spelled)] == ['thing-1']
    other.refused('get_item', 'thing-1', 500, 'not a database', key=key + 'A')
    if key: other.refused('get_item', 'thing-1', 500, 'not a database', key='')


def test_the_first_request_fixes_the_key_even_if_it_reads(pod):
    assert pod.ok('get_item', 'x') == []
    assert pod.exists()
    for _ in range(2):
        text = pod.refused('get_item', 'x', 500, 'file is not a database', key='AB' * 32)
        assert 'AB' * 32 not in text and KEY not in text
    for op, payload in (('search', {}), ('create_item', {'type': 'T'}), ('bulk', {}),
        ('get_file', {'sha256': '0' * 64}),
                        ('send_email', {'to': '', 'subject': '', 'body': ''}), ('delete_item', 'x')):
        pod.refused(op, payload, 500, 'not a database', key='AB' * 32)
    check_failure(pod.upload('0' * 64, b'', key='AB' * 32), 500, 'not a database')
    assert pod.ok('get_item', 'x') == []


@pytest.mark.parametrize('op, payload, tail', [(op, p, True) for op, p in (
    ('search', {}), ('get_item', 'x'), ('create_item', {'type': 'T'}), ('update_item', {'id': 'x'}),
    ('delete_item', 'x'), ('bulk', {}),
    ('get_edges', {'item': 'x', 'direction': 'Outgoing', 'expandItems': True}))] + [(op, p, False) for op, p in (
    ('create_edge', {'_source': 'x', '_target': 'x', '_name': 'x'}), ('get_file', {'sha256': 'x'}),
    ('send_email', {'to': '', 'subject': '', 'body': ''}))])
def test_what_a_wrong_key_is_told(pod, op, payload, tail):
    "Calls that read no schema do not say that it could not be read"
    pod.make()
    text = 'Failure: Database rusqlite error file is not a database'
    assert pod.refused(op, payload, 500, key='AB' * 32) == text + ', Failed to prepare SQL get_schema query' * tail
    assert check_failure(pod.upload('zz', b'', key='AB' * 32), 500) == text


def test_what_a_wrong_key_is_told_at_first(tmp_path):
    "Another text until the database was open in this process"
    with Served(data_folder=tmp_path) as one: PodServer(one.url).pod('anna').make(id='thing-1')
    with Served(data_folder=tmp_path) as again:
        pod = PodServer(again.url).pod('anna')
        for op, payload in (('get_item', 'thing-1'), ('create_item', {'type': 'T'}), ('get_file', {'sha256': ''})):
            assert pod.refused(op, payload, 500, key='AB' * 32) == ("Failure: Database 'refinery' migration error, "
                '`error asserting migrations table`, `file is not a database`')
        assert pod.get('thing-1')
        assert 'refinery' not in pod.refused('get_item', 'thing-1', 500, 'file is not a database', key='AB' * 32)


def test_a_wrong_key_changes_nothing(pod):
    pod.make(id='thing-1')
    pod.refused('delete_item', 'thing-1', 500, 'not a database', key='00' * 32)
    assert pod.get('thing-1')['deleted'] is False


@pytest.mark.parametrize('nonce', ['', '00', '0' * 47, '0' * 49, 'q' * 47, '0' * 64])
def test_a_nonce_has_48_characters(pod, nonce):
    for box in (BOX, 'zz', ''):
        pod.refused('get_item', 'x', 400, 'Failure: PluginAuth nonce should be 48 hex characters',
                    auth={'type': 'PluginAuth', 'data': {'nonce': nonce, 'encryptedPermissions': box}})


@pytest.mark.parametrize('nonce, box, text', [
    ('q' * 48, BOX, "Invalid character 'q' at position 0"),
    ('0' * 47 + 'g', BOX, "Invalid character 'g' at position 47"),
    (NONCE, '0', 'Odd number of digits'), (NONCE, '0' * 95, 'Odd number of digits'),
    (NONCE, '000z', "Invalid character 'z' at position 3")])
def test_both_parts_are_hex(pod, nonce, box, text):
    pod.refused('get_item', 'x', 500, 'Failure: Error converting from hex', text,
                auth={'type': 'PluginAuth', 'data': {'nonce': nonce, 'encryptedPermissions': box}})
    assert not pod.exists()


@pytest.mark.parametrize('box', [BOX, '0' * 32, '', '00', 'ab' * 16, 'AB' * 48, '00' * 1000])
def test_boxes_of_others_are_refused(pod, box):
    for op, payload in (('get_item', 'x'), ('search', {}), ('create_item', {'type': 'T'}),
        ('get_file', {'sha256': '0' * 64})):
        pod.refused(op, payload, 500, 'Failure: Error in symmetric encryption cypher, aead::Error',
                    auth={'type': 'PluginAuth', 'data': {'nonce': NONCE, 'encryptedPermissions': box}})
    assert not pod.exists()


def test_fields_of_auth_that_mean_nothing(pod):
    body = body_of('"x"').replace(b'"type"', b'"data":5,"more":{},"type"')
    assert pod.raw('get_item', body).data == b'[]'
    pod.refused('get_item', 'x', 400, 'nonce should be', auth={'type': 'PluginAuth', 'databaseKey': KEY, 'data': {
        'nonce': '', 'encryptedPermissions': '', 'more': 1}})


def box(pod, **permissions):
    "What a plugin with these permissions shows"
    reply = pod.post('create_plugin_auth', {'permissions': permissions}, wire='v5')
    assert reply.status == 200, reply
    return reply.json


def test_a_box_opens_what_it_is_for_and_no_more(pod):
    pod.ok('create_item', {'type': 'ItemPropertySchema', 'itemType': 'Note', 'propertyName': 'text',
        'valueType': 'Text'})
    pod.make('Note', id='note-01', text='x')
    pod.make('Secret', id='secret-1', text='x')
    auth = box(pod, read={'Note': '*'}, create={'Note': '*'})
    assert auth.keys() == {'type', 'data'} and auth['data'].keys() == {'nonce', 'encryptedPermissions'}
    for wire in ('v3', 'v4'):
        assert [i['id'] for i in pod.ok('get_item', 'note-01', auth=auth, wire=wire)] == ['note-01']
        assert pod.ok('get_item', 'secret-1', auth=auth, wire=wire) == []
        assert [i['id'] for i in pod.ok('search', {'text': 'x'}, auth=auth, wire=wire)] == ['note-01']
        pod.refused('delete_item', 'secret-1', 404, 'Item with id secret-1 not found', auth=auth, wire=wire)
        pod.refused('create_item', {'type': 'Secret'}, 403, auth=auth, wire=wire)
        pod.refused('send_email', {'to': '', 'subject': '', 'body': ''}, 403, auth=auth, wire=wire)
    assert pod.ok('create_item', {'type': 'Note', 'id': 'note-02', 'text': 'y'}, auth=auth) == 'note-02'


def test_a_box_is_for_one_pod(pod_server):
    one, other = pod_server.pod(), pod_server.pod()
    one.make(id='note-01')
    other.refused('get_item', 'x', 500, 'Error in symmetric encryption cypher, aead::Error',
        auth=box(one, read={'*': '*'}))


def test_plugins_start_no_plugins(pod):
    auth = box(pod, read={'*': '*'}, create={'*': '*', 'StartPlugin': '*'})
    pod.make(id='target-1')
    for wire, type, image in (('v4', 'PluginRun', 'containerImage'), ('v3', 'PluginRun', 'containerImage'),
        ('v3', 'StartPlugin', 'container')):
        run = {'type': type, image: 'probe', 'targetItemId': 'target-1'}
        pod.refused('create_item', run, 403, auth=auth, wire=wire)
        pod.refused('bulk', {'createItems': [{'type': 'Note'}, run]}, 403, auth=auth, wire=wire)
    assert pod.find(type='PluginRun') == pod.find(type='StartPlugin') == pod.find(type='Note') == []


def test_files_of_plugins(pod):
    content = b'something'
    sha256 = hashlib.sha256(content).hexdigest()
    def upload(auth, data):
        text = quote(json.dumps(auth), safe='')
        return pod.server.send('POST', f'/v4/{pod.owner}/upload_file_b/{text}/{sha256}', data)
    writes = box(pod, read={'File': ['sha256']}, create={'File': ['sha256']}, files={'write': True})
    reads, blind = box(pod, read={'File': ['sha256']}, files={'read': True}), box(pod,
        files={'read': True, 'write': True})
    check_failure(upload(writes, content), 404, 'not found in database')
    pod.ok('create_item', {'type': 'File', 'sha256': sha256}, auth=writes)
    check_failure(upload(reads, content), 403)
    check_failure(upload(blind, content), 404, 'not found in database')
    check_failure(upload(writes, b'other'), 400, 'differs from calculated')
    assert upload(writes, content).data == b'{}'
    check_failure(upload(writes, b'other'), 409, 'File already exists')
    assert pod.post('get_file', {'sha256': sha256}, auth=reads).data == content
    pod.refused('get_file', {'sha256': sha256}, 403, auth=writes)
    assert pod.refused('get_file', {'sha256': sha256}, 500, auth=blind) == pod.refused('get_file',
        {'sha256': '0' * 64}, 500, auth=blind)

"""Sections 3.2 and 5: the key of a database, its spelling, and the boxes of plugins"""
import pytest

from .conftest import KEY, body_of, check_failure

NONCE, BOX = '0' * 48, '0' * 96


@pytest.mark.parametrize('key', ['12-34', ' ', 'a b', 'é', '2F' * 31 + '2_', '\n', 'a\n', '/', '२', '"', "x'00'", '٣', 'ａ', '\x00', '-'])
def test_only_letters_and_digits(pod, key):
    assert check_failure(pod.post('get_item', 'x', key=key), 400, 'Failure: Invalid database key character')
    assert not pod.exists()


@pytest.mark.parametrize('key', ['', '0', 'abc', 'PassPhrase', '2f' * 32, '2F' * 31, 'Z' * 64, '2f' * 48, '2f' * 200, 'not64hexdigits'])
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
    for op, payload in (('search', {}), ('create_item', {'type': 'T'}), ('bulk', {}), ('get_file', {'sha256': '0' * 64}),
                        ('send_email', {'to': '', 'subject': '', 'body': ''}), ('delete_item', 'x')):
        pod.refused(op, payload, 500, 'not a database', key='AB' * 32)
    check_failure(pod.upload('0' * 64, b'', key='AB' * 32), 500, 'not a database')
    assert pod.ok('get_item', 'x') == []


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
    ('q' * 48, BOX, "Invalid character 'q' at position 0"), ('0' * 47 + 'g', BOX, "Invalid character 'g' at position 47"),
    (NONCE, '0', 'Odd number of digits'), (NONCE, '0' * 95, 'Odd number of digits'), (NONCE, '000z', "Invalid character 'z' at position 3")])
def test_both_parts_are_hex(pod, nonce, box, text):
    pod.refused('get_item', 'x', 500, 'Failure: Error converting from hex', text,
                auth={'type': 'PluginAuth', 'data': {'nonce': nonce, 'encryptedPermissions': box}})
    assert not pod.exists()


@pytest.mark.parametrize('box', [BOX, '0' * 32, '', '00', 'ab' * 16, 'AB' * 48, '00' * 1000])
def test_boxes_of_others_are_refused(pod, box):
    for op, payload in (('get_item', 'x'), ('search', {}), ('create_item', {'type': 'T'}), ('get_file', {'sha256': '0' * 64})):
        pod.refused(op, payload, 500, 'Failure: Error in symmetric encryption cypher, aead::Error',
                    auth={'type': 'PluginAuth', 'data': {'nonce': NONCE, 'encryptedPermissions': box}})
    assert not pod.exists()


def test_fields_of_auth_that_mean_nothing(pod):
    body = body_of('"x"').replace(b'"type"', b'"data":5,"more":{},"type"')
    assert pod.raw('get_item', body).data == b'[]'
    pod.refused('get_item', 'x', 400, 'nonce should be', auth={'type': 'PluginAuth', 'databaseKey': KEY, 'data': {
        'nonce': '', 'encryptedPermissions': '', 'more': 1}})

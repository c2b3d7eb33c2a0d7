"""Section 2, and 1.8: what a body may look like, what its refusal says, and that it is refused before anything else"""
import json
from urllib.parse import quote

import pytest

from .conftest import KEY, body_of, check_failure

AUTH = f'{{"type":"ClientAuth","databaseKey":"{KEY}"}}'
SAYS = 'Failure: JSON deserialization error '


def refused(pod, body, *texts, op='get_item'):
    text = check_failure(pod.raw(op, body), 400, *texts)
    assert text.startswith(SAYS), text
    assert not pod.exists(), 'a database was made for a malformed request'
    return text


@pytest.mark.parametrize('body', [
    b'', b' ', b'\n', b'{', b'{not json', b'{"auth":', b'nonsense', b'null', b'5', b'"text"', b'true', b'{}',
    b'{"auth"}', b"{'auth':1}",
    b'{"auth":1,}', b'\xef\xbb\xbf' + body_of('"x"'), b'\xff' + body_of('"x"'), b'\x00', b'\x0b' + body_of('"x"'),
    b'\xa0' + body_of('"x"'),
    body_of('"x"')[:-1], body_of('"x"')[1:], body_of('NaN'), body_of('Infinity'), body_of('-Infinity'),
    body_of('"a\nb"'), body_of('"a\tb"'),
    body_of('"a\x00b"'), body_of('"a\x1fb"'), body_of(r'"\x41"'), body_of(r'"\u12"'), body_of(r'"\ud800"'),
    body_of(r'"\udc00"'),
    body_of(r'"\ud800A"'), body_of(r'"\ud800\ud800"'), body_of(r'"\udc00\ud800"'),
    body_of('"x"').replace(b'"x"', b'"\xff"'),
    body_of('"x"').replace(b'"x"', b'"\xed\xa0\x80"'), body_of('"x"').replace(b'"x"', b'"\xc0\xaf"'), body_of("'x'"),
    body_of('/*c*/"x"'), body_of('"x" "y"'),
    body_of('["x",]'), body_of('01'), body_of('+1'), body_of('.5'), body_of('1.'), body_of('1e'), body_of('0x10'),
    body_of('1e999'),
    body_of('True'), body_of('None'), body_of('undefined')])
def test_strict_json(pod, body): refused(pod, body)


@pytest.mark.parametrize('body, text', [
    ('{"payload":"x"}', 'missing field `auth`'), (f'{{"auth":{AUTH}}}', 'missing field `payload`'),
    ('{}', 'missing field `auth`'),
    ('{"auth":null,"payload":"x"}', 'auth: invalid type: null'), ('{"auth":"x","payload":"x"}', 'auth: invalid type'),
    ('{"auth":{},"payload":"x"}', 'missing field `type`'),
    ('{"auth":{"type":"ClientAuth"},"payload":"x"}', 'missing field `databaseKey`'),
    ('{"auth":{"databaseKey":""},"payload":"x"}', 'missing field `type`'),
    ('{"auth":{"type":"NoAuth"},"payload":"x"}', 'unknown variant `NoAuth`, expected `PluginAuth` or `ClientAuth`'),
    ('{"auth":{"type":"clientauth","databaseKey":""},"payload":"x"}', 'unknown variant `clientauth`'),
    ('{"auth":{"type":7},"payload":"x"}', 'invalid type'), ('{"auth":{"type":null},"payload":"x"}', 'invalid type'),
    ('{"auth":{"type":"ClientAuth","databaseKey":null},"payload":"x"}', 'invalid type: null, expected a string'),
    ('{"auth":{"type":"ClientAuth","databaseKey":12},"payload":"x"}', 'invalid type: integer `12`, expected a string'),
    ('{"auth":{"type":"PluginAuth"},"payload":"x"}', 'missing field `data`'),
    ('{"auth":{"type":"PluginAuth","data":{}},"payload":"x"}', 'missing field `nonce`'),
    ('{"auth":{"type":"PluginAuth","data":{"nonce":""}},"payload":"x"}', 'missing field `encryptedPermissions`'),
    ('{"auth":{"type":"PluginAuth","data":null},"payload":"x"}', 'invalid type: null'),
    ('{"auth":{"type":"PluginAuth","data":{"nonce":1,"encryptedPermissions":""}},"payload":"x"}',
    'invalid type: integer `1`'),
    ('{"Auth":{},"payload":"x"}', 'missing field `auth`'), ('{"databaseKey":"","payload":"x"}', 'missing field `auth`'),
    (f'{{"auth":{AUTH},"auth":{AUTH},"payload":"x"}}', 'duplicate field `auth`'),
    (f'{{"auth":{AUTH},"payload":"x","payload":"x"}}', 'duplicate field `payload`'),
    (f'{{"auth":{AUTH},"payload":"x","\\u0061uth":{AUTH}}}', 'duplicate field `auth`'),
    ('{"auth":{"type":"ClientAuth","databaseKey":"A","databaseKey":"A"},"payload":"x"}',
    'duplicate field `databaseKey`'),
    ('{"auth":{"type":"ClientAuth","type":"ClientAuth","databaseKey":"A"},"payload":"x"}', 'duplicate field `type`')])
def test_the_envelope(pod, body, text): refused(pod, body, text)


def test_no_key_in_a_refusal(pod):
    for body in (body_of('5', 'C0FFEE'), body_of('"x', 'C0FFEE'), body_of('"x"', 'C0FFEE').replace(b'Client', b'Other'),
                 body_of('"x"', 'C0FFEE')[:-3]):
        assert 'C0FFEE' not in refused(pod, body)


def test_no_key_and_no_box_where_an_object_belongs(pod):
    for auth in ('"C0FFEE"', '{"type":"PluginAuth","data":"C0FFEE"}'):
        body = f'{{"auth":{auth},"payload":"x"}}'
        assert 'C0FFEE' not in refused(pod, body, 'invalid type: string, expected a map')
        assert 'C0FFEE' not in check_failure(pod.raw(f'upload_file_b/{quote(auth)}/00', b''), 400, 'invalid type: string, expected a map')
        reply = pod.server.send('POST', f'/v5/{pod.owner}/get_item', body)
        assert reply.status == 401 and 'C0FFEE' not in reply.text and 'invalid type: string' in reply.text
    body = f'{{"auth":{{"data":"x","type":"ClientAuth","databaseKey":"{KEY}"}},"payload":"x"}}'
    assert pod.raw('get_item', body).data == b'[]' # there it means nothing


@pytest.mark.parametrize('rest', [b' ', b'\n\n', b' trailing', b'}', b'{"auth":1}', b'\x00\xff', b'[' * 1000,
    b'\xed\xa0\x80', b'"', b'NaN', b'\xef\xbb\xbf'])
def test_what_follows_the_first_value_is_ignored(pod, rest):
    assert pod.raw('get_item', body_of('"x"') + rest).data == b'[]'


@pytest.mark.parametrize('body', [
    b' \t\r\n' + body_of('"x"'), body_of(' \t\r\n"x"\n'), json.dumps(json.loads(body_of('"x"')), indent=4),
    f'{{"payload":"x","auth":{AUTH}}}', f'{{"auth":{AUTH},"payload":"x","other":[1,{{}}],"more":null}}',
    f'{{"extra":{{"auth":1}},"auth":{AUTH},"payload":"x"}}',
    f'{{"other":1,"other":2,"auth":{AUTH},"payload":"x"}}',
    f'{{"other":{"[" * 100}{"]" * 100},"auth":{AUTH},"payload":"x"}}',
    body_of('"x"').replace(b'"type"', b'"extra":1,"type"'), body_of('"x"').replace(b'"payload"', b'"\\u0070ayload"'),
    body_of('"\\u0078"'), body_of('"x:\\":1"'),
    body_of('"x"').replace(b'":', b'" :'), body_of('"\x7f\xc2\x85"'), body_of(r'"\ud83d\ude00"'),
    body_of(r'"\u0000\/\b\f\n\r\t\"\\"')])
def test_unusual_bodies_that_are_fine(pod, body): assert pod.raw('get_item', body).data == b'[]'


def test_128_levels_and_no_more(pod):
    def nested(n): return f'{{"auth":{AUTH},"payload":{{"type":"Nothing","p":{"[" * n}{"]" * n}}}}}'
    assert pod.raw('search', nested(120)).data == b'[]'
    for n in (127, 200, 1000, 10_000, 500_000):
        check_failure(pod.raw('search', nested(n)), 400, SAYS)
        check_failure(pod.raw('search', nested(n).replace('[', '{"a":').replace(']', '}').replace('{"a":}', '{}')),
            400, SAYS)
        check_failure(pod.raw('search', body_of('[' * n)), 400, SAYS)


@pytest.mark.parametrize('op, payload, text', [
    ('get_item', '5', 'payload: invalid type: integer `5`, expected a string'),
    ('get_item', 'null', 'payload: invalid type: null, expected a string'),
    ('get_item', '["x"]', 'payload: invalid type: sequence'), ('get_item', '{"id":"x"}', 'payload: invalid type: map'),
    ('delete_item', '1.5', 'payload: invalid type: floating point `1.5`'),
    ('delete_item', 'true', 'payload: invalid type: boolean `true`'),
    ('create_item', '[]', 'payload: invalid type'), ('create_item', 'null', 'payload: invalid type: null'),
    ('create_item', '"x"', 'payload: invalid type: string "x"'),
    ('create_item', '{}', 'missing field `type`'), ('create_item', '{"id":"thing-1"}', 'missing field `type`'),
    ('create_item', '{"type":null}', 'payload.type: invalid type: null'), ('create_item', '{"type":5}', 'payload.type'),
    ('create_item', '{"type":"T","type":"T"}', 'duplicate field `type`'),
    ('create_item', '{"type":"T","id":"abcdef","id":"abcdef"}', 'duplicate field `id`'),
    ('create_item', '{"type":"T","id":5}', 'payload.id: invalid type: integer `5`'),
    ('create_item', '{"type":"T","rowid":"1"}', 'payload.rowid'),
    ('create_item', '{"type":"T","deleted":null}', 'payload.deleted: invalid type: null, expected a boolean'),
    ('create_item', '{"type":"T","deleted":0}', 'payload.deleted'),
    ('create_item', '{"type":"T","deleted":"false"}', 'payload.deleted'),
    *[('create_item', f'{{"type":"T","{d}":{v}}}', f'payload.{d}') for d in ('dateCreated', 'dateModified', 'rowid')
      for v in ('1.5', '1.0', '1e3', '-0', '-0.0', '"1"', 'true', '[]', '9223372036854775808', '-9223372036854775809')],
    ('update_item', '{}', 'missing field `id`'), ('update_item', '{"id":null}', 'payload.id'),
    ('update_item', '{"id":5}', 'payload.id'),
    ('update_item', '[]', 'payload'), ('update_item', '{"id":"a","id":"a"}', 'duplicate field `id`'),
    ('create_edge', '{}', 'missing field `_source`'),
    ('create_edge', '{"_source":"a","_target":"b"}', 'missing field `_name`'),
    ('create_edge', '{"_source":"a","_name":"b"}', 'missing field `_target`'),
    ('create_edge', '{"_target":"a","_name":"b"}', 'missing field `_source`'),
    ('create_edge', '{"_source":null,"_target":"a","_name":"b"}', 'payload._source'),
    ('create_edge', '{"_source":"a","_target":1,"_name":"b"}', 'payload._target'),
    ('create_edge', '{"_source":"a","_target":"b","_name":["c"]}', 'payload._name'),
    ('create_edge', '{"_source":"a","_target":"b","_name":"c","_self":1}', 'payload._self'),
    ('create_edge', '{"_source":"a","_source":"a","_target":"b","_name":"c"}', 'duplicate field `_source`'),
    ('get_edges', '{}', 'missing field `item`'),
    ('get_edges', '{"item":"a","direction":"Outgoing"}', 'missing field `expandItems`'),
    ('get_edges', '{"item":"a","expandItems":true}', 'missing field `direction`'),
    ('get_edges', '{"direction":"Outgoing","expandItems":true}', 'missing field `item`'),
    *[('get_edges', f'{{"item":"a","direction":{d},"expandItems":true}}', 'payload.direction')
      for d in ('"outgoing"', '"OUTGOING"', '"Both"', '""', 'null', '1')],
    ('get_edges', '{"item":"a","direction":"Both","expandItems":true}',
    'unknown variant `Both`, expected `Outgoing` or `Incoming`'),
    *[('get_edges', f'{{"item":"a","direction":"Outgoing","expandItems":{e}}}', 'payload.expandItems')
      for e in ('null', '1', '"true"')],
    *[('get_edges', f'{{"item":{i},"direction":"Outgoing","expandItems":true}}', 'payload.item')
      for i in ('null', '1')],
    *[('search', p, 'payload') for p in ('null', '[]', '"x"', '5')],
    *[('search', f'{{"{k}":{v}}}', f'payload.{k}') for k in ('id', 'type') for v in ('1', '["x"]', 'true', '{}')],
    *[('search', f'{{"{k}":{v}}}', f'payload.{k}') for k in ('dateServerModified>=', 'dateServerModified<')
      for v in ('1.0', '1e3', '"1"', 'true', '9223372036854775808', '-0')],
    *[('search', f'{{"deleted":{v}}}', 'payload.deleted') for v in ('0', '1', '"true"')],
    *[('search', f'{{"_sortOrder":{v}}}', 'payload._sortOrder') for v in ('"asc"', '"Ascending"', '""', 'null', '1')],
    ('search', '{"_sortOrder":"asc"}', 'unknown variant `asc`, expected `Asc` or `Desc`'),
    *[('search', f'{{"_limit":{v}}}', 'payload._limit')
      for v in ('null', '-1', '1.0', '1e2', '"1"', 'true', '-0', '18446744073709551616')],
    *[('search', f'{{"{k}":{v}}}', f'payload.{k}') for k in ('[[edges]]', '~[[edges]]')
      for v in ('true', '1', '"x"', '[1]')],
    *[('search', f'{{"{k}":{v},"{k}":{v}}}', f'duplicate field `{k}`') for k,
    v in (('type', '"x"'), ('id', '"x"'), ('_limit', '1'), ('deleted', 'true'), ('[[edges]]', '{}'))],
    *[('bulk', f'{{"{k}":{v}}}', f'payload.{k}')
    for k in ('createItems', 'updateItems', 'deleteItems', 'createEdges', 'search')
      for v in ('null', '{}', '"x"', '1')],
    *[('bulk', f'{{"{k}":[],"{k}":[]}}', f'duplicate field `{k}`') for k in ('createItems', 'deleteItems', 'search')],
    *[('bulk', p, 'payload') for p in ('null', '[]', '"x"')],
    ('bulk', '{"createItems":[{"type":"T"},{"type":"T"},{"type":"T","id":5}]}',
    'payload.createItems[2].id: invalid type: integer `5`, expected a string'),
    ('bulk', '{"createItems":[{"type":"T"},{}]}', 'payload.createItems[1]: missing field `type`'),
    ('bulk', '{"createItems":[null]}', 'payload.createItems[0]'),
    ('bulk', '{"createItems":[{"type":"T","dateCreated":1.0}]}', 'payload.createItems[0].dateCreated'),
    ('bulk', '{"createItems":[{"type":"T","deleted":true,"deleted":true}]}', 'duplicate field `deleted`'),
    ('bulk', '{"createItems":[{"type":"T","id":"abcdef"},{"type":"T","type":"T"}]}', 'duplicate field `type`'),
    ('bulk', '{"updateItems":[{"id":"a"},{"type":"T"}]}', 'payload.updateItems[1]: missing field `id`'),
    ('bulk', '{"deleteItems":["a",1]}', 'payload.deleteItems[1]: invalid type: integer `1`'),
    ('bulk', '{"deleteItems":[null]}', 'payload.deleteItems[0]'),
    ('bulk', '{"createEdges":[{"_source":"a","_target":"b"}]}', 'payload.createEdges[0]: missing field `_name`'),
    ('bulk', '{"search":[{"_limit":null}]}', 'payload.search[0]._limit'),
    ('bulk', '{"search":[{},{"type":1}]}', 'payload.search[1].type'),
    ('bulk', '{"search":[{"[[edges]]":true}]}', 'payload.search[0].[[edges]]'),
    ('bulk', '{"search":[[]]}', 'payload.search[0]'),
    ('get_file', '"x"', 'payload'), ('get_file', '{}', 'missing field `sha256`'),
    ('get_file', '{"sha256":null}', 'payload.sha256'), ('get_file', '{"sha256":5}', 'payload.sha256'),
    *[('send_email', json.dumps({k: 'x' for k in ('to', 'subject', 'body') if k != n}), f'missing field `{n}`')
      for n in ('to', 'subject', 'body')],
    *[('send_email', json.dumps({'to': 'x', 'subject': 'x', 'body': 'x'} | {n: None}), f'payload.{n}')
      for n in ('to', 'subject', 'body')]])
def test_payloads(pod, op, payload, text): refused(pod, body_of(payload), text, op=op)


def test_the_body_is_read_before_the_key_and_the_box_are_looked_at(pod):
    for auth in ('{"type":"ClientAuth","databaseKey":"12-34"}',
        '{"type":"PluginAuth","data":{"nonce":"00","encryptedPermissions":"00"}}'):
        refused(pod, f'{{"auth":{auth},"payload":5}}', 'payload')
        check_failure(pod.raw('get_item', f'{{"auth":{auth},"payload":"x"}}'), 400)
        assert not pod.exists()


def test_the_key_is_tried_before_the_action(pod):
    pod.make()
    pod.refused('delete_item', 'nobody', 500, 'not a database', key='AB' * 32)
    pod.refused('delete_item', 'nobody', 404)


def test_a_free_property_that_stands_twice_counts_with_its_last_value(pod):
    pod.define(name='Text', size='Integer')
    assert pod.raw('create_item', body_of('{"type":"T","id":"thing-1","name":"a","size":1,"name":"b"}')).status == 200
    assert pod.get('thing-1')['name'] == 'b'
    twice = '{"id":"thing-1","name":5,"name":"c","dateModified":1,"dateModified":2}'
    assert pod.raw('update_item', body_of(twice)).status == 200
    assert (pod.get('thing-1')['name'], pod.get('thing-1')['dateModified']) == ('c', 2)
    assert [i['id'] for i in pod.raw('search', body_of('{"name":"x","name":"c"}')).json] == ['thing-1']
    assert pod.raw('bulk', body_of('{"createItems":[{"type":"T","id":"thing-2","name":"a","name":"d"}]}')).status == 200
    assert pod.get('thing-2')['name'] == 'd'


def test_unknown_fields_mean_nothing_where_there_are_no_properties(pod):
    pod.ok('bulk', {'createItems': [{'type': 'T', 'id': 'thing-1'}], 'deleteEdges': [{'id': 'x'}], 'unknown': [1, {}],
        'createEdges': [
        {'_source': 'thing-1', '_target': 'thing-1', '_name': 'e', 'weight': 3, 'x': {'y': []}}]})
    pod.ok('create_edge', {'_source': 'thing-1', '_target': 'thing-1', '_name': 'e', 'weight': 3, 'x': {'y': []}})
    pod.ok('get_edges', {'item': 'thing-1', 'direction': 'Outgoing', 'expandItems': True, 'depth': 9, '_memri': 5})
    pod.ok('send_email', {'to': '', 'subject': '', 'body': '', 'cc': ['x']})
    pod.refused('get_file', {'sha256': '0' * 64, 'offset': 1}, 500, 'Failed to read data')
    assert pod.find(**{'id': 'thing-1', '[[edges]]': {'depth': 99, 'names': 5, 'x': []}})[0]['[[edges]]']


@pytest.mark.parametrize('number, stored',
    [('5', 5.0), ('-0', -0.0), ('18446744073709551615', 2.0**64), ('18446744073709551616', 2.0**64),
                                            ('1' + '0' * 30, 1e30), ('1E5', 1e5), ('1e-7', 1e-7), ('0.1', 0.1),
                                            ('-9223372036854775808', -2.0**63)])
def test_numbers_of_a_real_property(pod, number, stored):
    pod.define(size='Real')
    id = pod.raw('create_item', body_of(f'{{"type":"T","size":{number}}}')).json
    found = pod.get(id)['size']
    assert type(found) is float and found == stored


@pytest.mark.parametrize('number, ok', [('9223372036854775807', True), ('-9223372036854775808', True), ('0', True),
    ('9223372036854775808', False), ('-0', False),
                                        ('18446744073709551616', False), ('1.0', False), ('1e3', False),
                                        ('-9223372036854775809', False)])
def test_numbers_of_an_integer_property(pod, number, ok):
    pod.define(size='Integer')
    for op, body in (('create_item', f'{{"type":"T","size":{number}}}'),
        ('bulk', f'{{"createItems":[{{"type":"T","size":{number}}}]}}')):
        r = pod.raw(op, body_of(body))
        if ok: assert r.status == 200
        else: check_failure(r, 400, 'Failed to parse JSON number ', ' to i64 (size)')
    assert len(pod.find(type='T')) == 2 * ok

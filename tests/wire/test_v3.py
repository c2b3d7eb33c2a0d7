"""Section 13, its proposal: version 3 is version 4 with the older names, and nothing more"""
import json

import pytest

from .conftest import KEY, bare, check_failure, check_miss, told


@pytest.fixture
def old(pod_server): return pod_server.pod(wire='v3')


def by_key(pod, op, payload, **more):
    "A request as early clients sent it"
    return pod.raw(op, json.dumps({'databaseKey': pod.key, 'payload': payload} | more))


def test_everything_of_version_4(old):
    old.define(name='Text')
    old.make(id='thing-1', name='x')
    old.ok('update_item', {'id': 'thing-1', 'name': 'y'})
    assert old.get('thing-1')['name'] == 'y' and old.ids(name='y') == ['thing-1']
    edge = old.ok('create_edge', {'_source': 'thing-1', '_target': 'thing-1', '_name': 'e'})
    assert old.ok('get_edges', {'item': 'thing-1', 'direction': 'Outgoing', 'expandItems': False}) == [{'name': 'e',
        'item': {'id': 'thing-1'}}]
    assert old.ok('bulk', {'deleteItems': [edge]}) == {'createItems': [], 'createEdges': [], 'search': []}
    assert old.ok('delete_item', 'thing-1') == {}
    assert old.ok('send_email', {'to': '', 'subject': '', 'body': ''}) == {}
    old.refused('get_file', {'sha256': '0' * 64}, 500, 'Failed to read data')
    check_failure(old.upload('0' * 64, b''), 400, 'differs from calculated')


def test_one_pod_in_both_versions(old):
    new = old.server.pod(old.owner)
    old.make(id='thing-1')
    assert new.get('thing-1') == old.get('thing-1')
    old.refused('create_item', {'type': 'T', 'id': 'thing-1'}, 500, 'UNIQUE')


def test_the_key_beside_the_payload(old):
    assert by_key(old, 'create_item', {'type': 'T', 'id': 'thing-1'}).json == 'thing-1'
    assert by_key(old, 'get_item', 'thing-1').json[0]['id'] == 'thing-1'
    assert by_key(old, 'search', {'type': 'T'}).json[0]['id'] == 'thing-1'
    check_failure(old.raw('get_item', json.dumps({'databaseKey': 'AB' * 32, 'payload': 'x'})), 500, 'not a database')
    check_failure(old.raw('get_item', json.dumps({'databaseKey': '1-1', 'payload': 'x'})), 400,
        'Invalid database key character')
    check_failure(old.raw('get_item', json.dumps({'databaseKey': 5, 'payload': 'x'})), 400, 'databaseKey')
    check_failure(old.raw('get_item', json.dumps({'databaseKey': None, 'payload': 'x'})), 400, 'databaseKey')
    check_failure(old.raw('get_item', json.dumps({'databaseKey': KEY})), 400, 'missing field `payload`')
    check_failure(old.raw('get_item', json.dumps({'payload': 'x'})), 400, 'missing field `auth`')
    check_failure(old.raw('get_item', f'{{"databaseKey":"{KEY}","databaseKey":"{KEY}","payload":"x"}}'), 400,
        'duplicate field `databaseKey`')


def test_a_key_beside_auth_means_nothing(old):
    auth = {'type': 'ClientAuth', 'databaseKey': KEY}
    for key in (KEY, 'AB' * 32, '1-1', 5):
        assert old.raw('get_item', json.dumps({'auth': auth, 'databaseKey': key, 'payload': 'x'})).data == b'[]'


def test_the_key_beside_the_payload_is_no_key_in_version_4(pod):
    check_failure(by_key(pod, 'get_item', 'x'), 400, 'missing field `auth`')


@pytest.mark.parametrize('end', ['', '/'])
def test_bulk_action(old, end):
    assert old.ok('bulk_action' + end, {'createItems': [{'type': 'T',
        'id': 'thing-1'}]}) == {'createItems': ['thing-1'], 'createEdges': [], 'search': []}
    assert by_key(old, 'bulk_action' + end, {'deleteItems': ['thing-1']}).status == 200
    old.refused('bulk_action', {'createItems': None}, 400, 'JSON deserialization error payload.createItems')


@pytest.mark.parametrize('payload', [None, {}, [], 5])
def test_get_all_items(old, payload):
    old.make(id='thing-1')
    old.ok('delete_item', 'thing-1')
    assert old.ok('get_all_items', payload) == old.find()
    assert by_key(old, 'get_all_items', payload).json == old.find()
    assert len(old.find()) == 15


def test_get_all_items_without_a_payload(old):
    old.make(id='thing-1')
    assert len(old.raw('get_all_items', json.dumps({'databaseKey': KEY})).json) == 15


def test_the_older_names_are_none_in_version_4(pod):
    for op in ('bulk_action', 'get_all_items'): check_miss(pod.post(op, {}))


def test_what_nobody_needs_is_not_there(old):
    for op in ('get_items_with_edges', 'insert_tree', 'run_downloader'): check_miss(old.post(op, {}))
    check_miss(old.raw('search/x', '{}'))


def test_expanded_edges_have_their_item_under_two_names(old):
    old.make(id='thing-1')
    old.make(id='thing-2')
    old.ok('create_edge', {'_source': 'thing-1', '_target': 'thing-2', '_name': 'e'})
    for key, id, other in (('[[edges]]', 'thing-1', 'thing-2'), ('~[[edges]]', 'thing-2', 'thing-1')):
        edge, = old.find(**{'id': id, key: {}})[0][key]
        assert edge['item'] == edge['_item'] == old.get(other)
        found, = old.ok('bulk', {'search': [{'id': id, key: {}}]})['search']
        assert found[0][key] == [edge]
        new, = old.server.pod(old.owner).find(**{'id': id, key: {}})[0][key]
        assert new == {k: v for k, v in edge.items() if k != 'item'}


def test_bad_json_is_400(old): check_failure(old.raw('get_item', '{not json'), 400, 'JSON deserialization error')


def start(target, image='probe', **more): return {'type': 'StartPlugin', 'container': image,
    'targetItemId': target} | more


def test_start_plugin(old):
    old.make(id='target-1')
    id = old.ok('create_item', start('target-1'))
    assert told(old.server, id)['POD_PLUGINRUN_ID'] == id
    assert bare(old.get(id)) == start('target-1') | {'id': id, 'deleted': False}
    assert old.ids(type='StartPlugin') == old.ids(container='probe') == [id]
    out = old.ok('bulk', {'createItems': [start('run-self', id='run-self')]})['createItems']
    assert json.loads(told(old.server, out[0])['POD_TARGET_ITEM'])['id'] == 'run-self'


def test_what_start_plugin_needs(old):
    old.refused('create_item', start('ghost-99'), 400, 'Failed to find target item ghost-99 to run a plugin against')
    old.refused('create_item', {'type': 'StartPlugin', 'targetItemId': 'ghost-99'}, 400, 'missing field `container`')
    old.refused('create_item', {'type': 'StartPlugin', 'container': 'probe'}, 400, 'missing field `targetItemId`')
    old.refused('create_item', start('run-self', 'missing', id='run-self'), 500, 'Failed to execute')
    old.refused('create_item', start('ghost-99', 5), 400, 'Failed to parse json value 5 to Text (container)')
    assert len(old.find()) == 14


def test_the_newer_name_works_too(old):
    old.make(id='target-1')
    told(old.server, old.ok('create_item',
        {'type': 'PluginRun', 'containerImage': 'probe', 'targetItemId': 'target-1'}))

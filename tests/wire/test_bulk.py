"""Section 8.3: many actions in a fixed order, or none of them"""
import time

import pytest

from .conftest import bare

SCHEMA = {'type': 'ItemPropertySchema', 'itemType': 'Bird', 'propertyName': 'wingMm', 'valueType': 'Integer',
    'id': 'schema-1'}
EMPTY = {'createEdges': [], 'createItems': [], 'search': []}


@pytest.mark.parametrize('actions', [{}, {'somethingElse': [1]}, {'createItems': []},
    {'createItems': [], 'updateItems': [], 'deleteItems': [], 'createEdges': [], 'search': []},
                                     {'deleteEdges': [{'id': 'x'}]}, {'CreateItems': [{'type': 'T'}]}])
def test_three_keys_always(pod, actions):
    assert pod.ok('bulk', actions) == EMPTY
    assert len(pod.find()) == 14


def test_everything_at_once_in_its_order(pod):
    out = pod.ok('bulk', {
        'search': [{'type': 'Bird', 'wingMm': 95}, {'type': 'Bird', 'deleted': True}, {'id': 'bird-none'},
        {'id': 'bird-01', '[[edges]]': {}}, {'type': 'Edge'}],
        'createEdges': [{'_source': 'bird-01', '_target': 'bird-02', '_name': 'chases'},
        {'_source': 'bird-02', '_target': 'bird-01', '_name': 'flees', '_self': 'flight'}],
        'deleteItems': ['bird-02'], 'updateItems': [{'id': 'bird-01', 'wingMm': 94}, {'id': 'bird-01', 'wingMm': 95},
        {'id': 'bird-02', 'deleted': False}],
        'createItems': [SCHEMA, {'id': 'bird-01', 'type': 'Bird', 'wingMm': 90},
        {'id': 'bird-02', 'type': 'Bird', 'wingMm': 91}, {'id': 'flight', 'type': 'Flight'}]})
    assert out['createItems'] == ['schema-1', 'bird-01', 'bird-02', 'flight']
    assert len(out['createEdges']) == 2 and out['createEdges'][1] == 'flight'
    found = out['search']
    assert [[i['id'] for i in f] for f in found] == [['bird-01'], ['bird-02'], [], ['bird-01'], [out['createEdges'][0]]]
    assert bare(found[1][0]) == {'id': 'bird-02', 'type': 'Bird', 'deleted': True, 'wingMm': 91}
    edge, = found[3][0]['[[edges]]']
    assert (edge['id'], edge['_item']['id'], edge['_item']['deleted']) == (out['createEdges'][0], 'bird-02', True)


def test_ids_in_the_order_of_the_request(pod):
    items = [{'type': t, 'id': f'thing-{k:04}'} if k % 3 else {'type': t} for k in range(400)
        for t in [f'T{k * 7 % 5}']]
    ids = pod.ok('bulk', {'createItems': items})['createItems']
    assert len(ids) == len(set(ids)) == 400
    for k, (id, item) in enumerate(zip(ids, items)):
        assert id == item.get('id', id)
        if k % 50 == 0: assert pod.get(id)['type'] == item['type']


def test_items_of_one_request_stay_in_its_order(pod):
    "Those that share a date come in the order in which they were stored, whatever their types"
    ids = [f'thing-{k:04}' for k in range(600)]
    pod.ok('bulk', {'createItems': [{'type': 'T' + id[-1], 'id': id} for id in ids]})
    assert pod.ids(**{'dateServerModified>=': 1}) == ids
    assert pod.ids(**{'dateServerModified>=': 1, '_sortOrder': 'Desc'}) == ids[::-1]


def test_a_definition_helps_only_what_follows_it(pod):
    bird = {'type': 'Bird', 'wingMm': 5}
    assert pod.refused('bulk', {'createItems': [bird, SCHEMA]},
        400) == 'Failure: Property wingMm not defined in Schema (attempted to use it for json value 5)'
    assert pod.find(type='Bird') == [] and len(pod.find(type='ItemPropertySchema')) == 14
    assert len(pod.ok('bulk', {'createItems': [{'type': 'Bird'}, SCHEMA, bird, {'type': 'Bird'},
        bird]})['createItems']) == 5
    assert len(pod.find(type='Bird', wingMm=5)) == 2


def test_dates_are_those_of_the_request(pod):
    "Also where a part of it is tried again, as what no engine's name allows"
    old = pod.ok('create_item', SCHEMA) and pod.get('schema-1')
    time.sleep(.01)
    out = pod.ok('bulk', {'createItems': [SCHEMA | {'id': 'schema-2', 'propertyName': 'wing mm'}, {'type': 'Bird', 'id': 'bird-01', 'wing mm': 5}],
                          'updateItems': [{'id': 'schema-1'}],
                          'createEdges': [{'_source': 'bird-01', '_target': 'schema-1', '_name': 'e'}]})
    for id in ['schema-1', 'schema-2', 'bird-01', *out['createEdges']]:
        item = pod.get(id)
        assert min(item['dateModified'], item['dateServerModified']) > old['dateServerModified'], item
    seen = pod.ids(**{'dateServerModified>=': old['dateServerModified'] + 1})
    assert sorted(seen) == sorted(['schema-1', 'schema-2', 'bird-01', *out['createEdges']])


def test_only_inside_its_own_request(pod):
    pod.refused('bulk', {'createItems': [SCHEMA, {'type': 'Bird', 'wingMm': 5}], 'deleteItems': ['nobody']}, 404)
    pod.refused('create_item', {'type': 'Bird', 'wingMm': 5}, 400, 'not defined')


BAD = [
    ({'createItems': [{'type': 'T', 'id': 'thing-1'}]}, 500, 'UNIQUE constraint failed: items.id'),
    ({'createItems': [{'type': 'T', 'id': 'x'}]}, 400, 'does not satisfy'),
    ({'createItems': [{'type': 'T', 'id': 'thing-2'}, {'type': 'T', 'id': 'thing-2'}]}, 500,
    'UNIQUE constraint failed: items.id'),
    ({'createItems': [{'type': 'T', 'nothing': 1}]}, 400, 'Property nothing not defined'),
    ({'createItems': [SCHEMA | {'valueType': 'Real'}]}, 400, 'cannot override'),
    ({'createItems': [{'type': 'ItemPropertySchema'}]}, 400, 'missing field'),
    ({'updateItems': [{'id': 'nobody'}]}, 404, 'Item with id nobody not found'),
    ({'updateItems': [{'id': 'thing-1', 'h': 1}]}, 400, 'does not satisfy'),
    ({'updateItems': [{'id': 'thing-1', 'wingMm': 'x'}]}, 400, 'Failed to parse json value "x" to Integer (wingMm)'),
    ({'updateItems': [{'id': 'thing-1', 'deleted': 1}]}, 400, 'Failed to parse deleted'),
    ({'updateItems': [{'id': 'thing-1', 'key': 'x'}]}, 400, 'Blocklisted item property key'),
    ({'deleteItems': ['nobody']}, 404, 'Item with id nobody not found'),
    ({'deleteItems': ['thing-1', 'nobody']}, 404, 'nobody'),
    ({'createEdges': [{'_source': 'nobody', '_target': 'thing-1', '_name': 'e'}]}, 404,
    'Edge source not found: nobody'),
    ({'createEdges': [{'_source': 'thing-1', '_target': 'nobody', '_name': 'e'}]}, 404,
    'Edge target not found: nobody'),
    ({'createEdges': [{'_source': 'thing-1', '_target': 'thing-1', '_name': 'e', '_self': 'nobody'}]}, 400,
    'Failed to create edge with _self: nobody'),
    ({'search': [{'type': 'Thing', 'nothing': 1}]}, 400, 'Property nothing not defined'),
    ({'search': [{}, {'wingMm': None}]}, 400, 'Searching for undefined (null)'),
    ({'createItems': [{'type': 'PluginRun', 'containerImage': 'probe'}]}, 400, 'missing field `targetItemId`'),
    ({'createItems': [{'type': 'PluginRun', 'containerImage': 'missing', 'targetItemId': 'thing-1'}]}, 500,
    'Failed to execute')]


@pytest.mark.parametrize('bad, status, text', BAD)
def test_one_fault_undoes_everything(pod, bad, status, text):
    pod.ok('bulk', {'createItems': [SCHEMA, {'type': 'Thing', 'id': 'thing-1', 'wingMm': 1}]})
    before = pod.find(**{'[[edges]]': {}})
    good = {'createItems': [{'type': 'Good', 'wingMm': 2},
        {'type': 'ItemPropertySchema', 'itemType': 'T', 'propertyName': 'fresh', 'valueType': 'Text'},
        {'type': 'Good', 'fresh': 'x'}],
            'updateItems': [{'id': 'thing-1', 'wingMm': 3}], 'deleteItems': ['thing-1'],
            'createEdges': [{'_source': 'thing-1', '_target': 'thing-1', '_name': 'e'}],
            'search': [{'type': 'Thing'}]}
    pod.refused('bulk', {k: good[k] + bad.get(k, []) for k in good}, status, text)
    assert pod.find(**{'[[edges]]': {}}) == before
    pod.refused('create_item', {'type': 'T', 'fresh': 'x'}, 400, 'not defined')
    assert [len(v) for v in pod.ok('bulk', good).values()] == [1, 3, 1]


@pytest.mark.parametrize('bad, worse', [(BAD[1], BAD[0]), (BAD[0], BAD[1]), (BAD[3], BAD[0]), (BAD[0], BAD[3]),
    (BAD[3], BAD[6]), (BAD[6], BAD[11]), (BAD[11], BAD[13]), (BAD[13], BAD[16]),
                                        (BAD[7], BAD[6]), (BAD[6], BAD[7]), (BAD[15], BAD[13]), (BAD[13], BAD[15]),
                                        (BAD[4], BAD[0]), (BAD[8], BAD[6]), (BAD[6], BAD[8])])
def test_the_first_fault_decides(pod, bad, worse):
    pod.ok('bulk', {'createItems': [SCHEMA, {'type': 'Thing', 'id': 'thing-1', 'wingMm': 1}]})
    (one, status, text), (two, _, _) = bad, worse
    pod.refused('bulk', {k: one.get(k, []) + two.get(k, []) for k in one.keys() | two.keys()}, status, text)


def test_the_first_fault_decides_in_a_long_list_too(pod):
    pod.make(id='thing-1')
    many = [{'type': 'T'}] * 300
    pod.refused('bulk', {'createItems': many + [{'type': 'T', 'nothing': 1}, {'type': 'T', 'id': 'thing-1'}]}, 400,
        'not defined')
    pod.refused('bulk', {'createItems': many + [{'type': 'T', 'id': 'thing-1'}, {'type': 'T', 'nothing': 1}]}, 500,
        'UNIQUE')
    pod.refused('bulk', {'createItems': many + [{'type': 'T', 'id': 'thing-1', 'nothing': 1}]}, 500, 'UNIQUE')
    assert pod.find(type='T') == []


def test_an_edge_to_what_was_made_in_the_same_request(pod):
    out = pod.ok('bulk', {'createItems': [{'type': 'T', 'id': f'thing-{k}'} for k in range(3)],
                          'createEdges': [{'_source': f'thing-{k}', '_target': f'thing-{(k + 1) % 3}',
                          '_name': 'next'} for k in range(3)]})
    assert [pod.get(e)['_source'] for e in out['createEdges']] == ['thing-0', 'thing-1', 'thing-2']


def test_a_thousand_items_and_back(pod):
    pod.define(name='Text', size='Integer')
    items = [{'type': 'T', 'name': f'größe {k} ":" \\', 'size': k} for k in range(1000)]
    pod.ok('bulk', {'createItems': items})
    assert sorted(i['size'] for i in pod.find(type='T')) == list(range(1000))
    assert pod.find(type='T', size=7)[0]['name'] == items[7]['name']

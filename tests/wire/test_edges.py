"""Sections 7.5 to 7.7: drawing edges, edges in results, asking for edges"""
import re, time

import pytest

from .conftest import BASE, bare

HEX32 = re.compile('[0-9a-f]{32}')


@pytest.fixture
def nodes(pod):
    "Three items: node-a, node-b, node-c"
    pod.define(note='Text')
    pod.ok('bulk', {'createItems': [{'id': f'node-{n}', 'type': 'Node', 'note': n} for n in 'abc']})
    return pod


def edge(source='node-a', target='node-b', name='points', **more): return {'_source': source, '_target': target,
    '_name': name} | more
def out(pod, id='node-a'): return pod.find(**{'id': id, '[[edges]]': {}})[0]['[[edges]]']
def into(pod, id='node-b'): return pod.find(**{'id': id, '~[[edges]]': {}})[0]['~[[edges]]']
def far(pod, id='node-a', direction='Outgoing', expand=False): return pod.ok('get_edges',
    {'item': id, 'direction': direction, 'expandItems': expand})


def test_an_edge_is_an_item(nodes):
    id = nodes.ok('create_edge', edge())
    assert HEX32.fullmatch(id)
    item = nodes.get(id)
    assert item.keys() == BASE | {'_source', '_target', '_edge'}
    assert (item['id'], item['type'], item['deleted']) == (id, 'Edge', False)
    assert (item['_source'], item['_target'], item['_edge']) == ('node-a', 'node-b', 'points')
    for d in ('dateCreated', 'dateModified', 'dateServerModified'): assert abs(item[d] - time.time() * 1000) < 60_000
    assert nodes.find(id=id) == nodes.find(type='Edge') == [item]
    assert id in nodes.ids() and id in nodes.ids(deleted=False)
    assert id in nodes.ids(**{'dateServerModified>=': item['dateServerModified']})
    assert nodes.ids(type='Edge', deleted=True) == []


def test_edges_come_among_items_in_the_order_of_change(nodes):
    time.sleep(.01)
    nodes.make(id='late-1')
    time.sleep(.01)
    id = nodes.ok('create_edge', edge('late-1', 'late-1'))
    time.sleep(.01)
    nodes.make(id='late-2')
    found = nodes.ids(**{'dateServerModified>=': nodes.get('late-1')['dateServerModified']})
    assert sorted(found[:2]) == sorted(['late-1', id]) and found[2] == 'late-2'
    assert nodes.ids(_sortOrder='Desc')[0] == 'late-2'


def test_the_source_counts_as_changed_and_nobody_else(nodes):
    a, b = nodes.get('node-a'), nodes.get('node-b')
    time.sleep(.01)
    nodes.ok('create_edge', edge())
    changed = nodes.get('node-a')
    assert changed['dateServerModified'] > a['dateServerModified'] and changed['dateModified'] == a['dateModified']
    assert nodes.get('node-b') == b


def test_the_same_edge_many_times(nodes):
    ids = [nodes.ok('create_edge', edge()) for _ in range(3)]
    assert len(set(ids)) == 3
    assert [e['id'] for e in out(nodes)] == ids
    assert far(nodes) == [{'name': 'points', 'item': {'id': 'node-b'}}] * 3
    assert len(set(nodes.ok('bulk', {'createEdges': [edge()] * 3})['createEdges'])) == 3
    assert len(out(nodes)) == 6


@pytest.mark.parametrize('name', ['', 'größe 😀', 'a b', '[[edges]]', "'", '"\\', '\x00', '\x02\x03', 'x' * 1000,
    'select'])
def test_any_text_is_a_name(nodes, name):
    id = nodes.ok('create_edge', edge(name=name))
    assert nodes.get(id)['_edge'] == name
    assert out(nodes)[0]['_edge'] == name and into(nodes)[0]['_edge'] == name
    assert far(nodes) == [{'name': name, 'item': {'id': 'node-b'}}]


def test_a_loop(nodes):
    id = nodes.ok('create_edge', edge('node-a', 'node-a'))
    item, = nodes.find(**{'id': 'node-a', '[[edges]]': {}, '~[[edges]]': {}})
    assert [e['id'] for e in item['[[edges]]']] == [e['id'] for e in item['~[[edges]]']] == [id]


def test_an_edge_with_an_item_of_its_own(nodes):
    nodes.make('Friendship', id='edge-1', note='since school', dateCreated=5)
    assert nodes.ok('create_edge', edge(_self='edge-1')) == 'edge-1'
    item = nodes.get('edge-1')
    assert bare(item) == {'id': 'edge-1', 'type': 'Friendship', 'deleted': False, 'note': 'since school',
        '_source': 'node-a', '_target': 'node-b', '_edge': 'points'}
    shown, = out(nodes)
    assert shown == {k: v for k, v in item.items() if k not in ('_source', '_target')} | {'_item': nodes.get('node-b')}
    assert nodes.find(type='Friendship') == [item]
    assert nodes.find(type='Edge') == []


def test_one_edge_for_each_self(nodes):
    nodes.make(id='edge-1')
    nodes.ok('create_edge', edge(_self='edge-1'))
    for other in (edge(_self='edge-1'), edge('node-b', 'node-c', 'x', _self='edge-1')):
        nodes.refused('create_edge', other, 500, 'UNIQUE constraint failed: edges.self')
    own = nodes.ok('create_edge', edge())
    nodes.refused('create_edge', edge(_self=own), 500, 'UNIQUE constraint failed: edges.self')
    nodes.refused('create_edge', edge('ghost-1', _self=own), 404, 'Edge source not found: ghost-1')
    nodes.refused('bulk', {'createEdges': [edge(_self='node-c'), edge(_self='node-c')]}, 500,
        'UNIQUE constraint failed: edges.self')
    assert len(out(nodes)) == 2


def test_null_for_no_self(nodes): assert HEX32.fullmatch(nodes.ok('create_edge', edge(_self=None)))


def test_an_item_can_be_its_own_edge(nodes):
    assert nodes.ok('create_edge', edge('node-a', 'node-a', _self='node-a')) == 'node-a'
    assert nodes.get('node-a')['_source'] == 'node-a'


def test_what_must_be_there_in_which_order(nodes):
    nodes.refused('create_edge', edge('ghost-1', 'ghost-2', _self='ghost-3'), 400,
        'Failure: Failed to create edge with _self: ghost-3')
    nodes.refused('create_edge', edge('ghost-1', 'ghost-2'), 404, 'Failure: Edge source not found: ghost-1')
    nodes.refused('create_edge', edge('node-a', 'ghost-2'), 404, 'Failure: Edge target not found: ghost-2')
    nodes.refused('create_edge', edge('', ''), 404, 'Edge source not found: ')
    nodes.refused('create_edge', edge('ghost-1', _self='node-c'), 404, 'Edge source not found: ghost-1')
    before = nodes.find(type='Node')
    nodes.refused('bulk', {'createEdges': [edge(), edge('node-a', 'ghost-2')]}, 404, 'Edge target not found: ghost-2')
    assert nodes.find(type='Edge') == [] and nodes.find(type='Node') == before and out(nodes) == []


def test_deleted_items_may_have_edges(nodes):
    for id in ('node-a', 'node-b', 'node-c'): nodes.ok('delete_item', id)
    nodes.ok('create_edge', edge(_self='node-c'))
    e, = out(nodes)
    assert e['deleted'] is True and e['_item']['deleted'] is True


def test_edges_of_edges(nodes):
    first = nodes.ok('create_edge', edge())
    second = nodes.ok('create_edge', edge(first, 'node-c', 'about'))
    assert nodes.get(second)['_source'] == first
    assert out(nodes, first)[0]['_item']['id'] == 'node-c'
    e, = into(nodes, 'node-c')
    assert e['_item']['id'] == first and not e['_item'].keys() & {'_source', '_target', '_edge'}
    third = nodes.ok('create_edge', edge('node-c', second, 'about'))
    assert out(nodes, 'node-c')[0]['_item']['id'] == second and third in nodes.ids(type='Edge')
    assert [e['item'].keys() for e in far(nodes, first, expand=True)] == [BASE | {'note'}]


def test_deleting_an_edge_only_marks_it(nodes):
    id = nodes.ok('create_edge', edge())
    assert nodes.ok('delete_item', id) == {}
    item = nodes.get(id)
    assert item['deleted'] is True and item['_edge'] == 'points'
    assert out(nodes)[0]['deleted'] is True and into(nodes)[0]['deleted'] is True
    assert far(nodes) == [{'name': 'points', 'item': {'id': 'node-b'}}]
    assert far(nodes, 'node-b', 'Incoming', True) == [{'name': 'points', 'item': nodes.get('node-a')}]
    assert nodes.ids(type='Edge', deleted=True) == [id]
    again = nodes.ok('create_edge', edge())
    assert again != id and len(out(nodes)) == 2
    nodes.ok('update_item', {'id': id, 'deleted': False})
    assert [e['deleted'] for e in out(nodes)] == [False, False]


def test_edges_can_be_changed_like_items(nodes):
    id = nodes.ok('create_edge', edge())
    nodes.ok('update_item', {'id': id, 'note': 'x', 'dateModified': 5})
    item = nodes.get(id)
    assert (item['note'], item['dateModified'], item['_edge']) == ('x', 5, 'points')
    assert out(nodes)[0]['note'] == 'x'
    assert nodes.ids(type='Edge', note='x') == [id]
    nodes.refused('update_item', {'id': id, '_edge': 'y'}, 400, 'does not satisfy the format')


def test_edges_in_search(nodes):
    id = nodes.ok('create_edge', edge())
    a, b, e = nodes.get('node-a'), nodes.get('node-b'), nodes.get(id)
    shown = {k: v for k, v in e.items() if k not in ('_source', '_target')}
    assert nodes.find(**{'id': 'node-a', '[[edges]]': {}}) == [a | {'[[edges]]': [shown | {'_item': b}]}]
    assert nodes.find(**{'id': 'node-b', '~[[edges]]': {}}) == [b | {'~[[edges]]': [shown | {'_item': a}]}]
    assert nodes.find(**{'id': 'node-b', '~[[edges]]': {}, '[[edges]]': {}}) == [b | {'[[edges]]': [],
        '~[[edges]]': [shown | {'_item': a}]}]
    assert nodes.find(**{'id': 'node-a', '[[edges]]': None, '~[[edges]]': None}) == [a] == nodes.ok('get_item',
        'node-a')
    assert nodes.find(**{'id': id, '[[edges]]': {}}) == [e | {'[[edges]]': []}]
    assert nodes.find(**{'id': 'nobody', '[[edges]]': {}}) == []


def test_all_items_of_a_search_get_their_edges(nodes):
    for s, t in ('ab', 'ac', 'bc'): nodes.ok('create_edge', edge(f'node-{s}', f'node-{t}'))
    found = {i['id']: [e['_item']['id'] for e in i['[[edges]]']]
        for i in nodes.find(**{'type': 'Node', '[[edges]]': {}})}
    assert found == {'node-a': ['node-b', 'node-c'], 'node-b': ['node-c'], 'node-c': []}
    found = nodes.find(**{'note': 'b', '[[edges]]': {}, '~[[edges]]': {}})
    assert [(len(i['[[edges]]']), len(i['~[[edges]]'])) for i in found] == [(1, 1)]
    found, = nodes.ok('bulk', {'search': [{'id': 'node-c', '~[[edges]]': {}}]})['search']
    assert [e['_item']['id'] for e in found[0]['~[[edges]]']] == ['node-a', 'node-b']


def test_one_level_and_no_more(nodes):
    nodes.ok('create_edge', edge('node-a', 'node-b'))
    nodes.ok('create_edge', edge('node-b', 'node-c'))
    assert out(nodes)[0]['_item'].keys() == BASE | {'note'}
    deep, = nodes.find(**{'id': 'node-a', '[[edges]]': {'depth': 3}})
    assert deep['[[edges]]'][0]['_item'].keys() == BASE | {'note'}


def test_the_order_of_edges(nodes):
    names = ['zeta', 'alpha', 'Zeta', '', 'é', 'alpha', 'b', '~', '_', '1', '10', '2', 'zeta']
    targets = ['node-b', 'node-c'] * 7
    for name, target in zip(names, targets): nodes.ok('create_edge', edge(target=target, name=name))
    wanted = sorted(zip(names, targets, range(99)), key=lambda x: (x[0].encode(), x[2]))
    assert far(nodes) == [{'name': n, 'item': {'id': t}} for n, t, _ in wanted]
    assert [(e['_edge'], e['_item']['id']) for e in out(nodes)] == [(n, t) for n, t, _ in wanted]
    assert [e['name'] for e in far(nodes, 'node-b', 'Incoming')] == [n for n, t, _ in wanted if t == 'node-b']


def test_edges_of_one_name_come_in_the_order_in_which_their_items_were_made(nodes):
    for id in ('own-0001', 'own-0002'): nodes.make(id=id)
    drawn = [nodes.ok('create_edge', edge())]
    nodes.make(id='own-0003')
    drawn.append(nodes.ok('create_edge', edge(target='node-c')))
    for own in ('own-0003', 'own-0002', 'own-0001'): nodes.ok('create_edge', edge(_self=own))
    wanted = ['own-0001', 'own-0002', drawn[0], 'own-0003', drawn[1]]
    assert [e['id'] for e in out(nodes)] == wanted
    assert [e['id'] for e in into(nodes)] == wanted[:4]
    assert [e['item']['id'] for e in far(nodes)] == ['node-b'] * 4 + ['node-c']
    for id in reversed(drawn): nodes.ok('update_item', {'id': id, 'note': 'x'})
    nodes.ok('create_edge', edge('own-0001', 'own-0002', 'points'))
    assert [e['id'] for e in out(nodes)] == wanted
    both = [{'id': 'own-0005', 'type': 'T'}, {'id': 'own-0004', 'type': 'T'}]
    edges = [edge(name='new', _self='own-0004'), edge(name='new'), edge(name='new', _self='own-0005')]
    made = nodes.ok('bulk', {'createItems': both, 'createEdges': edges})['createEdges']
    assert [e['id'] for e in out(nodes) if e['_edge'] == 'new'] == ['own-0005', 'own-0004', made[1]]


def test_get_edges(nodes):
    for s, t, n in (('a', 'b', 'zeta'), ('a', 'a', 'alpha')): nodes.ok('create_edge', edge(f'node-{s}', f'node-{t}', n))
    a, b = nodes.get('node-a'), nodes.get('node-b')
    assert far(nodes) == [{'name': 'alpha', 'item': {'id': 'node-a'}}, {'name': 'zeta', 'item': {'id': 'node-b'}}]
    assert far(nodes, expand=True) == [{'name': 'alpha', 'item': a}, {'name': 'zeta', 'item': b}]
    assert far(nodes, 'node-b', 'Incoming', True) == [{'name': 'zeta', 'item': a}]
    assert far(nodes, 'node-b') == far(nodes, 'node-c', 'Incoming') == []


@pytest.mark.parametrize('direction', ['Outgoing', 'Incoming'])
def test_get_edges_of_nobody(nodes, direction):
    for id in ('node-z', '', '00000000ed6e80000000000000000001'):
        nodes.refused('get_edges', {'item': id, 'direction': direction, 'expandItems': True}, 404,
            f'Failure: Cannot find item id {id}')


def test_get_edges_of_deleted_items_and_of_edges(nodes):
    id = nodes.ok('create_edge', edge())
    nodes.ok('delete_item', 'node-a')
    nodes.ok('delete_item', 'node-b')
    assert far(nodes, expand=True)[0]['item']['deleted'] is True
    assert far(nodes, id) == far(nodes, id, 'Incoming', True) == []

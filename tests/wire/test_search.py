"""Sections 8.1 and 8.2: filters, order, and a limit that counts before properties and takes in ties"""
import time

import pytest

from .conftest import bare


@pytest.fixture
def cars(pod):
    "Four cars and a van; the first two cars came at once, everything else a moment later each"
    pod.define(wheels='Integer', plate='Text', weight='Real', sold='Bool', built='DateTime')
    pod.ok('bulk', {'createItems': [{'id': 'car-01', 'type': 'Car', 'wheels': 4, 'plate': 'AA-1', 'weight': 1.5,
        'sold': True, 'built': 1000},
                                    {'id': 'car-02', 'type': 'Car', 'wheels': 3, 'plate': 'BB-2', 'weight': 2.0,
                                    'sold': False, 'built': 2000}]})
    for k, item in enumerate(({'id': 'car-03', 'wheels': 4}, {'id': 'car-04', 'plate': 'AA-1'}), 3):
        time.sleep(.003)
        pod.make(**{'type': 'Car'} | item)
    time.sleep(.003)
    pod.make('Van', id='van-01', wheels=4)
    return pod


@pytest.mark.parametrize('query, ids', [
    ({'type': 'Car'}, ['car-01', 'car-02', 'car-03', 'car-04']), ({'type': 'Van'}, ['van-01']), ({'type': 'car'}, []),
    ({'type': 'Car '}, []), ({'type': ''}, []), ({'type': 'Ca%'}, []),
    ({'id': 'car-03'}, ['car-03']), ({'id': 'CAR-03'}, []), ({'id': ''}, []), ({'id': 'car-03', 'type': 'Van'}, []),
    ({'id': 'car-03', 'type': 'Car'}, ['car-03']),
    ({'id': 'car-03', 'type': None}, ['car-03']),
    ({'id': None, 'type': 'Van', 'deleted': None, 'dateServerModified>=': None, 'dateServerModified<': None,
    '[[edges]]': None}, ['van-01']),
    ({'type': 'Car', 'deleted': False}, ['car-01', 'car-02', 'car-03', 'car-04']),
    ({'type': 'Car', 'deleted': True}, []),
    ({'wheels': 4}, ['car-01', 'car-03', 'van-01']), ({'type': 'Car', 'wheels': 4}, ['car-01', 'car-03']),
    ({'wheels': 4, 'plate': 'AA-1'}, ['car-01']), ({'wheels': 5}, []),
    ({'wheels': 2**63 - 1}, []), ({'wheels': -2**63}, []),
    ({'plate': 'AA-1'}, ['car-01', 'car-04']), ({'plate': 'aa-1'}, []), ({'plate': 'AA'}, []), ({'plate': ''}, []),
    ({'plate': 'AA-%'}, []), ({'plate': "' or 1=1"}, []), ({'plate': 'AA-1\x00'}, []),
    ({'weight': 1.5}, ['car-01']), ({'weight': 2}, ['car-02']), ({'weight': 2.0}, ['car-02']), ({'weight': 2**63}, []),
    ({'weight': 1e308}, []),
    ({'sold': True}, ['car-01']), ({'sold': False}, ['car-02']),
    ({'built': 1000}, ['car-01']), ({'built': 1000.0}, ['car-01']), ({'built': 999.5}, ['car-01']),
    ({'built': 1999.6}, ['car-02']), ({'built': 1000.5}, []),
    ({'type': 'Car', '_sortOrder': 'Asc'}, ['car-01', 'car-02', 'car-03', 'car-04']),
    ({'type': 'Car', '_sortOrder': 'Desc'}, ['car-04', 'car-03', 'car-02', 'car-01']),
    ({'wheels': 4, '_sortOrder': 'Desc'}, ['van-01', 'car-03', 'car-01'])])
def test_filters(cars, query, ids):
    assert cars.ids(**query) == ids
    assert [[i['id'] for i in found] for found in cars.ok('bulk', {'search': [query, query]})['search']] == [ids, ids]


def test_results_are_whole_items(cars):
    found = cars.find(type='Car', wheels=3)
    assert found == cars.ok('get_item', 'car-02')
    assert bare(found[0]) == {'id': 'car-02', 'type': 'Car', 'deleted': False, 'wheels': 3, 'plate': 'BB-2',
        'weight': 2.0, 'sold': False, 'built': 2000}
    assert type(found[0]['weight']) is float


def test_without_filters_everything_comes_in_the_order_of_change(cars):
    found = cars.find()
    assert [i['id'] for i in found[-5:]] == ['car-01', 'car-02', 'car-03', 'car-04',
        'van-01'] and len(found) == 14 + 5 + 5
    dates = [i['dateServerModified'] for i in found]
    assert dates == sorted(dates)
    assert cars.find(_sortOrder='Desc') == found[::-1]
    time.sleep(.003)
    cars.ok('update_item', {'id': 'car-01'})
    assert cars.ids()[-1] == 'car-01'


def test_deleted_and_live_items(cars):
    cars.ok('delete_item', 'car-02')
    assert cars.ids(type='Car') == ['car-01', 'car-03', 'car-04', 'car-02']
    assert cars.ids(type='Car', deleted=None) == ['car-01', 'car-03', 'car-04', 'car-02']
    assert cars.ids(type='Car', deleted=False) == ['car-01', 'car-03', 'car-04']
    assert cars.ids(type='Car', deleted=True) == ['car-02']
    assert cars.ids(deleted=True, wheels=3) == ['car-02']


def test_bounds_of_the_date(cars):
    date = cars.get('car-03')['dateServerModified']
    for q, ids in (({'dateServerModified>=': date}, ['car-03', 'car-04']),
        ({'dateServerModified>=': date + 1}, ['car-04']), ({'dateServerModified<': date}, ['car-01', 'car-02']),
                   ({'dateServerModified<': date + 1}, ['car-01', 'car-02', 'car-03']),
                   ({'dateServerModified>=': date, 'dateServerModified<': date + 1}, ['car-03']),
                   ({'dateServerModified>=': date, 'dateServerModified<': date}, []),
                   ({'dateServerModified>=': -2**63}, ['car-01', 'car-02', 'car-03', 'car-04']),
                   ({'dateServerModified<': 2**63 - 1}, ['car-01', 'car-02', 'car-03', 'car-04']),
                   ({'dateServerModified>=': 2**63 - 1}, []), ({'dateServerModified<': -2**63}, []),
                   ({'dateServerModified>=': 0, 'dateServerModified<': None},
                   ['car-01', 'car-02', 'car-03', 'car-04'])):
        assert cars.ids(type='Car', **q) == ids, q


@pytest.mark.parametrize('name, v, text', [
    ('doors', 2, 'Property doors not defined in Schema (attempted to use it for json value 2)'),
    ('doors', 'x', 'Property doors not defined in Schema (attempted to use it for json value "x")'),
    ('Wheels', 4, 'Property Wheels not defined in Schema'), ('wheels ', 4, 'Property wheels  not defined in Schema'),
    (' wheels', 4, 'Property  wheels not defined in Schema'), ('', 4, 'Property  not defined in Schema'),
    *[(f'wheels{op}', 2, f'Property wheels{op} not defined in Schema')
      for op in ('>=', '<=', '>', '<', '==', '!=', '=', '^=', '*=', ' in', ' >=', '~')],
    *[(n, 1, f'Property {n} not defined in Schema')
      for n in ('rowid', '_type', '_text', '_sort', '_offset', '_after', '_memri', '_snippet', 'ids', '_rank', '_source',
    '_edge', '_item', 'edges', '[[Edges]]',
        '[[friend]]', 'dateServerModified>',
        'dateServerModified<=', 'dateCreated>=', 'dateModified<',
        'deleted==', 'id==', 'type!=', 'limit', '_Limit')],
    ('wheels', '4', 'Failed to parse json value "4" to Integer (wheels)'),
    ('wheels', True, 'Failed to parse json value true to Integer (wheels)'),
    ('wheels', [4], 'Failed to parse json value [4] to Integer (wheels)'),
    ('wheels', [], 'Failed to parse json value [] to Integer (wheels)'),
    ('wheels', {}, 'Failed to parse json value {} to Integer (wheels)'),
    ('wheels', {'>=': 2}, 'Failed to parse json value {">=":2} to Integer (wheels)'),
    ('wheels', 4.0, 'Failed to parse JSON number 4.0 to i64 (wheels)'),
    ('wheels', 2**63, 'Failed to parse JSON number 9223372036854775808 to i64 (wheels)'),
    ('plate', 5, 'Failed to parse json value 5 to Text (plate)'),
    ('plate', ['AA-1'], 'Failed to parse json value ["AA-1"] to Text (plate)'),
    ('weight', '1', 'Failed to parse json value "1" to Real (weight)'),
    ('sold', 1, 'Failed to parse json value 1 to Bool (sold)'),
    ('sold', 'true', 'Failed to parse json value "true" to Bool (sold)'),
    ('built', '2020', 'Failed to parse json value "2020" to DateTime (built)'),
    ('dateCreated', 'x', 'Failed to parse json value "x" to DateTime (dateCreated)'),
    ('dateServerModified', True, 'Failed to parse json value true to DateTime (dateServerModified)'),
    *[(n, None, 'Searching for undefined (null) properties is not supported yet')
      for n in ('wheels', 'plate', 'weight', 'sold', 'built', 'dateCreated', 'dateModified', 'dateServerModified')]])
def test_bad_filters_fail_only_where_there_is_an_item_to_look_at(cars, name, v, text):
    assert cars.refused('search', {'type': 'Car', name: v}, 400).startswith(f'Failure: {text}')
    cars.refused('search', {name: v}, 400, text)
    cars.refused('search', {'id': 'van-01', name: v, '[[edges]]': {}}, 400, text)
    cars.refused('search', {name: v, '_limit': 1, '_sortOrder': 'Desc', 'deleted': False}, 400, text)
    cars.refused('bulk', {'search': [{}, {'type': 'Car', name: v}]}, 400, text)
    for nobody in ({'type': 'Lorry'}, {'id': 'nobody'}, {'type': 'Car', '_limit': 0}, {'deleted': True},
        {'dateServerModified<': 0}, {'type': 'Car', 'dateServerModified>=': 2**62}):
        assert cars.find(**nobody | {name: v}) == []
    cars.ok('create_edge', {'_source': 'car-01', '_target': 'car-02', '_name': 'x'})
    cars.refused('search', {'type': 'Edge', name: v}, 400, text)


def test_several_filters_with_one_bad(cars):
    cars.refused('search', {'wheels': 4, 'doors': 2}, 400)
    assert cars.find(type='Lorry', wheels='x', doors=None) == []


@pytest.mark.parametrize('name', ['dateCreated', 'dateModified', 'dateServerModified'])
def test_dates_never_equal(cars, name):
    for v in (5, 0, 1.5, cars.get('car-01')[name]):
        assert cars.find(**{'type': 'Car', name: v}) == []
        assert cars.find(**{'type': 'Car', 'wheels': 4, name: v}) == []


def test_a_limit_takes_in_ties(cars):
    assert cars.ids(type='Car', _limit=1) == ['car-01', 'car-02'] == cars.ids(type='Car', _limit=2)
    assert cars.ids(type='Car', _limit=3) == ['car-01', 'car-02', 'car-03']
    for n in (4, 5, 1000, 2**63, 2**64 - 1): assert len(cars.find(type='Car', _limit=n)) == 4
    assert cars.ids(type='Car', _limit=2, _sortOrder='Desc') == ['car-04', 'car-03']
    assert cars.ids(type='Car', _limit=3, _sortOrder='Desc') == ['car-04', 'car-03', 'car-02', 'car-01']
    assert cars.find(type='Car', _limit=0) == [] == cars.find(_limit=0)
    assert len(cars.find(_limit=1)) == 14
    assert cars.ids(id='car-02', _limit=1) == ['car-02']


def test_a_limit_counts_before_properties(cars):
    assert cars.ids(type='Car', wheels=3, _limit=1) == ['car-02']
    assert cars.ids(type='Car', plate='AA-1', _limit=3) == ['car-01']
    assert cars.ids(type='Car', plate='AA-1', _limit=4) == ['car-01', 'car-04']
    assert cars.ids(type='Car', wheels=3, _limit=2, _sortOrder='Desc') == []
    assert cars.ids(wheels=4, _limit=1) == []


def test_ties_among_all_that_were_made_at_once(pod):
    pod.ok('bulk', {'createItems': [{'type': 'T', 'id': f'thing-{k:03}'} for k in range(300)]})
    dates = {i['dateServerModified'] for i in pod.find(type='T')}
    found = pod.ids(type='T', _limit=10)
    assert len(found) >= 10 and found == [f'thing-{k:03}' for k in range(len(found))]
    if len(dates) == 1: assert len(found) == 300
    assert pod.ids(type='T', _sortOrder='Desc') == [f'thing-{k:03}' for k in range(300)][::-1]


def test_pages_as_clients_take_them(pod):
    for k in range(30):
        pod.make(id=f'thing-{k:03}', type='T')
        if k % 3 == 0: time.sleep(.002)
    seen, start = [], 0
    while page := pod.find(**{'type': 'T', '_limit': 4, 'dateServerModified>=': start}):
        seen += [i['id'] for i in page]
        start = page[-1]['dateServerModified'] + 1
    assert seen == [f'thing-{k:03}' for k in range(30)]


def test_items_without_the_property_do_not_match(cars):
    assert cars.ids(type='Car', plate='BB-2') == ['car-02']
    cars.ok('update_item', {'id': 'car-02', 'plate': None})
    assert cars.ids(type='Car', plate='BB-2') == []


def test_a_property_defined_later(cars):
    cars.refused('search', {'type': 'Car', 'doors': 2}, 400, 'not defined')
    cars.define(doors='Integer')
    assert cars.find(type='Car', doors=2) == []
    cars.ok('update_item', {'id': 'car-04', 'doors': 2})
    assert cars.ids(doors=2) == ['car-04']

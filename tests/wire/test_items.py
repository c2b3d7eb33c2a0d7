"""Section 6: base fields, creating, changing, values, getting, deleting"""
import re, secrets, time

import pytest

from .conftest import BASE, bare

HEX32 = re.compile('[0-9a-f]{32}')


def near(ms): return abs(ms - time.time() * 1000) < 60_000


def test_an_item_has_six_fields_at_least(pod):
    id = pod.make('Tree')
    assert HEX32.fullmatch(id)
    item = pod.get(id)
    assert item.keys() == BASE
    assert (item['id'], item['type'], item['deleted']) == (id, 'Tree', False)
    for d in ('dateCreated', 'dateModified', 'dateServerModified'): assert type(item[d]) is int and near(item[d])


def test_ids_are_random(pod): assert len({pod.make() for _ in range(20)}) == 20


@pytest.mark.parametrize('id', ['abcdef', 'ABC-_9', '______', '------', 'x' * 36, '123456', '0f' * 16,
    'a-b_c1'])
def test_good_ids(pod, id):
    assert pod.make(id=id) == id
    assert pod.get(id)['id'] == id


@pytest.mark.parametrize('id', ['', 'a', 'abc_5', 'x' * 37, 'has space', 'abcdef\n', '\nabcdef', 'abcdé12', 'abc.def',
    'abc/def', "ab'cdef", 'abc\x00def', '１２３４５６', 'abcdef ', '٣٣٣٣٣٣', 'ſſſſſſ'])
def test_bad_ids(pod, id):
    for payload in ({'type': 'T', 'id': id}, {'type': 'T', 'id': id, 'nothing': 1}):
        pod.refused('create_item', payload, 400,
            f"Failure: Item id '{id}' does not satisfy the format ^[a-zA-Z0-9_-]{{6,36}}$")
    pod.refused('bulk', {'createItems': [{'type': 'T'}, {'type': 'T', 'id': id}]}, 400, 'does not satisfy the format')
    assert pod.find(type='T') == []


def test_null_for_what_may_be_missing(pod):
    id = pod.make(id=None, dateCreated=None, dateModified=None, rowid=None)
    assert HEX32.fullmatch(id) and near(pod.get(id)['dateCreated'])


def test_rowid_is_dropped(pod):
    pod.make(id='thing-1', rowid=7)
    assert pod.get('thing-1').keys() == BASE


@pytest.mark.parametrize('type', ['', ' ', 'Edge', 'Tree', 'a b', 'größe', '😀', "x'; drop table items", '%',
    'x' * 1000, 'null', 'Item', 'File', '\x00', 'a"b\\c', '\x02\x03'])
def test_any_text_is_a_type(pod, type):
    pod.make(type, id='thing-1')
    assert pod.get('thing-1')['type'] == type
    assert pod.ids(type=type, id='thing-1') == ['thing-1']
    assert pod.ids(type=type + 'x', id='thing-1') == []


@pytest.mark.parametrize('date', [0, 1, -1, 1600000000123, 2**63 - 1, -2**63])
def test_dates_of_clients(pod, date):
    pod.make(id='thing-1', dateCreated=date, dateModified=date)
    item = pod.get('thing-1')
    assert (item['dateCreated'], item['dateModified']) == (date, date) and near(item['dateServerModified'])
    pod.make(id='thing-2', dateCreated=date)
    assert near(pod.get('thing-2')['dateModified'])


def test_the_servers_date_is_the_servers(pod):
    for v in (42, 42.5, None, -2**63): assert near(pod.get(pod.make(dateServerModified=v))['dateServerModified'])
    for v, says in (('x', '"x"'), (True, 'true'), ([], '[]'), ({}, '{}')):
        pod.refused('create_item', {'type': 'T', 'dateServerModified': v}, 400,
            f'Failed to parse json value {says} to DateTime (dateServerModified)')


def test_deleted_from_the_start(pod):
    assert pod.get(pod.make(deleted=True))['deleted'] is True
    assert pod.get(pod.make(deleted=False))['deleted'] is False


def test_an_id_that_is_taken_is_a_fault_of_the_server(pod):
    pod.make(id='thing-1', type='First')
    pod.refused('create_item', {'type': 'T', 'id': 'thing-1'}, 500, 'UNIQUE constraint failed: items.id')
    # before the properties are looked at; built-in ids and those of deleted items count
    pod.refused('create_item', {'type': 'T', 'id': 'thing-1', 'nothing': 1}, 500, 'UNIQUE constraint failed: items.id')
    pod.refused('create_item', {'type': 'T', 'id': 'ad61e2770eb64d81a3ddfa03fa5f887f'}, 500, 'UNIQUE')
    pod.ok('delete_item', 'thing-1')
    pod.refused('create_item', {'type': 'T', 'id': 'thing-1'}, 500, 'UNIQUE')
    assert pod.get('thing-1')['type'] == 'First'
    assert pod.make(id='THING-1') == 'THING-1'


VALUES = [('Text', v) for v in ('', 'x', 'größe 😀', 'a\nb\t"c"\\', '\x00', 'a\x00b', '\x02', '\x7f', ' ', 'null',
    "'; drop table items", 'x' * 100_000, '\ufeff', '5', '\u2028')] + \
    [('Integer', v) for v in (0, 1, -1, 2**53 + 1, 2**63 - 1, -2**63)] + \
    [('Real', v) for v in (0.0, -0.0, 1.5, -1.5, 1e300, 5e-324, 0.1, 1e21, 1.7976931348623157e308,
     -1.7976931348623157e308)] + [('Bool', True), ('Bool', False)] + \
    [('DateTime', v) for v in (0, -1, 1600000000123, 2**63 - 1, -2**63)]


@pytest.mark.parametrize('kind, v', VALUES)
def test_values_come_back_as_they_were(pod, kind, v):
    pod.define(prop=kind)
    pod.make(id='thing-1', prop=v)
    assert type(pod.get('thing-1')['prop']) is type(v) and pod.get('thing-1')['prop'] == v
    pod.make(id='thing-2')
    pod.ok('update_item', {'id': 'thing-2', 'prop': v})
    assert pod.get('thing-2')['prop'] == v
    assert pod.find(id='thing-2') == pod.ok('get_item', 'thing-2')


@pytest.mark.parametrize('kind, v, stored',
    [('Real', 5, 5.0), ('Real', 0, 0.0), ('Real', -2**63, -2.0**63), ('DateTime', 1.4, 1), ('DateTime', 1.5, 2),
    ('DateTime', 2.5, 3), ('DateTime', -1.5, -2),
        ('DateTime', -2.5, -3), ('DateTime', 0.49, 0), ('DateTime', 1e3, 1000),
        ('DateTime', -0.4, 0), ('DateTime', .5, 1), ('DateTime', -.5, -1),
    ('DateTime', 0.49999999999999994, 0),
    ('DateTime', 4503599627370497.5, 4503599627370498), ('DateTime', 1600000000000.5, 1600000000001),
    ('DateTime', 1e15, 10**15)])
def test_values_that_change_a_little(pod, kind, v, stored):
    pod.define(prop=kind)
    pod.make(id='thing-1', prop=v)
    found = pod.get('thing-1')['prop']
    assert type(found) is type(stored) and found == stored
    pod.ok('update_item', {'id': 'thing-1', 'prop': v})
    assert pod.get('thing-1')['prop'] == stored


WRONG = [('Text', v, f'Failed to parse json value {s} to Text (prop)') for v,
    s in ((5, '5'), (1.5, '1.5'), (True, 'true'), ([], '[]'), ({}, '{}'), (['a', 1], '["a",1]'),
    ({'a': None}, '{"a":null}'))] + \
    [('Integer', v, f'Failed to parse JSON number {s} to i64 (prop)') for v,
        s in ((1.5, '1.5'), (5.0, '5.0'), (2**63, '9223372036854775808'), (1e3, '1000.0'))] + \
    [('Integer', v, f'Failed to parse json value {s} to Integer (prop)') for v,
        s in (('5', '"5"'), (True, 'true'), ([5], '[5]'), ({}, '{}'))] + \
    [('Real', v, f'Failed to parse json value {s} to Real (prop)') for v,
        s in (('1.5', '"1.5"'), (False, 'false'), ([1.5], '[1.5]'))] + \
    [('Bool', v, f'Failed to parse json value {s} to Bool (prop)') for v,
        s in ((0, '0'), (1, '1'), ('true', '"true"'), (1.0, '1.0'), ([], '[]'))] + \
    [('DateTime', v, f'Failed to parse json value {s} to DateTime (prop)') for v,
        s in (('2020-01-01', '"2020-01-01"'), (True, 'true'), ([], '[]'))]


@pytest.mark.parametrize('kind, v, text', WRONG)
def test_values_of_another_kind(pod, kind, v, text):
    pod.define(prop=kind)
    assert pod.refused('create_item', {'type': 'T', 'prop': v}, 400) == f'Failure: {text}'
    assert pod.refused('bulk', {'createItems': [{'type': 'T'}] * 20 + [{'type': 'T', 'prop': v}]},
        400) == f'Failure: {text}'
    pod.make(id='thing-1')
    assert pod.refused('update_item', {'id': 'thing-1', 'prop': v}, 400) == f'Failure: {text}'
    assert pod.get('thing-1').keys() == BASE


@pytest.mark.parametrize('v, says', [(900, '900'), ('x', '"x"'), (None, 'null'), (1.5, '1.5'), (True, 'true'),
    ([1, 'a'], '[1,"a"]'), ({'a': 1}, '{"a":1}'), ('é', '"é"')])
def test_properties_that_are_not_defined(pod, v, says):
    text = f'Failure: Property altitude not defined in Schema (attempted to use it for json value {says})'
    assert pod.refused('create_item', {'type': 'Cloud', 'id': 'cloud-1', 'altitude': v}, 400) == text
    assert pod.ok('get_item', 'cloud-1') == []
    pod.make('Cloud', id='cloud-1')
    assert pod.refused('update_item', {'id': 'cloud-1', 'altitude': v}, 400) == text
    assert pod.get('cloud-1').keys() == BASE


def test_names_of_properties_are_exact(pod):
    pod.define(altitude='Integer')
    for name in ('Altitude', 'ALTITUDE', ' altitude', 'altitude ', 'altitud', 'altitude>=', '', '_altitude', 'a.b',
        'a"b', "a'b", '$', '_source', '_edge', '[[edges]]', 'é'):
        pod.refused('create_item', {'type': 'Cloud', name: 1}, 400, f'Property {name} not defined in Schema')


def test_null_stores_nothing(pod):
    pod.define(name='Text')
    assert pod.get(pod.make(name=None)).keys() == BASE


def test_any_type_may_have_any_property(pod):
    pod.define(name='Text')
    for type in ('Thing', 'Rock', '', 'Edge', 'File'): assert pod.get(pod.make(type, name='x'))['name'] == 'x'


def test_an_update(pod):
    pod.define(name='Text', size='Integer')
    pod.make('Tree', id='thing-1', name='x', size=1, dateCreated=111, dateModified=112)
    before = pod.get('thing-1')
    time.sleep(.01)
    assert pod.ok('update_item', {'id': 'thing-1', 'type': 'Rock', 'dateCreated': 5, 'dateServerModified': 6,
        'dateModified': 222, 'size': 2}) == {}
    item = pod.get('thing-1')
    assert bare(item) == {'id': 'thing-1', 'type': 'Tree', 'deleted': False, 'name': 'x', 'size': 2}
    assert (item['dateCreated'], item['dateModified']) == (111,
        222) and item['dateServerModified'] > before['dateServerModified']
    pod.ok('update_item', {'id': 'thing-1', 'name': None})
    item = pod.get('thing-1')
    assert 'name' not in item and item['size'] == 2 and near(item['dateModified'])
    pod.ok('update_item', {'id': 'thing-1', 'name': None})


def test_dropped_names_are_dropped_whatever_they_hold(pod):
    pod.make(id='thing-1', type='Tree')
    for v in (None, 5, 'x', [], {'a': 1}, True): assert pod.ok('update_item',
        {'id': 'thing-1', 'type': v, 'dateCreated': v, 'dateServerModified': v}) == {}
    assert pod.get('thing-1')['type'] == 'Tree'


def test_an_empty_update_touches_the_dates(pod):
    pod.make(id='thing-1', dateCreated=1, dateModified=2)
    before = pod.get('thing-1')
    time.sleep(.01)
    pod.ok('update_item', {'id': 'thing-1'})
    item = pod.get('thing-1')
    assert item['dateCreated'] == 1 and near(item['dateModified'])
    assert item['dateServerModified'] > before['dateServerModified']


@pytest.mark.parametrize('v, says', [(None, 'null'), ('1', '"1"'), (1.5, '1.5'), (1.0, '1.0'), (True, 'true'),
    ([], '[]'), (2**63, '9223372036854775808')])
def test_the_date_of_an_update_is_an_integer(pod, v, says):
    pod.make(id='thing-1')
    assert pod.refused('update_item', {'id': 'thing-1', 'dateModified': v},
        400) == f'Failure: Cannot parse dateModified {says} to i64'
    for v in (0, -5, 2**63 - 1, -2**63):
        pod.ok('update_item', {'id': 'thing-1', 'dateModified': v})
        assert pod.get('thing-1')['dateModified'] == v


@pytest.mark.parametrize('v, says', [(0, '0'), (1, '1'), ('true', '"true"'), ([], '[]'), (1.5, '1.5'), ({}, '{}')])
def test_deleted_in_an_update(pod, v, says):
    pod.make(id='thing-1')
    assert pod.refused('update_item', {'id': 'thing-1', 'deleted': v},
        400) == f'Failure: Failed to parse deleted {says} to bool'
    for v, is_deleted in ((True, True), (None, True), (False, False), (None, False), (True, True)):
        pod.ok('update_item', {'id': 'thing-1', 'deleted': v})
        assert pod.get('thing-1')['deleted'] is is_deleted


def test_deleted_items_can_be_changed(pod):
    pod.define(name='Text')
    pod.make(id='thing-1', deleted=True)
    pod.ok('update_item', {'id': 'thing-1', 'name': 'x'})
    assert (pod.get('thing-1')['name'], pod.get('thing-1')['deleted']) == ('x', True)


@pytest.mark.parametrize('name', ['a', '', '1a', '_ab', 'ab_', 'a-b', 'a b', 'a.b', 'é1', 'aé', 'x' * 33, 'ab\n',
    ' ab', '$ab', '[[edges]]', '_source', "a'b", 'ab='])
def test_names_of_a_bad_form_cannot_be_changed(pod, name):
    for id in ('nobody', 'ad61e2770eb64d81a3ddfa03fa5f887f'): # before the item is looked up
        pod.refused('update_item', {'id': id, name: 1}, 400,
            f'Failure: Property name {name} does not satisfy the format')


@pytest.mark.parametrize('name', ['ab', 'a1', 'a_b', 'a__b', 'AB', 'x' * 32, 'a' + '_' * 30 + 'b'])
def test_names_of_a_good_form(pod, name):
    pod.refused('update_item', {'id': 'nobody', name: 1}, 404, 'Failure: Item with id nobody not found')
    pod.refused('update_item', {'id': 'ad61e2770eb64d81a3ddfa03fa5f887f', name: 1}, 400, 'not defined in Schema')
    pod.define(**{name: 'Integer'})
    pod.make(id='thing-1')
    pod.ok('update_item', {'id': 'thing-1', name: 1})
    assert pod.get('thing-1')[name] == 1


OURS = '''rowid source target edges allEdges forwardEdges reverseEdges backwardEdges ID Type DateCreated DATEMODIFIED
dateservermodified Deleted'''.split()
SQL = '''abort action add after all alter always analyze and as asc attach autoincrement before begin between by
cascade case cast check collate column commit conflict constraint create cross current current_date
current_time current_timestamp database default deferrable deferred delete desc detach distinct do drop each
else end escape except exclude exclusive exists explain fail filter first following for foreign from full
generated glob group groups having if ignore immediate in index indexed initially inner insert instead
intersect into is isnull join key last left like limit match natural no not nothing notnull null nulls of
offset on or order others outer over partition plan pragma preceding primary query raise range recursive
references regexp reindex release rename replace restrict right rollback row rows savepoint select set table
temp temporary then ties to transaction trigger unbounded union unique update using vacuum values view
virtual when where window with without'''.split()


def test_there_are_145_words_of_sql(): assert len(SQL) == 145


@pytest.mark.parametrize('name', OURS + SQL)
def test_names_that_are_blocked(pod, name):
    for spelled in {name, name.upper(), name.capitalize()} - {'id', 'type', 'deleted'}:
        assert pod.refused('update_item', {'id': 'nobody', spelled: 1},
            400) == f'Failure: Blocklisted item property {spelled}'


def test_words_that_are_not_blocked(pod):
    for name in ('materialized', 'returning', 'selects', 'sha256', 'nonce', 'keys', 'container'):
        pod.refused('update_item', {'id': 'nobody', name: 1}, 404)


def test_the_date_is_checked_before_names_and_names_before_the_item_and_that_before_values(pod):
    pod.refused('update_item', {'h': 1, 'dateModified': None, 'id': 'nobody'}, 400, 'Cannot parse dateModified')
    pod.refused('update_item', {'h': 1, 'deleted': 1, 'id': 'nobody'}, 400, 'Failed to parse deleted')
    pod.refused('update_item', {'unheard': 1, 'h': 1, 'id': 'nobody'}, 400, 'does not satisfy')
    pod.refused('update_item', {'unheard': 1, 'id': 'nobody'}, 404)
    pod.define(name='Text')
    pod.refused('update_item', {'id': 'nobody', 'name': 5}, 404)


def test_a_failed_update_changes_nothing(pod):
    pod.define(name='Text')
    pod.make(id='thing-1', name='x')
    before = pod.get('thing-1')
    pod.refused('update_item', {'id': 'thing-1', 'name': 'y', 'unheard': 1}, 400, 'Property unheard not defined')
    assert pod.get('thing-1') == before


@pytest.mark.parametrize('id', ['nobody', '', 'x', 'a b', "'", '\x00', 'x' * 1000, 'é',
    '00000000ed6e80000000000000000001'])
def test_any_text_may_be_asked_for(pod, id):
    assert pod.ok('get_item', id) == []
    pod.refused('delete_item', id, 404, f'Failure: Item with id {id} not found')
    pod.refused('update_item', {'id': id}, 404, f'Failure: Item with id {id} not found')


def test_deleting(pod):
    pod.define(name='Text')
    pod.make(id='thing-1', name='x', dateCreated=1, dateModified=2)
    before = pod.get('thing-1')
    time.sleep(.01)
    for _ in range(2):
        assert pod.ok('delete_item', 'thing-1') == {}
        item = pod.get('thing-1')
        assert (item['deleted'], item['name'], item['dateCreated']) == (True, 'x', 1)
        assert near(item['dateModified']) and item['dateServerModified'] > before['dateServerModified']


def test_get_item_is_a_search_by_id(pod):
    pod.make(id='thing-1', deleted=True)
    assert pod.ok('get_item', 'thing-1') == pod.find(id='thing-1')
    assert pod.ok('get_item', 'THING-1') == []

"""Sections 7.1 to 7.4: what defines a property, and what a new Pod knows"""
import pytest

from .conftest import bare

BUILT_IN = [line.split() for line in '''ad61e2770eb64d81a3ddfa03fa5f887f ItemPropertySchema itemType Text
7bce841921beb3295634b224bc75a990 ItemPropertySchema propertyName Text
791427a0571e394d1f29cb63ee77e5 ItemPropertySchema valueType Text
8c914705a392432381561db94da76ad9 PluginRun containerImage Text
5f43d3c0120c4f0cac3c98b8129c9cb7 PluginRun targetItemId Text
419d1188b61dfa7d0a18e20794c843 File sha256 Text
16fa737654dc376a20976d8ec89033c2 File key Text
25994759432d4a636599c5e9c987eb95 File nonce Text
ccf9f0cba490ed58fa967f6a1136fc8 Item id Text
904ecd61ba00152d9ab9f235c13217 Item type Text
cb8b4455cdcabd25ba9d0eaabcc3786 Item dateCreated DateTime
d1757e7395932c32cc1dcecc03b2977 Item dateModified DateTime
8f492d26bd192ad53cf07f3ad36cbae7 Item dateServerModified DateTime
8716a96393c48255542ca6d54afe2bc6 Item deleted Bool'''.splitlines()]


def schema(P, V='Text', T='Boat', **more): return {'type': 'ItemPropertySchema', 'itemType': T, 'propertyName': P,
    'valueType': V} | more


def test_a_new_pod_holds_14_schema_items_in_this_order(pod):
    wanted = [{'id': id, 'type': 'ItemPropertySchema', 'itemType': T, 'propertyName': P, 'valueType': V,
        'deleted': False, 'dateCreated': 0, 'dateModified': 0,
               'dateServerModified': 0} for id, T, P, V in BUILT_IN]
    assert pod.find() == wanted
    assert pod.find(type='ItemPropertySchema', _limit=1) == wanted
    assert pod.find(_sortOrder='Desc') == wanted[::-1]
    assert pod.find(**{'dateServerModified>=': 1}) == []
    for item in wanted: assert pod.ok('get_item', item['id']) == [item]


@pytest.mark.parametrize('kind', ['Text', 'Integer', 'Real', 'Bool', 'DateTime'])
def test_the_five_kinds(pod, kind):
    id = pod.ok('create_item', schema('prop', kind))
    assert bare(pod.get(id)) == {'id': id, 'type': 'ItemPropertySchema', 'deleted': False, 'itemType': 'Boat',
        'propertyName': 'prop', 'valueType': kind}


@pytest.mark.parametrize('kind', ['text', 'TEXT', 'String', 'Blob', '', 'Text ', 'Date', 'integer'])
def test_other_kinds(pod, kind):
    pod.refused('create_item', schema('prop', kind), 400, 'Failure: JSON formatting error',
        f'unknown variant `{kind}`', 'Parsing of Schema item')


@pytest.mark.parametrize('name', ['itemType', 'propertyName', 'valueType'])
def test_all_three_are_required_texts(pod, name):
    whole = schema('prop')
    pod.refused('create_item', {k: v for k, v in whole.items() if k != name}, 400,
        f'Failure: JSON formatting error missing field `{name}`', 'Parsing of Schema item')
    for v in (None, 5, True, [], {}): pod.refused('create_item', whole | {name: v}, 400, 'JSON formatting error',
        'Parsing of Schema item')
    pod.refused('create_item', {'type': 'T', 'prop': 1}, 400, 'not defined')


def test_the_same_again_is_stored_again(pod):
    ids = [pod.ok('create_item', schema('hull', T=T)) for T in ('Boat', 'Boat', 'Plane')]
    ids += [pod.ok('create_item', schema('hull', id='schema-1')),
        pod.ok('create_item', schema('containerImage', T='PluginRun'))]
    assert len(set(ids)) == 5
    assert pod.ids(type='ItemPropertySchema', propertyName='hull') == ids[:4]
    ids = pod.ok('bulk', {'createItems': [schema('hull'), schema('hull')]})['createItems']
    assert len(set(ids)) == 2 and len(pod.find(propertyName='hull')) == 6


@pytest.mark.parametrize('name, kind, other',
    [('length', 'Real', 'Integer'), ('length', 'Integer', 'Real'), ('length', 'Bool', 'Integer'),
    ('length', 'DateTime', 'Integer')])
def test_another_kind_for_a_name_that_is_known(pod, name, kind, other):
    pod.ok('create_item', schema(name, kind))
    for T in ('Boat', 'Song'):
        assert pod.refused('create_item', schema(name, other, T), 400) == \
            f'Failure: Schema for property {name} is already defined to type {kind}, cannot override to type {other}'
    pod.ok('create_item', schema(name, kind, 'Song'))


@pytest.mark.parametrize('_, T, name, kind', BUILT_IN)
def test_built_in_properties_keep_their_kind(pod, _, T, name, kind):
    other = 'Integer' if kind == 'Text' else 'Text'
    pod.refused('create_item', schema(name, other), 400,
        f'Schema for property {name} is already defined to type {kind}, cannot override to type {other}')
    pod.ok('create_item', schema(name, kind))


def test_names_are_case_sensitive(pod):
    pod.define(age='Integer', Age='Text', AGE='Bool')
    pod.make(id='thing-1', age=5, Age='five', AGE=True)
    assert bare(pod.get('thing-1')) == {'id': 'thing-1', 'type': 'Thing', 'deleted': False, 'age': 5, 'Age': 'five',
        'AGE': True}


@pytest.mark.parametrize('name', ['h', 'select', 'key', 'order', 'rowid2', 'ids', 'source', 'edges', 'x' * 40])
def test_names_that_can_be_made_and_found_but_not_changed(pod, name):
    pod.ok('create_item', schema(name))
    pod.make(id='thing-1', **{name: 'x'})
    assert pod.get('thing-1')[name] == 'x'
    assert pod.ids(**{name: 'x'}) == ['thing-1']
    assert pod.ids(**{name: 'y'}) == []
    if name not in ('ids', 'rowid2'): pod.refused('update_item', {'id': 'thing-1', name: 'y'}, 400)


def test_schema_items_are_items(pod):
    pod.define(note='Text')
    id = pod.ok('create_item', schema('hull', id='schema-1', note='x', dateCreated=5, deleted=True))
    item = pod.get(id)
    assert (item['note'], item['dateCreated'], item['deleted']) == ('x', 5, True)
    pod.refused('create_item', schema('other', nothing=1), 400, 'Property nothing not defined in Schema')
    pod.refused('create_item', {'type': 'T', 'other': 'x'}, 400, 'Property other not defined in Schema')
    pod.refused('create_item', schema('other', id='bad'), 400, 'does not satisfy the format')
    pod.refused('create_item', schema('other', id='schema-1'), 500, 'UNIQUE constraint failed: items.id')
    pod.refused('create_item', schema('hull', 'Real', id='schema-1'), 400, 'cannot override') # the schema before the id
    pod.ok('update_item', {'id': 'schema-1', 'note': 'y'})
    assert pod.get(id)['note'] == 'y'


def test_deleting_a_definition_leaves_it_in_force(pod):
    id = pod.ok('create_item', schema('hull'))
    pod.ok('delete_item', id)
    assert pod.get(id)['deleted'] is True
    assert pod.get(pod.make(hull='x'))['hull'] == 'x'
    pod.refused('create_item', schema('hull', 'Real'), 400, 'cannot override')
    pod.ok('delete_item', BUILT_IN[5][0])
    pod.make('File', sha256='x')


def test_a_definition_cannot_be_broken_by_an_update(pod):
    id = pod.ok('create_item', schema('hull'))
    made = pod.make(hull='x')
    for change in ({'valueType': 'Nonsense'}, {'valueType': 'Real'}, {'valueType': None}, {'valueType': 5},
        {'propertyName': 'mast'}, {'propertyName': None}, {'itemType': None}):
        pod.refused('update_item', {'id': id} | change, 400)
        pod.refused('bulk', {'createItems': [{'type': 'T', 'id': 'thing-2'}], 'updateItems': [{'id': id} | change]}, 400)
    assert pod.ids(type='T') == []
    assert pod.get(pod.make(hull='x'))['hull'] == pod.get(made)['hull'] == 'x'
    assert bare(pod.get(id)) == schema('hull', id=id, deleted=False)


def test_a_definition_that_nobody_uses_can_be_changed(pod):
    id = pod.ok('create_item', schema('hull'))
    assert pod.ok('update_item', {'id': id, 'itemType': 'Ship', 'valueType': 'Integer'}) == {}
    assert bare(pod.get(id)) == schema('hull', 'Integer', 'Ship', id=id, deleted=False)
    pod.refused('create_item', {'type': 'T', 'hull': 'x'}, 400, 'to Integer (hull)')
    made = pod.make(hull=5)
    assert pod.ids(hull=5) == [made]
    pod.ok('update_item', {'id': made, 'hull': None})
    assert pod.ok('update_item', {'id': id, 'propertyName': 'mast'}) == {}
    pod.refused('create_item', {'type': 'T', 'hull': 5}, 400, 'Property hull not defined in Schema')
    pod.refused('search', {'hull': 5}, 400, 'Property hull not defined in Schema')
    assert pod.get(pod.make(mast=5))['mast'] == 5
    pod.refused('update_item', {'id': id, 'propertyName': 'sha256'}, 400, 'already defined to type Text')
    pod.ok('bulk', {'createItems': [schema('sail', id='schema-1')],
                    'updateItems': [{'id': 'schema-1', 'valueType': 'Real'}, {'id': 'schema-1', 'itemType': 'Raft'}]})
    assert pod.get(pod.make(sail=5))['sail'] == 5.0
    pod.refused('bulk', {'updateItems': [{'id': id, 'itemType': 'Raft'}, {'id': 'nobody'}]}, 404)
    assert pod.get(id)['itemType'] == 'Ship'


def test_other_updates_of_a_definition(pod):
    pod.define(note='Text')
    for id in (pod.ok('create_item', schema('hull')), BUILT_IN[5][0]):
        pod.ok('update_item', {'id': id, 'note': 'x', 'deleted': True, 'itemType': 'Other'})
        assert (pod.get(id)['note'], pod.get(id)['itemType'], pod.get(id)['deleted']) == ('x', 'Other', True)
    pod.make(hull='x', sha256='y')


ODD = ['', ' ', 'a b', 'a ', ' a', 'a.b', 'a"b', "a'b", "a''b", '$', '$.a', '[0]', 'a[1]', '#', '*', '?', '-', 'a-b',
    '1', '01', '1a', 'é', '日本', '😀', '\\', '\n', 'a\n', '\x02', '%', '_', '_x', '_type', '_text', '_memri',
    '_limit==', '_name', 'a==', 'a>=', 'a!=', 'a<',
    'a in', 'dateServerModified>', 'dateServerModified<=', 'dateServerModified==',
    'deleted!=', 'id==', 'type==', '==', '=', '>=',
    'friend.name', '[friend]', 'null', 'true', 'x' * 65, 'y' * 1000]

@pytest.mark.parametrize('name', ODD)
def test_any_text_is_a_name(pod, name):
    "Neither form nor block-list is looked at where a property is defined, stored or searched for"
    pod.refused('create_item', {'type': 'T', name: 'x'}, 400,
        f'Failure: Property {name} not defined in Schema (attempted to use it for json value "x")')
    pod.ok('create_item', schema(name))
    pod.ok('create_item', schema(name))
    pod.refused('create_item', schema(name, 'Real'), 400,
        f'Schema for property {name} is already defined to type Text, cannot override to type Real')
    pod.refused('create_item', {'type': 'T', name: 5}, 400, f'Failure: Failed to parse json value 5 to Text ({name})')
    pod.make(id='thing-1', **{name: 'x'})
    pod.ok('bulk', {'createItems': [{'type': 'Thing', 'id': 'thing-2', name: 'y'}, {'type': 'Thing', 'id': 'thing-3'}]})
    assert pod.get('thing-1').items() >= {'id': 'thing-1', 'type': 'Thing', name: 'x'}.items()
    assert pod.ids(**{name: 'x'}) == ['thing-1'] and pod.ids(**{name: 'y', 'type': 'Thing'}) == ['thing-2']
    assert pod.ids(**{name: 'z'}) == []
    pod.refused('search', {name: 5}, 400, f'Failure: Failed to parse json value 5 to Text ({name})')
    pod.refused('search', {name: None}, 400, 'Searching for undefined (null) properties is not supported yet')
    if name not in ('01', 'null', 'true') and (len(name) > 32 or not name.isalpha() or not name.isascii()):
        pod.refused('update_item', {'id': 'thing-1', name: 'z'}, 400, 'does not satisfy the format')


def test_odd_names_in_one_bulk(pod):
    assert pod.ok('bulk', {'createItems': [schema('a b'), schema('_c', 'Integer'),
        {'type': 'Thing', 'id': 'thing-1', 'a b': 'x', '_c': 3}], 'search': [{'_c': 3}]})['search'][0][0]['a b'] == 'x'
    pod.refused('bulk', {'createItems': [schema('d e'), {'type': 'Thing', 'd e': 3}]}, 400, 'to Text (d e)')
    pod.refused('create_item', {'type': 'Thing', 'd e': 'x'}, 400, 'Property d e not defined')


def test_rowid_as_a_property_is_still_dropped(pod):
    pod.ok('create_item', schema('rowid', 'Integer', 'Thing'))
    assert 'rowid' not in pod.get(pod.make(rowid=5))
    id, = pod.ok('bulk', {'createItems': [{'type': 'Thing', 'rowid': 5}]})['createItems']
    assert 'rowid' not in pod.get(id)


def test_only_this_exact_type_defines(pod):
    for type in ('itemPropertySchema', 'ItemPropertySchema ', 'ItemPropertySchemas'):
        pod.ok('create_item', schema('hull') | {'type': type})
        pod.refused('create_item', {'type': 'T', 'hull': 'x'}, 400, 'not defined')


def test_what_fails_defines_nothing(pod):
    pod.refused('bulk', {'createItems': [schema('hull'), {'type': 'T', 'hull': 5}]}, 400,
        'Failed to parse json value 5 to Text (hull)')
    pod.refused('create_item', {'type': 'T', 'hull': 'x'}, 400, 'not defined')
    pod.ok('create_item', schema('hull', 'Integer'))
    pod.make(hull=5)

"""The Python half of the item browser over both roads, and as a client with few rights sees it.
What it looks like is in `browser/test_browse.py`."""
import json
from datetime import timedelta

import pytest

from pymemri.core import Invalid, PodError
from pymemri.data.schema import Account, Person
from pymemri.pod.client import Dog, PodClient
from pymemri.widgets.live import ask

from serving import Server

KEYS = dict(database_key='d1' * 32, owner_key='0e' * 32)


@pytest.fixture
def client(served, tmp_path):
    where = dict(url=served.url) if served else dict(home=tmp_path)
    with PodClient(**where, **KEYS, quiet=True) as client:
        client.add_to_schema(Dog, Person, Account)
        dogs = [dict(type='Dog', id=f'dog-{k:04}', name=f'dog {k:04}', age=k % 7) for k in range(230)]
        client.api.bulk(create_items=dogs + [
            dict(type='Person', id='person-1', firstName='Ada', role='friend'),
            dict(type='Account', id='account-1', service='mail', secret='swordfish')],
            create_edges=[dict(_source='dog-0003', _name='friend', _target='person-1')])
        yield client


def whole(browser, line, order=None):
    "All lines of a search, page by page"
    first, rows = browser.search(line, order), []
    names = [c['name'] for c in first['columns']]
    while True:
        page = browser.page(line, len(rows), names, order)
        rows += page['rows']
        if not page['rows']: break
    assert rows[:50] == first['rows'] and len(rows) == page['count'] == browser.count(line, order)
    return rows


@pytest.mark.parametrize('line, order', [('type:Dog', None), ('type:Dog', '-age'), ('type:Dog age>=3', 'name'), ('dog', None),
                                         ('dog', '-name'), ('', None), ('name^="dog 01"', None), ('type:Person', None)])
def test_pages_are_the_search_in_pieces(client, line, order):
    browser = client.browse()
    found = client.api.search(browser.asked(line, order))
    assert [r[0] for r in whole(browser, line, order)] == [i['id'] for i in found] != []


def test_a_page_does_not_move_while_others_write(client):
    browser = client.browse()
    before = browser.page('type:Dog', 100, ['name'], 'name')['rows']
    client.api.create_item(dict(type='Dog', id='dog-new0', name='a first dog'))
    client.api.delete_item('dog-0000')
    client.api.purge(dict(ids=['dog-0101']))
    after = browser.page('type:Dog', 100, ['name'], 'name')['rows']
    assert [b for b in before if b[0] != 'dog-0101'] == [a for a in after if a is not None] and after[1] is None
    assert [r[0] for r in browser.search('type:Dog', 'name')['rows']][:2] == ['dog-new0', 'dog-0001']


def test_what_python_gives_is_what_is_seen(client):
    browser = client.browse('type:Dog age>5')
    assert [i.id for i in client.search(browser.query)] == [r[0] for r in whole(browser, 'type:Dog age>5')]
    code = browser.python('type:Dog age>5 name^="dog 00"', '-name')
    assert [i.id for i in eval(code)] == [r[0] for r in browser.search('type:Dog age>5 name^="dog 00"', '-name')['rows']]


def test_change_delete_and_undo(client):
    browser, dog = client.browse(), client.get('dog-0003')
    assert browser.change('dog-0003', 'age', '12')['properties'] and dog.age == 12
    browser.delete(['dog-0003', 'dog-0004'])
    assert dog.deleted and browser.count('type:Dog') == 228
    assert browser.undo()['ids'] == ['dog-0003', 'dog-0004'] and not dog.deleted and browser.count('type:Dog') == 230
    browser.undo()
    assert dog.age == 3 and client.api.get_item('dog-0003')[0]['age'] == 3
    with pytest.raises(Invalid, match='nothing to take back'): browser.undo()


def test_what_is_changed_here_and_not_sent_stays(client):
    browser, dog = client.browse(), client.get('dog-0005')
    dog.name = 'mine'
    browser.change('dog-0005', 'age', '99')
    assert (dog.name, dog.age) == ('mine', 99)
    client.update_item(dog)
    assert client.api.get_item('dog-0005')[0]['name'] == 'mine'


def test_the_pod_has_the_last_word(client):
    "What it refuses comes back as an answer, and is kept"
    browser = client.browse()
    client.api.purge(dict(ids=['dog-0009']))
    answer, _ = ask(browser, dict(ask='change', args=dict(id='dog-0009', name='age', text='3')))
    assert answer['error']['type'] == 'NotFound' and 'dog-0009' in answer['error']['message']
    assert isinstance(browser.last_error, PodError)


def test_no_secret_travels(client):
    browser = client.browse()
    told = [browser.search(line) for line in ('', 'type:Account', 'secret:swordfish', 'swordfish')]
    told += [browser.page('type:Account', 0, ['secret']), browser.facet('secret', 'type:Account'), browser.look('account-1'), browser.still()]
    assert 'swordfish' not in json.dumps(told)


def test_few_rights_show_little(tmp_path):
    "A plugin that may read the names of dogs sees no people, no ages, and may change nothing"
    with Server(tmp_path) as server:
        owner = PodClient(url=server.url, **KEYS, quiet=True)
        owner.add_to_schema(Dog, Person)
        owner.api.bulk(create_items=[dict(type='Dog', id='dog-0001', name='Rex', age=3), dict(type='Person', id='person-1', firstName='Ada')],
                       create_edges=[dict(_source='dog-0001', _name='friend', _target='person-1')])
        box = owner.plugin_auth(dict(read=dict(Dog=['name'])), expires=timedelta(hours=1))
        with PodClient(url=server.url, owner_key=KEYS['owner_key'], auth_json=box, quiet=True) as plugin:
            browser = plugin.browse()
            assert [r[2] for r in browser.search('')['rows']] == ['Rex'] and browser.count('') == 1
            assert browser.page('', 0, ['name', 'age'])['rows'][0][4:] == ['Rex', None]
            assert [f['value'] for f in browser.facet('type', '')] == ['Dog']
            seen = browser.look('dog-0001')
            assert ([p['name'] for p in seen['properties']], seen['outgoing'], seen['incoming']) == (['name'], [], [])
            assert 'problem' in browser.search('age>=1')
            for question in (dict(ask='change', args=dict(id='dog-0001', name='name', text='Max')), dict(ask='delete', args=dict(ids=['dog-0001'])),
                             dict(ask='look', args=dict(id='person-1'))):
                assert 'error' in ask(browser, question)[0]
            assert owner.get('dog-0001').name == 'Rex'
        owner.close()

"""Importing again: nothing twice, each account by itself, and a run that was killed goes on where it stopped

PYMEMRI_KILLS sets the number of kills of each of the kill tests (default 12, at most 20 here)."""
import json, os, random, signal, subprocess, sys, threading, time
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

import importer
from importer import MAILS, Importer, connect, mail
from serving import Server
from pymemri.core import Conflict, Forbidden, Invalid
from pymemri.data.item import Edges, Item, unset
from pymemri.data.schema import Account, EmailMessage, Person, Plugin, PluginRun
from pymemri.plugin.stateful import (MEMORY_RIGHTS, StatefulPlugin, find_state, read_state, state_id, store_items,
                                     with_memory, write_state)
from pymemri.pod.client import PodClient
from pymemri.server.serve import Served

KEYS = dict(owner_key='0e' * 32, database_key='d1' * 32)
KILLS = min(int(os.environ.get('PYMEMRI_KILLS', 12)), 20) # after more, there would be nothing left to import


@pytest.fixture(params=['embedded', 'http'])
def place(request, tmp_path):
    "Where a Pod is: a folder, or an address"
    if request.param == 'embedded':
        yield str(tmp_path / 'pods')
        return
    with Served(data_folder=tmp_path / 'pods') as s: yield s.url


@pytest.fixture
def make(place):
    "Makes clients of one Pod"
    made = []
    def client(**kw):
        where = dict(url=place) if '://' in place else dict(home=place)
        made.append(PodClient(**{**KEYS, **where, 'quiet': True, **kw}))
        return made[-1]
    yield client
    for c in made: c.close()


@pytest.fixture
def client(make): return make()


def facts(client):
    "What is in the Pod, whatever the ids: every mail with texts, sender and answered mail, and what is there twice"
    client.reset_local_db()
    out = {m.externalId: (m.subject, m.content, [a.externalId for a in m.sender], [a.externalId for a in m.message])
           for m in client.search({'type': 'EmailMessage'})}
    there = client.api.search({'type': ['EmailMessage', 'Account'], 'externalId!=': None})
    names = Counter((d['type'], d['externalId']) for d in there)
    return out, {k: n for k, n in names.items() if n > 1}


def expected():
    "What `facts` finds after one quiet run"
    mails = map(mail, range(MAILS))
    return {m.externalId: (m.subject, m.content, [a.externalId for a in m.sender], [a.externalId for a in m.message])
            for m in mails}, {}


def plugin(client, cls=Importer, account=None, **kw):
    run = PluginRun(pluginModule='importer', pluginName='Importer', account=[account or importer.account()])
    return cls(client=client, pluginRun=run, **kw)


# ---- running twice ----

def test_running_twice_imports_nothing_twice(make):
    client = make()
    plugin(client, page=100).run()
    assert facts(client) == expected() and client.count({'type': 'Account'}) == importer.SENDERS
    before = {d['id']: d['dateServerModified'] for d in client.api.search({'type': ['EmailMessage', 'Account']})}
    again = make()
    assert plugin(again).cursor == MAILS
    other = plugin(again, account=Account(service='test', identifier='somebody else'), page=150)
    assert other.cursor is None
    other.run()                                          # all of it again, without the cursor
    assert facts(again) == expected()
    assert {d['id']: d['dateServerModified'] for d in again.api.search({'type': ['EmailMessage', 'Account']})} == before
    assert again.count({'type': 'PersistentState'}) == 2


def test_only_what_changed_is_sent(client):
    first = store_items(client, [mail(n) for n in range(20)])
    assert repr(first) == f'{20 + importer.SENDERS} created, 0 updated, 0 as before'
    calls, bulk = [], client.api.bulk
    client.api.bulk = lambda **kw: (calls.append(kw), bulk(**kw))[1]
    changed = [mail(n) for n in range(20)]
    changed[3].subject, changed[4].sender[0].displayName = 'new', 'New Name'
    second = store_items(client, changed)
    assert [i.externalId for i in second.updated] == ['test:mail:3', 'test:account:4'] and not second.created
    sent, = calls
    assert list(sent) == ['update_items'] and [len(d) for d in sent['update_items']] == [2, 2]
    calls.clear()
    assert store_items(client, [mail(n) for n in range(20)]).updated == [first.items[3]]   # as it was before
    assert [i for i in store_items(client, []).items] == []
    assert [list(c) for c in calls] == [['update_items']]


def test_a_new_client_sends_no_edges_that_are_there(make):
    store_items(make(), [mail(n) for n in range(30)])
    client, calls = make(), []
    call = client.api.road.call
    client.api.road.call = lambda op, payload=None: (calls.append((op, payload)), call(op, payload))[1]
    stored = store_items(client, [mail(n) for n in range(30)])
    assert not stored.created and not stored.updated and {op for op, _ in calls} <= {'search', 'schema'}, calls
    assert len([op for op, _ in calls if op == 'search']) == 2


def test_edges_that_a_killed_run_left_out_are_drawn(make):
    client = make()
    client.add_to_schema(EmailMessage, Account)
    bare = mail(10)
    items = [EmailMessage(externalId=bare.externalId, subject=bare.subject, content=bare.content), bare.sender[0]]
    client.bulk_action(create_items=items)               # as after a kill between items and edges
    stored = store_items(make(), [mail(10)])
    assert [m.externalId for m in stored.created] == ['test:mail:5'] and len(stored.same) == 2
    assert {k: v[2:] for k, v in facts(make())[0].items()} == {
        'test:mail:10': (['test:account:1'], ['test:mail:5']), 'test:mail:5': ([], [])}


def test_moments_numbers_and_false_values_compare_as_the_pod_keeps_them(make):
    class Reading(Item):
        "A measurement"
        when: datetime = unset
        value: float = unset
        count: int = unset
        good: bool = unset
    zone = timezone(timedelta(hours=5))
    def read(**kw):
        moment = datetime(2024, 3, 1, 12, 0, 0, 123456, zone)
        return Reading(externalId='r:1', **{'when': moment, 'value': 3, 'count': 0, 'good': False, **kw})
    store_items(make(), [read()])
    client = make()
    for same in (read(), read(when=datetime(2024, 3, 1, 7, 0, 0, 123999, timezone.utc)), read(value=3.0, good=None)):
        assert repr(store_items(client, [same])) == '0 created, 0 updated, 1 as before'
    for new in (dict(good=True), dict(count=1), dict(value=3.5), dict(when=datetime(2025, 1, 1, tzinfo=zone))):
        assert len(store_items(client, [read(**new)]).updated) == 1, new
        store_items(client, [read()])


def test_what_its_owner_did_stays(make):
    client, owner = make(), make()
    def ann(**kw): return Person(externalId='p:ann', firstName='Ann', **kw)
    store_items(client, [ann(), Person(externalId='p:ben', firstName='Ben')])
    a, b = owner.search({'type': 'Person', 'externalId': ['p:ann', 'p:ben']})
    a.firstName, a.lastName = 'Anna', 'Lee'
    owner.update_item(a)
    owner.delete_items([b])
    again = make()
    stored = store_items(again, [ann(), Person(externalId='p:ben', lastName='Benson')], keep=['firstName'])
    assert not stored.created and not stored.updated and stored.items[1].deleted
    again.sync()                                         # as at the end of a run
    assert 'lastName' not in again.api.get_item(b.id)[0]
    assert [(p.firstName, p.lastName) for p in make().search({'type': 'Person'})] == [('Anna', 'Lee')]
    assert store_items(again, [ann()]).updated and make().search({'type': 'Person'})[0].firstName == 'Ann'
    assert store_items(again, [EmailMessage(externalId='m:1', sender=[Account(externalId='p:acc')])]).created
    owner.delete_items(owner.search({'type': 'Account', 'externalId': 'p:acc'}))
    fresh = make()                                       # an edge to what was deleted is not drawn anew
    assert store_items(fresh, [EmailMessage(externalId='m:2', sender=[Account(externalId='p:acc')])]).items[0]._in_pod
    assert client.api.get_edges(stored_id(make(), 'm:2')) == []


def stored_id(client, external_id):
    "The id of the one item with this external id"
    found, = client.api.search({'externalId': external_id})
    return found['id']


def test_the_oldest_living_one_stands_for_its_doubles(make):
    client = make()
    people = [Person(externalId='p:x', firstName=n) for n in ('first', 'second', 'third')]
    for p in people:
        client.create(p)
        time.sleep(.002)
    client.delete_items([people[0]])
    stored = store_items(make(), [Person(externalId='p:x', lastName='X')])
    assert [p.firstName for p in stored.updated] == ['second'] and not stored.created


def test_items_of_types_that_nobody_declared(make):
    class Bare(Item):
        def __init__(self, name=None, size=None, **kwargs):
            super().__init__(**kwargs)
            self.name, self.size = name, size
    def bare(n, **kw): return Bare(f'bare {n}', n, externalId=f'b:{n}', **kw)
    client = make()
    store_items(client, [bare(1), bare(2)])
    third = bare(3)
    third.colour = 'red'                                 # a property that comes later
    assert len(store_items(client, [bare(1), third]).created) == 1
    other = make()
    assert repr(store_items(other, [bare(1), bare(2)])) == '0 created, 0 updated, 2 as before'
    assert [(b.name, b.size) for b in make().search({'type': 'Bare', 'colour': 'red'})] == [('bare 3', 3)]


def test_same_external_id_in_another_type_is_another_item(client):
    store_items(client, [Person(externalId='x:1'), EmailMessage(externalId='x:1')])
    assert (client.count({'type': 'Person'}), client.count({'type': 'EmailMessage'})) == (1, 1)


def test_edges_in_a_circle_and_to_itself(make):
    class Knot(Item):
        "A knot in a net"
        name: str = unset
        next: Edges['Knot'] = unset
    def net(n):
        knots = [Knot(name=str(i), externalId=f'k:{i}') for i in range(n)]
        for a, b in zip(knots, knots[1:] + knots[:1]): a.add_edge('next', b)
        knots[0].add_edge('next', knots[0])
        return knots
    client = make()
    assert len(store_items(client, net(4)[:1]).created) == 4      # the others come along
    assert repr(store_items(make(), net(5))) == '1 created, 0 updated, 4 as before'
    got = {k.name: sorted(o.name for o in k.next) for k in make().search({'type': 'Knot'})}
    assert got == {'0': ['0', '1'], '1': ['2'], '2': ['3'], '3': ['0', '4'], '4': ['0']}


def test_refusals_store_nothing(client):
    client.add_to_schema(EmailMessage, Account, Person)
    for bad in ([mail(1), EmailMessage(subject='no name')],
                [EmailMessage(externalId='m:1', sender=[Account(handle='no name')])],
                [mail(1), Person(externalId='p:1', firstName=3)], [mail(1), 'mail']):
        with pytest.raises(Invalid): store_items(client, bad)
    p = plugin(client)
    with pytest.raises(Invalid): p.store([mail(1), EmailMessage()], cursor=9)
    assert client.count({'type': ['EmailMessage', 'Account', 'PersistentState']}) == 0 and plugin(client).cursor is None


def test_many_items_at_once(client):
    items = [Person(externalId=f'p:{i}', firstName=f'name {i}') for i in range(1700)]
    assert len(store_items(client, items).created) == 1700
    again = store_items(client, [Person(externalId=f'p:{i}', firstName=f'name {i % 1690}') for i in range(1705)])
    assert (len(again.created), len(again.updated), len(again.same)) == (5, 10, 1690)


def test_a_pod_that_speaks_only_v4(tmp_path):
    with Server(tmp_path, wires=('v4',)) as server:
        for _ in range(2):
            with PodClient(url=server.url, **KEYS, quiet=True) as c:
                p = plugin(c, page=150)
                p.run()
                p.forget()
        with PodClient(**KEYS, home=tmp_path / 'x', quiet=True) as reference: plugin(reference, page=150).run()
        with PodClient(url=server.url, **KEYS, quiet=True) as c:
            assert len(c.search({'type': 'EmailMessage'})) == MAILS
            assert len(c.search({'type': 'Account'})) == importer.SENDERS
            assert {m.externalId: len(m.sender) + len(m.message) for m in c.search({'type': 'EmailMessage'})} == \
                {k: len(v[2]) + len(v[3]) for k, v in expected()[0].items()}


# ---- what is remembered ----

def test_each_plugin_and_account_has_a_memory_of_its_own(make):
    client = make()
    anna, ben = (Account(service='mail', identifier=n) for n in ('anna', 'ben'))
    client.bulk_action(create_items=[anna, ben])
    for who, cursor in ((anna, {'page': 3}), (ben, 'x')):
        p = plugin(client, account=who)
        p.cursor = cursor
        p.memory['seen'] = ['é', 1.5, None]
        state = p.persist()
        assert (state.pluginId, state.pluginName, state.account) == ('importer.Importer', 'Importer', [who])
    other = make()
    fetch = lambda id: plugin(other, account=other.get(id))
    for who, cursor in ((anna, {'page': 3}), (ben, 'x')):
        assert fetch(who.id).memory == {'cursor': cursor, 'seen': ['é', 1.5, None]}
    assert plugin(other, account=Account(service='mail', identifier='carol')).memory == {}
    assert plugin(other, account=Account(service='chat', identifier='anna')).memory == {}
    class Another(Importer): pass
    assert Another(client=other, pluginRun=PluginRun(account=[anna])).memory == {}      # another plugin
    p = fetch(anna.id)
    p.set_account(other.get(ben.id))
    assert p.cursor == 'x'
    p.set_account(None)
    assert p.cursor is None


def test_the_account_behind_the_plugin_of_a_run(make):
    "As the tutorial has it: run → importer → account"
    client = make()
    client.add_to_schema(Plugin)
    account, behind = Account(service='mail', identifier='anna'), Plugin(name='Mail')
    run = PluginRun(containerImage='none', pluginModule='importer', pluginName='Importer')
    client.bulk_action(create_items=[account, behind])
    client.bulk_action(create_items=[run])
    client.api.bulk(create_edges=[{'_source': a.id, '_target': b.id, '_name': n}
                                  for a, b, n in ((run, behind, 'plugin'), (behind, account, 'account'))])
    def again():
        c = make()
        return Importer(client=c, pluginRun=c.get(run.id))
    p = again()
    assert p.account.identifier == 'anna'
    p.cursor = 4
    p.persist()
    assert again().cursor == 4 and plugin(make(), account=make().get(account.id)).cursor == 4


def test_a_login_that_becomes_known_later_keeps_its_memory(make):
    client = make()
    account = Account(service='mail')
    client.create(account)
    p = plugin(client, account=account)
    p.cursor = 7
    state = p.persist()
    assert state.id == state_id('importer.Importer', account)
    account.identifier = 'anna'                          # the user logged in
    client.update_item(account)
    assert state.id != state_id('importer.Importer', account)
    other = make()
    q = plugin(other, account=other.get(account.id))
    assert q.cursor == 7
    q.cursor = 8
    assert q.persist().id == state.id and plugin(make(), account=account).cursor == 8
    assert other.count({'type': 'PersistentState'}) == 1


def test_two_runs_that_begin_together_share_one_memory(make):
    clients, errors = [make() for _ in range(6)], []
    gate = threading.Barrier(len(clients))
    def write(i, c):
        try:
            gate.wait()
            write_state(c, 'racing', None, {'cursor': i})
        except BaseException as e: errors.append(e)
    threads = [threading.Thread(target=write, args=x) for x in enumerate(clients)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not errors
    state, = make().search({'type': 'PersistentState', 'pluginId': 'racing'})
    assert json.loads(state.state)['cursor'] in range(6)


def test_what_memory_refuses(client):
    p = plugin(client)
    for bad in ({1, 2}, datetime.now(), float('nan'), b'x', client):
        p.cursor = bad
        with pytest.raises(Invalid, match='cannot remember'): p.persist()
    assert find_state(client, 'importer.Importer', importer.account()) is None
    client.create(Person(id=state_id('taken', None)))
    with pytest.raises(Conflict, match='something else'): find_state(client, 'taken')
    for text in ('ready', '[1]', '3', '{'):
        state = write_state(client, 'odd', None, {})
        client.api.update_item({'id': state.id, 'state': text})
        with pytest.raises(Invalid, match='no JSON object'): read_state(find_state(client, 'odd'))
        client.api.update_item({'id': state.id, 'state': '{}'})


def test_forgetting(make):
    client = make()
    p = plugin(client)
    p.cursor = 3
    state = p.persist()
    client.delete_items([state])
    assert plugin(make()).cursor is None                 # its owner deleted it
    q = plugin(make())
    q.cursor = 4
    assert q.persist().id == state.id and plugin(make()).cursor == 4
    if client.api.road.speaks_v5():
        make().purge([state.id])
        assert plugin(make()).cursor is None
        r = plugin(make())
        r.cursor = 5
        r.persist()
        assert plugin(make()).cursor == 5
    plugin(make()).forget()
    assert plugin(make()).memory == {}


def test_a_failed_run_remembers_what_it_stored_and_no_more(make):
    class Failing(Importer):
        def store(self, items, cursor=None, **kw):
            if cursor > 30: items[-1].externalId = None
            return super().store(items, cursor, **kw)
    with pytest.raises(Invalid): plugin(make(), Failing, page=10).run()
    client = make()
    p = plugin(client)
    assert p.cursor == 30 and len(facts(client)[0]) == 30
    p.run()
    assert facts(client) == expected()


# ---- with no more rights than it needs ----

RIGHTS = {'read': {'EmailMessage': '*'}, 'create': {'EmailMessage': '*', 'Account': '*'},
          'update': {'EmailMessage': '*'}, 'edges': {'read': ['EmailMessage.sender', 'EmailMessage.message'],
                                                     'create': ['EmailMessage.sender', 'EmailMessage.message']}}


def test_a_restricted_plugin_can_do_it(tmp_path):
    with Served(data_folder=tmp_path) as s, PodClient(url=s.url, **KEYS, quiet=True) as owner:
        me = Account(service='test', identifier='me', secret='s3cr3t')
        owner.create(me)
        def run(rights, **kw):
            auth = owner.plugin_auth(rights)
            with PodClient(url=s.url, owner_key=KEYS['owner_key'], auth_json=auth, quiet=True,
                           register_base_schema=False) as c:
                account = c.get(me.id)
                assert account.secret is None
                p = plugin(c, account=account, **kw)
                start = p.cursor
                p.add_to_schema()
                p.run()
                if start: p.forget()
                return start
        assert [run(with_memory(RIGHTS), page=n) for n in (100, 70, 200)] == [None, MAILS, None]
        assert facts(owner) == expected() and owner.count({'type': 'Account', 'handle^=': 'sender'}) == importer.SENDERS
        with pytest.raises(Forbidden): run({**RIGHTS, 'read': {**RIGHTS['read'], 'Account': ['service']}})


def test_the_rights_of_a_memory_are_as_small_as_they_can_be():
    assert MEMORY_RIGHTS['read']['Account'] != '*' and 'secret' not in MEMORY_RIGHTS['read']['Account']
    assert with_memory({}) == MEMORY_RIGHTS and with_memory(MEMORY_RIGHTS) == MEMORY_RIGHTS
    more = with_memory({'read': {'Account': '*'}, 'edges': {'create': '*'}, 'files': {'read': True}})
    assert more['read'] == {'Account': '*', 'PersistentState': '*'} and more['edges']['create'] == '*'
    assert more['files'] == {'read': True}


# ---- killed ----

def start(place, page, pause=0.0):
    "An importer in a process of its own"
    env = {k: v for k, v in os.environ.items() if not k.startswith('POD_')} | {'PYTHONPATH': os.pathsep.join(sys.path)}
    words = [place, KEYS['owner_key'], KEYS['database_key'], str(page), str(pause)]
    return subprocess.Popen([sys.executable, importer.__file__, *words], stdout=subprocess.PIPE, text=True, env=env)


def kill_after(child, pages, moment):
    "Let it begin so many pages, then kill it, a moment later. Whether it was at work still"
    for _ in range(pages):
        if child.stdout.readline().strip() in ('', 'done'): break
    time.sleep(moment)
    child.send_signal(signal.SIGKILL)
    left = child.communicate()[0]
    assert child.returncode in (-signal.SIGKILL, 0)
    return child.returncode != 0 and 'done' not in left


@pytest.mark.skipif(sys.platform == 'win32', reason='no SIGKILL')
def test_a_killed_run_is_resumed(place):
    "It is killed at random moments, ever again; then it ends, and the data are those of one quiet run"
    rnd, killed, places = random.Random(7), 0, []
    for _ in range(KILLS):
        killed += kill_after(start(place, 3, .01), rnd.randrange(1, 6), rnd.uniform(0, .02))
        with connect(place, KEYS['owner_key'], KEYS['database_key']) as client:
            here, double = facts(client)
            cursor = plugin(client).cursor or 0
            assert all(f'test:mail:{n}' in here for n in range(cursor)), 'the cursor is ahead of the data'
            assert not double
            assert len(here) <= cursor + 3
            places.append(cursor)
    assert killed > KILLS / 2 and places == sorted(places) and places[-1] > places[0], (killed, places)
    last = start(place, 50)
    said = last.communicate(timeout=120)[0].split()
    assert last.returncode == 0 and said[0] == str(places[-1]) and said[-1] == 'done'   # it went on from there
    with connect(place, KEYS['owner_key'], KEYS['database_key']) as client:
        assert facts(client) == expected()
        assert client.count({'type': 'Account', 'externalId^=': 'test:'}) == importer.SENDERS
        assert client.count({'type': 'PersistentState'}) == 1 and client.integrity_check() == []


@pytest.mark.skipif(sys.platform == 'win32', reason='no SIGKILL')
def test_a_run_killed_between_items_and_cursor_or_edges(make, monkeypatch):
    "The two places where a kill leaves half a page: items without edges (over HTTP), and items without the cursor"
    client = make()
    with monkeypatch.context() as m:
        def no_edges(create_items, update_items, create_edges): PodClient.bulk_action(client, create_items, update_items)
        def killed(self): raise KeyboardInterrupt
        m.setattr(client, 'bulk_action', no_edges)
        m.setattr(StatefulPlugin, 'persist', killed)
        with pytest.raises(KeyboardInterrupt): plugin(client, page=60).run()
    half, double = facts(make())
    assert len(half) == 60 and not any(v[2] or v[3] for v in half.values()) and not double
    again = make()
    p = plugin(again, page=60)
    assert p.cursor is None
    p.run()
    assert facts(make()) == expected()

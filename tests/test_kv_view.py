"""Views of a Pod: against plain reading of it, embedded and served, whatever happens; killed, damaged, and looked at on disk."""
import contextlib, json, os, resource, stat, subprocess, sys, threading, time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pymemri.core import Damaged, Invalid, WrongKey, now_ms
from pymemri.data.item import Item, unset
from pymemri.data.schema import Person
from pymemri.kv.exceptions import Full, NotStarted
from pymemri.pod.client import Dog, PodClient

from serving import Server

KEYS = dict(database_key='d1' * 32, owner_key='0e' * 32)


class Stone(Item):
    "One property of each kind"
    text: str = unset
    whole: int = unset
    real: float = unset
    truth: bool = unset
    moment: datetime = unset


@pytest.fixture
def client(served, tmp_path):
    where = dict(url=served.url) if served else dict(home=tmp_path / 'pod')
    if served: served.app.pods.how['clock'] = lambda: client.clock()
    with PodClient.__new__(PodClient) as client:
        client.clock = now_ms # of the Pod; a test may stop it
        client.__init__(**where, **KEYS, quiet=True)
        if not served: client.api.road.pod.store.clock = lambda: client.clock()
        client.add_to_schema(Dog, Stone)
        yield client


def files(folder): return [p for p in Path(folder).rglob('*') if p.is_file()]


def home_of(client): return Path(client.home or os.environ['PYMEMRI_HOME'])


# ---- against plain reading ----

IDS, NAMES = st.sampled_from([f'dog-{i:04}' for i in range(6)]), st.sampled_from(['', 'a', 'b', 'Zoë'])


class Dogs(RuleBasedStateMachine):
    "Views by id and by name, and a third that is opened and closed; all three against a search"
    client: object = None
    @initialize()
    def begin(self):
        self.client.purge({'type': 'Dog'})
        self.client.purge({'type': 'Dog', 'deleted': True})
        self.views = [self.client.view(Dog, ['name', 'age'], follow=None), self.client.view('Dog', ['age', 'id'], 'name')]

    def send(self, **what): self.client.api.bulk(**what)
    def there(self, deleted=False): return {d['id'] for d in self.client.api.search({'type': 'Dog'}) if deleted or not d['deleted']}

    @rule(dogs=st.dictionaries(IDS, st.tuples(st.none() | NAMES, st.integers(0, 3)), min_size=1))
    def put(self, dogs):
        old = self.there(deleted=True)
        items = {k: [dict(id=id, type='Dog', name=name, age=age) for id, (name, age) in dogs.items() if (id in old) == k] for k in (False, True)}
        self.send(create_items=[{k: v for k, v in d.items() if v is not None} for d in items[False]],
                  update_items=[{k: v for k, v in d.items() if k != 'type'} | {'deleted': False} for d in items[True]])

    @rule(ids=st.lists(IDS, unique=True))
    def delete(self, ids): self.send(delete_items=[i for i in ids if i in self.there(deleted=True)])

    @rule(ids=st.lists(IDS, unique=True))
    def purge(self, ids): self.client.api.purge({'ids': ids})

    @rule(ms=st.integers(1, 3))
    def time_passes(self, ms): Dogs.now += ms

    @rule(k=st.integers(0, 1))
    def open_again(self, k):
        about = self.views[k].about
        self.views[k].close()
        self.views[k] = self.client.view('Dog', about.properties, about.key)

    @rule()
    def look(self):
        "What the views say is what a search says"
        for view in self.views: view.refresh()
        dogs = self.client.api.search({'type': 'Dog', 'deleted': False})
        by_id = {d['id']: dict(id=d['id'], name=d.get('name'), age=d['age']) for d in dogs}
        by_name = {d['name']: dict(name=d['name'], age=d['age'], id=d['id']) for d in dogs if 'name' in d} # in the order of change
        for view, model in zip(self.views, (by_id, by_name)):
            assert {d[view.about.key]: d for d in view} == model and len(view) == len(model)
            assert view.multiget(model) == [*model.values()] == [view.get(k) for k in model]
            assert all(view.get(k) is None for k in ('dog-none', 'nobody'))
            assert view.refresh() == 0

    def teardown(self):
        self.look()
        for view in self.views: view.close()


def test_views_say_what_the_pod_says(client, served):
    Dogs.client, Dogs.now = client, now_ms() + 1000
    client.clock = lambda: Dogs.now # stands still unless a rule moves it: bursts within a millisecond
    steps = settings(max_examples=15 if served else 40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck),
                     phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink], database=None)
    run_state_machine_as_test(Dogs, settings=steps)


def test_more_than_a_page_in_one_millisecond(client):
    "Thousands of items of one moment; then some of them change in it, and none of that is passed over"
    now = now_ms() + 1000
    client.clock = lambda: now
    client.api.bulk(create_items=[dict(type='Dog', id=f'd-{i:05}', name=f'n{i}', age=i) for i in range(2500)])
    with client.view(Dog, ['age'], 'name') as view:
        assert len(view) == 2500 and view.get('n2499') == dict(name='n2499', age=2499)
        client.api.bulk(update_items=[dict(id='d-00007', age=-1), dict(id='d-02300', name='n0', age=-2)])
        assert view.refresh() == 2 and view.get_value('n7', 'age') == -1
        assert view.get_value('n0', 'age') == -2 and view.get('n2300') is None and len(view) == 2499
        client.api.bulk(delete_items=['d-02300'])
        assert view.refresh() == 1 and view.get_value('n0', 'age') == 0 and len(view) == 2499


# ---- values ----

VALUES = dict(text=st.text(st.characters(exclude_categories=['Cs']), max_size=20), whole=st.integers(-2**63, 2**63 - 1),
              real=st.floats(allow_nan=False, allow_infinity=False), truth=st.booleans(),
              moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000, tzinfo=timezone.utc)))


def test_values_are_those_that_the_client_gives(client):
    "Of each kind, and None: the same value of the same type, under every key, as from a search"
    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(stones=st.lists(st.fixed_dictionaries({k: st.none() | v for k, v in VALUES.items()}), min_size=1, max_size=8))
    def check(stones):
        try: client.bulk_action(create_items=[Stone(**s) for s in stones])
        except Invalid: return # a text that no Pod takes
        found = client.search({'type': 'Stone'}, include_edges=False)
        for key in ('id', *VALUES):
            with client.view(Stone, VALUES, key=key) as view:
                for stone in found: # in the order of change: of those that share a key the last one counts
                    if getattr(stone, key) is None: continue
                    last = [s for s in found if getattr(s, key) == getattr(stone, key)][-1]
                    said = view.get(getattr(stone, key))
                    assert {n: (type(v), v) for n, v in said.items()} == {n: (type(getattr(last, n)), getattr(last, n)) for n in said}
                    assert [view.get_value(getattr(stone, key), n) for n in VALUES] == [getattr(last, n) for n in VALUES]
    check()


def test_names_are_checked(client):
    for bad, what in ((lambda: client.view('Stoned', ['text']), 'no type'), (lambda: client.view(Stone, ['texts']), 'did you mean `text`'),
                      (lambda: client.view(Stone, ['text'], 'colour'), 'colour'), (lambda: client.view(Stone, 'text'), 'list of names')):
        with pytest.raises(Invalid, match=what): bad()
    assert not (home_of(client) / 'view').exists() or not files(home_of(client) / 'view')
    with client.view(Stone, ['text', 'whole']) as view:
        with pytest.raises(ValueError, match='does not keep'): view.get_value('x', 'truth')
        with pytest.raises(TypeError): view.get(None)
        with pytest.raises(TypeError): view.multiget('x')


# ---- processes ----

CHILD = """
import json, sys
from pymemri.pod.client import PodClient
where, keys = json.loads(sys.argv[1]), json.loads(sys.argv[2])
client = PodClient(**where, **keys, quiet=True)
view = client.view('Dog', ['age'], key='name')
print('open', len(view), flush=True)
for line in sys.stdin:
    if line.strip() == 'refresh': print(view.refresh(), flush=True)
    else: print(json.dumps(view.get(line.strip())), flush=True)
"""


def child_of(client, served, clean_env):
    where = dict(url=served.url) if served else dict(home=str(client.home))
    process = subprocess.Popen([sys.executable, '-c', CHILD, json.dumps(where), json.dumps(KEYS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=clean_env | {'PYMEMRI_HOME': os.environ['PYMEMRI_HOME']})
    return process


def ask(process, line):
    process.stdin.write(line + '\n')
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_two_processes_share_a_view(client, served, clean_env):
    client.bulk_action(create_items=[Dog(f'dog {i}', i) for i in range(50)])
    with client.view(Dog, ['age'], key='name') as view:
        child = child_of(client, served, clean_env)
        try:
            assert child.stdout.readline() == 'open 50\n'
            client.create(Dog('new', 7))
            assert view.refresh() == 1 and ask(child, 'new') == dict(name='new', age=7) # what one took up, the other sees
            client.create(Dog('newer', 8))
            assert ask(child, 'refresh') == 1 and view.get_value('newer', 'age') == 8 and view.refresh() == 0
        finally:
            child.kill()
            child.communicate()
        client.create(Dog('newest', 9))
        assert view.refresh() == 1 and len(view) == 53


def written(folder):
    "Bytes of the databases below a folder; one that was replaced a moment ago does not count"
    sizes = []
    for path, _, names in os.walk(folder): # which passes over a folder that has just gone
        if 'data.mdb' not in names: continue
        with contextlib.suppress(FileNotFoundError): sizes.append(os.path.getsize(os.path.join(path, 'data.mdb')))
    return sum(sizes)


def test_a_killed_refresh_leaves_a_whole_view(client, served, clean_env):
    "Killed while it takes up items, at any moment; the next one goes on from there"
    client.api.bulk(create_items=[dict(type='Dog', id=f'd-{i:05}', name=f'dog {i // 2}', age=i) for i in range(8000)])
    for k in range(6):
        child = child_of(client, served, clean_env)
        folder = home_of(client) / 'view'
        before = written(folder)
        while child.poll() is None and written(folder) <= before + 20_000 * k: time.sleep(0.001)
        child.kill()
        child.communicate()
    with client.view(Dog, ['age'], key='name') as view:
        assert len(view) == 4000 and {d['name']: d['age'] for d in view} == {f'dog {i}': 2 * i + 1 for i in range(4000)}
        client.api.bulk(delete_items=[f'd-{i:05}' for i in range(1, 8000, 2)])
        assert view.refresh() == 4000 and view.get_value('dog 3999', 'age') == 7998 and len(view) == 4000


def test_threads_read_while_it_follows(client):
    "A view that follows, eight threads that read; none sees half an item"
    client.bulk_action(create_items=[Stone(text=f's{i}', whole=0, real=0.) for i in range(20)])
    stones, wrong, ended = client.search({'type': 'Stone'}), [], threading.Event()
    with client.view(Stone, ['whole', 'real'], key='text', follow=0.01) as view:
        def read():
            while not ended.is_set():
                for d in view.multiget([f's{i}' for i in range(20)]):
                    if d is None or d['whole'] != d['real']: wrong.append(d)
        threads = [threading.Thread(target=read) for _ in range(8)]
        for t in threads: t.start()
        for n in range(1, 11):
            for s in stones: s.whole, s.real = n, float(n)
            client.bulk_action(update_items=stones)
        deadline = time.monotonic() + 600
        while any(d['whole'] != 10 for d in view) and time.monotonic() < deadline: time.sleep(0.01)
        ended.set()
        for t in threads: t.join()
        assert not wrong and {d['whole'] for d in view} == {10} and view.health_check()
    with pytest.raises(NotStarted, match='closed'): view.get('s1')


def test_a_pod_that_is_away(tmp_path):
    "A view that follows goes on with what it knows, says what is wrong, and goes on when the Pod is back"
    with Server(tmp_path) as server:
        port = server.port
        client = PodClient(url=server.url, **KEYS, quiet=True)
        client.create(Dog('Bob', 3))
        view = client.view(Dog, ['age'], key='name', follow=0.05)
    deadline = time.monotonic() + 600
    while view.health_check() and time.monotonic() < deadline: time.sleep(0.02)
    assert not view.health_check() and view.get_value('Bob', 'age') == 3
    with Server(tmp_path, port=port):
        while not view.health_check() and time.monotonic() < deadline: time.sleep(0.02)
        client.create(Dog('Max', 4))
        while view.get('Max') is None and time.monotonic() < deadline: time.sleep(0.02)
        assert view.get_value('Max', 'age') == 4 and view.health_check()
        view.close()
        client.close()


# ---- sealed ----

def test_nothing_can_be_read_on_disk(client):
    "Neither keys nor values nor names, nor the key of the Pod; and nobody else can look into the folder"
    client.bulk_action(create_items=[Stone(text=f'secret-text-{i}', whole=1234567890123, truth=True) for i in range(50)])
    with client.view(Stone, VALUES, 'text') as view, client.view(Stone, ['text']) as other:
        assert len(view) == len(other) == 50 and view.folder != other.folder
        stored = {p: p.read_bytes() for p in files(home_of(client) / 'view')}
        words = [b'secret-text', b'secret', b'Stone', b'text', b'whole', (1234567890123).to_bytes(8, 'big'), KEYS['database_key'].encode(), KEYS['owner_key'].encode(),
                 bytes.fromhex(KEYS['database_key']), *(s.id.encode() for s in client.search({'type': 'Stone'})[:5])]
        assert len(stored) >= 6 and not [(p.name, w) for p, data in stored.items() for w in words if w in data or w.decode('latin') in p.name]
        assert KEYS['database_key'] not in repr(view) + view._repr_html_() + repr(vars(view)) + repr(view.index.snapshot().schema)
        folders = [p for p in (home_of(client) / 'view').rglob('*') if p.is_dir()] + [home_of(client) / 'view']
        assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700} and {stat.S_IMODE(p.stat().st_mode) for p in stored} == {0o600}


def test_another_key(client):
    "After `rekey` the view of before does not open, and is made anew when that is asked for"
    client.create(Dog('Bob', 3))
    client.view(Dog, ['age'], 'name').close()
    client.rekey('ab' * 32)
    with pytest.raises(WrongKey, match='anew=True') as e: client.view(Dog, ['age'], 'name')
    assert 'ab' * 32 not in str(e.value)
    with client.view(Dog, ['age'], 'name', anew=True) as view: assert view.get_value('Bob', 'age') == 3
    with client.view(Dog, ['age'], 'name') as view: assert view.get_value('Bob', 'age') == 3 and len(view) == 1


def test_a_flipped_byte(client):
    "In any entry: that entry is `Damaged`, never a wrong value; the view can be made anew"
    names = [f'dog {i}' for i in range(20)]
    client.bulk_action(create_items=[Dog(n, i) for i, n in enumerate(names)])
    client.clock = lambda: now_ms() + 10
    client.create(Dog('last', 1)) # of a later millisecond, the only one that opening reads again
    with client.view(Dog, ['age'], 'name') as view:
        with view.index.using() as snap: sealed = {n: bytes(snap.get(snap.schema.name(b'k', b's' + n.encode()))) for n in names}
        path = view.index.path / 'data.mdb'
    whole = path.read_bytes()
    for i, (name, entry) in enumerate(sealed.items()):
        at = whole.find(entry)
        assert at > 0
        data = bytearray(whole)
        while at >= 0: # an old page may hold it too
            data[at + i % len(entry)] ^= 1 << i % 8
            at = whole.find(entry, at + 1)
        path.write_bytes(data)
        with client.view(Dog, ['age'], 'name') as view:
            for n, other in enumerate(names):
                if other == name:
                    with pytest.raises(Damaged, match='anew=True'): view.get(name)
                else: assert view.get_value(other, 'age') == n
            with pytest.raises(Damaged): list(view)
    data = bytearray(whole)
    for at in range(len(data)): data[at] ^= 0xff * (at > 8192) # all but the head of the file
    path.write_bytes(data)
    with pytest.raises(Damaged): client.view(Dog, ['age'], 'name')
    with client.view(Dog, ['age'], 'name', anew=True) as view: assert [view.get_value(n, 'age') for n in names] == [*range(20)]


def test_a_full_disk(client):
    "The view stays as it was, and goes on when there is room; a limit on the size of files stands for a full disk"
    client.api.bulk(create_items=[dict(type='Dog', name=f'dog {i}', age=i) for i in range(500)])
    with client.view(Dog, ['age'], 'name') as view:
        client.api.bulk(create_items=[dict(type='Dog', name=f'new {i}', age=i) for i in range(5000)])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((view.index.path / 'data.mdb').stat().st_size + 40_000, before[1]))
        try:
            with pytest.raises(Full, match='full'): view.refresh()
            assert view.get_value('dog 499', 'age') == 499 and sum(1 for d in view if d['name'] < 'e') == 500
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        view.refresh()
        assert len(view) == 5500 and view.get_value('new 4999', 'age') == 4999


def test_a_view_that_is_open_elsewhere_is_made_anew(client):
    "Who has it open goes on, in the new one"
    client.create(Dog('Bob', 3))
    with client.view(Dog, ['age'], 'name') as view:
        with client.view(Dog, ['age'], 'name', anew=True) as other:
            client.create(Dog('Max', 4))
            assert other.refresh() == 1 and view.get_value('Max', 'age') == 4 and view.refresh() == 0
        assert [p.name for p in view.folder.glob('index-*')] == ['index-2']


# ---- rights ----

def test_a_plugin_gets_what_it_may_read(tmp_path):
    "Neither items nor properties beyond its rights; and what it kept goes when it ends"
    with Server(tmp_path) as server, PodClient(url=server.url, **KEYS, quiet=True) as owner:
        owner.bulk_action(create_items=[Dog('Bob', 3, weight=2.5), Dog('Max', 4), Person(firstName='Alice')])
        box = owner.plugin_auth({'read': {'Dog': ['name', 'age']}}, expires=timedelta(hours=1))
        with PodClient(url=server.url, owner_key=KEYS['owner_key'], auth_json=box, quiet=True) as plugin:
            with plugin.view(Dog, ['age', 'weight'], key='name') as view, plugin.view('Person', ['firstName']) as persons:
                assert sorted(view, key=lambda d: d['age']) == [dict(name='Bob', age=3, weight=None), dict(name='Max', age=4, weight=None)]
                assert len(persons) == 0 and view.refresh() == 0 and persons.refresh() == 0
                owner.purge({'type': 'Dog', 'name': 'Bob'})
                owner.create(Dog('Rex', 5))
                assert view.refresh() == 2 and {d['name'] for d in view} == {'Max', 'Rex'}
                folder = view.folder
                assert folder.exists()
            assert not folder.exists() and not persons.folder.exists()


def test_the_view_of_a_temporary_pod_goes(tmp_path):
    with PodClient(quiet=True) as client:
        client.create(Dog('Bob', 3))
        with client.view(Dog, ['age'], 'name') as view: assert len(view) == 1 and view.folder.exists()
        assert not view.folder.exists()

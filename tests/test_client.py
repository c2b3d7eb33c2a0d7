"""The client over both roads: a Pod in this process, and one behind HTTP"""
import hashlib, io, json, logging, os, re, signal, socket, stat, subprocess, sys, threading, time, traceback, warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import pymemri
from pymemri.core import Conflict, Invalid, NotFound, PodError, TooLarge, Unavailable, WrongKey
from pymemri.data.item import Edge, Edges, Item
from pymemri.data.photo import Photo
from pymemri.data.schema import Account, EmailMessage, File, Person, PluginRun
from pymemri.pod.client import Dog, PodClient
from pymemri.pod.db import Priority, SyncConflict
from pymemri.pod.keys import read_pod_key, store_keys, store_keys_cli

from certificates import both_in_one
from serving import Server
from waiting import wait_for

KEYS = dict(database_key='d1' * 32, owner_key='0e' * 32)
ROOT = Path(pymemri.__file__).parent.parent


@pytest.fixture
def make(served, tmp_path):
    "Makes clients of one Pod"
    made = []
    def client(**kw):
        where = dict(url=served.url) if served else dict(home=tmp_path)
        made.append(PodClient(**{**where, **KEYS, 'quiet': True, **kw}))
        return made[-1]
    client.server = served
    yield client
    for c in made: c.close()


@pytest.fixture
def client(make): return make()


def shows(x):
    "What a debugger would show of `x`"
    try: return repr(x)
    except Exception: return ''


def all_shown(error):
    "Everything that can be seen of an error, with the local variables of each frame of ours"
    shown, e = repr(error) + str(error) + ''.join(traceback.format_exception(error)), error
    while e:
        for frame, _ in traceback.walk_tb(e.__traceback__):
            if 'tests' not in Path(frame.f_code.co_filename).parts:
                shown += ' '.join(map(shows, frame.f_locals.values()))
        e = e.__cause__ or e.__context__
    return shown


# ---- items ----

def test_create_get_update_delete(make):
    client, other = make(), make()
    dog = Dog('Bob', 3, weight=33.2)
    assert client.create(dog) is True and re.fullmatch('[0-9a-f]{32}', dog.id)
    assert client.get(dog.id) is dog and client.exists(dog.id)
    far = other.get(dog.id)
    assert far is not dog and (far.name, far.age, far.bites, far.weight) == ('Bob', 3, False, 33.2)
    dog.name, far.age = 'Rex', 4
    assert client.update_item(dog) and other.update_item(far)
    assert (client.get(dog.id).age, other.get(dog.id).name) == (4, 'Rex')     # neither disturbed the other
    dog.weight = None
    client.update_item(dog)
    assert other.get(dog.id).weight is None
    client.delete_items([dog])
    assert dog.deleted and client.exists(dog.id)
    for expanded in (True, False):
        with pytest.raises(ValueError, match='has been deleted'): other.get(dog.id, expanded=expanded)
        assert other.get(dog.id, expanded=expanded, include_deleted=True).deleted is True
    with pytest.raises(NotFound, match='does not exist'): client.get('missing-id')
    dog.deleted = False
    client.update_item(dog)
    assert other.get(dog.id).deleted is False


def test_dates_are_exact_in_every_zone(client):
    class Birth(Item):
        "Has a moment"
        when: datetime
    moments = [datetime(1969, 12, 31, 23, 59, 59, 999000, timezone.utc),
               datetime(2024, 3, 31, 1, 30, tzinfo=timezone(timedelta(hours=-9)))]
    births = [Birth(when=m) for m in moments]
    client.bulk_action(create_items=births)
    client.reset_local_db()
    assert [client.get(b.id).when for b in births] == moments
    early = client.search({'type': 'Birth', 'when<': datetime(2000, 1, 1, tzinfo=timezone.utc)})
    assert [b.when for b in early] == moments[:1]


def test_refusals_leave_no_trace(client):
    bad = Dog('Bob', 'three')
    with pytest.raises(Invalid, match='age'): client.create(bad)
    assert (bad.id, bad._in_pod, len(client.local_db)) == (None, False, 0)
    dogs = [Dog('Bob', 1), bad]
    with pytest.raises(Invalid): client.bulk_action(create_items=dogs)
    assert [d.id for d in dogs] == [None, None] and client.search({'type': 'Dog'}) == []
    with pytest.raises(Invalid): client.create(Dog('x', id='no good id!'))
    dogs[0].age = float('nan')
    with pytest.raises(Invalid): client.create(dogs[0])
    client.create(Dog('Max', id='max-0001'))
    with pytest.raises(Conflict): client.create(Dog('Moritz', id='max-0001'))
    client.reset_local_db()
    with pytest.raises(Conflict): client.create(Dog('Moritz', id='max-0001'))
    assert client.get('max-0001').name == 'Max'


def test_types_register_themselves_and_old_classes_work(make):
    client = make()
    class Bare(Item):
        def __init__(self, name, age, id=None, deleted=None):
            super().__init__(id=id, deleted=deleted)
            self.name, self.age = name, age
        @classmethod
        def from_json(cls, json): return cls(id=json.get('id'), name=json.get('name'), age=json.get('age'))
    class Cat(Item):
        properties = Item.properties + ['name', 'lives']
        edges = Item.edges + ['friend']
        def __init__(self, name: str=None, lives: int=None, friend: list=None, **kwargs):
            super().__init__(**kwargs)
            self.name, self.lives, self.friend = name, lives, friend or []
    bare, cat = Bare('max', 2), Cat('Tom', 9)
    assert client.add_to_schema(bare) and client.create(bare) and client.create(cat)
    bare.age, bare.colour = 3, 'brown'
    client.update_item(bare)
    client.reset_local_db()
    back = client.get(bare.id, expanded=False)
    assert type(back) is Bare and (back.age, back.colour, repr(back)) == (3, 'brown', f'Bare (#{bare.id})')
    stranger = make().get(bare.id)                       # a client that never saw the class
    assert type(stranger).__name__ == 'Bare' and (stranger.name, stranger.colour) == ('max', 'brown')
    class Account(Item):
        "Replaces the built-in one"
        def __init__(self, handle, service, session_token, id=None, deleted=None):
            super().__init__(id=id, deleted=deleted)
            self.handle, self.service, self.session_token = handle, service, session_token
    client.add_to_schema(Account('', '', ''))
    acc = Account('nick', 'cloud', 'AA69')
    client.create(acc)
    client.reset_local_db()
    assert [(type(a), a.session_token) for a in client.search({'type': 'Account'})] == [(Account, 'AA69')]


def test_a_conflicting_type_is_an_error_that_names_it(client):
    client.add_to_schema(Dog)
    class Scale(Item):
        "Weighs in words"
        weight: str
    for f in (lambda: client.add_to_schema(Scale), lambda: client.create(Scale('heavy'))):
        with pytest.raises(Invalid, match='weight'): f()
    assert 'Scale' not in client.registered_classes
    before = client.count({'type': 'ItemPropertySchema'})
    client.add_to_schema(Dog, Dog, Dog('x'))
    assert client.count({'type': 'ItemPropertySchema'}) == before


def test_one_object_per_id_and_reading_keeps_pending_changes(make):
    client, other = make(), make()
    dog = Dog('Bob', 3)
    client.create(dog)
    far = other.get(dog.id)
    far.age = 9
    other.update_item(far)
    dog.name = 'pending'
    for read in (lambda: client.get(dog.id), lambda: client.search({'type': 'Dog'})[0],
                 lambda: client.get_all_items()[0]):
        assert read() is dog and (dog.name, dog.age) == ('pending', 9) and dog._updated_properties == {'name'}
    client.update_item(dog)
    assert other.get(dog.id).name == 'pending'


# ---- edges ----

def test_edges(make, capsys):
    client, other = make(), make()
    mail, alice = EmailMessage(content='hi'), Account(handle='alice')
    client.create(mail)
    edge = Edge(mail, alice, 'sender')
    assert client.create_edge(edge) is False and 'could not create' in capsys.readouterr().out
    alice.id = 'alice-not-there'
    assert client.create_edge(edge) is False
    alice.id = None
    client.create(alice)
    assert client.create_edge(edge) is True and client.create_edge(Edge(mail, alice, 'sender')) is True
    assert client.create_edges([edge, edge]) is True
    assert client.get_edges(mail.id) == [{'name': 'sender', 'item': alice}]
    assert client.get_edges(alice.id, 'Incoming') == [{'name': 'sender', 'item': mail}]
    assert mail.sender == [alice] and mail._new_edges == []
    assert other.get(mail.id).sender[0].handle == 'alice'
    assert not make().get(mail.id, expanded=False).is_expanded()
    other.delete_edge(other.get(mail.id).get_edges('sender')[0])
    assert other.get(mail.id).sender == [] and client.get_edges(mail.id) == []
    with pytest.raises(NotFound): client.get_edges('missing-id')
    with pytest.raises(NotFound): client.create_edges([Edge(mail, Account(id='missing-id'), 'sender')])


def test_edges_of_items_are_pending_until_sent(make):
    client = make()
    alice, dog = Person(firstName='Alice'), Dog('Bob', 3)
    dog.add_edge('friend', alice)
    client.bulk_action(create_items=[dog, alice])
    assert client.get_edges(dog.id) == [] and len(dog._new_edges) == 1
    client.create_edges(dog.get_edges('friend'))
    assert dog._new_edges == [] and len(client.get_edges(dog.id)) == 1
    client.sync()
    assert len(client.get_edges(dog.id)) == 1
    client.delete_items([alice])
    assert make().get(dog.id).friend == []
    assert [e['item'].id for e in make().get_edges(dog.id, include_deleted=True)] == [alice.id]


def test_search_expands_edges_forward_backward_and_deep(make):
    client = make()
    dogs = [Dog(f'dog {i}', i, id=f'dog-{i:04}') for i in range(3)]
    class Walk(Item):
        "From dog to dog"
        next: Edges['Dog']
    walks = [Walk(id=f'walk-{i:04}') for i in range(2)]
    client.bulk_action(dogs + walks, create_edges=[Edge(walks[0], dogs[0], 'next'), Edge(walks[0], dogs[1], 'next'),
                                                   Edge(walks[1], walks[0], 'label')])
    fresh = make()
    assert [d.name for d in fresh.search({'type': 'Walk', 'id': 'walk-0000'})[0].next] == ['dog 0', 'dog 1']
    assert not make().search({'id': 'walk-0000'}, include_edges=False)[0].is_expanded()
    deep = make().search({'id': 'walk-0001', '[[edges]]': {'depth': 2}})[0]
    assert [d.name for d in deep.label[0].next] == ['dog 0', 'dog 1']
    back = make()
    back.search({'id': 'dog-0000', '~[[edges]]': {}}, include_edges=False)
    assert [d.name for d in back.local_db.get('walk-0000').next] == ['dog 0']


# ---- searching ----

@pytest.fixture
def kennel(make):
    "A client with ten dogs"
    client = make()
    client.bulk_action([Dog(f'dog {i}', i, weight=i / 2, id=f'dog-{i:04}') for i in range(10)])
    return client


@pytest.mark.parametrize('query,ids', [
    ({'age': 3}, [3]), ({'age<': 2}, [0, 1]), ({'age>=': 8}, [8, 9]), ({'age!=': 0, 'age<=': 1}, [1]),
    ({'age in': [9, 2]}, [2, 9]), ({'name^=': 'dog', 'weight>': 4}, [9]), ({'name*=': 'g 7'}, [7]),
    ({'_sort': '-age', '_limit': 2}, [9, 8]),
    ({'age>': 2, '_limit': 1, '_offset': 1, '_sort': 'age'}, [4]),
    ({'_text': '"dog 4"'}, [4])])
def test_search_has_the_engine_s_language(kennel, query, ids):
    assert [int(d.id[-4:]) for d in kennel.search({'type': 'Dog', **query})] == ids


def test_full_text_results_have_a_snippet(client):
    client.create(EmailMessage(content='minutes of the conference in Utrecht, and what was said'))
    found = client.search({'_text': 'conference'})
    assert len(found) == 1 and 'conference' in found[0]._snippet and '_snippet' not in found[0].to_json()


def test_search_rules(kennel, make):
    ids = ['dog-0007', 'missing', 'dog-0002', 'dog-0007']
    assert [d.id for d in kennel.search({'ids': ids})][:2] == ['dog-0007', 'dog-0002']
    kennel.delete_items(['dog-0002'])
    assert [d.id for d in kennel.search({'ids': ids[:3]})] == ['dog-0007']
    assert len(kennel.search({'type': 'Dog'})) == 9 \
        and [d.id for d in kennel.search({'type': 'Dog', 'deleted': True})] == ['dog-0002']
    assert (kennel.count({'type': 'Dog'}), kennel.count({'type': Dog, 'age>': 7})) == (9, 2)
    assert kennel.facets({'type': 'Dog', 'age<': 1}, 'name') == [{'value': 'dog 0', 'count': 1}]
    assert {'value': 'Dog', 'count': 9} in kennel.facets()
    with pytest.raises(Invalid, match='did you mean `age`'): kennel.search({'aeg': 3})
    outside = kennel.search({'id': 'dog-0003'}, add_to_local_db=False)[0]
    assert outside is not kennel.local_db.get('dog-0003')


@pytest.mark.parametrize('limit', [1, 3, 5, 9, 50])
def test_pages(kennel, limit):
    kennel.delete_items(['dog-0004'])
    pages = list(kennel.search_paginate({'type': 'Dog', 'name^=': 'dog'}, limit=limit))
    assert [len(p) for p in pages[:-1]] == [limit] * (len(pages) - 1) and sum(map(len, pages)) == 9
    assert len({d.id for p in pages for d in p}) == 9
    assert list(kennel.search_paginate({'type': 'Nothing'}, limit)) == []


def test_pages_give_an_item_that_changes_meanwhile_once(kennel):
    seen = []
    for page in kennel.search_paginate({'type': 'Dog'}, limit=3):
        for dog in page:
            seen.append(dog.id)
            dog.name += '!'
            kennel.update_item(dog)
    assert len(seen) == len(set(seen)) == 10
    for bad in ({'ids': ['x']}, {'_limit': 1}, {'_sortOrder': 'Desc'}, {'dateServerModified<': 1}):
        with pytest.raises(Invalid): kennel.search_paginate(bad)


def test_last_added_is_not_last_modified(client):
    assert client.search_last_added('Person') is None
    people = [Person(firstName=n, id=f'person-{n}') for n in ('one', 'two', 'three')]
    for p in people: client.create(p)
    people[0].lastName = 'changed'
    client.update_item(people[0])
    assert client.search_last_added(type='Person') is people[2]
    assert client.search_last_added(type='Person', with_prop='firstName', with_val='two') is people[1]
    assert client.search_last_added(type='Person', with_prop='firstName', with_val='none') is None
    client.delete_items([people[2]])
    assert client.search_last_added('Person') is people[1]


def test_last_added_with_a_property_or_an_edge(make):
    "The last one that has a property, a value of it, or an edge to an item: what an importer goes on from"
    client, other = make(), make()
    accounts = [Account(service=s, id=f'account-{s}') for s in 'ab']
    client.bulk_action(create_items=accounts)
    mails = [EmailMessage(subject=s, externalId=x, id=f'mail-{s}', sender=[a])
             for s, x, a in [('one', 'x1', accounts[0]), ('two', None, accounts[0]), ('three', 'x3', accounts[1])]]
    for m in mails: client.bulk_action(create_items=[m], create_edges=m.get_edges('sender'))
    def last(**kw): return getattr(other.search_last_added('EmailMessage', **kw), 'subject', None)
    assert last() == last(with_prop='externalId') == 'three' and last(with_prop='subject', with_val='one') == 'one'
    assert last(with_prop='sender', with_val=accounts[0]) == 'two'
    assert last(with_prop='receiver', with_val=accounts[0]) is None
    assert other.search_last_added(with_prop='sender', with_val=accounts[1]).subject == 'three'
    assert other.search_last_added('Person', with_prop='sender', with_val=accounts[1]) is None
    assert last(with_prop='sender', with_val=Account()) is None            # one that no Pod has
    client.delete_items([mails[1]])
    client.delete_items([mails[2]])
    assert last(with_prop='sender', with_val=accounts[0]) == last(with_prop='externalId') == 'one'
    assert last(with_prop='dateReceived') is None
    client.add_to_schema(Dog)
    client.create(Dog('x', 3))
    assert other.search_last_added('Dog', with_prop='bites', with_val=False).age == 3     # a false value is a value
    with pytest.raises(Invalid, match='with_prop'): client.search_last_added(with_val=3)
    with pytest.warns(UserWarning, match='no item has it'): assert last(with_prop='inventedProp') is None


def test_external_ids(client):
    a, b = Person(firstName='Eve', externalId='gmail_1'), Person(firstName='Eve2', externalId='gmail_1')
    c = Person(firstName='None')
    assert not client.external_id_exists(a)
    for p in (a, b, c): client.create_if_external_id_not_exists(p)
    assert client.search({'externalId': 'gmail_1'}) == [a] and client.external_id_exists(b) and c._in_pod


# ---- bulks ----

def test_bulk_is_cut_over_http_and_whole_in_process(make):
    client = make()
    dogs = [Dog('x' * 300_000, i) for i in range(40)]        # 12 MB
    people = [Person(firstName=f'p{i}') for i in range(3)]
    edges = [Edge(d, people[i % 3], 'friend') for i, d in enumerate(dogs)]
    calls, api = [], client.api
    bulk = api.bulk
    api.bulk = lambda **kw: calls.append(len(json.dumps(kw))) or bulk(**kw)
    assert client.bulk_action(dogs + people, create_edges=edges) is True
    assert len(calls) == (3 if make.server else 1)
    assert not make.server or max(calls) < 5 * 2**20
    assert client.count({'type': 'Dog'}) == 40 and client.get_edges(dogs[39].id)[0]['item'] is people[0]
    assert all(d._in_pod for d in dogs) and not any(d._new_edges for d in dogs)


def test_an_item_too_large_is_sent_alone_or_refused_before_anything_is_written(make):
    client = make()
    nearly, huge, small = Dog('x' * 5_100_000, 1), Dog('x' * 6_000_000, 2), Dog('small', 3)
    assert client.bulk_action([small, nearly, Dog('other', 4)])
    assert client.get(nearly.id).name == nearly.name
    if make.server:
        with pytest.raises(TooLarge, match='5,'): client.bulk_action([Dog('fresh', 5), huge])
        with pytest.raises(TooLarge): client.create(huge)
        assert huge.id is None and client.count({'type': 'Dog'}) == 3
    else:
        assert client.bulk_action([huge])
        assert len(client.get(huge.id).name) == 6_000_000


def test_a_bulk_that_breaks_half_way_says_how_far_it_came(make):
    client = make()
    if not make.server: pytest.skip('one transaction in process')
    dogs = [Dog('x' * 1_000_000, i) for i in range(12)]
    dogs[11].age = 'eleven'
    with pytest.raises(Invalid) as e: client.bulk_action(dogs)
    done = [d for d in dogs if d._in_pod]
    assert 0 < len(done) < 12 and f'{len(done)} of 12' in e.value.__notes__[0]
    assert client.count({'type': 'Dog'}) == len(done) and all(d.id is None for d in dogs[len(done):])


# ---- files ----

def test_photos_and_files(make):
    client, x = make(), np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    photo = Photo.from_np(x)
    assert client.create_photo(photo) is True
    assert (client.get_photo(photo.id).to_np() == x).all()
    client.wait_for_uploads()
    fresh = make()
    assert fresh.get_photo(photo.id, size=50).size == (50, 30) \
        and fresh.get_photo(photo.id, size=None).data == photo.data
    assert fresh.local_db.get(photo.id).size == (100, 60) and fresh.local_db.get(photo.id)._updated_properties == set()
    told = []
    assert client._upload_image(photo.data, asyncFlag=True, callback=told.append) is True
    client.wait_for_uploads()
    assert told == [True] and client.upload_file(photo.data, asyncFlag=False) is True     # there already is fine
    file = Photo.from_np(x[:30]).file[0]
    assert client.create(file) and client.upload_photo(x[:30]) is True
    assert client.get_file(file.sha256) == Photo.from_np(x[:30]).data
    with pytest.raises(NotFound): client.upload_file(b'nobody knows this', asyncFlag=False)
    with pytest.raises(NotFound): client.get_file('0' * 64)
    with pytest.raises(Conflict): client.create_photo(photo)
    bare = Photo(width=1, height=1)
    client.create(bare)
    with pytest.raises(NotFound, match='no file attached'): client.get_photo(bare.id)


def test_the_same_bytes_twice(make):
    client, data = make(), Photo.from_np(np.ones((4, 5), dtype=np.uint8)).data
    photos = [Photo.from_bytes(data) for _ in range(2)]
    for p in photos: assert client.create_photo(p, asyncFlag=False)
    for p in photos: assert make().get_photo(p.id).data == data
    client.purge([photos[0], photos[0].file[0]])
    assert make().get_photo(photos[1].id).data == data


def test_large_files_are_streamed(make, tmp_path):
    client, path = make(), tmp_path / 'film'
    data = os.urandom(1 << 20) * 9 + b'end'
    path.write_bytes(data)
    client.create(File(sha256=hashlib.sha256(data).hexdigest(), filename='film'))
    assert client.upload_file(path, asyncFlag=False)
    pieces = list(client.api.open_file(hashlib.sha256(data).hexdigest()))
    assert len(pieces) > 5 and b''.join(pieces) == data
    for piece in client.api.open_file(hashlib.sha256(data).hexdigest()): break  # given up half-way: the next call works
    assert client.count({'type': 'File'}) == 1


def test_a_file_whose_digest_is_known_is_read_once_and_checked_by_the_pod(make, tmp_path):
    class Noting:
        "A film, and how much of it was read"
        read_so_far = 0
        def __init__(self, data): self.file = io.BytesIO(data)
        def seek(self, *args): return self.file.seek(*args)
        def read(self, n=-1):
            piece = self.file.read(n)
            self.read_so_far += len(piece)
            return piece
    client, film, other = make(), os.urandom(3 << 20) + b'end', os.urandom(1000)
    shas = [hashlib.sha256(d).hexdigest() for d in (film, other)]
    for s in shas: client.create(File(sha256=s))
    with pytest.raises(Invalid): client.upload_file(film[:-1], asyncFlag=False, sha256=shas[0])
    with pytest.raises(NotFound): client.get_file(shas[0]) # it kept nothing of it
    for wrong in ('x', shas[0] + '/..', b'1' * 64):
        with pytest.raises(Invalid, match='no SHA-256'): client.upload_file(film, asyncFlag=False, sha256=wrong)
    noting = Noting(film)
    assert client.upload_file(noting, asyncFlag=False, sha256=shas[0]) and noting.read_so_far == len(film)
    path = tmp_path / 'other'
    path.write_bytes(other)
    told = []
    assert client.upload_file(path, callback=told.append, sha256=shas[1])
    assert [client.get_file(s) for s in shas] == [film, other] and told == [True]


def test_an_upload_error_in_the_background_is_not_lost(client):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert client.upload_file(b'nobody knows this') is True
        with pytest.raises(NotFound): client.wait_for_uploads()
    told = []
    client.upload_file(b'nobody knows this', callback=told.append)
    client.wait_for_uploads()
    assert isinstance(told[0], NotFound)


# ---- sync ----

def two_sides(make):
    "The same person in two clients"
    mine, theirs = make(), make()
    person = Person(firstName='Alice', lastName='A', displayName='base')
    mine.create(person)
    return mine, person, theirs, theirs.get(person.id)


@pytest.mark.parametrize('priority,winner', [('local', 'mine'), ('remote', 'theirs')])
def test_sync_puts_the_winner_on_both_sides(make, priority, winner):
    mine, person, theirs, far = two_sides(make)
    person.firstName, person.lastName = 'mine', 'only mine'
    far.firstName, far.displayName = 'theirs', 'only theirs'
    theirs.update_item(far)
    assert mine.sync(priority) is True
    expected = (winner, 'only mine', 'only theirs')
    fresh = make().get(person.id)
    for p in (person, fresh, theirs.get(person.id)): assert (p.firstName, p.lastName, p.displayName) == expected
    assert person._updated_properties == set()


@pytest.mark.parametrize('zone', ['UTC', 'America/New_York', 'Asia/Tokyo'])
@pytest.mark.parametrize('first', ['mine', 'theirs'])
def test_newest_compares_moments_in_utc(make, zone, first, monkeypatch):
    monkeypatch.setenv('TZ', zone)
    time.tzset()
    mine, person, theirs, far = two_sides(make)
    def change(who):
        if who == 'mine': person.firstName = 'mine'
        else:
            far.firstName = 'theirs'
            theirs.update_item(far)
        time.sleep(.005)
    change(first)
    change('theirs' if first == 'mine' else 'mine')
    mine.sync('newest')
    last = 'theirs' if first == 'mine' else 'mine'
    assert person.firstName == make().get(person.id).firstName == last
    monkeypatch.undo()
    time.tzset()


def test_error_changes_nothing_and_only_real_conflicts_count(make):
    mine, person, theirs, far = two_sides(make)
    person.firstName = 'mine'
    assert mine.sync(Priority.error) is True and theirs.get(person.id).firstName == 'mine'    # only here: no conflict
    far.lastName = 'theirs'
    theirs.update_item(far)
    assert mine.sync('error') is True and person.lastName == 'theirs'                         # only there: no conflict
    person.firstName = far.firstName = 'same'
    theirs.update_item(far)
    assert mine.sync('error') is True  # the same on both: no conflict
    person.firstName, far.firstName, far.displayName = 'mine', 'theirs', 'also'
    theirs.update_item(far)
    new = Person(firstName='new')
    new.store(mine)
    with pytest.raises(ValueError, match='Sync conflict on `firstName`'): mine.sync('error')
    assert (person.firstName, person.displayName, new._in_pod) == ('mine', 'base', False)
    assert make().get(person.id).firstName == 'theirs'
    with pytest.raises(SyncConflict): mine.sync('error')                                      # still there
    mine.sync('local')
    assert mine.sync('error') is True


def test_sync_creates_what_is_new_and_draws_edges_once(make):
    client = make()
    account, person = Account(handle='alice'), Person(firstName='Alice')
    assert account.store(client) is account
    account.add_edge('owner', person)
    with pytest.warns(UserWarning, match='not stored'): client.sync()
    person.store(client)
    for _ in range(3): client.sync()
    assert len(client.get_edges(account.id)) == 1 and account._new_edges == []
    client.reset_local_db()
    account = client.get(account.id)
    assert account.owner[0].id == person.id
    before = account.dateServerModified
    client.sync()
    assert client.get(account.id).dateServerModified == before           # nothing changed, nothing was sent


def test_sync_pulls_erasures_and_edges_and_forgets_the_purged(make):
    mine, person, theirs, far = two_sides(make)
    account = Account(handle='far')
    far.lastName = None
    theirs.update_item(far)
    theirs.create(account)
    theirs.create_edge(Edge(far, account, 'account'))
    mine.sync()
    assert person.lastName is None and person.account[0].handle == 'far'
    person.firstName = 'lost'
    theirs.purge([person.id])
    with pytest.warns(UserWarning, match='for good'): mine.sync()
    assert not mine.local_db.contains(person) and not mine.exists(person.id)


@pytest.mark.parametrize('seed', range(12))
def test_two_clients_that_change_at_random_agree_in_the_end(make, seed):
    import random
    rnd, ids = random.Random(seed), [f'person-{i}' for i in range(4)]
    props = ['firstName', 'lastName', 'displayName', 'gender']
    a, b = make(), make()
    for i in ids: Person(id=i, firstName='0', lastName='0').store(a)
    a.sync()
    for i in ids: b.get(i)
    for turn in range(5):
        before, touched = {(i, p): a.local_db.get(i).__dict__[p] for i in ids for p in props}, {}
        for who, c in (('a', a), ('b', b)):
            for _ in range(rnd.randrange(6)):
                i, p, v = rnd.choice(ids), rnd.choice(props), rnd.choice([None, f'{who}{turn}{rnd.random():.3f}'])
                setattr(c.local_db.get(i), p, v)
                touched.setdefault((i, p), {})[who] = v
            s, t = rnd.sample(ids, 2)
            c.local_db.get(s).add_edge('relationship', c.local_db.get(t))
        priority = rnd.choice(['local', 'remote', 'newest'])
        for c, how in ((a, priority), (b, priority), (a, 'error'), (b, 'error')): c.sync(how)
        for (i, p), by in touched.items():
            real = {who: v for who, v in by.items() if v != before[i, p]} or {'nobody': before[i, p]}
            wins = {'local': 'b', 'remote': 'a'}.get(priority)  # b synced last, so for b what a wrote is remote
            allowed = {real[wins]} if wins in real else set(real.values())
            assert a.local_db.get(i).__dict__[p] in allowed, (turn, priority, i, p, by)
        for i in ids:
            there = a.api.get_item(i)[0]
            for p in props: assert there.get(p) == a.local_db.get(i).__dict__[p] == b.local_db.get(i).__dict__[p]
            edges = sorted((e['name'], e['item']['id']) for e in a.api.get_edges(i))
            for c in (a, b): assert sorted((e._type, e.target.id) for e in c.local_db.get(i).get_all_edges()) == edges


def test_sync_takes_a_new_photo_s_bytes_along(make):
    client, photo = make(), Photo.from_np(np.zeros((4, 5), dtype=np.uint8))
    for item in (photo, photo.file[0]): item.store(client)
    client.sync()
    assert make().get_photo(photo.id).to_np().shape == (4, 5)


# ---- for good ----

def test_purge_and_delete_all(make):
    client = make()
    dogs = [Dog(f'd{i}', i) for i in range(4)]
    client.bulk_action(dogs)
    assert client.purge([dogs[0], dogs[1].id]) == 2 and not client.exists(dogs[0].id) \
        and not client.local_db.contains(dogs[0])
    assert client.purge({'type': 'Dog', 'age': 2}) == 1
    assert [d.id for d in client.get_all_items()] == [dogs[3].id]
    alice = Person(firstName='Alice')
    client.bulk_action([alice], create_edges=[Edge(dogs[3], alice, 'friend')])
    assert client.purge([alice]) == 1 and dogs[3].friend == [] and client.get_edges(dogs[3].id) == []
    assert client.integrity_check() == []
    client.vacuum()
    client.delete_all()
    assert client.get_all_items() == [] and len(client.local_db) == 0
    assert client.create(Dog('after')) and [d.name for d in make().get_all_items()] == ['after']


# ---- keys, and what is never shown ----

def test_a_wrong_key_is_named_and_changes_nothing(make):
    client = make()
    client.create(Dog('Bob', id='bob-0001'))
    with pytest.raises(WrongKey) as e: make(database_key='ab' * 32)
    shown = all_shown(e.value)
    assert 'ab' * 32 not in shown and 'd1' * 32 not in shown
    assert make().get('bob-0001').name == 'Bob'


def test_no_key_is_shown(make, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    client = make()
    shown = repr(client) + str(client) + repr(client.api) + repr(client.api.road) + repr(client.local_db)
    for f in (lambda: client.get('missing-id'), lambda: client.create(Dog(age='x')), lambda: client.search({'nope': 1}),
              lambda: client.upload_file(b'x', asyncFlag=False), lambda: client.create_photo(Photo()),
              lambda: client.send_email('a@example.org'), lambda: client.add_to_schema(int),
              lambda: client.get_file('x')):
        with pytest.raises(PodError) as e: f()
        shown += all_shown(e.value)
    shown += caplog.text + ''.join(capsys.readouterr())
    assert KEYS['database_key'] not in shown
    assert KEYS['owner_key'] not in shown
    # our own server gets none in a path
    if make.server: assert not any(KEYS['database_key'] in p for p in make.server.seen)


def test_short_keys_are_regular(make, tmp_path):
    c, where = make(database_key='key', owner_key='key'), make.server.url if make.server else 'embedded'
    assert c.create(Dog('max')) and repr(c) == f'PodClient({where}, owner …)' and not c.temporary
    assert [d.name for d in make(database_key='key', owner_key='key').search({'type': 'Dog'})] == ['max']
    c.backup(tmp_path / 'copy')
    for key in ('key', 'KEY') if make.server else ('key',):
        with PodClient(database_key=key, owner_key='key', home=tmp_path / 'copy', quiet=True) as copy:
            assert [d.name for d in copy.search({'type': 'Dog'})] == ['max']
    with pytest.raises(WrongKey): PodClient(database_key='kei', owner_key='key', home=tmp_path / 'copy')


# ---- addresses ----

def test_address_from_the_environment_is_read_at_construction(tmp_path, monkeypatch):
    with Server(tmp_path) as server:
        monkeypatch.setenv('POD_ADDRESS', server.url)
        with PodClient(**KEYS, quiet=True) as c: assert repr(c).startswith(f'PodClient({server.url}, owner 0e0e0e…')
        monkeypatch.setenv('POD_ADDRESS', 'http://127.0.0.1:1')
        with PodClient(url=server.url, **KEYS, quiet=True) as c: assert c.create(Dog('x'))
        with PodClient(home=tmp_path / 'h', **KEYS, quiet=True) as c: assert 'embedded' in repr(c)


def test_nobody_there_is_an_error_that_names_the_way_out():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{s.getsockname()[1]}'
    with pytest.raises(Unavailable) as e: PodClient(url=url, **KEYS)
    assert url in str(e.value) and 'POD_ADDRESS' in str(e.value)
    shown = all_shown(e.value)
    assert KEYS['database_key'] not in shown and KEYS['owner_key'] not in shown
    with pytest.raises(Invalid, match='http://localhost:3030'): PodClient(url='localhost:3030')


def test_a_server_that_never_answers_or_has_a_strange_certificate(tmp_path, monkeypatch):
    from pymemri.pod.api import PodAPI
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        with pytest.raises(Unavailable, match='in time'):
            PodAPI('key', 'key', f'http://127.0.0.1:{s.getsockname()[1]}', timeout=.2).get_item('dog-0001')
    pem, _ = both_in_one(tmp_path / 'tls')
    with Server(tmp_path, tls=True, tls_pub_crt=pem, tls_priv_key=pem) as server:
        url = server.url.replace('127.0.0.1', 'localhost')
        with pytest.raises(Unavailable, match='not trusted'): PodClient(url=url, **KEYS)
        with pytest.raises(Unavailable, match='HTTP|connection broke'):
            PodClient(url=url.replace('https', 'http'), **KEYS)
        assert server.seen == []
        monkeypatch.setenv('SSL_CERT_FILE', pem)
        with PodClient(url=url, **KEYS, quiet=True) as c:
            assert c.create(Dog('x', id='dog-0001')) and c.count({'type': 'Dog'}) == 1
            assert len(c.api.road.connections.idle) == 1 and c.api.road.connections.made == 1
    with Server(tmp_path) as server, pytest.raises(Unavailable, match='does not speak TLS'):
        PodClient(url=server.url.replace('http', 'https'), **KEYS)


def test_a_pod_that_dies_and_comes_back(tmp_path):
    with Server(tmp_path) as server:
        client = PodClient(url=server.url, **KEYS, quiet=True)
        client.create(Dog('x', id='dog-0001'))
    client.api.road.connections.close()
    with pytest.raises(Unavailable): client.get('dog-0001')
    with pytest.raises(Unavailable): client.sync()
    client.close()


def test_a_pod_that_speaks_only_v4(tmp_path):
    with Server(tmp_path, wires=('v4',)) as server, PodClient(url=server.url, **KEYS, quiet=True) as c:
        dogs = [Dog(f'd{i}', i, id=f'dog-{i:04}') for i in range(5)]
        assert c.bulk_action(dogs) and c.get('dog-0001') is dogs[1]
        assert [d.id for d in c.search({'ids': ['dog-0003', 'dog-0001']})] == ['dog-0003', 'dog-0001']
        assert c.search_last_added('Dog') is dogs[4] and c.search_last_added('Dog', 'age', 2) is dogs[2]
        dogs[3].friend = Person(firstName='Ann', id='person-1')
        assert c.create(dogs[3].friend[0]) and c.create_edges(dogs[3].get_edges('friend'))
        assert c.search_last_added('Dog', 'friend', dogs[3].friend[0]) is dogs[3]
        assert c.search_last_added('Dog', 'weight') is None
        dogs[0].age = 10
        assert c.sync() and c.search({'type': 'Dog', 'age': 10}) == [dogs[0]]
        x = Photo.from_np(np.zeros((3, 3), dtype=np.uint8))
        assert c.create_photo(x) and c.get_file(x.file[0].sha256) == x.data
        for f in (lambda: c.count(), lambda: c.search({'age>': 3}),
                  lambda: c.delete_edge(Edge(dogs[0], dogs[1], 'friend'))):
            with pytest.raises(PodError) as e: f()
            assert e.value.status == 501
        with pytest.raises(PodError) as e: c.api.backup(tmp_path / 'b')
        assert server.seen.count('/v5/health') == 1 and all(re.match('/v4/|/v5/health$', p) for p in server.seen)


def test_many_threads_on_one_client(make):
    client, errors = make(), []
    def work(i):
        try:
            for j in range(10):
                dog = Dog(f'{i} {j}', i)
                client.create(dog)
                assert client.get(dog.id) is dog
        except Exception as e: errors.append(e)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert errors == [] and client.count({'type': 'Dog'}) == 60


def test_threads_that_read_the_same_get_the_same_objects(make):
    client, seen = make(), []
    client.bulk_action([Dog(f'd{i}', i) for i in range(50)])
    for _ in range(3):
        client.reset_local_db()
        found, start = [], threading.Barrier(4)
        def work():
            start.wait()
            found.append(list(client.search({'type': 'Dog'})))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert len(found) == 4 and all(a is b for other in found[1:] for a, b in zip(found[0], other))


# ---- temporary Pods ----

def run(program, *args, **kw):
    "Run a program in another process"
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYMEMRI_HOME': str(kw.pop('home'))}
    env.pop('POD_ADDRESS', None)
    program = 'from pymemri.pod.client import *\nimport sys, os, json, signal\n' + program
    return subprocess.run([sys.executable, '-c', program, *args], env=env, capture_output=True, text=True, timeout=60)


def pods(home): return sorted(p.name for p in home.glob('pod/*')), sorted(p.name for p in home.glob('temporary/*-*'))


def test_a_temporary_pod_is_found_by_others_and_goes_with_its_process(tmp_path):
    with PodClient(home=tmp_path, quiet=True) as client:
        assert repr(client).endswith(', temporary)') and len(client.database_key) == len(client.owner_key) == 64
        client.create(Dog('Bob', id='bob-0001'))
        twin = PodClient(home=tmp_path, database_key=client.database_key, owner_key=client.owner_key, quiet=True)
        assert twin.get('bob-0001').name == 'Bob' and repr(twin) == repr(client)
        twin.close()
        out = run('c = PodClient(database_key=sys.argv[1], owner_key=sys.argv[2]); '
                  'd = c.get("bob-0001"); print(d.name, c.temporary); d.name = "Rex"; c.update_item(d)',
                  client.database_key, client.owner_key, home=tmp_path)
        assert out.stdout.split() == ['Bob', 'True'], out.stderr
        client.reset_local_db()
        assert client.get('bob-0001').name == 'Rex'
        with pytest.raises(WrongKey): PodClient(home=tmp_path, database_key='ab' * 32, owner_key=client.owner_key)
    home = tmp_path / 'other'
    out = run('c = PodClient(); c.create(Dog("x")); print(len(os.listdir(os.environ["PYMEMRI_HOME"] + "/temporary")))',
              home=home)
    assert out.stdout.strip() == '2' and pods(home) == ([], []), out.stderr           # the folder and the lock


def test_a_killed_process_leaves_a_temporary_pod_that_is_swept(tmp_path):
    out = run('c = PodClient(); c.create(Dog("x")); os.kill(os.getpid(), signal.SIGKILL)', home=tmp_path)
    assert out.returncode == -signal.SIGKILL and len(pods(tmp_path)[1]) == 1
    out = run('c = PodClient(); print(len([f for f in os.listdir(os.environ["PYMEMRI_HOME"] + "/temporary") '
              'if "-" in f]))', home=tmp_path)
    assert out.stdout.strip() == '1' and pods(tmp_path) == ([], [])


def test_a_temporary_pod_stays_while_somebody_uses_it(tmp_path):
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYMEMRI_HOME': str(tmp_path)}
    head = 'from pymemri.pod.client import *; import sys\n'
    start = lambda p, *a: subprocess.Popen([sys.executable, '-c', head + p, *a], env=env, text=True,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    maker = start('c = PodClient(); c.create(Dog("x", id="dog-0001")); '
                  'print(str(c.database_key), str(c.owner_key), flush=True); sys.stdin.read()')
    keys = maker.stdout.readline().split()
    guest = start('c = PodClient(database_key=sys.argv[1], owner_key=sys.argv[2]); '
                  'print(c.get("dog-0001").name, flush=True); sys.stdin.read(); '
                  'c.create(Dog("y")); c.reset_local_db(); print(c.count({"type": "Dog"}))', *keys)
    assert guest.stdout.readline() == 'x\n'
    maker.communicate('')
    assert len(pods(tmp_path)[1]) == 1                        # the guest still needs it
    assert guest.communicate('')[0] == '2\n' and pods(tmp_path) == ([], [])


def test_many_temporary_pods_at_once(tmp_path):
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYMEMRI_HOME': str(tmp_path)}
    program = ('from pymemri.pod.client import *\nfor i in range(3):\n'
               '    with PodClient(register_base_schema=False) as c: c.create(Dog("x", id="dog-0001")); '
               'c.reset_local_db(); assert c.get("dog-0001").name == "x"\nprint("fine")')
    running = [subprocess.Popen([sys.executable, '-c', program], env=env, text=True, stdout=subprocess.PIPE)
               for _ in range(6)]
    assert [p.communicate(timeout=120)[0] for p in running] == ['fine\n'] * 6 and pods(tmp_path) == ([], [])


def test_stored_keys_keep_a_temporary_pod(tmp_path):
    out = run('c = PodClient(); c.create(Dog("kept", id="dog-0001")); p = c.store_keys(); '
              'print(c.temporary, repr(c), p.name)', home=tmp_path)
    assert 'False PodClient(embedded' in out.stdout and 'temporary' not in out.stdout, out.stderr
    assert len(pods(tmp_path)[0]) == 1 and pods(tmp_path)[1] == []
    out = run('c = PodClient.from_local_keys(); print(c.get("dog-0001").name, c.temporary)', home=tmp_path)
    assert out.stdout.splitlines()[-1] == 'kept False', out.stderr
    assert [l.split(' from ')[0] for l in out.stdout.splitlines()[:2]] == ['reading database_key', 'reading owner_key']


def test_a_kept_pod_survives_a_kill(tmp_path):
    run('c = PodClient(); c.create(Dog("kept", id="dog-0001")); c.store_keys(); os.kill(os.getpid(), signal.SIGKILL)',
        home=tmp_path)
    for _ in range(2):
        out = run('c = PodClient.from_local_keys(); print(c.get("dog-0001").name)', home=tmp_path)
        assert out.stdout.splitlines()[-1] == 'kept', out.stderr
    assert len(pods(tmp_path)[0]) == 1 and pods(tmp_path)[1] == []


# ---- the key file ----

def test_key_file(tmp_path, capsys):
    path = tmp_path / 'deep' / 'keys.json'
    for i in range(5): assert store_keys(path, owner_key=f'{i}' * 64) == path
    files = sorted(path.parent.iterdir())
    assert len(files) == 5 and {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert {read_pod_key('owner_key', f, quiet=True)[0] for f in files} == set('01234') \
        and read_pod_key('owner_key', path)[0] == '4'
    with pytest.raises(Conflict): store_keys(str(path), replace=False)
    assert store_keys_cli(['--path', str(path), '--replace', 'False']) == 1 \
        and read_pod_key('owner_key', path)[0] == '4'
    assert store_keys_cli(['--path', str(path), '--owner_key', '9' * 64]) == 0 \
        and read_pod_key('owner_key', path)[0] == '9'
    shown = ''.join(capsys.readouterr())
    assert '9999' not in shown and read_pod_key('database_key', path, quiet=True) not in shown
    with pytest.raises(SystemExit): store_keys_cli(['--replace', 'perhaps'])


def test_type_checkers_know_the_client(tmp_path):
    import shutil
    stubs = ROOT / 'tools' / 'make_stubs.py'
    assert subprocess.run([sys.executable, str(stubs), '--check'], cwd=ROOT).returncode == 0, 'run tools/make_stubs.py'
    if not shutil.which('pyright'): pytest.skip('no pyright')
    program = tmp_path / 'program.py'
    program.write_text('from pymemri.pod.client import PodClient, Dog\nclient = PodClient()\n'
                       'ok: bool = client.create(Dog("x", 3))\n'
                       'print(client.search({"type": "Dog"})[0].id, client.owner_key.upper(), client.api.count({}), '
                       'client.temporary)\n'
                       'with PodClient.from_local_keys(quiet=True) as c: c.sync("newest")\nclient.creat(Dog("x"))\n')
    (tmp_path / 'pyrightconfig.json').write_text(json.dumps({'extraPaths': [str(ROOT)]}))
    found = json.loads(subprocess.run(['pyright', '-p', str(tmp_path), '--outputjson', '--pythonpath', sys.executable],
                                      capture_output=True, text=True).stdout)
    assert [(d['range']['start']['line'], d['rule']) for d in found['generalDiagnostics']] \
        == [(5, 'reportAttributeAccessIssue')]


def test_importing_does_nothing(tmp_path):
    program = ('import sys; before = set(sys.modules); import pymemri.pod.client; new = set(sys.modules) - before; '
               'print([m for m in ("numpy", "PIL", "matplotlib", "ipywidgets", "requests", "tqdm") if m in new])')
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYMEMRI_HOME': str(tmp_path / 'none')}
    assert subprocess.run([sys.executable, '-c', program], env=env, capture_output=True,
                          text=True).stdout.strip() == '[]'
    assert not (tmp_path / 'none').exists()


def test_an_upload_that_is_done_is_forgotten(client):
    "Who brings a million photographs keeps no note of each"
    photos = [Photo.from_np(np.full((4, 4, 3), i, dtype=np.uint8)) for i in range(20)]
    for p in photos: client.create_photo(p)
    wait_for(lambda: not client._uploads)
    client.upload_file(b'of no item', callback=None)
    with pytest.raises(NotFound): client.wait_for_uploads()
    assert [client.get_file(p.file[0].sha256) for p in photos] == [p.data for p in photos]


def test_bytes_that_sync_could_not_send_are_sent_by_the_next(client, monkeypatch):
    photos = [Photo.from_np(np.full((4, 4, 3), i, dtype=np.uint8)) for i in range(3)]
    for p in photos:
        for item in (p, *p.file): client.add_to_store(item)
    send, told = client.api.upload_file, []
    def fails_once(*args):
        if not told: raise told.append(args) or Unavailable('the line is dead')
        return send(*args)
    monkeypatch.setattr(client.api, 'upload_file', fails_once)
    with pytest.raises(Unavailable, match='the line is dead'): client.sync()
    assert [client.get_file(p.file[0].sha256) for p in photos[1:]] == [p.data for p in photos[1:]]
    with pytest.raises(NotFound): client.get_file(photos[0].file[0].sha256)
    client.sync()
    assert client.get_file(photos[0].file[0].sha256) == photos[0].data


def test_an_item_with_many_edges_costs_each_of_them_once(client):
    "An account of four thousand friends took as many seconds as one of two thousand, four times"
    def cost(do):
        lines, was = [0], sys.gettrace()
        def count(frame, event, arg):
            lines[0] += event == 'line'
            return count
        sys.settrace(count)
        try: do()
        finally: sys.settrace(was)
        return lines[0]
    made, read = [], []
    for n in (50, 400):
        account, friends = Account(handle=f'{n} friends'), [Person(firstName=f'friend {i} of {n}') for i in range(n)]
        edges = [Edge(account, f, 'owner') for f in friends]
        made.append(cost(lambda: client.bulk_action([account, *friends], create_edges=edges)))
        assert account.owner == friends and not account._new_edges
        client.reset_local_db()
        read.append(cost(lambda: client.get(account.id)))
        assert len(client.get(account.id).owner) == n
    for few, many in (made, read): assert many < 12 * few


def test_no_time_to_wait_for_a_run_is_none(monkeypatch):
    with PodClient(quiet=True) as client:
        client.create(run := PluginRun(containerImage='nothing that runs here'))
        def sleep(seconds): raise AssertionError('it waits')
        monkeypatch.setattr('pymemri.pod.client.time.sleep', sleep)
        with pytest.raises(Unavailable, match='has not ended'): client.wait_for_run(run, timeout=0)

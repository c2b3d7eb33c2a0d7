"""Items, schema and photos: what the notebooks cannot show in a few lines."""
import io, json, os, random, shutil, subprocess, sys, time, zlib
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo, available_timezones
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
import pymemri.data.itembase as itembase
import pymemri.data.schema as schema
from pymemri.core import Invalid
from pymemri.data.item import (EPOCH, VALUE_TYPES, Edge, Edges, Item, ItemList, from_ms, in_utc,
                               json_value, pod_name, to_ms, unset)
from pymemri.data.photo import Photo, encode_image
from pymemri.data.schema import EmailMessage, Person, PluginRun, Post

UTC = timezone.utc
FIRST, LAST = to_ms(datetime.min.replace(tzinfo=UTC)), to_ms(datetime.max.replace(tzinfo=UTC))


@contextmanager
def local_zone(name):
    "This process lives in another time zone"
    was = os.environ.get('TZ')
    os.environ['TZ'] = name
    time.tzset()
    try: yield
    finally:
        os.environ.pop('TZ') if was is None else os.environ.update(TZ=was)
        time.tzset()


# --- moments ---------------------------------------------------------------
@given(st.integers(FIRST, LAST))
def test_every_millisecond_survives(ms):
    when = from_ms(ms)
    assert to_ms(when) == ms and when.utcoffset() == timedelta(0) and in_utc(when) == when


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones(), allow_imaginary=False))
def test_every_zone_is_exact(when):
    utc = when.astimezone(UTC)
    days = utc.toordinal() - EPOCH.toordinal()
    seconds = days * 86_400 + utc.hour * 3600 + utc.minute * 60 + utc.second
    assert to_ms(when) == seconds * 1000 + utc.microsecond // 1000
    assert from_ms(to_ms(when)) == utc.replace(microsecond=utc.microsecond // 1000 * 1000)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
       st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))))
def test_fixed_offsets_are_exact(naive, zone):
    when = naive.replace(tzinfo=zone)
    try: got = in_utc(when)
    except Invalid: assert naive.year in (1, 9999)
    else: assert timedelta(0) <= when - got < timedelta(milliseconds=1)


@pytest.mark.parametrize('naive', [datetime(2024, 1, 1), datetime(2024, 7, 1, 23, 59, 59),
                                   datetime(1955, 3, 4, 5, 6, 7), datetime(2100, 1, 1)])
def test_naive_is_local_in_every_zone(naive):
    for name in sorted(available_timezones() - {'localtime'})[::3]:
        with local_zone(name): assert to_ms(naive) == int(naive.timestamp()) * 1000, name


def test_naive_in_the_hour_that_is_missing_or_twice():
    with local_zone('America/New_York'):
        for naive in (datetime(2024, 3, 10, 2, 30), datetime(2024, 11, 3, 1, 30), datetime(2024, 11, 3, 1, 30, fold=1)):
            assert to_ms(naive) == int(naive.timestamp()) * 1000
    with local_zone('Asia/Tokyo'), pytest.raises(Invalid, match='0001|year|local time'): in_utc(datetime(1, 1, 1))


@pytest.mark.parametrize('bad', [1.0, True, '1', None, LAST + 1, FIRST - 1, 10**30, -10**30])
def test_what_is_no_moment(bad):
    with pytest.raises(Invalid): from_ms(bad)


# --- JSON ------------------------------------------------------------------
class Thing(Item):
    "Has every kind of property"
    name: str
    count: int
    weight: float
    good: bool = True
    made: datetime
    type: str


values = st.fixed_dictionaries({}, optional=dict(
    name=st.text(), count=st.integers(-2**63, 2**63 - 1), weight=st.floats(allow_nan=False, allow_infinity=False),
    made=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones(), allow_imaginary=False),
    good=st.booleans(), type=st.text(),
    externalId=st.text(), dateModified=st.integers(0, LAST).map(from_ms), id=st.from_regex(r'\A[a-zA-Z0-9_-]{6,36}\Z')))


@given(values)
def test_json_round_trip(given_):
    thing = Thing(**given_)
    back = Thing.from_json(json.loads(json.dumps(thing.to_json())))
    assert back.to_json() == thing.to_json() and list(back.__dict__) == list(thing.__dict__)
    assert [type(getattr(back, n)) for n in Thing.properties] == [type(getattr(thing, n)) for n in Thing.properties]
    assert 'dateModified' not in thing.to_json(dates=False)
    assert set(thing.to_json()) - {'type'} <= {pod_name(n) for n in Thing.properties}


@given(values, values)
def test_changes_are_what_differs(before, after):
    thing = Thing(**before)
    thing.reset_local_sync_state()
    state = dict(thing.__dict__)
    for n, v in after.items(): setattr(thing, n, v)
    changed = {n for n in after if n != 'id' and state[n] != thing.__dict__[n]}
    assert thing._updated_properties >= changed
    assert thing.changed_json() == {pod_name(n): json_value(thing.__dict__[n]) for n in thing._updated_properties}
    assert all(thing._date_local_modified[n].utcoffset() == timedelta(0) for n in changed)


def test_from_json_ignores_strangers():
    thing = Thing.from_json(dict(type='Thing', name='x', properties=['y'], __class__='z', _in_pod=True, edges=1,
                                 colour='red', label=['a']))
    assert thing.to_json() == dict(type='Thing', name='x') and thing._in_pod is False and thing.edges == Thing.edges


# --- declarations ------------------------------------------------------------
FUTURE = '''
from __future__ import annotations
from datetime import datetime
from typing import ClassVar, Optional, Union
from pymemri.data.item import Edges, Item, unset
class Dog(Item):
    kind: ClassVar[str] = 'animal'
    _cache: dict
    name: str
    age: Optional[int] = None
    born: "datetime | None" = unset
    friend: Edges[Person]
    foe: Edges[Person | Dog] | None = unset
    other: Edges["Person|Dog"]
    third: Edges[Union[Person, "Dog"]]
class Person(Item):
    name: str
'''


def test_future_annotations(tmp_path, monkeypatch):
    (tmp_path/'later_dogs.py').write_text(FUTURE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import later_dogs
    Dog = later_dogs.Dog
    assert Dog.properties == Item.properties + ['name', 'age', 'born']
    assert [VALUE_TYPES[Dog.get_property_types()[n]] for n in ('name', 'age', 'born')] \
        == ['Text', 'Integer', 'DateTime']
    assert [Dog.get_edge_types()[n] for n in ('friend', 'foe', 'other', 'third')] \
        == [['Person']] + [['Person', 'Dog']] * 3
    assert Dog('x', 3, friend=later_dogs.Person()).age == 3 and Dog.kind == 'animal'


def test_types_declared_inside_a_function():
    class Owner(Item):
        name: str
    class Pet(Item):
        owner: Edges[Owner]
        pal: Edges['Pet']
    assert Pet.get_edge_types()['owner'] == ['Owner'] and Pet(pal=Pet()).pal[0].owner == []


def test_bad_annotations_name_class_and_property():
    for bad in (list, dict[str, int], 'list[str]', object, bytes, 'Whatever', int | str, Person):
        with pytest.raises(TypeError, match=r'Odd\.colour'):
            type(Item)('Odd', (Item,), dict(__annotations__=dict(colour=bad), __module__=__name__))


def test_a_type_as_a_value_is_refused_with_the_line_that_was_meant():
    "`name = str` for `name: str` would declare nothing; what is meant as it stands goes on to work"
    with pytest.raises(TypeError, match=r'Odd\.name: .*write `name: str`'):
        class Odd(Item):
            name = str
    with pytest.raises(TypeError, match=r'Odder\.owner: .*write `owner: Edges\["Person"\]`'):
        class Odder(Item):
            name: str
            owner = Edges['Person']
    class Plain(Item):
        name: str = 'x'
        maker: ClassVar = dict
        owner: Edges['Person'] = Edges()
        Size = Enum('Size', 'small big')
        size = Size.small
        class Meta:
            class Inner: pass
        Other = Meta.Inner
        title = property(lambda self: self.name)
        bark = staticmethod(str)
        _cache = dict
    class Heir(Plain):
        owner = Edges()
    class Old(Item):
        edges = Item.edges + ['owner']
        owner = Edges()
    assert Plain.properties == Heir.properties == Item.properties + ['name'] and Plain().title == 'x'
    assert Heir.edges == Old.edges == Item.edges + ['owner'] and Plain.maker is dict and Plain.bark(1) == '1'


def test_two_parents():
    class Named(Item):
        name: str
    class Aged(Item):
        age: int
    class Both(Named, Aged):
        size: float
    assert Both.properties[-3:] == ['name', 'age', 'size']
    both = Both('x', 3, 1.5, id='abcdef')
    assert both.to_json() == dict(id='abcdef', name='x', age=3, size=1.5, type='Both')


def test_the_old_module_has_the_same_classes():
    assert itembase.Item is Item and itembase.Edge is Edge and itembase.ALL_EDGES == 'allEdges'


# --- the pages' own classes --------------------------------------------------
class Dog(Item):
    def __init__(self, name, age, id=None, deleted=None):
        super().__init__(id=id, deleted=deleted)
        self.name = name
        self.age = age
    @classmethod
    def from_json(cls, json):
        return cls(id=json.get("id", None), name=json.get("name", None), age=json.get("age", None))


def test_tutorial_dog():
    Dog.learn(Dog('max', 2))
    dog = Dog('bob', 3)
    assert dog.to_json() == dict(name='bob', age=3, type='Dog') and repr(dog) == 'Dog (#None)'
    records = {(r['propertyName'], r['valueType']) for r in Dog.pod_schema() if 'propertyName' in r}
    assert {('name', 'Text'), ('age', 'Integer')} <= records
    dog = Dog.from_pod(dict(type='Dog', id='abcdef', name='bob', age=3, dateServerModified=7, deleted=False))
    assert dog.dateServerModified == from_ms(7) and dog.changed_json() == {}
    dog.age = None
    assert dog.changed_json() == dict(age=None)


def test_pages_compare_dicts():
    one, two = Person.from_data(firstName='Alice'), Person.from_pod(dict(type='Person', id='abcdef', firstName='Alice'))
    for k in one.__dict__: two.__dict__[k]
    assert one != two and one == one and len({one, two}) == 2


def test_edges_by_hand_may_have_any_name():
    edge = Edge(Dog('max', 2), Person(), 'friend')
    assert repr(edge) == 'Dog (#None) --friend-> Person (#None)' and edge != None and edge != 'friend'


def test_many_edges_are_not_compared_each_with_each(monkeypatch):
    "An album of 4,000 photographs took four seconds"
    class Album(Item):
        photo: Edges['Item']
    compared, equal = [], Edge.__eq__
    monkeypatch.setattr(Edge, '__eq__', lambda self, other: compared.append(self) or equal(self, other))
    a, b, *others = photos = [Item(id=f'photo-{i}') for i in range(300)]
    album = Album(photo=[*photos, a])
    assert album.photo == photos and [e.target for e in album._new_edges] == photos
    for e in album.get_edges('photo'): e.mark_stored()
    with pytest.warns(UserWarning, match='photo-1'): album.photo = [a, *others, Item(id='new')]
    assert [e.target.id for e in album._new_edges] == ['new'] and b not in album.photo
    assert len(compared) < 3000


def test_plugin_run_has_one_id():
    run = PluginRun('image', 'module', 'Name')
    assert (run.containerImage, run.pluginModule, run.pluginName) == ('image', 'module', 'Name') \
        and run.id == run.targetItemId
    assert PluginRun(id='abcdef').targetItemId == 'abcdef' \
        == PluginRun.from_pod(dict(type='PluginRun', id='abcdef')).targetItemId
    run.targetItemId = 'fedcba'
    assert run.id == 'fedcba' and run.to_json()['targetItemId'] == 'fedcba'


# --- schema ------------------------------------------------------------------
FACTS = json.loads((Path(__file__).parent/'data'/'memri-schema.json').read_text())
OURS = {'Photo': {'dateTaken', 'camera', 'latitude', 'longitude'},
        'PluginRun': {'permissions', 'output'}} # properties and edges that Memri's type lacks


@pytest.mark.parametrize('name', sorted(set(FACTS) - {'_source', 'Dog'})) # Dog is the example of pymemri.pod.client
def test_schema(name):
    cls, facts, base = getattr(schema, name), FACTS[name], FACTS['Item']
    gone = set(facts['properties']) & set(base['edges']) # a property that replaces an inherited edge
    types = {n: VALUE_TYPES[t] for n, t in cls.get_property_types(dates=True).items() if n not in OURS.get(name, ())}
    assert types == base['properties'] | facts['properties']
    edges = {n: t for n, t in cls.get_edge_types().items() if n not in OURS.get(name, ())}
    assert edges == {n: t for n, t in (base['edges'] | facts['edges']).items() if n not in gone}
    assert sorted(types) == sorted(n for n in cls.properties if n not in OURS.get(name, ())) and name in schema.__all__


def test_schema_star_import():
    names = {}
    exec('from pymemri.data.schema import *', names)
    assert {'Item', 'Edge', 'Photo', 'PluginRun', 'Dataset', 'DatasetEntry', 'get_constructor'} <= set(names)
    assert not {'datetime', 'importlib', 'Any', 'Optional'} & set(names)


def test_import_loads_nothing_heavy():
    code = ("import sys, pymemri.data.schema as s; "
            "print([m for m in ('numpy', 'PIL', 'matplotlib', 'pandas', 'IPython', 'requests', "
            "'pillow_heif') if m in sys.modules])")
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip() == '[]'


# --- showing -----------------------------------------------------------------
def test_nothing_from_outside_becomes_html():
    evil = '"><script>alert(1)</script>'
    person = Person(firstName=evil, id=evil)
    mail = EmailMessage(subject=evil, sender=person)
    setattr(mail, '<b>x</b>', 'undeclared')
    for text in (person._repr_html_(), mail._repr_html_(), ItemList([person, mail])._repr_html_(),
                 ItemList([person] * 50)._repr_html_()):
        assert '<script' not in text and '<b>' not in text
    account = schema.Account(secret='hush', accessToken='hush', handle='a')
    assert 'hush' not in account._repr_html_() + repr(account) + ItemList([account])._repr_html_() \
        + repr(ItemList([account]))


# --- photos ------------------------------------------------------------------
def noise(*shape): return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
def saved(kind, **kw):
    out = io.BytesIO()
    Image.fromarray(noise(64, 48, 3)).save(out, kind, **kw)
    return out.getvalue()


@pytest.mark.parametrize('turn', range(1, 9))
def test_orientation(turn):
    pixels = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = turn
    Image.fromarray(pixels).save(out, 'PNG', exif=exif)
    photo = Photo.from_bytes(out.getvalue())
    turned = [None, pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1], pixels.T, np.rot90(pixels, -1),
              pixels[::-1, ::-1].T, np.rot90(pixels)][turn]
    assert photo.size == turned.shape[::-1] and (photo.to_np() == turned).all() and photo.data == out.getvalue()


@given(st.sampled_from([(5, 7), (5, 7, 3), (5, 7, 4), (1, 1), (1, 9, 3)]), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_arrays_round_trip(shape, rnd):
    x = np.random.default_rng(rnd.randrange(2**32)).integers(0, 256, shape, np.uint8)
    photo = Photo.from_np(x)
    assert (photo.to_np() == x).all() and photo.data == encode_image(x)
    assert photo.channels == (shape[2] if len(shape) == 3 else 1) and photo.size == (shape[1], shape[0])


@pytest.mark.parametrize('bad', [np.zeros((2, 2, 3)), np.zeros((2, 2, 7), np.uint8), np.zeros(4, np.uint8),
                                 np.zeros((0, 3), np.uint8), None, 'x'])
def test_no_pictures(bad):
    with pytest.raises(Invalid): Photo.from_np(bad)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'TIFF', 'GIF', 'BMP'])
def test_flipped_and_missing_bytes(kind):
    "Whatever a stranger sends: a photo, or `Invalid`"
    rnd, good = random.Random(1), saved(kind)
    for i in range(60):
        bad = bytearray(good[:rnd.randrange(len(good))] if i % 3 == 0 else good)
        for _ in range(rnd.randrange(1, 9)):
            if bad: bad[rnd.randrange(min(len(bad), 300))] = rnd.randrange(256)
        try: Photo.from_bytes(bytes(bad))
        except Invalid as e: assert str(e).startswith('400 this')


def test_bombs():
    gif = b'GIF89a' + (60000).to_bytes(2, 'little') * 2 + b'\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0' \
        + (60000).to_bytes(2, 'little') * 2 + b'\0\x02\x02D\x01\0;'
    bmp = bytearray(saved('BMP'))
    bmp[18:26] = (40000).to_bytes(4, 'little') * 2
    for bomb in (gif, bytes(bmp)):
        with pytest.raises(Invalid, match='limit'): Photo.from_bytes(bomb)
    def chunk(kind, body):
        return len(body).to_bytes(4, 'big') + kind + body + zlib.crc32(kind + body).to_bytes(4, 'big')
    png = saved('PNG') # a comment of 200 MB in 200 kB
    long = png[:33] + chunk(b'zTXt', b'Comment\0\0' + zlib.compress(bytes(200_000_000), 9)) + png[33:]
    try: assert len(Photo.from_bytes(long).to_json()) < 20
    except Invalid: pass


def test_heic():
    heif = pytest.importorskip('pillow_heif')
    heif.register_heif_opener()
    data = saved('HEIF')
    photo = Photo.from_bytes(data)
    assert (photo.encoding, photo.size, photo.channels, photo.data) == ('HEIF', (48, 64), 3, data)


def test_thumbnail_tells_nothing():
    exif = Image.Exif()
    exif[0x010F] = 'SecretCamera'
    data = saved('JPEG', exif=exif, comment=b'SecretComment')
    photo = Photo.from_bytes(data)
    assert photo.camera == 'SecretCamera' and 'SecretCamera' in photo.exifData
    for kind in ('JPEG', 'WEBP', 'PNG'):
        assert b'Secret' not in photo.thumbnail(32, kind) \
            and Photo.from_bytes(photo.thumbnail(32, kind)).size == (24, 32)


# --- type checkers -----------------------------------------------------------
CHECKED = '''
from pymemri.data.item import Edges, Item, unset
class Person(Item):
    name: str = unset
class Dog(Item):
    name: str
    age: int
    friend: Edges["Person"] = unset
dog = Dog("max", 2, friend=[Person("alice")], id="abcdef", starred=True)
dog.friend = Person(name="bob")
reveal_type(dog.friend[0].name)  # str
reveal_type(dog.age)             # int
dog.add_edge("friend", Person()); Dog.from_json({}).to_json()
Dog("max", "two")          # error
Dog("max", 2, colour=1)    # error
Dog("max", 2, friend=3)    # error
dog.agee                   # error
dog.friend = 3             # error
Person("x", "abcdef")      # error
'''


@pytest.mark.skipif(not shutil.which('pyright'), reason='pyright is not installed')
def test_pyright(tmp_path):
    file = tmp_path/'checked.py'
    file.write_text(CHECKED)
    root = Path(__file__).parents[1]
    (tmp_path/'pyrightconfig.json').write_text(json.dumps(dict(extraPaths=[str(root)])))
    run = subprocess.run(['pyright', '--outputjson', '--pythonpath', sys.executable, '-p', str(tmp_path)],
                         capture_output=True, text=True)
    found = json.loads(run.stdout)['generalDiagnostics']
    lines = CHECKED.splitlines()
    want = {i for i, l in enumerate(lines) if l.endswith('# error')}
    assert {d['range']['start']['line'] for d in found if d['severity'] == 'error'} == want, found
    assert [d['message'].split()[-1] for d in found if d['severity'] == 'information'] == ['"str"', '"int"']

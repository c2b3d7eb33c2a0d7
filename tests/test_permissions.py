"""What a plugin may do, and what it can find out: every operation against every kind of permission, a Pod that holds
only what is granted as the measure of a guarded one, and attacks."""
import hashlib, itertools, json, shutil, tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.core import Conflict, Forbidden, Invalid, NotFound, PodError
from pymemri.engine.auth import Boxes, Grant, Permissions
from pymemri.engine.guard import OWNER_ONLY, Guard, guarded
from pymemri.engine.pod import Pod, pod_folder
from pymemri.engine.store import connect

OWNER, KEY = 'owner', '1' * 64
KINDS = dict(name='Text', note='Text', age='Integer', doc='Text', weight='Real', good='Bool')
TYPES = ('A', 'B', 'C')
SCHEMA = [dict(type='ItemPropertySchema', id=f'def-{t}-{p}', itemType=t, propertyName=p, valueType=k)
          for t in TYPES for p, k in KINDS.items()] + [
    dict(type='ItemPropertySchema', id='def-Z-zed', itemType='Z', propertyName='zed', valueType='Text'),
    dict(type='ItemPropertySchema', id='def-Item-tag', itemType='Item', propertyName='tag', valueType='Text'),
    dict(type='ItemPropertySchema', id='def-run-status', itemType='PluginRun', propertyName='status', valueType='Text'),
    dict(type='ItemPropertySchema', id='def-run-perm', itemType='PluginRun', propertyName='permissions',
         valueType='Text'),
    dict(type='ItemEdgeSchema', id='def-A-friend', sourceType='A', edgeName='friend', targetType='B'),
    dict(type='ItemEdgeSchema', id='def-Z-friend', sourceType='Z', edgeName='friend', targetType='A')]


class Clock:
    def __init__(self): self.t = 1_700_000_000_000
    def __call__(self): return self.t


def answer(f, *args):
    "What comes back, or the class and the text of the error"
    try: out = f(*args)
    except PodError as e: return type(e).__name__, e.status, e.message
    return json.loads(out) if isinstance(out, (str, bytes)) and out[:1] in ('[', '{', b'[', b'{') else out


@pytest.fixture
def pods(tmp_path):
    "A function that makes a Pod; all are closed at the end"
    made = []
    def make(items=(), edges=(), schema=SCHEMA, home=None, create=True):
        pod = Pod(OWNER, KEY, home=home or tmp_path / str(len(made)), clock=Clock(), create=create)
        made.append(pod)
        if create: pod.bulk(dict(createItems=[*schema, *items], createEdges=list(edges)))
        return pod
    yield make
    for pod in made: pod.close()


def guard(pod, run=None, **permissions): return Guard(pod, Grant(KEY, Permissions.parse(permissions), run))


# --- a Pod that holds only what is granted, made without the code under test ---

def said(may, right, type):
    "What permissions, as JSON, say of a type"
    special = type in ('ItemPropertySchema', 'ItemEdgeSchema', 'PluginRun')
    return may.get(right, {}).get(type, None if special else may.get(right, {}).get('*'))


def any_said(may, run, type):
    if type == 'Item': return [x for r in ('read', 'create', 'update') for x in may.get(r, {}).values()]
    found = [said(may, r, type) for r in ('read', 'create', 'update')]
    return [x for x in found if x is not None] + ['*'] * bool(run and type == 'PluginRun')


def edge_said(may, right, type, name):
    names = may.get('edges', {}).get(right, [])
    return names == '*' or name in names or f'{type}.{name}' in names


def reduce(db, may, run):
    "Remove from an open database what `may` does not let a plugin read"
    type_names = dict(db.execute('select n, name from types').fetchall())
    items = {n: (id, type_names[t], edge, json.loads(doc))
             for n, id, t, edge, doc in db.execute('select n, id, type, edge, doc from items').fetchall()}
    target = next((d.get('targetItemId') for i, t, e, d in items.values() if i == run), None) if run else None
    own = {n for n, (id, *_) in items.items() if run and id in (run, target)}
    builtin = db.execute('select n from items where dateServerModified=0').fetchall()
    seen = set(own) | {n for n, in builtin}
    for n, (id, t, edge, d) in items.items():
        if t == 'Edge' and edge: continue
        if said(may, 'read', t) is not None: seen.add(n)
        if t == 'ItemPropertySchema':
            if any(x == '*' or d['propertyName'] in x for x in any_said(may, run, d['itemType'])): seen.add(n)
        if t == 'ItemEdgeSchema' and any_said(may, run, d['sourceType']) and (
            d['targetType'] == 'Item' or any_said(may, run, d['targetType'])) and any(
                edge_said(may, r, d['sourceType'], d['edgeName']) for r in ('read', 'create')): seen.add(n)
    ends = {n for n in seen if n in own or said(may, 'read', items[n][1]) is not None}
    names = dict(db.execute('select n, name from names').fetchall())
    for e, s, m, t, o in db.execute('select n, source, name, target, self from edges').fetchall():
        pure = o is not None and items[o][1] == 'Edge'
        if {s, t} <= ends and edge_said(may, 'read', items[s][1], names[m]) and (o is None or pure or o in ends):
            if pure: seen.add(o)
        else:
            db.execute('delete from edges where n=?', (e,))
            if o is not None: db.execute('update items set edge=0 where n=?', (o,))
    for n, (id, t, edge, d) in items.items():
        if n not in seen: db.execute('delete from items where n=?', (n,))
        elif t not in ('ItemPropertySchema', 'ItemEdgeSchema') and n not in own and (s := said(may, 'read', t)) != '*':
            keep = {'id', 'type', 'dateCreated', 'dateModified', *(s or ())}
            db.execute('update items set doc=? where n=?', (json.dumps({k: v for k, v in d.items() if k in keep},
                                                                       ensure_ascii=False, separators=(',', ':')), n))
    db.execute("insert into fts(fts) values ('delete-all')")
    db.execute('delete from fts_dirty')
    db.execute("update meta set value=0 where name='fts'")


def twin(pod, home, may, run):
    "An unguarded Pod with the part of `pod` that is granted"
    to = pod.backup(home)
    db = connect(to / 'pod.db', pod.store._key)
    reduce(db, may, run)
    db.close()
    return Pod(OWNER, KEY, home=home, clock=pod.store.clock)


# --- hypothesis: a guarded Pod answers as one that holds nothing else ---

words = st.lists(st.sampled_from(['ant', 'bee', 'cat']), min_size=1, max_size=3).map(' '.join)
VALUES = dict(Text=words | st.sampled_from(['', 'é', 'x"y', 'ant\nbee']), Integer=st.integers(-2, 3),
              Real=st.sampled_from([0.5, 2.0]), Bool=st.booleans())
PROPS = st.fixed_dictionaries({}, optional={p: VALUES[k] for p, k in KINDS.items()})
LISTED = st.lists(st.sampled_from([*KINDS]), max_size=3, unique=True)
BY_TYPE = st.dictionaries(st.sampled_from([*TYPES, 'Z', '*', 'Edge', 'Nobody', 'PluginRun']),
                          LISTED.map(lambda x: x) | st.just('*'), max_size=3)
BY_TYPE = BY_TYPE.map(lambda d: {t: v if t not in ('Z', 'Nobody', 'PluginRun', 'Edge') or v == '*' else [] for t, v in d.items()})
EDGES = st.just('*') | st.lists(st.sampled_from(['friend', 'foe', 'A.friend', 'B.foe', 'a.b', 'never']), max_size=3)
PERMISSIONS = st.fixed_dictionaries({}, optional=dict(
    read=BY_TYPE, create=BY_TYPE.map(lambda d: {t: v for t, v in d.items() if t != 'PluginRun'}), update=BY_TYPE,
    delete=st.lists(st.sampled_from([*TYPES, '*']), max_size=2),
    edges=st.fixed_dictionaries({}, optional=dict(read=EDGES, create=EDGES, delete=EDGES))))
IDS = [f'item-{i}' for i in range(8)]
ITEM = st.tuples(st.sampled_from([*TYPES, 'Z', 'Edge']), PROPS, st.booleans())


@st.composite
def contents(draw):
    "Items, edges between them, and the target of the run"
    items = [dict(type=t, id=id, deleted=d, **({} if t == 'Z' else p)) | (dict(zed='ant') if t == 'Z' else {})
             for id, (t, p, d) in zip(IDS, draw(st.lists(ITEM, min_size=3, max_size=len(IDS))))]
    ids = [i['id'] for i in items]
    pairs = st.tuples(st.sampled_from(ids), st.sampled_from(['friend', 'foe', 'a.b']), st.sampled_from(ids))
    edges = [dict(_source=s, _name=n, _target=t) for s, n, t in draw(st.lists(pairs, max_size=8, unique=True))]
    own = draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))
    for e, o in zip(edges, own): e['_self'] = o
    runs = [dict(type='PluginRun', id=r, containerImage='x', targetItemId=draw(st.sampled_from(ids)), status='ant')
            for r in ('run-0001', 'run-0002')]
    return items + runs, edges


def conditions():
    keys = []
    for p, k in {**KINDS, 'zed': 'Text', 'tag': 'Text', 'status': 'Text', 'nothing': 'Text', 'id': 'Text',
                 'type': 'Text', 'key': 'Text'}.items():
        v = VALUES[k] | (st.sampled_from([*IDS, *TYPES]) if p in ('id', 'type') else st.nothing())
        keys += [st.tuples(st.just(p + op), v | st.none()) for op in (['==', '!='] if p == 'type' else ['', '!='])]
        keys += [st.tuples(st.just(p + op), v) for op in ('<', '>=')]
        keys.append(st.tuples(st.just(p + ' in'), st.lists(v | st.none(), max_size=2)))
        if k == 'Text': keys += [st.tuples(st.just(p + op), v) for op in ('^=', '*=')]
    return st.lists(st.one_of(keys), max_size=2)


def depth(names): return st.fixed_dictionaries({}, optional=dict(
    names=st.lists(st.sampled_from(['friend', 'foe']), max_size=2), depth=st.integers(1, 3)))


ASKED = st.fixed_dictionaries({}, optional={
    'type': st.sampled_from([*TYPES, 'Z', 'Edge', 'PluginRun', 'ItemPropertySchema', 'ItemEdgeSchema', 'Nobody',
                             ['A', 'Edge'], ['A', 'B'], ['PluginRun', 'C']]),
    'deleted': st.booleans(), '_limit': st.integers(0, 4), '[[edges]]': depth(0), '~[[edges]]': depth(0)})
ORDER = st.fixed_dictionaries({}, optional={
    '_sort': st.lists(st.sampled_from([s + p for p in (*KINDS, 'zed', 'status') for s in ('', '-')]), max_size=2),
    '_sortOrder': st.sampled_from(['Asc', 'Desc']), '_offset': st.integers(0, 3)})
WORDS = st.lists(st.sampled_from(['ant', 'bee', 'cat', 'an*', '-bee', '-ant', '"ant bee"', '"bee ant"', '-"ant bee"',
                                  '"cat ant" ', 'x"y']), min_size=1, max_size=3).map(' '.join)
AFTER = st.fixed_dictionaries({'_after': st.tuples(
    st.integers(0, 6).map(lambda k: 1_700_000_000_000 + k), st.sampled_from([*IDS, 'nobody'])).map(list)},
    optional={'_sortOrder': st.sampled_from(['Asc', 'Desc'])})
QUERY = st.builds(lambda a, c, o: a | o | dict(c), ASKED, conditions(),
                  st.one_of(ORDER, AFTER, st.just({}), st.just({'_memri': True}),
                            st.lists(st.sampled_from([*IDS, 'nobody', 'def-A-age']), max_size=4).map(lambda i: {'ids': i})))
TEXT = st.builds(lambda a, c, o, t, s: {k: v for k, v in a.items() if k != '_limit'} | dict(c) | o
                 | {'_text': t, '_snippet': s}, ASKED, conditions(),
                 st.just({}) | st.just({'_sort': ['age', 'id']}), WORDS, st.booleans())


def plain(found, order):
    "Answers to a question with words, without ranks, which depend on the words of all items"
    if not isinstance(found, list): return found
    found = [{k: v for k, v in i.items() if k != '_rank'} for i in found]
    return found if order else sorted(found, key=lambda i: i['id'])


def everything(pod, ids):
    "What can be asked by id"
    out = {id: answer(pod.get_item, id) for id in ids}
    for id, way in itertools.product(ids, ('Outgoing', 'Incoming')):
        for more in ({}, {'_memri': True}):
            out[id, way, *more] = answer(pod.get_edges, dict(item=id, direction=way, expandItems=True) | more)
    return out


def all_ids(pod):
    with pod.store.read() as db:
        edges = [f'00000000ed6e8000{n:016x}' for n, in db.execute('select n from edges').fetchall()]
        return [i for i, in db.execute('select id from items').fetchall()] + edges + ['nobody']


from hypothesis import Phase
SLOW = dict(phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))


def build(folder, content):
    clock = Clock()
    pod = Pod(OWNER, KEY, home=folder / 'one', clock=clock)
    items, edges = content
    pod.bulk(dict(createItems=SCHEMA))
    for k, item in enumerate(items):
        clock.t += k % 3
        pod.create_item(item)
    for e in edges: answer(pod.create_edge, e)
    for e in edges[:2]: # some have items of their own
        if '_self' not in e: answer(pod.delete_edge, e)
    return pod


@settings(max_examples=60, **SLOW)
@given(contents(), PERMISSIONS, st.sampled_from([None, 'run-0001']), st.lists(QUERY, min_size=6, max_size=12),
       st.lists(TEXT, min_size=3, max_size=6), st.booleans())
def test_a_guarded_pod_answers_as_one_that_holds_only_what_is_granted(content, may, run, queries, texts, hasty):
    with tempfile.TemporaryDirectory() as folder:
        pod = build(Path(folder), content)
        small, g = twin(pod, Path(folder) / 'two', may, run), guard(pod, run, **may)
        try:
            if hasty: g.find.slow, g.find.scan_from = 0, 2
            assert everything(g, ids := all_ids(pod)) == everything(small, ids)
            assert g.schema() == small.schema()
            for q in [{}, {'_memri': True}, {'type': 'Edge'}, {'[[edges]]': {'depth': 3}}, *queries, *queries]:
                assert answer(g.search, q) == answer(small.search, q), q
                assert answer(g.search_json, q) == answer(small.search_json, q), q
                if {'ids', '_limit', '_after', '_memri'}.isdisjoint(q):
                    assert answer(g.count, q) == answer(small.count, q), q
                    for by in ('type', 'age', 'zed', 'good', 'nothing'):
                        asked = dict(query=q, by=by)
                        assert answer(g.facets, asked) == answer(small.facets, asked), asked
            for q in texts:
                order = '_sort' in q
                assert plain(answer(g.search, q), order) == plain(answer(small.search, q), order), q
                assert answer(g.count, q) == answer(small.count, q), q
                assert answer(g.facets, dict(query=q, by='type')) == answer(small.facets, dict(query=q, by='type'))
            assert answer(g.bulk, dict(search=queries)) == answer(small.bulk, dict(search=queries))
        finally:
            pod.close()
            small.close()

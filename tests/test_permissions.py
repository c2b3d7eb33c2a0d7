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
ODD = ('Z', 'Nobody', 'PluginRun', 'Edge') # types that do not declare all properties
BY_TYPE = st.dictionaries(st.sampled_from([*TYPES, *TYPES, '*', *ODD]), LISTED | st.just('*'), max_size=3)
BY_TYPE = BY_TYPE.map(lambda d: {t: v if t not in ODD or v == '*' else [] for t, v in d.items()})
PARTS = st.builds(lambda a, more: more | dict(zip('ABC', a)), st.permutations([['name', 'age'], '*', ['note', 'doc']]),
                  BY_TYPE)
EDGES = st.just('*') | st.lists(st.sampled_from(['friend', 'foe', 'A.friend', 'B.foe', 'a.b', 'never']), max_size=3)
PERMISSIONS = st.fixed_dictionaries(dict(read=BY_TYPE | PARTS), optional=dict(
    create=BY_TYPE.map(lambda d: {t: v for t, v in d.items() if t != 'PluginRun'}), update=BY_TYPE,
    delete=st.lists(st.sampled_from([*TYPES, '*']), max_size=2),
    edges=st.fixed_dictionaries(dict(read=EDGES), optional=dict(create=EDGES, delete=EDGES))))
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
                            st.lists(st.sampled_from([*IDS, 'nobody', 'def-A-age']), max_size=4)
                            .map(lambda i: {'ids': i})))
TEXT = st.builds(lambda a, c, o, t, s: {k: v for k, v in a.items() if k != '_limit'} | dict(c) | o
                 | {'_text': t, '_snippet': s}, ASKED, conditions(),
                 st.just({}) | st.just({'_sort': ['age', 'id']}), WORDS, st.booleans())


def plain(found, order):
    "Answers to a question with words, without ranks, which depend on the words of all items"
    if not isinstance(found, list): return found
    found = [{k: v for k, v in i.items() if k != '_rank'} for i in found]
    return found if order else sorted(found, key=lambda i: i['id'])


def ids_in(found):
    "Of what was found, the ids; an error as it is"
    return [i['id'] for i in found] if isinstance(found, list) else found


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


SLOW = dict(deadline=None, suppress_health_check=list(HealthCheck))


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
                if '_memri' not in q: assert answer(g.ids, q) == answer(small.ids, q), q
                if {'ids', '_limit', '_after', '_memri'}.isdisjoint(q):
                    assert answer(g.count, q) == answer(small.count, q), q
                    for by in ('type', 'age', 'zed', 'good', 'nothing'):
                        asked = dict(query=q, by=by)
                        assert answer(g.facets, asked) == answer(small.facets, asked), asked
            for q in texts:
                order = '_sort' in q
                assert plain(answer(g.search, q), order) == plain(answer(small.search, q), order), q
                assert answer(g.ids, q) == ids_in(answer(g.search, q)), q
                assert answer(g.count, q) == answer(small.count, q), q
                assert answer(g.facets, dict(query=q, by='type')) == answer(small.facets, dict(query=q, by='type'))
            assert answer(g.bulk, dict(search=queries)) == answer(small.bulk, dict(search=queries))
        finally:
            pod.close()
            small.close()


# --- and writing finds out no more: the same attempts end the same, whether something is hidden or not ---

NEW = [f'fresh-{i}' for i in range(6)]
EVERY = [*IDS, *NEW, 'run-0001', 'run-0002', 'nobody', 'def-A-age', 'def-Z-zed']
CHANGES = st.builds(lambda id, p, more: dict(id=id) | p | more, st.sampled_from(EVERY), PROPS | st.just({}),
                    st.fixed_dictionaries({}, optional=dict(
                        deleted=st.booleans(), status=words, containerImage=words, permissions=words, key=words,
                        zed=words, nothing=words, targetItemId=st.sampled_from(IDS), note=st.none())))
EDGE = st.fixed_dictionaries(
    dict(_source=st.sampled_from(EVERY), _name=st.sampled_from(['friend', 'foe', 'a.b', 'other']),
         _target=st.sampled_from(EVERY)), optional=dict(_self=st.sampled_from(EVERY)))
CREATED = st.builds(lambda id, t, p, more: dict(id=id, type=t) | p | more, st.sampled_from(NEW),
                    st.sampled_from([*TYPES, 'Z', 'Edge', 'PluginRun', 'New']), PROPS,
                    st.fixed_dictionaries({}, optional=dict(zed=words, key=words, nothing=words, tag=words)))
DEFINED = st.builds(lambda t, p: dict(type='ItemPropertySchema', id=f'def-{t}-{p[0]}-2', itemType=t, propertyName=p[0],
                                      valueType=p[1]), st.sampled_from([*TYPES, 'New', 'Item', 'PluginRun']),
                    st.sampled_from([('name', 'Text'), ('fresh', 'Text'), ('age', 'Integer'), ('bad name', 'Text')]))
ATTEMPT = st.one_of(
    st.tuples(st.just('create_item'), CREATED | DEFINED), st.tuples(st.just('update_item'), CHANGES),
    st.tuples(st.just('delete_item'), st.sampled_from(EVERY)), st.tuples(st.just('create_edge'), EDGE),
    st.tuples(st.just('delete_edge'), EDGE),
    st.tuples(st.just('bulk'), st.fixed_dictionaries({}, optional=dict(
        createItems=st.lists(CREATED | DEFINED, max_size=3), updateItems=st.lists(CHANGES, max_size=2),
        deleteItems=st.lists(st.sampled_from(EVERY), max_size=2), createEdges=st.lists(EDGE, max_size=2),
        deleteEdges=st.lists(EDGE, max_size=1)))))


def hidden_part(pod, may, run):
    "Items, edges and properties that may neither be read nor written, as they stand"
    may = {k: may.get(k, {}) for k in ('read', 'create', 'update', 'delete')}
    with pod.store.read() as db:
        rows = db.execute('select id, name, deleted, edge, doc from items i join types t on t.n=i.type').fetchall()
        out = {}
        for id, t, deleted, edge, doc in rows:
            touch = [said(may, r, t) for r in ('create', 'update')]
            if id.startswith('fresh') or t == 'Edge' or '*' in touch or id == run: continue
            d = {k: v for k, v in json.loads(doc).items() if k != 'dateModified'
                 and not any(k in x for x in touch if x is not None)}
            gone = t in may['delete'] or ('*' in may['delete'] and said(dict(read={'*': '*'}), 'read', t))
            out[id] = d, None if gone else deleted, None if any(x is not None for x in touch) else edge
        run_doc = db.execute('select doc from items where id=?', ('run-0001',)).fetchone()[0]
    out['own'] = {k: json.loads(run_doc).get(k) for k in ('containerImage', 'targetItemId', 'permissions')}
    return out


def closed(may):
    """`may`, where it sees (bare of properties) what it may write. A right to write shows that an item is there: to
    change it blindly, one has to know its id"""
    types = {t for r in ('create', 'update') for t in may.get(r, {})} | {*may.get('delete', [])}
    return may | dict(read={t: [] for t in types} | may.get('read', {}))


def normal(found, edges):
    "Ids of edges count all edges; here they count those that were seen"
    text = json.dumps(found, sort_keys=True, default=str)
    for id in edges: text = text.replace(id, f'edge {edges.index(id)}')
    return text


def reads(pod):
    queries = [{}, {'_memri': True}, {'type': 'Edge'},
               {'type': [*TYPES, 'Z', 'New'], '[[edges]]': {}, '~[[edges]]': {}}]
    return [answer(pod.search, q) for q in queries] + [answer(pod.get_item, i) for i in EVERY] + [pod.schema()]


@settings(max_examples=80, **SLOW)
@given(contents(), PERMISSIONS, st.sampled_from([None, 'run-0001']), st.lists(ATTEMPT, min_size=8, max_size=16))
def test_what_is_hidden_changes_no_outcome_and_is_not_changed(content, may, run, attempts):
    may = closed(may)
    with tempfile.TemporaryDirectory() as folder:
        pod = build(Path(folder), content)
        small = twin(pod, Path(folder) / 'two', may, run)
        both, made = [guard(pod, run, **may), guard(small, run, **may)], [[], []]
        try:
            before = hidden_part(pod, may, run)
            for op, arg in attempts:
                pod.store.clock.t += 1
                ends = [answer(getattr(g, op), arg) for g in both]
                for m, e in zip(made, ends):
                    ids = [e] if op == 'create_edge' else e.get('createEdges', []) if isinstance(e, dict) else []
                    m += [i for i in ids if isinstance(i, str) and i not in m]
                if any('already defined' in str(e) or 'edges.self' in str(e) for e in ends):
                    return # what can't be hidden; `engine.guard` tells
                assert normal(ends[0], made[0]) == normal(ends[1], made[1]), (op, arg)
                known = [sorted({i['id'] for i in g.search({'type': 'Edge'})}) for g in both]
                assert normal(reads(both[0]), known[0]) == normal(reads(both[1]), known[1]), (op, arg)
            after = hidden_part(pod, may, run)
            assert {k: after.get(k) for k in before} == before
            assert pod.integrity_check() == []
        finally:
            pod.close()
            small.close()


# --- the table: every operation against every kind of permission ---

DATA, OTHER = b'the bytes of a file', b'other bytes'
SHA, OTHER_SHA = (hashlib.sha256(d).hexdigest() for d in (DATA, OTHER))
READ_BOTH = dict(A='*', B='*')
PERMITTED = dict(
    none={}, type=dict(read=dict(A='*')), properties=dict(read=dict(A=['name'])), star=dict(read={'*': '*'}),
    create=dict(create=dict(A=['name'])), update=dict(update=dict(A=['name'])), delete=dict(delete=['A']),
    see_edges=dict(read=READ_BOTH, edges=dict(read=['friend'])),
    draw=dict(read=READ_BOTH, edges=dict(create=['A.friend'])),
    undraw=dict(read=READ_BOTH, edges=dict(delete=['A.friend'])),
    load=dict(read=dict(File=['sha256']), files=dict(read=True)),
    store=dict(read=dict(File=['sha256']), files=dict(write=True)),
    blind_load=dict(files=dict(read=True, write=True)), email=dict(email=True),
    full=dict(read={'*': '*'}, create={'*': '*'}, update={'*': '*'}, delete=['*'],
              edges=dict(read='*', create='*', delete='*'), files=dict(read=True, write=True), email=True))
SEES_A = dict.fromkeys(('type', 'properties', 'star', 'see_edges', 'draw', 'undraw', 'full'), 'ok')
NO = 'Forbidden'
RUN = 'run-0001'


def made(type, **props): return dict(type=type, **props)


# operation → (what is called, outcome elsewhere, outcomes by kind of permission)
OPERATIONS = {
    'get': (lambda g: g.get_item('item-a'), 'nothing', SEES_A),
    'get other': (lambda g: g.get_item('item-b'), 'nothing',
                  dict.fromkeys(('star', 'see_edges', 'draw', 'undraw', 'full'), 'ok')),
    'get nobody': (lambda g: g.get_item('nobody'), 'nothing', {}),
    'get own run': (lambda g: g.get_item(RUN), 'ok', {}),
    'get another run': (lambda g: g.get_item('run-0002'), 'nothing', {}),
    'search': (lambda g: g.search({'type': 'A'}), 'nothing', SEES_A),
    'search ids': (lambda g: g.search({'ids': ['item-a', 'nobody']}), 'nothing', SEES_A),
    'search name': (lambda g: g.search({'type': 'A', 'name': 'ant'}), 'Invalid', SEES_A | dict(
        create='nothing', update='nothing')),
    'search note': (lambda g: g.search({'note*=': 'se', 'type': 'A'}), 'Invalid',
                    {k: v for k, v in SEES_A.items() if k != 'properties'}),
    'sort by note': (lambda g: g.search({'_sort': 'note', 'type': 'A'}), 'Invalid',
                     {k: v for k, v in SEES_A.items() if k != 'properties'}),
    'text name': (lambda g: g.search({'_text': 'ant', 'type': 'A'}), 'nothing', SEES_A),
    'text note': (lambda g: g.search({'_text': 'secret', 'type': 'A'}), 'nothing',
                  {k: v for k, v in SEES_A.items() if k != 'properties'}),
    'count': (lambda g: g.count({'type': 'A'}), 'nothing', SEES_A),
    'ids': (lambda g: g.ids({'type': 'A'}), 'nothing', SEES_A),
    'ids of words': (lambda g: g.ids({'_text': 'ant', 'type': 'A'}), 'nothing', SEES_A),
    'facets': (lambda g: g.facets(dict(by='type', query={'type': 'A'})), 'nothing', SEES_A),
    'facets note': (lambda g: g.facets(dict(by='note', query={'type': 'A'})), 'Invalid',
                    {k: v for k, v in SEES_A.items() if k != 'properties'}),
    'schema': (lambda g: g.schema()['types'].get('A'), 'nothing', SEES_A | dict.fromkeys(('create', 'update'), 'ok')),
    'edges of': (lambda g: g.get_edges(dict(item='item-a', direction='Outgoing', expandItems=True)), 'NotFound',
                 dict.fromkeys(SEES_A, 'nothing') | dict.fromkeys(('see_edges', 'full'), 'ok')),
    'expanded': (lambda g: g.search({'id': 'item-a', '[[edges]]': {}})[0]['[[edges]]'], 'IndexError',
                 dict.fromkeys(SEES_A, 'nothing') | dict.fromkeys(('see_edges', 'full'), 'ok')),
    'edge items': (lambda g: g.search({'type': 'Edge'}), 'nothing', dict.fromkeys(('see_edges', 'full'), 'ok')),
    'create': (lambda g: g.create_item(made('A', name='x')), NO, dict(create='ok', full='ok')),
    'create note': (lambda g: g.create_item(made('A', note='x')), NO, dict(full='ok')),
    'create other': (lambda g: g.create_item(made('B', name='x')), NO, dict(full='ok')),
    'create unknown': (lambda g: g.create_item(made('A', nonsense='x')), NO, dict(full='Invalid')),
    'create taken': (lambda g: g.create_item(made('A', id='item-a')), NO, dict(create='Conflict', full='Conflict')),
    'create run': (lambda g: g.create_item(made('PluginRun', containerImage='x', targetItemId=RUN)), NO, {}),
    'create key': (lambda g: g.create_item(made('File', key='00')), NO, {}),
    'define': (lambda g: g.create_item(made('ItemPropertySchema', itemType='A', propertyName='name', valueType='Text')),
               NO, dict(create='ok', full='ok')),
    'define other': (lambda g: g.create_item(
        made('ItemPropertySchema', itemType='B', propertyName='name', valueType='Text')), NO, dict(full='ok')),
    'define for runs': (lambda g: g.create_item(
        made('ItemPropertySchema', itemType='PluginRun', propertyName='name', valueType='Text')), NO, {}),
    'define edge': (lambda g: g.create_item(
        made('ItemEdgeSchema', sourceType='A', edgeName='friend', targetType='B')), NO, dict(full='ok')),
    'update': (lambda g: g.update_item(dict(id='item-a', name='x')), 'NotFound',
               dict.fromkeys(SEES_A, NO) | dict(update='ok', delete='Invalid', full='ok') | dict.fromkeys(
                   ('none', 'load', 'store', 'blind_load', 'email'), 'Invalid')),
    'update note': (lambda g: g.update_item(dict(id='item-a', note='x')), 'Invalid', dict.fromkeys(
        ('type', 'star', 'see_edges', 'draw', 'undraw'), NO) | dict(full='ok')),
    'touch': (lambda g: g.update_item(dict(id='item-a')), 'NotFound',
              dict.fromkeys(SEES_A, NO) | dict(update='ok', full='ok', delete=NO)),
    'update nobody': (lambda g: g.update_item(dict(id='nobody')), 'NotFound', {}),
    'update own run': (lambda g: g.update_item(dict(id=RUN, status='done')), 'ok', {}),
    'update own rights': (lambda g: g.update_item(dict(id=RUN, permissions='{}')), NO, {}),
    'update own image': (lambda g: g.update_item(dict(id=RUN, containerImage='x')), NO, {}),
    'update own target': (lambda g: g.update_item(dict(id=RUN, targetItemId='item-a')), NO, {}),
    'update another run': (lambda g: g.update_item(dict(id='run-0002', status='x')), 'NotFound', {}),
    'update a definition': (lambda g: g.update_item(dict(id='def-Z-zed', deleted=True)), 'NotFound', dict(
        star=NO, full=NO)),
    'delete': (lambda g: g.delete_item('item-a'), 'NotFound',
               dict.fromkeys(SEES_A, NO) | dict(update=NO, delete='ok', full='ok')),
    'delete own run': (lambda g: g.delete_item(RUN), NO, {}),
    'delete by update': (lambda g: g.update_item(dict(id='item-a', deleted=True)), 'NotFound',
                         dict.fromkeys(SEES_A, NO) | dict(update=NO, delete='ok', full='ok')),
    'undelete': (lambda g: g.update_item(dict(id='item-a', deleted=False)), 'NotFound',
                 dict.fromkeys(SEES_A, NO) | dict(update='ok', delete='ok', full='ok')),
    'delete nobody': (lambda g: g.delete_item('nobody'), 'NotFound', {}),
    'draw': (lambda g: g.create_edge(dict(_source='item-a', _name='friend', _target='item-b')), NO,
             dict(draw='ok', full='ok')),
    'draw back': (lambda g: g.create_edge(dict(_source='item-b', _name='friend', _target='item-a')), NO,
                  dict(full='ok')),
    'draw to nobody': (lambda g: g.create_edge(dict(_source='item-a', _name='friend', _target='nobody')), NO,
                       dict(draw='NotFound', full='NotFound')),
    'draw to hidden': (lambda g: g.create_edge(dict(_source='item-a', _name='friend', _target='item-z')), NO,
                       dict(draw='NotFound', full='ok')),
    'draw own': (lambda g: g.create_edge(dict(_source='item-a', _name='friend', _target='item-b', _self='item-s')), NO,
                 dict(draw='Forbidden', full='ok')),
    'undraw': (lambda g: g.delete_edge(dict(_source='item-a', _name='friend', _target='item-b')), 'NotFound',
               dict(see_edges=NO, undraw='ok', full='ok')),
    'undraw nothing': (lambda g: g.delete_edge(dict(_source='item-a', _name='foe', _target='item-b')), 'NotFound', {}),
    'bulk': (lambda g: g.bulk(dict(createItems=[made('A', name='x')])), NO, dict(create='ok', full='ok')),
    'bulk json': (lambda g: g.bulk_json(b'{"createItems":[{"type":"A","name":"x"}]}'), NO,
                  dict(create='ok', full='ok')),
    'bulk json note': (lambda g: g.bulk_json(b'{"createItems":[{"type":"A","note":"x"}]}'), NO, dict(full='ok')),
    'bulk update': (lambda g: g.bulk(dict(updateItems=[dict(id='item-a')])), 'NotFound',
                    dict.fromkeys(SEES_A, NO) | dict(update='ok', full='ok', delete=NO)),
    'bulk delete': (lambda g: g.bulk(dict(deleteItems=['item-a'])), 'NotFound',
                    dict.fromkeys(SEES_A, NO) | dict(update=NO, delete='ok', full='ok')),
    'bulk draw': (lambda g: g.bulk(dict(createEdges=[dict(_source='item-a', _name='friend', _target='item-b')])), NO,
                  dict(draw='ok', full='ok')),
    'bulk undraw': (lambda g: g.bulk(dict(deleteEdges=[dict(_source='item-a', _name='friend', _target='item-b')])),
                    'NotFound', dict(see_edges=NO, undraw='ok', full='ok')),
    'bulk search': (lambda g: g.bulk(dict(search=[{'type': 'A'}]))['search'][0], 'nothing', SEES_A),
    'load': (lambda g: g.get_file(dict(sha256=SHA)), NO, dict(load='ok', blind_load='NotFound', full='ok')),
    'load nothing': (lambda g: g.get_file(dict(sha256=OTHER_SHA)), NO,
                     dict.fromkeys(('load', 'blind_load', 'full'), 'NotFound')),
    'store': (lambda g: g.upload_file(dict(sha256=OTHER_SHA), OTHER), NO,
              dict(store='ok', blind_load='NotFound', full='ok')),
    'store again': (lambda g: g.upload_file(dict(sha256=SHA), DATA), NO,
                    dict(store='Conflict', blind_load='NotFound', full='Conflict')),
    'store wrong': (lambda g: g.upload_file(dict(sha256=OTHER_SHA), DATA), NO,
                    dict(store='Invalid', blind_load='NotFound', full='Invalid')),
    'mail': (lambda g: g.send_email(dict(to='a', subject='b', body='c')), NO, dict(email='PodError', full='PodError')),
} | {op: (lambda g, op=op: getattr(g, op)({}), NO, {}) for op in OWNER_ONLY}


def outcome(f, g):
    "`ok`, `nothing`, or the name of the error"
    try: out = f(g)
    except (PodError, IndexError) as e: return type(e).__name__
    return 'ok' if out or out == {} else 'nothing'


@pytest.fixture(scope='module')
def filled(tmp_path_factory):
    "A Pod's folder with a little of everything; tests work on copies"
    home = tmp_path_factory.mktemp('filled')
    with Pod(OWNER, KEY, home=home, clock=Clock()) as pod:
        pod.bulk(dict(createItems=SCHEMA + [
            made('A', id='item-a', name='ant', note='secret'), made('B', id='item-b', name='bee'),
            made('Z', id='item-z', zed='ant'), made('B', id='item-s', name='self'),
            made('File', id='file-0001', sha256=SHA), made('File', id='file-0002', sha256=OTHER_SHA),
            *[made('PluginRun', id=r, containerImage='image', targetItemId=r, permissions='{}')
              for r in (RUN, 'run-0002')]],
            createEdges=[dict(_source='item-a', _name='friend', _target='item-b')]))
        pod.upload_file(dict(sha256=SHA), DATA)
    return home


@pytest.fixture
def copy(filled, tmp_path, pods):
    "A function that gives a Pod with a little of everything"
    def make():
        home = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.copytree(filled, home, dirs_exist_ok=True)
        return pods(home=home, create=False)
    return make


@pytest.mark.parametrize('kind', PERMITTED)
def test_every_operation_against_every_kind_of_permission(kind, copy):
    pod, wrong = copy(), []
    assert {k for _, _, by in OPERATIONS.values() for k in by} <= PERMITTED.keys()
    for op, (call, elsewhere, by) in OPERATIONS.items():
        g, expected = guard(pod, RUN, **PERMITTED[kind]), by.get(kind, elsewhere)
        if (op.startswith('get_') or expected != 'ok' or not by) and expected != 'ok': found = outcome(call, g)
        else: found = outcome(call, guard(copy(), RUN, **PERMITTED[kind])) # what is done, is done to a copy
        if found != expected: wrong.append((op, expected, found))
    assert not wrong


def test_the_table_knows_every_operation_of_a_pod():
    operations = {n for n in dir(Pod) if not n.startswith('_')} - {'close', 'define', 'redefine'}
    assert operations - set(dir(Guard)) == set()
    assert set(dir(Guard)) - set(dir(Pod)) == {
        'create_checked', 'check_new', 'check_definition', 'check_change', 'check_edge_change', 'reaches', 'check_edge',
        'may_undraw', 'has_content', 'check_email'}


@pytest.mark.parametrize('kind', PERMITTED)
def test_who_was_refused_has_changed_nothing(kind, copy):
    pod = copy()
    def state():
        with pod.store.read() as db:
            return [db.execute(f'select * from {t}').fetchall() for t in ('items', 'edges', 'files')]
    before = state()
    for op, (call, elsewhere, by) in OPERATIONS.items():
        if by.get(kind, elsewhere) in (NO, 'NotFound', 'Invalid', 'Conflict'):
            outcome(call, guard(pod, RUN, **PERMITTED[kind]))
    assert state() == before and pod.integrity_check() == []


# --- attacks, one by one ---

@pytest.fixture
def mixed(pods):
    "All of B may be read, of A the name; Z is hidden"
    pod = pods([made('A', id='a-0001', name='ant', note='secret ant', age=1, doc='bee'),
                made('A', id='a-0002', name='bee', note='other', age=3),
                made('B', id='b-0001', name='cat', note='plain', age=2), made('B', id='b-0002', name='dog'),
                made('Z', id='z-0001', zed='secret'), made('Z', id='z-0002', zed='more')])
    return pod, guard(pod, read=dict(A=['name'], B='*'))


def ids(found): return [i['id'] for i in found]


@pytest.mark.parametrize('hasty', [False, True])
@pytest.mark.parametrize('key, value, found', [
    ('note', 'secret ant', []), ('note', 'plain', ['b-0001']), ('note', None, ['a-0001', 'a-0002', 'b-0002']),
    ('note!=', 'other', ['a-0001', 'a-0002', 'b-0001', 'b-0002']), ('note!=', None, ['b-0001']),
    ('note in', ['other', 'plain'], ['b-0001']), ('note in', ['plain', None], ['a-0001', 'a-0002', 'b-0001', 'b-0002']),
    ('note^=', 's', []), ('note*=', 'e', []), ('note*=', 'l', ['b-0001']), ('note>', '', ['b-0001']),
    ('age<', 9, ['b-0001']), ('age>=', 0, ['b-0001']), ('age', 1, []), ('name', 'ant', ['a-0001']),
    ('doc*=', 'secret', []), ('doc*=', 'plain', []), ('doc*=', 'bee', [])])
def test_a_hidden_property_has_no_value_in_a_filter(mixed, key, value, found, hasty):
    pod, g = mixed
    if hasty: g.find.slow, g.find.scan_from = 0, 1
    for type in (['A', 'B'], None) if not isinstance(value, list) or None not in value else (['A', 'B'],):
        if type is None and value in (None, 'other'): continue
        for _ in range(3):
            assert sorted(ids(g.search({key: value} | (dict(type=type) if type else {})))) == found
            assert g.count({key: value} | (dict(type=type) if type else {})) == len(found)
    assert g.search({key: value, 'type': 'A'}) == [i for i in g.search({'type': 'A'}) if i['id'] in found]


def test_a_hidden_property_has_no_value_in_an_order_in_counts_and_in_words(mixed):
    pod, g = mixed
    for sort in ('note', '-note', 'age', '-age'): # those without a value come last, in the order of creation
        assert ids(g.search({'type': ['A', 'B'], '_sort': sort})) == ['b-0001', 'a-0001', 'a-0002', 'b-0002'], sort
    assert g.facets(dict(by='age', query=dict(type=['A', 'B']))) == [dict(value=None, count=3), dict(value=2, count=1)]
    assert ids(g.search({'_text': 'secret'})) == [] and g.count({'_text': 'secret'}) == 0
    assert ids(g.search({'_text': 'ant -secret'})) == ['a-0001'] # the word that excludes is not there
    assert ids(g.search({'_text': '"ant bee"'})) == [] and ids(g.search({'_text': 'bee'})) == ['a-0002']
    item, = g.search({'_text': 'ant', '_snippet': True})
    assert item['_snippet'] == '**ant**' and item.keys() & {'note', 'age', 'doc'} == set()
    with pytest.raises(Invalid, match='zed'): g.search({'zed': 'secret'})
    with pytest.raises(Invalid) as e: g.search({'zedd': 'secret'})
    assert 'did you mean' not in str(e.value) # a hidden name is no suggestion
    with pytest.raises(Invalid) as e: g.search({'nots': 'secret'})
    assert 'did you mean `note`' in str(e.value)


def test_a_phrase_across_a_hidden_property_is_found_where_the_rest_makes_it(pods):
    pod = pods([made('A', id='a-0001', name='ant', note='secret', doc='bee')])
    g = guard(pod, read=dict(A=['name', 'doc']))
    assert ids(g.search({'_text': '"ant bee"'})) == ['a-0001'] and ids(g.search({'_text': '"ant secret"'})) == []


def test_ranks_tell_nothing_of_hidden_items(pods):
    pod = pods([made('A', id='a-0001', name='ant'), made('A', id='a-0002', name='ant bee'), made('Z', zed='ant')])
    g = guard(pod, read=dict(A='*'))
    before = g.search({'_text': 'ant'})
    pod.bulk(dict(createItems=[made('Z', zed='ant bee') for _ in range(20)]))
    assert g.search({'_text': 'ant'}) == before


def test_pages_do_not_tell_where_a_hidden_item_stands(mixed):
    pod, g = mixed
    t = g.get_item('a-0001')[0]['dateServerModified'] # that of all
    ask = [[i['id'] for i in g.search({'type': ['A', 'B'], '_after': [t, id], '_sortOrder': way})]
           for id in ('z-0001', 'nobody') for way in ('Asc', 'Desc')]
    assert ask[:2] == ask[2:]
    assert ids(g.search({'type': ['A', 'B'], '_after': [t, 'a-0002']})) == ['b-0001', 'b-0002']


def test_hidden_ids_are_nobody(mixed):
    pod, g = mixed
    for op, arg in [(g.get_item, '{}'), (g.delete_item, '{}'), (lambda i: g.update_item(dict(id=i)), '{}'),
                    (lambda i: g.get_edges(dict(item=i, direction='Incoming', expandItems=False)), '{}'),
                    (lambda i: g.search({'ids': [i, 'a-0001']}), '{}'), (lambda i: g.search({'id': i}), '{}'),
                    (lambda i: g.bulk(dict(deleteItems=[i])), '{}'), (lambda i: g.delete_edge(dict(id=i)), '{}')]:
        hidden, nobody = (json.dumps(answer(op, i)) for i in ('z-0001', 'nobody'))
        assert hidden.replace('z-0001', 'nobody') == nobody


def test_a_type_that_is_hidden_is_like_one_that_never_was(mixed):
    pod, g = mixed
    for more in ({}, {'_text': '-x'}, {'_limit': -1}, {'_limit': 0}, {'_after': [2**70, 'x']}, {'_sort': 'note'},
                 {'_offset': 1.5}, {'[[edges]]': {}}, {'[[edges]]': True}, {'note': 'x'}, {'_memri': True}):
        assert answer(g.search, {'type': 'Z'} | more) == answer(g.search, {'type': 'Never'} | more), more
        assert answer(g.count, {'type': 'Z'} | more) == answer(g.count, {'type': 'Never'} | more), more


@pytest.fixture
def chain(pods):
    "a-0001 → b-0001 → z-0001 → b-0002, and edges with items of their own"
    names = [('a-0001', 'b-0001'), ('b-0001', 'z-0001'), ('z-0001', 'b-0002'), ('b-0001', 'b-0002')]
    pod = pods([made('A', id='a-0001', name='ant', note='secret'), made('B', id='b-0001', name='bee', note='secret'),
                made('Z', id='z-0001', zed='secret'), made('B', id='b-0002', name='cat', note='secret'),
                made('Z', id='z-self', zed='secret'), made('C', id='c-self', name='dog', note='secret')],
               [dict(_source=s, _name='friend', _target=t) for s, t in names]
               + [dict(_source='a-0001', _name='foe', _target='b-0002', _self='z-self'),
                  dict(_source='a-0001', _name='foe', _target='b-0001', _self='c-self')])
    return pod, guard(pod, read=dict(A='*', B=['name'], C=['name']), edges=dict(read='*'))


def test_edges_end_where_something_is_hidden_at_any_depth(chain):
    pod, g = chain
    found, = g.search({'id': 'a-0001', '[[edges]]': {'depth': 8}})
    text = json.dumps(found['[[edges]]'])
    assert 'z-' not in text and 'secret' not in text
    foe, friend = found['[[edges]]']
    assert (foe['id'], foe['_item']['id'], foe['name']) == ('c-self', 'b-0001', 'dog') # z-self is no edge for it
    assert [e['_item']['id'] for e in friend['_item']['[[edges]]']] == ['b-0002']
    found, = g.search({'id': 'b-0002', '~[[edges]]': {'depth': 8}})
    assert [e['_item']['id'] for e in found['~[[edges]]']] == ['b-0001'] and 'z-' not in json.dumps(found)
    found = g.get_edges(dict(item='b-0001', direction='Outgoing', expandItems=True))
    assert [e['item']['id'] for e in found] == ['b-0002']
    assert 'secret' not in json.dumps(g.get_edges(dict(item='a-0001', direction='Outgoing', expandItems=True)))
    assert {(i['_source'], i['_target']) for i in g.search({'type': 'Edge'})} \
        == {('a-0001', 'b-0001'), ('b-0001', 'b-0002')}
    assert all('z-' not in json.dumps(g.search(q)) for q in ({'_memri': True}, {}, {'_memri': True, '[[edges]]': {}}))


def test_an_item_that_is_a_hidden_edge_does_not_show_its_ends(chain):
    pod, g = chain
    both = guard(pod, read=dict(C='*', A='*'), edges=dict(read='*')), guard(pod, read=dict(C='*', A='*', B=[]))
    for h in both:
        for item in (h.get_item('c-self')[0], *h.search({'type': 'C'}), *h.search({'_text': 'dog'}),
                     *h.search({'type': 'C', '_memri': True})):
            assert item['id'] == 'c-self' and not item.keys() & {'_source', '_target', '_edge'}
    assert g.get_item('c-self')[0]['_source'] == 'a-0001'


def test_only_names_that_are_granted_and_only_from_their_types(chain):
    pod, _ = chain
    read = dict(A='*', B='*', C='*', Z='*')
    for names, count in [([], 0), (['foe'], 2), (['A.friend'], 1), (['B.friend'], 2), (['Z.friend', 'foe'], 3),
                         ('*', 6), (['A.foe', 'B.foe'], 2), (['.friend', 'friend.A', 'A.', 'A.*'], 0)]:
        g = guard(pod, read=read, edges=dict(read=names))
        out = sum(len(i.get('[[edges]]')) for i in g.search({'type': ['A', 'B', 'Z'], '[[edges]]': {}}))
        back = sum(len(i.get('~[[edges]]')) for i in g.search({'type': ['A', 'B', 'Z'], '~[[edges]]': {}}))
        assert out == back == count, names


def test_an_edge_of_others_is_not_found_again(chain):
    pod, _ = chain
    g = guard(pod, read=dict(A='*', B='*'), edges=dict(create='*', read=['friend']))
    edge = dict(_source='a-0001', _name='foe', _target='b-0002')
    first = g.create_edge(edge) # z-self stands there already, and may not be known
    assert first != 'z-self' and pod.get_item(first)[0]['_target'] == 'b-0002'
    seen = dict(_source='a-0001', _name='friend', _target='b-0001')
    assert g.create_edge(seen) == g.create_edge(seen) != g.create_edge(dict(seen, _target='b-0002'))
    # where both stand, the one that may be known is given
    g = guard(pod, read=dict(A='*', B='*'), edges=dict(create='*', read='*'))
    assert g.create_edge(edge) == first


def test_who_takes_an_item_for_an_edge_must_be_able_to_write_it(chain):
    pod, _ = chain
    g = guard(pod, read=dict(A='*', B='*'), edges=dict(create='*'))
    edge = dict(_source='a-0001', _name='new', _target='b-0001')
    hidden, nobody = (answer(g.create_edge, edge | dict(_self=s)) for s in ('z-0001', 'nobody'))
    assert hidden == (*nobody[:2], nobody[2].replace('nobody', 'z-0001')) and hidden[0] == 'Invalid'
    assert answer(g.create_edge, edge | dict(_self='b-0002'))[0] == 'Forbidden'
    g = guard(pod, read=dict(A='*', B='*'), update=dict(B=['name']), edges=dict(create='*'))
    assert g.create_edge(edge | dict(_self='b-0002')) == 'b-0002'
    assert answer(g.create_edge, edge | dict(_self='z-self')) \
        == ('Invalid', 400, 'Failed to create edge with _self: z-self')


def test_the_items_of_edges_obey_the_rights_of_edges(chain):
    pod, _ = chain
    g = guard(pod, read={'*': '*'}, update={'*': '*'}, delete=['*'], edges=dict(read='*'))
    edge = g.search({'type': 'Edge'})[0]['id']
    assert answer(g.delete_item, edge)[:2] == ('Forbidden', 403)
    assert answer(g.update_item, dict(id=edge, deleted=True))[0] == 'Forbidden'
    assert answer(g.delete_edge, dict(id=edge))[0] == 'Forbidden'
    g.update_item(dict(id=edge, name='one'))
    assert pod.get_item(edge)[0]['name'] == 'one'
    blind = guard(pod, read={'A': '*'}, edges=dict(read='*'))
    for op in (blind.delete_item, lambda i: blind.update_item(dict(id=i)), lambda i: blind.delete_edge(dict(id=i))):
        assert answer(op, edge)[0] == answer(op, '00000000ed6e80000000000000009999')[0] == 'NotFound'
    g = guard(pod, read={'A': [], 'B': []}, edges=dict(delete=['A.friend']))
    g.delete_item(edge)
    assert pod.get_item(edge)[0]['deleted']


def test_an_edge_is_no_end_of_another(chain):
    pod, _ = chain
    edge = pod.search({'type': 'Edge'})[0]['id']
    pod.create_edge(dict(_source=edge, _name='of', _target='a-0001'))
    g = guard(pod, read={'*': '*'}, create={'*': '*'}, edges=dict(read='*', create='*'))
    assert answer(g.create_edge, dict(_source=edge, _name='of', _target='b-0001'))[0] == 'NotFound'
    assert not [i for i in g.search({'_memri': True}) if i.get('_edge') == 'of']


@pytest.mark.parametrize('made_up', [None, '00' * 32])
def test_an_item_with_a_strangers_digest_opens_nothing(pods, made_up):
    pod = pods([made('File', id='file-0001', sha256=SHA), made('File', id='file-0002', sha256=OTHER_SHA)])
    pod.upload_file(dict(sha256=SHA), DATA)
    files = dict(read=True, write=True)
    g = guard(pod, read=dict(Doc=['sha256']), create=dict(Doc=['sha256']), update=dict(Doc='*'), files=files)
    mine = g.create_item(made('Doc', sha256=SHA))
    if made_up: pod.store.main.execute(
        "update items set doc=json_set(doc, '$.key', ?) where id=?", (made_up, mine)) # as if it had been able to
    digest = dict(sha256=SHA)
    assert answer(g.get_file, digest) \
        == ('NotFound', 404, f'Item with sha256={SHA} not found, or it has no content yet')
    for more in (dict(key='x'), dict(nonce='x'), dict(key=None)):
        assert answer(g.update_item, dict(id=mine) | more)[0] == 'Forbidden'
        assert answer(g.create_item, made('Doc', sha256=SHA, **more))[0] == 'Forbidden'
    # it uploads other bytes: as for the first time
    fresh = 'ab' * 32
    g.create_item(made('Doc', sha256=fresh))
    wrong, first = answer(g.upload_file, digest, b'guess'), answer(g.upload_file, dict(sha256=fresh), b'guess')
    assert wrong[:2] == first[:2] == ('Invalid', 400) and wrong[2].replace(SHA, '') == first[2].replace(fresh, '')
    assert answer(g.get_file, digest)[0] == 'NotFound'
    # it uploads the bytes: it has them, so it may have them
    assert g.upload_file(digest, DATA) == {} and g.get_file(digest) == DATA
    assert answer(g.upload_file, digest, DATA)[0] == 'Conflict'
    stored, = (i for i in pod.search({'sha256': SHA}) if i['id'] == mine)
    assert (stored['key'], stored['nonce']) == tuple(pod.get_item('file-0001')[0][k] for k in ('key', 'nonce'))
    # its own file, turned to another's digest
    pod.upload_file(dict(sha256=OTHER_SHA), OTHER)
    g.update_item(dict(id=mine, sha256=OTHER_SHA))
    assert answer(g.get_file, dict(sha256=OTHER_SHA))[0] == 'NotFound'
    assert pod.get_file(digest) == DATA and pod.get_file(dict(sha256=OTHER_SHA)) == OTHER
    assert pod.integrity_check() == []
    assert len(list(pod.files.blobs.refs())) == 2 # nothing is left of what was tried


def test_files_need_an_item_that_shows_its_digest(copy):
    pod = copy()
    for read, found in [(dict(File='*'), DATA), (dict(File=['sha256']), DATA), (dict(File=[]), None), ({}, None),
                        ({'*': '*'}, DATA), (dict(A='*'), None)]:
        g = guard(pod, read=read, files=dict(read=True))
        out = answer(g.get_file, dict(sha256=SHA.upper()))
        assert out == found if found else out[0] == 'NotFound', read
    for bad in ({}, dict(sha256='../x'), dict(sha256=3), []):
        assert answer(g.get_file, bad)[0] == answer(pod.get_file, bad)[0] == 'Invalid'


def test_definitions_are_the_owners_to_change(copy):
    pod = copy()
    g = guard(pod, read={'*': '*', 'ItemPropertySchema': '*'}, update={'*': '*', 'ItemPropertySchema': '*'})
    for change in (dict(itemType='B'), dict(propertyName='other'), dict(valueType='Real'), dict(valueType='Blob')):
        assert answer(g.update_item, dict(id='def-Z-zed') | change)[0] == 'Forbidden'
    assert pod.get_item('def-Z-zed')[0]['itemType'] == 'Z'
    assert pod.update_item(dict(id='def-Z-zed', itemType='B')) == {}


def test_a_run_may_report_and_not_promote_itself(copy):
    pod = copy()
    every = {'*': '*', 'PluginRun': '*'}
    g = guard(pod, RUN, read=every, update=every, delete=['*', 'PluginRun'], create={'*': '*'})
    for id in (RUN, 'run-0002'):
        for name in ('permissions', 'containerImage', 'targetItemId', 'pluginModule', 'pluginName'):
            if name in pod.schema()['properties']:
                assert answer(g.update_item, dict(id=id, **{name: 'x'}))[0] == 'Forbidden', name
                two = dict(updateItems=[dict(id=id, status='x'), {'id': id, name: None}])
                assert answer(g.bulk, two)[0] == 'Forbidden'
        g.update_item(dict(id=id, status='at work'))
    assert answer(g.create_item, made('PluginRun', containerImage='x', targetItemId=RUN)) \
        == ('Forbidden', 403, 'a plugin can not start plugins')
    assert [i['permissions'] for i in pod.search({'type': 'PluginRun'})] == ['{}', '{}']


def test_the_own_run_is_that_item_and_no_later_one_in_its_row(pods):
    pod = pods([made('A', id='a-0001', name='x')])
    pod.create_item(made('PluginRun', id=RUN, containerImage='i', targetItemId='a-0001'))
    g = guard(pod, RUN)
    assert ids(g.search({})) [-2:] == ['a-0001', RUN] and g.get_item('a-0001')[0]['name'] == 'x'
    pod.purge({'ids': [RUN]})
    pod.create_item(made('Z', id='z-0001', zed='secret')) # gets the row
    assert {i['type'] for i in g.search({})} == {'ItemPropertySchema'} and g.get_item('a-0001') == []


def test_what_comes_later_is_judged_too(pods, tmp_path):
    pod = pods(home=tmp_path / 'pod')
    star, named = guard(pod, read={'*': ['name']}, edges=dict(read='*')), guard(pod, read=dict(New=['name'], A=[]),
                                                                               edges=dict(read=['New.fresh']))
    assert star.search({'type': 'New'}) == named.search({'type': 'New'}) == [] and star.search({'name': 'x'}) == []
    other = Pod(OWNER, KEY, home=tmp_path / 'pod', clock=Clock(), create=False) # as another process would
    try:
        other.bulk(dict(createItems=[made('New', id='new-0001', name='x', note='secret'),
                                     made('A', id='a-0001', name='y'),
                                     made('PluginRun', id=RUN, containerImage='i', targetItemId=RUN, note='secret')],
                        createEdges=[dict(_source='new-0001', _name='fresh', _target='a-0001')]))
    finally: other.close()
    for g in (star, named):
        assert [ids(g.search(q)) for q in ({'type': 'New'}, {'name': 'x'}, {'_text': 'x'})] == [['new-0001']] * 3
        assert 'secret' not in g.search_json({}) and RUN not in g.search_json({})
        found, = g.search({'id': 'new-0001', '[[edges]]': {}})
        assert [e['_item']['id'] for e in found['[[edges]]']] == ['a-0001'] and 'note' not in found
    assert star.count({'name': ['x', 'y']}) == 2 and named.count({'name': ['x', 'y']}) == 1


def test_a_bulk_that_fails_half_way_leaves_nothing_behind(copy):
    pod = copy()
    g = guard(pod, RUN, create=dict(A='*', Fresh=['name', 'newly']), read=dict(A='*', Fresh='*'),
              edges=dict(create=['friend']))
    start = dict(createItems=[made('ItemPropertySchema', itemType='Fresh', propertyName='newly', valueType='Text'),
                              made('Fresh', id='fresh-01', newly='x')],
                 createEdges=[dict(_source='fresh-01', _name='friend', _target='item-a')])
    def state():
        with pod.store.read() as db:
            return [db.execute(f'select * from {t}').fetchall() for t in ('items', 'edges', 'types')]
    before = state()
    for more, error in [(dict(deleteItems=['item-a']), 'Forbidden'),
                        (dict(updateItems=[dict(id='item-z', newly='x')]), 'NotFound'),
                        (dict(search=[{'zed': 'x'}]), 'Invalid'), (dict(deleteEdges=[dict(id='nobody')]), 'NotFound'),
                        (dict(createEdges=[*start['createEdges'], dict(_source='item-a', _name='friend',
                                                                       _target='item-b')]), 'NotFound')]:
        assert answer(g.bulk, start | more)[0] == error and state() == before
        assert g.search({'type': 'Fresh'}) == [] and 'newly' not in g.schema()['properties']
        assert answer(g.search, {'newly': 'x'})[0] == 'Invalid'
    assert len(g.bulk(start)['createEdges']) == 1 and ids(g.search({'newly': 'x'})) == ['fresh-01']
    assert g.bulk_json(json.dumps(dict(createItems=[made('Fresh', name='y')])))
    # the numbers of types that were undone go to others, and mean them
    pod.create_item(made('Late', id='late-0001', name='secret'))
    assert answer(g.get_item, 'late-0001') == []


def test_definitions_follow_the_right_to_create(copy):
    pod = copy()
    g = guard(pod, create=dict(A=['name', 'fresh'], N='*'), edges=dict(create=['A.to']))
    def define(of, prop, kind='Text', **more): return g.create_item(
        made('ItemPropertySchema', itemType=of, propertyName=prop, valueType=kind, **more))
    define('A', 'fresh'), define('N', 'anything'), define('N', 'zed') # a name that a hidden type has, of the same kind
    for args, error in [(('A', 'other'), 'Forbidden'), (('B', 'fresh'), 'Forbidden'), (('N', 'key'), 'Forbidden'),
                        (('PluginRun', 'x'), 'Forbidden'), (('Item', 'x'), 'Forbidden'), (('N', 'x', 'Odd'), 'Invalid'),
                        (('N', 'zed', 'Bool'), 'Invalid'), (('ItemPropertySchema', 'x'), 'Forbidden')]:
        assert answer(define, *args)[0] == error, args
    with pytest.raises(Forbidden, match='ItemPropertySchema.name'): define('N', 'more', name='x')
    g.create_item(made('ItemEdgeSchema', sourceType='A', edgeName='to', targetType='B'))
    for source, name in [('A', 'from'), ('B', 'to'), ('N', 'to')]:
        with pytest.raises(Forbidden):
            g.create_item(made('ItemEdgeSchema', sourceType=source, edgeName=name, targetType='A'))
    known = g.schema()
    assert {'A', 'N'} <= known['types'].keys() and not {'B', 'Z', 'C'} & known['types'].keys()
    assert known['types']['A']['properties'] == dict(name='Text', fresh='Text')
    assert {i['propertyName'] for i in g.search({'type': 'ItemPropertySchema', 'itemType': ['A', 'B', 'N', 'Z']})} \
        == {'name', 'fresh', 'anything', 'zed', }


def test_no_plan_and_no_text_passes_from_one_guard_to_another(mixed):
    pod, narrow = mixed
    wide = guard(pod, read={'*': '*'})
    for q in ({'type': ['A', 'B'], 'note*=': 'e'}, {'_text': 'secret'}, {'name': 'ant'}, {'type': 'Z'}):
        for _ in range(2): assert len(answer(wide.search, q)) > len(narrow.search(q)) or q == {'name': 'ant'}
    assert guard(pod, read=dict(A=['name'], B='*')).find is narrow.find is not wide.find
    assert guard(pod, RUN, read=dict(A=['name'], B='*')).find is not narrow.find


def test_a_grant_without_permissions_is_the_pod_itself(copy):
    pod = copy()
    assert guarded(pod, Grant(KEY)) is pod and isinstance(guarded(pod, Grant(KEY, Permissions())), Guard)
    with pytest.raises(Invalid): Guard(pod, Grant(KEY))
    assert KEY not in repr(guarded(pod, Grant(KEY, Permissions())))


def test_boxes():
    boxes, grant = Boxes(), Grant(KEY, Permissions.parse(dict(read=dict(A='*'), expires=5)), RUN)
    box = boxes.seal(OWNER, grant)
    assert boxes.open(OWNER, box) == grant and len(box['nonce']) == 48
    for n in ('nonce', 'encryptedPermissions'):
        for k in range(len(box[n])):
            flipped = f'{int(box[n][k], 16) ^ 1:x}'
            bad = box | {n: box[n][:k] + flipped + box[n][k+1:]}
            with pytest.raises(PodError, match='aead::Error') as e: boxes.open(OWNER, bad)
            assert e.value.status == 500
    for who, b, by in [('another', box, boxes), (OWNER, box, Boxes()), ('', box, boxes),
                       (OWNER, box | dict(encryptedPermissions=box['encryptedPermissions'][:-2]), boxes)]:
        with pytest.raises(PodError, match='aead::Error'): by.open(who, b)
    for value, status in [(None, 400), (3, 400), ('', 400), ('é' * 48, 500), ('0' * 47, 400), ('g' * 48, 500)]:
        with pytest.raises(PodError) as e: boxes.open(OWNER, box | dict(nonce=value))
        assert e.value.status == status and KEY not in str(e.value)
    grant.check(4)
    for now in (5, 6, 2**62):
        with pytest.raises(Forbidden): grant.check(now)


@pytest.mark.parametrize('written, place', [
    ('', 'permissions'), ('null', 'permissions'), ('[]', 'permissions'), ('{"read": []}', 'permissions.read'),
    ('{"read": {"A": "name"}}', 'permissions.read.A'), ('{"read": {"A": [1]}}', 'permissions.read.A'),
    ('{"update": {"A": null}}', 'permissions.update.A'), ('{"delete": "*"}', 'permissions.delete'),
    ('{"edges": ["x"]}', 'permissions.edges'), ('{"edges": {"update": []}}', 'update'),
    ('{"files": true}', 'permissions.files'),
    ('{"files": {"read": 1}}', 'permissions.files.read'), ('{"email": "yes"}', 'permissions.email'),
    ('{"expires": 1.5}', 'permissions.expires'), ('{"expires": true}', 'permissions.expires'), ('{"Read": {}}', 'Read'),
    ('{"create": {"PluginRun": []}}', 'permissions.create.PluginRun'),
    ('{"create": {"File": ["key"]}}', 'permissions.create.File'),
    ('{"update": {"PluginRun": ["permissions"]}}', 'permissions.update.PluginRun'), ('[' * 5000, 'permissions')])
def test_a_slip_of_the_pen_is_refused_by_its_place(written, place):
    with pytest.raises(Invalid, match=place.replace('.', r'\.')): Permissions.parse(written)
    try: value = json.loads(written)
    except (ValueError, RecursionError): return
    with pytest.raises(Invalid, match=place.replace('.', r'\.')): Permissions.parse(value)

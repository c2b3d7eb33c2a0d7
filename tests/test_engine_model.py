"""A Pod and a plain dictionary are told the same things, and must give the same answers.

Hypothesis looks for a story where they differ.
"""
import operator, re, tempfile
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule
from writers import KEY, OWNER, Pod

from pymemri.core import Conflict, Invalid, NotFound

KINDS = dict(name='Text', note='Text', age='Integer', weight='Real', good='Bool', born='DateTime')
SCHEMA = [dict(type='ItemPropertySchema', itemType=t, propertyName=p, valueType=k) for t in 'AB'
          for p, k in KINDS.items()]
WORDS = ['ant', 'bee', 'cat']
whole = st.sampled_from([0, 1, -1, 7, 2**53 + 1, 2**63 - 1, -2**63]) | st.integers(-3, 3)
text = (st.sampled_from(['', 'a', 'ab', 'abc', 'A', 'é', '😀', '😀b', '\ud7ff', '\U0010ffff', '\U0010ffffx', '\0', 'a\0b',
                         'ant\0bee', "o'x", '"', '%', '\\', '\\u0000', '\x02 7\x03', '\x021\x03', '<b>', 'null',
                         '1', 'x' * 3000])
        | st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(' '.join)
        | st.text(st.characters(exclude_categories=['Cs']), max_size=3))
real = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.5, 0.1, 1e22, 1e308, -1e308, 5e-324, 2.0**53, 1 / 3]) \
    | st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300)
VALUES = dict(Text=text, Integer=whole, Real=real | st.sampled_from([3, 0]), Bool=st.booleans(), DateTime=whole)
PROPS = st.fixed_dictionaries({}, optional={p: VALUES[k] | st.none() for p, k in KINDS.items()})
TYPE = st.sampled_from(['A', 'B'])
ASKED_TYPE = TYPE | st.sampled_from([['A', 'B'], ['B'], ['A', 'Z'], 'Z'])
COMPARE = {'<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge}


def condition(p):
    "A key of a query, its value, and what it means"
    v, out = VALUES[KINDS[p]], []
    def key(op): return st.sampled_from([p + op, f'{p} {op}'] if op else [p])
    out += [st.tuples(key(op), v, st.just(lambda x, v, f=f: x is not None and f(x, v))) for op, f in COMPARE.items()]
    out += [st.tuples(key(op), v | st.none(), st.just(lambda x, v: x == v)) for op in ('', '==')]
    out += [st.tuples(key('!='), v | st.none(), st.just(lambda x, v: x != v))]
    out += [st.tuples(key(op), st.lists(v | st.none(), max_size=3), st.just(lambda x, v: x in v))
            for op in ('', '==')] \
        + [st.tuples(st.just(p + ' in'), st.lists(v | st.none(), max_size=3), st.just(lambda x, v: x in v))]
    if KINDS[p] == 'Text':
        out += [st.tuples(key('^='), v, st.just(lambda x, v: x is not None and x.startswith(v))),
                st.tuples(key('*='), v, st.just(lambda x, v: x is not None and v in x))]
    return st.one_of(out)


CONDITIONS = st.lists(st.sampled_from(list(KINDS)).flatmap(condition), max_size=2)
SORT = st.lists(st.sampled_from([s + p for p in KINDS for s in ('', '-')]), max_size=2)


class Story(RuleBasedStateMachine):
    ids = Bundle('ids')

    @initialize(hasty=st.booleans())
    def begin(self, hasty):
        self.folder, self.time = tempfile.TemporaryDirectory(), 1000
        self.pod = Pod(OWNER, KEY, home=self.folder.name, clock=lambda: self.time)
        self.pod.bulk(dict(createItems=SCHEMA))
        self.items, self.edges, self.made = {}, [], 0 # id → item, in the order of creation; (source, name, target)
        self.pod.find.slow = 0 if hasty else 99 # with indexes from the second search on, or without
        self.pod.find.scan_from = 2

    def teardown(self):
        if not hasattr(self, 'pod'): return
        assert self.pod.integrity_check() == []
        self.pod.close()
        self.folder.cleanup()

    # --- what changes ---

    @rule(ms=st.integers(-2, 2))
    def time_passes(self, ms): self.time += ms # and goes back: the Pod's stamp does not

    def stamp(self):
        "What the last write was stamped with: never less than the clock, nor than what stands"
        now = self.pod.store.now
        assert now >= self.time and all(i['dateServerModified'] <= now for i in self.items.values())
        return now

    def put(self, id, item):
        self.items[id] = {k: v for k, v in item.items() if v is not None} \
            | dict(id=id, deleted=item.get('deleted', False), dateServerModified=self.stamp())

    @rule(target=ids, type=TYPE, props=PROPS, own=st.booleans(), deleted=st.booleans())
    def create(self, type, props, own, deleted):
        self.made += 1
        item = dict(type=type, deleted=deleted, **props) | (dict(id=f'own-{self.made:06}') if own else {})
        id = self.pod.create_item(item)
        self.put(id, item)
        return id

    @rule(id=ids, props=PROPS)
    def create_twice(self, id, props):
        if id not in self.items: return
        with pytest.raises(Conflict): self.pod.create_item(dict(type='A', id=id, **props))

    @rule(id=ids, props=PROPS, deleted=st.none() | st.booleans())
    def update(self, id, props, deleted):
        changes = dict(id=id, **props) | (dict(deleted=deleted) if deleted is not None else {})
        if id in self.items:
            assert self.pod.update_item(changes) == {}
            self.put(id, self.items[id] | changes)
        else:
            with pytest.raises(NotFound): self.pod.update_item(changes)

    @rule(id=ids)
    def delete(self, id):
        if id in self.items:
            self.pod.delete_item(id)
            self.put(id, self.items[id] | dict(deleted=True))
        else:
            with pytest.raises(NotFound): self.pod.delete_item(id)

    @rule(a=ids, b=ids, name=st.sampled_from(['friend', 'foe', 'a"b']))
    def draw(self, a, b, name):
        edge = dict(_source=a, _target=b, _name=name)
        if not {a, b} <= self.items.keys():
            with pytest.raises(NotFound): self.pod.create_edge(edge)
            return
        assert self.pod.create_edge(edge) == self.pod.create_edge(edge)
        if (a, name, b) not in self.edges: self.edges.append((a, name, b))
        self.items[a]['dateServerModified'] = self.stamp()

    @rule(k=st.integers(0, 9), by_id=st.booleans())
    def undraw(self, k, by_id):
        if not self.edges: return
        a, name, b = self.edges.pop(k % len(self.edges))
        edge = dict(_source=a, _target=b, _name=name)
        self.pod.delete_edge(dict(id=self.pod.create_edge(edge)) if by_id else edge)
        self.items[a]['dateServerModified'] = self.stamp()
        with pytest.raises(NotFound): self.pod.delete_edge(edge)

    @rule(gone=st.lists(consumes(ids), min_size=1, max_size=3))
    def purge(self, gone):
        assert self.pod.purge(dict(ids=gone)) == dict(purged=len(set(gone) & self.items.keys()))
        for id in gone: self.items.pop(id, None)
        self.edges = [e for e in self.edges if not {e[0], e[2]} & set(gone)]

    @rule(target=ids, new=st.lists(st.tuples(TYPE, PROPS), min_size=1, max_size=3), old=ids, props=PROPS,
          fails=st.sampled_from([None, None, NotFound, Invalid]))
    def bulk(self, new, old, props, fails):
        items = []
        for type, p in new:
            self.made += 1
            items.append(dict(type=type, id=f'bulk-{self.made:06}', **p))
        ids = [i['id'] for i in items]
        changes = [dict(id=old, **props)] * (old in self.items)
        actions = dict(createItems=items, updateItems=changes, deleteItems=ids[-1:],
                       createEdges=[dict(_source=ids[0], _target=ids[-1], _name='friend')],
                       search=[{'ids': ids}, dict(type=new[0][0], deleted=False)])
        if fails == NotFound: actions['deleteEdges'] = [dict(_source=ids[0], _target=ids[0], _name='never')]
        if fails == Invalid: actions['search'].append({'nmae': 'x'})
        if fails:
            with pytest.raises(fails): self.pod.bulk(actions)
            return multiple()
        out = self.pod.bulk(actions)
        assert out['createItems'] == ids and [i['id'] for i in out['search'][0]] == ids
        for i in items: self.put(i['id'], i)
        for c in changes: self.put(old, self.items[old] | c)
        self.put(ids[-1], self.items[ids[-1]] | dict(deleted=True))
        self.edges.append((ids[0], 'friend', ids[-1]))
        return multiple(*ids)

    @rule()
    def vacuum(self): self.pod.vacuum()

    @rule()
    def come_again(self):
        find = self.pod.find
        self.pod.close()
        self.pod = Pod(OWNER, KEY, home=self.folder.name, clock=lambda: self.time, create=False)
        self.pod.find.slow, self.pod.find.scan_from = find.slow, 2

    # --- what is asked ---

    def same(self, found, expected):
        "Both are the same items in the same order, with all their properties and those only"
        found = [{k: v for k, v in i.items() if k not in ('dateCreated', 'dateModified') and not k.startswith('_')}
                 for i in found]
        assert [i['id'] for i in found] == [i['id'] for i in expected]
        for f, e in zip(found, expected):
            kinds = {k: float if KINDS.get(k) == 'Real' else type(v) for k, v in e.items()}
            assert f == e and {k: type(v) for k, v in f.items()} == kinds

    def matching(self, type, conditions, deleted):
        types = [type] if isinstance(type, str) else type
        def fits(i):
            return i['type'] in types and deleted in (None, i['deleted']) \
                and all(f(i.get(re.match(r'\w+', k)[0]), v) for k, v, f in conditions)
        # stable: then by creation
        return sorted(filter(fits, self.items.values()), key=lambda i: i['dateServerModified'])

    @rule(id=ids)
    def get(self, id): self.same(self.pod.get_item(id), [self.items[id]] if id in self.items else [])

    @rule(type=ASKED_TYPE, conditions=CONDITIONS, deleted=st.none() | st.booleans(), down=st.booleans(), sort=SORT,
          limit=st.none() | st.integers(0, 4), offset=st.none() | st.integers(0, 3), twice=st.booleans())
    def search(self, type, conditions, deleted, down, sort, limit, offset, twice):
        conditions = list({k: (k, v, f) for k, v, f in conditions}.values())
        query = dict(type=type, **{k: v for k, v, _ in conditions}) \
            | (dict(deleted=deleted) if deleted is not None else {})
        found = self.matching(type, conditions, deleted)
        assert self.pod.count(query) == len(found)
        if down: query['_sortOrder'], found = 'Desc', found[::-1]
        if sort:
            query['_sort'] = sort
            found = sorted(found, key=lambda i: list(self.items).index(i['id']), reverse=down)
            for key in reversed(sort): # each sort is stable; what lacks the property comes last
                p, back = key.lstrip('-'), -1 if key[0] == '-' else 1
                found = sorted([i for i in found if p in i][::back], key=lambda i: i[p])[::back] \
                    + [i for i in found if p not in i]
        if offset is not None: query['_offset'], found = offset, found[offset:]
        if limit is not None: query['_limit'], found = limit, found[:limit]
        for _ in range(1 + twice): self.same(self.pod.search(query), found)

    @rule(type=ASKED_TYPE, page=st.integers(1, 3), down=st.booleans())
    def pages(self, type, page, down):
        query, got = dict(type=type, _limit=page, _sortOrder='Desc' if down else 'Asc'), []
        while found := self.pod.search(query):
            got += found
            query['_after'] = [found[-1]['dateServerModified'], found[-1]['id']]
        self.same(got, self.matching(type, [], None)[::-1 if down else 1])

    @rule(asked=st.lists(ids, max_size=4))
    def by_ids(self, asked):
        self.same(self.pod.search({'ids': asked}), [self.items[i] for i in asked if i in self.items])
        assert self.pod.ids({'ids': asked}) == [i for i in asked if i in self.items]

    @rule(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2), without=st.none() | st.sampled_from(WORDS))
    def full_text(self, words, without):
        def said(i): return set(re.findall(r'\w+', f'{i.get("name", "")}\n{i.get("note", "")}'.lower()))
        query = {'_text': ' '.join(words) + (f' -{without}' if without else '')}
        assert {i['id'] for i in self.pod.search(query)} \
            == {i['id'] for i in self.items.values() if set(words) <= said(i) and without not in said(i)}

    @rule(type=ASKED_TYPE, by=st.sampled_from(['type', *KINDS]))
    def facets(self, type, by):
        counts = Counter(i.get(by) for i in self.matching(type, [], None))
        expected = sorted(counts.items(), key=lambda vc: (-vc[1], vc[0] is not None, vc[0] if vc[0] is not None else 0))
        assert [(f['value'], f['count']) for f in self.pod.facets(dict(query=dict(type=type), by=by))] == expected
        if KINDS.get(by) not in ('Integer', 'DateTime'): return
        for step in (1, 7, 1000):
            counts = Counter(v if (v := i.get(by)) is None else v // step * step for i in self.matching(type, [], None))
            found = self.pod.facets(dict(query=dict(type=type), by=by, step=step, limit=10**6))
            assert {f['value']: f['count'] for f in found} == counts

    @rule(id=ids, incoming=st.booleans())
    def edges_of(self, id, incoming):
        asked = dict(item=id, direction='Incoming' if incoming else 'Outgoing', expandItems=True)
        if id not in self.items:
            with pytest.raises(NotFound): self.pod.get_edges(asked)
            return
        here, there = (2, 0) if incoming else (0, 2)
        expected = sorted([e for e in self.edges if e[here] == id], key=lambda e: e[1])
        found = self.pod.get_edges(asked)
        assert [e['name'] for e in found] == [e[1] for e in expected]
        self.same([e['item'] for e in found], [self.items[e[there]] for e in expected])


Story.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None,
                                   suppress_health_check=list(HealthCheck))
TestStory = Story.TestCase


# --- short stories that the search would seldom come upon ---

@pytest.fixture
def pod(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        pod.bulk(dict(createItems=SCHEMA))
        yield pod


def ids(pod, **query): return [i['id'] for i in pod.search(query)]


def test_words_after_the_last_items_were_purged(pod):
    "Row numbers are given again; full text does not take the new item for the old one"
    pod.create_item(dict(type='A', id='old-01', note='ant'))
    assert ids(pod, _text='ant') == ['old-01']
    pod.purge(dict(ids=['old-01']))
    pod.create_item(dict(type='A', id='new-01', note='bee'))
    assert ids(pod, _text='bee') == ['new-01'] and ids(pod, _text='ant') == []


def test_a_type_gets_its_first_item(pod):
    "What was asked before there was an item of the type is answered afresh afterwards"
    for asked in ('A', ['A', 'B'], ['B', 'A']):
        assert pod.count(dict(type=asked)) == 0 and ids(pod, type=asked) == [] == ids(pod, type=asked, name='x')
    pod.create_item(dict(type='A', id='aaa-01', name='x'))
    for asked in ('A', ['A', 'B'], ['B', 'A']):
        assert pod.count(dict(type=asked)) == 1 and ids(pod, type=asked) == ['aaa-01'] == ids(pod, type=asked, name='x')
    pod.create_item(dict(type='B', id='bbb-01', name='x'))
    for asked in ('B', ['A', 'B'], ['B', 'A']):
        assert 'bbb-01' in ids(pod, type=asked) and 'bbb-01' in ids(pod, type=asked, name='x')


def test_a_type_that_was_undone(pod):
    "A bulk that fails takes its new types with it; their numbers may go to others"
    for query in (dict(type='A'), dict(type='A', name='x')):
        with pytest.raises(NotFound):
            pod.bulk(dict(createItems=[dict(type='A', name='x')], search=[query], deleteItems=[], updateItems=[],
                          deleteEdges=[dict(id='no-such-edge')]))
        with pytest.raises(Invalid): pod.bulk(dict(createItems=[dict(type='A', name='x')], search=[query, {'nmae': 1}]))
    pod.create_item(dict(type='B', id='bbb-01', name='x'))
    assert ids(pod, type='A') == ids(pod, type='A', name='x') == [] and ids(pod, type='B') == ['bbb-01']


@pytest.mark.parametrize('type, value, asked', [('weight', -0.0, 0), ('weight', 1e22, 10**22), ('weight', 5.0, 5),
                                                ('born', 5, 5.2), ('weight', 1.5, 1.5), ('good', True, True)])
def test_numbers_have_many_spellings(pod, monkeypatch, type, value, asked):
    "Read in parts or not, with an index or not, a number is found however it is written"
    monkeypatch.setattr('os.cpu_count', lambda: 2)
    for k in range(6): pod.create_item({'type': 'A', 'id': f'aaa-{k:02}', type: value})
    pod.find.scan_from, pod.find.slow = 2, 0
    for _ in range(4): assert len(ids(pod, type='A', **{type: asked})) == 6 == pod.count({'type': 'A', type: asked})


def test_numbers_beyond(pod):
    "A Real may be compared with a whole number of any size; others refuse it, every time"
    pod.create_item(dict(type='A', id='aaa-01', weight=1.5, age=3))
    assert ids(pod, **{'weight<': 10**30}) == ['aaa-01'] == ids(pod, **{'weight>': -10**30}) \
        and ids(pod, **{'age<': 5}) == ['aaa-01']
    for call in (pod.search, pod.count, pod.search):
        with pytest.raises(Invalid): call({'age<': 2**70})

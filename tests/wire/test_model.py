"""Sections 6 to 8 as one small program: it and a server are asked the same things, by chance, and have to say the same.

The model is written from the specification alone, as slowly as it likes. After each change all items are compared. Dates
that are the server's are taken from the server, once they are found to lie within the request."""
import copy, json, math, random, re, time

import pytest

from .test_items import OURS, SQL
from .test_schema import BUILT_IN

DATES = ('dateCreated', 'dateModified', 'dateServerModified')
FIXED = {'id', 'type', 'deleted', *DATES}
BLOCKED = {n.lower() for n in OURS + SQL}
KINDS = 'Text', 'Integer', 'Real', 'Bool', 'DateTime'
SEARCH = {'id', 'type', 'deleted', 'dateServerModified>=', 'dateServerModified<', '_sortOrder', '_limit', '[[edges]]',
          '~[[edges]]'}
NOW = object()  # a date that is the server's


class Refused(Exception):
    "What a request comes to, instead"
    def __init__(self, status, text): self.status, self.text = status, text


def need(ok, status, text):
    if not ok: raise Refused(status, text)


def is_whole(v): return isinstance(v, int) and not isinstance(v, bool) and -2**63 <= v < 2**63
def shown(v): return json.dumps(v, separators=(',', ':'), ensure_ascii=False, sort_keys=True)


def schema_item(T, P, V): return {'type': 'ItemPropertySchema', 'itemType': T, 'propertyName': P, 'valueType': V}


class Model:
    "A database"
    def __init__(self):
        self.items, self.edges, self.kinds, self.made = {}, [], {p: k for _, _, p, k in BUILT_IN}, 0
        for id, T, P, V in BUILT_IN:
            self.items[id] = dict.fromkeys(DATES, 0) | {'id': id, 'deleted': False} | schema_item(T, P, V)

    def value(self, name, v):
        "6.4: what is stored"
        undefined = f'Property {name} not defined in Schema (attempted to use it for json value {shown(v)})'
        need(name in self.kinds, 400, undefined)
        kind, number = self.kinds[name], isinstance(v, (int, float)) and not isinstance(v, bool)
        if v is None or kind == 'Text' and isinstance(v, str) or kind == 'Bool' and isinstance(v, bool): return v
        if kind == 'Real' and number: return float(v)
        if kind in ('Integer', 'DateTime') and is_whole(v): return v
        if kind == 'DateTime' and isinstance(v, float): return int(math.copysign(math.floor(abs(v) + .5), v))
        need(kind != 'Integer' or not number, 400, 'Failed to parse JSON number ')
        raise Refused(400, f'Failed to parse json value {shown(v)} to {kind} ({name})')

    def new(self, id, item):
        "A place for an item; the name of one that the server will name is a tuple, for now"
        self.made += 1
        id = id or ('new', self.made)
        self.items[id] = {'id': id, 'deleted': False} | dict.fromkeys(DATES, NOW) | item
        return id

    def create_item(self, item):
        "6.2 and 7.1"
        id = item.get('id')
        need(id is None or re.fullmatch('[a-zA-Z0-9_-]{6,36}', id), 400, f"Item id '{id}' does not satisfy the format")
        if item['type'] == 'ItemPropertySchema':
            P, V = item['propertyName'], item['valueType']
            need(V in KINDS, 400, f'unknown variant `{V}`')
            old = self.kinds.setdefault(P, V)
            text = f'Schema for property {P} is already defined to type {old}, cannot override to type {V}'
            need(old == V, 400, text)
        need(id not in self.items, 500, 'UNIQUE constraint failed: items.id')
        props = {n: self.value(n, v) for n, v in item.items() if n not in FIXED - {'dateServerModified'} | {'rowid'}}
        fixed = {n: item[n] for n in ('type', 'deleted', 'dateCreated', 'dateModified') if item.get(n) is not None}
        return self.new(id, fixed | {n: v for n, v in props.items() if v is not None and n not in FIXED})

    def update_item(self, changes):
        "6.3"
        need(is_whole(changes.get('dateModified', 0)), 400, 'Cannot parse dateModified')
        need(isinstance(changes.get('deleted'), bool | None), 400, 'Failed to parse deleted')
        names = [n for n in changes if n not in FIXED]
        for n in names:
            fits = re.fullmatch('[a-zA-Z][_a-zA-Z0-9]{0,30}[a-zA-Z0-9]', n)
            need(fits, 400, f'Property name {n} does not satisfy the format')
            need(n.lower() not in BLOCKED, 400, f'Blocklisted item property {n}')
        need(changes['id'] in self.items, 404, f'Item with id {changes["id"]} not found')
        item = self.items[changes['id']]
        item |= {'dateModified': changes.get('dateModified', NOW), 'dateServerModified': NOW}
        if changes.get('deleted') is not None: item['deleted'] = changes['deleted']
        for n in names:
            item[n] = self.value(n, changes[n])
            if item[n] is None: del item[n]
        return {}

    def delete_item(self, id):
        "6.6"
        return self.update_item({'id': id, 'deleted': True})

    def create_edge(self, edge):
        "7.5"
        own = edge.get('_self')
        need(own is None or own in self.items, 400, f'Failed to create edge with _self: {own}')
        if own is None: own = self.new(None, {'type': 'Edge'})
        for end in ('source', 'target'):
            need(edge[f'_{end}'] in self.items, 404, f'Edge {end} not found: {edge[f"_{end}"]}')
        need(own not in [e['self'] for e in self.edges], 500, 'UNIQUE constraint failed: edges.self')
        self.edges.append({'self': own, 'source': edge['_source'], 'name': edge['_name'], 'target': edge['_target']})
        self.items[edge['_source']]['dateServerModified'] = NOW
        return own

    def whole(self, id):
        "7.6: an item at the top of a result"
        found = dict(self.items[id])
        for e in self.edges:
            if e['self'] == id: found |= {'_source': e['source'], '_target': e['target'], '_edge': e['name']}
        return found

    def around(self, id, near, far):
        "7.6: edges by name, then by the creation of their items, and what is at the other end"
        order = {id: n for n, id in enumerate(self.items)}
        found = sorted((e for e in self.edges if e[near] == id), key=lambda e: (e['name'].encode(), order[e['self']]))
        return [(e, self.items[e[far]]) for e in found]

    def get_item(self, id): return [self.whole(id)] if id in self.items else []

    def get_edges(self, asked):
        "7.7"
        need(asked['item'] in self.items, 404, f'Cannot find item id {asked["item"]}')
        ends = ('source', 'target') if asked['direction'] == 'Outgoing' else ('target', 'source')
        return [{'name': e['name'], 'item': far if asked['expandItems'] else {'id': far['id']}}
                for e, far in self.around(asked['item'], *ends)]

    def search(self, query):
        "8.1 and 8.2"
        rows = sorted(self.items.values(), key=lambda i: i['dateServerModified'])
        if query.get('_sortOrder') == 'Desc': rows.reverse()
        for n in ('id', 'type', 'deleted'): rows = [i for i in rows if query.get(n) in (None, i[n])]
        def date(i): return i['dateServerModified']
        if (first := query.get('dateServerModified>=')) is not None: rows = [i for i in rows if date(i) >= first]
        if (last := query.get('dateServerModified<')) is not None: rows = [i for i in rows if date(i) < last]
        if (n := query.get('_limit')) is not None:
            rows = [i for k, i in enumerate(rows) if k < n or n and date(i) == date(rows[n - 1])]
        wanted = {}
        # the specification leaves open which filter is looked at first
        for n in [n for n in query if n not in SEARCH] if rows else ():
            wanted[n] = self.value(n, query[n])
            need(query[n] is not None, 400, 'Searching for undefined (null) properties is not supported yet')
        fits = [i for i in rows if all(n in i and i[n] == v and n not in DATES for n, v in wanted.items())]
        found = [self.whole(i['id']) for i in fits]
        for key, ends in (('[[edges]]', ('source', 'target')), ('~[[edges]]', ('target', 'source'))):
            for i in found if query.get(key) is not None else ():
                around = self.around(i['id'], *ends)
                i[key] = [self.items[e['self']] | {'_edge': e['name'], '_item': far} for e, far in around]
        return found

    def bulk(self, actions):
        "8.3"
        made = [self.create_item(i) for i in actions.get('createItems', ())]
        for changes in actions.get('updateItems', ()): self.update_item(changes)
        for id in actions.get('deleteItems', ()): self.delete_item(id)
        drawn = [self.create_edge(e) for e in actions.get('createEdges', ())]
        return {'createItems': made, 'createEdges': drawn, 'search': []}

    def name(self, wanted, found):
        "Call new items what the server calls them"
        names = dict(zip(wanted, found, strict=True))
        assert all(isinstance(w, tuple) and re.fullmatch('[0-9a-f]{32}', f) or w == f for w, f in names.items()), names
        self.items = {names.get(k, k): i | {'id': names.get(k, k)} for k, i in self.items.items()}
        self.edges = [{k: names.get(v, v) if k != 'name' else v for k, v in e.items()} for e in self.edges]


DEFINED = {'name': 'Text', 'Name': 'Text', 'size': 'Integer', 'weight': 'Real', 'done': 'Bool', 'day': 'DateTime',
           'a b': 'Text', 'x': 'Integer'}
FIT = {'Text': ['', 'x', 'größe', '5'], 'Integer': [0, 1, -5, 2**53 + 1], 'Real': [1.5, 2, 0, -3], 'Bool': [True, False],
       'DateTime': [0, 5, 1.5, -2.5]}
ODD = ['x', 5, 1.5, -2.5, 1.0, 2**63, True, None, [], ['x'], {'a': 1}]
NAMES = [*DEFINED, 'key', 'select', 'odd', '_u', 'é', '', 'size>=', 'ids', 'nonce']
OPS = ('create_item create_item update_item update_item delete_item create_edge get_item get_edges search search bulk '
       'bulk').split()
TYPES = ['Note', 'note', '', 'Edge', 'Größe']


class Asker:
    "Makes requests, most of which make sense"
    def __init__(self, seed, model): self.chance, self.model = random.Random(seed), model
    def one(self, *of): return self.chance.choice(of)
    def maybe(self, share, **what): return {k: self.one(*v) for k, v in what.items() if self.chance.random() < share}
    def some(self, most, make): return [make() for _ in range(self.chance.randrange(most + 1))]
    def id(self):
        ids = list(self.model.items)
        return self.one(*ids[-8:], *ids[-8:], self.one(*ids), 'thing-1', 'nobody', '')
    def props(self, odd=.1):
        out = {}
        for _ in range(self.chance.randrange(4)):
            n = self.one(*NAMES) if self.chance.random() < odd else self.one(*DEFINED)
            out[n] = self.one(*ODD) if self.chance.random() < odd else self.one(*FIT[DEFINED.get(n, 'Text')], None)
        return out
    def create_item(self):
        new = f'thing-{self.chance.randrange(999)}'
        item = {'type': self.one(*TYPES)}
        if self.chance.random() < .15: item = schema_item('Note', self.one(*NAMES, 'fresh', new), self.one(*KINDS, 'text'))
        item |= self.maybe(.2, dateCreated=[0, -5, None], dateModified=[7, None], deleted=[True, False], rowid=[1, None],
                           dateServerModified=[5, 1.5, None])
        return self.maybe(.5, id=[new, new, new, 'thing-1', 'bad', None]) | item | self.props()
    def update_item(self):
        odd = self.maybe(.1, dateModified=[5, None, 1.0, True], deleted=[True, False, None, 'x'], type=['x', 5],
                         dateCreated=[5, 'x'])
        return {'id': self.id()} | odd | self.props()
    def delete_item(self): return self.id()
    def get_item(self): return self.id()
    def create_edge(self):
        edge = {'_source': self.id(), '_target': self.id(), '_name': self.one('a', 'b', '', 'Z', 'é')}
        return edge | self.maybe(.3, _self=[self.id(), None], more=[[1]])
    def get_edges(self):
        return {'item': self.id(), 'direction': self.one('Outgoing', 'Incoming'), 'expandItems': self.one(True, False)}
    def search(self):
        dates = [i['dateServerModified'] for i in self.model.items.values()]
        around = [None, -5, *dates, *[d + 1 for d in dates]]
        query = self.maybe(.3, id=[self.id(), None], type=[*TYPES, 'ItemPropertySchema'], deleted=[True, False, None],
                           _sortOrder=['Asc', 'Desc'], _limit=[0, 1, 2, 3, 14, 15, 99, 2**64 - 1])
        more = {'dateServerModified>=': around, 'dateServerModified<': around, '[[edges]]': [{}, {'x': 1}, None],
                '~[[edges]]': [{}, None]}
        return query | self.maybe(.3, **more) | self.props()
    def bulk(self):
        parts = {'createItems': (4, self.create_item), 'updateItems': (2, self.update_item), 'deleteItems': (1, self.id),
                 'createEdges': (2, self.create_edge)}
        return {n: self.some(*how) for n, how in parts.items() if self.chance.random() < .6}


def same(a, b):
    "Equal, and of the same types"
    if isinstance(a, dict): return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list): return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def settle(model, pod, since):
    "All items as they should be; the model learns the server's dates"
    found, until = {i['id']: i for i in pod.find()}, time.time() * 1000 + 1
    assert found.keys() == model.items.keys()
    for id, item in model.items.items():
        for d in [d for d in DATES if item[d] is NOW]:
            assert type(found[id][d]) is int and since - 1 <= found[id][d] <= until, (id, d, found[id], since)
            item[d] = found[id][d]
        assert same(model.whole(id), found[id]), (model.whole(id), found[id])


@pytest.mark.parametrize('seed', range(8))
def test_server_and_specification_say_the_same(pod, seed):
    model, since = Model(), time.time() * 1000
    asker = Asker(seed, model)
    begin = {'createItems': [schema_item('Note', p, k) for p, k in DEFINED.items()]}
    model.name(model.bulk(begin)['createItems'], pod.ok('bulk', begin)['createItems'])
    settle(model, pod, since)
    for _ in range(100):
        op = asker.one(*OPS)
        payload, since = getattr(asker, op)(), time.time() * 1000
        before = copy.deepcopy((model.items, model.edges, model.kinds))
        try: wanted = getattr(model, op)(payload)
        except Refused as e:
            model.items, model.edges, model.kinds = before
            pod.refused(op, payload, e.status, e.text, wire=asker.one('v3', 'v4'))
            continue
        found = pod.ok(op, payload)
        if op in ('create_item', 'create_edge'): model.name([wanted], [found])
        elif op == 'bulk': model.name(*(ids['createItems'] + ids['createEdges'] for ids in (wanted, found)))
        else: assert same(wanted, found), (op, payload, wanted, found)
        if op not in ('get_item', 'get_edges', 'search'): settle(model, pod, since)

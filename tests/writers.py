"""What child processes of the engine's tests do, and a model of what a Pod must hold afterwards.

Kept apart from the tests, so that a child imports little."""
import hashlib, random

from pymemri.core import new_id
from pymemri.engine.pod import Pod

OWNER, KEY = 'owner of the tests', 'a1' * 32
KINDS = dict(name='Text', note='Text', count='Integer', twin='Text', sha256='Text')
SCHEMA = [dict(type='ItemPropertySchema', itemType='Thing', propertyName=p, valueType=k) for p, k in KINDS.items()]
WORDS = 'ant bee cat dog eel fox gnu hen'.split()


def digest(data): return hashlib.sha256(data).hexdigest()


def thing(rnd, **more):
    return dict(type='Thing', id=new_id(), name=rnd.choice(WORDS),
                note=' '.join(rnd.choices(WORDS, k=3)) * rnd.choice([1, 1, 9]), count=rnd.randrange(99)) | more


def pair(rnd, n=1):
    "A bulk that makes `n` pairs of items and an edge between each two"
    twins = [(thing(rnd), thing(rnd)) for _ in range(n)]
    for a, b in twins: a['twin'], b['twin'] = b['id'], a['id']
    return dict(createItems=[i for ab in twins for i in ab],
                createEdges=[dict(_source=a['id'], _target=b['id'], _name='twin') for a, b in twins])


def calls(rnd, mix, ids):
    "An endless row of calls, as (method, arguments); `ids` are those of items that stand, and may be changed"
    while True:
        what = rnd.choice(mix)
        if what == 'create' or len(ids) < 3:
            yield 'create_item', (i := thing(rnd))
            ids.append(i['id'])
        elif what in ('bulk', 'long bulk'):
            b = pair(rnd, 1 if what == 'bulk' else 100)
            yield 'bulk', b | dict(updateItems=[dict(id=rnd.choice(ids), count=rnd.randrange(99))])
            ids += [i['id'] for i in b['createItems']]
        elif what == 'update':
            yield 'update_item', dict(id=rnd.choice(ids), name=rnd.choice([None, *WORDS]), count=rnd.randrange(99))
        elif what == 'delete': yield 'delete_item', rnd.choice(ids)
        elif what == 'edge':
            yield 'create_edge', dict(_source=rnd.choice(ids), _target=rnd.choice(ids),
                                      _name=rnd.choice(['friend', 'foe']))
        elif what == 'file':
            data = rnd.randbytes(rnd.choice([9, 3000, 60_000]))
            yield 'create_item', (i := thing(rnd, sha256=digest(data)))
            yield 'upload_file', dict(sha256=digest(data)), data
            ids.append(i['id'])
        elif what == 'text': yield 'search', dict(_text=rnd.choice(WORDS), _limit=3)
        elif what == 'purge':
            going = rnd.sample(ids, min(len(ids) - 2, rnd.choice([1, 30])))
            yield 'purge', dict(ids=going)
            ids[:] = [i for i in ids if i not in going]
        elif what == 'vacuum': yield 'vacuum',
        elif what == 'delete all':
            yield 'delete_all',
            b = pair(rnd, 150)
            yield 'bulk', dict(b, createItems=SCHEMA + b['createItems'])
            ids[:] = [i['id'] for i in b['createItems']]


class Model:
    "What a Pod must hold after the calls that it was told"
    def __init__(self, items=(), edges=(), files=()):
        self.items, self.edges, self.files = dict(items), set(edges), dict(files)
    def after(self, call):
        m = Model(self.items, self.edges, self.files)
        getattr(m, call[0])(*call[1:])
        return m
    def create_item(self, i):
        if i['type'] == 'Thing':
            self.items[i['id']] = {k: v for k, v in i.items() if v is not None} | dict(deleted=False)
    def update_item(self, c):
        self.items[c['id']] = {k: v for k, v in (self.items[c['id']] | c).items() if v is not None}
    def delete_item(self, id): self.update_item(dict(id=id, deleted=True))
    def create_edge(self, e): self.edges.add((e['_source'], e['_name'], e['_target']))
    def bulk(self, b):
        for i in b.get('createItems', []): self.create_item(i)
        for c in b.get('updateItems', []): self.update_item(c)
        for e in b.get('createEdges', []): self.create_edge(e)
    def upload_file(self, file, data): self.files[file['sha256']] = data
    def purge(self, q):
        gone = set(q['ids'])
        self.items = {k: v for k, v in self.items.items() if k not in gone}
        self.edges = {e for e in self.edges if not gone & {e[0], e[2]}}
    def delete_all(self): self.items, self.edges, self.files = {}, set(), {}
    def search(self, q): pass
    def vacuum(self): pass

    def wrong(self, pod):
        "How `pod` differs from this; nothing if it does not"
        items, edges = {}, set()
        for i in pod.search({'type': 'Thing', '[[edges]]': {}}):
            edges |= {(i['id'], e['_edge'], e['_item']['id']) for e in i.pop('[[edges]]') if not e['deleted']}
            items[i['id']] = {k: v for k, v in i.items()
                              if k not in ('dateCreated', 'dateModified', 'dateServerModified', 'key', 'nonce')}
        out = [f'item {k}: {items.get(k)}, not {self.items.get(k)}' for k in items.keys() | self.items
               if items.get(k) != self.items.get(k)]
        out += [f'edge {e}' for e in edges ^ self.edges]
        named = {i['sha256'] for i in self.items.values() if 'sha256' in i}
        return out[:9] + [f'file {d}' for d, data in self.files.items() if d in named and read(pod, d) != data]


def read(pod, sha256):
    try: return pod.get_file(dict(sha256=sha256))
    except Exception as e: return e


def write(conn, home, seed, mix, ids):
    "Do random calls; tell each before it begins, and None once it has returned"
    conn.send('begun')
    with Pod(OWNER, KEY, home=home) as pod:
        for call in calls(random.Random(seed), mix, ids):
            conn.send(call)
            getattr(pod, call[0])(*call[1:])
            conn.send(None)


def rekey(conn, home, key, keys):
    "Change the key again and again"
    conn.send('begun')
    for new in keys:
        with Pod(OWNER, key, home=home) as pod:
            conn.send(('rekey', new))
            pod.rekey(new)
            conn.send(None)
            key = new


def backup(conn, home, places):
    "Make one backup after the other"
    conn.send('begun')
    with Pod(OWNER, KEY, home=home) as pod:
        for place in places:
            conn.send(('backup', place))
            pod.backup(place)
            conn.send(None)


# --- several at once: each waits at the gate for the others ---

def count_up(gate, home, id, name, n):
    "Read a property, and write it greater by one"
    with Pod(OWNER, KEY, home=home) as pod:
        gate.wait()
        for _ in range(n): pod.update_item({'id': id, name: pod.get_item(id)[0].get(name, 0) + 1})


def draw(gate, home, edges):
    "Draw edges, which others draw too"
    with Pod(OWNER, KEY, home=home) as pod:
        gate.wait()
        for e in edges: assert pod.create_edge(e) == pod.create_edge(e)


def come_and_go(gate, home, n):
    "Open the Pod, which may not be there yet, write, and close it, often"
    gate.wait()
    for _ in range(n):
        with Pod(OWNER, KEY, home=home) as pod:
            pod.bulk(dict(createItems=SCHEMA + [dict(type='Thing', name='ant')]))
            assert pod.search({'type': 'Thing', '_text': 'ant', '_limit': 1})


def work(gate, home, seed, n):
    "Do random calls of all kinds"
    with Pod(OWNER, KEY, home=home) as pod:
        gate.wait()
        mix = ['create', 'update', 'bulk', 'long bulk', 'delete', 'edge', 'file', 'text', 'vacuum']
        for _, call in zip(range(n), calls(random.Random(seed), mix, [])): getattr(pod, call[0])(*call[1:])


def flip(gate, home, ids, n):
    "Give all items one number, then all another"
    with Pod(OWNER, KEY, home=home) as pod:
        gate.wait()
        for k in range(n): pod.bulk(dict(updateItems=[dict(id=i, count=k) for i in ids]))


def pair_up(gate, home, n):
    "Create pairs, each pair in one bulk"
    with Pod(OWNER, KEY, home=home) as pod:
        gate.wait()
        for k in range(n): pod.bulk(pair(random.Random(k)))


def define(conn, home):
    "Teach the Pod a property, say so, and use what is taught in return"
    with Pod(OWNER, KEY, home=home) as pod:
        pod.create_item(dict(type='ItemPropertySchema', itemType='Bird', propertyName='wingspan', valueType='Real'))
        conn.send('defined')
        conn.recv()
        pod.create_item(dict(type='Bird', wingspan=1.5, song='tweet'))
        conn.send(pod.search(dict(type='Fish', depth=7)))

"""A client that does everything to its own items, and knows what must be there afterwards.

As a process (`python load.py PORT OWNER WIRE TAG JOURNAL`) it writes down each step before and after it, so that it can
be killed at any moment. It imports little, as it is started again and again."""
import base64, hashlib, http.client, json, random, sys, time

KEY = 'A1' * 32
AUTH = {'type': 'ClientAuth', 'databaseKey': KEY}
HEADER = 'Pod ' + base64.urlsafe_b64encode(json.dumps(AUTH).encode()).decode()
KINDS = dict(name='Text', count='Integer', sha256='Text')
SCHEMA = [dict(type='ItemPropertySchema', itemType='Thing', propertyName=p, valueType=k) for p, k in KINDS.items()]


class Refused(Exception):
    "An answer that is no success"


class Line:
    "A connection to one owner's Pod"
    def __init__(self, port, owner, wire='v5', timeout=60):
        self.line, self.owner, self.wire = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout), owner, wire
    def send(self, path, body, headers={}):
        self.line.request('POST', path, body, headers)
        got = self.line.getresponse()
        data = got.read()
        if got.status != 200: raise Refused(f'{path.rpartition("/")[2][:20]}: {got.status} {data[:300]}')
        return data
    def call(self, op, payload=None, wire=''):
        "The answer, from JSON"
        body = json.dumps(dict(auth=AUTH, payload=payload))
        return json.loads(self.send(f'/{wire or self.wire}/{self.owner}/{op}', body))
    def upload(self, sha256, data):
        if self.wire == 'v5': self.send(f'/v5/{self.owner}/upload_file/{sha256}', data, {'Authorization': HEADER})
        else: self.send(f'/v4/{self.owner}/upload_file/{KEY}/{sha256}', data)
    def download(self, sha256):
        return self.send(f'/{self.wire}/{self.owner}/get_file', json.dumps(dict(auth=AUTH, payload=dict(sha256=sha256))))
    def close(self): self.line.close()


class Model:
    "What must be in a Pod: things by name (None: gone), edges; and what a step that was cut off may have changed"
    def __init__(self): self.things, self.edges, self.unsure = {}, [], []
    def take(self, step):
        "A step was acknowledged"
        self.things.update(step['things'])
        self.edges += [tuple(e) for e in step['edges']]


class Client:
    "Does one thing after the other, all on its own items"
    def __init__(self, port, owner, wire, tag, write=None):
        self.line, self.tag, self.n, self.model, self.write = Line(port, owner, wire), tag, 0, Model(), write
        self.rnd, self.steps = random.Random(tag), 0
        self.own = {} # name → id and count, of those that stand

    def run(self, until, stop=lambda: False):
        "Work until then; a step that fails stays unsure, and its error is raised"
        while time.monotonic() < until and not stop():
            kind = self.rnd.choices(*zip(*WEIGHTS.items()))[0]
            if len(self.own) < 3: kind = 'create'
            getattr(self, kind)()
            self.steps += 1

    def act(self, things, edges, do):
        "Do something that makes these changes; `do` may say more about new things when it is done"
        step = dict(things=things, edges=edges)
        if self.write: self.write('?', step)
        self.model.unsure = [step]
        out = do()
        if self.write: self.write('!', step)
        self.model.unsure = []
        self.model.take(step)
        for name, state in things.items():
            if state is None or state['deleted']: self.own.pop(name, None)
            else: self.own[name] = state
        return out

    def new(self, **more):
        "A thing that is not there yet: what to send, and how it will be"
        self.n += 1
        name = f'{self.tag}-{self.n}'
        item = dict(type='Thing', name=name, count=0, **more)
        return item, {name: dict(count=0, deleted=False, id=more.get('id'))}

    def pick(self): return self.rnd.choice(list(self.own))

    def create(self):
        item, things = self.new(**({'id': f'id-{self.tag}-{self.n:06}'} if self.rnd.random() < .5 else {}))
        def do():
            id = self.line.call('create_item', item)
            assert item.get('id') in (None, id)
            things[item['name']]['id'] = id
        self.act(things, [], do)

    def update(self):
        name, count = self.pick(), self.rnd.randrange(10**6)
        was = self.own[name]
        change = dict(id=was['id'], count=count)
        self.act({name: was | dict(count=count)}, [], lambda: self.line.call('update_item', change))

    def delete(self):
        name = self.pick()
        was = self.own[name]
        self.act({name: was | dict(deleted=True)}, [], lambda: self.line.call('delete_item', was['id']))

    def edge(self):
        item, things = self.new(id=f'id-{self.tag}-{self.n:06}') # drawn once: Memri's wire draws every time
        other = self.own[self.pick()]['id']
        self.act(things, [], lambda: self.line.call('create_item', item))
        edge = dict(_source=item['id'], _name='next', _target=other)
        self.act({}, [(item['id'], other)], lambda: self.line.call('create_edge', edge))

    def bulk(self):
        many = [self.new(id=f'id-{self.tag}-{self.n:06}') for _ in range(self.rnd.choice((2, 2, 40)))]
        things = {n: s for _, t in many for n, s in t.items()}
        name, count = self.pick(), self.rnd.randrange(10**6)
        was = self.own[name]
        a, b = many[0][0]['id'], many[1][0]['id']
        actions = dict(createItems=[i for i, _ in many], updateItems=[dict(id=was['id'], count=count)],
                       createEdges=[dict(_source=a, _name='next', _target=b)])
        def do(): assert self.line.call('bulk', actions)['createItems'] == [i['id'] for i, _ in many]
        self.act(things | {name: was | dict(count=count)}, [(a, b)], do)

    def search(self):
        "What was acknowledged is found at once"
        name = self.pick()
        found = self.line.call('search', dict(type='Thing', name=name))
        assert [(i['id'], i['count']) for i in found] == [(self.own[name]['id'], self.own[name]['count'])], (found, name)

    def get(self):
        state = self.own[self.pick()]
        item, = self.line.call('get_item', state['id'])
        assert item['count'] == state['count'], (item, state)

    def file(self):
        data = self.rnd.randbytes(self.rnd.choice((10, 5000, 200_000)))
        sha256 = hashlib.sha256(data).hexdigest()
        item, things = self.new(id=f'id-{self.tag}-{self.n:06}', sha256=sha256)
        self.act(things, [], lambda: self.line.call('create_item', item))
        uploaded = {item['name']: things[item['name']] | dict(sha256=sha256)}
        self.act(uploaded, [], lambda: self.line.upload(sha256, data))
        assert self.line.download(sha256) == data

    def purge(self):
        "Away for good; our own wire only. Things with edges stay, as these would go with them"
        ends = {i for e in self.model.edges for i in e}
        name = self.pick()
        if self.own[name]['id'] in ends or 'sha256' in self.own[name]: return
        self.act({name: None}, [], lambda: self.line.call('purge', dict(ids=[self.own[name]['id']]), 'v5'))


WEIGHTS = dict(create=6, update=6, search=4, get=4, edge=3, bulk=2, delete=1, file=1, purge=1)


def replay(lines):
    "What a journal says"
    model = Model()
    for line in lines:
        if not line.endswith('\n'): break # cut off while it was written
        mark, step = line[0], json.loads(line[1:])
        if mark == '!': model.take(step)
        model.unsure = [step] if mark == '?' else []
    return model


def check(line, models):
    "The Pod holds what the models say: nothing lost, nothing twice, nothing else; how many things there are"
    found = line.call('search', {'type': 'Thing', '[[edges]]': {}})
    things, edges = {}, []
    for item in found:
        assert item['name'] not in things, f'stored twice: {item}'
        things[item['name']] = item
        edges += [(item['id'], e['_item']['id']) for e in item['[[edges]]']]
    assert len(set(edges)) == len(edges), 'an edge was drawn twice'
    edges = set(edges)
    for model in models:
        unsure, loose = {}, set()
        for step in model.unsure:
            unsure |= step['things']
            loose |= {tuple(e) for e in step['edges']}
        fits = {True: 0, False: 0} # of one step all was done, or nothing
        for name, state in (model.things | unsure).items():
            item, old = things.pop(name, None), model.things.get(name)
            if name not in unsure: assert same(item, state), ('lost', name, state, item)
            else:
                assert same(item, state) or same(item, old), ('neither before nor after', name, old, state, item)
                if old != state: fits[same(item, state)] += 1
        for edge in model.edges:
            assert edge in edges, ('lost', edge)
            edges.discard(edge)
        for edge in loose:
            fits[edge in edges] += 1
            edges.discard(edge)
        assert not (fits[True] and fits[False]), ('half a step', model.unsure)
    assert not things and not edges, ('nobody stored this', list(things)[:3], list(edges)[:3])
    for model in models:
        for sha256 in [s['sha256'] for s in model.things.values() if s and 'sha256' in s]:
            assert hashlib.sha256(line.download(sha256)).hexdigest() == sha256
    return len(found)


def same(item, state):
    "Whether an item is as `state` says; None is none"
    if item is None or state is None: return item is state
    return all(item[k] == state[k] for k in ('count', 'deleted')) and state['id'] in (None, item['id'])


if __name__ == '__main__':
    port, owner, wire, tag, journal = sys.argv[1:]
    with open(journal, 'w') as f:
        def write(mark, step):
            f.write(mark + json.dumps(step) + '\n')
            f.flush()
        Client(int(port), owner, wire, tag, write).run(time.monotonic() + 3600)

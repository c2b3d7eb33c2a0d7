#!/usr/bin/env python
"""How fast is the embedded Pod? Each question is a ratio against a floor (bare SQLCipher with the same tables), an
entity-attribute-value store as Memri's first Pod kept it, or sqlite-utils, both sides in one run.

    python bench/pod.py                        # 10k, 100k and 1M items: the record, some ten minutes
    python bench/pod.py --items 10000          # a quick look
    python bench/pod.py --json bench/pod.json  # keep the figures, for the docs

Times are process CPU unless a line says wall; each figure is the median of several rounds, taken in turns with its
floor. Every answer that is timed is checked for being right. Nothing here fails on a clock: the table says what holds.
"""
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != HERE] # http.py would stand for Python's own http
import argparse, gc, hashlib, itertools, json, random, shutil, statistics, subprocess, tempfile, time
from pathlib import Path

import msgspec
from sqlcipher3 import dbapi2 as sqlcipher

from pymemri.core import new_id
from pymemri.engine.pod import Pod
from pymemri.engine.store import INSERT, LAYOUT, cipher_key, connect

KEY, BATCH = '1f' * 32, 10_000
cpu, wall = time.process_time, time.perf_counter

# -- data: people, e-mails and photos in equal parts, eight typed properties, words as frequent as in a language -------
WORDS = [f'{random.Random(i).choice("bcdfglmnprst")}{"aeiou"[i % 5]}{i:x}' for i in range(5000)]
WEIGHTS = list(itertools.accumulate(1 / (i + 1) for i in range(5000)))
KINDS = dict(
    Person=dict(firstName='Text', lastName='Text', email='Text', displayName='Text', gender='Text',
                birthDate='DateTime', starred='Bool', itemDescription='Text'),
    EmailMessage=dict(subject='Text', service='Text', externalId='Text', dateSent='DateTime', dateReceived='DateTime',
                      starred='Bool', content='Text', keyword='Text'),
    Photo=dict(caption='Text', name='Text', width='Integer', height='Integer', channels='Integer', encoding='Text',
               mode='Text', bitrate='Integer'))
SCHEMA = [dict(type='ItemPropertySchema', itemType=t, propertyName=p, valueType=k)
          for t, ps in KINDS.items() for p, k in ps.items()]


def texts(n=3000, words=25):
    r = random.Random(1)
    return [' '.join(r.choices(WORDS, cum_weights=WEIGHTS, k=words)) for _ in range(n)]


TEXTS = texts()


def item(i):
    "Item number `i`; every 5000th person is called the same"
    t = TEXTS[i * 7919 % len(TEXTS)]
    if i % 3 == 0:
        return dict(type='Person', firstName=f'First{i % 997}', lastName=f'Last{i // 3 % 5000}',
                    email=f'user{i}@example.org', displayName=f'First{i % 997} Last{i // 3 % 5000}',
                    gender='unknown', birthDate=i * 1000, starred=i % 2 == 0, itemDescription=t)
    if i % 3 == 1:
        return dict(type='EmailMessage', subject=f'Subject {i % 1009}', service='imap', externalId=f'mail-{i}',
                    dateSent=16 * 10**11 + i, dateReceived=16 * 10**11 + i + 1,
                    starred=False, content=t, keyword=f'keyword{i % 777}')
    return dict(type='Photo', caption=t, name=f'IMG_{i:07}.jpg', width=640 + i % 1000, height=480 + i % 700,
                channels=3, encoding='JPEG', mode='RGB', bitrate=i % 99)


def items(start, stop): return [item(i) for i in range(start, stop)]


def timed(f, clock=cpu):
    gc.collect()
    gc.disable()
    t = clock()
    out = f()
    t = clock() - t
    gc.enable()
    return t, out


def duel(ours, floor, rounds=9, clock=cpu):
    """Median ratio of two functions that are called in turns (pair by pair, since machines change their speed),
    and their median times"""
    pairs = [(timed(ours, clock)[0], timed(floor, clock)[0]) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs), *(statistics.median(x) for x in zip(*pairs))


# -- the four stores ---------------------------------------------------------------------------------------------------
def new_pod(home):
    pod = Pod('bench', KEY, home=home)
    pod.bulk(dict(createItems=SCHEMA))
    return pod


class Bare:
    "The floor: the same tables and indexes in SQLCipher, rows made beforehand, no checks"
    def __init__(self, home):
        self.path = Path(home) / 'bare.db'
        self.db = connect(self.path, cipher_key(KEY, None))
        for s in LAYOUT.split(';\n')[:-1]: self.db.execute(s)
        self.db.execute('pragma journal_mode=wal').fetchall()
        self.types = {t: i for i, t in enumerate(KINDS, 1)}
    def rows(self, its, ids):
        now = time.time_ns() // 10**6
        rows = [(i, self.types[d['type']], now, False,
                 msgspec.json.encode(dict(id=i, dateCreated=now, dateModified=now) | d).decode())
                for i, d in zip(ids, its)]
        return sorted(rows, key=lambda r: r[1])
    def insert(self, rows):
        self.db.execute('begin immediate')
        self.db.executemany(INSERT, rows)
        self.db.execute('commit')


class Eav:
    "One row per property, as the first Pod stored items: a table for each storage class, three indexes on it"
    def __init__(self, home):
        self.path = Path(home) / 'eav.db'
        self.db = connect(self.path, cipher_key(KEY, None))
        self.db.execute('pragma journal_mode=wal').fetchall()
        self.db.execute('''create table items(rowid integer primary key, id text not null unique, type text,
            dateCreated integer, dateModified integer, dateServerModified integer, deleted integer)''')
        self.db.execute('create index items_type on items(type, dateServerModified)')
        self.db.execute('create index items_date on items(dateServerModified)')
        self.db.execute('create table edges(self integer primary key, source integer, name text, target integer)')
        for ix in ('source, name', 'target, name'): self.db.execute(f'create index edges_{ix[:3]} on edges({ix})')
        for t in ('strings', 'integers', 'reals'):
            self.db.execute(f'create table {t}(item integer, name text, value)')
            for k, cols in (('unique', 'item, name'), ('', 'name, value'), ('', 'name, item')):
                self.db.execute(f'create {k} index {t}_{cols.replace(", ", "_")} on {t}({cols})')
        self.n = 0
    def table(self, v): return 'strings' if isinstance(v, str) else 'reals' if isinstance(v, float) else 'integers'
    def insert(self, its, ids):
        now = time.time_ns() // 10**6
        heads, props = [], dict(strings=[], integers=[], reals=[])
        for d, i in zip(its, ids):
            self.n += 1
            heads.append((self.n, i, d['type'], now, now, now, 0))
            for k, v in d.items():
                if k != 'type': props[self.table(v)].append((self.n, k, v))
        self.db.execute('begin immediate')
        self.db.executemany('insert into items values (?,?,?,?,?,?,?)', heads)
        everything = [p[:2] for ps in props.values() for p in ps]
        for t, ps in props.items():
            self.db.executemany(f'delete from {t} where item=? and name=?', everything)
            self.db.executemany(f'insert into {t} values (?,?,?)', ps)
        self.db.execute('commit')
    def full(self, row):
        out = dict(zip(('id', 'type', 'dateCreated', 'dateModified', 'dateServerModified', 'deleted'), row[1:]))
        for t in ('strings', 'integers', 'reals'):
            out.update(self.db.execute(f'select name, value from {t} where item=?', row[:1]).fetchall())
        self.db.execute('select source, name, target from edges where self=?', row[:1]).fetchone()
        return out
    def get(self, id): return self.full(self.db.execute('select * from items where id=?', (id,)).fetchone())
    def range(self, date):
        sql = 'select * from items where dateServerModified>=? order by dateServerModified, rowid limit 100'
        return [self.full(r) for r in self.db.execute(sql, (date,)).fetchall()]
    def eq(self, type, name, value):
        out = []
        sql = 'select * from items where type=? order by dateServerModified, rowid'
        for row in self.db.execute(sql, (type,)).fetchall():
            found = self.db.execute('select value from strings where item=? and name=?', (row[0], name)).fetchone()
            if found == (value,): out.append(self.full(row))
        return out
    def expand(self, ids):
        out = []
        for i in ids:
            row = self.db.execute('select * from items where id=?', (i,)).fetchone()
            d = self.full(row)
            d['[[edges]]'] = []
            sql = 'select self, name, target from edges where source=?'
            for self_, name, target in self.db.execute(sql, row[:1]).fetchall():
                edge = self.full(self.db.execute('select * from items where rowid=?', (self_,)).fetchone())
                end = self.full(self.db.execute('select * from items where rowid=?', (target,)).fetchone())
                d['[[edges]]'].append(edge | dict(_edge=name, _item=end))
            out.append(d)
        return out


# -- results -----------------------------------------------------------------------------------------------------------
GOALS = {  # gate: (what, goal, at least?)
    'E1': ('bulk create from dicts, against bare rows', .69, True),
    'E2': ('bulk create, JSON to JSON, against bare rows', .57, True),
    'E3a': ('get as JSON text, against bare select', 1.34, False),
    'E3b': ('get as dict, against bare select', 1.60, False),
    'E4': ('100 items as JSON, against bare fetch', 2.3, False),
    'E5': ('indexed search, against bare select', 1.42, False),
    'E6': ('full text to 20 items, against bare rowids', 2.5, False),
    'E7a': ('durable create, against bare insert (wall)', 1.05, False),
    'E7b': ('syncs of the disk per create', 1.02, False),
    'E8': ('file size, against JSON bytes', 1.29, False),
    'E9': ('bulk at this size, against 100k', 1.2, False),
    'R1a': ('bulk, EAV against ours', 10.7, True),
    'R1b': ('get, EAV against ours', 3.6, True),
    'R1c': ('range of 100, EAV against ours', 10.9, True),
    'R1d': ('expand 100, EAV against ours', 7.8, True),
    'R1e': ('unindexed =, EAV against ours', 4.4, True),
    'R2': ('file size, ours against EAV', .49, False),
    'P1a': ('bulk, sqlite-utils against ours', 1.68, True),
    'P1b': ('get, sqlite-utils against ours', 5.65, True),
    'C1': ('CPU of a call, ours against requests.Session', .29, False),
    'F1': ('seal and hash, against sha256 alone', .69, True),
    'W1': ('first unindexed search, wall seconds', .3, False)}
results = []


def report(size, gate, value, detail='', cost=None):
    "Note and print a figure; `cost` is what one operation of ours took, in seconds"
    what, goal, least = GOALS[gate]
    ok = value >= goal if least else value <= goal
    results.append(dict(items=size, gate=gate, what=what, value=round(value, 3), goal=goal, least=least, ok=bool(ok),
                        detail=detail, cost=cost and round(cost, 9)))
    print(f'{size:>9,}  {gate:4} {what:46} {value:8.2f}  {">=" if least else "<="} {goal:<5} '
          f'{"ok  " if ok else "MISS"}  {detail}', flush=True)


def us(t, n=1): return f'{t / n * 1e6:.1f} µs'


# -- the questions -----------------------------------------------------------------------------------------------------
def bulk(pod, bare, eav, size, pairs):
    "Fill all stores, a batch into each in turn; `pairs` gets the times of each batch, bare rows and ours"
    json_bytes, ids = 0, []
    for start in range(0, size, BATCH):
        its = items(start, min(size, start + BATCH))
        some = new_id.many(len(its))
        ids += some
        rows = bare.rows(its, some)
        full = [d | {'id': i} for d, i in zip(its, some)]
        # as an answer has them
        json_bytes += sum(len(r[4]) + len('"dateServerModified":1234567890123,"deleted":false,') for r in rows)
        text = msgspec.json.encode(dict(createItems=full))
        floor, _ = timed(lambda: bare.insert(rows))
        kind = 'json' if len(pairs['json']) < len(pairs['dict']) else 'dict'
        ours, out = timed(
            (lambda: pod.bulk_json(text)) if kind == 'json' else (lambda: pod.bulk(dict(createItems=full))))
        assert (msgspec.json.decode(out) if kind == 'json' else out)['createItems'] == some
        pairs[kind].append((floor / len(its), ours / len(its)))
        if eav: pairs['eav'].append((timed(lambda: eav.insert(its, some))[0] / len(its), ours / len(its)))
    return ids, json_bytes


def report_bulk(size, pairs, base):
    def ratio(kind): return statistics.median(a / b for a, b in pairs[kind][-40:])
    ours, floor = (statistics.median(p[i] for p in pairs['dict'][-40:]) for i in (1, 0))
    report(size, 'E1', ratio('dict'), f'{us(ours)} an item, bare {us(floor)}', ours)
    report(size, 'E2', ratio('json'), us(statistics.median(p[1] for p in pairs['json'][-40:])) + ' an item')
    if pairs['eav']: report(size, 'R1a', ratio('eav'), us(statistics.median(p[0] for p in pairs['eav'])) + ' an item')
    base[size] = ours / floor, ours
    if 100_000 in base and size > 100_000:
        bare = floor * base[100_000][0] / base[100_000][1]
        report(size, 'E9', ours / base[100_000][1], f'bare rows alone {bare:.2f}')


def sizes(pod, bare, eav, size, json_bytes):
    pod.vacuum()
    ours = (pod.folder / 'pod.db').stat().st_size
    report(size, 'E8', ours / json_bytes, f'{ours / 1e6:.1f} MB, {ours / size:.0f} bytes an item')
    if eav:
        eav.db.execute('pragma wal_checkpoint(truncate)').fetchall()
        report(size, 'R2', ours / eav.path.stat().st_size)


def gets(pod, bare, eav, size, ids):
    some = random.Random(2).sample(ids, 2000)
    get, sql, one = pod.find.get_json, 'select doc from items where id=?', bare.db.execute
    skip = ('dateCreated', 'dateModified', 'dateServerModified', 'deleted')
    both = get(some[0]), one(sql, (some[0],)).fetchone()[0]
    plain = [{k: v for k, v in json.loads(text).items() if k not in skip} for text in both]
    assert plain[0] == plain[1] and plain[0]['id'] == some[0]
    ratio, a, b = duel(lambda: [get(i) for i in some], lambda: [one(sql, (i,)).fetchone()[0] for i in some])
    report(size, 'E3a', ratio, f'{us(a, 2000)}, bare {us(b, 2000)}', a / 2000)
    ratio, c, b = duel(lambda: [pod.get_item(i) for i in some], lambda: [one(sql, (i,)).fetchone()[0] for i in some])
    report(size, 'E3b', ratio, us(c, 2000))
    if eav:
        known = some if size <= 200_000 else random.Random(2).sample(ids[:200_000], 2000)
        assert eav.get(known[0])['id'] == known[0]
        ratio, e, c = duel(lambda: [eav.get(i) for i in known], lambda: [pod.get_item(i) for i in known], 5)
        report(size, 'R1b', ratio, us(e, 2000))


def ranges(pod, bare, eav, size):
    dates = [r[0] for r in bare.db.execute('select distinct dateServerModified from items').fetchall()]
    sql = 'select distinct dateServerModified from items where dateServerModified>0'
    ours = [r[0] for r in pod.store.main.execute(sql).fetchall()]
    q = {'dateServerModified>=': ours[len(ours) // 2], '_limit': 100}
    sql = 'select doc from items where dateServerModified>=? order by dateServerModified, n limit 100'
    assert len(json.loads(pod.search_json(q))) == 100
    ratio, a, b = duel(lambda: [pod.search_json(q) for _ in range(50)],
                       lambda: [bare.db.execute(sql, (dates[len(dates) // 2],)).fetchall() for _ in range(50)])
    report(size, 'E4', ratio, f'{us(a, 50)}, bare {us(b, 50)}', a / 50)
    if eav:
        date = eav.db.execute('select dateServerModified from items order by dateServerModified limit 1 offset ?',
                              (eav.n // 2,)).fetchone()[0]
        assert len(eav.range(date)) == 100
        ratio, e, a = duel(lambda: [eav.range(date) for _ in range(5)], lambda: [pod.search_json(q) for _ in range(5)])
        report(size, 'R1c', ratio, us(e, 5))


def searches(pod, bare, eav, size):
    "The first search by a property is slow; the second makes the index; then it is quick"
    pod.find.slowness.clear()
    name = 'Last333'
    want = [i for i in range(0, size, 3) if i // 3 % 5000 == 333]
    q = {'type': 'Person', 'lastName': name}
    firsts = []
    for n in range(5):  # each time on fresh connections, so nothing was decrypted before
        pod.store.close()
        pod.store.open()
        pod.find.slowness.clear()
        t, out = timed(lambda: pod.search(q), wall)
        assert sorted(d['email'] for d in out) == sorted(f'user{i}@example.org' for i in want), 'wrong answer'
        firsts.append(t)
    first = statistics.median(firsts)
    report(size, 'W1', first, f'{len(want)} found of {size // 3:,} people', first)
    if eav and size <= 200_000:
        assert len(eav.eq('Person', 'lastName', name)) == len(want)
        pod.find.slow = 10**9
        ratio, e, a = duel(lambda: eav.eq('Person', 'lastName', name), lambda: pod.search_json(q), 3)
        report(size, 'R1e', ratio, f'{e * 1e3:.0f} ms, ours {a * 1e3:.0f} ms')
        del pod.find.slow
    pod.find.add_index(pod.store.types['Person'], 'lastName')
    bare.db.execute("create index by_name on items(json_extract(doc, '$.lastName')) where type=1")
    names = [f'Last{k % 5000}' for k in range(0, 5000 if size >= 15000 else size // 3, 17)]
    sql = "select doc from items indexed by by_name where type=1 and json_extract(doc, '$.lastName')=?"
    assert len(json.loads(pod.search_json(q))) == len(want)
    ratio, a, b = duel(lambda: [pod.search_json({'type': 'Person', 'lastName': x}) for x in names],
                       lambda: [bare.db.execute(sql, (x,)).fetchall() for x in names])
    report(size, 'E5', ratio, f'{us(a, len(names))}, bare {us(b, len(names))}', a / len(names))


def fulltext(pod, bare, size):
    t, _ = timed(pod.find.catch_up)
    print(f'           ({us(t, size)} an item to catch up with the full-text index)')
    words = WORDS[300:330]
    sql = 'select rowid from fts where fts match ? order by rank limit 20'
    ours = [{'_text': w, '_limit': 20} for w in words]
    db = pod.store.main
    for w in words[:3]: assert all(w in json.dumps(d) for d in pod.search({'_text': w, '_limit': 20}))
    ratio, a, b = duel(lambda: [pod.search_json(q) for q in ours],
                       lambda: [db.execute(sql, (f'"{w}"',)).fetchall() for w in words])
    report(size, 'E6', ratio, f'{us(a, len(words))}, bare {us(b, len(words))}', a / len(words))


def expand(pod, eav, size, ids):
    r = random.Random(3)
    known = ids[:min(size, 200_000)]
    pairs = [(r.choice(known), r.choice(known)) for _ in range(3 * min(size, 20_000))]
    hot = list(dict.fromkeys(s for s, _ in pairs))[:100]
    pairs += [(s, r.choice(known)) for s in hot for _ in range(2)]
    t, out = timed(lambda: pod.bulk(dict(createEdges=[dict(_source=s, _name='friend', _target=d) for s, d in pairs])))
    print(f'           ({us(t, len(pairs))} an edge)')
    if eav is None: return
    number = dict(eav.db.execute('select id, rowid from items').fetchall())
    eav.db.execute('begin')
    for (s, d), i in zip(pairs, new_id.many(len(pairs))):
        eav.n += 1
        eav.db.execute("insert into items values (?,?,'Edge',0,0,0,0)", (eav.n, i))
        eav.db.execute('insert into edges values (?,?,?,?)', (eav.n, number[s], 'friend', number[d]))
    eav.db.execute('commit')
    q = {'ids': hot, '[[edges]]': {}}
    ours, theirs = pod.search(q), eav.expand(hot)
    def ends(found): return [{e['_item']['id'] for e in d['[[edges]]']} for d in found]
    assert ends(ours) == ends(theirs)
    ratio, e, a = duel(lambda: eav.expand(hot), lambda: pod.search_json(q))
    edges = sum(len(d['[[edges]]']) for d in ours)
    report(size, 'R1d', ratio, f'{e * 1e3:.1f} ms, ours {a * 1e3:.2f} ms for {edges} edges')


def durable(pod, bare, size, home):
    one = [item(i) for i in range(0, 600, 3)]
    it = iter(range(10**9))
    def ours():
        for d in one: pod.create_item(d | {'id': new_id()})
    def floor():
        for d in one: bare.insert(bare.rows([d], [new_id()]))
    for db in (pod.store.main, bare.db): db.execute('pragma wal_checkpoint(truncate)').fetchall()
    os.sync()  # what was written before is not our business
    ratio, a, b = duel(ours, floor, 9, wall)
    report(size, 'E7a', ratio, f'{us(a, len(one))}, bare {us(b, len(one))}', a / len(one))
    n = syncs(home)
    if n is None: print('           E7b  not measured: no C compiler to count the syncs with')
    else: report(size, 'E7b', n)


SHIM = '''#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void note(void){
  const char*f=getenv("SYNC_LOG");
  if(f){
    int(*o)(const char*,int,...)=dlsym(RTLD_NEXT,"open");
    int d=o(f,02001);
    if(d>=0){if(write(d,".",1)){}close(d);}
  }
}
int fsync(int d){note();return((int(*)(int))dlsym(RTLD_NEXT,"fsync"))(d);}
int fdatasync(int d){note();return((int(*)(int))dlsym(RTLD_NEXT,"fdatasync"))(d);}
'''
CHILD = '''
import os, sys
sys.path.insert(0, {root!r})
from pymemri.engine.pod import Pod
pod = Pod('sync', '1f' * 32, home={home!r})
pod.create_item(dict(type='Dog'))
open(os.environ['SYNC_LOG'], 'w').close()
for i in range(500): pod.create_item(dict(type='Dog'))
print(os.path.getsize(os.environ['SYNC_LOG']) / 500)
os._exit(0)
'''


def syncs(home):
    "Calls of fsync and fdatasync per durable create, counted by a shim of the C library"
    cc = shutil.which('cc') or shutil.which('gcc')
    if not cc: return None
    (Path(home) / 'shim.c').write_text(SHIM)
    subprocess.run([cc, '-shared', '-fPIC', '-o', f'{home}/shim.so', f'{home}/shim.c', '-ldl'], check=True)
    env = os.environ | dict(LD_PRELOAD=f'{home}/shim.so', SYNC_LOG=f'{home}/syncs')
    child = CHILD.format(root=str(Path(__file__).parents[1]), home=str(home))
    out = subprocess.run([sys.executable, '-c', child], env=env, check=True, capture_output=True, text=True).stdout
    return float(out)


def peers(pod, size, home, ids):
    "sqlite-utils, not encrypted: what people would use instead"
    import sqlite_utils
    db = sqlite_utils.Database(Path(home) / 'peer.db')
    db.enable_wal()
    table, theirs, ours, n = db['items'], [], [], min(size, 30_000)
    with Pod('peer', KEY, home=home) as fresh:
        fresh.bulk(dict(createItems=SCHEMA))
        for start in range(0, n, BATCH):
            full = [d | {'id': i} for d, i in zip(items(start, min(n, start + BATCH)), new_id.many(BATCH))]
            theirs.append(timed(lambda: table.insert_all(full, pk='id', batch_size=BATCH, alter=True))[0])
            ours.append(timed(lambda: fresh.bulk(dict(createItems=full)))[0])
        assert table.count == n == fresh.count({'type': list(KINDS)})
        report(size, 'P1a', sum(theirs) / sum(ours), f'{us(sum(theirs), n)} an item, ours {us(sum(ours), n)}')
        some = random.Random(4).sample([d['id'] for d in full], 1000)
        assert table.get(some[0])['id'] == some[0]
        ratio, a, b = duel(lambda: [table.get(i) for i in some], lambda: [fresh.get_item(i) for i in some])
        report(size, 'P1b', ratio, f'{us(a, 1000)}, ours {us(b, 1000)}')
    db.close()


def http(size):
    "What a call costs the client, against a server that answers at once"
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    import requests
    from pymemri.pod.api import PodAPI
    class Echo(BaseHTTPRequestHandler):
        protocol_version, wbufsize = 'HTTP/1.1', -1  # head and body in one packet
        def do_POST(self):
            self.rfile.read(int(self.headers['Content-Length']))
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', '2')
            self.end_headers()
            self.wfile.write(b'[]')
        def log_message(self, *_): pass
    r, w = os.pipe()
    if not (child := os.fork()):
        server = ThreadingHTTPServer(('127.0.0.1', 0), Echo)
        os.write(w, str(server.server_port).encode())
        server.serve_forever()
    try:
        url, n = f'http://127.0.0.1:{os.read(r, 9).decode()}', 300
        api = PodAPI(KEY, 'bench', url)
        session, body = requests.Session(), dict(auth=dict(type='ClientAuth', databaseKey=KEY), payload='tree-0001')
        assert api.get_item('tree-0001') == session.post(f'{url}/v4/bench/get_item', json=body).json() == []
        ratio, a, b = duel(
            lambda: [api.get_item('tree-0001') for _ in range(n)],
            lambda: [session.post(f'{url}/v4/bench/get_item', json=body).json() for _ in range(n)], 5)
        report(size, 'C1', ratio, f'{us(a, n)}, requests {us(b, n)}')
    finally: os.kill(child, 9)


def sealing(size):
    from pymemri.crypto import open_chunks, pieces, random_key, seal_chunks
    data, key = os.urandom(1 << 20) * 64, random_key()
    sealed = b''.join(seal_chunks(key, data))
    assert b''.join(open_chunks(key, [sealed])) == data
    def ours():
        h = hashlib.sha256()
        def hashed():
            for p in pieces(data):
                h.update(p)
                yield p
        for _ in seal_chunks(key, hashed()): pass
        return h.hexdigest()
    assert ours() == hashlib.sha256(data).hexdigest()
    ratio, a, b = duel(ours, lambda: hashlib.sha256(data).hexdigest(), 7)
    report(size, 'F1', 1 / ratio, f'{64 * 1.048576 / a:.0f} MB/s, sha256 alone {64 * 1.048576 / b:.0f} MB/s')


def fill(size, home, pairs):
    "The stores, filled"
    pod, bare, eav = new_pod(home), Bare(home), Eav(home) if size <= 200_000 else None
    return pod, bare, eav, *bulk(pod, bare, eav, size, pairs)


def run(size, base):
    pairs = dict(dict=[], json=[], eav=[])
    # small stores are filled several times, for enough pairs
    for _ in range(2 + 200_000 // (3 * size + 1) if size < 200_000 else 0):
        with tempfile.TemporaryDirectory(prefix='pymemri-bench-') as home: fill(size, home, pairs)[0].close()
    home = tempfile.mkdtemp(prefix='pymemri-bench-')
    try:
        pod, bare, eav, ids, json_bytes = fill(size, home, pairs)
        report_bulk(size, pairs, base)
        sizes(pod, bare, eav, size, json_bytes)
        gets(pod, bare, eav, size, ids)
        ranges(pod, bare, eav, size)
        searches(pod, bare, eav, size)
        expand(pod, eav, size, ids)
        fulltext(pod, bare, size)
        durable(pod, bare, size, home)
        peers(pod, size, home, ids)
        pod.close()
    finally: shutil.rmtree(home, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--items', type=int, nargs='+', default=[10_000, 100_000, 1_000_000],
                   help='how many items; several sizes are run in turn')
    p.add_argument('--json', type=Path, help='write the figures there, too')
    args = p.parse_args()
    base = {}
    for size in args.items: run(size, base)
    http(0)
    sealing(0)
    missed = [r for r in results if not r['ok']]
    print(f'{len(results) - len(missed)} of {len(results)} goals hold')
    if args.json: args.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__': main()

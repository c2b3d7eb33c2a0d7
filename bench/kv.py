#!/usr/bin/env python
"""How fast is the key-value store? Each question is a ratio against raw LMDB, a dict, a bare log or redis-py on loopback, both
sides in one run. And what does a view of a Pod cost, whose entries are sealed?

    python bench/kv.py                       # 1M documents of 3 x 100 bytes: the record, some minutes
    python bench/kv.py --items 50000         # a quick look
    python bench/kv.py --json bench/kv.json  # keep the figures

Reads are wall time, each call timed; rounds are taken in turns, with fresh random keys. Every answer that is timed is checked.
Nothing here fails on a clock: the table says what holds.
"""
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != HERE] # http.py would stand for Python's own http
import argparse, json, random, shutil, socket, statistics, subprocess, tempfile, time
from dataclasses import asdict
from pathlib import Path

from pymemri.data.item import Item, unset
from pymemri.kv.clientoptions import ClientOptionsBuilder
from pymemri.kv.document import UPSERT, Event, IKVDocument, encode_event
from pymemri.kv.factory import create_new_reader, create_new_writer, create_store
from pymemri.kv.index import checked
from pymemri.kv.log import FileLog
from pymemri.pod.client import PodClient

FIELDS = ('one', 'two', 'three')
VIEW = 200_000 # items of the view, at most
wall = time.perf_counter


class Note(Item):
    "What the view is of"
    key: str = unset
    one: str = unset
    two: str = unset
    three: str = unset


def key(i): return f'user-{i:08}'
def value(i, f): return f'{f}-{i:08}-'.ljust(100, 'x')
def document(i): return IKVDocument({'id': key(i), **{f: value(i, f) for f in FIELDS}})


def p50(get, keys):
    "Median of single calls, in microseconds, and the 99th percentile"
    times = []
    for k in keys:
        t = wall()
        get(k)
        times.append(wall() - t)
    times.sort()
    return times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6


def in_turns(sides, n, rounds=9, size=2000, many=None):
    "p50 of each side: the median of its rounds; and p99"
    found = {name: [] for name in sides}
    for _ in range(rounds):
        for name, get in sides.items():
            keys = [key(random.randrange(n)) for _ in range(size)]
            if many: keys = [keys[i:i + many] for i in range(0, size, many)]
            found[name].append(p50(get, keys))
    return {name: [statistics.median(x) for x in zip(*rs)] for name, rs in found.items()}


class Redis:
    "redis-server on loopback, if there is one"
    def __init__(self, folder):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        self.process = subprocess.Popen(['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--save', '', '--dir', str(folder)],
                                        stdout=subprocess.DEVNULL)
        import redis
        self.client = redis.Redis(port=self.port, decode_responses=True)
        for _ in range(200):
            try:
                self.client.ping()
                break
            except redis.ConnectionError: time.sleep(0.05)
    def fill(self, n):
        for at in range(0, n, 5000):
            self.client.mset({f'{key(i)}:one': value(i, 'one') for i in range(at, min(n, at + 5000))})
    def close(self):
        self.process.terminate()
        self.process.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--items', type=int, nargs='*', default=[1_000_000])
    p.add_argument('--json', type=Path)
    args = p.parse_args()
    kept = [measure(n) for n in args.items]
    if args.json: args.json.write_text(json.dumps(kept, indent=1) + '\n')


def row(rows, question, ours, goal, holds, note=''):
    rows.append(dict(question=question, figure=ours, goal=goal, holds=bool(holds)))
    print(f'{"ok  " if holds else "MISS"} {question:<58} {ours:<34} {goal} {note}', flush=True)


def measure(n):
    "All questions, of one size"
    rows, home = [], Path(tempfile.mkdtemp(prefix='kv'))
    print(f'{n:,} documents, {len(FIELDS)} x 100 bytes', flush=True)
    os.environ['PYMEMRI_HOME'] = str(home / 'home')
    options = (ClientOptionsBuilder().with_account_id('a').with_account_passkey('b').with_store_name('c').with_mount_directory(str(home / 'm'))
               .build())
    create_store(options, 'id')
    redis = Redis(home) if shutil.which('redis-server') else None
    try:
        with create_new_writer(options) as writer: write(rows, n, writer, FileLog(home / 'bare'))
        reader = create_new_reader(options)
        start(rows, n, reader)
        read(rows, n, reader, redis)
        read_many(rows, n, reader, redis)
        beside_a_writer(rows, n, reader, options)
        reader.shutdown()
        view(rows, min(n, VIEW), home / 'pod')
    finally:
        if redis: redis.close()
        shutil.rmtree(home, ignore_errors=True)
    return dict(items=n, rows=rows)


def write(rows, n, writer, bare):
    "Durable batches of 1000, in turns with the bare file log given the same bytes"
    order, ours, floor = list(range(n)), [], []
    random.Random(1).shuffle(order)
    for at in range(0, n, 1000):
        batch = [document(i) for i in order[at:at + 1000]]
        t = wall()
        writer.batch_upsert_fields(batch)
        ours.append((wall() - t) / len(batch))
        if at < 100_000:
            events = [encode_event(Event(UPSERT, d.fields['id'], {f: d.fields[f] for f in FIELDS})) for d in batch]
            t = wall()
            bare.append(events)
            floor.append((wall() - t) / len(batch))
    rate, bare_rate = 1 / statistics.median(ours), 1 / statistics.median(floor)
    row(rows, 'durable upserts in batches of 1000, documents/s', f'{rate:,.0f} ({rate / bare_rate:.2f} of the bare log)', '>= 50,000 or >= 0.6',
        rate >= 50_000 or rate >= 0.6 * bare_rate)


def start(rows, n, reader):
    "The first start, which makes the index, and others"
    t = wall()
    reader.startup()
    rate = n / (wall() - t)
    row(rows, 'catch-up, events/s', f'{rate:,.0f}', '>= 30,000', rate >= 30_000)
    took = []
    for _ in range(7):
        reader.shutdown()
        t = wall()
        reader.startup()
        took.append(wall() - t)
    row(rows, 'open, ms', f'{statistics.median(took) * 1e3:.1f}', '< 10', statistics.median(took) < 0.010)
    reader.indexes[0].warm_up()


def bare_get(reader):
    "LMDB's own `get` in the reader's index, and the number of the field `one`"
    snap = reader.indexes[0].snapshot()
    return snap.txn.get, snap.texts['one']


def read(rows, n, reader, redis):
    "One value, against raw LMDB, a dict and Redis"
    raw, number = bare_get(reader)
    get, plain = reader.get_string_value, {key(i): value(i, 'one') for i in range(n)}
    assert get(key(7), 'one') == value(7, 'one') == checked(raw(key(7).encode() + number)).decode()
    sides = dict(ours=lambda k: get(k, 'one'), raw=lambda k: raw(k.encode() + number), dict=plain.get)
    if redis:
        redis.fill(n)
        sides['redis'] = lambda k: redis.client.get(f'{k}:one')
    found = in_turns(sides, n)
    (a, a99), (r, _), (d, _) = found['ours'], found['raw'], found['dict']
    row(rows, 'get_string_value p50, µs, and against a raw lmdb get', f'{a:.2f} ({a / r:.2f} x {r:.2f})', '<= 1.4', a / r <= 1.4, f'p99 {a99:.1f}')
    row(rows, 'against a plain dict', f'{a / d:.2f} x {d:.2f}', '(information)', True)
    if redis: row(rows, 'faster than redis-py GET', f'{found["redis"][0] / a:.1f} x ({found["redis"][0]:.1f} µs)', '>= 8', found['redis'][0] / a >= 8)


def read_many(rows, n, reader, redis):
    "A hundred values at once"
    raw, number = bare_get(reader)
    multi = dict(ours=lambda ks: list(reader.multiget_string_values(str_primary_keys=ks, field_names=['one'])),
                 raw=lambda ks: [raw(k.encode() + number) for k in ks])
    if redis: multi['redis'] = lambda ks: redis.client.mget([f'{k}:one' for k in ks])
    found = in_turns(multi, n, size=10_000, many=100)
    (m, _), (r, _) = found['ours'], found['raw']
    row(rows, 'multiget of 100, µs, and against a raw lmdb loop', f'{m:.0f} ({m / r:.2f} x {r:.0f})', '<= 1.4', m / r <= 1.4)
    if redis: row(rows, 'faster than redis-py MGET', f'{found["redis"][0] / m:.1f} x', '(information)', True)


def beside_a_writer(rows, n, reader, options):
    "Idle, and with a writer process, in turns"
    code = ('import sys; sys.path.insert(0, sys.argv[1]); import json, random; from kv import *\n'
            'from pymemri.kv.clientoptions import ClientOptions\n'
            'with create_new_writer(ClientOptions(**json.loads(sys.argv[2]))) as w:\n'
            f'    while True: w.batch_upsert_fields([document(random.randrange({n})) for _ in range(100)]); time.sleep(0.02)\n')
    get, idle, busy = dict(ours=lambda k: reader.get_string_value(k, 'one')), [], []
    for _ in range(3):
        idle.append(in_turns(get, n, 5)['ours'][0])
        child = subprocess.Popen([sys.executable, '-c', code, HERE, json.dumps(asdict(options))])
        time.sleep(1)
        busy.append(in_turns(get, n, 5)['ours'][0])
        child.kill()
        child.wait()
        reader.catch_up()
    ratio = statistics.median(b / i for b, i in zip(busy, idle))
    row(rows, 'p50 with a writer process against idle', f'{ratio:.2f}', '<= 1.3', ratio <= 1.3)


def view(rows, n, home):
    "A view of a Pod: how fast it is made, and what sealing costs, in turns with LMDB's own `get` of the sealed bytes and with the Pod"
    with PodClient(home=home, quiet=True) as client:
        client.add_to_schema(Note)
        for at in range(0, n, 10_000):
            client.api.bulk(create_items=[dict(type='Note', key=key(i), **{f: value(i, f) for f in FIELDS}) for i in range(at, min(n, at + 10_000))])
        t = wall()
        with client.view(Note, FIELDS, 'key') as made:
            row(rows, f'a view of {n:,} items is made, items/s', f'{n / (wall() - t):,.0f}', '(information)', True)
            made.index.warm_up()
            snap = made.index.snapshot()
            raw, names = snap.txn.get, {key(i): snap.schema.name(b'k', b's' + key(i).encode()) for i in range(n)}
            assert made.get(key(7)) == dict(key=key(7), **{f: value(7, f) for f in FIELDS})
            found = in_turns(dict(ours=made.get, raw=lambda k: raw(names[k])), n)
            pod = p50(lambda k: client.api.search({'type': 'Note', 'key': k}), [key(random.randrange(n)) for _ in range(200)])[0]
            (a, a99), (r, _) = found['ours'], found['raw']
            row(rows, 'view.get p50, µs, and against a raw lmdb get', f'{a:.2f} ({a / r:.1f} x {r:.2f})', '(information)', True, f'p99 {a99:.1f}')
            row(rows, 'view.get, faster than a search of the Pod', f'{pod / a:.0f} x ({pod:.0f} µs)', '(information)', True)
            snap.txn.abort()


if __name__ == '__main__': main()

#!/usr/bin/env python
"""What do blobs cost? A store on disk against plain files with fsync and the digest alone, and a blob server against a
request that does nothing, each with its floor in turns within one run.

    python bench/blobs.py                         # the record: 1,000 x 1 KiB and 100 x 1 MiB
    python bench/blobs.py --quick                 # few and small: does it run?
    python bench/blobs.py --json bench/blobs.json # keep the figures, for the docs

The server is a process of its own, on a store on disk with an index; this one is its client. Figures are medians of
several rounds, and each round has data of its own, so that nothing is there already. A store and plain files take turns. Every answer is checked for being
right. Nothing here fails on a clock: the table says what holds.
"""
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != HERE] # bench/http.py would stand for Python's own http
import argparse, hashlib, http.client, json, re, shutil, signal, statistics, subprocess, tempfile, time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pymemri.blobs.blobclient import Blob, batches
from pymemri.blobs.connection import connect
from pymemri.blobs.ref import ref_of
from pymemri.blobs.server import App, run
from pymemri.blobs.signing import new_signing_key
from pymemri.blobs.store import DiskBlobs
import pymemri.blobs.server as server_module

clock, KB, MB = time.perf_counter, 2**10, 2**20


# -- the server --------------------------------------------------------------------------------------------------------
class WithNoop(App):
    "The app, and POST /noop beside it: reads the body, answers, and does nothing else"
    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http' or scope['path'] != '/noop': return await super().__call__(scope, receive, send)
        while (await receive()).get('more_body'): pass
        await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]})
        await send({'type': 'http.response.body', 'body': b'[]'})


def serve(folder):
    "Serve a folder until it is stopped"
    server_module.App = WithNoop
    return run(DiskBlobs(folder), new_signing_key(), Path(folder) / 'index.sqlite', port=0)


class Server:
    "`with Server(folder) as url`: a process that serves it"
    def __init__(self, folder): self.args = [sys.executable, __file__, '--serve', str(folder)]
    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, text=True)
        return re.search(r'http://\S+/', self.process.stdout.readline())[0]
    def __exit__(self, *e):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


# -- measuring ---------------------------------------------------------------------------------------------------------
def took(f):
    "Seconds, and the result"
    start = clock()
    result = f()
    return clock() - start, result


def fresh(n, size):
    "`n` blobs that nobody has seen, as name and bytes"
    data = [os.urandom(size) for _ in range(n)]
    return [(ref_of(d), d) for d in data]


def each(f, blobs):
    "Call `f` with each name"
    for ref, _ in blobs: f(ref)


class Floor:
    "Plain files: each with its bytes and its folder synced, and digested once"
    def __init__(self, folder): self.folder = Path(folder)
    def put(self, blobs):
        dir = os.open(self.folder, os.O_RDONLY)
        for ref, data in blobs:
            hashlib.sha224(data).hexdigest()
            with open(self.folder / ref, 'wb') as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.fsync(dir)
        os.close(dir)
    def get(self, blobs):
        for ref, data in blobs:
            with open(self.folder / ref, 'rb', buffering=0) as f: found = f.read()
            assert hashlib.sha224(found).hexdigest() == ref[7:]


def embedded(home, n, size, rounds):
    "Seconds of put, put_many, get and stat of n blobs, and of the floors"
    floor, store, times = Floor(home / f'floor{size}'), DiskBlobs(home / f'store{size}'), {}
    floor.folder.mkdir()
    def note(name, f): times.setdefault(name, []).append(took(f)[0])
    def turns(**jobs):
        "Each job for a tenth of its blobs, then the next tenth: what the disk does beside is nobody's fault"
        total = dict.fromkeys(jobs, 0.)
        for k in range(10):
            for name, (f, blobs) in jobs.items():
                total[name] += took(lambda: f(blobs[k * n // 10:(k + 1) * n // 10]))[0]
        for name, t in total.items(): times.setdefault(name.replace('_', ' '), []).append(t)
    for _ in range(rounds):
        a, b, c = fresh(n, size), fresh(n, size), fresh(n, size)
        note('digest', lambda: [hashlib.sha224(d).hexdigest() for _, d in a])
        turns(floor_put=(floor.put, a), put=(lambda blobs: [store.put(d, r) for r, d in blobs], b))
        note('put_many', lambda: store.put_many(c))
        turns(floor_get=(floor.get, a), get=(partial(each, store.get), b)) # as the floor does, nothing is kept
        note('stat', lambda: [store.size(r) for r, _ in b])
        assert all(store.get(r) == d for r, d in c)
    return {name: statistics.median(t) for name, t in times.items()}


def over_http(url, n, size, rounds):
    "The same over HTTP, and a no-op POST"
    times, u = {}, urlsplit(url)
    def note(name, f): times.setdefault(name, []).append(took(f)[0])
    line = http.client.HTTPConnection(u.hostname, u.port)
    def noop():
        line.request('POST', '/noop', b'[]')
        line.getresponse().read()
    with connect(url) as conn:
        def idle(k=20):
            for _ in range(k): conn.http_session.post(f'{url}noop', data=b'[]')
        for _ in range(rounds):
            blobs = [Blob(d) for _, d in fresh(n, size)]
            refs = [b.blobref for b in blobs]
            t, _ = took(lambda: [noop() for _ in range(50)])
            times.setdefault('no-op, bare', []).append(t / 50)
            note('put', lambda: [conn.blobs._upload(b) for b in batches(blobs)])
            for _ in range(5): # in turns, as both are over in a moment
                times.setdefault('no-op', []).append(took(idle)[0] / 20)
                note('stat', lambda: conn.blobs.get_size_multi(*refs))
            note('get', lambda: each(conn.blobs.get, [(r, None) for r in refs]))
            note('get_multi', lambda: conn.blobs.get_multi(*refs))
            assert all(s == size for s in conn.blobs.get_size_multi(*refs).values())
            assert [b.data for b in conn.blobs.get_multi(*refs[:9]).values()] == [b.data for b in blobs[:9]]
    line.close()
    return {name: statistics.median(t) for name, t in times.items()}


# -- the run -----------------------------------------------------------------------------------------------------------
def gates(small, large, n_large, http_small, n_small):
    "What was promised, with what was measured"
    one = {k: f'{t / n_large * 1e3:.2f} ms' for k, t in large.items()}
    def gate(name, what, value, goal, least, detail):
        return dict(gate=name, what=what, value=round(value, 3), goal=goal, least=least, ok=bool(value >= goal if least else value <= goal), detail=detail)
    noop = http_small['no-op']
    rate = n_small / http_small['put']
    return [
        gate('B1', 'put of 1 MiB, against a plain file with fsync and digest', large['floor put'] / large['put'], .7, True,
             f'{one["put"]}, floor {one["floor put"]} each'),
        gate('B2', 'get of 1 MiB, against reading and digesting a plain file', large['floor get'] / large['get'], .8, True,
             f'{one["get"]}, floor {one["floor get"]} each'),
        gate('B3', 'batched put of 1 KiB over HTTP: blobs in the time of a no-op POST', rate * noop, 5, True,
             f'{rate:,.0f} a second where a no-op takes {noop * 1e3:.2f} ms; plain files with fsync {n_small / small["floor put"]:,.0f}'),
        gate('B4', 'stat of 1,000 in one request, in no-op POSTs', http_small['stat'] / noop * 1000 / n_small, 15, False,
             f'{http_small["stat"] * 1e3:.1f} ms for {n_small:,}')]


def table(results):
    "The figures, for people"
    for g in results['gates']:
        print(f'{g["gate"]}  {"holds" if g["ok"] else "FAILS"}  {g["value"]:8.2f} ({"at least" if g["least"] else "at most"} {g["goal"]})  {g["what"]}: {g["detail"]}')
    for o in results['operations']:
        print(f'    {o["where"]:9} {o["name"]:12} {o["n"]:5,} x {o["size"] // KB:5,} KiB  {o["seconds"]:9.4f} s  {o["n"] / o["seconds"]:10,.0f}/s  '
              f'{o["n"] * o["size"] / MB / o["seconds"]:8,.0f} MiB/s')


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--quick', action='store_true', help='one round of few blobs')
    p.add_argument('--rounds', type=int, default=5, help='of everything (%(default)s)')
    p.add_argument('--json', type=Path, help='write the figures there, too')
    p.add_argument('--serve', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve: return serve(args.serve)
    sizes = dict(small=(50, KB), large=(5, MB)) if args.quick else dict(small=(1000, KB), large=(100, MB))
    rounds, results = 1 if args.quick else args.rounds, dict(operations=[])
    home = Path(tempfile.mkdtemp(prefix='blobs-'))
    try:
        alone = {k: embedded(home, n, size, rounds) for k, (n, size) in sizes.items()}
        os.sync() # what the system has still to write of that would slow down the server
        with Server(home / 'served') as url: served = {k: over_http(url, n, size, rounds) for k, (n, size) in sizes.items()}
    finally: shutil.rmtree(home)
    for where, times in (('embedded', alone), ('HTTP', served)):
        for k, (n, size) in sizes.items():
            results['operations'] += [dict(where=where, name=name, n=1 if 'no-op' in name else n, size=0 if 'no-op' in name else size,
                                           seconds=round(t, 6)) for name, t in times[k].items()]
    results['gates'] = gates(alone['small'], alone['large'], sizes['large'][0], served['small'], sizes['small'][0])
    table(results)
    if args.json: args.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__': sys.exit(main())

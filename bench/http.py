#!/usr/bin/env python
"""What does HTTP cost? The Pod server against an endpoint that does nothing on the same server, and against the
embedded Pod, both sides in turns within one run.

    python bench/http.py                        # the record, some five minutes
    python bench/http.py --quick                # one round of everything
    python bench/http.py --json bench/http.json # keep the figures, for the docs

The server is a process of its own, and this one is its client: raw connections that are kept alive, as light as they
can be. Times are wall clock as the client sees them; server CPU is that of the server's process. Each figure is the
median of several rounds, taken in turns with its floor. Every answer is checked for being right. Nothing here fails
on a clock: the table says what holds.
"""
import os, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or '.') != HERE] # this file would stand for Python's own http
import argparse, base64, hashlib, importlib.util, itertools, json, random, re, selectors, shutil, socket, statistics
import subprocess, tempfile, time
import http.client
from pathlib import Path
from types import SimpleNamespace

import msgspec
import requests

from pymemri.core import now_ms
from pymemri.engine import files
from pymemri.engine.pod import Pod
from pymemri.server.app import App
from pymemri.server.serve import serve
from pymemri.server.settings import Settings

spec = importlib.util.spec_from_file_location('bench_pod', f'{HERE}/pod.py')
spec.loader.exec_module(data := importlib.util.module_from_spec(spec))
KEY, SCHEMA, items = data.KEY, data.SCHEMA, data.items
AUTH = dict(type='ClientAuth', databaseKey=KEY)
MB = 2**20
clock = time.perf_counter


# -- the server --------------------------------------------------------------------------------------------------------
class WithNoop:
    """The app, and POST /noop beside it: an endpoint in ASGI that reads the body, answers, and does nothing else. A get
    may be answered before ASGI begins (`at_once`), as it is in any server of Pods"""
    HEAD = [(b'content-type', b'application/json'), (b'content-length', b'2')]
    def __init__(self, settings):
        self.app = App(settings)
        self.close, self.at_once, self.at_once_head = self.app.close, self.app.at_once, self.app.at_once_head
    def __call__(self, scope, receive, send):
        noop = scope['type'] == 'http' and scope['path'] == '/noop'
        return self.noop(receive, send) if noop else self.app(scope, receive, send)
    async def noop(self, receive, send):
        while (await receive()).get('more_body'): pass
        await send({'type': 'http.response.start', 'status': 200, 'headers': self.HEAD})
        await send({'type': 'http.response.body', 'body': b'[]'})


class Nowhere:
    "A blob store that reads what it is given and keeps nothing"
    def __init__(self, path): self.names = map('sha224-{:056x}'.format, itertools.count())
    def put(self, data):
        for part in data: pass
        return next(self.names)
    def size(self, ref): return 0
    def remove(self, ref): pass


class WithoutDisk(App):
    "The app, which does all that it does with a file except to keep it"
    def __init__(self, settings):
        files.DiskBlobs = Nowhere
        super().__init__(settings)


APPS = dict(noop=WithNoop, nowhere=WithoutDisk)


class Server:
    "A server process; `with Server(home) as s: s.port`"
    def __init__(self, home, app='noop', **settings):
        self.log = open(Path(home) / 'server.log', 'wb')
        said = json.dumps(dict(data_folder=str(home), port=0, non_tls=True) | settings)
        self.process = subprocess.Popen([sys.executable, '-P', __file__, '--serve', app, said], stdout=subprocess.PIPE,
                                        stderr=self.log)
        line = self.process.stdout.readline().decode()
        if not line: raise SystemExit(Path(self.log.name).read_text())
        self.port = int(re.search(r':(\d+) ', line)[1])
    def __enter__(self): return self
    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(30)
        self.log.close()
        faults = [t for t in Path(self.log.name).read_text().splitlines() if '"event":"fault"' in t.replace(' ', '')]
        assert code == 0 and not faults, (code, faults[:3])
    def cpu(self):
        "Seconds of processor time that it has taken"
        if sys.platform == 'linux': return time.clock_gettime(~self.process.pid << 3 | 2) # its clock, in nanoseconds
        import psutil
        return sum(psutil.Process(self.process.pid).cpu_times()[:2])
    def ask(self, op, payload, owner='bench', wire='v5'):
        "An answer, decoded"
        one = http.client.HTTPConnection('127.0.0.1', self.port)
        one.request('POST', f'/{wire}/{owner}/{op}', msgspec.json.encode(dict(auth=AUTH, payload=payload)))
        got = one.getresponse()
        body = got.read()
        one.close()
        assert got.status == 200, body[:400]
        return msgspec.json.decode(body)


def request(path, body):
    "The bytes of a request"
    return b'POST %b HTTP/1.1\r\nHost: pod\r\nContent-Length: %d\r\n\r\n%b' % (path.encode(), len(body), body)


def asking(op, payload, owner='bench', wire='v5'):
    return request(f'/{wire}/{owner}/{op}', msgspec.json.encode(dict(auth=AUTH, payload=payload)))


# -- the client --------------------------------------------------------------------------------------------------------
LENGTH = re.compile(rb'content-length: (\d+)', re.I)


class Line:
    "A connection: asks, waits for all of the answer, checks it, and asks again"
    def __init__(self, port, each):
        self.socket, self.each = socket.create_connection(('127.0.0.1', port)), each
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def ask(self):
        wanted, self.check = next(self.each)
        self.missing, self.parts, self.start = None, [], clock()
        self.socket.sendall(wanted)
    def read(self):
        "What has come; how long it took, if that was the last of it"
        part = self.socket.recv(2**18)
        if self.missing is None:
            self.head, _, part = part.partition(b'\r\n\r\n') # uvicorn writes the head at once
            self.missing = int(LENGTH.search(self.head)[1])
        self.parts.append(part)
        self.missing -= len(part)
        if self.missing > 0: return None
        took, body = clock() - self.start, b''.join(self.parts)
        assert self.head.startswith(b'HTTP/1.1 200') and self.check(body), f'wrong: {self.head[:40]} {body[:300]}'
        return took


def drive(server, each, clients=1, seconds=.4):
    """Ask for so long; what came of it. `each` gives requests and what checks their answers. A plain loop, as an event
    loop would cost more than the server: then the endpoint that does nothing waits, and looks cheaper than it is. The
    loop never sleeps: to wake up a client is work that the system counts as the server's, and the more so the longer an
    answer takes"""
    times, lines, until = [], [Line(server.port, each) for _ in range(clients)], clock() + seconds
    start, cpu = clock(), server.cpu()
    with selectors.DefaultSelector() as ready:
        for line in lines:
            line.ask()
            ready.register(line.socket, selectors.EVENT_READ, line)
        while lines:
            for key, _ in ready.select(0):
                if (took := key.data.read()) is None: continue
                times.append(took)
                if clock() < until: key.data.ask()
                else:
                    ready.unregister(key.fileobj)
                    lines.remove(key.data)
                    key.fileobj.close()
    n, took, cpu = len(times), clock() - start, server.cpu() - cpu
    times.sort()
    return SimpleNamespace(n=n, rate=n / took, p50=times[n // 2], p99=times[n * 99 // 100], cpu=cpu / n)


def middle(rounds, name): return statistics.median(getattr(r, name) for r in rounds)


# -- what is asked -----------------------------------------------------------------------------------------------------
def noop(body): return itertools.repeat((request('/noop', body), lambda got: got == b'[]'))


def gets(ids, wire):
    asked = [(asking('get_item', i, wire=wire), lambda got, i=f'"id":"{i}"'.encode(): i in got and got[-2:] == b'}]')
             for i in random.Random(2).sample(ids, 2000)]
    return itertools.cycle(asked)


def searches(dates, wire):
    asked = [(asking('search', {'dateServerModified>=': d, '_limit': 100}, wire=wire),
              lambda got: got.count(b'"dateServerModified":') == 100) for d in dates]
    return itertools.cycle(asked)


class Creates:
    "New items, of which the server gives the ids; they are counted"
    def __init__(self, wire, many=0):
        self.owner, self.n, self.ids = f'new-{wire}-{many}', 0, []
        its = items(0, many or 1)
        op, payload = ('bulk', dict(createItems=its)) if many else ('create_item', its[0])
        self.request, self.many = asking(op, payload, self.owner, wire), many
    def __iter__(self): return self
    def __next__(self):
        self.n += self.many or 1
        return self.request, self.check
    def check(self, got):
        self.ids.append(got)
        return len(got) == (len('{"createItems":[],"createEdges":[],"search":[]}') + 35 * self.many - 1
                            if self.many else 34)
    def settle(self, server):
        "Everything that was asked for is there, once"
        assert len(set(self.ids)) * (self.many or 1) == self.n, (len(set(self.ids)), self.n)
        there = server.ask('count', dict(type=list(data.KINDS)), self.owner)
        assert there == self.n, (there, self.n)


# -- results -----------------------------------------------------------------------------------------------------------
GOALS = { # gate: (what, goal, at least?)
    'H1': ('get, against no-op, with requests.Session (p50)', 1.18, False),
    'H2': ('bulk of 10k, embedded against HTTP (wall)', .86, True),
    'H3': ('get, opened for each request against kept open (p50)', 2.0, True),
    'H4': ('server CPU of a get, against no-op', 2.0, False),
    'F2': ('upload without a disk, against sha256 alone', .51, True)}
results = dict(gates=[], operations=[], clients=[], owners=[], uploads=[])


def report(gate, value, detail=''):
    what, goal, least = GOALS[gate]
    ok = value >= goal if least else value <= goal
    results['gates'].append(dict(gate=gate, what=what, value=round(value, 3), goal=goal, least=least, ok=bool(ok),
                                 detail=detail))
    print(f'{gate:4} {what:54} {value:6.2f}  {">=" if least else "<="} {goal:<5} {"ok  " if ok else "MISS"}  {detail}',
          flush=True)


def row(kind, name, more, **figures):
    "Note and print a line of a table"
    results[kind].append(dict(name=name, **{k: round(v, 9) for k, v in figures.items()}))
    print(f'{name:>18}  {more}', flush=True)


def us(t): return f'{t * 1e6:,.0f}'


# -- the questions -----------------------------------------------------------------------------------------------------
def operations(server, ids, dates, rounds):
    "Each operation on each wire in turns with the endpoint that does nothing: one client, then sixteen"
    print(f'\n{"":18}  {"p50 µs":>9} {"p99 µs":>9} | {"16: req/s":>10} {"p99 µs":>9} {"CPU µs":>8} | CPU against no-op')
    body = msgspec.json.encode(dict(auth=AUTH, payload=ids[0]))
    for op, wire in itertools.product(('get', 'create', 'search of 100', 'bulk of 1,000'), ('v5', 'v4')):
        new = Creates(wire, 1000 if op.startswith('bulk') else 0) if op[0] in 'cb' else None
        each = new or (gets(ids, wire) if op == 'get' else searches(dates, wire))
        if new: server.ask('bulk', dict(createItems=SCHEMA), new.owner)
        drive(server, each, seconds=.1) # warm
        alone, many, floor, floors, shares = [], [], [], [], []
        for _ in range(rounds):
            floor.append(drive(server, noop(body)))
            alone.append(drive(server, each))
            floors.append(drive(server, noop(body), 16))
            many.append(drive(server, each, 16))
            shares.append(many[-1].cpu / floors[-1].cpu)
        if new: new.settle(server)
        if op == 'get' and wire == 'v5': told('no-op', floor, floors, [1])
        told(f'{op}, {wire}', alone, many, shares)
        if op == 'get':
            ratio = statistics.median(shares)
            if wire == 'v5': gate = ratio, f'{us(middle(many, "cpu"))} µs, no-op {us(middle(floors, "cpu"))} µs'
            else: gate = max(ratio, gate[0]), gate[1] + f'; v4 {ratio:.2f}'
    return gate


def told(name, alone, many, shares):
    a = {k: middle(alone, k) for k in ('p50', 'p99')}
    m = {k: middle(many, k) for k in ('rate', 'p99', 'cpu')}
    share = statistics.median(shares)
    row('operations', name, f'{us(a["p50"]):>9} {us(a["p99"]):>9} | {m["rate"]:10,.0f} {us(m["p99"]):>9} '
        f'{us(m["cpu"]):>8} | {share:.2f}', p50=a['p50'], p99=a['p99'], rate=m['rate'], p99_of_16=m['p99'],
        cpu=m['cpu'], against_noop=share)


def by_requests(server, ids, rounds):
    "H1: one call after the other, as most Python programs make them"
    session, url = requests.Session(), f'http://127.0.0.1:{server.port}'
    some = random.Random(3).sample(ids, 200)
    bodies = [msgspec.json.encode(dict(auth=AUTH, payload=i)) for i in some]
    def once(path, body):
        t = clock()
        got = session.post(url + path, data=body).content
        return clock() - t, got
    pairs = []
    for wire in ('v5', 'v4') * rounds:
        times = [], []
        for id, body in zip(some, bodies):
            for path, kept in zip(('/noop', f'/{wire}/bench/get_item'), times):
                t, got = once(path, body)
                assert got == b'[]' if path == '/noop' else id.encode() in got
                kept.append(t)
        pairs.append([statistics.median(t) for t in times])
    report('H1', statistics.median(b / a for a, b in pairs), ', '.join(
        f'{what} {us(statistics.median(p[k] for p in pairs))} µs' for what, k in (('no-op', 0), ('get', 1))))


def bulks(server, home, rounds):
    "H2: ten thousand items at once, in turns with a Pod in this process"
    pod, took = Pod('embedded', KEY, home=home), []
    pod.bulk(dict(createItems=SCHEMA))
    server.ask('bulk', dict(createItems=SCHEMA), 'bulk')
    line = http.client.HTTPConnection('127.0.0.1', server.port)
    for k in range(rounds * 2 + 1):
        payload = msgspec.json.encode(dict(createItems=items(k * 10_000, k * 10_000 + 10_000)))
        body = b'{"auth":%b,"payload":%b}' % (msgspec.json.encode(AUTH), payload)
        start = clock()
        pod.bulk_json(payload)
        own = clock() - start
        start = clock()
        line.request('POST', '/v5/bulk/bulk', body)
        got = line.getresponse()
        answer = got.read()
        theirs = clock() - start
        assert got.status == 200 and answer.count(b',') == 10_001, answer[:300]
        if k: took.append((own, theirs)) # the first one is warming up
    assert server.ask('count', dict(type=list(data.KINDS)), 'bulk') == (rounds * 2 + 1) * 10_000
    pod.close()
    own, theirs = (statistics.median(t[i] for t in took) for i in (0, 1))
    report('H2', statistics.median(a / b for a, b in took),
           f'{1e4 / theirs:,.0f} items/s, embedded {1e4 / own:,.0f}; body of {len(body) / MB:.1f} MiB')


def opening(server, ids, rounds):
    "H3: what it takes to open the Pod for each request"
    with tempfile.TemporaryDirectory(prefix='pymemri-bench-') as home:
        fill(home, 10_000)
        found = []
        with Server(home, keep_open=0) as strict:
            there = [i['id'] for i in strict.ask('search', dict(type='Person', _limit=2500))]
            for _ in range(rounds): found.append((drive(strict, gets(there, 'v5')), drive(server, gets(ids, 'v5'))))
    report('H3', statistics.median(a.p50 / b.p50 for a, b in found),
           f'{us(middle([a for a, _ in found], "p50"))} µs, kept open {us(middle([b for _, b in found], "p50"))} µs')


def uploads(rounds, size):
    "F2: a file through the server, which seals it and keeps nothing, and then onto a disk in memory"
    content, shm = random.Random(4).randbytes(MB) * (size // MB), Path('/dev/shm')
    for app in ('nowhere', 'noop'):
        with tempfile.TemporaryDirectory(prefix='pymemri-bench-', dir=shm if shm.is_dir() else None) as home, \
                Server(home, app) as server:
            took = [upload(server, content, app != 'nowhere' and not k) for k in range(rounds + 1)][1:] # one to warm up
        alone, sent = (statistics.median(t[i] for t in took) for i in (0, 1))
        ratio, speed = statistics.median(a / b for a, b in took), f'{size / MB / sent:,.0f} MiB/s'
        if app == 'nowhere':
            report('F2', ratio, f'{speed}, sha256 alone {size / MB / alone:,.0f} MiB/s, {size // MB} MiB')
            results['uploads'].append(dict(name='kept nowhere', rate=size / sent, against_sha256=ratio))
        else:
            where = 'to a disk in memory' if shm.is_dir() else 'to the disk of temporary files'
            results['uploads'].append(dict(name=where, rate=size / sent, against_sha256=ratio))
            print(f'{"":4} {"the same, " + where:54} {ratio:6.2f}{"":15} {speed}', flush=True)


def upload(server, content, check):
    "Seconds to digest a file here, and to upload it; perhaps it is read back, too"
    auth = b'Pod ' + base64.urlsafe_b64encode(msgspec.json.encode(AUTH))
    start = clock()
    digest = hashlib.sha256(content).hexdigest()
    alone = clock() - start
    id = server.ask('create_item', dict(type='File', sha256=digest))
    line = http.client.HTTPConnection('127.0.0.1', server.port, blocksize=MB)
    start = clock()
    line.request('POST', f'/v5/bench/upload_file/{digest}', content, {'Authorization': auth})
    got = line.getresponse()
    assert got.read() == b'{}' and got.status == 200
    sent = clock() - start
    if check:
        line.request('POST', '/v5/bench/get_file', msgspec.json.encode(dict(auth=AUTH, payload=dict(sha256=digest))))
        assert hashlib.sha256(line.getresponse().read()).hexdigest() == digest
    line.close()
    assert server.ask('purge', dict(ids=[id])) == dict(purged=1)
    return alone, sent


def growth(server, ids, rounds, owners=(1, 100, 1000)):
    "How requests/s grow with clients and with owners"
    print(f'\n{"get, clients":>18}  {"req/s":>10} {"p50 µs":>9} {"p99 µs":>9}')
    for n in (1, 4, 16, 64): line('clients', n, [drive(server, gets(ids, 'v5'), n) for _ in range(rounds)])
    print(f'\n{"get, owners":>18}  {"req/s":>10} {"p50 µs":>9} {"p99 µs":>9}    of 16 clients')
    kept = []
    for n in owners:
        for k in range(len(kept), n): kept.append((f'owner-{k}', server.ask('create_item', dict(type='Note'), f'owner-{k}')))
        asked = [(asking('get_item', i, o), lambda got, i=f'"id":"{i}"'.encode(): i in got) for o, i in kept[:n]]
        random.Random(5).shuffle(asked)
        each, left = itertools.cycle(asked), 2 * n
        while left > 0: left -= drive(server, each, 16, .5).n # those that were closed meanwhile are opened
        line('owners', n, [drive(server, each, 16) for _ in range(rounds)])


def line(kind, n, rounds):
    f = {k: middle(rounds, k) for k in ('rate', 'p50', 'p99', 'cpu')}
    row(kind, f'{n:,}', f'{f["rate"]:10,.0f} {us(f["p50"]):>9} {us(f["p99"]):>9}', **f)


def fill(home, n):
    "A Pod with `n` items, each of a millisecond of its own; their ids and dates"
    tick = itertools.count(now_ms() - 10 * n)
    with Pod('bench', KEY, home=home, clock=lambda: next(tick)) as pod:
        pod.bulk(dict(createItems=SCHEMA))
        with pod.store.write():
            for it in items(0, n):
                with pod.store.step(): pod.create([it])
        found = pod.search(dict(type=list(data.KINDS)))
        assert len(found) == n == len({i['dateServerModified'] for i in found})
    return [i['id'] for i in found], [i['dateServerModified'] for i in found]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--quick', action='store_true', help='one round of everything, on fewer items')
    p.add_argument('--items', type=int, help='in the Pod that is asked; default: 100,000, or 5,000 if quick')
    p.add_argument('--json', type=Path, help='write the figures there, too')
    p.add_argument('--serve', nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve: return serve(Settings(**json.loads(args.serve[1])), APPS[args.serve[0]])
    rounds, n = (1, 5000) if args.quick else (7, 100_000)
    n = results['items'] = args.items or n
    home = tempfile.mkdtemp(prefix='pymemri-bench-')
    try:
        ids, dates = fill(home, n)
        with Server(home) as server:
            cpu = operations(server, ids, random.Random(6).sample(dates[:-100], 50), rounds)
            print()
            by_requests(server, ids, rounds)
            bulks(server, home, rounds)
            opening(server, ids, rounds)
            report('H4', *cpu)
            uploads(rounds, (64 if args.quick else 512) * MB)
            growth(server, ids, rounds, (1, 100) if args.quick else (1, 100, 1000))
    finally: shutil.rmtree(home, ignore_errors=True)
    gates = results['gates']
    print(f'\n{sum(r["ok"] for r in gates)} of {len(gates)} goals hold')
    if args.json: args.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__': sys.exit(main())

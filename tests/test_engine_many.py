"""Many threads and processes at one Pod: nothing is lost or seen half, nobody is told that something is locked."""
import multiprocessing as mp, os, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import writers
from writers import KEY, OWNER, SCHEMA, Pod

from pymemri.core import Unavailable
from pymemri.engine import query

LONG = 120 # seconds; whatever takes so long hangs
spawn = mp.get_context('spawn')


@pytest.fixture
def pod(tmp_path):
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        pod.bulk(dict(createItems=SCHEMA))
        yield pod
        assert pod.integrity_check() == []


class Crowd:
    "Processes that begin at the same time, with this one; at the end all must have come through"
    def __init__(self, *works):
        self.gate = spawn.Barrier(len(works) + 1)
        self.processes = [spawn.Process(target=target, args=(self.gate, *args), daemon=True) for target, *args in works]
    def __enter__(self):
        for p in self.processes: p.start()
        self.gate.wait(LONG)
        return self
    def __exit__(self, kind, *_):
        for p in self.processes: p.kill() if kind else p.join(LONG)
        assert kind or [p.exitcode for p in self.processes] == [0] * len(self.processes)
    def busy(self): return any(p.is_alive() for p in self.processes)


def in_threads(n, f):
    "`f(0)` to `f(n-1)` at the same time; their results"
    gate = threading.Barrier(n)
    def begin(k):
        gate.wait(LONG)
        return f(k)
    with ThreadPoolExecutor(n) as pool: return list(pool.map(begin, range(n)))


def test_no_update_is_lost(pod, tmp_path):
    "Who changes one property leaves the others as they are, whoever is changing them at the moment"
    names = [f'n{k}' for k in range(6)]
    pod.bulk(dict(createItems=[dict(type='ItemPropertySchema', itemType='Thing', propertyName=n, valueType='Integer')
                               for n in names]))
    id = pod.create_item(dict(type='Thing', name='all'))
    def here(k):
        for _ in range(60): pod.update_item({'id': id, names[3 + k]: pod.get_item(id)[0].get(names[3 + k], 0) + 1})
    with Crowd(*[(writers.count_up, tmp_path, id, n, 60) for n in names[:3]]): in_threads(3, here)
    item, = pod.get_item(id)
    assert [item[n] for n in names] == [60] * 6 and item['name'] == 'all'


def test_edges_stand_once(pod, tmp_path):
    ids = pod.bulk(dict(createItems=[dict(type='Thing', name=str(k)) for k in range(30)]))['createItems']
    edges = [dict(_source=a, _target=b, _name='friend') for a, b in zip(ids, ids[1:])]
    with Crowd(*[(writers.draw, tmp_path, edges)] * 3): in_threads(2, lambda k: [pod.create_edge(e) for e in edges])
    assert [[e['item']['id'] for e in pod.get_edges(dict(item=i, direction='Outgoing', expandItems=False))]
            for i in ids] == [[i] for i in ids[1:]] + [[]]


def test_come_and_go(tmp_path):
    "Opening a Pod that others make, open, leave at the same moment"
    with Crowd(*[(writers.come_and_go, tmp_path, 20)] * 3): pass
    with Pod(OWNER, KEY, home=tmp_path, create=False) as pod:
        assert pod.count(dict(type='Thing')) == 60 and pod.integrity_check() == []
        assert pod.count(dict(type='ItemPropertySchema', itemType='Thing')) == len(SCHEMA), 'a definition stands twice'


def test_all_at_once(pod, tmp_path):
    "Everything that programs do, by three processes and three threads: no error"
    def here(k):
        mix = ['create', 'bulk', 'update', 'edge', 'file', 'text', 'delete']
        for _, call in zip(range(60), writers.calls(writers.random.Random(k), mix, [])):
            getattr(pod, call[0])(*call[1:])
    with Crowd(*[(writers.work, tmp_path, 10 + k, 60) for k in range(3)]): in_threads(3, here)


def test_busy(pod, tmp_path):
    "Waiting has an end, and that is told; reading never waits"
    id = pod.create_item(dict(type='Thing', name='a'))
    with Pod(OWNER, KEY, home=tmp_path, wait=.1) as other:
        with pod.store.write():
            pod.update_item(dict(id=id, name='b'))
            for write in (lambda: other.update_item(dict(id=id, name='c')),
                          lambda: other.bulk(dict(createItems=[dict(type='Thing')])), lambda: other.rekey('b2' * 32)):
                with pytest.raises(Unavailable, match='busy|open in another'): write()
            assert other.get_item(id)[0]['name'] == other.search(dict(id=id))[0]['name'] == 'a'
        with pytest.raises(Unavailable, match='open in another'): other.rekey('b2' * 32)
        assert other.get_item(id)[0]['name'] == 'b'
        other.update_item(dict(id=id, name='c'))
        assert pod.get_item(id)[0]['name'] == 'c'


def test_readers_see_all_or_nothing(pod, tmp_path):
    "While others change all items to one number after the other, every search sees one number"
    ids = pod.bulk(dict(createItems=[dict(type='Thing', count=-1) for _ in range(300)]))['createItems']
    seen = set()
    with Pod(OWNER, KEY, home=tmp_path) as other, Crowd((writers.flip, tmp_path, ids, 40),
                                                        (writers.flip, tmp_path, ids, 40)) as crowd:
        def look(k):
            while crowd.busy():
                found = (pod, other)[k % 2].search(dict(type='Thing', _sort='name') if k < 2 else {'ids': ids})
                assert len(found) == 300 and len({i['count'] for i in found}) == 1, 'half a bulk was seen'
                seen.add(found[0]['count'])
        in_threads(3, look)
    assert seen


def test_scan_in_parts_is_of_one_moment(pod, tmp_path, monkeypatch):
    "A search that reads parts of a type with several threads sees pairs that were made together, together"
    monkeypatch.setattr(os, 'cpu_count', lambda: 3)
    scans, scan = [], query.Finder.scan
    monkeypatch.setattr(query.Finder, 'scan', lambda self, *args: scans.append(1) or scan(self, *args))
    pod.bulk(writers.pair(writers.random.Random(0), 300))
    with Pod(OWNER, KEY, home=tmp_path) as other:
        for p in (pod, other): p.find.scan_from, p.find.slow = 100, 1e9 # no index comes between
        whole, begun = pod.count({'type': 'Thing', 'count>=': 0}), len(scans)
        def look(k):
            while crowd.busy() or len(scans) < begun + 10:
                ids = {i['id']: i['twin'] for i in (pod, other)[k].search({'type': 'Thing', 'count>=': 0})}
                assert len(ids) >= whole and all(ids.get(b) == a for a, b in ids.items()), 'one of two was seen'
        with Crowd(*[(writers.pair_up, tmp_path, 150)] * 2) as crowd: in_threads(2, look)
        assert pod.count({'type': 'Thing', 'count>=': 0}) == len(pod.search({'type': 'Thing', 'count>=': 0})) \
            == whole + 600


def test_schema_of_another_process(pod, tmp_path):
    "What one process defines, others use at once, in both directions"
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=writers.define, args=(theirs, tmp_path), daemon=True)
    child.start()
    assert ours.poll(LONG) and ours.recv() == 'defined'
    pod.create_item(dict(type='Bird', wingspan=.5))
    assert len(pod.search({'type': 'Bird', 'wingspan<': 1})) == 1
    pod.bulk(dict(createItems=[dict(type='ItemPropertySchema', itemType=t, propertyName=p, valueType=k)
                               for t, p, k in (('Bird', 'song', 'Text'), ('Fish', 'depth', 'Integer'))]))
    pod.create_item(dict(type='Fish', depth=7))
    ours.send('go on')
    assert ours.poll(LONG) and [i['depth'] for i in ours.recv()] == [7]
    child.join(LONG)
    assert child.exitcode == 0 and {i.get('song') for i in pod.search(dict(type='Bird'))} == {None, 'tweet'}


FORK = '''
import os, sys, threading
sys.path[:0] = [{tests!r}]
from writers import *
pod = Pod(OWNER, KEY, home={home!r})
pod.bulk(dict(createItems=SCHEMA))
def write(n):
    for _ in range(n): pod.create_item(dict(type='Thing', name='ant'))
write(5)
writer = threading.Thread(target=write, args=(200,)) # the fork comes in the middle of its work
writer.start()
children = []
for k in range(3):
    if child := os.fork(): children.append(child)
    else:
        assert pod.count(dict(type='Thing')) >= 5
        write(20)
        assert pod.search(dict(_text='ant'))
        if k: os._exit(0)
        sys.exit(0) # with all that Python does at its end, or at once
assert [os.waitpid(c, 0)[1] for c in children] == [0, 0, 0]
writer.join()
write(5)
assert pod.count(dict(type='Thing')) == len(pod.search(dict(type='Thing', _text='ant'))) == 5 + 200 + 60 + 5
assert pod.integrity_check() == []
pod.close()
'''

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_fork(tmp_path, clean_env):
    "A child that is forked while a Pod is open, and in use, can use it too, and harms nobody"
    code = FORK.format(tests=os.path.dirname(__file__), home=str(tmp_path))
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=clean_env, capture_output=True,
                          text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    with Pod(OWNER, KEY, home=tmp_path) as pod:
        assert pod.count(dict(type='Thing')) == 270 and pod.integrity_check() == []

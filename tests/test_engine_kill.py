"""A Pod survives `kill -9`: what was acknowledged is there, what was not is there as a whole or not at all.

PYMEMRI_KILLS sets the number of rounds of the long test (default 50)."""
import multiprocessing as mp, os, random, sys, time

import pytest
import writers
from writers import KEY, OWNER, SCHEMA, Model, Pod, WORDS

from pymemri.core import Conflict, NotFound, WrongKey

pytestmark = pytest.mark.skipif(sys.platform == 'win32', reason='no SIGKILL, no fork server')
KILLS = int(os.environ.get('PYMEMRI_KILLS', 50))


@pytest.fixture(scope='module')
def children():
    "Starts children quickly: they fork from a process that has imported everything and opened nothing"
    ctx = mp.get_context('forkserver')
    ctx.set_forkserver_preload(['pytest', 'pymemri.engine.pod', 'writers'])
    return ctx


def killed(children, target, *args, after):
    "Let a child work, kill it `after` so many seconds; what it told us, call by call, and the one it was at (or None)"
    ours, theirs = children.Pipe(duplex=False)
    child = children.Process(target=target, args=(theirs, *args), daemon=True)
    child.start()
    theirs.close()
    told, until = [], ours.recv() and time.monotonic() + after # it tells that it has begun
    try:
        while (left := until - time.monotonic()) > 0:
            if ours.poll(left): told.append(ours.recv())
    except EOFError: pass # it came to its end
    child.kill()
    child.join()
    try:
        while True: told.append(ours.recv())
    except (EOFError, OSError): pass # perhaps in the middle of telling, before it began
    assert child.exitcode in (0, -9), 'the writer fell over by itself'
    return told[:len(told) // 2 * 2:2], told[-1] if len(told) % 2 else None


def checked(pod, model, at):
    "`model`, with or without the call the writer was at: whichever `pod` holds. All its parts are whole"
    wrong = model.wrong(pod)
    if wrong and at:
        model = model.after(at)
        assert not model.wrong(pod), f'neither before nor after {at[0]}: {wrong}, {model.wrong(pod)}'
    else: assert not wrong, wrong
    assert pod.integrity_check() == []
    return model


def same_words(pod, model, word):
    "Full text finds exactly the items with `word`"
    found = {i['id'] for i in pod.search(dict(_text=word))}
    assert found == {i['id'] for i in model.items.values()
                     if word in f'{i.get("name", "")} {i["note"]}'.replace(' ', '')}


def rounds(children, home, n, mix, seed, longest=.15):
    "Kill a writer `n` times on one Pod"
    model, rnd, calls = Model(), random.Random(seed), 0
    for k in range(n):
        with Pod(OWNER, KEY, home=home) as pod: pod.bulk(dict(createItems=SCHEMA))
        ids = rnd.sample(sorted(model.items), min(50, len(model.items)))
        done, at = killed(children, writers.write, home, rnd.random(), mix, ids, after=rnd.uniform(0, longest))
        for call in done: getattr(model, call[0])(*call[1:])
        with Pod(OWNER, KEY, home=home, create=False) as pod:
            model = checked(pod, model, at)
            if k % 3 == 2: same_words(pod, model, rnd.choice(WORDS))
        calls += len(done)
    assert calls > n, 'hardly anything was written'
    return model


def test_writer(children, tmp_path):
    model = rounds(children, tmp_path, KILLS, ['create', 'create', 'update', 'update', 'update', 'bulk', 'bulk', 'bulk',
                                               'bulk', 'long bulk', 'delete', 'edge', 'edge', 'file', 'text'], 1)
    assert model.items and model.edges and model.files
    for i in model.items.values(): assert 'twin' not in i or i['twin'] in model.items, 'half a pair'


@pytest.mark.parametrize('mix', [['purge', 'bulk', 'long bulk', 'file', 'text', 'edge'],
                                 ['vacuum', 'purge', 'long bulk', 'file'], ['delete all', 'file', 'bulk', 'text']])
def test_great_changes(children, tmp_path, mix): rounds(children, tmp_path, 6, mix, 2)


def full_pod(home):
    "A Pod of some megabytes, and its model"
    rnd, model = random.Random(3), Model()
    data = [rnd.randbytes(n) for n in (10, 3_000_000)]
    made = [writers.thing(rnd, sha256=writers.digest(d)) for d in data]
    calls = [('bulk', dict(createItems=SCHEMA + made)),
             *[('upload_file', dict(sha256=writers.digest(d)), d) for d in data], ('bulk', writers.pair(rnd, 3000))]
    with Pod(OWNER, KEY, home=home) as pod:
        for call in calls:
            getattr(pod, call[0])(*call[1:])
            model = model.after(call)
    return model


def test_rekey(children, tmp_path):
    "The old key opens the Pod, or the new one does, never both, and nothing is lost"
    model, key, rnd, changed = full_pod(tmp_path), '0e' * 32, random.Random(4), 0
    start = time.monotonic()
    with Pod(OWNER, KEY, home=tmp_path) as pod: pod.rekey(key)
    longest = 3 * (time.monotonic() - start) # how long that takes is up to the machine
    for k in range(10):
        new = [f'{rnd.getrandbits(256):064x}' for _ in range(99)]
        if k == 5: new[0] = 'a passphrase'
        done, at = killed(children, writers.rekey, tmp_path, key, new, after=rnd.uniform(0, longest))
        opened = []
        for candidate in [key, *[c[1] for c in done], *([at[1]] if at else [])]:
            try:
                with Pod(OWNER, candidate, home=tmp_path, create=False) as pod:
                    assert not model.wrong(pod) and pod.integrity_check() == []
                opened.append(candidate)
            except WrongKey: pass
        last = done[-1][1] if done else key
        assert opened in ([last], [at and at[1]]), 'another key than the last, or the one it was changed to'
        changed += len(done)
        key, = opened
    assert changed


def test_backup(children, tmp_path):
    "A backup is whole, or it is not there and can be made again; the Pod itself stays as it is"
    model, rnd = full_pod(tmp_path / 'home'), random.Random(5)
    for k in range(6):
        done, at = killed(children, writers.backup, tmp_path / 'home', [tmp_path / f'{k}-{n}' for n in range(99)],
                          after=rnd.uniform(0, .15))
        for call in done[-2:]: same(model, call[1])
        if at:
            try: same(model, at[1])
            except NotFound:
                with Pod(OWNER, KEY, home=tmp_path / 'home') as pod: pod.backup(at[1])
                same(model, at[1])
    with Pod(OWNER, KEY, home=tmp_path / 'home') as pod:
        assert not model.wrong(pod) and pod.integrity_check() == []
        with pytest.raises(Conflict): pod.backup(tmp_path / 'home')


def same(model, home):
    with Pod(OWNER, KEY, home=home, create=False) as pod: assert not model.wrong(pod) and pod.integrity_check() == []

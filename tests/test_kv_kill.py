"""Writers, readers and appliers that are killed, disks that are full, files that are changed: what was acknowledged is there, nothing is seen half."""
import contextlib, json, os, random, shutil, signal, struct, subprocess, sys, time
from dataclasses import asdict
from pathlib import Path

import pytest

from pymemri.core import Damaged, PodError
from pymemri.kv import applier
from pymemri.kv.applier import FAR, Applier, Trouble, run, snapshots
from pymemri.kv.clientoptions import ClientOptionsBuilder
from pymemri.kv.document import UPSERT, Event, IKVDocument, encode_event
from pymemri.kv.exceptions import Full
from pymemri.kv.factory import create_new_reader, create_new_writer, create_store
from pymemri.kv.index import IndexReader, IndexWriter
from pymemri.kv.log import FileLog, frame_of

from kv_process import whole
from waiting import wait_for

PROCESS = Path(__file__).with_name('kv_process.py')


@pytest.fixture
def options(tmp_path):
    options = (ClientOptionsBuilder().with_account_id('a').with_account_passkey('b').with_store_name('c')
               .with_mount_directory(str(tmp_path / 'mount')).build())
    create_store(options, 'id')
    return options


def started(options, *what, path=''):
    command = [sys.executable, str(PROCESS), what[0], json.dumps(asdict(options)), *map(str, what[1:])]
    env = os.environ | {'PYTHONPATH': os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, [str(path)])])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def applier_of(reader):
    "The process id of the applier, from the system's table of locks"
    return holder_of(reader.mount / 'applier.lock')


def holder_of(path):
    "The process that holds a lock alone; None if there is none"
    inode = os.stat(path).st_ino
    for line in Path('/proc/locks').read_text().splitlines():
        fields = line.split()
        if 'FLOCK' in fields and 'WRITE' in fields and fields[-3].endswith(f':{inode}'): return int(fields[fields.index('WRITE') + 1])


def number(n): return IKVDocument({'id': f'{n}', 'a': n, 'b': f'{n}', 'c': b'%d' % n * 100})


def log_of(writer): return writer.logs[0]


def test_a_killed_writer_loses_nothing_that_it_acknowledged(options):
    "Killed twelve times, at any moment, while a second writer goes on"
    clock = random.Random(7)
    with create_new_writer(options) as steady, create_new_reader(options) as reader:
        for round in range(12):
            writer = started(options, 'write', f'writer {round}', 10**6)
            writer.stdout.readline()
            time.sleep(clock.random() * 0.1)
            steady.upsert_fields(number(round))
            writer.kill()
            said = [int(line) for line in writer.stdout.read().split('\n')[:-1]]
            writer.wait()
            steady.upsert_fields(number(1000 + round))
            reader.catch_up()
            last = max(said, default=0)
            for i in range(max(0, last - 49), last + 1):
                found = reader.get_document(f'writer {round} {i % 50}')
                assert found and whole(found) and found.fields['a'] >= i
        assert [reader.get_value(f'{n}', 'a') for n in (*range(12), *range(1000, 1012))] == [*range(12), *range(1000, 1012)]


def test_a_killed_applier_is_replaced_and_applies_nothing_twice(options):
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        expected = 0
        for round in range(6):
            writer.batch_upsert_fields(number(n) for n in range(expected, expected + 3000))
            expected += 3000
            for _ in range(500):
                if pid := applier_of(reader): break
                time.sleep(0.01)
            time.sleep(0.02 * round)
            os.kill(pid, signal.SIGKILL)
            assert reader.get_document('0') is None or whole(reader.get_document('0')) # reading goes on
        reader.catch_up()
        assert reader.health_check().position == expected and sum(whole(d) for d in reader) == expected


PAUSES = """
import os, signal, sys
from pathlib import Path
if 'pymemri.kv.applier' in sys.orig_argv and (left := int((here := Path(__file__).parent).joinpath('commits').read_text())):
    from pymemri.kv.index import IndexWriter
    def apply(self, events, position, *args, really=IndexWriter.apply):
        global left
        really(self, events, position, *args)
        left -= position > 0
        if left: return
        (here / 'new').write_text(f'{os.getpid()} {position} {self.path}')
        (here / 'new').rename(here / 'paused')
        while True: signal.pause()
    IndexWriter.apply = apply
"""


def test_an_applier_that_is_killed_a_long_way_behind_begins_again(options, tmp_path):
    "An index that is made from a long log waits for the disk at its end only; nobody sees it before"
    n, pauses = FAR + 5000, tmp_path / 'pauses'
    with create_new_writer(options) as writer:
        for at in range(0, n, 1000): writer.batch_upsert_fields(number(i) for i in range(at, at + 1000))
    pauses.mkdir()
    (pauses / 'sitecustomize.py').write_text(PAUSES) # an applier stops behind so many commits, and waits to be killed
    (pauses / 'commits').write_text('1')
    other, pid = started(options, 'read', 1, path=pauses), None
    try:
        for then in (2, 3, 0):
            pid, position, index = wait_for(lambda: (pauses / 'paused').exists() and (pauses / 'paused').read_text().split())
            mount = Path(index).parents[1]
            assert int(pid) == holder_of(mount / 'applier.lock') and 0 < int(position) < n
            assert struct.unpack('3Q', (mount / '0' / 'state').read_bytes())[1] == 0 # nobody sees it
            (pauses / 'commits').write_text(str(then))
            (pauses / 'paused').unlink()
            os.kill(int(pid), signal.SIGKILL)
        assert other.stdout.readline() == 'reading\n' # it was there before the first was killed
        other.wait()
    finally:
        other.kill()
        if (pauses / 'paused').exists(): os.kill(int((pauses / 'paused').read_text().split()[0]), signal.SIGKILL)
    with create_new_reader(options) as reader:
        assert reader.health_check().position == n and sum(map(whole, reader)) == n


def test_killed_readers_hold_nothing(options):
    "Neither locks nor old pages: the applier goes on, and the index does not grow without end"
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(IKVDocument({'id': f'writer {i}', 'a': 0, 'b': '0', 'c': b'0' * 100}) for i in range(50))
        for _ in range(4):
            other = started(options, 'read', 60)
            other.stdout.readline()
            other.kill()
            other.wait()
        sizes = []
        for round in range(8):
            writer.batch_upsert_fields(number(n) for n in range(1000))
            reader.catch_up()
            sizes.append((reader.indexes[0].path / 'data.mdb').stat().st_size)
            time.sleep(0.7) # the applier looks for the dead
        assert sizes[-1] < sizes[0] * 6 and reader.health_check()


def test_two_processes_read_while_one_writes(options):
    with create_new_reader(options): pass # the index is there
    writer = started(options, 'write', 'writer', 10**6)
    writer.stdout.readline()
    readers = [started(options, 'read', 4) for _ in range(2)]
    said = [json.loads(r.stdout.read().split('\n')[1]) for r in readers]
    writer.kill()
    for p in (writer, *readers): p.wait()
    for s in said: assert s['broken'] == 0 and s['looked'] > 1000 and s['newest'] > 50


# ---- damage ----

def test_a_torn_tail_is_cut_off(options):
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(number(1))
        segment = log_of(writer)._path(1)
        for cut in (1, 19, 20, 21, 60):
            with segment.open('ab') as f: f.write(frame_of(2, [b'x' * 50])[:cut])
            writer.upsert_fields(number(cut))
            reader.catch_up()
            assert reader.get_value(f'{cut}', 'a') == cut
    fresh = FileLog(segment.parent)
    assert len(fresh.read(0)[0]) == 6


@pytest.mark.parametrize('where', ['first', 'middle', 'last'])
def test_a_flipped_byte_is_told(options, where):
    "In what was acknowledged: the applier stops before it, says so, and what was applied can be read; a writer does not write behind it"
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        for n in range(3): writer.upsert_fields(number(n))
        reader.catch_up()
        segment = log_of(writer)._path(1)
        frames = segment.stat().st_size // 3
    data = bytearray(segment.read_bytes())
    data[dict(first=0, middle=1, last=2)[where] * frames + 30] ^= 1
    segment.write_bytes(data)
    log = FileLog(segment.parent)
    with pytest.raises(Damaged, match='restore a copy'): log.read(0)
    import shutil
    shutil.rmtree(options.mount_directory) # a new machine, that needs all of the log
    with pytest.raises(PodError, match='damaged'): create_new_reader(options).startup()


def test_a_damaged_index_is_made_anew(options):
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(number(n) for n in range(100))
        reader.catch_up()
        path, mount = reader.indexes[0].path / 'data.mdb', reader.mount
        pid = applier_of(reader)
    os.kill(pid, signal.SIGKILL)
    while pid_exists(pid): time.sleep(0.01)
    path.write_bytes(b'\xff' * path.stat().st_size)
    try:
        with create_new_reader(options) as reader: assert sum(whole(d) for d in reader) == 100
    except Damaged:
        with create_new_reader(options) as reader: assert sum(whole(d) for d in reader) == 100


def pid_exists(pid):
    try: state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError: return False
    return state != 'Z'


def test_a_full_disk(options):
    "A limit on the size of files stands for it: the writer says so, nothing that was acknowledged is lost, and it goes on when there is room"
    code = ('import resource, signal, sys, json; sys.path.insert(0, sys.argv[1]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
            'from kv_process import *; from pymemri.kv.exceptions import Full\n'
            'w = create_new_writer(ClientOptions(**json.loads(sys.argv[2]))); w.startup(); n = 0\n'
            'resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n'
            'try:\n'
            '    while n < 1000: w.upsert_fields(IKVDocument(dict(id=str(n), a=n, b=str(n), c=b"%d" % n * 100))); n += 1\n'
            'except Full as e: print(n, e)\n'
            'resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n'
            'w.upsert_fields(IKVDocument(dict(id="after", a=1, b="1", c=b"1" * 100)))\n')
    done = subprocess.run([sys.executable, '-c', code, str(PROCESS.parent), json.dumps(asdict(options))], capture_output=True, text=True, timeout=60,
                          env=os.environ | {'PYTHONPATH': str(Path(__file__).resolve().parents[1])})
    assert 'is full' in done.stdout, done.stderr
    kept = int(done.stdout.split()[0])
    with create_new_reader(options) as reader:
        assert kept > 10 and {d.fields['id'] for d in reader} == {*(f'{n}' for n in range(kept)), 'after'} and all(map(whole, reader))


@pytest.mark.parametrize('which', ['value', 'number', 'head', 'schema'])
def test_a_flipped_byte_in_the_index(options, which):
    "A reader that meets it says so, or the applier finds it, and the index is made anew from the log: nothing wrong stays"
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(number(n) for n in range(500))
        reader.catch_up()
        index = reader.indexes[0]
        with index.using() as snap:
            numbers = {k: n for name, (kind, n) in ((name, next(iter(kinds.items()))) for name, kinds in snap.schema.fields.items()) for k in [name]}
            wanted = dict(value=b'77' + numbers['c'], number=b'77' + numbers['a'], head=b'77' + bytes(3)).get(which)
            stored = bytes(snap.get(wanted)) if wanted else bytes(snap.txn.get(b'schema', db=index.meta))
        path, mount, pid = index.path / 'data.mdb', reader.mount, applier_of(reader)
    os.kill(pid, signal.SIGKILL)
    while pid_exists(pid): time.sleep(0.01)
    data = bytearray(path.read_bytes())
    at = data.find((wanted or b'') + stored) + len(wanted or b'')
    assert at > 100
    while at > 100: # an old page may hold it too
        data[at] ^= 1
        at = data.find((wanted or b'') + stored, at) + len(wanted or b'')
    path.write_bytes(data)
    deadline = time.monotonic() + 600
    while True:
        try:
            with create_new_reader(options) as reader:
                while reader.indexes[0].now[1] == 1 and time.monotonic() < deadline: # the applier has not looked yet
                    if which in ('value', 'number', 'head'):
                        try: assert reader.get_document('77') == number(77)
                        except Damaged as e: assert 'made anew' in str(e)
                assert all(whole(d) for d in reader) and sum(1 for d in reader) == 500
                assert reader.get_document('77') == number(77) and reader.health_check() and reader.indexes[0].now[1] == 2
                return
        except Damaged: assert time.monotonic() < deadline # it was met while starting


def test_what_no_reader_met_the_applier_finds(options):
    "The shortest ways of reading do not look: `get_string_value` is right again when the applier has read through the index"
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(number(n) for n in range(5000))
        reader.catch_up()
        path, pid = reader.indexes[0].path / 'data.mdb', applier_of(reader)
    os.kill(pid, signal.SIGKILL)
    while pid_exists(pid): time.sleep(0.01)
    data = bytearray(path.read_bytes())
    data[data.find(b'4321' * 100) + 150] ^= 1
    path.write_bytes(data)
    with create_new_reader(options) as reader:
        deadline = time.monotonic() + 600
        while reader.get_bytes_value('4321', 'c') != b'4321' * 100 and time.monotonic() < deadline: time.sleep(0.01)
        assert reader.get_bytes_value('4321', 'c') == b'4321' * 100 and reader.get_string_value('4321', 'b') == '4321'
        reader.snapshot()


def test_an_applier_that_always_has_something_to_do_looks_too(tmp_path, monkeypatch):
    "So what the shortest ways of reading give is right again within the hour, however much is written"
    class Busy:
        index, looked = None, 0
        def step(self): return 1
        def look(self): self.looked += 1
        def close(self): pass
    busy = Busy()
    monkeypatch.setattr(applier, 'appliers', lambda *args: [busy])
    applier.run(tmp_path, dict(url=(tmp_path / 'log').as_uri()), grace=0) # it ends when it sees that nobody reads
    assert busy.looked


def test_no_snapshot_is_made_of_what_is_damaged(options):
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(number(n) for n in range(100))
        reader.catch_up()
        path, pid = reader.indexes[0].path / 'data.mdb', applier_of(reader)
        data = path.read_bytes()
        os.kill(pid, signal.SIGSTOP) # it does not look now
        at = data.find(b'42' * 100)
        with path.open('r+b') as f:
            f.seek(at + 50)
            f.write(bytes([data[at + 50] ^ 1]))
        try:
            with pytest.raises(Damaged, match='made anew'): reader.snapshot()
        finally: os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + 600
        while reader.indexes[0].now[1] == 1 and time.monotonic() < deadline: time.sleep(0.01)
        assert reader.get_document('42') == number(42) and reader.snapshot() == [100]


def full_and_back(options, fill, empty):
    "Readers are told that the disk under the applier is full, go on with what they have, and get the rest when there is room"
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.batch_upsert_fields(number(n) for n in range(100))
        reader.catch_up()
        fill(reader)
        deadline = time.monotonic() + 600
        written = 100
        while reader.health_check() and time.monotonic() < deadline:
            writer.batch_upsert_fields(number(n) for n in range(written, written + 500)) # the log is elsewhere
            written += 500
            until = time.monotonic() + 2
            while reader.health_check().lag and time.monotonic() < until and reader.health_check(): time.sleep(0.01)
        health = reader.health_check()
        assert not health and 'full' in health.message and health.lag > 0
        assert all(whole(d) for d in reader) and reader.get_document('7') == number(7)
        with pytest.raises(Full): reader.catch_up()
        with pytest.raises(Full): create_new_reader(options).startup()
        empty(reader)
        while not reader.health_check() and time.monotonic() < deadline: time.sleep(0.01)
        reader.catch_up(600)
        assert reader.health_check() and sum(whole(d) for d in reader) == written


def test_a_full_disk_under_the_applier(options):
    "A limit on the size of its files stands for it"
    import resource
    def limit(reader, size): resource.prlimit(applier_of(reader), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    full_and_back(options, lambda r: limit(r, 400_000), lambda r: limit(r, resource.RLIM_INFINITY))


def test_a_disk_that_is_really_full(options, tmp_path):
    "The same on a file system of 3 MB, with a file that takes what is left of it"
    mount = Path(options.mount_directory)
    mount.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', str(mount)], capture_output=True).returncode:
        pytest.skip('only who may mount file systems can have a small one')
    try:
        def fill(reader):
            with (mount / 'ballast').open('wb', buffering=0) as f:
                for size in (65536, 4096):
                    try:
                        while f.write(bytes(size)) == size: pass
                    except OSError: pass
        full_and_back(options, fill, lambda r: (mount / 'ballast').unlink())
    finally:
        subprocess.run(['umount', '-l', str(mount)], check=True)


def written(folder, n):
    log = FileLog(folder / 'log')
    log.append([encode_event(Event(UPSERT, f'person {i}', {'age': i})) for i in range(n)])
    return log


def test_an_index_that_could_not_be_begun_is_seen_when_it_can(tmp_path, monkeypatch):
    "The disk is full for the very first commit of an index: what comes later is not written where no reader looks"
    one = Applier(tmp_path / 'index', written(tmp_path, 3), 'store', 'name', tmp_path / 'snapshots')
    with monkeypatch.context() as m:
        def full(*args): raise PodError(507, 'the disk is full')
        m.setattr(IndexWriter, 'apply', full)
        for _ in range(2):
            with pytest.raises(PodError): one.step()
    while one.step(): pass
    one.close()
    with contextlib.closing(IndexReader(tmp_path / 'index')) as reader: assert reader.get_value('person 2', 'age') == 2


def test_who_is_killed_in_a_snapshot_leaves_it_to_the_next(tmp_path):
    one = Applier(tmp_path / 'index', written(tmp_path, 3), 'store', 'name', tmp_path / 'snapshots')
    one.step()
    (half := tmp_path / 'snapshots' / '0123456789abcdef.new').mkdir(parents=True)
    (half / 'data.mdb').write_bytes(b'half')
    one.keep()
    one.close()
    assert not half.exists() and [at for at, *_ in snapshots(tmp_path / 'snapshots')] == [3]


def test_a_fault_of_the_applier_is_told(tmp_path, monkeypatch):
    def broken(self): raise RuntimeError('nobody thought of that')
    monkeypatch.setattr(Applier, 'step', broken)
    config = dict(url=f'file://{tmp_path}/logs', name='s', id='store', primary='name', partitions=1, snapshots=str(tmp_path / 'snapshots'), every=None)
    with pytest.raises(RuntimeError): run(tmp_path, config)
    assert Trouble(tmp_path).read() == 'the applier failed: RuntimeError, nobody thought of that'


def test_an_old_snapshot_of_another_store_is_not_used(options, tmp_path):
    "A store of the same name, made again after its folder was removed, gets nothing of the old one"
    import shutil
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(number(1))
        reader.catch_up()
        reader.snapshot()
    shutil.rmtree(Path(os.environ['PYMEMRI_HOME']) / 'kv')
    create_store(options, 'id')
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(number(2))
        wait_for(lambda: [d.fields['a'] for d in reader] == [2])


def test_a_forked_child_is_told(options):
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(number(1))
        reader.catch_up()
        assert reader.get_value('1', 'a') == 1
        pid = os.fork()
        if pid == 0:
            try: reader.get_value('1', 'a')
            except RuntimeError as e: os._exit(0 if 'fork' in str(e) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert reader.get_value('1', 'a') == 1

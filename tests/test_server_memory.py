"""What a server keeps: not the bytes that pass through it, and nothing of clients that hang up."""
import base64, gzip, hashlib, http.client, json, os, re, signal, socket, subprocess, sys, threading, time
from pathlib import Path

import pytest

from waiting import wait_for

from pymemri.engine.pod import pod_folder
from pymemri import asgi
from pymemri.server.serve import Served

OWNER, KEY, MB = 'owner', 'a1' * 32, 2**20
AUTH = dict(type='ClientAuth', databaseKey=KEY)
HEADER = b'Pod ' + base64.urlsafe_b64encode(json.dumps(AUTH).encode())
linux = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')


def call(port, op, payload, wire='v5', timeout=600):
    line = http.client.HTTPConnection('127.0.0.1', port, timeout=timeout)
    line.request('POST', f'/{wire}/{OWNER}/{op}', json.dumps(dict(auth=AUTH, payload=payload)))
    got = line.getresponse()
    body = got.read()
    line.close()
    return got.status, body


def made(port, op, payload):
    status, body = call(port, op, payload)
    assert status == 200, body
    return json.loads(body)


def connect(port, **how):
    line = socket.socket()
    for name, size in how.items(): line.setsockopt(socket.SOL_SOCKET, getattr(socket, name), size)
    line.connect(('127.0.0.1', port))
    line.settimeout(600)
    return line


def head(path, length, *more):
    return '\r\n'.join([f'POST {path} HTTP/1.1', 'Host: pod', f'Content-Length: {length}', *more, '', '']).encode()


def asking(op, payload, wire='v5'):
    body = json.dumps(dict(auth=AUTH, payload=payload)).encode()
    return head(f'/{wire}/{OWNER}/{op}', len(body)) + body


def peak(pid): return int(re.search(r'VmHWM:\s+(\d+) kB', Path(f'/proc/{pid}/status').read_text())[1]) * 1024


@linux
def test_a_gibibyte_passes_through(tmp_path, clean_env):
    size, part = 1024 * MB, os.urandom(MB)
    digest = hashlib.sha256()
    for _ in range(size // MB): digest.update(part)
    digest = digest.hexdigest()
    args = [sys.executable, '-c', 'from pymemri.cli import main; main()', 'serve', '--port=0', '--non-tls', '--owners=ANY',
            f'--data-folder={tmp_path}']
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_env) as server:
        try:
            port = int(re.search(rb':(\d+) ', server.stdout.readline())[1])
            d = hashlib.sha256(part).hexdigest() # a small file first: whatever is needed once is there then
            made(port, 'create_item', dict(type='File', sha256=d))
            send(port, f'/v5/{OWNER}/upload_file/{d}', [part], MB)
            assert fetch(port, d) == (MB, d)
            made(port, 'create_item', dict(type='File', sha256=digest))
            before = peak(server.pid)
            send(port, f'/v5/{OWNER}/upload_file/{digest}', [part] * (size // MB), size)
            assert fetch(port, digest) == (size, digest)
            assert peak(server.pid) - before < 100 * MB
            assert made(port, 'integrity_check', None) == []
        finally: server.send_signal(signal.SIGTERM)
    assert server.returncode == 0


def send(port, path, parts, size):
    with connect(port) as line:
        line.sendall(head(path, size, f'Authorization: {HEADER.decode()}'))
        for part in parts: line.sendall(part)
        assert line.recv(4096).startswith(b'HTTP/1.1 200')


def fetch(port, digest):
    line = http.client.HTTPConnection('127.0.0.1', port, timeout=600)
    line.request('POST', f'/v5/{OWNER}/get_file', json.dumps(dict(auth=AUTH, payload=dict(sha256=digest))))
    got, n, h = line.getresponse(), 0, hashlib.sha256()
    assert got.status == 200
    while part := got.read(MB):
        n += len(part)
        h.update(part)
    line.close()
    return n, h.hexdigest()


@pytest.fixture
def served(tmp_path):
    with Served(data_folder=tmp_path, keep_open=.5) as s:
        s.others = threading.enumerate() # perhaps of the tests before
        yield s


@pytest.fixture
def large(served):
    "The digest of a file of 24 MiB at the server"
    return put(served, os.urandom(24 * MB))


def put(served, content):
    digest = hashlib.sha256(content).hexdigest()
    made(served.settings.port, 'create_item', dict(type='File', sha256=digest))
    send(served.settings.port, f'/v5/{OWNER}/upload_file/{digest}', [content], len(content))
    return digest


def users(served): return sum(h.users for h in served.app.pods.held.values())
def leftovers(home): return [p for p in home.rglob('*') if 'new' in p.parts[:-1] or p.name.startswith('backup-')]


def ended(served, op): return sum(sum(t[:-1]) for (o, _), t in served.app.metrics.tallies.copy().items() if o == op)


def nothing_left(served, home, **requests):
    "When so many `requests` have ended, nobody uses a Pod, no temporary file is there, and the Pods close"
    for op, n in requests.items(): wait_for(lambda: ended(served, op) >= n)
    wait_for(lambda: served.app.metrics.under_way == 0)
    assert users(served) == 0 and leftovers(home) == []
    wait_for(lambda: not served.app.pods.held)
    wait_for(lambda: served.app.files._work_queue.empty())
    # threads of the pool that wait for work, and no others
    extra = [t for t in threading.enumerate() if t.name.startswith('Thread-') and t not in served.others]
    assert not extra
    from concurrent.futures import wait
    wait_for(lambda: served.app.files._idle_semaphore._value >= len(served.app.files._threads))


def test_who_hangs_up_in_an_upload_leaves_nothing(served, tmp_path):
    content = os.urandom(8 * MB)
    digest = hashlib.sha256(content).hexdigest()
    made(served.settings.port, 'create_item', dict(type='File', sha256=digest))
    b = f'/v4/{OWNER}/upload_file/{KEY}/{digest}'
    for k in range(6):
        path = f'/v5/{OWNER}/upload_file/{digest}' if k % 2 else b
        with connect(served.settings.port) as line:
            line.sendall(head(path, len(content), f'Authorization: {HEADER.decode()}'))
            line.sendall(content[:k * MB + 1000])
            wait_for(lambda: users(served))
    nothing_left(served, tmp_path, upload_file=6)
    send(served.settings.port, f'/v5/{OWNER}/upload_file/{digest}', [content], len(content)) # it still goes
    assert fetch(served.settings.port, digest) == (len(content), digest)


@pytest.mark.parametrize('op', ['get_file', 'backup'])
@pytest.mark.parametrize('read', [0, 1000, 3 * MB])
def test_who_hangs_up_in_a_download_leaves_nothing(served, tmp_path, large, op, read):
    wires = ('v5', 'v4') if op == 'get_file' else ('v5',)
    for wire in wires:
        with connect(served.settings.port, SO_RCVBUF=65536) as line:
            line.sendall(asking(op, dict(sha256=large), wire))
            got = 0
            while got < read: got += len(line.recv(65536))
            if read: wait_for(lambda: users(served))
    nothing_left(served, tmp_path, **{op: len(wires)})


def test_a_slow_reader_gets_everything(served, tmp_path, large):
    with connect(served.settings.port, SO_RCVBUF=65536) as line:
        line.sendall(asking('get_file', dict(sha256=large)))
        got = b''
        while len(got.partition(b'\r\n\r\n')[2]) < 24 * MB:
            got += line.recv(2**20)
            if len(got) < MB: time.sleep(.05)
    assert hashlib.sha256(got.partition(b'\r\n\r\n')[2]).hexdigest() == large
    nothing_left(served, tmp_path)


def closed(line):
    "Whether the server has hung up"
    try:
        line.settimeout(.01)
        return line.recv(65536) == b''
    except TimeoutError: return False
    except ConnectionError: return True


def test_connections_on_which_nothing_moves_are_ended(served, tmp_path, large, monkeypatch):
    monkeypatch.setattr(asgi, 'IDLE', 6)
    port = served.settings.port
    auth = f'Authorization: {HEADER.decode()}'
    halves = dict(nothing=b'', half_head=b'POST /v5/owner/get_i', half_body=asking('get_item', 'x' * 32)[:-9],
                  half_upload=head(f'/v5/{OWNER}/upload_file/{large}', MB, auth) + b'x' * 70_000,
                  no_body=head(f'/v4/{OWNER}/search', 100),
                  answered=asking('get_item', 'x' * 32) + b'POST /v5/ow')
    lines = {name: connect(port) for name in halves}
    for name, line in lines.items(): line.sendall(halves[name])
    lazy = connect(port, SO_RCVBUF=65536)
    lazy.sendall(asking('get_file', dict(sha256=large))) # and never reads
    busy, start = connect(port), time.monotonic()
    while time.monotonic() - start < 8: # one that goes on asking stays, however long
        busy.sendall(asking('get_item', 'x' * 32))
        assert busy.recv(4096).startswith(b'HTTP/1.1 200')
        time.sleep(.3)
    def answered(line):
        try: return line.recv(65536)
        except ConnectionError: return b''
    assert answered(lines['answered']).startswith(b'HTTP/1.1 200')
    for name, line in lines.items(): wait_for(lambda: closed(line))
    nothing_left(served, tmp_path)
    for line in (*lines.values(), lazy, busy): line.close()


def test_many_connections_that_do_nothing_disturb_nobody(served, tmp_path):
    port = served.settings.port
    idle = [connect(port) for _ in range(300)]
    for k, line in enumerate(idle): line.sendall([b'', b'POST ', head(f'/v5/{OWNER}/search', 99), asking('count', {})[:-3]][k % 4])
    id = made(port, 'create_item', dict(type='Note'))
    assert made(port, 'get_item', id)[0]['id'] == id
    assert served.app.pods.threads._max_workers < 100 and users(served) == 0
    for line in idle: line.close()
    nothing_left(served, tmp_path)


def test_a_body_that_unpacks_to_more_than_fits_is_refused(served):
    body = gzip.compress(bytes(64 * MB), 9)
    with connect(served.settings.port) as line:
        line.sendall(head(f'/v5/{OWNER}/search', len(body), 'Content-Encoding: gzip') + body)
        assert line.recv(4096).startswith(b'HTTP/1.1 413')


def test_a_backup_can_be_opened(served, tmp_path, large):
    import io, tarfile
    from pymemri.engine.pod import Pod
    status, body = call(served.settings.port, 'backup', None)
    assert status == 200
    to = pod_folder(OWNER, tmp_path / 'copy')
    with tarfile.open(fileobj=io.BytesIO(body)) as tar: tar.extractall(to, filter='data')
    with Pod(OWNER, KEY, home=tmp_path / 'copy', create=False) as pod:
        assert pod.integrity_check() == [] and hashlib.sha256(pod.get_file(dict(sha256=large))).hexdigest() == large
    nothing_left(served, tmp_path / 'pod')

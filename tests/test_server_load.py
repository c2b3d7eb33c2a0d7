"""Many clients at once, one of which is killed again and again; and a server that is killed. Nothing acknowledged is
lost, nothing is stored twice, and no answer is a 5xx. `PYMEMRI_SECONDS=60` for the record"""
import os, random, re, signal, socket, subprocess, sys, threading, time, urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from load import HEADER, KEY, SCHEMA, Client, Line, Refused, check, replay
from waiting import wait_for

CLIENTS = 32
SECONDS = float(os.environ.get('PYMEMRI_SECONDS', 20)) # read before the tests put the environment away
START = [sys.executable, '-c', 'from pymemri.cli import main; main()', 'serve', '--port=0', '--non-tls', '--owners=ANY']
pytestmark = pytest.mark.skipif(os.name != 'posix', reason='kills')


class Server:
    "A server process on `port`"
    def __init__(self, home, env):
        self.log = open(home / 'server.log', 'ab')
        self.process = subprocess.Popen([*START, f'--data-folder={home / "pods"}'], stdout=subprocess.PIPE,
                                        stderr=self.log, env=env)
        self.port = int(re.search(rb':(\d+) ', self.process.stdout.readline())[1])
    def end(self, how=signal.SIGTERM):
        "Its exit code"
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.process.stdout.close()
        self.log.close()
        return code


@contextmanager
def server(home, env):
    s = Server(home, env)
    try: yield s
    finally:
        if s.process.poll() is None: s.end(signal.SIGKILL)


def prepare(port, owners):
    for owner in owners: Line(port, owner).call('bulk', dict(createItems=SCHEMA))


def together(clients, seconds, stop=lambda: False):
    "Let clients work at once, each in a thread; the errors that ended some of them"
    errors, until = [], time.monotonic() + seconds
    def work(client):
        try: client.run(until, stop)
        except Exception as e: errors.append((client, e))
        finally: client.line.close()
    threads = [threading.Thread(target=work, args=(c,)) for c in clients]
    for t in threads: t.start()
    return threads, errors


def lines(path): return path.read_bytes().count(b'\n') if path.exists() else 0


def counts(port):
    "What the server has counted"
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/v5/metrics') as got: return got.read().decode()


def no_fault(port):
    "The server has answered no 5xx"
    text = counts(port)
    assert 'pymemri_requests_total{' in text
    bad = re.findall(r'pymemri_requests_total\{[^}]*status="5\d\d"\}.*', text)
    assert not bad, bad


def test_thirty_two_clients_of_which_one_is_killed_again_and_again(tmp_path, clean_env):
    owners, rnd = [f'owner-{k}' for k in range(3)], random.Random(1)
    with server(tmp_path, clean_env) as s:
        prepare(s.port, owners)
        clients = [Client(s.port, owners[k % 3], ('v4', 'v5')[k % 2], f'c{k}') for k in range(CLIENTS - 1)]
        threads, errors = together(clients, SECONDS)
        journals, until = [], time.monotonic() + SECONDS
        while time.monotonic() < until or len(journals) < 2:
            k = len(journals)
            journals.append((owners[k % 3], tmp_path / f'{k}.journal'))
            with subprocess.Popen([sys.executable, str(Path(__file__).with_name('load.py')), str(s.port), owners[k % 3],
                                   ('v5', 'v4')[k % 2], f'k{k}', str(journals[-1][1])], env=clean_env) as child:
                wait_for(lambda: child.poll() is not None or lines(journals[-1][1]) > 40)  # it is at work
                time.sleep(rnd.uniform(0, .3))
                assert child.poll() is None, 'the client that was to be killed ended by itself'
                child.kill()
        for t in threads: t.join()
        assert not errors, errors[:3]
        no_fault(s.port)
        killed = [(owner, replay(path.open())) for owner, path in journals if path.exists()]
        assert sum(len(m.things) for _, m in killed) > 2 * len(killed)
        for owner in owners:
            models = [c.model for c in clients if c.line.owner == owner] + [m for o, m in killed if o == owner]
            line = Line(s.port, owner)
            assert check(line, models) > 100
            assert line.call('integrity_check') == []
        print(f'{sum(c.steps for c in clients)} steps, {len(killed)} times killed')
        assert s.end() == 0
    assert '"event": "fault"' not in (tmp_path / 'server.log').read_text()


@pytest.mark.parametrize('path', ['/v4/anna/search', '/v5/anna/search', '/v5/anna/get_item', f'/v4/anna/upload_file/{KEY}/{"0" * 64}',
                                  f'/v5/anna/upload_file/{"0" * 64}'])
def test_who_is_killed_in_the_middle_of_a_request_is_no_fault_of_the_server(tmp_path, clean_env, path):
    with server(tmp_path, clean_env) as s:
        prepare(s.port, ['anna'])
        op = path.split('/')[3]
        Line(s.port, 'anna').call('create_item', dict(type='Thing', name='a file', sha256='0' * 64))
        for _ in range(3):
            with socket.create_connection(('127.0.0.1', s.port)) as line:
                line.sendall(f'POST {path} HTTP/1.1\r\nAuthorization: {HEADER}\r\nContent-Length: 100000\r\n\r\n{{"a'.encode())
        Line(s.port, 'anna').call('count', {})
        wait_for(lambda: f'operation="{op}",status="400"' in counts(s.port))
        no_fault(s.port)


@pytest.mark.parametrize('turn', range(2))
def test_what_was_acknowledged_outlives_a_server_that_is_killed(tmp_path, clean_env, turn):
    owners = ['owner-0', 'owner-1']
    with server(tmp_path, clean_env) as s:
        prepare(s.port, owners)
        clients = [Client(s.port, owners[k % 2], ('v4', 'v5')[k // 2 % 2], f'c{turn}-{k}') for k in range(12)]
        threads, errors = together(clients, 600)
        wait_for(lambda: errors or all(c.steps > 20 for c in clients))
        s.end(signal.SIGKILL)
        for t in threads: t.join()
    assert len(errors) == len(clients) and not [e for _, e in errors if isinstance(e, (Refused, AssertionError))], errors
    with server(tmp_path, clean_env) as s:
        for owner in owners:
            line = Line(s.port, owner)
            assert check(line, [c.model for c in clients if c.line.owner == owner]) > 10
            assert line.call('integrity_check') == []
        # and it goes on
        threads, errors = together([Client(s.port, owners[k % 2], 'v5', f'd{turn}-{k}') for k in range(4)], 1)
        for t in threads: t.join()
        assert not errors
        no_fault(s.port)


def test_the_check_finds_what_is_wrong(tmp_path, clean_env):
    with server(tmp_path, clean_env) as s:
        prepare(s.port, ['o'])
        client = Client(s.port, 'o', 'v5', 'c')
        client.run(time.monotonic() + 600, lambda: client.steps > 100)
        line, model = client.line, client.model
        assert check(line, [model])
        name, state = next((n, t) for n, t in model.things.items() if t and not t['deleted'])
        for change, why in (({name: state | dict(count=-1)}, 'lost'), ({'never': dict(count=0, deleted=False, id=None)}, 'lost')):
            kept = dict(model.things)
            model.things.update(change)
            with pytest.raises(AssertionError, match=why): check(line, [model])
            model.things = kept
        model.edges.append(('a', 'b'))
        with pytest.raises(AssertionError, match='lost'): check(line, [model])
        model.edges.pop()
        line.call('create_item', dict(type='Thing', name=name, count=0))
        with pytest.raises(AssertionError, match='stored twice'): check(line, [model])

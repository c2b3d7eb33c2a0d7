"""A long body is received straight into memory: whole and in order, in any cut of the bytes, between other requests"""
import asyncio, contextlib, hashlib, json, random, re, select, socket, ssl

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from certificates import both_in_one
from pymemri import asgi
from pymemri.asgi import LONG, PIECE, ThreadedServer, listen
from waiting import wait_for

NOISE = random.Random(7).randbytes(5 * PIECE)


class Reader:
    """An app that tells what it read: sizes of the parts, and the digest of all. At `/early` it reads nothing, at `/late` it waits to
    be `let`, and at `/close` it ends the connection"""
    def __init__(self): self.gone, self.begun, self.let = 0, 0, False
    def close(self): pass
    async def __call__(self, scope, receive, send):
        if scope['type'] == 'lifespan':
            while (await receive())['type'] != 'lifespan.shutdown': await send({'type': 'lifespan.startup.complete'})
            return await send({'type': 'lifespan.shutdown.complete'})
        self.begun += 1
        while scope['path'] == '/late' and not self.let: await asyncio.sleep(.01)
        sizes, digest, more = [], hashlib.sha256(), scope['path'] != '/early'
        while more:
            got = await receive()
            if got['type'] == 'http.disconnect':
                self.gone += 1
                return
            assert type(got['body']) is bytes
            digest.update(got['body'])
            sizes, more = [*sizes, len(got['body'])], got['more_body']
        body = json.dumps(dict(sizes=sizes, sha256=digest.hexdigest())).encode()
        head = [(b'content-length', b'%d' % len(body))] + [(b'connection', b'close')] * (scope['path'] == '/close')
        await send({'type': 'http.response.start', 'status': 200, 'headers': head})
        await send({'type': 'http.response.body', 'body': body})


class Reading(ThreadedServer):
    "`with Reading() as one: one.connect()`"
    def __init__(self, pem=None):
        self.pem, self.socket, self.reader = pem, listen('127.0.0.1', 0), Reader()
        self.launch(self.reader, self.socket, 'reader', (pem, pem) if pem else None)
    def __enter__(self): return self
    def connect(self):
        line = socket.create_connection(self.socket.getsockname(), timeout=600)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl.create_default_context(cafile=self.pem).wrap_socket(line, server_hostname='localhost') if self.pem else line
    @property
    def connections(self): return self.server.server_state.connections


@pytest.fixture(scope='module')
def pem(tmp_path_factory): return both_in_one(tmp_path_factory.mktemp('tls'))[0]


@pytest.fixture(scope='module', params=['uvloop', 'uvloop, TLS', 'asyncio', 'asyncio, TLS'])
def one(request, pem):
    with pytest.MonkeyPatch.context() as patch:
        if 'asyncio' in request.param: patch.setattr(asgi, 'new_loop', asyncio.new_event_loop)
        else: pytest.importorskip('uvloop')
        with Reading(pem if 'TLS' in request.param else None) as one: yield one
    assert one.reader.begun


def head(n, path='/', *more):
    return '\r\n'.join([f'POST {path} HTTP/1.1', 'Host: x', f'Content-Length: {n}', *more, '', '']).encode()


def answers(line, n):
    "What `n` answers say"
    with line.makefile('rb') as f:
        for _ in range(n):
            first = f.readline()
            if first.startswith(b'HTTP/1.1 100'): first = f.readline() and f.readline()
            assert first.startswith(b'HTTP/1.1 200'), first
            length = re.search(rb'(?i)content-length: (\d+)', b''.join(iter(f.readline, b'\r\n')))
            yield json.loads(f.read(int(length[1])))


def told(line): return next(answers(line, 1))


def digest(body): return hashlib.sha256(body).hexdigest()


def pieces(n): return [min(PIECE, n - k) for k in range(0, n, PIECE)]


SIZES = [1, 5000, LONG - 1, LONG, LONG + 1, LONG + 70_000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 9, 3 * PIECE, 4 * PIECE + 321]


@pytest.mark.parametrize('n', SIZES)
def test_what_was_sent_is_what_the_app_gets(one, n):
    body = NOISE[:n]
    with one.connect() as line:
        for together in (True, False, True):
            line.sendall(head(n) + body if together else head(n))
            if not together: line.sendall(body)
            got = told(line)
            assert got['sha256'] == digest(body)
            if n > 2 * LONG: assert got['sizes'] == pieces(n)  # what came with the head may leave less than is worth it


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(st.sampled_from(SIZES), st.sampled_from(['/', '/early']), st.integers(0, 9999)), min_size=1, max_size=5),
       cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_in_any_cut_and_one_behind_the_other(one, asked, cuts):
    bodies = [NOISE[start:start + n] for n, _, start in asked]
    said = b''.join(head(len(b), path) + b for b, (_, path, _) in zip(bodies, asked))
    at = [0, *sorted(len(said) * c // 10_000 for c in cuts), len(said)]
    with one.connect() as line:
        for a, b in zip(at, at[1:]): line.sendall(said[a:b])
        for got, body, (_, path, _) in zip(answers(line, len(asked)), bodies, asked, strict=True):
            assert got['sha256'] == digest(b'' if path == '/early' else body) and (path == '/early') == (got['sizes'] == [])


@pytest.mark.parametrize('more', [[], ['Expect: 100-continue'], ['Connection: close']], ids=str)
def test_heads_of_all_kinds(one, more):
    n = 2 * PIECE + 77
    with one.connect() as line:
        line.sendall(head(n, '/', *more))
        if more[:1] == ['Expect: 100-continue']: assert line.recv(25) == b'HTTP/1.1 100 Continue\r\n\r\n'
        line.sendall(NOISE[:n])
        assert told(line)['sha256'] == digest(NOISE[:n])
        if more == ['Connection: close']: assert line.recv(1) == b''
        else:
            line.sendall(head(3) + b'abc')
            assert told(line)['sha256'] == digest(b'abc')


def test_a_body_without_a_length(one):
    parts = [NOISE[k * 300_000:(k + 1) * 300_000] for k in range(9)]
    with one.connect() as line:
        for _ in range(2):
            line.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
            for part in parts: line.sendall(b'%x\r\n%b\r\n' % (len(part), part))
            line.sendall(b'0\r\n\r\n')
            assert told(line)['sha256'] == digest(b''.join(parts))


@pytest.mark.parametrize('lines', [['Content-Length: 3000000'], ['Transfer-Encoding: chunked'], ['Content-Length: -1'], ['Content-Length: 9x']], ids=str)
def test_heads_that_contradict_themselves_are_refused(one, lines):
    with one.connect() as line:
        line.sendall(head(2_000_000, '/', *lines) if lines[0][-1] in '0d' else
                     f'POST / HTTP/1.1\r\nHost: x\r\n{lines[0]}\r\n\r\n'.encode())
        with line.makefile('rb') as f: assert f.readline().startswith(b'HTTP/1.1 400')


def test_who_is_answered_early_may_send_the_rest_and_ask_again(one):
    with one.connect() as line:
        line.sendall(head(4 * PIECE, '/early') + NOISE[:LONG])
        assert told(line)['sizes'] == []
        line.sendall(NOISE[LONG:4 * PIECE] + head(2 * PIECE) + NOISE[:2 * PIECE])
        assert told(line) == dict(sizes=[PIECE, PIECE], sha256=digest(NOISE[:2 * PIECE]))


def test_who_is_answered_early_may_be_hung_up_on(one):
    with one.connect() as line:
        line.sendall(head(4 * PIECE, '/close') + NOISE[:4 * PIECE])
        assert told(line)['sha256'] == digest(NOISE[:4 * PIECE])
        assert line.recv(1) == b''


@pytest.mark.parametrize('sent', [0, 10, LONG, PIECE, 2 * PIECE + 5, 4 * PIECE - 1])
def test_who_hangs_up_in_the_middle(one, sent):
    gone, line = one.reader.gone, one.connect()
    line.sendall(head(4 * PIECE) + NOISE[:sent])
    line.close()
    wait_for(lambda: one.reader.gone == gone + 1)
    wait_for(lambda: not one.connections)


def test_an_app_that_does_not_read_is_not_flooded(one):
    one.reader.let, begun = False, one.reader.begun
    n, sent = 64 * PIECE, 0
    with one.connect() as line:
        line.sendall(head(n, '/late'))
        wait_for(lambda: one.reader.begun > begun)
        line.setblocking(False)
        while select.select([], [line], [], 1)[1]:  # as much as the network holds, and a piece
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError): sent += line.send(NOISE[:PIECE])
        assert sent < 32 * PIECE
        connection, = one.connections
        assert len(connection.cycle.body) <= PIECE
    one.reader.let = True
    wait_for(lambda: not one.connections)


def test_nothing_moves_in_the_middle(pem, monkeypatch):
    with Reading() as one, one.connect() as line:
        line.sendall(head(3 * PIECE) + NOISE[:2 * PIECE])
        wait_for(lambda: one.reader.begun)
        monkeypatch.setattr(asgi, 'IDLE', .2)
        try: assert line.recv(1) == b''
        except ConnectionResetError: pass  # cut off
        wait_for(lambda: one.reader.gone == 1)


def test_a_server_that_ends_finishes_what_is_under_way():
    with Reading() as one, one.connect() as line:
        line.sendall(head(3 * PIECE) + NOISE[:2 * PIECE])
        wait_for(lambda: one.reader.begun)
        one.server.should_exit = True
        wait_for(lambda: one.connections and not next(iter(one.connections)).cycle.keep_alive)
        line.sendall(NOISE[2 * PIECE:3 * PIECE])
        assert told(line) == dict(sizes=[PIECE] * 3, sha256=digest(NOISE[:3 * PIECE]))
        assert line.recv(1) == b''

"""Answers without ASGI are those that ASGI would give: in any cut of the bytes, among other requests, and to the last header"""
import gzip, json, re, socket
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.server.app import App
from pymemri.server.serve import Served
from waiting import wait_for

KEY, OTHER, OWNER = 'AB' * 32, 'CD' * 32, 'anna'


def post(op, payload, wire='v5', key=KEY, owner=OWNER, auth=None, body=None, head=''):
    "The bytes of a request"
    auth = auth or dict(type='ClientAuth', databaseKey=key)
    body = json.dumps(dict(auth=auth, payload=payload)).encode() if body is None else body
    return f'POST /{wire}/{owner}/{op} HTTP/1.1\r\nHost: pod\r\n{head}Content-Length: {len(body)}\r\n\r\n'.encode() + body


class Line:
    "A connection that says bytes and hears whole answers"
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=600)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = self.sock.makefile('rb')
    def __enter__(self): return self
    def __exit__(self, *_):
        self.answers.close()
        self.sock.close()
    def hear(self):
        "Head and body of an answer; the head without the date"
        head = b''.join(iter(self.answers.readline, b'\r\n'))
        assert head, 'the connection ended'
        length = int(re.search(rb'(?i)content-length: (\d+)', head)[1])
        return re.sub(rb'(?i)date: [^\r]*\r\n', b'', head), self.answers.read(length)
    def ask(self, *pieces):
        for piece in pieces: self.sock.sendall(piece)
        return self.hear()


class Counting(App):
    "An app that counts what it answers in each way"
    at_once_count = usual = 0
    def look_up(self, *args):
        found = super().look_up(*args)
        if found is not None: self.at_once_count += 1
        return found
    async def __call__(self, scope, receive, send):
        if scope['type'] == 'http': self.usual += 1
        await super().__call__(scope, receive, send)


class Usual(App):
    "An app that answers everything in the usual way"
    at_once = None


@pytest.fixture(scope='module')
def lines(tmp_path_factory):
    clock = dict(clock=lambda: 1_800_000_000_000) # the same dates in both
    quick, usual = (Served(data_folder=tmp_path_factory.mktemp('home'), port=0, keep_open=600, make=partial(make, **clock))
                    for make in (Counting, Usual))
    with quick, usual, Line(quick.settings.port) as a, Line(usual.settings.port) as b:
        for line in (a, b):
            items = [dict(type='ItemPropertySchema', itemType='Note', propertyName=n, valueType='Text') for n in ('name', 'text')]
            items += [dict(type='Note', id='note-0001', name='zwölf', text='"</script>'), dict(type='Note', id='note-long', name='x' * 9000)]
            for it in items: assert line.ask(post('create_item', it | dict(dateCreated=1, dateModified=1)))[0][9:12] == b'200'
        yield quick.app, a, b


BOX = dict(type='PluginAuth', data=dict(nonce='00' * 24, encryptedPermissions='11' * 40))
GZIP = gzip.compress(json.dumps(dict(auth=dict(type='ClientAuth', databaseKey=KEY), payload='note-0001')).encode())
REQUESTS = [post('get_item', 'note-0001', wire=w, **more) for w in ('v3', 'v4', 'v5') for more in (
    {}, dict(key='ab' * 32), dict(key=OTHER), dict(key='a b'), dict(owner='otto', key='12'), dict(owner='an%6ea'), dict(auth=BOX),
    dict(auth=dict(type='Nobody')), dict(body=b''), dict(body=b'{'), dict(body=b'\xff' * 9), dict(body=GZIP, head='Content-Encoding: gzip\r\n'),
    dict(body=GZIP), dict(head='Accept-Encoding: gzip\r\n'), dict(head='Content-Encoding: br\r\n'), dict(head='X: ' + 'y' * 300 + '\r\n'),
    dict(head='Upgrade: h2c\r\nConnection: Upgrade\r\n'))]
REQUESTS += [post('get_item', payload, wire=w) for w in ('v4', 'v5')
             for payload in ('note-long', 'none-such', '', None, 7, ['note-0001'], dict(id='note-0001'), 'note-0001\0', 'x' * 70_000)]
REQUESTS += [post('get_item', 'note-long', head='Accept-Encoding: gzip\r\n'), post('count', {'type': 'Note'}), post('search', {'type': 'Note'}, 'v4')]


@pytest.mark.parametrize('asked', REQUESTS, ids=range(len(REQUESTS)))
def test_both_ways_give_the_same_bytes(lines, asked):
    _, a, b = lines
    assert a.ask(asked) == b.ask(asked)


@pytest.mark.parametrize('owner', ['anna?', 'anna?x', 'anna#', 'a/b', 'anna/', '..', '*', "anna'", 'anna:1'])
@pytest.mark.parametrize('wire', ['v4', 'v5', 'v9'])
def test_odd_paths_lead_to_the_same_place(lines, wire, owner):
    _, a, b = lines
    told = []
    for line in (a, b):
        with Line(line.sock.getpeername()[1]) as other: # many of these end the connection
            told.append(other.ask(post('get_item', 'note-0001', wire, owner=owner)))
    assert told[0] == told[1]


def test_what_is_simple_takes_the_short_way(lines):
    app, a, _ = lines
    for wire in ('v3', 'v4', 'v5'):
        before = app.at_once_count, app.usual
        head, body = a.ask(post('get_item', 'note-0001', wire=wire))
        assert json.loads(body)[0]['name'] == 'zwölf' and head.startswith(b'HTTP/1.1 200 OK\r\n')
        assert (app.at_once_count, app.usual) == (before[0] + 1, before[1])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), cuts=st.lists(st.floats(0, 1), max_size=8))
def test_any_cut_gives_the_same_answers_in_order(lines, asked, cuts):
    _, a, b = lines
    wanted, said = [b.ask(one) for one in asked], b''.join(asked)
    places = [0, *sorted(int(c * len(said)) for c in cuts), len(said)]
    for start, end in zip(places, places[1:]): a.sock.sendall(said[start:end])
    assert [a.hear() for _ in asked] == wanted


def test_a_get_sees_what_was_asked_for_before_it_on_its_line(lines):
    _, a, _ = lines
    n = 50
    for wire in ('v4', 'v5'):
        a.sock.sendall(b''.join(post('update_item', dict(id='note-0001', text=f'{k}'), wire) + post('get_item', 'note-0001', wire)
                                for k in range(n)))
        heard = [a.hear() for _ in range(2 * n)]
        assert all(head.startswith(b'HTTP/1.1 200') for head, _ in heard), heard[:2]
        assert [json.loads(body)[0]['text'] for _, body in heard[1::2]] == [f'{k}' for k in range(n)]


def test_it_is_in_the_log_and_in_the_metrics(tmp_path):
    said = []
    with Served(data_folder=tmp_path, port=0, log=said.append) as one, Line(one.settings.port) as line:
        for _ in range(4): line.ask(post('get_item', 'note-0001'))
        one.app.log.flush()
        told = [json.loads(t) for t in ''.join(said).splitlines()]
        assert [t['path'] for t in told if t.get('status') == 200] == ['/v5/anna…/get_item'] * 4 and KEY not in ''.join(said)
        assert b'pymemri_requests_total{operation="get_item",status="200"} 4.0' in one.app.metrics.text()


def test_a_get_of_which_a_part_is_here_is_answered_before_the_server_ends(tmp_path):
    one = Served(data_folder=tmp_path, port=0, keep_open=600, make=Counting).start()
    asked = post('get_item', 'note-0001')
    with Line(one.settings.port) as line:
        assert line.ask(asked)[1] == line.ask(asked)[1] == b'[]' # the first opens the Pod
        line.sock.sendall(asked[:-5])
        wait_for(lambda: any(c.short for c in one.server.server_state.connections))
        one.server.should_exit = True
        wait_for(lambda: one.app.usual == 2) # it gave up waiting for all of it, to be waited for itself
        assert line.ask(asked[-5:])[1] == b'[]'
        assert line.answers.read() == b''
    one.stop()


def test_who_stops_in_the_middle_of_a_get_is_let_go(tmp_path, monkeypatch):
    with Served(data_folder=tmp_path, port=0, keep_open=600) as one, Line(one.settings.port) as line:
        line.ask(post('get_item', 'note-0001'))
        line.sock.sendall(post('get_item', 'note-0001')[:-1])
        wait_for(lambda: any(c.short for c in one.server.server_state.connections))
        monkeypatch.setattr('pymemri.asgi.IDLE', .2)
        try: assert line.answers.read() == b''
        except ConnectionResetError: pass # cut off
        wait_for(lambda: not one.server.server_state.connections)

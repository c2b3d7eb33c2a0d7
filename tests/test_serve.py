"""`pymemri serve`, as a process: its options, how it greets and ends, TLS, plugins, mail, and what must not be seen."""
import contextlib, email, email.policy, hashlib, http.client, json, os, re, secrets, signal, socket, socketserver, ssl
import stat, subprocess, sys, threading, time, urllib.error, urllib.request
from pathlib import Path

import psutil
import pytest

from certificates import make_certificate
from waiting import PATIENCE, wait_for

from pymemri.cli import make_parser
from pymemri.core import Conflict, Invalid
from pymemri.engine.runner import Limits
from pymemri.asgi import IDLE
from pymemri.server.serve import Served
from pymemri.server.settings import OPTIONS, POD_VERSION, Settings, read_settings

START = [sys.executable, '-c', 'import sys; from pymemri.cli import main; sys.exit(main())', 'serve']
KEY, OWNER = secrets.token_hex(32).upper(), secrets.token_hex(32)
PLAIN = '--owners=ANY', '--non-tls', '--port=0'


class Server:
    "`pymemri serve` in a process of its own, with what it said and complained of"
    def __init__(self, folder, env, *args, ready=True, **more):
        self.folder = folder
        self.files = [folder / f'{secrets.token_hex(4)}.{k}' for k in ('out', 'err')]
        with open(self.files[0], 'wb') as out, open(self.files[1], 'wb') as err:
            self.process = subprocess.Popen([*START, *args], env=env | more, cwd=folder, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err)
        if ready: self.wait_ready()

    @property
    def out(self): return self.files[0].read_text()

    @property
    def err(self): return self.files[1].read_text()

    def wait_ready(self):
        wait_for(lambda: '\n' in self.out or self.process.poll() is not None)
        said = re.match(r'Pod server on (https?)://(\S+):(\d+) \(', self.out)
        assert said, self.out + self.err
        self.scheme, self.at, self.port = said[1], said[2], int(said[3])
        self.url = f'{self.scheme}://localhost:{self.port}'

    def wait(self, seconds=PATIENCE):
        "Status at its end"
        try: return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def call(self, op, payload, key=KEY, owner=OWNER, wire='v4', **more):
        return fetch(f'{self.url}/{wire}/{owner}/{op}',
                     {'auth': {'type': 'ClientAuth', 'databaseKey': key}, 'payload': payload}, **more)


def fetch(url, body=None, context=None):
    "(status, text) of a request; a POST if there is a body"
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=120, context=context) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e: return e.code, e.read().decode()


@pytest.fixture
def env(clean_env, tmp_path):
    mine = {o.env for o in OPTIONS} | {'SSL_CERT_FILE', 'SSL_CERT_DIR'}
    return {k: v for k, v in clean_env.items() if k not in mine} | {'HOME': str(tmp_path), 'COLUMNS': '200'}


@pytest.fixture
def start(tmp_path, env):
    "Starts servers, which do not outlive the test"
    servers = []

    def begin(*args, **more):
        servers.append(Server(tmp_path, env, *args, **more))
        return servers[-1]
    yield begin
    for s in servers:
        if s.process.poll() is None: s.process.kill()
        s.process.wait()


def refused(start, *args, **more):
    "What it complains of, in one line, when it does not start"
    server = start(*args, ready=False, **more)
    assert server.wait() == 1, server.out + server.err
    assert server.out == ''
    return server.err


def half(port, body=b'', more=10):
    "A connection whose request lacks the last bytes of its body"
    sock = socket.create_connection(('127.0.0.1', port), timeout=120)
    head = f'POST /v4/{OWNER}/create_item HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + more}\r\n\r\n'
    sock.sendall(head.encode() + body)
    return sock


def read_all(sock):
    "Everything until the other side closes"
    parts = []
    while part := sock.recv(65536): parts.append(part)
    return b''.join(parts)


# --- options ---------------------------------------------------------------------------------------------------------

HASH = hashlib.sha256(bytes.fromhex(OWNER)).hexdigest()
SAMPLES = [  # option, what is written, what it means
    ('owners', 'ANY', None), ('owners', f'{HASH.upper()},{"0" * 64}', {HASH, '0' * 64}), ('port', '8080', 8080),
    ('data-folder', 'pods', Path('pods')), ('keep-open', '0.5', .5), ('tls-pub-crt', 'a.crt', 'a.crt'),
    ('tls-priv-key', 'a.key', 'a.key'), ('insecure-non-tls', '127.0.0.1', '127.0.0.1'), ('plugins-callback-address',
    'https://example.org:1', 'https://example.org:1'), ('plugins-public-domain', 'example.org', 'example.org'),
    ('plugins-docker-network', 'pod_net', 'pod_net'), ('insecure-plugin-script', 'a/b:c=/x=y', {'a/b:c': '/x=y'}),
    ('plugins-runner', 'docker', 'docker'), ('plugins-limits', 'cpu=5', Limits(cpu=5)), ('plugins-pass-on', 'A,B', ('A', 'B')),
    ('plugins-python', 'mail=/a/python', {'mail': '/a/python'}), ('plugins-python', '/a/python', {'': '/a/python'}),
    ('email-smtp-relay', 'example.org', 'example.org'), ('email-smtp-port', '2525', 2525),
    ('email-smtp-user', 'a@example.org', 'a@example.org'), ('email-smtp-password', 'a=b,c', 'a=b,c'),
    *((name, text, value) for name in ('non-tls', 'shared-server', 'use-kubernetes')
      for text, value in (('true', True), ('1', True), ('please', True), ('false', False), ('0', False), ('Off', False),
                          ('no', False), ('', False)))]
NAMES = {o.name: o for o in OPTIONS}


def settings(args, environ):
    given = vars(make_parser().parse_args(['serve', *args]))
    return read_settings(given, environ)


def test_every_option_has_a_sample():
    assert {name for name, *_ in SAMPLES} == set(NAMES)


@pytest.mark.parametrize('name, text, value', SAMPLES)
def test_an_option_can_be_said_in_every_way(name, text, value):
    option, args, environ = NAMES[name], [], {}
    if name != 'owners': environ['POD_OWNER_HASHES'] = 'ANY'
    ways = [([f'--{name}={text}'], {}), ([f'--{name}', text], {}), ([], {option.env: text})]
    if option.short: ways += [([f'-{option.short}', text], {})]
    for args, more in ways: assert getattr(settings(args, environ | more), option.field) == value, (args, more)
    other = {'insecure-plugin-script': 'z=z', 'port': '1', 'email-smtp-port': '1', 'keep-open': '1',
             'insecure-non-tls': '127.0.0.9', 'owners': 'f' * 64}.get(name, 'other')
    assert getattr(settings([f'--{name}={text}'], environ | {option.env: other}), option.field) == value  # and it wins


@pytest.mark.parametrize('name', ['non-tls', 'shared-server', 'use-kubernetes'])
def test_a_switch_may_stand_alone(name):
    assert getattr(settings(['-o', 'ANY', f'--{name}'], {}), NAMES[name].field) is True
    assert getattr(settings([f'--{name}', '--owners', 'ANY'], {}), NAMES[name].field) is True
    assert getattr(settings([f'--{name}', '-o', 'ANY'], {}), NAMES[name].field) is True


def test_defaults_are_those_of_memris_pod():
    s = settings([], {'POD_OWNER_HASHES': 'ANY'})
    assert s == Settings()
    assert (s.port, s.tls_pub_crt, s.tls_priv_key, s.plugins_docker_network, s.email_smtp_port) == \
        (3030, './data/certs/pod.crt', './data/certs/pod.key', 'host', 465)


@pytest.mark.parametrize('args, where', [
    (['--port=x'], '--port: '), (['--port=70000'], '--port: '), (['--keep-open=-1'], '--keep-open: '),
    (['--owners=me'], '--owners: '), (['--insecure-plugin-script=x'], '--insecure-plugin-script: '),
    (['--insecure-non-tls=localhost'], '--insecure-non-tls: '), (['--email-smtp-port=ssl'], '--email-smtp-port: ')])
def test_what_is_wrong_is_named(args, where):
    with pytest.raises(Invalid) as e: settings(['--owners=ANY', *args], {})
    assert e.value.message.startswith(where)


def test_help_shows_every_option_and_variable(env, tmp_path):
    done = subprocess.run([*START, '--help'], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr
    for o in OPTIONS:
        assert f'--{o.name} ' in done.stdout and f'{o.env}]' in done.stdout
        assert not o.short or f'-{o.short} ' in done.stdout
    version = subprocess.run([*START, '-V'], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert version.stdout.strip() == POD_VERSION and version.returncode == 0


@pytest.mark.parametrize('args, said', [
    ((), '--owners ANY'), (('--owners',), 'expected one argument'), (('--bogus',), 'unrecognized arguments'),
    (('--owners=ANY', 'word'), 'unrecognized arguments'), (('--owners=ab',), 'neither ANY'),
    (('-o', 'ANY', '-t', '-p', 'http'), 'not a port'), (('-o', 'ANY', '--insecure-non-tls', '0.0.0.0'), 'if you are sure'),
    (('-o', 'ANY', '-t', '--insecure-non-tls', '192.0.2.1'), 'cannot listen on 192.0.2.1')])
def test_wrong_words_end_it_with_1(start, args, said): assert said in refused(start, *args)


def test_the_other_commands_do_not_load_a_server(env):
    code = 'import sys, pymemri.cli; print(sorted({"uvicorn", "httptools", "nacl", "sqlcipher3"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=300)
    assert 'uvicorn' not in done.stdout and 'httptools' not in done.stdout and done.returncode == 0, done.stderr


# --- beginning and end -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_well(start, tmp_path, number):
    server = start(*PLAIN, '--data-folder=pods')
    assert server.out == f'Pod server on http://127.0.0.1:{server.port} (owners: ANY; data in ~/pods)\n'
    assert fetch(f'{server.url}/version') == (200, POD_VERSION)
    assert server.call('create_item', {'type': 'Note'})[0] == 200
    assert stat.S_IMODE((tmp_path / 'pods').stat().st_mode) == 0o700
    assert server.stop(number) == 0
    assert server.out.count('\n') == 1
    assert all(json.loads(line) for line in server.err.splitlines()), 'the log is not JSON alone'


def test_the_data_is_in_the_home_of_pymemri(start, tmp_path):
    start(*PLAIN, PYMEMRI_HOME='home').call('create_item', {'type': 'Note'})
    assert any(p.is_file() for p in (tmp_path / 'home').rglob('*'))
    start(*PLAIN, POD_DATA_FOLDER='folder', PYMEMRI_HOME='other').call('create_item', {'type': 'Note'})
    assert any(p.is_file() for p in (tmp_path / 'folder').rglob('*')) and not (tmp_path / 'other').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_finished(start, number):
    body = json.dumps({'auth': {'type': 'ClientAuth', 'databaseKey': KEY},
                       'payload': {'type': 'Note', 'id': 'a-late-note'}}).encode()
    server = start(*PLAIN, '--data-folder=pods')
    with half(server.port, body[:-10]) as slow, socket.create_connection(('127.0.0.1', server.port)) as idle:
        wait_for(lambda: 'pymemri_requests_under_way 2.0' in fetch(f'{server.url}/v5/metrics')[1])
        server.process.send_signal(number)
        assert read_all(idle) == b''  # who waits for nothing is let go
        with pytest.raises(OSError): socket.create_connection(('127.0.0.1', server.port), timeout=5).close()
        time.sleep(.5)
        assert server.process.poll() is None
        slow.sendall(body[-10:])
        answer = read_all(slow)
    assert b' 200 OK' in answer.splitlines()[0], answer
    assert answer.endswith(b'"a-late-note"')
    assert server.wait() == 0
    again = start(*PLAIN, '--data-folder=pods')
    assert json.loads(again.call('get_item', 'a-late-note')[1])[0]['id'] == 'a-late-note'


def test_a_second_interrupt_waits_for_nobody(start):
    server = start(*PLAIN)
    with half(server.port, b'{'):
        wait_for(lambda: 'pymemri_requests_under_way 2.0' in fetch(f'{server.url}/v5/metrics')[1])
        server.process.send_signal(signal.SIGINT)
        time.sleep(.5)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)  # more of the same is not more urgent
        time.sleep(.3)
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT) == 130
    assert 'Traceback' not in server.err


def test_a_second_interrupt_breaks_an_upload_off(start):
    server, sha256 = start(*PLAIN), hashlib.sha256(b'never').hexdigest()
    server.call('create_item', {'type': 'File', 'sha256': sha256})
    with socket.create_connection(('127.0.0.1', server.port), timeout=120) as slow:
        slow.sendall(f'POST /v4/{OWNER}/upload_file/{KEY}/{sha256} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf'.encode())
        wait_for(lambda: 'pymemri_requests_under_way 2.0' in fetch(f'{server.url}/v5/metrics')[1])
        server.process.send_signal(signal.SIGINT)
        time.sleep(.5)
        assert server.process.poll() is None
        assert server.stop(signal.SIGINT) == 130


def test_an_idle_connection_does_not_hold_it_up(start):
    server = start(*PLAIN)
    kept = http.client.HTTPConnection('127.0.0.1', server.port, timeout=120)
    kept.request('GET', '/version')
    assert kept.getresponse().read()
    began = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - began < IDLE / 2
    assert start('-o', 'ANY', '-t', '-p', str(server.port)).port == server.port  # and its port is free at once
    kept.close()


def test_a_second_server_says_that_there_is_one(start):
    one = start(*PLAIN, '--data-folder=pods')
    said = refused(start, *PLAIN[:2], f'--port={one.port}', '--data-folder=pods')
    assert f'port {one.port} is taken: another Pod server' in said and '--port' in said and said.count('\n') == 1
    assert fetch(f'{one.url}/version')[0] == 200
    shared = start(*PLAIN, '--shared-server')
    assert 'another Pod server' in refused(start, *PLAIN[:2], f'--port={shared.port}')


def test_a_stranger_on_the_port_is_told_from_a_pod(start):
    class Silent(socketserver.BaseRequestHandler):
        def handle(self): self.request.sendall(b'220 mail.example.org\r\n')
    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Silent) as other:
        threading.Thread(target=other.serve_forever, args=(.05,), daemon=True).start()
        assert 'is taken: another program' in refused(start, *PLAIN[:2], f'--port={other.server_address[1]}')
        other.shutdown()


# --- who may listen, and be listened to --------------------------------------------------------------------------------

def listens(server):
    "IP addresses that the process listens on"
    return {c.laddr.ip for c in psutil.Process(server.process.pid).net_connections() if c.status == 'LISTEN'}


@pytest.mark.parametrize('args, more, ip', [
    (['-t'], {}, '127.0.0.1'), (['--non-tls', 'true'], {}, '127.0.0.1'), ([], {'POD_NON_TLS': 'yes'}, '127.0.0.1'),
    (['--insecure-non-tls', '127.0.0.2'], {}, '127.0.0.2'), (['--insecure-non-tls=0.0.0.0', '-t'], {}, '0.0.0.0'),
    (['--insecure-non-tls=0.0.0.0'] * 2, {}, '0.0.0.0'), (['-t'], {'POD_INSECURE_NON_TLS': '0.0.0.0'}, '0.0.0.0')])
def test_plain_http_is_for_this_machine_unless_asked_twice(start, args, more, ip):
    server = start('--owners=ANY', '--port=0', *args, **more)
    assert (server.scheme, server.at, listens(server)) == ('http', ip, {ip})


@pytest.mark.parametrize('args, more', [
    (['--insecure-non-tls=0.0.0.0'], {}), ([], {'POD_INSECURE_NON_TLS': '0.0.0.0'}),
    (['--insecure-non-tls=0.0.0.0', '--non-tls=false'], {}), (['--insecure-non-tls=0.0.0.0'], {'POD_NON_TLS': 'false'})])
def test_plain_http_for_all_is_refused_when_asked_once(start, args, more):
    assert 'plain HTTP on 0.0.0.0 shows keys' in refused(start, '--owners=ANY', '--port=0', *args, **more)


def test_only_owners_of_the_list_are_let_in(start):
    server = start('--non-tls', '--port=0', POD_OWNER_HASHES=f'{"0" * 64},{HASH}')
    assert '(owners: 2 allowed; ' in server.out
    assert server.call('create_item', {'type': 'Note'})[0] == 200
    assert server.call('create_item', {'type': 'Note'}, owner=OWNER.upper())[0] == 200
    assert server.call('create_item', {'type': 'Note'}, owner='ab') == (403, 'Failure: Unexpected owner')


@pytest.mark.parametrize('how', [dict(SHARED_SERVER='true'), ('--shared-server',), ('--shared-server', 'yes')])
def test_a_shared_server_takes_and_gives_nothing(start, how):
    server = start(*PLAIN, **how) if isinstance(how, dict) else start(*PLAIN, *how)
    status, id = server.call('create_item', {'type': 'Note'})
    assert status == 200 and server.out.endswith('; write-only)\n')
    assert fetch(f'{server.url}/version') == (200, POD_VERSION)
    for op, payload in (('get_item', json.loads(id)), ('search', {}), ('bulk', {}), ('no_such', {})):
        assert server.call(op, payload) == (404, '')
        assert server.call(op, payload, wire='v5')[0] == 404
    assert fetch(f'{server.url}/v5/health')[0] == 404


@pytest.mark.parametrize('seconds, held', [('0', 0), ('60', 1)])
def test_how_long_a_pod_stays_open_is_a_setting(start, seconds, held):
    server = start(*PLAIN, POD_KEEP_OPEN=seconds)
    assert server.call('create_item', {'type': 'Note'})[0] == 200
    wait_for(lambda: f'pymemri_open_pods {held}.0' in fetch(f'{server.url}/v5/metrics')[1])


# --- TLS -------------------------------------------------------------------------------------------------------------

def test_tls_is_the_default(start, tmp_path):
    crt, _ = make_certificate(tmp_path / 'data' / 'certs')  # where Memri's Pod has them
    server = start('--owners=ANY', '--port=0')
    assert (server.scheme, server.at, listens(server)) == ('https', '0.0.0.0', {'0.0.0.0'})
    trusts = ssl.create_default_context(cafile=crt)
    status, id = server.call('create_item', {'type': 'Note'}, context=trusts)
    assert status == 200
    assert json.loads(server.call('get_item', json.loads(id), context=trusts)[1])[0]['type'] == 'Note'
    with pytest.raises(urllib.error.URLError, match='CERTIFICATE_VERIFY_FAILED'): fetch(f'{server.url}/version')
    with pytest.raises(OSError): fetch(f'http://127.0.0.1:{server.port}/version')
    assert fetch(f'{server.url}/version', context=trusts)[0] == 200
    assert 'another Pod server' in refused(start, '-o', 'ANY', '-p', str(server.port))
    assert server.stop() == 0 and 'Traceback' not in server.err


def test_files_for_tls_may_be_elsewhere(start, tmp_path, env):
    crt, key = make_certificate(tmp_path / 'else')
    server = start('--owners=ANY', '--port=0', '-c', str(crt), POD_TLS_PRIV_KEY=str(key))
    code = f'import urllib.request as u; print(u.urlopen("{server.url}/version").status)'
    done = subprocess.run([sys.executable, '-c', code], env=env | {'SSL_CERT_FILE': str(crt)}, capture_output=True,
                          text=True, timeout=300)
    assert done.stdout == '200\n', done.stderr


def test_without_a_certificate_it_says_what_to_do(start, tmp_path):
    said = refused(start, '--owners=ANY', '--port=0')
    assert './data/certs/pod.crt' in said and '--tls-pub-crt' in said and '--non-tls' in said and said.count('\n') == 1
    crt, key = make_certificate(tmp_path / 'one')
    said = refused(start, '--owners=ANY', '--port=0', '-c', str(crt), '-k', str(tmp_path / 'gone.key'))
    assert 'gone.key' in said and '--tls-priv-key' in said


def test_a_bad_certificate_is_named(start, tmp_path):
    crt, key = make_certificate(tmp_path / 'one')
    _, other = make_certificate(tmp_path / 'two')
    _, locked = make_certificate(tmp_path / 'three', b'a pass phrase')
    (tmp_path / 'text').write_text('not PEM')
    for pair in ((crt, other), (tmp_path / 'text', key), (crt, tmp_path / 'text')):
        said = refused(start, '--owners=ANY', '--port=0', '-c', str(pair[0]), '-k', str(pair[1]))
        assert str(pair[0]) in said and str(pair[1]) in said and 'Traceback' not in said
    assert 'has a pass phrase' in refused(start, '--owners=ANY', '--port=0', '-c', str(crt), '-k', str(locked))


# --- plugins ---------------------------------------------------------------------------------------------------------

RIGHTS = {'read': {'Note': '*', 'PluginRun': '*'}, 'create': {'Note': '*'}}
PLUGIN = '''#!{python}
import json, os, sys, urllib.request
from pathlib import Path
auth = json.loads(os.environ['POD_AUTH_JSON']) | {{'type': 'PluginAuth'}}
def call(op, payload):
    body = json.dumps({{'auth': auth, 'payload': payload}}).encode()
    url = '/'.join((os.environ['POD_FULL_ADDRESS'], 'v4', os.environ['POD_OWNER'], op))
    with urllib.request.urlopen(url, body, timeout=30) as r: return json.loads(r.read())
told = {{'env': dict(os.environ), 'argv': sys.argv, 'stdin': sys.stdin.read(),
        'target': call('get_item', json.loads(os.environ['POD_TARGET_ITEM'])['id']),
        'created': call('create_item', {{'type': 'Note', 'title': 'from the plugin'}})}}
Path(sys.argv[0] + '.new').write_text(json.dumps(told))
Path(sys.argv[0] + '.new').rename(sys.argv[0] + '.json')
'''
RECORDER = '''#!{python}
import json, os, sys
from pathlib import Path
Path(sys.argv[0] + '.new').write_text(json.dumps({{'env': dict(os.environ), 'argv': sys.argv}}))
Path(sys.argv[0] + '.new').rename(sys.argv[0] + '.json')
'''


def program(path, text):
    "A program that others can run, and the file in which it tells what it saw"
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return path, path.with_name(path.name + '.json')


def told(path):
    "What the program saw"
    wait_for(path.exists)
    found = json.loads(path.read_text())
    path.unlink()
    return found


def define(server):
    "Properties that the tests use"
    properties = [('Note', 'title')] + [('PluginRun', p) for p in ('containerImage', 'targetItemId', 'permissions')]
    made = server.call('bulk', {'createItems': [
        {'type': 'ItemPropertySchema', 'itemType': t, 'propertyName': p, 'valueType': 'Text'} for t, p in properties]})
    assert made[0] == 200, made


def plugin_run(image, target, **more):
    return {'type': 'PluginRun', 'containerImage': image, 'targetItemId': target, 'permissions': json.dumps(RIGHTS), **more}


def test_a_plugin_is_told_five_things_and_calls_back(start, tmp_path):
    script, seen = program(tmp_path / 'plug in', PLUGIN)
    server = start(*PLAIN, '--insecure-plugin-script', f'example.org/notes:dev={script}', EMAIL_SMTP_PASSWORD='hidden')
    define(server)
    note = json.loads(server.call('create_item', {'type': 'Note', 'title': 'für dich'})[1])
    status, run = server.call('create_item', plugin_run('example.org/notes:dev', note))
    assert status == 200, run
    saw = told(seen)
    env = saw['env']
    assert env['POD_FULL_ADDRESS'] == f'http://localhost:{server.port}' and env['POD_OWNER'] == OWNER
    assert env['POD_PLUGINRUN_ID'] == json.loads(run)
    assert json.loads(env['POD_TARGET_ITEM']) == json.loads(server.call('get_item', note)[1])[0]
    box = json.loads(env['POD_AUTH_JSON'])
    assert box.keys() == {'data'} and box['data'].keys() == {'nonce', 'encryptedPermissions'}
    assert (saw['argv'], saw['stdin']) == ([str(script)], '') and 'EMAIL_SMTP_PASSWORD' not in env
    assert saw['target'][0]['title'] == 'für dich'
    assert json.loads(server.call('get_item', saw['created'])[1])[0]['title'] == 'from the plugin'
    children = psutil.Process(server.process.pid).children
    wait_for(lambda: not children())  # no zombie either
    box['type'] = 'PluginAuth'
    assert fetch(f'{server.url}/v4/{OWNER}/get_item', {'auth': box, 'payload': note})[0] == 200
    assert server.stop() == 0
    again = start(*PLAIN)
    status, text = fetch(f'{again.url}/v4/{OWNER}/get_item', {'auth': box, 'payload': note})
    assert status == 500 and 'aead::Error' in text  # a box ends with its process


def test_the_callback_address_is_passed_on_as_it_is(start, tmp_path):
    script, seen = program(tmp_path / 'plugin', RECORDER)
    server = start(*PLAIN, '--insecure-plugin-script', f'a={script}', '-s', 'https://example.org:99/x/')
    define(server)
    assert server.call('create_item', plugin_run('a', 'my-own-run', id='my-own-run'))[0] == 200  # its own target
    assert told(seen)['env']['POD_FULL_ADDRESS'] == 'https://example.org:99/x/'


def test_what_cannot_be_started_is_not_stored(start, tmp_path):
    server = start(*PLAIN, '--insecure-plugin-script', f'a={tmp_path / "gone"}')
    define(server)
    status, text = server.call('create_item', plugin_run('a', 'my-own-run', id='my-own-run'))
    assert status == 500 and text.startswith(f'Failure: Failed to execute {tmp_path / "gone"}, a plugin container')
    assert 'No such file or directory (os error 2)' in text
    assert server.call('get_item', 'my-own-run') == (200, '[]')


# --- mail ------------------------------------------------------------------------------------------------------------

class Relay(socketserver.StreamRequestHandler):
    "Speaks just enough SMTP"
    def setup(self):
        super().setup()
        self.server.connected += 1

    def say(self, line): self.wfile.write(line + b'\r\n')

    def handle(self):
        if self.server.mute: return self.server.done.wait(20)
        self.say(b'220 relay')
        for line in self.rfile:
            word = line.strip().upper()
            if word.startswith(b'EHLO'): self.wfile.write(b'250-relay\r\n250 AUTH PLAIN\r\n')
            elif word.startswith(b'AUTH'):
                self.server.logins.append(line.split()[-1])
                self.say(b'535 wrong password' if self.server.angry else b'235 welcome')
            elif word == b'DATA':
                self.say(b'354 go on')
                data = b''
                while (part := self.rfile.readline()) != b'.\r\n': data += part.removeprefix(b'.')
                self.server.mails.append(data)
                self.say(b'250 taken')
            elif word == b'QUIT': return self.say(b'221 bye')
            else:
                self.server.envelope.append(line.strip().decode())
                self.say(b'250 fine')


class SmtpServer(socketserver.ThreadingTCPServer):
    "A mail server with TLS, on loopback"
    daemon_threads, allow_reuse_address = True, True

    def __init__(self, crt, key):
        super().__init__(('127.0.0.1', 0), Relay)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(crt, key)
        self.mails, self.logins, self.envelope, self.connected = [], [], [], 0
        self.mute, self.angry, self.done = False, False, threading.Event()
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()

    def finish_request(self, request, client_address):
        with contextlib.suppress(OSError):  # a client that does not trust us hangs up
            with self.tls.wrap_socket(request, server_side=True) as wrapped: super().finish_request(wrapped, client_address)


@pytest.fixture
def relay(tmp_path):
    with SmtpServer(*make_certificate(tmp_path / 'relay')) as server:
        yield server
        server.done.set()
        server.shutdown()


PASSWORD = secrets.token_hex(8)
MAIL = {'to': 'Anna <anna@example.org>', 'subject': 'Grüße', 'body': 'Your code is 12.\n.\nBye'}


def mailing(relay, tmp_path, **more):
    "Variables for a server that mails by the relay"
    return {'EMAIL_SMTP_RELAY': 'localhost', 'EMAIL_SMTP_PORT': str(relay.server_address[1]),
            'EMAIL_SMTP_USER': 'pod@example.org', 'EMAIL_SMTP_PASSWORD': PASSWORD,
            'SSL_CERT_FILE': str(tmp_path / 'relay' / 'pod.crt')} | more


def test_a_mail_arrives(start, relay, tmp_path):
    server = start(*PLAIN, **mailing(relay, tmp_path))
    assert server.call('send_email', MAIL) == (200, '{}')
    mail = email.message_from_bytes(relay.mails[0], policy=email.policy.default)
    assert (mail['From'], mail['To']) == ('Memri plugin <pod@example.org>', MAIL['to'])
    assert mail['Subject'] == 'Memri plugin message: Grüße'
    text = 'This is an automated message from a Memri plugin, do not reply.\n\n' + MAIL['body']
    assert mail.get_content().replace('\r\n', '\n').rstrip('\n') == text
    assert [e.partition('>')[0].lower() for e in relay.envelope] == \
        ['mail from:<pod@example.org', 'rcpt to:<anna@example.org']


@pytest.mark.parametrize('change, said', [
    ({'subject': 'a\r\nBcc: evil@example.org'}, 'Email error: '), ({'subject': 'a\nb'}, 'Email error: '),
    ({'subject': '=?utf-8?q?a=0d=0aBcc=3a_evil=40example.org?='}, 'Email error: '),
    ({'to': 'a@example.org\r\nBcc: evil@example.org'}, 'Email address error: '), ({'to': 'anna'}, 'Email address error: '),
    ({'to': 'a@example.org, evil@example.org'}, 'Email address error: '),
    ({'to': '=?utf-8?q?=0d=0aBcc=3a_evil=40example.org?= <a@example.org>'}, 'Email address error: ')])
def test_no_header_comes_from_outside(start, relay, tmp_path, change, said):
    server = start(*PLAIN, **mailing(relay, tmp_path))
    status, text = server.call('send_email', MAIL | change)
    assert status == 400 and text.startswith(f'Failure: {said}')
    assert not relay.connected and not relay.mails


def test_without_a_relay_mail_is_not_even_looked_at(start):
    server = start(*PLAIN, EMAIL_SMTP_RELAY='localhost', EMAIL_SMTP_USER='pod@example.org')  # no password
    assert server.call('send_email', MAIL | {'to': 'x'}) == (200, '{}')
    assert server.call('send_email', {'to': 'x'})[0] == 400
    server.stop()
    assert 'mail not sent' in server.err and 'Your code' not in server.err and 'Grüße' not in server.err


def test_a_relay_that_refuses_is_an_error_without_the_password(start, relay, tmp_path):
    relay.angry = True
    server = start(*PLAIN, **mailing(relay, tmp_path))
    status, text = server.call('send_email', MAIL)
    assert status == 400 and text.startswith('Failure: Email sending error: ') and relay.logins and not relay.mails
    server.stop()
    assert PASSWORD not in text + server.err + server.out


def test_a_stranger_gets_no_password(start, relay, tmp_path):
    other, _ = make_certificate(tmp_path / 'other')
    server = start(*PLAIN, **mailing(relay, tmp_path, SSL_CERT_FILE=str(other)))
    status, text = server.call('send_email', MAIL)
    assert status == 400 and 'CERTIFICATE_VERIFY_FAILED' in text and not relay.logins
    server = start(*PLAIN, **mailing(relay, tmp_path, EMAIL_SMTP_PORT='1'))
    assert server.call('send_email', MAIL)[1].startswith('Failure: Email sending error: ')


def test_a_mute_relay_is_left_after_five_seconds_and_others_are_served(start, relay, tmp_path):
    relay.mute = True
    server, took = start(*PLAIN, **mailing(relay, tmp_path)), []

    def mail():
        began = time.monotonic()
        took.append((*server.call('send_email', MAIL), time.monotonic() - began))
    waiting = threading.Thread(target=mail)
    waiting.start()
    wait_for(lambda: relay.connected)
    assert server.call('get_item', 'x') == (200, '[]') and not took
    waiting.join(120)
    (status, text, seconds), = took
    assert status == 400 and 'timed out' in text and seconds > 4.5


# --- what nobody should see --------------------------------------------------------------------------------------------

def titles(process):
    "Command lines and names of a process and its children, as every user of the machine sees them"
    found = []
    for p in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error): found += [p.name(), *p.cmdline()]
    return '\n'.join(found)


def test_no_key_is_seen_anywhere(start, tmp_path):
    script, seen = program(tmp_path / 'plugin', '#!{python}\nimport time\ntime.sleep(3)\n')
    server = start(*PLAIN, '--insecure-plugin-script', f'a={script}', '--insecure-plugin-script', 'b=/no/such/program')
    define(server)
    key, other, texts = KEY, secrets.token_hex(32), []
    digest = hashlib.sha256(b'hello').hexdigest()
    auth = {'type': 'ClientAuth', 'databaseKey': key}

    def post(path, body): texts.append((path, *fetch(f'{server.url}/{path}', body)))
    post(f'v4/{OWNER}/bulk', {'auth': auth, 'payload': {'createItems': [{'type': 'File', 'sha256': digest}]}})
    post(f'v4/{OWNER}/create_item', {'auth': auth, 'payload': plugin_run('a', 'a-run-1', id='a-run-1')})
    post(f'v4/{OWNER}/create_item', {'auth': auth, 'payload': plugin_run('b', 'a-run-2', id='a-run-2')})
    for k in (key, other, key + '!', key.lower()): post(f'v4/{OWNER}/upload_file/{k}/{digest}', b'hello')
    post(f'v4/{OWNER}/upload_file_b/{json.dumps(auth).replace(" ", "%20")}/{digest}'.replace('"', '%22'), b'hello')
    post(f'v4/{OWNER}/upload_file_b/{key}/{digest}', b'hello')
    for wire in ('v3', 'v4', 'v5'):
        for k in (key, other, f'{key}-', key[:-1]):
            post(f'{wire}/{OWNER}/get_item', {'auth': {'type': 'ClientAuth', 'databaseKey': k}, 'payload': 'x'})
        for body in ({'auth': auth}, {'auth': {'type': 'PluginAuth', 'databaseKey': key}, 'payload': 'x'},
                     {'auth': [key], 'payload': 1},
                     {'auth': auth, 'payload': {'no': 'id'}}, f'{{"auth": "{key}'.encode(), key.encode()):
            post(f'{wire}/{OWNER}/create_item', body)
        post(f'{wire}/{key}/{key}/{key}', b'{}')
        post(f'{wire}/{OWNER}/{key}', b'{}')
    seen_titles = titles(psutil.Process(server.process.pid))
    assert str(script) in seen_titles  # the plugin was alive when we looked
    assert server.stop() == 0
    allowed = 200, 400, 401, 403, 404, 405, 409, 500
    assert {status for _, status, _ in texts} <= set(allowed)
    assert {200, 400, 403, 404, 500} <= {status for _, status, _ in texts}
    for what in (server.out, server.err, seen_titles, *(text for _, _, text in texts)):
        for secret in (key, key.lower(), key[:-1], other, other.upper(), KEY[8:40]):
            assert secret not in what, what
    assert server.err.count('"path"') > 30 and digest not in server.err


def test_a_password_in_the_environment_is_in_no_title(start, relay, tmp_path):
    server = start(*PLAIN, **mailing(relay, tmp_path))
    assert PASSWORD not in titles(psutil.Process(server.process.pid)) + server.out + server.err


# --- in a thread -----------------------------------------------------------------------------------------------------

def test_served_is_a_server_in_this_process(tmp_path):
    lines, before = [], set(threading.enumerate())
    with Served(data_folder=tmp_path, log=lines.append) as one, Served(data_folder=tmp_path / 'other') as two:
        assert one.url != two.url and one.url.startswith('http://127.0.0.1:')
        assert fetch(f'{one.url}/version') == fetch(f'{two.url}/version') == (200, POD_VERSION)
        body = {'auth': {'type': 'ClientAuth', 'databaseKey': KEY}, 'payload': {'type': 'Note'}}
        assert fetch(f'{one.url}/v4/{OWNER}/create_item', body)[0] == 200
        with pytest.raises(Conflict, match='another Pod server'): Served(port=one.settings.port).start()
    with pytest.raises(OSError): fetch(f'{one.url}/version')
    with Served(data_folder=tmp_path, port=one.settings.port) as again: assert again.url == one.url
    assert any('create_item' in line for line in lines) and not any(KEY in line for line in lines)
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith('Pod server')]


def test_served_with_tls_and_settings(tmp_path):
    crt, key = make_certificate(tmp_path / 'certs')
    given = Settings(tls_pub_crt=str(crt), tls_priv_key=str(key), data_folder=tmp_path, owners=frozenset({HASH}))
    with Served(given, tls=True) as s:
        assert s.url.startswith('https://127.0.0.1:') and s.settings.owners == {HASH}
        assert fetch(f'{s.url}/version', context=ssl.create_default_context(cafile=crt))[0] == 200

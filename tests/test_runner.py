"""A Pod starts plugins: embedded and served alike, in real processes that are really killed. Docker and Kubernetes are
stand-ins that speak their HTTP and note what they are asked; their official clients are the real ones."""
import http.server, json, os, re, secrets, signal, socketserver, subprocess, sys, tempfile, threading, time
from pathlib import Path

import psutil
import pytest

from waiting import wait_for

from pymemri.data.schema import PluginRun
from pymemri.engine.runner import OUTPUT
from pymemri.pod.client import Dog, PodClient
from pymemri.pod.hosting import host_settings
from pymemri.server.serve import Served

root = Path(__file__).resolve().parents[1]
OWNER, KEY = '0f' * 32, 'e1' * 32

PLUGINS = '''
import json, os, resource, subprocess, sys, time
from pymemri.plugin.pluginbase import PluginBase
from pymemri.pod.client import Dog

class Plain(PluginBase):
    schema_classes = []
    def __init__(self, note:str='', **kwargs):
        super().__init__(**kwargs)
        self.note = note
    def run(self): print('hello from the plugin')

class Looks(Plain):
    "Tells what it sees of its world"
    def run(self):
        limits = {n: resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[0] for n in ('AS', 'CPU', 'NOFILE', 'FSIZE', 'CORE')}
        print('SEEN', json.dumps(dict(env=dict(os.environ), folder=os.getcwd(), files=os.listdir(), limits=limits,
            python=sys.executable, leader=os.getsid(0) == os.getpid(), stdin=sys.stdin.read())))

class Breeds(Plain):
    schema_classes = [Dog]
    def run(self): self.client.create(Dog(name='Rex'))

class Fails(Plain):
    def run(self): raise ValueError('no such album')

class Sleeps(Plain):
    "Starts another process, which leaves its session, and tells both numbers"
    def run(self):
        code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork() and os._exit(0); os.setsid(); " \\
               "open(%r, 'a').write(f'{os.getpid()}\\\\n'); time.sleep(300)" % self.note
        subprocess.Popen([sys.executable, '-c', code])
        with open(self.note, 'a') as f: f.write(f'{os.getpid()}\\n')
        print('asleep', flush=True)
        while True: time.sleep(.1)

class Deaf(Plain):
    "Is ended by nothing but force"
    def run(self):
        import signal
        self.teardown()
        for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)
        with open(self.note, 'a') as f: f.write(f'{os.getpid()}\\n')
        while True: time.sleep(1)

class Exits(Plain):
    def run(self):
        print('leaving without a word', flush=True)
        os._exit(7)

class Killed(Plain):
    def run(self): os.kill(os.getpid(), 9)

class Eats(Plain):
    def run(self): x = bytearray(10**10)

class Spins(Plain):
    def run(self):
        while True: pass

class Talks(Plain):
    def run(self):
        for k in range(40_000): print('%06d' % k, 'x' * 60)
        print('the end')

class Snoops(Plain):
    "Reads what it may not"
    def run(self):
        me = self.pluginRun.id
        types = {i['type'] for i in self.client.api.search({})}
        print('TYPES', json.dumps(sorted(types - {'ItemPropertySchema', 'ItemEdgeSchema'})))
        for what in (dict(type='PluginRun', containerImage='x', targetItemId=me),
                     dict(type='PluginTrigger', containerImage='x', every=1)):
            try: self.client.api.create_item(what)
            except Exception as e: print('REFUSED', type(e).__name__)
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    "A module of plugins that the Pod's Python finds"
    (tmp_path / 'code').mkdir()
    (tmp_path / 'code' / 'kennel.py').write_text(PLUGINS)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(root), str(tmp_path / 'code')]))
    monkeypatch.setenv('SECRET_OF_THE_POD', 'not for plugins')
    return tmp_path


SERVED = []  # servers of the test that runs


@pytest.fixture(params=['embedded', 'served'])
def road(request, tmp_path, monkeypatch):
    "Makes clients of one Pod; options go to its settings by the variables that both roads read"
    clients = []

    def begin(**options):
        for name, value in options.items(): monkeypatch.setenv(f'POD_{name.upper()}', value)
        how = dict(owner_key=OWNER, database_key=KEY)
        if request.param == 'embedded': client = PodClient(home=tmp_path / 'home', **how)
        else:
            begin.served = Served(host_settings(tmp_path / 'home', os.environ)).start()
            SERVED.append(begin.served)
            client = PodClient(begin.served.url, **how)
        clients.append(client)
        return client
    begin.name, begin.home = request.param, tmp_path / 'home'
    yield begin
    for client in clients: client.close()
    while SERVED: SERVED.pop().stop()


def plugin(client, name, permissions=None, note='', wait=120, **more):
    "The run of a plugin, when it has ended"
    run = PluginRun(pluginModule='kennel', pluginName=name, config=json.dumps(dict(note=note)) if note else None,
                    permissions=json.dumps(permissions or {}), **more)
    client.create(run)
    return ended(client, run, wait) if wait else run


def ended(client, run, wait=120):
    "A run that has ended, with its output, which is written when the process is over"
    client.wait_for_run(run, wait)
    wait_for(lambda: not any(run.id in s.app.starter.runs.jobs for s in SERVED))
    client.reset_local_db()
    return client.get(run.id)


def output(run): return run.output[0].content if run.output else ''


def numbers(path, n):
    "The process ids that a plugin told"
    wait_for(lambda: path.exists() and path.read_text().count('\n') >= n, why='the plugin did not start')
    return [int(x) for x in path.read_text().split()]


def lives(pid):
    try: return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess: return False


def living(pids): return [p for p in pids if lives(p)]


# ---- a process ----

def test_creating_a_run_starts_its_plugin(road):
    client = road()
    run = plugin(client, 'Breeds', {'create': {'Dog': '*'}})
    assert (run.status, run.error) == ('done', None), output(run)
    assert [d['name'] for d in client.api.search({'type': 'Dog'})] == ['Rex']


def test_in_a_bulk_too(road):
    client = road()
    runs = [PluginRun(pluginModule='kennel', pluginName='Plain') for _ in range(3)]
    client.bulk_action(create_items=runs)
    assert [ended(client, r).status for r in runs] == ['done'] * 3


def test_without_permissions_it_can_do_nothing(road):
    client = road()
    client.create(Dog(name='Fido', age=3))
    run = plugin(client, 'Breeds')
    assert run.status == 'error' and 'permissions' in run.error, run.error
    assert client.count({'type': 'Dog'}) == 1


def test_it_can_not_read_more_or_start_others(road):
    client = road()
    client.create(Dog(name='Fido', age=3))
    plugin(client, 'Plain')  # its output is there now
    run = plugin(client, 'Snoops', {'read': {'*': '*'}, 'create': {'*': '*'}, 'edges': {'read': '*'}})
    assert run.status == 'done', output(run)
    said = output(run)
    types = json.loads(re.search('TYPES (.*)', said)[1])
    assert 'Dog' in types and 'PluginRunLog' not in types
    assert said.count('REFUSED Forbidden') == 2
    assert client.count({'type': 'PluginTrigger'}) == 0 and client.count({'type': 'PluginRun'}) == 2


def test_its_world(road):
    client = road(plugins_limits='memory=3G,cpu=77,files=99,file_size=1M')
    run = plugin(client, 'Looks')
    assert run.status == 'done', (run.error, output(run))
    seen = json.loads(re.search('SEEN (.*)', output(run))[1])
    env = seen['env']
    five = {'POD_FULL_ADDRESS', 'POD_TARGET_ITEM', 'POD_PLUGINRUN_ID', 'POD_OWNER', 'POD_AUTH_JSON'}
    assert set(env) - {'LC_CTYPE', '__CF_USER_TEXT_ENCODING'} == five | {'PATH', 'HOME', 'LANG', 'PYTHONPATH'}
    assert env['HOME'] == seen['folder'] and env['POD_PLUGINRUN_ID'] == run.id
    assert KEY not in json.dumps(seen) and 'not for plugins' not in json.dumps(seen)
    assert json.loads(env['POD_TARGET_ITEM'])['id'] == run.id
    assert json.loads(env['POD_AUTH_JSON']).keys() == {'data'}
    assert seen['limits'] == {'AS': 3 * 2**30, 'CPU': 77, 'NOFILE': 99, 'FSIZE': 2**20, 'CORE': 0}
    assert (seen['leader'], seen['stdin'], seen['python']) == (True, '', sys.executable)
    assert seen['files'] in ([], ['.pymemri'])
    assert Path(seen['folder']).parent == road.home / 'plugin_runs' and not Path(seen['folder']).exists()


def test_what_the_settings_pass_on_and_another_python(road, tmp_path):
    venv = tmp_path / 'venv' / 'bin'
    venv.mkdir(parents=True)
    python = venv / 'python'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={os.environ["PYTHONPATH"]} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    client = road(plugins_pass_on='SECRET_OF_THE_POD,PYTHONPATH', plugins_python=f'kennel={python}')
    python.write_text(python.read_text().replace('exec', 'OTHER_PYTHON=${PYTHONPATH_BEFORE:-none} exec'))
    env = json.loads(re.search('SEEN (.*)', output(plugin(client, 'Looks')))[1])['env']
    assert env['SECRET_OF_THE_POD'] == 'not for plugins' and env['OTHER_PYTHON'] == 'none'


def test_a_failure_is_recorded_with_its_reason(road):
    client = road()
    run = plugin(client, 'Fails')
    assert run.status == 'error' and 'no such album' in run.error
    assert 'ValueError: no such album' in output(run)


@pytest.mark.parametrize('name, why', [('Exits', 'exit code 7; its last line: leaving without a word'), ('Killed', 'the signal SIGKILL')])
def test_a_sudden_end_is_recorded(road, name, why):
    run = plugin(road(), name)
    assert run.status == 'error' and why in run.error


def test_limits(road):
    client = road(plugins_limits='memory=1G,cpu=2')
    eats, spins = plugin(client, 'Eats'), plugin(client, 'Spins')
    assert eats.status == 'error' and 'MemoryError' in output(eats), output(eats)
    assert spins.status == 'error' and 'more than 2 seconds of processor time' in spins.error, spins.error


def test_the_last_mebibyte_is_kept(road):
    run = plugin(road(), 'Talks')
    assert run.status == 'done', run.error
    text = output(run)
    assert OUTPUT - 200 < len(text) <= OUTPUT and 'the end' in text[-200:]


def test_what_names_nothing_to_run_is_just_an_item(road):
    client = road()
    runs = [PluginRun('none', 'kennel', 'Plain'), PluginRun(), PluginRun(pluginModule='kennel', pluginName='Plain', status='done')]
    for run in runs: client.create(run)
    time.sleep(1)
    assert [client.api.get_item(r.id)[0].get('status') for r in runs] == [None, None, 'done']


def test_a_plugin_that_does_not_exist(road):
    run = plugin(road(), 'Nobody')
    assert run.status == 'error' and run.error, run.error
    assert 'Unknown plugin: kennel.Nobody' in output(run)


def test_a_python_that_is_not_there(road):
    run = plugin(road(plugins_python='/no/such/python'), 'Plain')
    assert run.status == 'error' and 'No such file or directory' in run.error


def test_permissions_that_make_no_sense_are_refused(road):
    client = road()
    with pytest.raises(Exception, match='permissions'): plugin(client, 'Plain', {'reed': {}}, wait=0)
    assert client.count({'type': 'PluginRun'}) == 0


# ---- its end ----

@pytest.mark.parametrize('name, n', [('Sleeps', 2), ('Deaf', 1)])
def test_abort(road, tmp_path, name, n):
    client = road()
    run = plugin(client, name, note=str(tmp_path / 'pids'), wait=0)
    pids = numbers(tmp_path / 'pids', n)
    client.api.update_item({'id': run.id, 'status': 'aborted'})
    wait_for(lambda: not living(pids))
    assert ended(client, run).status == 'aborted'


@pytest.mark.parametrize('name, n', [('Sleeps', 2), ('Deaf', 1)])
def test_closing_the_pod_ends_its_runs_and_says_so(road, tmp_path, name, n):
    client = road()
    run = plugin(client, name, note=str(tmp_path / 'pids'), wait=0)
    pids = numbers(tmp_path / 'pids', n)
    client.close() if road.name == 'embedded' else road.served.stop()
    assert not living(pids)
    with PodClient(home=road.home, owner_key=OWNER, database_key=KEY) as again:
        found = again.api.get_item(run.id)[0]
        assert found['status'] == 'aborted', found
        assert name == 'Sleeps' or found['error'] == 'the Pod was closed while it ran'  # the other one says it itself
        assert not again.api.road.pod.store.notes('run.')
    assert not list((road.home / 'plugin_runs').iterdir())


def test_an_embedded_pod_is_a_server_only_as_long_as_it_has_to(tmp_path):
    with PodClient(home=tmp_path / 'home', owner_key='a text: no hex', database_key='a passphrase') as client:
        assert client.api.road.host is None
        run = plugin(client, 'Sleeps', note=str(tmp_path / 'pids'), wait=0)
        numbers(tmp_path / 'pids', 2)
        served = client.api.road.host.served
        stranger = PodClient(served.url, owner_key='somebody else', database_key=KEY, register_base_schema=False)
        with pytest.raises(Exception, match='Unexpected owner'): stranger.api.search({})
        client.api.update_item({'id': run.id, 'status': 'aborted'})
        wait_for(lambda: client.api.road.host.served is None and not served.thread.is_alive())
        assert plugin(client, 'Plain').status == 'done'  # and another one


def test_what_the_program_can_import_its_plugins_can_too(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(root))
    (tmp_path / 'beside').mkdir()
    (tmp_path / 'beside' / 'nearby.py').write_text(PLUGINS)
    script = tmp_path / 'beside' / 'script.py'
    script.write_text(f"""
from pymemri.pod.client import PodClient
from pymemri.data.schema import PluginRun
with PodClient(owner_key={OWNER!r}, database_key={KEY!r}, home={str(tmp_path / 'home')!r}) as client:
    client.create(run := PluginRun(pluginModule='nearby', pluginName='Plain'))
    print(client.wait_for_run(run, 60).status)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd='/', timeout=300)
    assert done.stdout == 'done\n', done.stderr


HOST = '''
import sys, time
from pymemri.pod.client import PodClient
from pymemri.data.schema import PluginRun
client = PodClient({url} owner_key={owner!r}, database_key={key!r})
run = PluginRun(pluginModule='kennel', pluginName={name!r}, config='{{"note": "%s"}}' % {note!r})
client.create(run)
print(run.id, flush=True)
time.sleep(300)
'''


@pytest.mark.parametrize('how', ['embedded', 'served'])
@pytest.mark.parametrize('name, n', [('Sleeps', 2), ('Deaf', 1)])
def test_a_pod_that_is_killed_leaves_no_orphan_and_the_next_one_marks_the_run(how, name, n, tmp_path):
    home, note = tmp_path / 'home', tmp_path / 'pids'
    env = dict(os.environ, PYMEMRI_HOME=str(home))
    program = dict(owner=OWNER, key=KEY, name=name, note=str(note))
    if how == 'embedded':
        host = subprocess.Popen([sys.executable, '-c', HOST.format(url='', **program)], env=env, stdout=subprocess.PIPE, text=True)
        id = host.stdout.readline().strip()
    else:
        start = 'import sys; from pymemri.cli import main; sys.exit(main())'
        host = subprocess.Popen([sys.executable, '-c', start, 'serve', '--owners=ANY', '--non-tls', '--port=0'], env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        url = re.search(r'http://\S+', host.stdout.readline())[0]
        with PodClient(url, owner_key=OWNER, database_key=KEY) as client:
            id = plugin(client, name, note=str(note), wait=0).id
    pids = numbers(note, n)
    family = [p.pid for p in psutil.Process(host.pid).children(recursive=True)]
    assert len(living(pids)) == n and set(pids) <= set(family) and len(family) > n  # the supervisor too
    host.kill()
    host.wait()
    wait_for(lambda: not living(family), 'an orphan is left')
    with PodClient(home=home, owner_key=OWNER, database_key=KEY) as client:
        run = client.get(id)
        assert (run.status, run.error) == ('error', 'the Pod that ran it ended')
        assert not client.api.road.pod.store.notes('run.')
        assert not list((home / 'plugin_runs').iterdir())
        assert client.wait_for_run(id).status == 'error'


@pytest.mark.skipif(sys.platform != 'linux', reason='needs a switch of the Linux kernel')
def test_a_supervisor_that_is_killed_takes_its_plugin_along(road, tmp_path):
    client = road()
    run = plugin(client, 'Deaf', note=str(tmp_path / 'pids'), wait=0)
    pid, = numbers(tmp_path / 'pids', 1)
    psutil.Process(pid).parent().kill()
    wait_for(lambda: not living([pid]))
    found = ended(client, run)
    assert found.status == 'error' and 'what watched over the plugin was ended' in found.error


def test_no_secret_is_shown_to_who_lists_processes(road, tmp_path):
    client = road()
    plugin(client, 'Sleeps', note=str(tmp_path / 'pids'), wait=0)
    numbers(tmp_path / 'pids', 2)
    family = [p for p in psutil.Process().children(recursive=True) if lives(p.pid)]
    words = [w for p in family for w in p.cmdline()]
    assert words and not any(KEY in w or OWNER in w or 'nonce' in w for w in words)
    supervisor = next(p for p in psutil.Process().children() if any('supervisor' in w for w in p.cmdline()))
    assert set(supervisor.environ()) <= {'PATH', 'LC_CTYPE'}


# ---- containers ----

class Engine(http.server.BaseHTTPRequestHandler):
    "Says what a table says, and notes what it was asked"
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def address_string(self): return 'local'

    def do(self):
        body = self.rfile.read(int(self.headers.get('content-length') or 0))
        path, _, query = self.path.partition('?')
        path = re.sub('^/v1[.][0-9]+', '', path)
        self.server.asked.append((self.command, path, query, json.loads(body) if body[:1] == b'{' else None))
        status, answer = self.server.answer(self.command, path, json.loads(body) if body[:1] == b'{' else None)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        kind = 'application/json' if not isinstance(answer, bytes) else 'text/plain'
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST = do_DELETE = do


class Socket(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    def get_request(self):
        request, _ = super().get_request()
        return request, ('local', 0)


class Docker:
    "As much of Docker's engine as its client asks for"
    def __init__(self, path):
        self.server = Socket(str(path), Engine)
        self.server.asked, self.server.answer = [], self.answer
        self.state, self.code, self.pulled, self.refuses = 'running', 0, True, False
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
    @property
    def asked(self): return self.server.asked
    def of(self, method, path): return [a for a in self.asked if a[0] == method and re.fullmatch(path, a[1])]
    def answer(self, method, path, body):
        if path == '/_ping': return 200, b'OK'
        if path == '/version': return 200, {'ApiVersion': '1.44', 'MinAPIVersion': '1.24', 'Version': '28'}
        if path == '/images/create': return (200, {'status': 'done'}) if self.pulled else (404, {'message': 'pull access denied'})
        if path.startswith('/images/'):
            return (200, {'Id': 'sha256:1f', 'RepoTags': []}) if self.pulled or 'local' in path else (404, {'message': 'No such image'})
        if path == '/containers/create': return (201, {'Id': 'c1', 'Warnings': []}) if not self.refuses else (500, {'message': 'no room'})
        if path == '/containers/c1/json':
            return 200, {'Id': 'c1', 'Name': '/x', 'State': {'Status': self.state, 'ExitCode': self.code}, 'Config': {'Tty': True}}
        if path == '/containers/c1/logs': return 200, b'from the container\n'
        if path == '/containers/c1/kill': self.state, self.code = 'exited', 137
        if path == '/containers/json': return 200, []
        return (204, b'')


@pytest.fixture
def docker(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        one = Docker(Path(folder) / 'docker.sock')
        monkeypatch.setenv('DOCKER_HOST', f'unix://{folder}/docker.sock')
        yield one
        one.server.shutdown()
        one.server.server_close()


def contained(client, image='example.org/notes:dev', **more):
    run = PluginRun(image, permissions='{}', **more)
    client.create(run)
    return run


def test_docker(road, docker):
    client = road(plugins_docker_network='pod_net', plugins_limits='memory=1G')
    run = contained(client, status='idle')
    wait_for(lambda: docker.of('GET', '/containers/c1/json'))
    client.api.update_item({'id': run.id, 'status': 'started'})
    docker.state = 'exited'
    found = ended(client, run)
    assert found.status == 'done' and output(found) == 'from the container\n'
    pull, = docker.of('POST', '/images/create')
    assert 'fromImage=example.org%2Fnotes' in pull[2] and 'tag=dev' in pull[2]
    made, = docker.of('POST', '/containers/create')
    assert made[2] == f'name={OWNER}-exampleorgnotesdev-{run.id}'
    spec = made[3]
    assert spec['Image'] == 'example.org/notes:dev'
    env = dict(e.split('=', 1) for e in spec['Env'])
    assert set(env) == {'POD_FULL_ADDRESS', 'POD_TARGET_ITEM', 'POD_PLUGINRUN_ID', 'POD_OWNER', 'POD_AUTH_JSON'}
    assert env['POD_OWNER'] == OWNER and KEY not in json.dumps(spec)
    host = spec['HostConfig']
    assert host['NetworkMode'] == 'pod_net' and host['Memory'] == 2**30 and host['CapDrop'] == ['ALL']
    assert host['SecurityOpt'] == ['no-new-privileges'] and not host.get('Binds') and not host.get('Privileged')
    assert docker.of('POST', '/containers/c1/start') and docker.of('DELETE', '/containers/c1')


def test_docker_code_and_abort(road, docker):
    client = road()
    docker.state, docker.code = 'exited', 3
    found = ended(client, contained(client))
    assert found.status == 'error' and found.error == 'the plugin ended with exit code 3; its last line: from the container'
    docker.state = 'running'
    run = contained(client)
    wait_for(lambda: len(docker.of('POST', '/containers/c1/start')) == 2)
    client.api.update_item({'id': run.id, 'status': 'aborted'})
    wait_for(lambda: docker.of('POST', '/containers/c1/kill'))
    assert ended(client, run).status == 'aborted'


def test_an_image_that_was_built_here_does_as_well(road, docker):
    client = road()
    docker.pulled, docker.state = False, 'exited'
    run = contained(client, 'local', status='idle')
    wait_for(lambda: docker.of('DELETE', '/containers/c1'))
    found = ended(client, contained(client, 'nowhere'))
    assert found.status == 'error' and 'pull access denied' in found.error
    assert len(docker.of('POST', '/containers/create')) == 1 and client.api.get_item(run.id)[0].get('error') is None


def test_an_engine_that_refuses(road, docker):
    docker.refuses = True
    client = road()
    found = ended(client, contained(client))
    assert found.status == 'error' and 'no room' in found.error


@pytest.mark.parametrize('runner', ['docker', 'kubernetes'])
def test_where_no_engine_answers_the_run_says_so(road, runner, tmp_path, monkeypatch):
    monkeypatch.setenv('DOCKER_HOST', f'unix://{tmp_path}/nobody.sock')
    monkeypatch.setenv('KUBECONFIG', str(tmp_path / 'no-config'))
    client = road(plugins_runner=runner)
    found = ended(client, contained(client))
    assert found.status == 'error' and {'docker': 'no Docker engine answers here', 'kubernetes': 'no Kubernetes cluster'}[runner] in found.error


def test_the_settings_can_send_modules_to_containers_too(road, docker):
    client = road(plugins_runner='docker')
    docker.state = 'exited'
    run = contained(client, pluginModule='kennel', pluginName='Plain', status='idle')
    wait_for(lambda: docker.of('DELETE', '/containers/c1'))
    assert not output(client.get(run.id)).startswith('hello')
    found = ended(client, contained(client, None, pluginModule='kennel', pluginName='Plain'))
    assert found.status == 'error' and 'names no containerImage' in found.error


class Cluster(Docker):
    "As much of Kubernetes as its client asks for"
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Engine)
        self.server.asked, self.server.answer = [], self.answer
        self.status, self.code, self.refuses = {}, 0, False
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'
    def answer(self, method, path, body):
        if method == 'POST' and self.refuses and path.endswith('/jobs'): return 403, {'message': 'no', 'reason': 'Forbidden', 'code': 403}
        if method == 'POST': return 201, body
        if method == 'DELETE': return 200, {'kind': 'Status', 'status': 'Success'}
        if path.endswith('/log'): return 200, b'from the job\n'
        if path.endswith('/pods'):
            state = {'terminated': {'exitCode': self.code}}
            status = {'name': 'plugin', 'image': 'i', 'imageID': '', 'ready': False, 'restartCount': 0, 'state': state}
            return 200, {'items': [{'metadata': {'name': 'pod-1'}, 'status': {'containerStatuses': [status]}}]}
        return 200, {'metadata': {'name': 'x'}, 'status': self.status}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    one = Cluster()
    config = {'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'users': [{'name': 'u', 'user': {}}],
              'clusters': [{'name': 'c', 'cluster': {'server': one.url}}],
              'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u', 'namespace': 'memri'}}]}
    (tmp_path / 'kubeconfig').write_text(json.dumps(config))
    monkeypatch.setenv('KUBECONFIG', str(tmp_path / 'kubeconfig'))
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_kubernetes(road, cluster, monkeypatch):
    monkeypatch.setenv('PLUGINS_PUBLIC_DOMAIN', 'example.org')
    client = road(use_kubernetes='true', plugins_limits='memory=1G')
    cluster.status = {'failed': 1}
    cluster.code = 4
    run = contained(client)
    found = ended(client, run)
    assert found.status == 'error' and found.error == 'the plugin ended with exit code 4; its last line: from the job'
    assert output(found).strip() == 'from the job'
    secret, = cluster.of('POST', '/api/v1/namespaces/memri/secrets')
    job, = cluster.of('POST', '/apis/batch/v1/namespaces/memri/jobs')
    name, env = job[3]['metadata']['name'], secret[3]['stringData']
    assert re.fullmatch(f'c{OWNER[:10]}-exampleorgnotesdev-{run.id[:20]}-[0-9a-f]{{8}}', name)
    assert list(env) == ['POD_FULL_ADDRESS', 'POD_TARGET_ITEM', 'POD_PLUGINRUN_ID', 'POD_OWNER', 'POD_AUTH_JSON', 'PLUGIN_DNS']
    assert env['PLUGIN_DNS'] == f'https://{name}.example.org' and KEY not in json.dumps([secret, job])
    assert 'nonce' not in json.dumps(job) and secret[3]['metadata']['name'] == name
    spec = job[3]['spec']
    assert spec['backoffLimit'] == 0 and spec['template']['metadata']['labels'] == {'app': name, 'type': 'plugin'}
    pod = spec['template']['spec']
    box, = pod['containers']
    assert pod['restartPolicy'] == 'Never' and pod['automountServiceAccountToken'] is False
    assert (box['image'], box['imagePullPolicy'], box['ports']) == ('example.org/notes:dev', 'Always', [{'containerPort': 8080}])
    assert box['envFrom'] == [{'secretRef': {'name': name}}] and box['resources'] == {'limits': {'memory': str(2**30)}}
    assert cluster.of('DELETE', f'/apis/batch/v1/namespaces/memri/jobs/{name}')
    assert cluster.of('DELETE', f'/api/v1/namespaces/memri/secrets/{name}')


def test_kubernetes_aborted_and_refused(road, cluster):
    client = road(use_kubernetes='true')
    run = contained(client)
    wait_for(lambda: cluster.of('POST', '/apis/batch/.*'))
    client.api.update_item({'id': run.id, 'status': 'aborted'})
    wait_for(lambda: cluster.of('DELETE', '/apis/batch/.*'))
    cluster.status = {'failed': 1}
    assert ended(client, run).status == 'aborted'
    cluster.refuses = True
    found = ended(client, contained(client))
    assert found.status == 'error' and 'Kubernetes refused' in found.error
    assert len(cluster.of('DELETE', '/api/v1/.*secrets.*')) == 2  # the variables do not stay

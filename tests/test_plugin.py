"""Plugins, from the command line and in process, over both roads: a Pod in the same process, and one behind HTTP."""
import configparser, io, json, os, signal, subprocess, sys, threading, time
from pathlib import Path

import pytest

from pymemri.core import Conflict, Invalid, NotFound
from pymemri.data.item import Edges, Item
from pymemri.data.schema import Account, Person, Plugin, PluginRun
from pymemri.plugin.pluginbase import (ExamplePlugin, PluginAborted, PluginBase, PluginError, run_account, set_status,
                                       status_of, tell_run)
from pymemri.plugin.run import (create_run_expanded, run_from, run_plugin, run_plugin_from_run_id,
                                simulate_run_plugin_from_frontend)
from pymemri.plugin.states import ENDED, MOVES, STATES
from pymemri.pod.client import Dog, PodClient
from pymemri.pod.keys import read_pod_key, store_keys
from pymemri.server.serve import Served

from serving import Server
from waiting import wait_for

root = Path(__file__).resolve().parents[1]
SECRET = 'correct-horse-battery'
DATABASE, OWNER = 'd1' * 32, '0e' * 32

PLUGINS = '''
import time
from pymemri.data.schema import Person
from pymemri.plugin.pluginbase import ExamplePlugin, PluginBase

class Clears(PluginBase):
    "Says in the Pod that its `teardown` ran"
    schema_classes = [Person]
    def teardown(self):
        super().teardown()
        self.client.create(Person(firstName='teardown', externalId=self.pluginRun.id))

class Fails(Clears):
    def run(self):
        secret = self.pluginRun.account[0].secret
        raise ConnectionError(f'https://example.com/login?password={secret} did not answer')

class Endless(Clears):
    def run(self):
        print('running', flush=True)
        try: time.sleep(600)
        except KeyboardInterrupt:
            print('stopped', flush=True)
            raise

class Stubborn(Clears):
    "Swallows what it can, once"
    def run(self):
        print('running', flush=True)
        try:
            while True: time.sleep(600)
        except: pass
        while True: pass

class Quits(Clears):
    def run(self): raise SystemExit(0)

class AtWork(Clears):
    "Shows how far it is"
    city: str
    steps: int = 4
    def run(self):
        for i in range(self.steps): self.set_progress((i + 1) / self.steps)
        self.client.create(Person(firstName=self.city, lastName=str(self.steps)))
'''


@pytest.fixture
def keys(own_home): return store_keys(database_key=DATABASE, owner_key=OWNER)


@pytest.fixture(params=['embedded', 'http'])
def road(request, keys, tmp_path):
    "Arguments that name the Pod: none for the one in this process"
    if request.param == 'embedded': yield {}
    else:
        with Served(data_folder=tmp_path / 'served') as server: yield dict(pod_full_address=server.url)


@pytest.fixture
def client(road):
    with PodClient(road.get('pod_full_address'), database_key=DATABASE, owner_key=OWNER) as client:
        client.add_to_schema(Person, Dog)
        yield client


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "The folder of a developer, with plugins in it; Python finds them there"
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'my_plugins.py').write_text(PLUGINS)
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop('my_plugins', None)
    yield folder
    sys.modules.pop('my_plugins', None)  # other tests have another one


def written(path, **values):
    "A JSON file"
    path.write_text(json.dumps(values))
    return path


def metadata(folder, name, module='my_plugins', **more):
    account = dict(service='kennel', identifier='anna', secret=SECRET)
    return written(folder / 'metadata.json', pluginModule=module, pluginName=name, account=account, **more)


@pytest.fixture(scope='session')
def scripts(tmp_path_factory):
    "The console scripts of settings.ini, made as pip makes them"
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(root / 'settings.ini', encoding='utf-8')
    bin = tmp_path_factory.mktemp('bin')
    for entry in ini['DEFAULT']['console_scripts'].split():
        name, _, where = entry.partition('=')
        module, _, function = where.partition(':')
        (bin / name).write_text(f'#!{sys.executable}\nimport sys\nfrom {module} import {function}\n'
                                f'sys.exit({function}())\n')
        (bin / name).chmod(0o755)
    return bin


@pytest.fixture
def started(scripts, folder, clean_env):
    "Start a console script in the folder; it is ended with the test"
    children = []
    def start(name, *words, env={}, **named):
        words = [*words, *(w for k, v in named.items() for w in (f'--{k}', str(v)))]
        env = clean_env | {'PYMEMRI_HOME': os.environ['PYMEMRI_HOME']} | env
        child = subprocess.Popen([scripts / name, *words], env=env, cwd=folder, text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        children.append(child)
        return child
    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def said(started):
    "Run a console script to its end: code, output, errors; no secret is among them"
    def run(name, *words, **named):
        child = started(name, *words, **named)
        out, err = child.communicate(timeout=60)
        for secret in (DATABASE, OWNER, SECRET): assert secret not in out + err
        return child.returncode, out, err
    return run


def the_run(client, name):
    run, = client.api.search({'type': 'PluginRun', 'pluginName': name})
    return run


def torn_down(client, run): return client.count({'type': 'Person', 'firstName': 'teardown', 'externalId': run['id']})


# ---- run_plugin ----

def test_help(said):
    for name in ('run_plugin', 'simulate_run_plugin_from_frontend'):
        code, out, err = said(name, '--help')
        assert (code, err) == (0, '') and all(w in out for w in ('--pod_full_address', '--config_file', '--metadata'))


@pytest.mark.parametrize('option', ['metadata', 'config_file'])
def test_a_plugin_from_metadata(option, said, client, road, folder):
    "The page names the file of metadata with --config_file"
    file = metadata(folder, 'ExamplePlugin', 'pymemri.plugin.pluginbase', settings={'dog_name': 'Max'})
    code, out, err = said('run_plugin', **{option: file}, **road)
    assert (code, err) == (0, '')
    lines, home = out.splitlines(), os.environ['PYMEMRI_HOME']
    run = the_run(client, 'ExamplePlugin')
    assert lines == [f'reading database_key from {home}/pod_keys/keys.json',
                     f'reading owner_key from {home}/pod_keys/keys.json',
                     f"pod_full_address={road.get('pod_full_address', 'embedded')}", f'owner_key={OWNER[:6]}…', '',
                     f'writing run info to {home}/plugins/pymemri/current_run.json',
                     'Started plugin run...', 'Run success!']
    assert (run['status'], run['containerImage'], run.get('error')) == ('done', 'none', None)
    assert client.count({'type': 'Dog', 'name': 'Max', 'age': 10}) == 1
    assert json.loads(Path(home, 'plugins/pymemri/current_run.json').read_text()) == {'id': run['id']}


def test_a_stored_run_with_a_configuration(said, client, road, folder):
    "The other meaning of --config_file: the plugin's arguments, which beat those of the run"
    run = run_from(dict(pluginModule='my_plugins', pluginName='AtWork', containerImage='none',
                        settings={'city': 'Utrecht', 'steps': 2}))
    create_run_expanded(client, run)
    config = written(folder / 'config.json', city='Leiden')
    assert said('run_plugin', plugin_run_id=run.id, config_file=config, **road)[0] == 0
    assert client.count({'type': 'Person', 'firstName': 'Leiden', 'lastName': '2'}) == 1
    there = the_run(client, 'AtWork')
    assert (there['status'], there['progress']) == ('done', 1) and torn_down(client, there) == 1
    code, out, err = said('run_plugin', plugin_run_id=run.id, **road)
    assert code == 1 and err == 'a run cannot go from done to started: it has ended; create a new run\n'
    assert the_run(client, 'AtWork') == there


def test_arguments_are_checked_before_it_starts(said, client, road, folder):
    file = metadata(folder, 'AtWork', settings={'steps': SECRET, 'city': 'x'})
    code, out, err = said('run_plugin', metadata=file, **road)
    run = the_run(client, 'AtWork')
    assert code == 1 and (run['status'], run['error']) == \
        ('error', 'Invalid: the argument `steps` is a whole number, and something else was given')
    assert torn_down(client, run) == 0


@pytest.mark.parametrize('name, reason', [
    ('Fails', 'ConnectionError: https://example.com/login?password=… did not answer'), ('Quits', 'SystemExit: 0')])
def test_a_plugin_that_fails(name, reason, said, client, road, folder):
    code, out, err = said('run_plugin', metadata=metadata(folder, name), **road)
    assert code == 1 and err.startswith('Traceback') and err.endswith('\nPluginError: The plugin quit unexpectedly.\n')
    run = the_run(client, name)
    assert (run['status'], run['error']) == ('error', reason)
    assert torn_down(client, run) == 1


def test_what_is_wrong_is_said(said, client, road, folder):
    file = written(folder / 'other.json', city='x')
    for words, why in ((dict(metadata=folder / 'none.json'), 'there is no metadata'),
                       (dict(config_file=file), 'what is to be run?'),
                       (dict(plugin_run_id='1f' * 16), f'Item with id {"1f" * 16} does not exist'),
                       (dict(metadata=metadata(folder, 'AtWork'), plugin_run_id='1f' * 16), 'not both')):
        code, out, err = said('run_plugin', **words, **road)
        assert code == 1 and why in err and 'Traceback' not in err
    assert client.count({'type': 'PluginRun'}) == 0
    code, out, err = said('run_plugin', metadata=metadata(folder, 'Nobody'), **road)
    assert code == 1 and the_run(client, 'Nobody')['error'] == 'ImportError: Unknown plugin: my_plugins.Nobody'


def test_functions_honour_their_arguments(client, road, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['run_plugin', '--metadata', 'elsewhere.json', '--nonsense'])
    assert run_plugin(metadata=metadata(folder, 'AtWork', settings={'city': 'Delft'}), **road) is None
    assert client.count({'type': 'Person', 'firstName': 'Delft'}) == 1
    with pytest.raises(PluginError, match='^The plugin quit unexpectedly.$') as e:
        run_plugin(metadata=metadata(folder, 'Fails'), **road)
    printed = capsys.readouterr()
    assert e.value.__cause__ is None and SECRET not in printed.out + printed.err and 'ConnectionError' in printed.err
    run = simulate_run_plugin_from_frontend(metadata=metadata(folder, 'Endless', containerImage='none'), **road)
    assert client.api.get_item(run.id)[0]['pluginName'] == 'Endless'


class Outlives(PluginBase):
    "Its Pod goes away while it runs"
    schema_classes = []
    def run(self):
        self.server.stop()
        raise ValueError('what it fails of')


def test_a_pod_that_is_gone_hides_no_failure(keys, tmp_path, capsys):
    with Server(tmp_path / 'served') as Outlives.server, \
            PodClient(Outlives.server.url, database_key=DATABASE, owner_key=OWNER) as client:
        run = create_run_expanded(client, PluginRun('none', __name__, 'Outlives'))
        with pytest.raises(ValueError, match='what it fails of') as e: run_plugin_from_run_id(run.id, client)
    assert any(n.startswith('the run could not be told: Unavailable') for n in e.value.__notes__)


def test_an_older_server(keys, tmp_path, folder, capsys):
    "One that speaks only version 4 will do"
    with Server(tmp_path / 'served', wires=('v4',)) as server:
        run_plugin(server.url, metadata=metadata(folder, 'AtWork', settings={'city': 'Delft'}))
        with pytest.raises(PluginError): run_plugin(server.url, metadata=metadata(folder, 'Fails'))
        with PodClient(server.url, database_key=DATABASE, owner_key=OWNER) as client:
            runs = client.api.search({'type': 'PluginRun'})
            assert {r['pluginName']: (r['status'], r.get('error', '')[:15]) for r in runs} == \
                {'AtWork': ('done', ''), 'Fails': ('error', 'ConnectionError')}
            assert len(client.api.search({'type': 'Person', 'firstName': 'teardown'})) == 2


# ---- stopped from outside ----

def test_an_abort_stops_it_within_a_second(started, client, road, folder):
    "The best of eight counts: the machine has other work, too"
    took = []
    for i in range(8):
        child = started('run_plugin', metadata=metadata(folder, 'Endless'), **road)
        assert any(line == 'running\n' for line in child.stdout)
        run, = client.api.search({'type': 'PluginRun', 'status': 'started'})
        start = time.monotonic()
        client.api.update_item({'id': run['id'], 'status': 'aborted'})
        assert [child.stdout.readline() for _ in range(2)] == ['Status aborted, killing plugin...\n', 'stopped\n']
        took.append(time.monotonic() - start)
        out, err = child.communicate(timeout=120)
        assert (child.returncode, out, err) == (130, '', 'The plugin was aborted.\n')
        run, = client.api.get_item(run['id'])
        assert (run['status'], run.get('error')) == ('aborted', None) and torn_down(client, run) == 1
        if took[-1] < 1: return
    assert not took


@pytest.mark.parametrize('name, how', [('Endless', signal.SIGTERM), ('Endless', signal.SIGINT), ('Stubborn', 'abort')])
def test_however_it_is_stopped_it_clears_up(name, how, started, client, road, folder):
    child = started('run_plugin', metadata=metadata(folder, name), **road)
    assert any(line == 'running\n' for line in child.stdout)
    if how == 'abort': client.api.update_item({'id': the_run(client, name)['id'], 'status': 'aborted'})
    else: child.send_signal(how)
    child.communicate(timeout=120)
    run = the_run(client, name)
    assert (child.returncode, run['status']) == (130, 'aborted') and torn_down(client, run) == 1


def test_an_abort_in_this_process_and_in_a_thread(client, road, folder):
    for run_it in (lambda work: work(), lambda work: (t := threading.Thread(target=work), t.start(), t.join(100))):
        ended, run = [], create_run_expanded(client, PluginRun('none', __name__, 'Patient'))
        def abort():
            wait_for(lambda: status_of(client, run.id) == 'started')
            client.api.update_item({'id': run.id, 'status': 'aborted'})
        stop = threading.Thread(target=abort)
        stop.start()
        def work():
            try: run_plugin_from_run_id(run.id, client)
            except PluginAborted: ended.append('aborted')
        run_it(work)
        stop.join()
        assert (ended, status_of(client, run.id), threading.main_thread().is_alive()) == (['aborted'], 'aborted', True)


class Patient(PluginBase):
    schema_classes = []
    def run(self):
        for i in range(5000): time.sleep(.02)
        raise AssertionError('nobody stopped it')


# ---- status, progress, account ----

def test_every_move_over_both_roads(client):
    "Each of 81 pairs is allowed or refused as the table says, and a refused one changes nothing"
    runs = {s: PluginRun('none', 'm', s, status=s) for s in STATES}
    for run in runs.values(): client.create(run)
    for now in STATES:
        for to in STATES:
            tell_run(client, runs[now], status=now)
            if to == now or to in MOVES[now]: set_status(client, runs[now], to)
            else:
                with pytest.raises(Conflict): set_status(client, runs[now], to)
            assert status_of(client, runs[now].id) == runs[now].status == (to if to == now or to in MOVES[now] else now)
    with pytest.raises(Invalid, match='no state of a run'): set_status(client, runs['idle'], 'RUN_DAEMON')


def test_what_others_wrote_stays(client, road):
    run = create_run_expanded(client, PluginRun('none', __name__, 'Patient'))
    plugin = Patient(pluginRun=run, client=client)
    with PodClient(road.get('pod_full_address'), database_key=DATABASE, owner_key=OWNER) as other:
        plugin.set_run_status('started')
        plugin.set_progress(.25)
        theirs = other.get(run.id)
        assert (theirs.status, theirs.progress) == ('started', .25)
        theirs.authUrl, theirs.status = 'https://example.com', 'aborted'
        other.update_item(theirs)
        plugin.set_progress(.5)
        with pytest.raises(Conflict, match='from aborted to done'): plugin.set_run_status('done')
        assert {k: v for k, v in client.api.get_item(run.id)[0].items() if k in ('status', 'progress', 'authUrl')} == \
            dict(status='aborted', progress=.5, authUrl='https://example.com')


class Terminal(io.StringIO):
    "Somebody looks at it"
    def isatty(self): return True


def test_a_bar_on_a_terminal_and_none_in_a_log(client, road, monkeypatch):
    for out, seen in (Terminal(), True), (io.StringIO(), False):
        monkeypatch.setattr(sys, 'stderr', out)
        run = create_run_expanded(client, PluginRun('none', __name__, 'Patient'))
        plugin = Patient(pluginRun=run, client=client)
        plugin.set_progress(.1)
        time.sleep(1.1)
        plugin.set_progress(.5)
        plugin.teardown()
        assert ('Patient' in out.getvalue() and ' 50%' in out.getvalue()) == seen, out.getvalue()
        assert client.api.get_item(run.id)[0]['progress'] == .5


class Importer(Item):
    "The tutorial's: it knows the account"
    account: Edges[Account]
class ImporterRun(Item):
    "The tutorial's: ImporterRun -> Importer -> Account"
    importer: Edges[Importer]


@pytest.mark.parametrize('way', ['account', 'plugin', 'importer', 'tutorial'])
def test_the_account_of_a_run(way, client, road):
    client.add_to_schema(Plugin, Importer, ImporterRun)
    run = ImporterRun() if way == 'tutorial' else PluginRun('none', 'm', 'N')
    via = Plugin() if way == 'plugin' else Importer()
    account = Account(identifier='anna', secret=SECRET)
    client.bulk_action(create_items=[run, via, account])
    assert run_account(client, run) is None
    def draw(a, name, b): client.api.create_edge({'_source': a.id, '_target': b.id, '_name': name})
    if way == 'account': draw(run, 'account', account)
    else:
        draw(run, 'plugin' if way == 'plugin' else 'importer', via)
        draw(via, 'account', account)
    with PodClient(road.get('pod_full_address'), database_key=DATABASE, owner_key=OWNER) as other:
        other.add_to_schema(Importer, ImporterRun)
        theirs = other.get(run.id, expanded=False)
        assert run_account(other, theirs).secret == SECRET
        if way != 'tutorial': assert theirs.account[0].identifier == 'anna' and not theirs._new_edges
        nearer = Account(identifier='ben')
        other.create(nearer)
        if way in ('plugin', 'importer'):
            other.api.create_edge({'_source': run.id, '_target': nearer.id, '_name': 'account'})
            other.reset_local_db()
            assert run_account(other, other.get(run.id, expanded=False)).identifier == 'ben'


# ---- the environment ----

@pytest.fixture
def served(keys, tmp_path):
    with Served(data_folder=tmp_path / 'served') as server: yield server


@pytest.fixture
def owner(served):
    with PodClient(served.url, database_key=DATABASE, owner_key=OWNER) as client:
        client.add_to_schema(Dog)
        yield client


def environment(owner, run, **permissions):
    auth, url = owner.plugin_auth(run=run.id, permissions=permissions), owner.api.road.address
    return dict(POD_FULL_ADDRESS=url, POD_TARGET_ITEM=json.dumps({'id': run.id, 'type': 'PluginRun'}), POD_OWNER=OWNER,
                POD_AUTH_JSON=json.dumps({'data': auth['data']}), POD_PLUGINRUN_ID=run.id)


def example(client, **more):
    return create_run_expanded(client, run_from(dict(
        pluginModule='pymemri.plugin.pluginbase', pluginName='ExamplePlugin', containerImage='none', **more)))


DOGS = dict(create={'Dog': '*'})


@pytest.mark.parametrize('leave_out', [
    [], ['POD_PLUGINRUN_ID'], ['POD_TARGET_ITEM'], ['POD_PLUGINRUN_ID', 'POD_TARGET_ITEM']], ids='-'.join)
def test_a_plugin_that_the_pod_tells_who_it_is(leave_out, said, served, owner, own_home):
    "No key file, no database key: it may create dogs, and tell how its own run goes"
    Path(os.environ['PYMEMRI_HOME'], 'pod_keys/keys.json').unlink()
    run = example(owner, settings={'dog_name': 'Rex'})
    env = {k: v for k, v in environment(owner, run, **DOGS).items() if k not in leave_out}
    if len(leave_out) == 2: env['RUN_UID'] = run.id # the tutorial's name
    code, out, err = said('run_plugin', '--read_args_from_env', env=env | {'PLUGIN_DNS': 'https://c1.example.org'})
    assert (code, err) == (0, '')
    assert 'Plugin accesible via https://c1.example.org:8080\n' in out and 'reading' not in out
    assert owner.count({'type': 'Dog', 'name': 'Rex'}) == 1 and status_of(owner, run.id) == 'done'


def test_a_plugin_without_permissions_fails_and_may_say_so(said, served, owner):
    run = example(owner)
    code, out, err = said('run_plugin', '--read_args_from_env', 'True', env=environment(owner, run))
    there, = owner.api.get_item(run.id)
    assert code == 1 and there['status'] == 'error'
    assert there['error'] == 'Forbidden: these permissions do not include create of Dog'
    assert owner.count({'type': 'Dog'}) == 0


def test_arguments_beat_the_environment(said, served, owner, keys):
    run, other = example(owner), example(owner)
    env = environment(owner, other, **DOGS) | dict(POD_FULL_ADDRESS='http://127.0.0.1:9', POD_PLUGINRUN_ID=run.id)
    code, out, err = said('run_plugin', '--read_args_from_env', env=env,
                          pod_full_address=served.url, plugin_run_id=other.id)
    assert (code, status_of(owner, other.id), status_of(owner, run.id)) == (0, 'done', None)
    code, out, err = said('run_plugin', '--read_args_from_env', 'no', env=environment(owner, run, **DOGS))
    assert code == 1 and 'what is to be run?' in err


def test_an_environment_that_makes_no_sense(said, served, owner):
    run = example(owner)
    good = environment(owner, run, **DOGS)
    for env, why in (({}, "Missing parameter: 'POD_TARGET_ITEM'"),
                     (good | {'POD_AUTH_JSON': SECRET}, 'the environment variable POD_AUTH_JSON is not a JSON object'),
                     (good | {'POD_AUTH_JSON': '{"data": {"nonce": "00", "encryptedPermissions": "00"}}'}, 'nonce'),
                     (good | {'POD_FULL_ADDRESS': 'http://127.0.0.1:9'}, 'no Pod could be reached')):
        code, out, err = said('run_plugin', '--read_args_from_env', env=env)
        assert code == 1 and why in err and 'Traceback' not in err, err
    assert status_of(owner, run.id) is None


# ---- simulate_run_plugin_from_frontend ----

def test_an_app_starts_a_plugin(said, scripts, folder, keys, clean_env, tmp_path):
    "The Pod starts what the run names, and the plugin gets its rights from it: a second road to everything above"
    script = tmp_path / 'start'
    script.write_text(f'#!/bin/sh\ncd {folder}\nexport PYTHONPATH={root} PYMEMRI_HOME={tmp_path}/none\n'
                      f'exec {scripts}/run_plugin --read_args_from_env True >{tmp_path}/said 2>&1\n')
    script.chmod(0o755)
    images = {'pymemri': str(script), 'my_image': str(script)}
    with Served(data_folder=tmp_path / 'served', insecure_plugin_script=images) as server, \
            PodClient(server.url, database_key=DATABASE, owner_key=OWNER) as client:
        client.add_to_schema(Dog, Person)
        code, out, err = said('simulate_run_plugin_from_frontend', pod_full_address=server.url,
                              plugin_path='pymemri.plugin.pluginbase.ExamplePlugin',
                              settings_file=written(folder / 'settings.json', dog_name='Luna'))
        assert (code, err) == (0, '')
        run = the_run(client, 'ExamplePlugin')
        assert out.splitlines()[2:] == [
            f'pod_full_address={server.url}', f'owner_key={OWNER[:6]}…', '',
            f'calling the `create` api on {server.url} to make your Pod start a plugin with id {run["id"]}.',
            f'Created pluginrun with id {run["id"]} on {server.url}',
            f'writing run info to {os.environ["PYMEMRI_HOME"]}/plugins/pymemri/current_run.json',
            '*Check the pod log/console for debug output.*']
        wait_for(lambda: status_of(client, run['id']) in ENDED)
        assert status_of(client, run['id']) == 'done', (tmp_path / 'said').read_text()
        assert client.count({'type': 'Dog', 'name': 'Luna'}) == 1
        # the account that is named is found by the plugin, if it may read it
        account = Account(identifier='anna', secret=SECRET)
        client.create(account)
        rights = dict(read={'Account': '*'}, create={'Person': '*'}, edges={'read': ['account']})
        file = written(folder / 'metadata.json', pluginModule='my_plugins', pluginName='Fails',
                       containerImage='my_image', permissions=rights)
        code, out, err = said('simulate_run_plugin_from_frontend', pod_full_address=server.url, metadata=file,
                              account_id=account.id)
        assert (code, err) == (0, '')
        run = the_run(client, 'Fails')
        wait_for(lambda: status_of(client, run['id']) in ENDED)
        run = the_run(client, 'Fails')
        assert (run['status'], run['error']) == \
            ('error', 'ConnectionError: https://example.com/login?password=… did not answer')
        assert torn_down(client, run) == 1 and SECRET not in (tmp_path / 'said').read_text()


def test_what_an_app_would_store(client, road, folder, capsys):
    path, settings = 'pymemri.plugin.pluginbase.ExamplePlugin', written(folder / 'settings.json', dog_name='Luna')
    config = written(folder / 'config.json', dog_name='Max', more=1)
    run = simulate_run_plugin_from_frontend(**road, plugin_path=path, container='none', config_file=config,
                                            settings_file=settings)
    there, = client.api.get_item(run.id)
    assert {k: there.get(k) for k in ('containerImage', 'pluginModule', 'pluginName', 'targetItemId', 'status')} == \
        dict(containerImage='none', pluginModule='pymemri.plugin.pluginbase', pluginName='ExamplePlugin',
             targetItemId=run.id, status=None)
    assert json.loads(there['config']) == {'dog_name': 'Luna', 'more': 1}
    assert json.loads(there['permissions']) == ExamplePlugin.permissions
    for wrong, why in ((dict(), 'which plugin?'), (dict(plugin_path='Example'), 'module.Class'),
                       (dict(plugin_path=path, metadata=metadata(folder, 'Fails')), 'give one of them'),
                       (dict.fromkeys(['metadata', 'config_file'], metadata(folder, 'Fails')), 'give one of them')):
        with pytest.raises(ValueError, match=why): simulate_run_plugin_from_frontend(**road, **wrong)
    with pytest.raises(NotFound):
        simulate_run_plugin_from_frontend(**road, plugin_path=path, container='none', account_id='1f' * 16)
    assert client.count({'type': 'PluginRun'}) == 1
    run_plugin(plugin_run_id=run.id, **road)
    assert client.count({'type': 'Dog', 'name': 'Luna'}) == 1


def test_without_keys_it_says_where_to_get_some(said, folder):
    code, out, err = said('run_plugin', metadata=metadata(folder, 'AtWork'))
    assert code == 1 and '`store_keys` makes one' in err
    with pytest.raises(ValueError): read_pod_key('owner_key', quiet=True)

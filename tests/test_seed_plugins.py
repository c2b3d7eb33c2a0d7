"""The users' page on plugins, class by class and snippet by snippet: the lines are the page's own, and what it says of
them must hold in this process, from the command line, and where the Pod starts them, with few rights. What the
tutorial says of plugins stands in `test_seed_pages`; here it is done by plugins that a Pod started.

A line that differs from the page says so in a comment that starts with `page:`. The server's address differs without a
word: each test runs over both roads, a Pod in this process and one behind HTTP. Names that the page uses and never
imports are imported in `NAMES`. Then comes Mallory, a plugin that means harm.
"""
import hashlib, importlib, inspect, json, os, re, subprocess, sys, threading, time
from pathlib import Path

import pytest

from pymemri.core import Forbidden, NotFound, PodError
from pymemri.data.item import Edge, Item
from pymemri.data.schema import Account, EmailMessage, File, Person, PluginRun
from pymemri.engine.runner import Limits, container_options
from pymemri.plugin.authenticators.request import account_json, open_request
from pymemri.plugin.pluginbase import PluginBase
from pymemri.plugin.run import create_run_expanded, run_plugin, run_plugin_from_run_id, simulate_run_plugin_from_frontend
from pymemri.plugin.states import ENDED
from pymemri.pod.client import Dog, PodClient
from pymemri.pod.keys import store_keys
from pymemri.server.serve import Served
from pymemri.server.settings import Settings

from oauth_server import OAuthServer

root = Path(__file__).resolve().parents[1]
OWNER, DATABASE = '0e' * 32, 'd1' * 32
HEX = '[0-9a-f]{32}'

NAMES = '''\
import requests
from pymemri.data.item import Item
from pymemri.plugin.authenticators.oauth import OAuthAuthenticator
from pymemri.plugin.authenticators.password import PasswordAuthenticator
from pymemri.plugin.pluginbase import PluginBase


'''
SIMPLE = '''\
class MySimplePlugin(PluginBase):
    """"""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def run(self):
        print("running")
        items = self.client.search({'type': 'MyItem'})
        for item in items:
            if item.age > 65:
                item.name = f"Sr. {item.name}"
            if item.age <= 18:
                item.name = f"Jr. {item.name}"

    def add_to_schema(self):
        self.client.add_to_schema(MyItem("my name", 10))
'''
COMPLEX = '''

class ExampleOAuthAuthenticator(OAuthAuthenticator):

    def get_oauth_url(self):
        return "https://example.com/oauth"

    def get_tokens_from_code(self, code):
        return {
            'access_token': 'dummy_access_token_with_' + code,
            'refresh_token': 'dummy_refresh_token'
        }

    def refresh_tokens(self, refreshToken):
        return {
            'access_token': 'refreshed_dummy_access_token',
            'refresh_token': 'refreshed_dummy_refresh_token'
        }

    def get_api_instance(self):
        return MyAPIClient(self.pluginRun.account[0].secret)


class ExamplePasswordAuthenticator(PasswordAuthenticator):

    SERVICE_URL = "https://example.com/login"
    def get_token(self, username, password):
        result = requests.post(self.SERVICE_URL, {'username': username, 'password': password})
        if result.status_code == 200:
            try:
                res = result.json()
                return res['session_token']
            except:
                pass
class MyAPIClient:
    def __init__(self, accessToken):
        self.access_token = accessToken

    def get_data(self):
        return [{'name': 'name_1', 'age': 21}, {'name': 'name_2', 'age': 22}]



class MyItem(Item):
    properties = Item.properties + ["name", "age"]
    edges = Item.edges
    def __init__(self, name=None, age=None, **kwargs):
        super().__init__(**kwargs)
        self.name = name
        self.age = age

class MyOAuthPlugin(PluginBase):
    """"""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def run(self):
        print("running")
        self.login()
        items = self.api.get_data()
        for item in items:
            self.client.create(MyItem(name=item['name'], age=item['age']))

    def login(self):
        auth = ExampleOAuthAuthenticator(self.client, self.pluginRun)
        # auth.isTest = True # for testing
        auth.authenticate()
        self.api = MyAPIClient(self.pluginRun.account[0].secret)

    def add_to_schema(self):
        self.client.add_to_schema(MyItem("my name", 10))


class MyPasswordPlugin(PluginBase):
    """"""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def run(self):
        print("running")
        self.login()
        items = self.api.get_data()
        for item in items:
            self.client.create(MyItem(name=item['name'], age=item['age']))

    def login(self):
        auth = PasswordAuthenticator(self.client, self.pluginRun)
        auth.isTest = True
        token = auth.authenticate()
        self.api = MyAPIClient(token)

    def add_to_schema(self):
        self.client.add_to_schema(MyItem("my name", 10))
'''
OURS = '''

class MyLoginPlugin(MyPasswordPlugin):
    "With the authenticator that the page writes, and does not use"
    service_url: str  # page: https://example.com/login
    def login(self):
        auth = ExamplePasswordAuthenticator(self.client, self.pluginRun)
        auth.SERVICE_URL = self.service_url
        token = auth.authenticate()
        self.api = MyAPIClient(token)


class MyPrintingPlugin(PluginBase):
    "The page shows what it prints, and not the class"
    schema_classes = []
    def run(self):
        print("running")
        account = self.pluginRun.account[0]
        print(f"logging in with account {account.identifier} and password {account.secret}")
'''


# ---- where Pods are, and how plugins are started ----

@pytest.fixture
def page(tmp_path, monkeypatch):
    "The page's classes in a module of a developer, which Python and the Pod find"
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'my_plugins.py').write_text(NAMES + SIMPLE + COMPLEX + OURS, encoding='utf-8')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(map(str, (root, folder))))
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module('my_plugins')
    del sys.modules['my_plugins']


class Road(dict):
    "Arguments that name a Pod: none for one in this process"
    server = None
    def busy(self, client):
        "Whether a plugin runs that the Pod started; its output is kept when it does not any more"
        return self.server.app.starter.runs.jobs if self.server else client.api.road.pod.store.notes('run.')


@pytest.fixture(params=['embedded', 'served'])
def road(request, own_home):
    "Where the Pod is; the keys are in the key file"
    store_keys(database_key=DATABASE, owner_key=OWNER)
    if request.param == 'embedded': yield Road()
    else:
        with Served(data_folder=os.environ['PYMEMRI_HOME']) as server:
            road = Road(pod_full_address=server.url)
            road.server = server
            yield road


def a_client(road, **keys):
    return PodClient(road.get('pod_full_address'), **dict(database_key=DATABASE, owner_key=OWNER) | keys)


@pytest.fixture
def client(page, road):
    "The user's"
    with a_client(road) as client: yield client


@pytest.fixture
def other(client, road):
    "A second client, which sees only what is in the Pod"
    with a_client(road) as other: yield other


@pytest.fixture
def command(road, tmp_path, clean_env):
    "Starts a console script in `mine/work`, as `pip` installs it"
    folder, children = tmp_path / 'mine' / 'work', []
    folder.mkdir()
    names = dict(run_plugin='plugin.run', simulate_run_plugin_from_frontend='plugin.run',
                 simulate_enter_credentials='plugin.authenticators.credentials')
    env = clean_env | {k: os.environ[k] for k in ('PYMEMRI_HOME', 'PYTHONPATH')}
    if road: env |= {'POD_ADDRESS': road['pod_full_address']}
    def start(name, *words):
        code = f'import sys; from pymemri.{names[name]} import {name}_cli; sys.exit({name}_cli())'
        child = subprocess.Popen([sys.executable, '-c', code, *words], env=env, cwd=folder, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        children.append(child)
        return child
    yield start
    for child in children:
        child.kill()
        child.communicate()


def said(child, code=0):
    "What a command printed; no key is in it"
    out = child.communicate(timeout=90)[0]
    assert child.returncode == code, out
    assert DATABASE not in out and OWNER not in out
    return out


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, 'it never came'
        time.sleep(.02)
    return found


@pytest.fixture
def over(road, other):
    "Waits for the end of a run: as the Pod has it then"
    def wait(run, status='done'):
        wait_for(lambda: other.api.get_item(run.id)[0].get('status') in ENDED and not road.busy(other))
        other.reset_local_db()
        found = other.get(run.id)
        assert found.status == status, (found.status, found.error, [o.content for o in found.output])
        return found
    return wait


def items(client, type, *names):
    return sorted(tuple(d.get(n) for n in names) for d in client.api.search({'type': type}))


@pytest.fixture(params=['in process', 'command', 'pod'])
def start(request, road, command):
    "Starts a plugin of the page in one of the three ways: its run, stored"
    threads, clients = [], []

    def start(client, name, permissions=None, account=None, **config):
        by_pod = request.param == 'pod'
        run = PluginRun(None if by_pod else 'none', 'my_plugins', name, config=json.dumps(config),
                        permissions=json.dumps(permissions or {}))
        if account: run.add_edge('account', account)
        create_run_expanded(client, run)
        if request.param == 'command': command('run_plugin', '--plugin_run_id', run.id)
        if request.param == 'in process':
            clients.append(own := a_client(road))
            def work():
                try: run_plugin_from_run_id(run.id, own)
                except Exception as e: start.failure = e
            threads.append(threading.Thread(target=work))
            threads[-1].start()
        return run
    start.way, start.failure = request.param, None
    yield start
    for t in threads: t.join(60)
    for c in clients: c.close()


MINE = {'create': {'MyItem': '*'}}
LOGIN = {'read': {'Account': '*'}, 'create': MINE['create'] | {'Account': '*'}, 'update': {'Account': '*'},
         'edges': {'read': ['account', 'view'], 'create': ['PluginRun.account']}}
TWO = [('name_1', 21), ('name_2', 22)]


# ---- the page: creating a plugin ----

def test_my_simple_plugin(page, client, other, start, over):
    client.add_to_schema(page.MyItem("my name", 10))
    client.bulk_action(create_items=[page.MyItem(n, a) for n, a in [('Ann', 66), ('Ben', 65), ('Cid', 19), ('Dee', 18)]])
    rights = MINE | {'read': {'MyItem': ['name', 'age']}, 'update': {'MyItem': ['name']}}
    run = over(start(client, 'MySimplePlugin', rights))
    assert items(other, 'MyItem', 'name', 'age') == [('Ben', 65), ('Cid', 19), ('Jr. Dee', 18), ('Sr. Ann', 66)]
    if start.way == 'pod': assert 'running\n' in run.output[0].content


def test_my_simple_plugin_may_not_do_more_than_its_owner_said(page, client, other, over):
    client.add_to_schema(page.MyItem("my name", 10))
    client.create(page.MyItem('Ann', 66))
    run = PluginRun(pluginModule='my_plugins', pluginName='MySimplePlugin',
                    permissions=json.dumps(MINE | {'read': {'MyItem': '*'}}))
    client.create(run)
    assert over(run, 'error').error == 'Forbidden: these permissions do not include update of MyItem'
    assert items(other, 'MyItem', 'name') == [('Ann',)]


def test_a_plugin_needs_two_methods(client):
    "“Memri plugins need to define at least 2 methods: .run() and .add_to_schema()”"
    class NoRun(PluginBase):
        def add_to_schema(self): pass
    class NoSchema(PluginBase):
        def run(self): pass
    for cls, lacks in ((NoRun, 'run'), (NoSchema, 'add_to_schema')):
        with pytest.raises(TypeError, match=lacks): cls(client=client, pluginRun=PluginRun())
    class MyItem(Item):
        name: str
        age: int
    class Declares(NoSchema):  # "in the future, … based on a declarative schema defined in the plugin"
        schema_classes = [MyItem]
    Declares(client=client, pluginRun=PluginRun()).add_to_schema()
    known = client.api.schema()['types']['MyItem']['properties']
    assert {'name', 'age'} <= known.keys()


# ---- the page: with authentication; a second client is the user ----

def test_my_oauth_plugin(client, other, start, over):
    run = start(client, 'MyOAuthPlugin', LOGIN)
    asked = wait_for(lambda: open_request(other, run.id))
    assert (asked.kind, asked.url, asked.error) == ('code', 'https://example.com/oauth', '')
    assert other.api.get_item(run.id)[0]['status'] == 'userActionNeeded' and items(other, 'MyItem', 'name') == []
    asked.give(code='4711')
    run = over(run)
    assert items(other, 'MyItem', 'name', 'age') == TWO and (run.authUrl, run.error) == (None, None)
    account = run.account[0]
    assert (account.secret, account.refreshToken) == ('dummy_access_token_with_4711', 'dummy_refresh_token')
    if start.way == 'pod': assert '4711' not in run.output[0].content

    again = over(start(other, 'MyOAuthPlugin', LOGIN, account=account))  # nobody is asked: it refreshes
    there = account_json(client, again.id)
    assert (there['id'], there['secret']) == (account.id, 'refreshed_dummy_access_token')
    assert items(other, 'MyItem', 'name', 'age') == sorted(TWO * 2)


def test_my_password_plugin(client, other, start, over):
    run = over(start(client, 'MyPasswordPlugin', MINE | {'edges': {'read': ['account']}}))
    assert items(other, 'MyItem', 'name', 'age') == TWO
    assert run.account == []  # `isTest` asks nobody and keeps nothing


def test_example_password_authenticator(client, other, start, over):
    with OAuthServer() as service:
        run = start(client, 'MyLoginPlugin', LOGIN, service_url=f'{service.url}/login')
        for password in ('a-wrong-one', 'hunter2-secret'):
            asked = wait_for(lambda: open_request(other, run.id))
            assert asked.kind == 'password'
            asked.give(identifier='ada', secret=password)
            last = asked.error
        run = over(run)
        assert [('a-wrong-one' in p, 'hunter2-secret' in p) for p in service.posts('/login')] == [(1, 0), (0, 1)]
        assert last.startswith('Login failed, 2 attempts left') and 'a-wrong-one' not in last
        account = run.account[0]
        assert (account.identifier, account.secret) == ('ada', 'hunter2-secret')
        assert account.accessToken.startswith('session-') and items(other, 'MyItem', 'name', 'age') == TWO
        if start.way == 'pod': assert not re.search('a-wrong-one|hunter2|session-', run.output[0].content)

        again = over(start(other, 'MyLoginPlugin', LOGIN, account, service_url=f'{service.url}/login'))
        assert again.status == 'done' and len(service.posts('/login')) == 3   # what is stored serves, and nobody is asked


def test_three_wrong_passwords_and_nothing_is_imported(client, other, over):
    with OAuthServer() as service:
        run = PluginRun(pluginModule='my_plugins', pluginName='MyLoginPlugin', permissions=json.dumps(LOGIN),
                        config=json.dumps(dict(service_url=f'{service.url}/login')))
        client.create(run)
        for n in range(3):
            wait_for(lambda: open_request(other, run.id)).give(identifier='ada', secret=f'a-wrong-one-{n}')
        run = over(run, 'error')
        assert run.error.startswith('Reached max login attempts.') and 'a-wrong-one' not in run.error
        assert items(other, 'MyItem', 'name') == [] and not re.search('a-wrong-one', run.output[0].content)


def test_the_command_acts_as_the_user(client, other, road, command, over):
    "`simulate_enter_credentials`, which takes them from the files of the plugin"
    with OAuthServer() as service:
        config = json.dumps(dict(service_url=f'{service.url}/login'))
        run = PluginRun(pluginModule='my_plugins', pluginName='MyLoginPlugin', permissions=json.dumps(LOGIN), config=config)
        client.create(run)
        wait_for(lambda: open_request(other, run.id))
        folder = Path(os.environ['PYMEMRI_HOME'], 'plugins', 'my_plugins')
        folder.mkdir(parents=True)
        (folder / 'credentials.json').write_text(json.dumps(dict(username='ada', password='hunter2-secret')))
        out = said(command('simulate_enter_credentials', '--plugin', 'my_plugins', '--run_id', run.id))
        assert out.endswith(f'gave run {run.id} what it needs\n') and 'hunter2' not in out
        over(run)
        assert items(other, 'MyItem', 'name', 'age') == TWO


# ---- the page: the command line ----

def test_parameters_are_those_of_the_page():
    "In its order; ours has `metadata` at the end"
    page = 'pod_full_address plugin_run_id database_key owner_key read_args_from_env config_file'
    assert ' '.join(inspect.signature(run_plugin).parameters) == f'{page} metadata'
    page = 'pod_full_address database_key owner_key container plugin_path settings_file config_file account_id'
    assert ' '.join(inspect.signature(simulate_run_plugin_from_frontend).parameters) == f'{page} metadata'


@pytest.fixture
def example_config(tmp_path, page):
    "The page names `../example_config.json`, and does not show it"
    def write(name='MyPrintingPlugin', **more):
        account = dict(identifier='myusername', secret='mypassword')
        what = dict(pluginModule='my_plugins', pluginName=name, account=account) | more
        (tmp_path / 'mine' / 'example_config.json').write_text(json.dumps(what))
        return '../example_config.json'
    return write


def printed(road, *more):
    "How the output of both commands begins, on the page too but for two lines of ours"
    home = os.environ['PYMEMRI_HOME']
    return [f'reading database_key from {home}/pod_keys/keys.json', f'reading owner_key from {home}/pod_keys/keys.json',
            f"pod_full_address={road.get('pod_full_address', 'embedded')}",
            f'owner_key={OWNER[:6]}…',  # page: the whole key
            '', *more]


def test_run_plugin_with_a_config_file(client, other, road, command, example_config):
    lines = said(command('run_plugin', f'--config_file={example_config()}')).splitlines()
    home = os.environ['PYMEMRI_HOME']
    assert lines == printed(road, f'writing run info to {home}/plugins/my_plugins/current_run.json',
                            'running', 'logging in with account myusername and password mypassword')
    assert items(other, 'PluginRun', 'pluginName', 'status', 'containerImage') == [('MyPrintingPlugin', 'done', 'none')]


def test_run_plugin_as_a_function(client, other, road, example_config, tmp_path, monkeypatch, capsys):
    (tmp_path / 'mine' / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'mine' / 'here')
    if road: monkeypatch.setenv('POD_ADDRESS', road['pod_full_address'])
    example_config()
    run_plugin(config_file="../example_config.json")
    assert capsys.readouterr().out.splitlines()[-2:] == \
        ['running', 'logging in with account myusername and password mypassword']


@pytest.mark.parametrize('name, rights', [('MyPrintingPlugin', {'read': {'Account': '*'}, 'edges': {'read': ['account']}}),
                                          ('MyPasswordPlugin', LOGIN)])
def test_simulate_run_plugin_from_frontend(name, rights, client, other, road, command, example_config, over):
    file = example_config(name, permissions=rights)
    lines = said(command('simulate_run_plugin_from_frontend', f'--config_file={file}')).splitlines()
    run, = other.search({'type': 'PluginRun'})
    where = road.get('pod_full_address', 'embedded')
    begin = printed(road, f'calling the `create` api on {where} to make your Pod start a plugin with id {run.id}.')
    assert lines[:len(begin)] == begin and lines[-1] == '*Check the pod log/console for debug output.*'
    run = over(run)
    assert (run.containerImage, run.targetItemId) == ('my_plugins', run.id)
    if name == 'MyPasswordPlugin': assert items(other, 'MyItem', 'name', 'age') == TWO
    else: assert run.output[0].content.endswith('running\nlogging in with account myusername and password mypassword\n')

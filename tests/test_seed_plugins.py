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
from pymemri.data import schema
from pymemri.data.schema import Account, EmailMessage, File, Person, PluginRun, PluginRunLog
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
from waiting import wait_for

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
    sys.modules.pop('my_plugins', None)
    yield importlib.import_module('my_plugins')
    sys.modules.pop('my_plugins', None)


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
    out = child.communicate(timeout=300)[0]
    assert child.returncode == code, out
    assert DATABASE not in out and OWNER not in out
    return out


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


# ---- the tutorial, by a plugin that the Pod starts ----

TUTORIAL = '''\
from os import environ
import numpy as np
from pymemri.data.photo import *
from pymemri.data.schema import *
from pymemri.plugin.pluginbase import PluginBase
from pymemri.pod.client import *

RUN_UID_ENV = 'POD_PLUGINRUN_ID'  # page: never says what it is


class MailImporter(PluginBase):
    "The steps of the tutorial, one after the other"
    schema_classes = [EmailMessage, Person, File]
    def run(self):
        client = self.client
        importer_run_id  = environ[RUN_UID_ENV]  # page: int(environ[RUN_UID_ENV]); ids are 32 hex digits, not numbers
        importerRun = client.get(importer_run_id, expanded=False)
        # Traverse edges from here (TODO)
        importer, = [e['item'] for e in client.get_edges(importerRun.id) if e['name'] == 'importer']
        account, = [e['item'] for e in client.get_edges(importer.id) if e['name'] == 'account']
        last = client.search_last_added(type="Person")
        all_people = client.search({"type": "Person"})
        print('ACCOUNT', account.handle, 'LAST', last and last.firstName, 'KNOWN', len(all_people))
        account.sessionToken = "12344"
        client.update_item(account)

        email_item = EmailMessage(subject="Hi")
        client.create(email_item)
        person_item = Person.from_data(firstName="Alice", lastName="X")
        item_succes = client.create(person_item)
        edge = Edge(email_item, person_item, "sender")
        edge_succes = client.create_edge(edge)

        x = np.random.randint(0, 255+1, size=(640, 640), dtype=np.uint8)
        photo = IPhoto.from_np(x)
        file = photo.file[0]

        success1 = client.create(file)
        success2 = client.upload_photo(x)
        print(item_succes, edge_succes, success1, success2, client.create_edge(Edge(email_item, file, "attachment")))
'''


class Importer(Item):
    name: str


def test_the_tutorial_as_a_plugin_of_the_pod(client, other, over, tmp_path):
    (tmp_path / 'mine' / 'tutorial.py').write_text(TUTORIAL, encoding='utf-8')
    class Account(schema.Account): sessionToken: str
    importer, account = Importer(name="EmailImporter"), Account(handle="alice", secret="s3cret", sessionToken="AA")
    client.bulk_action(create_items=[importer, account], create_edges=[Edge(importer, account, "account")])
    rights = {'read': {'Importer': '*', 'Account': ['handle', 'sessionToken'], 'Person': '*', 'EmailMessage': '*', 'File': '*'},
              'create': {t: '*' for t in ('EmailMessage', 'Person', 'File', 'Photo')},
              'update': {'Account': ['sessionToken']}, 'files': {'write': True},
              'edges': {'read': ['importer', 'account'], 'create': ['sender', 'attachment', 'file']}}
    for last, known in ((None, 0), ('Alice', 1)):
        run = PluginRun(pluginModule='tutorial', pluginName='MailImporter', permissions=json.dumps(rights))
        client.bulk_action(create_items=[run], create_edges=[Edge(run, importer, "importer")])
        said = over(run).output[0].content
        assert f'ACCOUNT alice LAST {last} KNOWN {known}\nTrue True True True True\n' in said
        assert 's3cret' not in said
    mails = other.search({'type': 'EmailMessage'})
    assert [m.sender[0].lastName for m in mails] == ['X', 'X']
    for mail in mails:
        file = next(e['item'] for e in other.get_edges(mail.id) if e['name'] == 'attachment')
        data = other.get_file(file.sha256)
        assert hashlib.sha256(data).hexdigest() == file.sha256
    there, = other.api.get_item(account.id)
    assert (there['sessionToken'], there['secret']) == ("12344", "s3cret")


# ---- Mallory ----

MALLORY = r'''
import json, os, sys, time
from pathlib import Path
from pymemri.plugin.pluginbase import PluginBase
from pymemri.pod.client import PodClient


def tried(work):
    "What came of it, or the name of the error and what it says"
    try: out = work()
    except Exception as e: return [type(e).__name__, str(e)]
    return out


class Sleeps(PluginBase):
    "Another plugin, which may read people"
    schema_classes = []
    def run(self):
        while True: time.sleep(.1)


class Mallory(PluginBase):
    schema_classes = []
    def __init__(self, what: str='', other_owner: str='', **kwargs):
        super().__init__(**kwargs)
        self.what, self.other_owner = json.loads(what or '{}'), other_owner
    def run(self): print('SEEN', json.dumps({n: tried(getattr(self, n)) for n in dir(self) if n.startswith(self.kind)}))


class AtThePod(Mallory):
    "What its permissions have to stop"
    kind = 'a_'
    @property
    def api(self): return self.client.api
    def a_fair_question(self): return [d['name'] for d in self.api.search({'type': 'Dog'})]
    def a_types(self): return sorted({d['type'] for d in self.api.search({})})
    def a_search(self): return [self.api.search({'type': t}) for t in ('Person', 'Account', 'PluginRunLog', 'File')]
    def a_by_id(self): return [self.api.get_item(self.what[n]) for n in ('person', 'account', 'log', 'run')]
    def a_edges(self): return self.api.get_edges(self.what['dog'])
    def a_edges_unseen(self): return self.api.get_edges(self.what['run'])
    def a_words(self): return self.api.search({'_text': 'Lovelace'})
    def a_count(self): return self.api.count({'type': 'Person'})
    def a_other_property(self): return self.api.search({'type': 'Dog', 'age>': 0})
    def a_property_of_a_dog(self): return [d.get('age') for d in self.api.search({'type': 'Dog'})]
    def a_file(self): return len(self.client.get_file(self.what['sha256']))
    def a_update(self): return self.api.update_item({'id': self.what['dog'], 'name': 'Mallory was here'})
    def a_update_unseen(self): return self.api.update_item({'id': self.what['person'], 'firstName': 'Mallory'})
    def a_delete(self): return self.api.delete_item(self.what['dog'])
    def a_delete_unseen(self): return self.api.delete_item(self.what['person'])
    def a_create(self): return self.api.create_item({'type': 'Dog', 'name': 'Mallory'})
    def a_bulk(self): return self.api.bulk(create_items=[{'type': 'Dog', 'name': 'Mallory'}])
    def a_edge(self): return self.api.create_edge({'_source': self.what['dog'], '_target': self.what['dog'], '_name': 'x'})
    def a_start(self): return self.api.create_item({'type': 'PluginRun', 'pluginModule': 'mallory', 'pluginName': 'Sleeps',
                                                    'targetItemId': self.pluginRun.id, 'permissions': '{"read": {"*": "*"}}'})
    def a_trigger(self): return self.api.create_item({'type': 'PluginTrigger', 'pluginModule': 'mallory', 'every': 1})
    def a_raise_itself(self): return self.api.update_item({'id': self.pluginRun.id, 'permissions': '{"read": {"*": "*"}}'})
    def a_other_run(self): return self.api.update_item({'id': self.what['run'], 'status': 'aborted'})
    def a_new_box(self): return self.client.plugin_auth(permissions={'read': {'*': '*'}})
    def a_settings(self): return self.client.change_settings(fullAccessPlugins=True)
    def a_backup(self): return str(self.client.backup('stolen'))
    def a_rekey(self): return self.client.api.rekey('00' * 32)
    def a_delete_all(self): return self.client.api.delete_all()
    def a_purge(self): return self.client.api.purge(dict(ids=[self.what['person']]))
    def stranger(self, **how):
        with PodClient(os.environ['POD_FULL_ADDRESS'], register_base_schema=False, **how) as c:
            return [d['firstName'] for d in c.api.search({'type': 'Person'})]
    def a_other_owner(self):
        return self.stranger(owner_key=self.other_owner, auth_json=json.loads(os.environ['POD_AUTH_JSON']))
    def a_changed_box(self):
        box = json.loads(os.environ['POD_AUTH_JSON'])
        text = box['data']['encryptedPermissions']
        box['data']['encryptedPermissions'] = ('1' if text[0] == '0' else '0') + text[1:]
        return self.stranger(owner_key=os.environ['POD_OWNER'], auth_json=box)
    def a_guessed_key(self): return self.stranger(owner_key=os.environ['POD_OWNER'], database_key='00' * 32)


class AsAProcess(Mallory):
    "What lies about where it was put, and what it can do as a process of the same user"
    kind = 'p_'
    home = property(lambda self: Path.cwd().parents[1])  # its folder lies in the Pod's
    def p_environment(self): return sorted(os.environ), ' '.join(os.environ.values())
    def p_words(self): return sys.argv, sys.orig_argv
    def p_its_folder(self): return [os.getcwd() == os.environ['HOME'], os.listdir()]
    def p_open_files(self): return [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')
                                    if os.path.exists(f'/proc/self/fd/{n}')]
    def p_keys_where_they_are_looked_for(self):
        with PodClient.from_local_keys() as client: return client.count({'type': 'Person'})
    def p_key_file(self): return json.loads((self.home / 'pod_keys/keys.json').read_text())['database_key']
    def p_pod_with_these_keys(self):
        keys = json.loads((self.home / 'pod_keys/keys.json').read_text())
        with PodClient(home=self.home, register_base_schema=False, **keys) as client:
            return [d['lastName'] for d in client.api.search({'type': 'Person'})]
    def p_files_of_the_pod(self):
        files = [p for p in self.home.rglob('*') if p.is_file() and 'plugin_runs' not in p.parts and 'pod_keys' not in p.parts]
        data = b''.join(p.read_bytes() for p in files)
        key = bytes.fromhex(self.what['yek'][::-1])
        return [len(files) > 2, len(data) > 10_000, *[word in data for word in (b'Lovelace', key, key.hex().encode())]]
    def p_write_among_them(self):
        (self.home / 'mallory').write_text('was here')
        return (self.home / 'mallory').read_text()
    def p_the_pod_itself(self):
        os.kill(self.what['pod'], 0)
        return len(Path(f"/proc/{self.what['pod']}/environ").read_bytes()) > 0
    def p_box_of_another_plugin(self):
        for p in Path('/proc').glob('[0-9]*/environ'):
            try: env = dict(w.split('=', 1) for w in p.read_text().split('\0') if '=' in w)
            except (OSError, UnicodeDecodeError): continue
            if env.get('POD_PLUGINRUN_ID') != self.what['run'] or env.get('POD_OWNER') != os.environ['POD_OWNER']: continue
            with PodClient(env['POD_FULL_ADDRESS'], owner_key=env['POD_OWNER'], auth_json=json.loads(env['POD_AUTH_JSON']),
                           register_base_schema=False) as client:
                return [d['lastName'] for d in client.api.search({'type': 'Person'})]
'''
ELSE = 'ab' * 32


@pytest.fixture
def scene(client, road, tmp_path):
    "A Pod with something to steal, another owner on the same machine, and another plugin that runs"
    (tmp_path / 'mine' / 'mallory.py').write_text(MALLORY, encoding='utf-8')
    with a_client(road, owner_key=ELSE, database_key='cd' * 32) as neighbour:
        neighbour.create(Person(firstName='Grace', lastName='Hopper'))
    data = b'the letters of Ada'
    file = File(sha256=hashlib.sha256(data).hexdigest())
    person, dog, account = Person(firstName='Ada', lastName='Lovelace'), Dog(name='Rex', age=3), Account(secret='hunter2')
    client.bulk_action(create_items=[person, dog, account, file], create_edges=[Edge(dog, person, 'friend')])
    client.api.upload_file(data)
    rights = json.dumps({'read': {'Person': '*'}})
    client.create(run := PluginRun(pluginModule='mallory', pluginName='Sleeps', permissions=rights))
    wait_for(lambda: client.api.get_item(run.id)[0].get('status') == 'started')
    client.create(log := PluginRunLog(content='what another run has printed'))
    yield dict(person=person.id, dog=dog.id, account=account.id, sha256=file.sha256, run=run.id, log=log.id,
               pod=os.getpid(), yek=DATABASE[::-1])
    client.api.update_item({'id': run.id, 'status': 'aborted'})
    wait_for(lambda: not road.busy(client))


def does(client, name, what, rights):
    "What a plugin of Mallory came by"
    run = PluginRun(pluginModule='mallory', pluginName=name, permissions=json.dumps(rights),
                    config=json.dumps(dict(what=json.dumps(what), other_owner=ELSE)))
    client.create(run)
    wait_for(lambda: client.api.get_item(run.id)[0].get('status') in ENDED)
    found = wait_for(lambda: [e['item'] for e in client.get_edges(run.id) if e['name'] == 'output'])
    wait_for(lambda: 'SEEN' in (client.api.get_item(found[0].id)[0]['content']))
    return json.loads(re.search('SEEN (.*)', client.api.get_item(found[0].id)[0]['content'])[1])


def stored(client): return [d for t in ('Person', 'Dog', 'Account', 'File') for d in client.api.search({'type': t})]


FORBIDDEN = {'a_update': 'do not include update of Dog', 'a_delete': 'do not include delete of Dog',
             'a_create': 'do not include create of Dog', 'a_bulk': 'do not include create of Dog',
             'a_edge': 'do not include edges.create of x', 'a_file': 'do not include files.read',
             'a_start': 'can not start plugins', 'a_trigger': 'can not start plugins',
             'a_raise_itself': 'only the owner changes permissions of a run',
             'a_purge': 'purge is for the owner', 'a_delete_all': 'delete_all is for the owner',
             'a_rekey': 'rekey is for the owner', 'a_backup': 'backup is for the owner',
             'a_new_box': 'create_plugin_auth is for the owner', 'a_settings': 'change_settings is for the owner'}


def test_what_permissions_stop(client, other, scene, road):
    "It sees the names of dogs, as it was granted, and nothing tells it that there is more"
    before = stored(other)
    seen = does(client, 'AtThePod', scene, {'read': {'Dog': ['name']}})
    assert seen.pop('a_fair_question') == ['Rex']
    assert seen.pop('a_types') == ['Dog', 'ItemPropertySchema', 'PluginRun']  # the last is its own run
    assert (seen.pop('a_search'), seen.pop('a_by_id')) == ([[]] * 4, [[]] * 4)
    assert (seen.pop('a_edges'), seen.pop('a_words'), seen.pop('a_count')) == ([], [], 0)
    assert seen.pop('a_property_of_a_dog') == [None]
    assert seen.pop('a_other_property') == ['Invalid', '400 Property age not defined in Schema']
    assert [seen.pop(n)[0] for n in ('a_other_run', 'a_delete_unseen', 'a_edges_unseen')] == ['NotFound'] * 3
    assert seen.pop('a_update_unseen')[0] == 'Invalid'
    for name, why in FORBIDDEN.items():
        kind, text = seen.pop(name)
        assert kind == 'Forbidden' and why in text, name
    assert seen.pop('a_guessed_key')[0] == 'WrongKey'
    assert seen.pop('a_changed_box')[1].startswith('401 Error in symmetric encryption')
    assert seen.pop('a_other_owner')[1].startswith('401 Error in symmetric encryption')  # a box is for one owner
    assert not seen, 'an attempt that nobody looked at'
    assert stored(other) == before and other.api.get_item(scene['run'])[0]['status'] == 'started'
    assert other.settings() == {'fullAccessPlugins': False} and other.count({'type': 'PluginRun'}) == 2
    with a_client(road, owner_key=ELSE, database_key='cd' * 32) as neighbour:
        assert items(neighbour, 'Person', 'firstName', 'lastName') == [('Grace', 'Hopper')]


@pytest.mark.parametrize('rights', [{}, {'read': {'*': '*'}, 'create': {'*': '*'}, 'update': {'*': '*'}, 'delete': ['*'],
                                         'edges': {'read': '*', 'create': '*', 'delete': '*'}, 'files': {'read': True}}])
def test_no_permission_reaches_beyond_its_pod(client, scene, rights):
    "Everything that permissions can say, and nothing at all: other owners, the key and other runs stay out of reach"
    seen = does(client, 'AtThePod', scene, rights)
    assert ('Rex' in seen['a_fair_question'], seen['a_create'][0] == 'Forbidden', seen['a_count']) == \
        ((True, False, 1) if rights else (False, True, 0))
    for name in ('a_start', 'a_trigger', 'a_raise_itself', 'a_new_box', 'a_settings', 'a_backup', 'a_rekey',
                 'a_delete_all', 'a_purge'): assert seen[name][0] == 'Forbidden', name
    assert seen['a_by_id'][2:] == [[], []] and seen['a_other_run'][0] == 'NotFound'
    assert (seen['a_other_owner'][0], seen['a_guessed_key'][0]) == ('PodError', 'WrongKey')


LEAKS = '''\
import os
from pymemri.plugin.pluginbase import PluginBase

class Leaks(PluginBase):
    schema_classes = []
    def run(self): print('BOX', os.environ['POD_AUTH_JSON'], 'AT', os.environ['POD_FULL_ADDRESS'])
'''


def test_a_box_ends_with_its_run(client, road, over, tmp_path):
    "As the threat model says: a thief who comes when the run is over finds it worth nothing. One from `plugin_auth` lasts"
    (tmp_path / 'mine' / 'leaks.py').write_text(LEAKS, encoding='utf-8')
    client.create(Dog(name='Rex'))
    run = PluginRun(pluginModule='leaks', pluginName='Leaks', permissions=json.dumps({'read': {'Dog': '*'}}))
    client.create(run)
    box, url = re.search('BOX (.*) AT (.*)', over(run).output[0].content).groups()

    def theft(auth):
        "What a thief gets"
        try:
            with PodClient(url, owner_key=OWNER, auth_json=auth, register_base_schema=False) as thief:
                return [d['name'] for d in thief.api.search({'type': 'Dog'})]
        except PodError as e: return type(e).__name__
    wait_for(lambda: theft(json.loads(box)) == ('Forbidden' if road else 'Unavailable'))
    if road: assert theft(client.plugin_auth(permissions={'read': {'Dog': '*'}})) == ['Rex']


@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
@pytest.mark.parametrize('keys', ['in the key file', 'elsewhere'])
def test_what_a_process_of_the_same_user_can_still_do(client, scene, keys):
    """Nothing lies about where a plugin is put; but a process is no wall: the threat model of `guide/plugin` says so, and
    this holds it to its word. Where one of the last lines fails, the page has to say less"""
    home = Path(os.environ['PYMEMRI_HOME'])
    if keys == 'elsewhere': (home / 'pod_keys/keys.json').unlink()
    seen = does(client, 'AsAProcess', scene, {'read': {'Dog': ['name']}})
    # what it finds without looking around: no key, in no variable, word, file or open file
    names, values = seen.pop('p_environment')
    assert set(names) - {'LC_CTYPE'} == {'HOME', 'LANG', 'PATH', 'PYTHONPATH', 'POD_AUTH_JSON', 'POD_FULL_ADDRESS',
                                         'POD_OWNER', 'POD_PLUGINRUN_ID', 'POD_TARGET_ITEM'}
    assert DATABASE not in values and 'hunter2' not in values and OWNER in values
    assert not any(secret in word for words in seen.pop('p_words') for word in words for secret in (DATABASE, OWNER))
    assert seen.pop('p_its_folder') in ([True, []], [True, ['.pymemri']])
    assert not [f for f in seen.pop('p_open_files') if f.startswith('/') and f != '/dev/null']
    assert seen.pop('p_keys_where_they_are_looked_for')[0] == 'NoKey'
    # the files of the Pod are there for it, and are encrypted: no text and no key is in them
    assert seen.pop('p_files_of_the_pod') == [True, True, False, False, False]
    # what only another user, or a container, would stop
    assert seen.pop('p_write_among_them') == 'was here' == (home / 'mallory').read_text()
    assert seen.pop('p_the_pod_itself') is True
    assert seen.pop('p_box_of_another_plugin') == ['Lovelace']
    key, people = seen.pop('p_key_file'), seen.pop('p_pod_with_these_keys')
    if keys == 'in the key file': assert (key, people) == (DATABASE, ['Lovelace'])
    else: assert key[0] == people[0] == 'FileNotFoundError'
    assert not seen, 'an attempt that nobody looked at'


def test_what_docker_adds():
    "A container has no folder of this machine, none of its processes, and none of the powers of root"
    five = dict(POD_OWNER=OWNER, POD_PLUGINRUN_ID='7f')
    options = container_options('image', five, Settings().plugins_docker_network, Limits())
    assert not {'volumes', 'mounts', 'volumes_from', 'pid_mode', 'ipc_mode', 'privileged', 'devices', 'cap_add', 'user'} \
        & options.keys()
    assert (options['cap_drop'], options['security_opt'], options['environment']) == (['ALL'], ['no-new-privileges'], five)
    assert options['network'] == 'host'  # as Memri's Pod does; the threat model says what that means

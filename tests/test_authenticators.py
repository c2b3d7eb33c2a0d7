"""Authenticators against a real OAuth 2 service on loopback (`oauth_server`), over both roads to a Pod, with a second client that
acts as the user; and nowhere a word of what they typed."""
import json, logging, os, pty, re, subprocess, sys, textwrap, threading, time, traceback
from pathlib import Path

import pytest
import requests

from pymemri.core import Forbidden, Unavailable
from pymemri.data.item import Item
from pymemri.data.schema import Account, PluginRun
from pymemri.plugin.authenticators.credentials import simulate_enter_credentials, simulate_enter_credentials_cli
from pymemri.plugin.authenticators.oauth import OAuth2Authenticator, OAuthAuthenticator
from pymemri.plugin.authenticators.password import PasswordAuthenticator
from pymemri.plugin.authenticators.qr import QRAuthenticator, QRCode
from pymemri.plugin.authenticators.request import NoAnswer, Refused, RunEnded, account_json, open_request, run_json
from pymemri.plugin.pluginbase import PluginAborted, PluginBase
from pymemri.plugin.run import run_plugin_from_run_id
from pymemri.pod.client import PodClient
from pymemri.server.serve import Served

from oauth_server import OAuthServer

root = Path(__file__).resolve().parents[1]


@pytest.fixture(params=['embedded', 'http'])
def road(request, tmp_path):
    if request.param == 'embedded': yield {}
    else:
        with Served(data_folder=tmp_path / 'pods') as server: yield dict(url=server.url)


@pytest.fixture
def client(road):
    "The plugin's"
    with PodClient(**road) as client: yield client


@pytest.fixture
def other(client, road):
    "The user's: it sees only what is in the Pod"
    with PodClient(database_key=client.database_key, owner_key=client.owner_key, **road) as other: yield other


@pytest.fixture
def service():
    with OAuthServer() as service: yield service


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    "No test waits for long; who waits in vain fails soon"
    from pymemri.plugin.authenticators.credentials import Authenticator
    monkeypatch.setattr(Authenticator, 'SLEEP_INTERVAL', 0.02)
    monkeypatch.setattr(Authenticator, 'MAX_POLL_TIME', 120)


@pytest.fixture
def run(client): return started(client)


def started(client, **account):
    run = PluginRun(containerImage='none', pluginModule='m', pluginName='n', status='started')
    items = [run] + ([Account(**account)] if account else [])
    for item in items[1:]: run.add_edge('account', item)
    client.bulk_action(create_items=items, create_edges=run.get_edges('account'))
    return run


class User(threading.Thread):
    "Somebody with a client of their own, who answers each question by the next of `answers`: functions of the request"
    def __init__(self, client, run, *answers):
        super().__init__(daemon=True)
        self.client, self.run_id, self.answers, self.asked, self.error = client, run.id, list(answers), [], None
        self.stopped = threading.Event()
    def run(self):
        try:
            while self.answers and not self.stopped.wait(0.02):
                if (asked := open_request(self.client, self.run_id)) is None: continue
                self.asked.append((asked.kind, asked.url, asked.error))
                asked.give(**self.answers.pop(0)(asked))
        except BaseException as e: self.error = e
    def __enter__(self):
        self.start()
        return self
    def __exit__(self, kind, *args):
        self.stopped.set()
        self.join(10)
        if kind is None and self.error: raise self.error
        assert kind or not self.answers, 'was never asked'


def agrees(request):
    "Open the link, agree, and copy the address at which the page ends"
    page = requests.get(request.url, allow_redirects=False, timeout=600)
    assert page.status_code == 302
    return dict(code=page.headers['Location'])


def only_code(request): return dict(code=re.search('code=([^&]+)', agrees(request)['code'])[1])
def types(username, password): return lambda request: dict(identifier=username, secret=password)


class Watch:
    "Everything that is written while it lasts, at every level of every log"
    def __init__(self, capfd, caplog): self.capfd, self.caplog, self.more = capfd, caplog, []
    def failure(self, e): self.more.append(''.join(traceback.format_exception(e)))
    def check(self, *secrets):
        out = self.capfd.readouterr()
        # oauthlib is the service's side, which knows its codes; it shares this process only because this is a test
        logs = [r.getMessage() + str(r.exc_text) for r in self.caplog.records if not r.name.startswith('oauthlib')]
        text = '\n'.join([out.out, out.err, *logs, *self.more])
        assert secrets and all(secrets)
        for s in secrets: assert str(s) not in text
        return text


@pytest.fixture
def watch(capfd, caplog):
    caplog.set_level(logging.DEBUG)
    return Watch(capfd, caplog)


# ---- OAuth ----

@pytest.mark.parametrize('answer', [agrees, only_code])
def test_the_whole_flow(client, other, run, service, watch, answer):
    auth = OAuth2Authenticator(client, run, **service.settings)
    with User(other, run, answer) as user: auth.authenticate()
    account = run.account[0]
    assert user.asked == [('code', user.asked[0][1], '')] and user.asked[0][1].startswith(service.settings['authorize_url'])
    assert account.accessToken == account.secret and account.accessToken in service.memory.tokens
    assert account.refreshToken in service.memory.refresh and account.code is None
    assert run.status == 'ready' and run.authUrl is None and run.error is None
    stored = account_json(other, run.id)
    assert stored['accessToken'] == account.accessToken and not stored.get('code')
    assert [i['name'] for i in auth.session().get(f'{service.url}/me').json()] == ['name_1', 'name_2']
    trade, = service.posts('/token')
    assert 'code_verifier=' in trade and 'client_secret' not in trade
    watch.check(account.accessToken, account.refreshToken, auth.verifier, re.search('code=([^&]+)', trade)[1])


def nobody(request): raise AssertionError('the user was asked')


def login(client, other, run, service, **settings):
    "A run that has its tokens"
    auth = OAuth2Authenticator(client, run, **service.settings | settings)
    with User(other, run, agrees): auth.authenticate()
    return auth


def test_a_good_token_is_left_alone(client, other, run, service):
    before = login(client, other, run, service).get_account().accessToken
    OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()
    assert run.account[0].accessToken == before and len(service.posts('/token')) == 1


def test_an_expired_token_is_refreshed_and_the_new_pair_is_kept(client, other, run, service):
    account = login(client, other, run, service).get_account()
    before = account.accessToken, account.refreshToken
    service.memory.tokens[account.accessToken] = 0
    OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()
    after = [account_json(other, run.id)[k] for k in ('accessToken', 'refreshToken', 'secret')]
    assert after[0] != before[0] and after[1] != before[1] and after[2] == after[0] == run.account[0].secret
    assert before[1] not in service.memory.refresh            # it was good for one use
    OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()


def test_without_an_address_to_check_it_is_refreshed_each_time(client, other, run, service):
    before = login(client, other, run, service, verify_url=None).get_account().accessToken
    OAuth2Authenticator(client, run, ask=nobody, **service.settings | dict(verify_url=None)).authenticate()
    assert run.account[0].accessToken not in (before, None)


def test_revoked_tokens_lead_to_the_user(client, other, run, service):
    auth = login(client, other, run, service)
    before = auth.get_account().accessToken
    service.memory.tokens.clear()
    service.memory.refresh.clear()
    login(client, other, run, service)
    assert run.account[0].accessToken not in (before, None) and run.status == 'ready' and run.error is None


def test_a_session_refreshes_on_the_way(client, other, run, service):
    service.lifetime = 30                                     # Authlib takes a minute's leeway: it is over already
    auth = login(client, other, run, service)
    before = auth.get_account().accessToken
    assert auth.session().get(f'{service.url}/me').status_code == 200
    assert account_json(other, run.id)['accessToken'] != before
    assert account_json(other, run.id)['accessToken'] in service.memory.tokens


def test_giving_tokens_back(client, other, run, service):
    auth = login(client, other, run, service)
    auth.revoke()
    assert not service.memory.tokens and not service.memory.refresh
    assert not {'accessToken', 'refreshToken', 'secret'} & {k for k, v in account_json(other, run.id).items() if v}
    login(client, other, run, service)


def test_a_client_with_a_secret(client, other, run, watch):
    with OAuthServer(secret='top-secret-1') as service:
        login(client, other, run, service)
        assert not any('top-secret-1' in body for body in service.posts('/token'))     # it is in the header
        auth = OAuth2Authenticator(client, started(client), **service.settings | dict(client_secret='wrong-secret'))
        with User(other, auth.pluginRun, agrees, agrees, agrees), pytest.raises(Refused) as e: auth.authenticate()
    watch.failure(e.value)
    watch.check('top-secret-1', 'wrong-secret')
    assert 'invalid_client' in auth.pluginRun.error


def test_wrong_codes_and_then_the_right_one(client, other, run, service, watch):
    "Each attempt has a page of its own; the user is told what was wrong"
    kept = {}
    def old_page(request): return kept
    def keeps(request):
        kept.update(agrees(request))
        return dict(code='made-up-code')
    auth = OAuth2Authenticator(client, run, **service.settings)
    with User(other, run, keeps, old_page, agrees) as user: auth.authenticate()
    assert [why for _, _, why in user.asked] == ['', 'The code was not accepted (the service said invalid_grant)',
        'The code was not accepted (that address belongs to another page; please use the link that was given here)']
    assert len({url for _, url, _ in user.asked}) == 3 and run.error is None and run.status == 'ready'
    watch.check('made-up-code', kept['code'], run.account[0].accessToken)


def test_a_code_that_was_caught_is_worth_nothing(client, other, run, service):
    "PKCE: another program with the same client id has the code, but not the word"
    thief = OAuth2Authenticator(client, started(client), **service.settings)
    thief.get_oauth_url()
    auth = OAuth2Authenticator(client, run, **service.settings)
    caught = only_code(type('Page', (), {'url': auth.get_oauth_url()}))['code']
    with pytest.raises(Refused, match='invalid_grant'): thief.get_tokens_from_code(caught)


def test_three_wrong_codes(client, other, run, service, watch):
    codes = [f'wrong-code-{n}' for n in range(3)]
    auth = OAuth2Authenticator(client, run, **service.settings)
    with User(other, run, *[lambda r, c=c: dict(code=c) for c in codes]):
        with pytest.raises(RuntimeError, match='^Reached max login attempts.$') as e: auth.authenticate()
    assert run_json(other, run.id)['status'] == run.status == 'error' and 'invalid_grant' in run.error
    watch.failure(e.value)
    watch.check(*codes)
    assert not any(c in json.dumps(run_json(other, run.id)) for c in codes)


def test_a_user_who_says_no(client, other, run, service):
    def says_no(request):
        state = re.search('state=([^&]+)', request.url)[1]
        return dict(code=f'{service.settings["client_id"]}://cb?error=access_denied&state={state}')
    auth = OAuth2Authenticator(client, run, **service.settings)
    with User(other, run, says_no, agrees) as user: auth.authenticate()
    assert 'access_denied' in user.asked[1][2]


@pytest.mark.parametrize('broken', [(500, 'oops'), (503, '')])
def test_a_service_in_trouble_does_not_bother_the_user(client, other, run, service, watch, broken):
    account = login(client, other, run, service).get_account()
    tokens = account.accessToken, account.refreshToken
    service.memory.tokens.clear()
    service.broken = broken
    with pytest.raises(Unavailable, match='cannot be reached') as e:
        OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()
    watch.failure(e.value)
    watch.check(*tokens)
    assert account_json(other, run.id)['refreshToken'] == tokens[1]    # nothing was lost
    service.broken = None
    OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()


def test_a_service_that_is_gone(client, other, run, watch):
    with OAuthServer() as service: account = login(client, other, run, service).get_account()
    with pytest.raises(Unavailable) as e: OAuth2Authenticator(client, run, ask=nobody, **service.settings).authenticate()
    watch.failure(e.value)
    watch.check(account.accessToken, account.refreshToken)


@pytest.mark.parametrize('broken', [(200, '<html>no JSON</html>'), (200, '[1]'), (200, '{}'), (200, '{"access_token": 5}'),
                                    (307, '', {'Location': 'http://127.0.0.1:1/steal'})])
def test_replies_that_are_none(client, other, run, service, broken):
    service.broken = broken
    auth = OAuth2Authenticator(client, run, **service.settings)
    with User(other, run, agrees, agrees, agrees), pytest.raises(Refused): auth.authenticate()
    assert run.status == 'error' and not account_json(other, run.id).get('accessToken')


# ---- passwords ----

class ByToken(PasswordAuthenticator):
    service = ''
    def get_token(self, username, password):
        result = requests.post(self.service, {'username': username, 'password': password}, timeout=600)
        if result.status_code == 200: return result.json()['session_token']


def by_callback(url):
    def login(username, password):
        reply = requests.post(url, {'username': username, 'password': password}, timeout=600)
        if reply.status_code != 200: raise ValueError(reply.text)      # which repeats what was typed
        return reply.json()['session_token']
    return login


def authenticate(client, run, service, shape):
    if shape == 'callback':
        return PasswordAuthenticator(client, run).authenticate(by_callback(f'{service.url}/login'))
    auth = ByToken(client, run)
    auth.service = f'{service.url}/login'
    return auth.authenticate()


@pytest.mark.parametrize('shape', ['callback', 'get_token'])
def test_a_wrong_password_and_then_the_right_one(client, other, run, service, watch, shape):
    with User(other, run, types('ada', 'typo-1'), types('ada', 'hunter2-secret')) as user:
        token = authenticate(client, run, service, shape)
    assert token.startswith('session-') and token not in repr(token)
    assert len(service.posts('/login')) == 2                           # each attempt asked anew
    assert [kind for kind, _, _ in user.asked] == ['password', 'password']
    assert 'Login failed, 2 attempts left' in user.asked[1][2] and 'typo-1' not in user.asked[1][2]
    account = account_json(other, run.id)
    assert (account['identifier'], account['secret']) == ('ada', 'hunter2-secret')
    assert run.status == 'ready' and run.error is None
    views = [e['item'] for e in other.api.get_edges(run.id) if e['name'] == 'view']
    assert [v['externalId'] for v in views] == ['password_auth.cvu'] and 'account.secret' in views[0]['definition']
    text = watch.check('typo-1', 'hunter2-secret', token)
    assert 'login attempt 1 of 3 failed' in text


@pytest.mark.parametrize('shape', ['callback', 'get_token'])
def test_stored_credentials_are_tried_first(client, other, service, shape):
    run = started(client, identifier='ada', secret='hunter2-secret')
    with User(other, run): assert authenticate(client, run, service, shape).startswith('session-')
    assert run.status == 'started'                                     # nobody was asked


@pytest.mark.parametrize('shape', ['callback', 'get_token'])
def test_three_wrong_passwords(client, other, run, service, watch, shape):
    wrong = [f'typo-{n}' for n in range(3)]
    with User(other, run, *[types('ada-1815', w) for w in wrong]):
        with pytest.raises(RuntimeError, match='^Reached max login attempts.$') as e:
            authenticate(client, run, service, shape)
    assert e.value.__context__ is None and e.value.__cause__ is None
    watch.failure(e.value)
    watch.check('ada-1815', *wrong)
    now = run_json(other, run.id)
    assert now['status'] == 'error' and now['error'].startswith('Reached max login attempts.')
    assert not any(w in now['error'] for w in [*wrong, 'ada-1815'])


def test_nobody_answers(client, other, run, watch):
    auth = PasswordAuthenticator(client, run)
    auth.MAX_POLL_TIME = 0.2
    t = time.monotonic()
    with pytest.raises(RuntimeError, match='^Stop polling, max time reached.$') as e: auth.authenticate(lambda u, p: None)
    assert isinstance(e.value, NoAnswer) and time.monotonic() - t < 60
    assert run_json(other, run.id)['status'] == 'error' and 'did not answer' in run_json(other, run.id)['error']


def test_a_run_that_is_aborted_while_it_waits(client, other, run):
    auth = PasswordAuthenticator(client, run)
    threading.Timer(0.1, lambda: other.api.update_item({'id': run.id, 'status': 'aborted'})).start()
    with pytest.raises(RunEnded, match='aborted'): auth.authenticate(lambda u, p: None)
    assert run_json(other, run.id)['status'] == run.status == 'aborted'


# ---- the page ----

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


def test_the_plugins_of_the_page(client, other, run):
    plugin = MyOAuthPlugin(client=client, pluginRun=run)
    plugin.add_to_schema()
    with User(other, run, lambda request: dict(code='4711')) as user: plugin.run()
    assert user.asked == [('code', 'https://example.com/oauth', '')]
    assert plugin.api.access_token == 'dummy_access_token_with_4711'
    plugin.run()                                                       # the refresh token serves
    assert plugin.api.access_token == 'refreshed_dummy_access_token'

    plugin = MyPasswordPlugin(client=client, pluginRun=started(client))
    plugin.add_to_schema()
    plugin.run()
    assert plugin.api.access_token and other.count({'type': 'MyItem'}) == 6


class AskingPlugin(PluginBase):
    schema_classes = []
    def run(self): PasswordAuthenticator(self.client, self.pluginRun).authenticate(self.login)
    def login(self, username, password):
        if password != 'hunter2-secret': raise ValueError(f'not {password}')


@pytest.mark.parametrize('right', [True, False])
def test_a_run_that_is_started_by_its_id(client, other, watch, right):
    run = PluginRun(containerImage='none', pluginModule='test_authenticators', pluginName='AskingPlugin')
    client.create(run)
    passwords = ['typo-1', 'typo-2', 'hunter2-secret' if right else 'typo-3']
    with User(other, run, *[types('ada-1815', p) for p in passwords]):
        if right: run_plugin_from_run_id(run.id, client)
        else:
            with pytest.raises(Refused) as e: run_plugin_from_run_id(run.id, client)
            watch.failure(e.value)
    now = run_json(other, run.id)
    assert now['status'] == ('done' if right else 'error') and bool(now.get('error')) != right
    watch.check(*passwords)


def test_a_run_that_is_aborted_while_it_asks(client, other):
    run = PluginRun(containerImage='none', pluginModule='test_authenticators', pluginName='AskingPlugin')
    client.create(run)
    def stop():
        while open_request(other, run.id) is None: time.sleep(0.02)
        other.api.update_item({'id': run.id, 'status': 'aborted'})
    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(PluginAborted): run_plugin_from_run_id(run.id, client)
    assert run_json(other, run.id)['status'] == 'aborted'


# ---- QR ----

class Messenger(QRAuthenticator):
    current, linked = 'link-code-1', False
    def get_qr_data(self): return self.current
    def is_authenticated(self): return self.linked


def test_a_code_that_changes_and_is_scanned(client, other, run, watch):
    auth = Messenger(client, run)
    def phone():
        for current in ('link-code-1', 'link-code-2'):
            while True:
                asked = open_request(other, run.id)
                if asked and asked.kind == 'qr' and QRCode.from_url(asked.url).data == current: break
                time.sleep(0.02)
            if current == 'link-code-1': auth.current = 'link-code-2'
        auth.linked = True
    thread = threading.Thread(target=phone, daemon=True)
    thread.start()
    auth.authenticate()
    thread.join(100)
    now = run_json(other, run.id)
    assert now['status'] == 'authenticated' == run.status and not now.get('authUrl')
    watch.check('link-code-1', 'link-code-2')


# ---- a plugin with few rights ----

PERMISSIONS = {'read': {'Account': '*'}, 'create': {'Account': '*'}, 'update': {'Account': '*'},
               'edges': {'read': ['account', 'view'], 'create': ['PluginRun.account']}}


def test_a_plugin_with_few_rights_can_ask_too(tmp_path, service):
    "It may not store a view: then there is none, and the rest works"
    with Served(data_folder=tmp_path / 'pods') as server, PodClient(url=server.url) as owner:
        run = started(owner)
        box = requests.post(f'{server.url}/v5/{owner.owner_key}/create_plugin_auth', timeout=600, json={
            'auth': {'type': 'ClientAuth', 'databaseKey': str(owner.database_key)},
            'payload': {'run': run.id, 'permissions': PERMISSIONS}}).json()
        with PodClient(url=server.url, owner_key=owner.owner_key, auth_json=box, register_base_schema=False) as plugin:
            mine = plugin.get(run.id, expanded=False)
            with User(owner, run, types('ada', 'hunter2-secret')): token = authenticate(plugin, mine, service, 'get_token')
            assert token.startswith('session-') and mine.status == 'ready'
            with pytest.raises(Forbidden): plugin.api.create_item({'type': 'CVUStoredDefinition'})
        assert account_json(owner, run.id)['accessToken'] == token


# ---- the command, and the terminal ----

@pytest.fixture
def served(tmp_path):
    with Served(data_folder=tmp_path / 'pods') as server, PodClient(url=server.url) as client: yield client, server.url


def test_the_command_with_files(client, road, run, clean_env):
    "In a process of its own, as one starts it beside a plugin under development"
    folder = Path(os.environ['PYMEMRI_HOME']) / 'plugins' / 'my_plugin'
    folder.mkdir(parents=True)
    (folder / 'credentials.json').write_text('{"username": "ada", "password": "hunter2-secret"}')
    (folder / 'current_run.json').write_text(json.dumps({'id': run.id}))
    client.store_keys()
    client.api.update_item({'id': run.id, 'status': 'userActionNeeded'})
    code = 'import sys; from pymemri.plugin.authenticators.credentials import *; ' \
           'sys.exit(simulate_enter_credentials_cli())'
    where = ['--pod_full_address', road['url']] if road else []
    done = subprocess.run([sys.executable, '-c', code, '--plugin', 'my_plugin', *where], capture_output=True, text=True,
                          timeout=100, env=clean_env | {'PYMEMRI_HOME': os.environ['PYMEMRI_HOME']})
    assert done.returncode == 0, done.stderr
    assert account_json(client, run.id)['secret'] == 'hunter2-secret' and run_json(client, run.id)['status'] == 'ready'
    for secret in ('hunter2-secret', client.database_key, client.owner_key): assert secret not in done.stdout + done.stderr


def test_the_command_that_asks(client, other, run, monkeypatch, watch):
    "Without a terminal `input` and `getpass` are used: Jupyter, and Windows"
    monkeypatch.setattr('builtins.input', lambda prompt: print(prompt) or 'ada')
    monkeypatch.setattr('getpass.getpass', lambda prompt: print(prompt) or 'hunter2-secret')
    with pytest.raises(Exception, match='needs nothing now .its status is started'):
        simulate_enter_credentials(run.id, client=other)
    other.api.update_item({'id': run.id, 'status': 'userActionNeeded'})
    simulate_enter_credentials(run.id, client=other)
    assert account_json(client, run.id)['secret'] == 'hunter2-secret'
    assert 'Enter the password:' in watch.check('hunter2-secret')


def test_help():
    done = subprocess.run([sys.executable, '-c', 'from pymemri.plugin.authenticators.credentials import *;'
                           'simulate_enter_credentials_cli(["--help"])'], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0
    for flag in ('--run_id', '--plugin', '--pod_full_address', '--database_key', '--owner_key'): assert flag in done.stdout


class Terminal:
    "A program with a terminal of its own, and somebody who reads and types there"
    def __init__(self, code, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try: os.execve(sys.executable, [sys.executable, '-c', code], env)
            finally: os._exit(99)
        self.seen = ''
    def until(self, text, timeout=600):
        "Read until this is on the screen"
        import select
        end = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                try: new = os.read(self.fd, 10_000).decode()
                except OSError: new = ''
                assert new, f'it ended: {self.seen}'
                self.seen += new
    def type(self, line): os.write(self.fd, f'{line}\n'.encode())
    def end(self):
        "What it ended with"
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


PLUGIN = textwrap.dedent('''
    import json, os, sys, termios
    from pymemri.data.schema import PluginRun
    from pymemri.plugin.authenticators.password import PasswordAuthenticator
    from pymemri.pod.client import PodClient
    said = json.loads(os.environ['SAID'])
    client = PodClient(quiet=True, **said['pod'])
    run = client.get(said['run'])
    auth = PasswordAuthenticator(client, run)
    auth.SLEEP_INTERVAL = 0.1
    def login(username, password):
        if password != 'hunter2-secret': raise ValueError('no')
    auth.authenticate(login)
    echo = termios.tcgetattr(0)[3] & termios.ECHO
    print('finished', run.status, 'echo' if echo else 'silent', flush=True)
''')


def at_terminal(client, url, run, clean_env):
    pod = dict(url=url, database_key=str(client.database_key), owner_key=str(client.owner_key))
    return Terminal(PLUGIN, clean_env | {'SAID': json.dumps({'run': run.id, 'pod': pod}),
                                         'PYMEMRI_HOME': os.environ['PYMEMRI_HOME']})


def test_a_terminal_asks_and_shows_no_password(served, clean_env):
    client, url = served
    program = at_terminal(client, url, started(client), clean_env)
    for n, password in enumerate(('typo-1', 'hunter2-secret')):
        program.until('Enter the username: ')
        program.type('ada')
        program.until('Enter the password: ')
        program.seen = program.seen.replace('Enter the', 'Entered')
        program.type(password)
        if n == 0: program.until('2 attempts left')
    program.until('finished ready echo')
    assert program.end() == 0 and 'typo-1' not in program.seen and 'hunter2' not in program.seen


def test_a_prompt_goes_when_somebody_else_answers(served, clean_env):
    "An app may be quicker than the terminal; the terminal is as it was"
    client, url = served
    run = started(client)
    program = at_terminal(client, url, run, clean_env)
    program.until('Enter the username: ')
    program.type('ada')
    program.until('Enter the password: ')
    open_request(client, run.id).give(identifier='ada', secret='hunter2-secret')
    program.until('finished ready echo')
    assert program.end() == 0 and 'answered elsewhere' in program.seen


# ---- a notebook ----

CELLS = ['''
from pymemri.data.schema import PluginRun
from pymemri.plugin.authenticators.ask import in_background
from pymemri.plugin.authenticators.password import PasswordAuthenticator
from pymemri.pod.client import PodClient
client = PodClient(quiet=True)
run = PluginRun(containerImage='none', status='started')
client.create(run)
def login(username, password):
    if password != 'hunter2' + '-secret': raise ValueError('no')
    return 'logged in'
auth = PasswordAuthenticator(client, run)
auth.SLEEP_INTERVAL = 0.05
form = in_background(auth.authenticate, login)
form
''', '''
import asyncio
while form.request is None: await asyncio.sleep(0.02)
first = form.request
form.submit(form.shown.number, dict(identifier='ada', secret='typo-' + '1'))
''', '''
while form.request in (None, first): await asyncio.sleep(0.02)
print(form.shown.said)
form.submit(form.shown.number, dict(identifier='ada', secret='hunter2' + '-secret'))
''', '''
print(await form, run.status)
''']


def test_a_form_in_a_notebook(tmp_path):
    """The cell returns at once, the plugin goes on, and neither outputs nor saved widgets hold a password; with a browser,
    see browser/test_login.py"""
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS],
                                  metadata={'kernelspec': {'name': 'python3', 'display_name': '', 'language': 'python'}})
    NotebookClient(nb, timeout=120, kernel_name='python3', resources={'metadata': {'path': str(tmp_path)}}).execute()
    assert 'application/vnd.jupyter.widget-view+json' in nb.cells[0].outputs[-1]['data']
    assert 'Login failed, 2 attempts left' in str(nb.cells[2].outputs) and 'logged in' in str(nb.cells[3].outputs)
    saved = nbformat.writes(nb)
    assert 'pm-login' in saved and 'hunter2-secret' not in saved and 'typo-1' not in saved

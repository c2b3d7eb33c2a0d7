"""A real server for the tests of Memri's wire, and a client for it that hides nothing.

The rules are those of the specification of the wire (`pod-http-api.md`, "Memri Pod: wire and behaviour specification");
each test file says which of its sections it copies. The tests need neither that text nor its golden cases."""
import http.client, json, secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from waiting import wait_for

from pymemri.engine.pod import pod_folder
from pymemri.server.serve import Served

KEY = '2F' * 32
PROBE = '''#!/bin/sh
# a plugin: writes down what it was told, next to itself
env > "$0.$POD_PLUGINRUN_ID.part"
mv "$0.$POD_PLUGINRUN_ID.part" "$0.$POD_PLUGINRUN_ID"
'''


class Reply:
    "What a server answered"
    def __init__(self, reply, data): self.status, self.headers, self.data = reply.status, reply.headers, data
    def __repr__(self): return f'{self.status} {self.data[:500]!r}'
    @property
    def text(self): return self.data.decode()
    @property
    def json(self): return json.loads(self.data)


class PodServer:
    "A server on `url`"
    def __init__(self, url, home=None): self.url, self.home = url, home

    def connect(self):
        at = urlsplit(self.url)
        return http.client.HTTPConnection(at.hostname, at.port, timeout=600)

    def send(self, method, path, body=None, headers=None):
        "One request on a connection of its own"
        con = self.connect()
        try:
            con.request(method, path, body, headers or {})
            reply = con.getresponse()
            return Reply(reply, reply.read())
        finally: con.close()

    def post(self, op, payload, owner='nobody', key=KEY, wire='v4', auth=None, headers=None):
        "A JSON operation"
        auth = auth or {'type': 'ClientAuth', 'databaseKey': key}
        return self.send('POST', f'/{wire}/{owner}/{op}', json.dumps({'auth': auth, 'payload': payload}), headers)

    def pod(self, owner=None, key=KEY, wire='v4'): return Client(self, owner or secrets.token_hex(32), key, wire)


class Client:
    "One owner at a server"
    def __init__(self, server, owner, key, wire):
        self.server, self.owner, self.key, self.wire, self.auth = server, owner, key, wire, None

    def post(self, op, payload, **how):
        mine = {'owner': self.owner, 'key': self.key, 'wire': self.wire, 'auth': self.auth}
        return self.server.post(op, payload, **mine | how)

    def raw(self, op, body, headers=None):
        return self.server.send('POST', f'/{self.wire}/{self.owner}/{op}', body, headers)

    def ok(self, op, payload, **how):
        "The answer to an operation that has to succeed"
        reply = self.post(op, payload, **how)
        assert reply.status == 200, reply
        assert reply.headers['content-type'] == 'application/json'
        assert reply.headers['access-control-allow-origin'] == '*'
        return reply.json

    def refused(self, op, payload, status, *texts, **how):
        "Check that an operation fails as it should"
        return check_failure(self.post(op, payload, **how), status, *texts)

    def get(self, id):
        "The item, which has to be there"
        item, = self.ok('get_item', id)
        return item

    def make(self, type='Thing', **item): return self.ok('create_item', {'type': type} | item)
    def find(self, **query): return self.ok('search', query)
    def ids(self, **query): return [i['id'] for i in self.find(**query)]

    def define(self, **kinds):
        "Define properties"
        self.ok('bulk', {'createItems': [{'type': 'ItemPropertySchema', 'itemType': 'Thing', 'propertyName': p,
                                          'valueType': k} for p, k in kinds.items()]})

    def upload(self, sha256, data, key=None, headers=None):
        path = f'/{self.wire}/{self.owner}/upload_file/{self.key if key is None else key}/{sha256}'
        return self.server.send('POST', path, data, headers)

    def exists(self): return pod_folder(self.owner, self.server.home).exists()


def check_failure(reply, status, *texts):
    "An error of versions 3 and 4: plain text that begins with `Failure: `"
    assert reply.status == status, reply
    assert reply.headers['content-type'] == 'text/plain; charset=utf-8'
    assert reply.headers['access-control-allow-origin'] == '*'
    assert reply.text.startswith('Failure: ')
    for t in texts: assert t in reply.text, reply
    return reply.text


def check_miss(reply):
    "What every routing miss looks like"
    assert (reply.status, reply.data) == (404, b'Endpoint not found'), reply
    assert reply.headers['content-type'] == 'text/plain; charset=utf-8'
    assert reply.headers['access-control-allow-origin'] is None


def body_of(payload, key=KEY):
    "A body as text; `payload` is JSON text"
    return f'{{"auth":{{"type":"ClientAuth","databaseKey":"{key}"}},"payload":{payload}}}'.encode()


BASE = {'id', 'type', 'dateCreated', 'dateModified', 'dateServerModified', 'deleted'}

def bare(item):
    "An item without its dates"
    return {k: v for k, v in item.items() if not k.startswith('date')}


@pytest.fixture(scope='session')
def pod_server(tmp_path_factory):
    "A server for everybody, without mail, whose plugins are a script"
    home = tmp_path_factory.mktemp('pods')
    probe, plain = home / 'probe.sh', home / 'plain.txt'
    probe.write_text(PROBE)
    probe.chmod(0o700)
    plain.write_text('no program')
    scripts = {'probe': str(probe), 'missing': str(home / 'nothing'), 'plain': str(plain), 'a/b:1': str(probe)}
    with Served(data_folder=home / 'data', insecure_plugin_script=scripts) as served:
        server = PodServer(served.url, home / 'data')
        server.probe = probe
        yield server


@pytest.fixture
def pod(pod_server):
    "A new owner"
    return pod_server.pod()


def told(server, run):
    "The environment that the plugin of a run saw"
    path = Path(f'{server.probe}.{run}')
    wait_for(path.exists, 'the plugin was not started')
    return dict(line.split('=', 1) for line in path.read_text().splitlines() if '=' in line)

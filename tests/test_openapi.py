"""`/v5/openapi.json` describes the server, and whatever schemathesis makes of it, right or wrong, has an answer of the
form that is described there, and never a 5xx."""
import base64, hashlib, http.client, json, random

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from pymemri.server.app import OPERATIONS, SPECIAL
from pymemri.server.openapi import OPENAPI, document
from pymemri.server.serve import Served

OWNER, KEY = 'owner', 'a1' * 32
AUTH = {'type': 'ClientAuth', 'databaseKey': KEY}
HEADER = 'Pod ' + base64.urlsafe_b64encode(json.dumps(AUTH).encode()).decode()
PATHS = [(path, method.upper()) for path, methods in document()['paths'].items() for method in methods]
# what needs a second request, a declared way to sign, or meaning that no schema can tell, is tested elsewhere; and an option
# without meaning for an operation, such as the depth of edges for a count, is passed over whatever it holds
LEFT_OUT = ('negative_data_rejection', 'ignored_auth', 'positive_data_acceptance', 'use_after_free', 'ensure_resource_availability',
            'object_level_authorization', 'max_response_time', 'missing_required_header', 'unsupported_method')
CONTENT = b'a file'
SHA256 = hashlib.sha256(CONTENT).hexdigest()
IDS = ('note-0001', 'note-0002', 'file-0001', 'run-000001')
KINDS = dict(title='Text', weight='Real', rank='Integer', done='Bool', day='DateTime')
EXAMPLES = 30


def test_what_is_documented_is_what_there_is():
    named = {path.split('/')[3] for path, _ in PATHS if path.startswith('/v5/{owner}/')}
    assert named == OPERATIONS.keys() | SPECIAL | {'upload_file'}
    assert {path for path, _ in PATHS if '{' not in path} == {'/v5/health', '/v5/metrics', '/v5/openapi.json'}
    assert json.loads(OPENAPI) == document()
    owners = {path.rpartition('/')[2] for path, m in PATHS if document()['paths'][path][m.lower()]['tags'] == ['for the owner alone']}
    assert owners == {n for n, o in OPERATIONS.items() if o.owners} | {'backup', 'create_plugin_auth'}


@pytest.fixture(scope='module')
def api(tmp_path_factory):
    "A server with a few items, and its schema"
    log = []
    with Served(data_folder=tmp_path_factory.mktemp('pods'), log=log.append) as s:
        schema = schemathesis.openapi.from_url(f'{s.url}/v5/openapi.json')
        load_all_checks()
        schema.served = s
        yield schema
    assert not [line for line in log if '"event": "fault"' in line], log


def fill(served):
    "Empty the Pod, and store what is asked about"
    def post(path, body, headers={}):
        line = http.client.HTTPConnection('127.0.0.1', served.settings.port)
        line.request('POST', f'/v5/{OWNER}/{path}', body, headers)
        got = line.getresponse()
        data = got.read()
        line.close()
        assert got.status == 200, data
    def call(op, payload): post(op, json.dumps(dict(auth=AUTH, payload=payload)))
    call('delete_all', None)
    call('bulk', dict(
        createItems=[dict(type='ItemPropertySchema', itemType='Note', propertyName=n, valueType=k) for n, k in KINDS.items()]
        + [dict(type='Note', id=i, title='a note', weight=1.5, rank=3, done=True, day=0) for i in IDS[:2]]
        + [dict(type='File', id=IDS[2], sha256=SHA256), dict(type='PluginRun', id=IDS[3])],
        createEdges=[dict(_source=IDS[0], _name='next', _target=IDS[1])]))
    post(f'upload_file/{SHA256}', CONTENT, {'Authorization': HEADER})


WORDS = {name: IDS for name in ('id', 'item', 'payload', '_source', '_target', '_self', 'ids', 'deleteItems', 'run')} | {
    'type': ('Note', 'File'), 'itemType': ('Note', 'File'), '_name': ('next',), 'by': ('title', 'type', 'weight'),
    '_sort': ('title', '-rank'), 'sha256': (SHA256,)}
NAMED = {*WORDS, *KINDS, 'auth', 'payload', 'query', 'deleted', 'dateModified', 'dateCreated', 'names', 'depth', 'direction',
         'expandItems', 'permissions', 'read', 'create', 'update', 'edges', 'files', 'createItems', 'updateItems',
         'createEdges', 'deleteEdges', 'search', '[[edges]]', '~[[edges]]', '_limit', '_offset', '_sortOrder', '_text',
         'limit', 'expires', 'newKey', 'fullAccessPlugins', 'to', 'subject', 'body', 'email', 'write', 'delete', '_after'}


def sound(body, rnd):
    "The body, signed; often with names and ids that are there in the places of others"
    if not isinstance(body, dict): return body
    bare = rnd.random() < .7
    def known(v, name):
        if isinstance(v, dict): return {k: known(x, k) for k, x in v.items() if k in NAMED or not bare}
        if isinstance(v, list): return [known(x, name) for x in v]
        return rnd.choice(WORDS[name]) if isinstance(v, str) and name in WORDS and rnd.random() < .8 else v
    return {k: known(v, k) for k, v in body.items()} | {'auth': AUTH}


@pytest.mark.parametrize('path, method', PATHS, ids=[f'{m} {p}' for p, m in PATHS])
def test_every_answer_is_as_described(api, path, method):
    operation, calls = api[path][method], []
    checks = [c for c in CHECKS.get_all() if c.__name__ not in LEFT_OUT]
    assert {'not_a_server_error', 'status_code_conformance', 'content_type_conformance',
            'response_schema_conformance'} <= {c.__name__ for c in checks}
    op = path.split('/')[3] if '{' in path else ''

    @settings(max_examples=EXAMPLES if op else 3, deadline=None, database=None, derandomize=True,
              phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(operation.as_strategy(generation_mode=m) for m in GenerationMode), seed=st.integers(0, 2**32))
    def run(case, seed):
        rnd = random.Random(seed)
        if op and rnd.random() < .85: # else the owner and the auth are schemathesis' own, and broken as a rule
            case.path_parameters['owner'] = OWNER
            case.body = sound(case.body, rnd)
            if op == 'upload_file': case.headers['Authorization'] = HEADER
        if op == 'rekey' and isinstance(case.body, dict): case.body['auth'] = AUTH | {'databaseKey': '00' * 32} # the wrong one
        response = case.call(base_url=api.served.url, timeout=600)
        calls.append(response.status_code)
        case.validate_response(response, checks=checks)

    if op: fill(api.served)
    run()
    print(op, sorted((s, calls.count(s)) for s in set(calls)))
    # some need more than a schema can tell, and a new key must not get in the way of the other operations
    assert 200 in calls or op in ('upload_file', 'delete_edge', 'purge', 'send_email', 'rekey')


HALF, BIG = '\ud800', 2**70
ODD = [None, True, 0, -1, BIG, 1e308, '', '\0', HALF, 'x' * 10**5, [], [[]], [None], [HALF], {}, {'': ''}, {HALF: 1}, {'\0': 1},
       {'id': None}, {'id': HALF}, {'id': '\0' * 8, 'type': 'Note'}, {'type': HALF}, {'type': ''}, {'type': '\0'}, {'type': []},
       {'type': {}}, {'type': 'Note', 'id': HALF * 6}, {'type': 'Note', 'dateCreated': BIG}, {'type': 'Note', 'deleted': 1},
       {'ids': [None]}, {'ids': HALF}, {'ids': ['x' * 10**5]}, {'ids': [HALF]}, {'_limit': BIG}, {'_limit': -1}, {'_limit': 1.5},
       {'_offset': BIG}, {'_after': [BIG, 'x']}, {'_after': []}, {'_after': [0, HALF]}, {'_sort': HALF}, {'_sort': [[]]},
       {'_sort': 'n'}, {'_text': HALF}, {'_text': '"'}, {'_text': 'a*b* -c "'}, {'_text': '-x'}, {'_text': '\0'}, {'_text': 'AND OR NOT'},
       {'title': HALF}, {'title^=': HALF}, {'title*=': ''}, {'title in': [HALF, 1]}, {'title in': [[]]}, {'rank>': BIG},
       {'rank': 2**63}, {'weight<': 1e308}, {'day>=': 1e300}, {'done': 2}, {'title': None}, {'title==': []}, {'title!=': {}},
       {'[[edges]]': {'depth': BIG}}, {'[[edges]]': {'names': [HALF]}}, {'[[edges]]': []}, {'~[[edges]]': {'depth': 0}},
       {'_memri': 1}, {'_memri': {}}, {'deleted': 'x'}, {'dateServerModified>=': BIG}, {'dateServerModified': 1.5},
       {'createItems': None}, {'createItems': [None]}, {'createItems': [{'type': 'Note', 'title': HALF}]},
       {'createItems': [{'type': 'Note', 'id': IDS[0]}]}, {'updateItems': [{'id': IDS[0], 'rank': BIG}]},
       {'updateItems': [{'id': IDS[0], HALF: 1}]}, {'deleteItems': [HALF]}, {'createEdges': [{}]}, {'search': [None]},
       {'search': [{'title': HALF}]}, {'createEdges': [{'_source': IDS[0], '_name': HALF, '_target': IDS[1]}]},
       {'createEdges': [{'_source': IDS[0], '_name': '\0', '_target': IDS[1]}]}, {'_source': HALF, '_name': '', '_target': ''},
       {'_source': IDS[0], '_name': 'x' * 10**5, '_target': IDS[1], '_self': HALF}, {'item': HALF, 'direction': 'Outgoing',
       'expandItems': True}, {'item': IDS[0], 'direction': HALF, 'expandItems': 1}, {'by': HALF}, {'by': 'id', 'limit': BIG},
       {'by': 'title', 'query': None}, {'by': 'title', 'limit': -1}, {'sha256': HALF}, {'sha256': '../' * 20}, {'newKey': HALF},
       {'newKey': ''}, {'newKey': "x'00'"}, {'newKey': '\0'}, {'run': HALF}, {'permissions': HALF}, {'permissions': {'read': {HALF: '*'}}},
       {'expires': BIG, 'permissions': {}}, {'to': HALF, 'subject': '\n', 'body': '\0'}, {'fullAccessPlugins': None}, {HALF: True},
       {'type': 'ItemPropertySchema', 'itemType': HALF, 'propertyName': 'x', 'valueType': 'Text'},
       {'type': 'ItemPropertySchema', 'itemType': 'Note', 'propertyName': HALF, 'valueType': 'Text'},
       {'type': 'ItemPropertySchema', 'itemType': '\0', 'propertyName': 'xx', 'valueType': 'Text'},
       {'type': 'ItemEdgeSchema', 'sourceType': HALF, 'edgeName': 'x', 'targetType': 'Note'},
       {'type': 'PluginRun', 'permissions': '{'}, {'type': 'PluginRun', 'containerImage': 3, 'targetItemId': []}]
RAW = [b'', b'{', b'\xff', b'[1]', b'null', b'[' * 10**5, b'{"a":' * 10**5, b'{"auth":{"type":"ClientAuth"}}', b'\0' * 9,
       b'{"auth":{"type":"ClientAuth","databaseKey":"\\ud800"},"payload":"x"}', b'{"auth":{"type":"ClientAuth","databaseKey":""}}',
       b'{"auth":{"type":"PluginAuth","data":{"nonce":"\xc3\xa9","encryptedPermissions":"zz"}}}', b'{"payload":NaN}',
       b'{"auth":%s,"payload":%s}' % (json.dumps(AUTH).encode(), b'[' * 5000 + b']' * 5000),
       b'{"auth":%s,"payload":1e999}' % json.dumps(AUTH).encode()]


@pytest.mark.parametrize('wire', ['v5', 'v4'])
def test_odd_payloads_are_the_senders_fault(api, wire):
    fill(api.served)
    line, bad = http.client.HTTPConnection('127.0.0.1', api.served.settings.port, timeout=600), []
    ops = sorted(OPERATIONS.keys() | SPECIAL) if wire == 'v5' else sorted(n for n in OPERATIONS if n in (
        'get_item', 'search', 'get_edges', 'create_item', 'update_item', 'delete_item', 'create_edge', 'bulk'))
    for op in ops:
        bodies = [json.dumps(dict(auth=AUTH, payload=odd)).encode() for odd in ODD] + RAW
        if op in ('delete_all', 'vacuum', 'integrity_check', 'backup', 'schema', 'settings'): bodies = RAW # they take none
        for body in bodies:
            line.request('POST', f'/{wire}/{"another" if op == "rekey" else OWNER}/{op}', body)
            got = line.getresponse()
            answer = got.read()
            if got.status >= 500 and not (wire == 'v4' and b'UNIQUE constraint' in answer):
                bad.append((op, body[-120:], got.status, answer[:200]))
    line.close()
    assert not bad, '\n'.join(map(str, bad[:20]))

"""Sections 3.1, 3.3 and 4.2: owners, those that are allowed, and a server that only takes items"""
import hashlib, secrets

import pytest

from pymemri.server.serve import Served
from .conftest import PodServer, body_of, check_failure, check_miss


@pytest.mark.parametrize('owner', ['a', 'somebody', '0', 'x' * 200, '-', '~', 'a.b', '%20', '%2e%2e', '..', 'a+b', '%',
    "o'neil", '%2F', 'a;b', '@', '%00'])
def test_any_segment_is_an_owner(pod_server, owner):
    pod = pod_server.pod(owner + secrets.token_hex(4) if len(owner) < 200 else owner)
    pod.make(id='thing-1')
    assert pod.get('thing-1')['id'] == 'thing-1'


def test_owners_share_nothing(pod_server):
    a, b = pod_server.pod(), pod_server.pod()
    a.define(name='Text')
    a.make(id='thing-1', name='x')
    assert b.ok('get_item', 'thing-1') == []
    b.refused('create_item', {'type': 'T', 'name': 'x'}, 400, 'Property name not defined in Schema')
    b.make(id='thing-1')
    b.refused('get_item', 'thing-1', 500, 'not a database', key='00' * 32)


def test_case_and_percent_signs_make_another_owner(pod_server):
    one = 'ab' + secrets.token_hex(8)
    pod_server.pod(one).make(id='thing-1')
    for other in (one.upper(), one.capitalize(), '%61' + one[1:], one + '%20'):
        assert pod_server.pod(other).ok('get_item', 'thing-1') == []
    assert pod_server.pod(one).ok('get_item', 'thing-1')


def test_reading_makes_a_pod(pod):
    assert not pod.exists()
    assert pod.ok('get_item', 'x') == []
    assert pod.exists()


def test_a_miss_makes_none(pod):
    check_miss(pod.raw('nothing', body_of('"x"')))
    assert not pod.exists()


@pytest.fixture(scope='module')
def allowed(tmp_path_factory):
    "A server for two owners, and their keys"
    owners = ['ab' + secrets.token_hex(31) for _ in range(2)]
    hashes = frozenset(hashlib.sha256(bytes.fromhex(o)).hexdigest() for o in owners)
    lines = []
    with Served(data_folder=tmp_path_factory.mktemp('allowed'), owners=hashes, log=lines.append) as s:
        server = PodServer(s.url)
        server.owners, server.lines = owners, lines
        yield server


def test_only_the_owners_of_the_list(allowed):
    for owner in allowed.owners: allowed.pod(owner).make(id='thing-1')
    for op, payload in (('get_item', 'x'), ('create_item', {'type': 'T'}), ('search', {}),
        ('get_file', {'sha256': '0' * 64}),
                        ('send_email', {'to': '', 'subject': '', 'body': ''})):
        stranger = allowed.pod()
        assert stranger.refused(op, payload, 403) == 'Failure: Unexpected owner'
    check_failure(allowed.pod().upload('0' * 64, b''), 403, 'Unexpected owner')


def test_the_hash_of_a_stranger_is_in_the_log_for_the_operator(allowed):
    stranger = allowed.pod()
    stranger.refused('get_item', 'x', 403)
    assert any(hashlib.sha256(bytes.fromhex(stranger.owner)).hexdigest() in line for line in allowed.lines)


def test_the_check_forgets_case_and_the_pod_does_not(allowed):
    owner = allowed.owners[0]
    allowed.pod(owner).make(id='thing-2')
    assert allowed.pod(owner.upper()).ok('get_item', 'thing-2') == []


@pytest.mark.parametrize('owner, text', [('somebody', "Invalid character 's' at position 0"),
    ('abc', 'Odd number of digits'), ('zz', "Invalid character 'z' at position 0"),
                                         ('%41%42', "Invalid character '%' at position 0")])
def test_owners_of_a_list_are_hex(allowed, owner, text):
    allowed.pod(owner).refused('get_item', 'x', 500, 'Error converting from hex', text)


def test_the_body_and_the_key_are_checked_before_the_owner(allowed):
    stranger = allowed.pod()
    check_failure(stranger.raw('get_item', body_of('5')), 400, 'JSON deserialization error')
    stranger.refused('get_item', 'x', 400, 'Invalid database key character', key='-')
    stranger.refused('get_item', 'x', 400, 'nonce should be 48',
        auth={'type': 'PluginAuth', 'data': {'nonce': '', 'encryptedPermissions': ''}})
    allowed.pod('zz').refused('get_item', 'x', 400, 'Invalid database key character', key='-')


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    "A server that takes items and gives nothing, and another on the same folder that does"
    home = tmp_path_factory.mktemp('shared')
    with Served(data_folder=home, shared_server=True) as s, Served(data_folder=home) as other:
        server = PodServer(s.url)
        server.other = PodServer(other.url)
        yield server


def test_a_shared_server_takes_items(shared):
    pod = shared.pod()
    pod.ok('create_item', {'type': 'ItemPropertySchema', 'itemType': 'T', 'propertyName': 'name', 'valueType': 'Text'})
    pod.make(id='thing-1', name='x')
    pod.refused('create_item', {'type': 'T', 'id': 'x'}, 400, 'does not satisfy')
    assert shared.other.pod(pod.owner).get('thing-1')['name'] == 'x'
    assert shared.send('GET', '/version').status == 200
    assert shared.send('GET', '/version/').status == 200


def test_a_shared_server_does_nothing_else(shared):
    pod = shared.pod()
    pod.make(id='thing-1')
    for method, path in (('GET', '/'), ('GET', '/nothing'), ('POST', '/version'),
        ('GET', f'/v4/{pod.owner}/create_item'), ('OPTIONS', f'/v4/{pod.owner}/create_item'),
                         *[('POST', f'/v4/{pod.owner}/{op}')
                         for op in ('get_item', 'search', 'bulk', 'update_item', 'delete_item', 'create_edge',
                         'get_edges', 'get_file',
                         'send_email',
                         f'upload_file/{pod.key}/{"0" * 64}',
                         'create_item/x')]):
        r = shared.send(method, path, body_of('"thing-1"') if method == 'POST' else None,
            {'Origin': 'http://app.example'})
        assert (r.status, r.data) == (404, b''), path
        assert r.headers['access-control-allow-origin'] is None
    r = shared.send('POST', f'/v4/{pod.owner}/create_item', b' ' * (5 * 2**20 + 1))
    assert (r.status, r.data) == (404, b'')

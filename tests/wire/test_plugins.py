"""Section 10, as far as a program in place of a container shows it; and what a plugin is told"""
import json, re, secrets

import pytest

from .conftest import KEY, bare, told


def run(target, image='probe', **more): return {'type': 'PluginRun', 'containerImage': image,
    'targetItemId': target} | more


@pytest.fixture
def target(pod):
    pod.define(name='Text')
    return pod.make(id='target-' + secrets.token_hex(4), name='größe "x"')


def test_creating_a_run_starts_its_plugin(pod, target):
    id = pod.ok('create_item', run(target))
    env = told(pod.server, id)
    assert (env['POD_PLUGINRUN_ID'], env['POD_OWNER'], env['POD_FULL_ADDRESS']) == (id, pod.owner,
        pod.server.url.replace('127.0.0.1', 'localhost'))
    assert json.loads(env['POD_TARGET_ITEM']) == pod.get(target)
    assert env['POD_TARGET_ITEM'] == env['POD_TARGET_ITEM'].strip() and '": ' not in env['POD_TARGET_ITEM']
    assert env['PATH']
    auth = json.loads(env['POD_AUTH_JSON'])
    assert auth.keys() == {'data'} and auth['data'].keys() == {'nonce', 'encryptedPermissions'}
    assert re.fullmatch('[0-9a-f]{48}', auth['data']['nonce']) and re.fullmatch('[0-9a-f]+',
        auth['data']['encryptedPermissions'])
    assert KEY not in json.dumps(env) and KEY.lower() not in json.dumps(env)
    assert bare(pod.get(id)) == run(target) | {'id': id, 'deleted': False}


def test_what_it_was_given_opens_the_pod(pod, target):
    auth = json.loads(told(pod.server, pod.ok('create_item', run(target)))['POD_AUTH_JSON']) | {'type': 'PluginAuth'}
    assert [i['id'] for i in pod.ok('get_item', target, auth=auth)] == [target]
    broken = auth['data'] | {'encryptedPermissions': auth['data']['encryptedPermissions'][:-1] + ('0'
        if auth['data']['encryptedPermissions'][-1] != '0' else '1')}
    pod.refused('get_item', target, 500, 'Error in symmetric encryption cypher, aead::Error',
        auth={'type': 'PluginAuth', 'data': broken})


def test_the_name_of_the_image_decides_exactly(pod, target):
    for image in ('a/b:1', 'probe'): told(pod.server, pod.ok('create_item', run(target, image)))


@pytest.mark.parametrize('lack', ['containerImage', 'targetItemId'])
def test_what_a_run_needs(pod, target, lack):
    for payload in ({k: v for k, v in run(target).items() if k != lack}, run(target) | {lack: None}):
        pod.refused('create_item', payload, 400, 'Failure: JSON formatting error', f'missing field `{lack}`',
            'Parsing of item')
        pod.refused('bulk', {'createItems': [{'type': 'T'}, payload]}, 400, f'missing field `{lack}`')
    pod.refused('create_item', run(target) | {lack: 5}, 400, f'Failed to parse json value 5 to Text ({lack})')
    assert pod.find(type='PluginRun') == pod.find(type='T') == []


@pytest.mark.parametrize('key, text', [('zz', "Invalid character 'Z' at position 0"), ('abc', 'Odd number of digits'),
                                       ('0g', "Invalid character 'G' at position 1")])
def test_a_key_that_is_not_hex_starts_no_plugin(pod_server, key, text):
    pod = pod_server.pod(key=key)
    pod.make(id='target-1')
    pod.refused('create_item', run('ghost-99'), 400, 'Failed to find target item') # looked at first
    for image in ('probe', 'missing'):
        pod.refused('create_item', run('target-1', image), 500, f'Failure: Error converting from hex, {text}')
    pod.refused('bulk', {'createItems': [run('target-1')]}, 500, 'Error converting from hex')
    assert pod.find(type='PluginRun') == []


def test_a_key_of_another_length_starts_plugins_that_can_do_nothing(pod_server):
    for key, length in (('abcd', 2), ('00' * 31, 31), ('00' * 48, 48)):
        pod = pod_server.pod(key=key)
        pod.make(id='target-1')
        auth = json.loads(told(pod_server, pod.ok('create_item', run('target-1')))['POD_AUTH_JSON'])
        for op, payload in (('get_item', 'target-1'), ('search', {}), ('get_file', {'sha256': ''})):
            assert pod.refused(op, payload, 400, auth=auth | {'type': 'PluginAuth'}) == \
                f'Failure: Key has incorrect length: {length}'
    pod = pod_server.pod(key='')
    pod.make(id='target-1')
    auth = json.loads(told(pod_server, pod.ok('create_item', run('target-1')))['POD_AUTH_JSON'])
    assert pod.ok('get_item', 'target-1', auth=auth | {'type': 'PluginAuth'})


def test_the_target_has_to_exist(pod, target):
    for ghost in ('ghost-99', ''):
        assert pod.refused('create_item', run(ghost),
            400) == f'Failure: Failed to find target item {ghost} to run a plugin against'
    pod.refused('bulk', {'createItems': [run('later-1'), {'type': 'T', 'id': 'later-1'}]}, 400,
        'Failed to find target item later-1')
    assert pod.find(type='PluginRun') == []


def test_targets_that_just_came_into_being(pod):
    out = pod.ok('bulk', {'createItems': [{'type': 'T', 'id': 'fresh-1'}, run('fresh-1'),
        run('run-self', id='run-self')]})['createItems']
    for id, target in zip(out[1:], ('fresh-1', 'run-self')): assert json.loads(told(pod.server,
        id)['POD_TARGET_ITEM'])['id'] == target


def test_a_deleted_target_will_do(pod, target):
    pod.ok('delete_item', target)
    assert json.loads(told(pod.server, pod.ok('create_item', run(target)))['POD_TARGET_ITEM'])['deleted'] is True


def test_other_properties_of_a_run(pod, target):
    pod.refused('create_item', run(target, colour='red'), 400, 'Property colour not defined')
    pod.define(colour='Text')
    assert pod.get(pod.ok('create_item', run(target, colour='red')))['colour'] == 'red'


@pytest.mark.parametrize('image', ['missing', 'plain'])
def test_a_program_that_does_not_start(pod, target, image):
    pod.refused('create_item', run(target, image, id='run-0001'), 500, 'Failure: Failed to execute ',
        ', a plugin container triggered by item.rowid run-0001, ')
    assert pod.ok('get_item', 'run-0001') == []
    pod.refused('bulk', {'createItems': [{'type': 'T'}, run(target, image)]}, 500, 'Failed to execute')
    assert pod.find(type='T') == []


def test_only_creating_starts(pod, target):
    id = pod.ok('create_item', run(target))
    told(pod.server, id)
    path = f'{pod.server.probe}.{id}'
    import os, time
    os.remove(path)
    pod.ok('update_item', {'id': id, 'targetItemId': 'nobody'})
    pod.ok('update_item', {'id': id, 'containerImage': 'missing'})
    pod.refused('create_item', run(target, id=id), 500, 'UNIQUE')
    time.sleep(.3)
    assert not os.path.exists(path)


def test_nothing_starts_if_the_request_fails(pod, target):
    import os, time
    pod.refused('bulk', {'createItems': [run(target, id='run-fails')], 'deleteItems': ['nobody']}, 404)
    time.sleep(.3)
    assert not os.path.exists(f'{pod.server.probe}.run-fails')


def test_other_types_start_nothing(pod, target):
    for type in ('pluginrun', 'PluginRun ', 'StartPlugin'): pod.make(type, targetItemId='nobody',
        containerImage='missing')


def test_several_runs_in_one_bulk(pod, target):
    ids = pod.ok('bulk', {'createItems': [run(target) for _ in range(3)]})['createItems']
    assert {told(pod.server, id)['POD_PLUGINRUN_ID'] for id in ids} == set(ids)

"""Sections 1.1 to 1.5: paths, methods, sizes, headers, and the one answer to whatever leads nowhere"""
import json

import pytest

from .conftest import KEY, body_of, check_failure, check_miss

JSON_OPS = {'create_item': {'type': 'Thing'}, 'get_item': 'nobody', 'search': {}, 'bulk': {},
            'send_email': {'to': 'a@example.org', 'subject': '', 'body': ''}}
POSTS = [*JSON_OPS, 'update_item', 'delete_item', 'create_edge', 'get_edges', 'get_file']


@pytest.mark.parametrize('op', JSON_OPS)
@pytest.mark.parametrize('end', ['', '/', '?', '?a=b/c', '/?x'])
def test_one_slash_and_a_query_change_nothing(pod, op, end):
    assert pod.post(op + end, JSON_OPS[op]).status == 200


@pytest.mark.parametrize('path', ['/version', '/version/', '/version?', '/version/?a=1'])
def test_version(pod_server, path):
    r = pod_server.send('GET', path)
    assert (r.status, r.headers['content-type']) == (200, 'text/plain; charset=utf-8')
    assert r.headers['access-control-allow-origin'] == '*'
    assert r.json.keys() == {'cargo', 'git_describe'}
    assert isinstance(r.json['cargo'], str)


@pytest.mark.parametrize('method, path', [
    *[('GET', p) for p in ('/', '//', '/version//', '/Version', '/version/x', '/v4', '/v4/', '/v4/o', '/favicon.ico',
    '/v4/o/search')],
    *[(m, '/version') for m in ('POST', 'PUT', 'DELETE', 'PATCH')],
    *[('GET', f'/v4/o/{op}') for op in POSTS], *[('PUT', f'/v4/o/{op}') for op in POSTS],
    *[('POST', p) for p in (
        '/', '/v4//search', '/v4/o//search', '//v4/o/search', '/v4/o/search//', '/v4/o/search/x', '/v4/o', '/v4',
        '/v9/o/search', '/v2/o/search',
        '/V4/o/search', '/v4/o/Search', '/v4/o/%73earch', '/%76%34/o/search', '/o/search', '/v4/o/no_such_endpoint',
        '/v4/o/bulk_action', '/v4/o/get_all_items', '/v4/o/count', '/v4/o/purge', '/v4/o/delete_edge',
        '/v4/o/get_items_with_edges',
        '/v4/o/upload_file', '/v4/o/upload_file/x', f'/v4/o/upload_file//{"0" * 64}',
        f'/v4/o/upload_file/k/{"0" * 64}/x',
        f'/v4/o/upload_file_b/{"0" * 64}', f'/v4/o/upload_file_b//{"0" * 64}', '/v4/o/get_file/x', '/v4/o/.',
        '/v4/o/../x')]])
def test_what_leads_nowhere(pod_server, method, path):
    check_miss(pod_server.send(method, path, body_of('{}') if method != 'GET' else None))


def test_head_leads_nowhere_and_has_no_body(pod_server):
    for path in ('/version', '/v4/o/search'):
        r = pod_server.send('HEAD', path)
        assert (r.status, r.data, r.headers['access-control-allow-origin']) == (404, b'', None)


def test_odd_methods(pod_server):
    for method in ('TRACE', 'PROPFIND'): assert pod_server.send(method, '/version').status in (400, 404, 405)


@pytest.mark.parametrize('path', ['/v4/o/bulk', '/', '/version', '/no/such/path', '/v4/o/search/', '/v3/o/search'])
@pytest.mark.parametrize('origin', ['http://app.example', 'null'])
def test_preflight_of_any_path(pod_server, path, origin):
    r = pod_server.send('OPTIONS', path, headers={'Origin': origin, 'Access-Control-Request-Method': 'DELETE',
        'Access-Control-Request-Headers': 'x-anything'})
    assert (r.status, r.data) == (200, b'')
    h = r.headers
    assert h['access-control-allow-origin'] == '*'
    assert h['access-control-allow-methods'] == 'HEAD, GET, POST, PUT'
    assert h['access-control-allow-headers'] == 'Origin, X-Requested-With, Content-Type, Accept'
    assert (h['access-control-max-age'], h['vary']) == ('300', 'origin')
    assert h['access-control-allow-credentials'] is None and h['content-type'] is None


def test_options_without_origin_leads_nowhere(pod_server):
    for path in ('/v4/o/bulk', '/version'): check_miss(pod_server.send('OPTIONS', path))


def test_cors_header_with_and_without_origin(pod):
    for headers in ({}, {'Origin': 'http://app.example'}):
        for payload, status in (('"x"', 200), ('1', 400)):
            r = pod.raw('get_item', body_of(payload), headers)
            assert (r.status, r.headers['access-control-allow-origin']) == (status, '*')
            assert r.headers['access-control-allow-credentials'] is None


@pytest.mark.parametrize('wish', ['h2c', 'websocket'])
@pytest.mark.parametrize('size', [0, 300_000, 3_000_000])
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(pod, wish, size):
    "As `curl --http2` and Java's HttpClient ask; the body is not taken for that protocol"
    headers = {'Connection': 'Upgrade, HTTP2-Settings', 'Upgrade': wish, 'HTTP2-Settings': 'AAMAAABkAARAAAAAAAIAAAAA'}
    pod.make(id='thing-1')
    con = pod.server.connect()
    for op, payload in (('get_item', '"thing-1"'), ('search', '{"type":"Thing"}'), ('bulk', '{"search":[{"id":"thing-1"}]}')):
        con.request('POST', f'/{pod.wire}/{pod.owner}/{op}', body_of(payload).ljust(size), headers)
        reply = con.getresponse()
        assert (reply.status, reply.headers['upgrade']) == (200, None) and b'thing-1' in reply.read()
    con.request('GET', '/version', headers=headers)
    assert con.getresponse().read().startswith(b'{"cargo"')
    con.close()


@pytest.mark.parametrize('kind', ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', '',
    'nonsense'])
def test_the_content_type_of_a_request_is_not_looked_at(pod, kind):
    assert pod.raw('get_item', body_of('"x"'), {'Content-Type': kind}).data == b'[]'


def test_a_body_of_5_mib_and_one_byte_more(pod):
    body = body_of('"x"')
    assert pod.raw('get_item', body.ljust(5 * 2**20)).data == b'[]'
    check_miss(pod.raw('get_item', body.ljust(5 * 2**20 + 1)))
    assert not pod.server.pod(pod.owner + 'x').exists()


def test_get_file_takes_longer_bodies(pod):
    body = body_of(json.dumps({'sha256': '0' * 64})).ljust(5 * 2**20 + 1)
    check_failure(pod.raw('get_file', body), 500, 'Failed to read data from target file')


@pytest.mark.parametrize('path, length', [('search', 5 * 2**20 + 1), ('search', 10**15), ('get_file', 500 * 2**20 + 1),
                                          (f'upload_file/{KEY}/{"0" * 64}', 500 * 2**20 + 1)])
def test_a_length_over_the_limit_is_refused_before_the_body_comes(pod_server, path, length):
    con = pod_server.connect()
    con.putrequest('POST', f'/v4/o/{path}')
    con.putheader('Content-Length', str(length))
    con.endheaders()
    reply = con.getresponse()
    assert (reply.status, reply.read()) == (404, b'Endpoint not found')
    assert reply.headers['access-control-allow-origin'] is None
    con.close()


def test_a_body_without_a_length_leads_nowhere(pod_server):
    for path in ('search', f'upload_file/{KEY}/{"0" * 64}'):
        con = pod_server.connect()
        con.request('POST', f'/v4/o/{path}', iter([body_of('{}')]), {'Transfer-Encoding': 'chunked'},
            encode_chunked=True)
        reply = con.getresponse()
        assert (reply.status, reply.read()) == (404, b'Endpoint not found')
        con.close()


def test_json_is_compact_and_not_escaped(pod):
    pod.define(name='Text')
    pod.make(id='thing-1', name='größer 😀')
    text = pod.post('get_item', 'thing-1').text
    assert '"name":"größer 😀"' in text and text.startswith('[{') and ': ' not in text and ', ' not in text


def test_keys_of_objects_are_sorted_by_their_bytes(pod):
    pod.define(**{n: 'Text' for n in ('Zed', 'zed', '1a', 'é', '_m', '~z')})
    pod.make(id='thing-1', Zed='x', zed='x', é='x', _m='x', **{'1a': 'x', '~z': 'x'})
    pod.make(id='thing-2')
    edge = {'_source': 'thing-1', '_target': 'thing-2', '_name': 'to'}
    own = pod.ok('create_edge', edge)
    query = {'id': 'thing-1', '[[edges]]': {}, '~[[edges]]': {}}
    for op, payload in (('get_item', 'thing-1'), ('get_item', own), ('search', query), ('search', {}),
                        ('bulk', {'search': [query]}),
                        ('get_edges', {'item': 'thing-1', 'direction': 'Outgoing', 'expandItems': True})):
        for wire in ('v3', 'v4'):
            reply = pod.post(op, payload, wire=wire)
            assert reply.text == json.dumps(reply.json, sort_keys=True, ensure_ascii=False, separators=(',', ':'))
    assert list(pod.find(**query)[0]) == ['1a', 'Zed', '[[edges]]', '_m', 'dateCreated', 'dateModified',
        'dateServerModified', 'deleted', 'id', 'type', 'zed', '~[[edges]]', '~z', 'é']
    big = [{'type': 'Big', 'zed': 'x' * 1000, 'Zed': 'y'} for _ in range(1500)]
    pod.ok('bulk', {'createItems': big})
    reply = pod.post('search', {'type': 'Big'})
    assert len(reply.json) == 1500
    assert reply.text == json.dumps(reply.json, sort_keys=True, separators=(',', ':'))


def test_a_connection_serves_many_requests(pod):
    con = pod.server.connect()
    for _ in range(3):
        con.request('POST', f'/v4/{pod.owner}/get_item', body_of('"x"'))
        reply = con.getresponse()
        assert (reply.status, reply.read()) == (200, b'[]')
    con.close()


def test_a_miss_does_not_spoil_the_next_request(pod):
    con = pod.server.connect()
    for path, status in (('nothing', 404), ('get_item', 200), ('nothing', 404), ('get_item', 200)):
        con.request('POST', f'/v4/{pod.owner}/{path}', body_of('"x"'))
        reply = con.getresponse()
        assert reply.status == status
        reply.read()
    con.close()

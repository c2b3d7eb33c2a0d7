"""Bodies are read on two roads, a quick one for plain bodies and the slow one that decides; they must not differ"""
import json

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from pymemri.core import Invalid
from pymemri.server.memri import PAYLOADS, read_body, read_quickly, read_slowly

names = st.one_of(st.sampled_from(sorted({n for s in PAYLOADS.values() if isinstance(s, dict) for n in s} | {'a',
    'payload', 'auth'})), st.text(max_size=3))
numbers = st.one_of(st.integers(-2**66, 2**66), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 2**63 - 1, 2**63, -2**63, 2**64, 1.0]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5),
    st.sampled_from(['Asc', 'Desc', 'Outgoing', '":', '"x":', '-0 ', 'T']))
values = st.recursive(scalars, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(names, v, max_size=3)),
    max_leaves=6)
items = st.dictionaries(names, scalars, max_size=4).map(lambda d: {'type': 'T', 'id': 'x'} | d)
edges = st.fixed_dictionaries({n: st.text(max_size=2) for n in ('_source', '_target', '_name')})
PLAUSIBLE = {'create_item': items, 'update_item': items, 'create_edge': edges,
    'search': st.dictionaries(names, st.one_of(scalars, st.just({})), max_size=4),
             'get_edges': st.fixed_dictionaries({'item': st.text(max_size=2),
             'direction': st.sampled_from(['Outgoing', 'Incoming', 'x']), 'expandItems': st.booleans()}),
             'bulk': st.fixed_dictionaries({},
             optional={'createItems': st.lists(items, max_size=3), 'updateItems': st.lists(items, max_size=2),
             'createEdges': st.lists(edges, max_size=2),
             'deleteItems': st.lists(st.text(max_size=2), max_size=2),
             'search': st.lists(st.dictionaries(names, scalars,
             max_size=2), max_size=2)})}


def spelled(data, v):
    "`v` as JSON, in one of its spellings, with keys that stand twice now and then"
    if isinstance(v, dict):
        pairs = list(v.items())
        if pairs and data.draw(st.integers(0, 9)) == 0: pairs.append(data.draw(st.sampled_from(pairs)))
        colon = data.draw(st.sampled_from([':', ': ', ': ', ': ', ' :', ':\n']))
        return '{' + ', '.join(json.dumps(k, ensure_ascii=data.draw(st.booleans())) + colon + spelled(data, x) for k,
            x in pairs) + '}'
    if isinstance(v, list): return '[' + ','.join(spelled(data, x) for x in v) + ']'
    if v == 0 and not isinstance(v, bool) and data.draw(st.booleans()): return '-0'
    return json.dumps(v, ensure_ascii=data.draw(st.booleans()))


def told(read):
    "What was read, as JSON with its keys in order"
    return read and msgspec.json.encode(read, order='deterministic')


@pytest.mark.parametrize('op', PAYLOADS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_roads_agree(op, data):
    payload = spelled(data, data.draw(PLAUSIBLE.get(op, values) if data.draw(st.integers(0, 3)) else values))
    auth = spelled(data, data.draw(st.sampled_from([{'type': 'ClientAuth', 'databaseKey': 'A'},
        {'type': 'PluginAuth', 'data': {'nonce': '', 'encryptedPermissions': 'x":'}},
        {'type': 'ClientAuth', 'databaseKey': '-0 '}, {'type': 'Other'}])))
    body = f'{{"auth":{auth},"payload":{payload}}}'.encode(errors='surrogatepass')
    try: quick = read_quickly(body, op)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError): quick = None
    try: slow = read_slowly(body, op, 'v4')
    except Invalid: slow = None
    if quick is not None: assert told(quick) == told(slow)
    try: read = read_body(body, op)
    except Invalid: read = None
    assert told(read) == told(slow)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(
    lambda b: b'{"auth":{"type":"ClientAuth","databaseKey":""},"payload":' + b + b'}')))
@example(b'{"auth":' * 5000)
@example(b'1' * 5000)
@example(b'{"auth":1' + b'0' * 5000 + b'}')
@example(b'"' + b'\\u0000' * 1000)
def test_garbage_is_refused_and_nothing_else(body):
    for op in PAYLOADS:
        try: read_body(body, op)
        except Invalid as e: assert e.message.startswith('JSON deserialization error ')

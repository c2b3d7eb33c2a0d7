"""Files and folders in a store: cut as Perkeep cuts, read by range, and restored without trusting a name.

`data/perkeep-splits.json` is our own recording of what Perkeep's tool made of known bytes; it says so at its head."""
import hashlib, json, os, stat, tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pymemri.blobs import splitter
from pymemri.blobs.ref import ref_of
from pymemri.blobs.schema import read_schema, schema_text
from pymemri.blobs.splitter import (FIRST, FIRST_SCORE, FULL, LEAST, MASK, MOST_CHUNK, WINDOW, chunks, score, split,
    split_points)
from pymemri.blobs.store import MemoryBlobs
from pymemri.crypto import pieces

recorded = json.loads((Path(__file__).parent / 'data/perkeep-splits.json').read_text(encoding='utf-8'))
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def noise(n, seed=b's'): return b''.join(hashlib.sha256(seed + b':%d' % i).digest() for i in range(-(-n // 32)))[:n]


def content(vector):
    if vector['name'] == 'one': return b'x'
    return bytes(vector['size']) if 'zeros' in vector['name'] else noise(vector['size'])


# --- cutting -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('vector', recorded['vectors'], ids=lambda v: v['name'])
def test_files_are_cut_as_perkeep_cuts_them(vector):
    "The same parts, the same `bytes` blobs in the same tree, the same file blob, and not one blob more"
    data, store = content(vector), MemoryBlobs()
    assert hashlib.sha224(data).hexdigest() == vector['whole_sha224']
    said = json.loads(vector['file_json']) | dict(parts=split(data, store.put))
    assert store.put(schema_text(said).encode()) == vector['file_ref']
    assert len(store.d) == vector['blobs_written']
    def flat(parts):
        for p in parts:
            yield [p.get('bytesRef') or p['blobRef'], p['size']]
            if 'bytesRef' in p: yield from flat(read_schema(store.get(p['bytesRef']))['parts'])
    tree = list(flat(said['parts']))
    assert (len(tree), hashlib.sha224(json.dumps(tree).encode()).hexdigest()) == (vector['parts'], vector['parts_sha224'])


def plainly(data):
    "The rule of the specification, a byte at a time: size and score of each chunk"
    s1, s2, window, size = WINDOW * 31, WINDOW * (WINDOW - 1) * 31, bytes(WINDOW), 0
    padded = window + data
    for n, (new, old) in enumerate(zip(data, padded), 1):
        size += 1
        s1 = s1 + new - old & 0xffffffff
        s2 = s2 + s1 - WINDOW * (old + 31) & 0xffffffff
        if size == MOST_CHUNK: bits = 20
        elif n > 262_144 and size > 65_536 and s2 & 8191 == 8191:
            digest, bits = (s1 << 16 | s2 & 0xffff) >> 14, 13
            while digest & 1: digest, bits = digest >> 1, bits + 1
        elif n == 262_144: bits = 18
        else: continue
        yield size, bits
        size = 0
    if size: yield size, 0


@st.composite
def files(draw):
    "Bytes of all sorts: noise, runs, text of few letters, repeated pieces"
    made = b''
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(0, 250_000))
        kind = draw(st.sampled_from(['noise', 'run', 'letters', 'again']))
        if kind == 'noise': made += noise(n, draw(st.binary(max_size=3)))
        elif kind == 'run': made += bytes([draw(st.integers(0, 255))]) * n
        elif kind == 'letters': made += noise(n, draw(st.binary(max_size=3))).translate(bytes([97, 98] * 128))
        else: made += (piece := noise(draw(st.integers(1, 5000)))) * (n // len(piece))
    return made


@few
@given(files(), st.integers(1, 300_000))
def test_the_fast_way_cuts_where_the_rule_does(data, piece):
    found = [(len(c), bits) for c, bits in chunks(pieces(data, piece))]
    assert found == list(plainly(data))
    assert b''.join(c for c, _ in chunks(data)) == data


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40_000), st.binary(max_size=3), st.sampled_from([1 << 13, 100, 1]), st.integers(64, 20_000))
def test_sums_are_those_of_the_rule_wherever_they_begin(n, seed, block, start):
    if block == 1: n = min(n, start + 300)
    data, wanted = noise(n, seed), []
    s1, s2 = WINDOW * 31, WINDOW * (WINDOW - 1) * 31
    for i, (new, old) in enumerate(zip(data, bytes(WINDOW) + data)):
        s1 = s1 + new - old & 0xffffffff
        s2 = s2 + s1 - WINDOW * (old + 31) & 0xffffffff
        if i >= start and s2 & MASK == MASK: wanted.append((i + 1, score(s1, s2)))
    before, splitter.BLOCK = splitter.BLOCK, block
    try: assert list(split_points(data, start, max(start, len(data)))) == wanted
    finally: splitter.BLOCK = before


def test_three_megabytes_of_noise_against_the_rule():
    data = noise(3 << 20, b'm')
    assert [(len(c), bits) for c, bits in chunks(data)] == list(plainly(data))


def test_cutting_takes_a_few_megabytes_of_memory_however_long_the_file_is():
    block = noise(1 << 20)
    def source(n): return (block for _ in range(n))
    list(chunks(source(8)))
    tracemalloc.start()
    n = sum(len(c) for c, _ in chunks(source(64)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 64 << 20 and peak < 20 << 20, f'{peak >> 20} MiB for 64 MiB'


def test_an_insertion_changes_few_chunks():
    data = noise(8 << 20)
    def names(d): return {ref_of(c) for c, _ in chunks(d)}
    old, new = names(data), names(data[:1 << 20] + b'inserted' + data[1 << 20:])
    assert len(new - old) <= 3 and len(old) > 80

"""The files of a Pod: the same bytes are stored once, and damage is found, named, and does not hide more damage"""
import hashlib, io

import pytest

from pymemri.core import Forbidden
from pymemri.data.schema import File
from pymemri.engine.pod import pod_folder
from pymemri.pod.client import PodClient

KEYS = dict(database_key='d1' * 32, owner_key='0e' * 32)
CONTENTS = {'a note': b'hello', 'empty': b'', 'two chunks': b'x' * (1 << 20) + b'y', 'three chunks': bytes(3 << 20)}


@pytest.fixture
def client(served, tmp_path):
    "A client with four files, on both roads"
    with PodClient(**(dict(url=served.url) if served else dict(home=tmp_path)), **KEYS, quiet=True) as c:
        c.home = tmp_path
        for name, data in CONTENTS.items():
            c.create(File(filename=name, sha256=hashlib.sha256(data).hexdigest()))
            c.upload_file(data, asyncFlag=False)
        yield c


def sealed(client):
    "The files on the disk, by the size of the ciphertext"
    found = [p for p in (pod_folder(KEYS['owner_key'], client.home) / 'files').rglob('sha224-*') if p.is_file()]
    return sorted(found, key=lambda p: p.stat().st_size)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def truncate(path, size): path.write_bytes(path.read_bytes()[:size])


def told(client):
    "What verify says: by the name of the item's file"
    return {client.get(id).filename: d['problem'] for d in client.verify() for id in d['items']}


def test_each_kind_of_damage_is_named_and_none_hides_another(client, monkeypatch):
    assert client.verify() == []
    empty, note, two, three = sealed(client)
    flip(note, 70)                    # in the first chunk of the ciphertext
    truncate(two, 1 << 20)            # within a chunk
    flip(three, 40)                   # in the header
    empty.unlink()
    wrong = {'empty': 'missing', 'a note': 'damaged', 'two chunks': 'damaged', 'three chunks': 'damaged'}
    found = client.verify()
    assert told(client) == wrong and all(d['sha256'] in d['message'] for d in found)
    assert sorted(d['sha256'] for d in found) == [d['sha256'] for d in found] and len(found) == 4
    # in portions of one file, as over a slow network
    monkeypatch.setattr('pymemri.engine.pod.PORTION', 1)
    assert client.verify() == found
    assert len(client.integrity_check()) == 4


@pytest.mark.parametrize('size', [0, 10, 63, 64, 80, 4096])
def test_a_file_that_was_cut_off_is_damaged(client, size):
    truncate(sealed(client)[-1], size)
    assert told(client) == {'three chunks': 'damaged'}


def test_a_whole_chunk_that_is_missing_at_the_end_is_damage(client):
    path = sealed(client)[-1]
    truncate(path, path.stat().st_size - (1 << 20) - 16)
    assert told(client) == {'three chunks': 'damaged'}


def test_all_items_that_share_a_file_are_named(client):
    digest = hashlib.sha256(b'hello').hexdigest()
    client.create(File(filename='the same', sha256=digest))
    flip(sealed(client)[1], 70)
    assert told(client) == {'a note': 'damaged', 'the same': 'damaged'}


def test_the_same_bytes_are_stored_once_and_go_with_the_last_item(client):
    digest = hashlib.sha256(b'hello').hexdigest()
    for spelled in (digest, digest.upper()): client.create(File(filename=spelled, sha256=spelled))
    client.api.road.upload(io.BytesIO(b'hello'), 5, digest.upper())
    assert len(sealed(client)) == 4 and client.get_file(digest.upper()) == b'hello'
    for name in ('a note', digest):
        client.purge(client.search({'filename': name}))
        client.vacuum()
        assert len(sealed(client)) == 4 and client.get_file(digest.upper()) == b'hello'
    client.purge(client.search({'filename': digest.upper()}))
    assert len(sealed(client)) == 3 and client.verify() == []


def test_it_is_for_the_owner(served, client):
    if not served: return
    auth = client.plugin_auth({'read': {'File': '*'}, 'files': {'read': True}})
    with PodClient(url=served.url, owner_key=KEYS['owner_key'], auth_json=auth, quiet=True, register_base_schema=False) as plugin:
        with pytest.raises(Forbidden): plugin.verify()

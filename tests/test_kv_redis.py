"""The log on Redis Streams keeps every promise of a log, through lost connections and a server that is killed."""
import threading, time

import pytest

from pymemri.core import Damaged
from pymemri.kv.clientoptions import ClientOptionsBuilder
from pymemri.kv.document import IKVDocumentBuilder
from pymemri.kv.exceptions import Refused, Unreachable
from pymemri.kv.factory import create_new_reader, create_new_writer, create_store
from pymemri.kv.log import check_log
from pymemri.kv.redislog import RedisPlace

from redis_server import RedisServer
from waiting import wait_for


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / 'redis') as server: yield server


def options_for(server, mount):
    return (ClientOptionsBuilder().with_account_id('me').with_account_passkey('a passkey').with_store_name('people')
            .with_log_url(server.url).with_mount_directory(str(mount)).with_snapshot_directory(str(mount.parent / 'snapshots')).build())


def person(name, **more):
    builder = IKVDocumentBuilder().put_string_field('name', name)
    for k, v in more.items(): builder.put_int64_field(k, v)
    return builder.build()


def test_the_promises_of_a_log(server):
    places = []
    def make(count=iter(range(1000)).__next__):
        name = f'log {count()}'
        def opened():
            places.append(RedisPlace(server.url))
            return places[-1].log(name, 0)
        return opened
    try: check_log(make)
    finally:
        for place in places: place.close()


def test_a_store_for_several_machines(server, tmp_path):
    "Two mount directories stand for two machines: what one writes, both read"
    one, two = options_for(server, tmp_path / 'one'), options_for(server, tmp_path / 'two')
    create_store(one, 'name')
    create_store(two, 'name')                       # twice is once, from wherever
    with create_new_writer(one) as writer, create_new_reader(one) as a, create_new_reader(two) as b:
        writer.batch_upsert_fields(person(f'{i}', n=i) for i in range(1000))
        writer.delete_document(person('7'))
        for reader in (a, b):
            reader.catch_up()
            assert [reader.get_value(k, 'n') for k in ('0', '7', '999')] == [0, None, 999] and reader.health_check().lag == 0
        a.snapshot(trim=True)                       # the log forgets; a third machine starts from the snapshot
        writer.upsert_fields(person('late', n=1))
        with create_new_reader(options_for(server, tmp_path / 'three')) as c:
            assert [c.get_value(k, 'n') for k in ('0', '7', '999', 'late')] == [0, None, 999, 1]
        assert writer.logs[0].first() == 1001


def test_a_server_that_is_killed_keeps_what_it_acknowledged(server, tmp_path):
    "Killed ten times while two threads write: each write is tried until it is acknowledged, and is there once"
    options = options_for(server, tmp_path / 'mount')
    create_store(options, 'name')
    acknowledged, stop, errors = [[], []], threading.Event(), []
    def work(n):
        with create_new_writer(options) as writer:
            i = 0
            while not stop.is_set():
                try: writer.upsert_fields(person(f'{n} {i}', n=i))
                except Unreachable as e: errors.append(e)
                else:
                    acknowledged[n].append(i)
                    i += 1
    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    with create_new_reader(options) as reader:
        for t in threads: t.start()
        for _ in range(10):
            time.sleep(0.15)
            server.kill()
            time.sleep(0.05)
            server.start()
        stop.set()
        for t in threads: t.join(60)
        assert not any(t.is_alive() for t in threads) and min(map(len, acknowledged)) > 10
        reader.catch_up()
        found = {d.fields['name']: d.fields['n'] for d in reader}
        for n in (0, 1):
            for i in acknowledged[n]: assert found[f'{n} {i}'] == i
        unsure = len(errors)
        assert len(found) <= sum(map(len, acknowledged)) + unsure
        with create_new_writer(options) as writer:
            positions = writer.health_check().last
            assert len(found) <= positions <= sum(map(len, acknowledged)) + unsure, 'something was added twice'


def test_reading_goes_on_without_the_server(server, tmp_path):
    options = options_for(server, tmp_path / 'mount')
    create_store(options, 'name')
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(person('Alice', n=1))
        reader.catch_up()
        server.kill()
        assert reader.get_value('Alice', 'n') == 1
        health = reader.health_check()
        assert not health and 'cannot be reached' in health.message and server.password not in health.message
        with pytest.raises(RuntimeError, match='cannot be reached') as e: writer.upsert_fields(person('Bob', n=2))
        assert server.password not in str(e.value) and not writer.health_check()
        with pytest.raises(RuntimeError, match='cannot be reached'): create_new_reader(options).startup()
        server.start()
        writer.upsert_fields(person('Bob', n=2))
        reader.catch_up()
        assert reader.get_value('Bob', 'n') == 2
        for _ in range(100):
            if reader.health_check(): break
            time.sleep(0.05)
        assert reader.health_check()


def test_a_server_that_lost_its_end_is_noticed(server, tmp_path):
    "The server comes back with older data, and gives the same positions to other events: the index is made anew"
    import shutil
    options = options_for(server, tmp_path / 'mount')
    create_store(options, 'name')
    with create_new_writer(options) as writer, create_new_reader(options) as reader:
        writer.upsert_fields(person('Alice', n=1))
        server.kill()
        shutil.copytree(server.folder, tmp_path / 'older')
        server.start()
        for i in range(5): writer.upsert_fields(person(f'lost {i}', n=i))
        reader.catch_up()
        assert reader.get_value('lost 3', 'n') == 3
        server.kill()
        shutil.rmtree(server.folder)
        shutil.copytree(tmp_path / 'older', server.folder)
        server.start()
        for i in range(7): writer.upsert_fields(person(f'new {i}', n=i))
        wait_for(lambda: {d.fields['name'] for d in reader} == {'Alice', *(f'new {i}' for i in range(7))})


def test_odd_servers(server, tmp_path):
    wrong = options_for(server, tmp_path / 'mount')
    from dataclasses import replace
    wrong = replace(wrong, log_url=f'redis://:guess@127.0.0.1:{server.port}/0')
    with pytest.raises(Refused, match='user or password') as e: create_store(wrong, 'name')
    assert 'guess' not in str(e.value)
    create_store(options_for(server, tmp_path / 'mount'), 'name')
    assert 'password' not in repr(RedisPlace(server.url)) + repr(options_for(server, tmp_path))
    place = RedisPlace(server.url)
    log = place.log('x', 0)
    log.append([b'a'])
    (id, fields), = place.client.xrange(log.stream)
    place.client.xdel(log.stream, id)
    place.client.xadd(log.stream, {b'n': 1, b'e': fields[b'e'][:-1] + b'b'}, id='0-2')
    place.client.set(log.counter, 2)
    with pytest.raises(Damaged): log.read(1)
    place.close()

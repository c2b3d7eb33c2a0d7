"""A store against a plain dict, over both logs: whatever is written, in whatever order, by a hypothesis state machine."""
import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pymemri.kv.clientoptions import ClientOptionsBuilder
from pymemri.kv.document import IKVDocument
from pymemri.kv.factory import create_new_reader, create_new_writer, create_store

from redis_server import RedisServer

FIELDS = ['id', 'a', 'ab', 'b', 'é']
KEYS = st.sampled_from(['k', 'k\0', 'k\0\0\0', 'k\0\0\1', 'Zoë', 'x' * 480, 'x' * 481, 'x' * 600])
VALUES = st.one_of(st.text('aé\0', min_size=1, max_size=3).filter(lambda s: not s.isspace()), st.binary(min_size=1, max_size=3),
                   st.integers(-2**63, 2**63 - 1), st.floats(allow_nan=False), st.booleans())
SOME = st.dictionaries(st.sampled_from(FIELDS[1:]), VALUES, max_size=3)


class Store(RuleBasedStateMachine):
    options: object = None
    @initialize()
    def begin(self):
        self.writer, self.reader = self.clients
        self.writer.drop_all_fields()
        self.model = {}
    def document(self, key, fields=()): return IKVDocument({'id': key, **dict(fields)})

    @rule(key=KEYS, fields=SOME)
    def upsert(self, key, fields):
        self.writer.upsert_fields(self.document(key, fields))
        self.model.setdefault(key, {}).update(fields, id=key)

    @rule(many=st.lists(st.tuples(KEYS, SOME), max_size=5))
    def batch(self, many):
        self.writer.batch_upsert_fields(self.document(k, f) for k, f in many)
        for key, fields in many: self.model.setdefault(key, {}).update(fields, id=key)

    @rule(key=KEYS, names=st.lists(st.sampled_from(FIELDS), max_size=3))
    def delete_fields(self, key, names):
        self.writer.delete_fields(self.document(key), names)
        for name in names: self.model.get(key, {}).pop(name, None)

    @rule(key=KEYS)
    def delete_document(self, key):
        self.writer.delete_document(self.document(key))
        self.model.pop(key, None)

    @rule(names=st.lists(st.sampled_from(FIELDS), max_size=2))
    def drop(self, names):
        self.writer.drop_fields_by_name(names)
        for fields in self.model.values():
            for name in set(names) - {'id'}: fields.pop(name, None)

    @rule(prefixes=st.lists(st.sampled_from(['a', 'ab', 'i', '', 'x']), max_size=1))
    def drop_prefix(self, prefixes):
        self.writer.drop_fields_by_name_prefix(prefixes)
        for fields in self.model.values():
            for name in [n for n in fields if n != 'id' and prefixes and n.startswith(tuple(prefixes))]: del fields[name]

    @rule()
    def drop_all(self):
        self.writer.drop_all_fields()
        self.model.clear()

    @rule()
    def snapshot(self): self.reader.snapshot(trim=True)

    @rule()
    def restart(self):
        self.reader.shutdown()
        self.reader.startup()

    @rule()
    def another_machine(self):
        "A reader that begins from nothing: from a snapshot, or from the beginning of the log"
        from dataclasses import replace
        with tempfile.TemporaryDirectory() as mount, create_new_reader(replace(self.options, mount_directory=mount)) as fresh:
            self.compare(fresh)

    @rule()
    def read(self):
        self.reader.catch_up()
        self.compare(self.reader)

    def compare(self, reader):
        # a document whose fields were all deleted, with its key's own, is there and empty
        assert {k: v for k, v in self.model.items() if 'id' in v} == {d.fields['id']: d.fields for d in reader if 'id' in d.fields}
        for key in ('k', 'k\0', 'k\0\0\1', 'x' * 481, 'nobody'):
            fields, found = self.model.get(key), reader.get_document(key)
            assert (found.fields if found else None) == fields
            assert [type(v) for v in (found.fields if found else {}).values()] == [type(fields[n]) for n in (found.fields if found else {})]
            for name in FIELDS:
                value = (fields or {}).get(name)
                assert reader.get_value(key.encode(), name) == value
                if value is None or isinstance(value, bytes): assert reader.get_bytes_value(key, name) == value
                elif isinstance(value, str): assert list(reader.multiget_string_values(str_primary_keys=[key], field_names=[name])) == [value]


@pytest.mark.parametrize('log, partitions', [('files', 1), ('files', 3), ('redis', 1)])
def test_a_store_is_a_dict(log, partitions, tmp_path):
    server = RedisServer(tmp_path / 'redis', 'no') if log == 'redis' else None
    try:
        builder = (ClientOptionsBuilder().with_account_id('a').with_account_passkey('b').with_store_name('c').with_mount_directory(str(tmp_path / 'm'))
                   .with_snapshot_directory(str(tmp_path / 's')))
        options = (builder.with_log_url(server.url) if server else builder).build()
        create_store(options, 'id', partitions=partitions)
        with create_new_writer(options) as writer, create_new_reader(options) as reader:
            machine = type('Machine', (Store,), dict(clients=(writer, reader), options=options))
            run_state_machine_as_test(machine, settings=settings(
                max_examples=6 if partitions == 1 else 3, stateful_step_count=25, deadline=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck)))
    finally:
        if server: server.kill()

"""The page of IKV's Python client, snippet by snippet and operation by operation: the lines are the page's own, and what the page says of
them must hold.

A line that differs from its page says so in a comment that starts with `page:`. The package's name differs without a word (`pymemri.kv` for
`ikvpy`). What the page leaves out is done in fixtures: the store is made, and what is started is shut down.
"""
import inspect, threading
from pathlib import Path

import pytest

import time
from pymemri.kv.clientoptions import ClientOptions, ClientOptionsBuilder
import pymemri.kv.client as ikv_client
import pymemri.kv.document as ikv_document
import pymemri.kv.factory as ikv_factory

from pymemri.core import Conflict, PodError


@pytest.fixture
def mounted(tmp_path):
    "Options of a store that was made"
    options = (ClientOptionsBuilder().with_account_id("--account-id--").with_account_passkey("--account-passkey--")
               .with_store_name("--store-name--").with_mount_directory(str(tmp_path / "mount")).build())
    ikv_factory.create_store(options, primary_key="firstname")
    return options


@pytest.fixture
def writer(mounted):
    with ikv_factory.create_new_writer(mounted) as writer: yield writer


@pytest.fixture
def reader(mounted):
    with ikv_factory.create_new_reader(mounted) as reader: yield reader


def document(name, **fields):
    builder = ikv_document.IKVDocumentBuilder().put_string_field("firstname", name)
    for k, v in fields.items(): (builder.put_bytes_field if isinstance(v, bytes) else builder.put_string_field)(k, v)
    return builder.build()


# ---- Quick Start Example ----

def test_quick_start(tmp_path):
    mount = str(tmp_path / "mount")

    # create client options - for writer
    client_options = ClientOptionsBuilder() \
    .with_account_id("--account-id--")\
    .with_account_passkey("--account-passkey--")\
    .with_store_name("--store-name--")\
    .build()

    ikv_factory.create_store(client_options, primary_key="firstname")  # page: nothing; a store is provisioned elsewhere

    # create writer
    writer: ikv_client.IKVWriter = ikv_factory.create_new_writer(client_options)
    writer.startup()

    # create documents and invoke upsert() operations
    doc1 = ikv_document.IKVDocumentBuilder().put_string_field("firstname", "Alice").put_string_field("age", "22").build()
    writer.upsert_fields(doc1) # can raise exception on error, see source docs

    doc2 = ikv_document.IKVDocumentBuilder().put_string_field("firstname", "Alice").put_string_field("city", "San Francisco").build()
    writer.upsert_fields(doc2) # can raise exception on error, see source docs

    doc3 = ikv_document.IKVDocumentBuilder().put_string_field("firstname", "Bob").put_string_field("age", "25").build()
    writer.upsert_fields(doc3) # can raise exception on error, see source docs

    # create client options - for reader
    client_options = ClientOptionsBuilder() \
    .with_account_id("--account-id--")\
    .with_account_passkey("--account-passkey--")\
    .with_store_name("--store-name--")\
    .with_mount_directory(mount)\
    .build()                                                           # page: .with_mount_directory("--mount-directory--")

    # create reader
    reader: ikv_client.IKVReader = ikv_factory.create_new_reader(client_options)
    reader.startup()

    # read documents

    # Due to eventual-consistent nature of IKV, you might need to add a small delay (or retries)
    # before reading your writes.
    time.sleep(0)                                                      # page: time.Sleep(1); startup() waits for what was written

    # single gets
    assert reader.get_string_value("Alice", "firstname") == "Alice"
    assert reader.get_string_value("Alice", "age") == "22"             # page: is None; the page itself says that fields are merged
    assert reader.get_string_value("Alice", "city") == "San Francisco"
    assert reader.get_string_value("Bob", "firstname") == "Bob"
    assert reader.get_string_value("Bob", "age") == "25"
    assert reader.get_string_value("Bob", "city") is None

    # multi/batch get
    cities = reader.multiget_string_values(str_primary_keys=["Alice", "Bob"], field_names=["city"])  # page: no field_names

    # note: the returned iterator can be drained into a list using list(cities)
    assert next(cities) == "San Francisco"
    assert next(cities) is None
    assert list(cities) == []

    reader.shutdown()                                                  # page: nothing
    writer.shutdown()                                                  # page: nothing


# ---- Creating Documents ----

def test_fields(writer, reader):
    builder = ikv_document.IKVDocumentBuilder()
    assert builder.put_string_field("firstname", "Zoë") is builder     # "string via put_string_field()"
    builder.put_bytes_field("photo", b"\xff\x00")                      # page: "bytes via put_string_field()"
    builder.put_int64_field("age", -2**63)                             # page: "numeric fields (int64/float64/etc.): Not available yet."
    builder.put_float64_field("weight", 60)
    builder.put_bool_field("member", False)
    writer.upsert_fields(builder.build())
    reader.catch_up()
    assert reader.get_bytes_value("Zoë", "photo") == b"\xff\x00"
    assert reader.get_bytes_value("Zoë", "firstname") == "Zoë".encode() == reader.get_bytes_value("Zoë".encode(), "firstname")
    assert reader.get_int64_value("Zoë", "age") == -2**63
    assert repr(reader.get_float64_value("Zoë", "weight")) == "60.0"
    assert reader.get_bool_value("Zoë", "member") is False
    assert reader.get_value("Zoë", "weight") == 60 and reader.get_document("Zoë") == builder.build()
    with pytest.raises(UnicodeDecodeError): reader.get_string_value("Zoë", "photo")
    with pytest.raises(TypeError, match="int64"): reader.get_string_value("Zoë", "age")
    with pytest.raises(TypeError, match="float"): reader.get_int64_value("Zoë", "weight")
    with pytest.raises(TypeError, match="bool"): reader.get_int64_value("Zoë", "member")


@pytest.mark.parametrize('operation', ['upsert_fields', 'delete_fields', 'delete_document'])
def test_a_document_must_contain_its_primary_key(writer, operation):
    call = getattr(writer, operation)
    more = [['age']] if operation == 'delete_fields' else []
    with pytest.raises(ValueError, match='firstname') as e: call(ikv_document.IKVDocumentBuilder().put_string_field("age", "22").build(), *more)
    assert isinstance(e.value, RuntimeError)                           # IKV: the server says code 3
    for wrong in (None, ikv_document.IKVDocumentBuilder().build()):
        with pytest.raises(ValueError): call(wrong, *more)
    with pytest.raises(ValueError): call(ikv_document.IKVDocumentBuilder().put_int64_field("firstname", 7).build(), *more)


def test_a_document_must_contain_its_partitioning_key(tmp_path):
    options = (ClientOptionsBuilder().with_account_id("a").with_account_passkey("b").with_store_name("c")
               .with_mount_directory(str(tmp_path)).build())
    ikv_factory.create_store(options, primary_key="id", partitioning_key="city", partitions=3)
    b = ikv_document.IKVDocumentBuilder
    with ikv_factory.create_new_writer(options) as writer:
        with pytest.raises(ValueError, match='city'): writer.upsert_fields(b().put_string_field("id", "1").build())
        for i in range(20):
            writer.upsert_fields(b().put_string_field("id", f"{i}").put_string_field("city", f"city {i % 7}").put_int64_field("n", i).build())
        writer.drop_fields_by_name(["n"])
        writer.delete_document(b().put_string_field("id", "3").put_string_field("city", "city 3").build())
        with ikv_factory.create_new_reader(options) as reader:
            assert {d.fields["id"] for d in reader} == {f"{i}" for i in range(20)} - {"3"}
            assert list(reader.multiget_string_values(str_primary_keys=["5", "3"], field_names=["city", "id"])) == ["city 5", "5", None, None]
            assert reader.get_value("5", "n") is None and reader.health_check().lag == 0


# ---- Write Operations via IKVWriter ----

def test_upsert_merges(writer, reader):
    writer.upsert_fields(document("Alice", age="22"))                  # the page's example
    writer.upsert_fields(document("Alice", age="25", city="San Francisco"))
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "age": "25", "city": "San Francisco"}


def test_a_field_can_change_its_type(writer, reader):
    b = lambda: ikv_document.IKVDocumentBuilder().put_string_field("firstname", "Alice")
    writer.upsert_fields(b().put_string_field("age", "22").build())
    writer.upsert_fields(b().put_int64_field("age", 22).build())
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "age": 22}
    writer.upsert_fields(b().put_bytes_field("age", b"22").build())
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "age": b"22"}


def test_batch_upsert(writer, reader):
    writer.batch_upsert_fields(document(f"name {i % 50}", **{f"n{i // 50}": f"{i}"}) for i in range(200))
    reader.catch_up()
    assert reader.get_document("name 7").fields == {"firstname": "name 7", "n0": "7", "n1": "57", "n2": "107", "n3": "157"}
    with pytest.raises(TypeError): writer.batch_upsert_fields(document("Alice"))
    with pytest.raises(ValueError): writer.batch_upsert_fields([document("new"), ikv_document.IKVDocument({'a': 'b'})])
    reader.catch_up()
    assert reader.get_document("new") is None                          # all are checked before one is written


def test_delete_fields(writer, reader):
    writer.upsert_fields(document("Alice", age="22", city="San Francisco"))
    writer.delete_fields(document("Alice"), ["age", "nothing"])
    writer.delete_fields(document("Nobody"), ["age", "firstname"])
    writer.delete_fields(document("Alice"), [])
    writer.delete_fields(None, None)                                   # IKV: a silent no-op
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "city": "San Francisco"}
    assert reader.get_document("Nobody") is None
    writer.delete_fields(document("Alice"), ["firstname"])             # IKV's engine allows it, and keeps the others
    reader.catch_up()
    assert reader.get_string_value("Alice", "firstname") is None and reader.get_string_value("Alice", "city") == "San Francisco"
    with pytest.raises(TypeError): writer.delete_fields(document("Alice"), "age")


def test_delete_document(writer, reader):
    for name in ("Alice", "Alice2", "Ali"): writer.upsert_fields(document(name, age="22", city="San Francisco"))
    writer.delete_document(document("Alice", age="whatever"))
    writer.delete_document(document("Nobody"))
    reader.catch_up()
    assert reader.get_document("Alice") is None and reader.get_string_value("Alice", "firstname") is None
    assert len(reader.get_document("Alice2")) == len(reader.get_document("Ali")) == 3
    writer.upsert_fields(document("Alice", city="Rome"))               # starts from nothing
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "city": "Rome"}


def test_drop_fields_by_name(writer, reader):
    for name in ("Alice", "Bob"): writer.upsert_fields(document(name, age="22", city="Rome"))
    writer.drop_fields_by_name(["age", "firstname", "nothing"])        # "drop primary-key field are silently ignored"
    writer.drop_fields_by_name([])
    reader.catch_up()
    assert [d.fields for d in reader] == [{"firstname": n, "city": "Rome"} for n in ("Alice", "Bob")]
    writer.upsert_fields(document("Alice", age="23"))                  # comes back for this one alone
    reader.catch_up()
    assert reader.get_string_value("Alice", "age") == "23" and reader.get_string_value("Bob", "age") is None
    with pytest.raises(TypeError): writer.drop_fields_by_name("age")


def test_drop_fields_by_name_prefix(writer, reader):
    writer.upsert_fields(document("Alice", age="22", agent="Smith", city="Rome", first="1"))
    writer.drop_fields_by_name_prefix(["ag", "f"])
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice", "city": "Rome"}
    writer.drop_fields_by_name_prefix([""])                            # every field but the key
    reader.catch_up()
    assert reader.get_document("Alice").fields == {"firstname": "Alice"}
    with pytest.raises(TypeError): writer.drop_fields_by_name_prefix("ag")


def test_drop_all_fields(writer, reader):
    writer.upsert_fields(document("Alice", age="22"))
    writer.drop_all_fields()                                           # "Drop all documents from this store"
    reader.catch_up()
    assert list(reader) == [] and reader.get_document("Alice") is None
    writer.upsert_fields(document("Bob", age="25"))
    reader.catch_up()
    assert [d.fields for d in reader] == [{"firstname": "Bob", "age": "25"}]


def test_writes_are_thread_safe(writer, reader):
    def work(n):
        for i in range(25): writer.upsert_fields(document(f"{n}-{i}", age=f"{i}"))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    reader.catch_up()
    assert {d.fields["firstname"]: d.fields["age"] for d in reader} == {f"{n}-{i}": f"{i}" for n in range(4) for i in range(25)}


# ---- Read Operations via IKVReader ----

def test_multiget_order(writer, reader):
    writer.upsert_fields(document("Alice", age="22", city="Rome"))
    writer.upsert_fields(document("Bob", age="25"))
    reader.catch_up()
    get = reader.multiget_string_values
    assert list(get(bytes_primary_keys=[b"Bob"], str_primary_keys=["Alice", "Nobody", "Alice"], field_names=["city", "age"])) == \
        [None, "25", "Rome", "22", None, None, "Rome", "22"]
    assert list(reader.multiget_bytes_values(str_primary_keys=["Alice"], field_names=["firstname", "age", "x"])) == [b"Alice", b"22", None]
    assert list(get(str_primary_keys=[], field_names=["city"])) == list(get()) == []
    with pytest.warns(UserWarning, match='field_names'): assert list(get(str_primary_keys=["Alice"])) == []
    for wrong in (dict(str_primary_keys="Alice", field_names=["age"]), dict(str_primary_keys=["Alice"], field_names="age")):
        with pytest.raises(TypeError): get(**wrong)
    with pytest.raises(TypeError, match="unsupported primary_key type: int"): get(str_primary_keys=[7], field_names=["age"])


def test_keys_of_all_kinds(writer, reader):
    long = ["x" * n for n in (479, 480, 481, 482, 511, 512, 65_535)] + ["é" * 300]
    for key in [*long, "a", "a\0", "a\0\0\0", "a\0\0\1", "a\0\0\1\0\0\1"]: writer.upsert_fields(document(key, age=f"{len(key)} {key[:3]}"))
    writer.delete_document(document("a\0\0\0"))
    writer.delete_document(document("x" * 512))
    reader.catch_up()
    for key in [*long, "a", "a\0", "a\0\0\1", "a\0\0\1\0\0\1"]:
        if key == "x" * 512: continue
        want = {"firstname": key, "age": f"{len(key)} {key[:3]}"}
        assert reader.get_document(key).fields == want and reader.get_string_value(key.encode(), "age") == want["age"]
        assert list(reader.multiget_string_values(str_primary_keys=[key], field_names=["firstname", "age"])) == list(want.values())
    assert reader.get_document("a\0\0\0") is None and reader.get_document("x" * 512) is None and len(list(reader)) == 11
    with pytest.raises(ValueError, match='65535'): writer.upsert_fields(document("x" * 65_536))
    for wrong in (7, None, memoryview(b"x")):
        with pytest.raises(TypeError, match="unsupported primary_key type"): reader.get_string_value(wrong, "age")
    assert reader.get_string_value(bytearray(b"a"), "age") == "1 a"
    assert reader.get_string_value("a", "a\0b") is None


def test_reads_are_thread_safe(writer, reader):
    writer.batch_upsert_fields(document(f"{i}", age=f"{i}") for i in range(1000))
    reader.catch_up()
    wrong = []
    def work(n):
        for i in range(n, 3000, 4):
            if reader.get_string_value(f"{i % 1000}", "age") != f"{i % 1000}": wrong.append(i)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads: t.start()
    for i in range(20): writer.upsert_fields(document("other", age=f"{i}"))
    for t in threads: t.join()
    assert not wrong


def test_startup_and_shutdown(mounted):
    reader, writer = ikv_factory.create_new_reader(mounted), ikv_factory.create_new_writer(mounted)
    for call in (lambda: reader.get_string_value("Alice", "age"), lambda: reader.get_document("Alice"), lambda: next(iter(reader)),
                 lambda: reader.multiget_string_values(str_primary_keys=["a"], field_names=["b"]),
                 reader.health_check, lambda: writer.upsert_fields(document("Alice")), writer.drop_all_fields, writer.health_check):
        with pytest.raises(RuntimeError, match='startup()'): call()
    with pytest.raises(TypeError): reader.get_string_value(7, "age")   # even before startup
    for x in (reader, writer):
        x.shutdown()                                                   # IKV: an AttributeError before, a crash the second time
        x.startup()
        x.startup()
        assert x.health_check() and x.health_check().lag == 0
        x.shutdown()
        x.shutdown()
        x.startup()
        x.shutdown()


# ---- Configuration ----

@pytest.mark.parametrize('method', ['with_store_name', 'with_account_id', 'with_account_passkey', 'with_mount_directory'])
def test_options_are_strings(method):
    with pytest.raises(TypeError, match="expecting a string"): getattr(ClientOptionsBuilder(), method)(7)
    for empty in ("", " \t"):
        with pytest.raises(ValueError, match="expecting non-empty string"): getattr(ClientOptionsBuilder(), method)(empty)


def test_missing_options_are_named(mounted):
    for name in ('account_id', 'account_passkey', 'store_name'):
        builder = ClientOptionsBuilder()
        for other in {'account_id', 'account_passkey', 'store_name'} - {name}: getattr(builder, f'with_{other}')('x')
        with pytest.raises(ValueError, match=f'with_{name}'): ikv_factory.create_new_writer(builder.build())
        with pytest.raises(ValueError, match=f'with_{name}'): ikv_factory.create_new_reader(builder.build()).startup()


@pytest.mark.parametrize('level', ["ERROR", "WARN", "INFO", "DEBUG", "TRACE", "debug"])
def test_logging(mounted, level, tmp_path, capsys):
    from dataclasses import replace
    builder = ClientOptionsBuilder().with_console_logging(level)
    assert builder.build().console_log_level == level.upper()
    said = builder.with_file_logging(level, str(tmp_path / "log")).build()
    options = replace(mounted, console_log_level=None, file_log_level=said.file_log_level, file_log_path=said.file_log_path)
    with ikv_factory.create_new_reader(options): pass
    text = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ''
    assert ('reading' in text) == (level.upper() in ("DEBUG", "TRACE")) and "passkey" not in text
    assert capsys.readouterr().out == ''
    for wrong in (lambda b: b.with_console_logging("loud"), lambda b: b.with_file_logging(str(tmp_path / "log"), level)):
        with pytest.raises(ValueError, match='one of ERROR, WARN, INFO, DEBUG, TRACE'): wrong(ClientOptionsBuilder())


# ---- The store ----

def test_account_and_passkey(mounted, tmp_path):
    def other(**how):
        b = ClientOptionsBuilder().with_mount_directory(str(tmp_path / "other"))
        said = dict(account_id="--account-id--", account_passkey="--account-passkey--", store_name="--store-name--") | how
        for k, v in said.items(): getattr(b, f'with_{k}')(v)
        return b.build()
    for make in (ikv_factory.create_new_writer, ikv_factory.create_new_reader):
        with pytest.raises(RuntimeError, match='passkey') as e: make(other(account_passkey="another secret")).startup()
        assert "another secret" not in str(e.value) + repr(e.value)
        for unknown in (dict(account_id="somebody"), dict(store_name="--STORE-NAME--")):
            with pytest.raises(RuntimeError, match='create_store'): make(other(**unknown)).startup()
    ikv_factory.create_store(mounted, "firstname")                     # twice is once
    for different in (dict(primary_key="lastname"), dict(primary_key="firstname", partitions=2),
                      dict(primary_key="firstname", partitioning_key="city")):
        with pytest.raises(Conflict, match='already'): ikv_factory.create_store(mounted, **different)
    for wrong in (dict(primary_key=""), dict(primary_key="a", partitions=0)):
        with pytest.raises(ValueError): ikv_factory.create_store(other(store_name="new"), **wrong)


def test_secrets_are_nowhere(mounted, writer, reader, own_home):
    import os
    assert "--account-passkey--" not in repr([mounted, writer, reader, ClientOptionsBuilder().with_account_passkey("--account-passkey--")])
    reader.health_check()
    for folder in (Path(os.environ['PYMEMRI_HOME']), Path(mounted.mount_directory)):
        files = [p for p in folder.rglob('*') if p.is_file()]
        assert files and not [p for p in files if b"--account-passkey--" in p.read_bytes()]
        assert {p.stat().st_mode & 0o77 for p in [folder, *folder.rglob('*')]} == {0}


def test_the_interfaces_are_whole():
    "Every method that the page and IKV's source have, with the parameters that programs name"
    for cls, methods in ((ikv_client.IKVWriter, 'startup shutdown upsert_fields(document) delete_fields(document,fields_to_delete) '
                          'delete_document(document) drop_fields_by_name(field_names) drop_fields_by_name_prefix(field_name_prefixes) '
                          'drop_all_fields'),
                         (ikv_client.IKVReader, 'startup shutdown get_bytes_value(primary_key,field_name) get_string_value(primary_key,field_name) '
                          'multiget_bytes_values(bytes_primary_keys,str_primary_keys,field_names) '
                          'multiget_string_values(bytes_primary_keys,str_primary_keys,field_names)')):
        for m in methods.split():
            name, _, args = m.rstrip(')').partition('(')
            assert list(inspect.signature(getattr(cls, name)).parameters)[1:] == [a for a in args.split(',') if a], name
    assert isinstance(ikv_factory.create_new_writer(ClientOptions('a', 'b', 'c')), ikv_client.IKVWriter)
    assert isinstance(ikv_factory.create_new_reader(ClientOptions()), ikv_client.IKVReader)
    from pymemri.kv import exceptions
    errors = [e for e in vars(exceptions).values() if isinstance(e, type) and e.__module__ == exceptions.__name__]
    assert errors and all(issubclass(e, PodError) and issubclass(e, (TypeError, ValueError, RuntimeError)) for e in errors)

"""Writers and readers of a key-value store as processes of their own, for tests that kill them: python kv_process.py WHAT OPTIONS"""
import json, sys, time

from pymemri.kv.clientoptions import ClientOptions
from pymemri.kv.document import IKVDocument
from pymemri.kv.factory import create_new_reader, create_new_writer


def write(options, name, count):
    "Documents whose fields belong together; each is told when it is acknowledged"
    with create_new_writer(options) as writer:
        for i in range(count):
            writer.upsert_fields(IKVDocument({'id': f'{name} {i % 50}', 'a': i, 'b': str(i), 'c': b'%d' % i * 100}))
            print(i, flush=True)


def whole(document):
    "Whether the fields of a document are of one upsert"
    f = document.fields
    return str(f['a']) == f['b'] and f['c'] == f['b'].encode() * 100


def read(options, seconds):
    "Look at documents until it is told to end; how many, and how many were not whole or older than before"
    with create_new_reader(options) as reader:
        print('reading', flush=True)
        end, looked, broken, last = time.monotonic() + seconds, 0, 0, {}
        while time.monotonic() < end:
            for i in range(50):
                if (d := reader.get_document(f'writer {i}')) is None: continue
                looked += 1
                if not whole(d) or d.fields['a'] < last.get(i, -1): broken += 1
                last[i] = d.fields['a']
            some = [f'writer {i}' for i in range(50)]
            texts = list(reader.multiget_string_values(str_primary_keys=some, field_names=['b', 'c']))
            broken += sum(b is not None and c != b * 100 for b, c in zip(texts[::2], texts[1::2]))
        print(json.dumps(dict(looked=looked, broken=broken, newest=max(last.values(), default=-1))), flush=True)


if __name__ == '__main__':
    what, options, *rest = sys.argv[1:]
    options = ClientOptions(**json.loads(options))
    if what == 'write': write(options, rest[0], int(rest[1]))
    else: read(options, float(rest[0]))

"""A blob server of one page, for the tests of its clients: it answers as the specification says, or lies as it is told.

Blobs come from any store. What needs an index (search, signatures, shares) is answered from recorded exchanges with
a real Perkeep (`tests/data/camlistore.json`), or by functions that a test adds to `routes`.
"""
import base64, email.parser, email.policy, json, re, ssl, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pymemri.blobs.ref import parse_ref
from pymemri.blobs.store import MemoryBlobs
from pymemri.core import Invalid, NotFound

EXCHANGES = json.loads((Path(__file__).parent / 'data/camlistore.json').read_text(encoding='utf-8'))['exchanges']
BS = '/bs-and-maybe-also-index/'


def recorded(label, n=0):
    "The `n`th exchange with this label"
    return [e for e in EXCHANGES if e['label'] == label][n]


def body(message):
    "The bytes of one side of an exchange"
    return base64.b64decode(message['body_b64']) if 'body_b64' in message else message.get('body', '').encode()


def parts(data, kind):
    "(name, bytes) of each part of an upload"
    head = f'Content-Type: {kind}\r\n\r\n'.encode()
    for p in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data).iter_parts():
        yield p.get_param('name', header='content-disposition'), p.get_payload(decode=True)


def same_request(e, method, path, data, kind=''):
    "Whether an exchange is about this request; forms and JSON are compared by what they say"
    q = e['request']
    a, b = urlsplit(q['path']), urlsplit(path)
    if (q['method'], a.path, parse_qs(a.query)) != (method, b.path, parse_qs(b.query)): return False
    theirs = body(q)
    if 'multipart' in kind:
        return dict(parts(theirs, q['headers']['Content-Type'])) == dict(parts(data, kind))
    try: return json.loads(theirs) == json.loads(data)
    except ValueError: return parse_qs(theirs.decode('latin-1')) == parse_qs(data.decode('latin-1'))


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def handle(self):
        self.server.connections.append(self.client_address)
        super().handle()
    def do(self):
        s = self.server
        self.data = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        s.asked.append((self.command, self.path, len(self.data)))
        s.seen.append(dict(self.headers))
        u = urlsplit(self.path)
        self.query = {k: v[-1] for k, v in parse_qs(u.query, keep_blank_values=True).items()}
        if 'urlencoded' in self.headers.get('Content-Type', ''):
            self.query |= {k: v[-1] for k, v in parse_qs(self.data.decode(), keep_blank_values=True).items()}
        if s.lie and s.lie(self): return
        if s.auth and self.headers.get('Authorization') not in s.auth:
            return self.answer(401, b'<html><body><h1>Unauthorized</h1>', 'text/html')
        if u.path in s.routes: return s.routes[u.path](self)
        if self.query.get('camli.mode') == 'config' or self.headers.get('Accept') == 'text/x-camli-configuration':
            return self.json(s.discovery)
        if u.path.startswith(BS + 'camli/'): return self.blobs(u.path.removeprefix(BS + 'camli/'))
        for e in s.recorded:
            if same_request(e, self.command, self.path, self.data, self.headers.get('Content-Type', '')):
                r = e['response']
                return self.answer(r['status'], body(r), r['headers'].get('Content-Type', 'text/plain'))
        self.answer(404, b'404 page not found\n')
    do_GET = do_HEAD = do_POST = do_PUT = do
    def answer(self, status, data=b'', kind='text/plain', **headers):
        self.send_response(status)
        for k, v in {'Content-Type': kind, 'Content-Length': len(data), **headers}.items():
            self.send_header(k.replace('_', '-'), str(v))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(data)
    def json(self, what, status=200): self.answer(status, json.dumps(what, indent=2).encode(), 'text/javascript')
    def names(self):
        found = []
        while name := self.query.get(f'blob{len(found) + 1}'): found.append(name)
        return found
    def sizes(self, names):
        found = [(n, self.server.store.size(n)) for n in dict.fromkeys(names)]
        return [dict(blobRef=n, size=size) for n, size in found if size is not None]
    def blobs(self, action):
        method, store = self.command, self.server.store
        bad = lambda: self.answer(400, b'<h1>Bad Request</h1>', 'text/html; charset=utf-8')
        try:
            if (method, action) == ('GET', 'enumerate-blobs'):
                limit = min(int(self.query.get('limit') or 100), 10_000)
                names = [n for n, _ in zip(store.refs(self.query.get('after', '')), range(limit))]
                more = dict(continueAfter=names[-1]) if len(names) == limit else {}
                return self.json(dict(blobs=self.sizes(names), canLongPoll=True) | more)
            if action == 'stat':
                if 'camliversion' not in self.query or len(names := self.names()) > 1000: return bad()
                return self.json(dict(stat=self.sizes(names), canLongPoll=True))
            if (method, action) == ('POST', 'upload'): return self.upload()
            if (method, action) == ('POST', 'remove'):
                if not self.server.removes: return self.json(dict(removed=None, error='does not permit deletes'), 403)
                for n in (names := self.names()): store.remove(n)
                return self.json(dict(removed=names, error=''))
            if (method, action) == ('POST', 'batch-get') and self.server.discovery.get('batchGet'): return self.batch()
            if method in ('GET', 'HEAD'): return self.blob(action)
        except Invalid: return bad()
        bad()
    def upload(self):
        got, error = [], ''
        for name, data in parts(self.data, self.headers['Content-Type']):
            try: self.server.store.put(data, name)
            except Invalid as e:
                error = f"Error receiving blob {name}: corrupt blob; digest doesn't match\n"
                break
            got.append(dict(blobRef=name, size=len(data)))
        self.json(dict(received=got) | (dict(errorText=error) if error else {}))
    def blob(self, ref):
        try:
            parse_ref(ref)
            data = self.server.store.get(ref)
        except Invalid: return self.answer(400, b'Malformed GET URL.\n')
        except NotFound: return self.answer(404, f'Blob "{ref}" not found'.encode())
        if not (found := re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))):
            return self.answer(200, data, 'application/octet-stream', Accept_Ranges='bytes')
        first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
        if first >= len(data): return self.answer(416, b'invalid range', Content_Range=f'bytes */{len(data)}')
        self.answer(206, data[first:last + 1], 'application/octet-stream',
                    Content_Range=f'bytes {first}-{last}/{len(data)}')
    def batch(self):
        out, size = [], 0
        for ref in self.names():
            if self.server.store.size(ref) is None: continue
            data = self.server.store.get(ref)
            if out and size + len(data) > self.server.batch_limit: return self.answer(200, b''.join(out) + b'+\n')
            out.append(f'{ref} {len(data)}\n'.encode() + data)
            size += len(data)
        self.answer(200, b''.join(out) + b'.\n')


class BlobServer(ThreadingHTTPServer):
    "Serves in a thread until it is closed; `lie(handler)` may answer first, and says so by returning True"
    daemon_threads = True
    def __init__(self, store=None, auth=(), lie=None, labels=(), removes=True, batch_get=False, tls=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.store, self.auth, self.lie, self.removes, self.batch_limit = store or MemoryBlobs(), auth, lie, removes, 1 << 25
        self.recorded, self.routes, self.asked, self.seen, self.connections = [], {}, [], [], []
        for label in labels: self.recorded.append(recorded(label))
        self.discovery = dict(blobRoot=BS, searchRoot='/my-search/', jsonSignRoot='/sighelper/', shareRoot='/share/',
                              authToken='a' * 40) | (dict(batchGet=True) if batch_get else {})
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f'http{"s" if tls else ""}://127.0.0.1:{self.server_address[1]}/'
        self.thread = threading.Thread(target=self.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True)
        self.thread.start()
    def handle_error(self, request, client): pass
    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()
    def __exit__(self, *e): self.close()

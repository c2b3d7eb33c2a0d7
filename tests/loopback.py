"""A throw-away Pod over HTTP for the tests: passes every call to the engine in this process. Not a server
for anything else"""
import base64, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from pymemri.core import PodError
from pymemri.engine.pod import Pod
from pymemri.pod.api import BARE, V4, V5


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *args): pass

    def answer(self, status, body, kind=''):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        if kind: self.send_header('Pod-Error', kind)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.rstrip('/') == '/version': return self.answer(200, b'{"cargo":"0.4.4","git_describe":null}')
        self.answer(404, b'Endpoint not found')

    def do_POST(self):
        self.server.seen.append(self.path)
        body = self.rfile.read(int(self.headers['Content-Length']))
        try: out = self.route(body)
        except PodError as e: return self.answer(e.status, f'Failure: {e.message}'.encode(), type(e).__name__)
        if out is None: return self.answer(404, b'Endpoint not found')
        self.answer(200, out if isinstance(out, bytes) else json.dumps(out).encode())

    def route(self, body):
        wire, owner, op, *rest = self.path.strip('/').split('/')
        if wire not in self.server.wires or len(body) > 5 * 2**20 and not op.startswith('upload'): return None
        if op == 'upload_file' and wire == 'v5':
            auth = json.loads(base64.urlsafe_b64decode(self.headers['Authorization'].removeprefix('Pod ')))
            return self.pod(owner, auth).upload_file({'sha256': rest[0]}, body)
        if op == 'upload_file': return self.pod(owner, {'databaseKey': rest[0]}).upload_file({'sha256': rest[1]}, body)
        if op == 'upload_file_b':
            return self.pod(owner, json.loads(unquote(rest[0]))).upload_file({'sha256': rest[1]}, body)
        if op not in (V5 if wire == 'v5' else V4 | {'get_file'}): return None
        asked = json.loads(body)
        method = getattr(self.pod(owner, asked['auth']), op)
        return method() if op in BARE else method(asked['payload'])

    def pod(self, owner, auth):
        key = auth['databaseKey']
        with self.server.lock:
            if (owner, key) not in self.server.pods:
                self.server.pods[owner, key] = Pod(owner, key, home=self.server.home)
            return self.server.pods[owner, key]


class Loopback(ThreadingHTTPServer):
    "`with Loopback(home) as server: PodClient(url=server.url)`"
    daemon_threads = True

    def __init__(self, home, wires=('v3', 'v4', 'v5')):
        super().__init__(('127.0.0.1', 0), Handler)
        self.home, self.wires, self.pods, self.seen, self.lock = home, wires, {}, [], threading.Lock()
        self.url = f'http://127.0.0.1:{self.server_port}'

    def handle_error(self, *args): pass  # a client that hung up

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()
        for pod in self.pods.values(): pod.close()

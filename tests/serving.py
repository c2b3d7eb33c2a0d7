"""Pod servers for the tests: real ones, in a thread of this process, that note which paths they were asked for"""
import threading
from functools import partial

from pymemri.server.app import App
from pymemri.server.serve import Served

WIRES = ('v3', 'v4', 'v5')


class Noting(App):
    "An `App` that keeps the path and the headers of each request"
    def __init__(self, settings, log=None, wires=WIRES):
        super().__init__(settings, wires=wires, log=log)
        self.asked = []

    async def __call__(self, scope, receive, send):
        if scope['type'] == 'http': self.asked.append((scope['raw_path'].decode(), dict(scope['headers'])))
        await super().__call__(scope, receive, send)

    def at_once(self, method, url, headers):
        look = super().at_once(method, url, headers)
        def noted(body):
            if (found := look(body)) is not None: self.asked.append((url.decode(), dict(headers)))
            return found
        return look and noted


class Server(Served):
    "`with Server(home) as server: PodClient(url=server.url)`; a server of fewer `wires` is an older one"
    def __init__(self, home, wires=WIRES, port=0, **changes):
        self.lines = []
        super().__init__(data_folder=home, port=port, log=self.lines.append, make=partial(Noting, wires=wires),
                         **changes)

    @property
    def port(self): return self.settings.port

    @property
    def seen(self): return [path for path, _ in self.app.asked]


class Peer:
    "Something that listens on a port and is no Pod: `talk(connection)` is called for each that connects"
    def __init__(self, talk):
        import socket
        self.talk, self.sock, self.connected = talk, socket.create_server(('127.0.0.1', 0)), 0
        self.url = f'http://127.0.0.1:{self.sock.getsockname()[1]}'

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *args):
        import socket
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def serve(self):
        while True:
            try: conn = self.sock.accept()[0]
            except OSError: return
            self.connected += 1
            threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn):
        with conn:
            try: self.talk(conn)
            except OSError: pass


def request(conn):
    "The head of one request and its body, from a plain connection; nothing if it ended"
    data = b''
    while b'\r\n\r\n' not in data:
        more = conn.recv(65536)
        if not more: return b'', b''
        data += more
    head, _, body = data.partition(b'\r\n\r\n')
    size = [int(line.split(b':')[1]) for line in head.split(b'\r\n') if line.lower().startswith(b'content-length')]
    while size and len(body) < size[0]:
        more = conn.recv(65536)
        if not more: return b'', b''
        body += more
    return head, body


def http(body, status='200 OK', *headers):
    "An answer"
    head = '\r\n'.join([f'HTTP/1.1 {status}', f'Content-Length: {len(body)}', *headers])
    return head.encode() + b'\r\n\r\n' + body

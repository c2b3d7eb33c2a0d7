"""A Redis server of a test: Debian's redis-server on a free port of this machine, with its data in a folder."""
import os, shutil, signal, socket, subprocess, time

import pytest


def need_redis():
    "Skip the test where there is no redis-server, or fail if `REQUIRE_REDIS` says that there must be one"
    if shutil.which('redis-server'): return
    if os.environ.get('REQUIRE_REDIS'): pytest.fail('REQUIRE_REDIS is set, but there is no redis-server: apt install redis-server')
    pytest.skip('there is no redis-server: apt install redis-server')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class RedisServer:
    "Every write is on the disk before it is acknowledged, unless `fsync` says otherwise"
    password = 'a password'
    def __init__(self, folder, fsync='always'):
        need_redis()
        self.folder, self.fsync, self.port, self.process = folder, fsync, free_port(), None
        folder.mkdir(exist_ok=True)
        self.start()
    @property
    def url(self): return f'redis://:{self.password.replace(" ", "%20")}@127.0.0.1:{self.port}/0'
    def start(self):
        "On the same port, with the same data"
        (self.folder / 'redis.conf').write_text(
            f'port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nappendonly yes\nappendfsync {self.fsync}\nsave ""\ndaemonize no\n'
            f'requirepass "{self.password}"\nlogfile {self.folder / "redis.log"}\n')
        self.process = subprocess.Popen(['redis-server', str(self.folder / 'redis.conf')], stdout=subprocess.DEVNULL)
        for _ in range(600):
            if self.answers(): return
            if self.process.poll() is not None: break
            time.sleep(0.05)
        raise RuntimeError((self.folder / 'redis.log').read_text()[-2000:])
    def answers(self):
        try:
            with socket.create_connection(('127.0.0.1', self.port), 1) as s:
                s.sendall(b'*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\nPING\r\n' % (len(self.password), self.password.encode()))
                s.settimeout(2)
                said = b''
                while b'PONG' not in said and (more := s.recv(100)): said += more
                return b'PONG' in said
        except OSError: return False
    def kill(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
    def __enter__(self): return self
    def __exit__(self, *_): self.kill()

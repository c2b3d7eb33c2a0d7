"""Importing pymemri does nothing that anybody could notice: no file, socket, environment, patch, nothing heavy."""
import json, subprocess, sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
modules = ['.'.join(p.relative_to(root).with_suffix('').parts) for p in sorted(root.glob('pymemri/**/*.py'))
           if not p.name.startswith('_')]
HEAVY = ['numpy', 'matplotlib', 'ipywidgets', 'PIL', 'tqdm', 'IPython', 'nbdev', 'requests', 'urllib3', 'sphinx',
         'pandas', 'skimage', 'pytest']
LIBRARIES = ['fastcore.basics', 'fastcore.meta', 'msgspec', 'sqlcipher3.dbapi2',
             'cryptography.hazmat.primitives.ciphers.aead', 'nacl.secret', 'prometheus_client', 'uvicorn', 'lmdb']

WATCH = '''
import builtins, collections, dataclasses, datetime, enum, functools, io, json, os, pathlib, sys, threading, time
import types, typing, asyncio, concurrent.futures, http.client, importlib.metadata, inspect, logging, random, socket
import sqlite3, subprocess, tempfile, urllib.request, uuid
for name in {libraries!r}: # what they do when they are imported is their own matter, but for patches
    try: __import__(name)
    except ImportError: pass
asked, events = [], []
class Watched(type(os.environ)):
    def __getitem__(self, key): asked.append(key); return super().__getitem__(key)
    def __iter__(self): asked.append('*'); return super().__iter__()
here = os.environ
os.environ = Watched(here._data, here.encodekey, here.decodekey, here.encodevalue, here.decodevalue)
def classes():
    "Every class of somebody else's that is loaded, and what it holds"
    todo, found = [object], {}
    while todo:
        for c in type.__subclasses__(todo.pop()):
            if c not in found: found[c] = dict(vars(c)); todo.append(c)
    return found
PRIVATE = ('__doc__', '__dict__', '__weakref__', '_abc_impl', '__abstractmethods__', '__annotations__',
           '__annotate_func__', '__annotations_cache__')
before, loaded = classes(), set(sys.modules)
def hook(name, args):
    watched = ('os.mkdir', 'os.rename', 'os.remove', 'subprocess.Popen', 'sqlite3.connect')
    if name.startswith('socket.') or name in watched \\
        or name == 'open' and isinstance(args[1], str) and set(args[1]) & set('wax+'):
        events.append([name, repr(args)[:200]])
sys.dont_write_bytecode = True
sys.addaudithook(hook)
start = time.perf_counter()
import {module}
took, here_asked, here_events = time.perf_counter() - start, list(asked), list(events)
patched = []
for c, held in before.items():
    if c.__module__.split('.')[0] == 'pymemri': continue
    for k in vars(c).keys() | held.keys():
        if k not in PRIVATE and not k.startswith('_abc') and vars(c).get(k) is not held.get(k):
            patched.append(f'{c.__module__}.{c.__qualname__}.{k}')
modules = sorted({m.split('.')[0] for m in sys.modules})
print(json.dumps(dict(took=took, asked=here_asked, events=here_events, patched=patched, modules=modules)))
'''
FRESH = ("import json, sys, time\nt = time.perf_counter()\nimport %s\ntook = time.perf_counter() - t\n"
         "print(json.dumps(dict(took=took, modules=sorted({m.split('.')[0] for m in sys.modules}))))")


def child(code, env, home):
    "What a fresh interpreter with an empty home says after `code`"
    env = env | {'HOME': str(home), 'USERPROFILE': str(home), 'PYTHONDONTWRITEBYTECODE': '1'}
    done = subprocess.run([sys.executable, '-c', code], env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir()), 'importing made files'
    return json.loads(done.stdout)


def test_the_client_is_light(clean_env, tmp_path):
    "A clock fails no test; the time is printed, and what makes it long is not loaded"
    said = child(FRESH % 'pymemri.pod.client', clean_env, tmp_path)
    print(f"import pymemri.pod.client: {said['took']:.3f} s")
    assert not set(HEAVY) & set(said['modules'])


@pytest.mark.parametrize('module', modules)
def test_importing_does_nothing(module, clean_env, tmp_path):
    def watch(libraries):
        return child(WATCH.replace('{libraries!r}', repr(libraries)).replace('{module}', module), clean_env, tmp_path)
    said = watch(LIBRARIES)
    assert said['events'] == [], 'it wrote, or opened a socket or a database'
    assert said['asked'] == [], 'it read the environment'
    assert said['patched'] == [], "it changed somebody else's class"
    alone = watch([])
    assert alone['patched'] == [], \
        'a library that it imports changes a class of the standard library (fastcore.xtras does)'
    assert not set(HEAVY) & set(alone['modules']), 'it loads what only some calls need'

"""The package as others get it: wheel and sdist build, and the wheel alone, in a bare environment, runs
the client page's first lines."""
import json, os, re, shutil, subprocess, sys, tarfile, zipfile
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
SOURCES = ['settings.ini', 'setup.py', 'MANIFEST.in', 'README.md', 'CHANGELOG.md', 'LICENSE']
TOOLS = {'nbdev', 'execnb', 'sphinx', 'myst-nb', 'jupytext', 'pytest', 'nbclient', 'ipykernel', 'scikit-image'}

# The first ten lines of code of the Pod client's page; the class is the one that the page has in mind
PAGE = '''
from pymemri.data.schema import Item
from pymemri.pod.client import PodClient

class Dog(Item):
    properties = Item.properties + ["name", "age", "bites", "weight"]
    edges = Item.edges
    def __init__(self, name: str=None, age: int=None, bites: bool=False, weight: float=None, **kwargs):
        super().__init__(**kwargs)
        self.name, self.age, self.bites, self.weight = name, age, bites, weight

client = PodClient()
client.registered_classes["Photo"]
from pymemri.data.schema import EmailMessage, Address, PhoneNumber
succes = client.add_to_schema(EmailMessage, Address, PhoneNumber)
email_item = EmailMessage.from_data(content="example content field")
client.create(email_item)
print(email_item.id)
client.add_to_schema(Dog)
dog2 = Dog(name="bob", age=3, weight=33.2)
client.create(dog2);

import pymemri
assert succes and client.get(dog2.id).weight == 33.2
print(pymemri.__file__)
'''


# Every class of a live view, and the text of its widget
VIEWS = '''
import importlib, pkgutil
import pymemri.widgets
from pymemri.widgets.live import Live, widget_class
for m in pkgutil.iter_modules(pymemri.widgets.__path__): importlib.import_module(f'pymemri.widgets.{m.name}')
def classes(cls): return [c for s in cls.__subclasses__() for c in (s, *classes(s))]
for cls in classes(Live):
    made = widget_class(cls)
    assert 'function view(' in str(made._esm) and '.pm-live' in str(made._css), cls
    print(cls.view)
'''


def run(*args, **kwargs):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=300, **kwargs)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope='session')
def dist(tmp_path_factory):
    "Wheel and sdist, built in a copy: nothing is written in the checkout"
    src = tmp_path_factory.mktemp('src')
    for name in SOURCES:
        if (root / name).exists(): shutil.copy(root / name, src / name)
    shutil.copytree(root / 'pymemri', src / 'pymemri', ignore=shutil.ignore_patterns('__pycache__'))
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', src / 'dist', src, cwd=src)
    return src / 'dist'


def test_the_sdist_has_what_a_wheel_is_made_from(dist):
    "The wheel was made from the sdist, so that it can be is shown already"
    names = {n.partition('/')[2] for n in tarfile.open(next(dist.glob('*.tar.gz'))).getnames()}
    assert {s for s in SOURCES if (root / s).exists()} <= names


def test_the_wheel_holds_the_package_and_nothing_else(dist):
    names = zipfile.ZipFile(next(dist.glob('*.whl'))).namelist()
    wanted = {p.relative_to(root).as_posix() for p in root.glob('pymemri/**/*') if p.is_file()
              and '__pycache__' not in p.parts}
    assert wanted - set(names) == set()
    assert {n.split('/')[0].split('-')[0] for n in names} == {'pymemri'}


@pytest.fixture(scope='session')
def bare(dist, tmp_path_factory):
    "The Python of an environment that has the wheel and what it requires"
    home = tmp_path_factory.mktemp('bare')
    run(sys.executable, '-m', 'venv', home / 'venv')
    python = home / 'venv' / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
    run(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--prefer-binary',
        '-c', root / 'tools/constraints.txt', next(dist.glob('*.whl')), cwd=home)
    return python


def test_the_bare_environment_has_no_build_tool(bare, clean_env):
    env = {k: v for k, v in clean_env.items() if k != 'PYTHONPATH'}
    assert not {d['name'].lower() for d in json.loads(run(bare, '-m', 'pip', 'list', '--format=json', env=env))} & TOOLS
    assert run(bare, '-m', 'pip', 'check', env=env)


def test_the_wheel_runs_the_pages_first_lines(bare, clean_env, tmp_path):
    env = {k: v for k, v in clean_env.items() if k != 'PYTHONPATH'} \
        | {'HOME': str(tmp_path), 'PYMEMRI_HOME': str(tmp_path / 'home')}
    (tmp_path / 'page.py').write_text(PAGE, encoding='utf-8')
    id, place = run(bare, 'page.py', cwd=tmp_path, env=env).strip().splitlines()[-2:]
    assert re.fullmatch(r'[0-9a-f]{32}', id)
    assert not Path(place).is_relative_to(root) or Path(place).is_relative_to(bare.parents[1])


def test_the_wheel_shows_live_views(bare, clean_env, tmp_path):
    "Installed alone, every view finds its two halves"
    env = {k: v for k, v in clean_env.items() if k != 'PYTHONPATH'} | {'HOME': str(tmp_path)}
    (tmp_path / 'views.py').write_text(VIEWS, encoding='utf-8')
    shown = run(bare, 'views.py', cwd=tmp_path, env=env).split()
    assert 'login' in shown and set(shown) == {p.stem for p in (root / 'pymemri/widgets/static').glob('*.js')} - {'live'}


@pytest.mark.parametrize('script', ['pymemri', 'store_keys', 'create_plugin_config', 'plugin_from_template'])
def test_console_scripts_start(script, bare, clean_env, tmp_path):
    env = {k: v for k, v in clean_env.items() if k != 'PYTHONPATH'} | {'HOME': str(tmp_path)}
    run(bare.parent / script, '--help', cwd=tmp_path, env=env)
    assert not list(tmp_path.iterdir()), 'asking for help made files'


def test_the_wheel_brings_its_templates(bare, clean_env, tmp_path):
    "A project that the installed command makes is whole, and the installed package makes its form"
    env = {k: v for k, v in clean_env.items() if k != 'PYTHONPATH'} | {'HOME': str(tmp_path)}
    for name in ('basic', 'indexer'):
        run(bare.parent / 'plugin_from_template', '--template_name', name, '--target_dir', name, cwd=tmp_path, env=env)
        made = {p.relative_to(tmp_path / name).as_posix() for p in (tmp_path / name).rglob('*.*')}
        assert {'.gitignore', 'metadata.json', 'pyproject.toml', 'tests/test_plugin.py', f'{name}/plugin.py'} <= made
        assert 'Config saved to config.json' in run(bare.parent / 'create_plugin_config', cwd=tmp_path / name, env=env)

"""A project made from a template works: its tests pass, whatever its names are and wherever its repository is"""
import ast, json, os, shutil, subprocess, sys, tomllib
from pathlib import Path

import pytest

from pymemri.core import Conflict, Invalid, NotFound
from pymemri.plugin import template
from pymemri.plugin.config import create_plugin_config
from pymemri.plugin.template import (TEMPLATES, TemplateFormatter, class_for, get_remote_url, one_line, package_for,
                                     plugin_from_template, plugin_from_template_cli, public_url, why_not)
from pymemri.server.serve import Served

HOSTILE = '"""\'\'\'\\" $package_name ${user} {x} %s `rm -rf ~` <script>alert(1)</script>' \
          '\n\r\x00\x1b[2J\u202e\u2028]=# é 日本 👩‍🚀 \\'
git = pytest.mark.skipif(not shutil.which('git'), reason='needs git')


def files_in(folder):
    "Path -> bytes of everything below a folder"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob('*') if p.is_file()}


def run_tests(folder, env, tmp_path, **more):
    "What pytest says of a project, in a process of its own"
    env = env | {'PYMEMRI_HOME': str(tmp_path / 'home'), 'HOME': str(tmp_path)} | more
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider'], cwd=folder, env=env,
                          capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(params=['embedded', 'http'])
def road(request, tmp_path):
    "What tells a project's clients which Pod to use"
    if request.param == 'embedded':
        yield {}
        return
    with Served(data_folder=tmp_path / 'served', insecure_plugin_script={'none': shutil.which('true')}) as s:
        yield {'POD_ADDRESS': s.url}


@pytest.mark.parametrize('name', TEMPLATES)
def test_a_projects_own_tests_pass(name, road, clean_env, tmp_path, capsys):
    folder = tmp_path / 'my-plugin'
    written = plugin_from_template(template_name=name, target_dir=folder)
    assert capsys.readouterr().out == f'Created `My Plugin` using the {name} template.\n'
    assert {p.relative_to(folder).as_posix() for p in written} == files_in(folder).keys()
    code, said = run_tests(folder, clean_env, tmp_path, **road)
    assert code == 0 and ' passed' in said and 'failed' not in said and 'warning' not in said, said
    if road: assert list((tmp_path / 'served').rglob('*')), 'nobody used the server'


@pytest.mark.parametrize('name', TEMPLATES)
def test_tests_of_a_project_can_fail(name, clean_env, tmp_path):
    "They look at what the plugin does: one that stores nothing is found out"
    folder = tmp_path / 'my-plugin'
    plugin_from_template(template_name=name, target_dir=folder)
    module = folder / 'my_plugin/plugin.py'
    text = module.read_text(encoding='utf-8')
    assert text.count('while ') == 1
    module.write_text(text.replace('while ', 'return\n        while '), encoding='utf-8')
    code, said = run_tests(folder, clean_env, tmp_path)
    assert code == 1 and '2 failed' in said, said


@pytest.mark.parametrize('name', TEMPLATES)
def test_hostile_names_end_up_as_text(name, clean_env, tmp_path):
    folder = tmp_path / 'x'
    plugin_from_template(template_name=name, user=HOSTILE, repo_url='https://h/anna/' + HOSTILE.replace('\n', ''),
                         plugin_name=HOSTILE, package_name='my_plugin', description=HOSTILE, target_dir=folder)
    for path in folder.rglob('*.py'): ast.parse(path.read_text(encoding='utf-8'))
    said = json.loads((folder / 'metadata.json').read_text(encoding='utf-8'))
    project = tomllib.loads((folder / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    assert said['description'] == project['description'] == one_line(HOSTILE) and said['name'] == one_line(HOSTILE, 100)
    assert project['authors'] == [{'name': one_line(HOSTILE)}]
    tree = ast.parse((folder / 'my_plugin/plugin.py').read_text(encoding='utf-8'))
    cls, = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    assert (cls.name, ast.get_docstring(cls)) == ('MyPlugin', one_line(HOSTILE))
    readme = (folder / 'README.md').read_text(encoding='utf-8')
    assert '<script>' not in readme and '&lt;script&gt;' in readme
    for text in files_in(folder).values(): assert not any(c in text.decode() for c in '\x00\x1b\u202e\u2028')
    code, out = run_tests(folder, clean_env, tmp_path)
    assert code == 0, out


@pytest.mark.parametrize('name', TEMPLATES)
@pytest.mark.parametrize('said, package, cls', [
    ('Mein schönes Plug-in', 'mein_schones_plug_in', 'MeinSchonesPlugInPlugin'), ('日本語', 'my_plugin', 'MyPlugin'),
    ('json', 'json_plugin', 'JsonPlugin'), ('3D', 'plugin_3d', 'Plugin3dPlugin'), ('../../etc', 'etc', 'EtcPlugin'),
    ('stateful', 'stateful', 'MyStatefulPlugin'), ('a' * 300, 'a' * 50, 'A' + 'a' * 49 + 'Plugin'),
    ('lambda', 'lambda_plugin', 'LambdaPlugin')])
def test_names_with_spaces_unicode_and_worse(name, said, package, cls, tmp_path):
    folder = tmp_path / 'some folder ü'
    plugin_from_template(plugin_name=said, template_name=name, target_dir=folder, package_name=package_for(said))
    assert json.loads((folder / 'metadata.json').read_text(encoding='utf-8')) == {
        'name': said[:100], 'containerImage': package, 'pluginModule': f'{package}.plugin', 'pluginName': cls}
    for path in folder.rglob('*.py'): compile(path.read_text(encoding='utf-8'), path, 'exec')
    assert (folder / package / '__init__.py').exists() and list(tmp_path.iterdir()) == [folder]


RESTRICTED = '''
import sys
from pymemri.data.schema import Message, PluginRun
from pymemri.pod.client import PodClient
from my_plugin.plugin import MyPlugin

url, owner_key, database_key = sys.argv[1:]
with PodClient(url=url, owner_key=owner_key, database_key=database_key, quiet=True) as owner:
    owner.bulk_action(create_items=[Message(content=f"text number {n}") for n in range(5)])
    run = PluginRun(containerImage="none", pluginModule="my_plugin.plugin", pluginName="MyPlugin")
    owner.create(run)
    for _ in "12":
        auth = owner.plugin_auth(MyPlugin.permissions, run)
        with PodClient(url=url, owner_key=owner_key, auth_json=auth, quiet=True, register_base_schema=False) as client:
            plugin = MyPlugin(client=client, pluginRun=client.get(run.id))
            plugin.add_to_schema()
            plugin._run()
        print({kind: owner.count({"type": kind}) for kind in sys.modules["my_plugin.schema"].__dict__
               if kind in ("Entry", "Person", "Digest")}, file=sys.stderr)
'''


@pytest.mark.parametrize('name, made', [('basic', {'Entry': 25, 'Person': 2}), ('indexer', {'Digest': 5})])
def test_a_project_needs_no_more_rights_than_it_asks_for(name, made, clean_env, tmp_path):
    folder = tmp_path / 'my-plugin'
    plugin_from_template(template_name=name, target_dir=folder)
    with Served(data_folder=tmp_path / 'served', insecure_plugin_script={'none': shutil.which('true')}) as s:
        words = [sys.executable, '-W', 'error', '-c', RESTRICTED, s.url, '0e' * 32, 'd1' * 32]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120,
                              env=clean_env | {'PYMEMRI_HOME': str(tmp_path / 'home')})
    assert done.returncode == 0, done.stderr
    counts = [ast.literal_eval(line) for line in done.stderr.splitlines() if line.startswith('{')]
    assert len(counts) == 2 and counts[0] == counts[1] and made.items() <= counts[0].items(), done.stderr


@pytest.mark.parametrize('name', TEMPLATES)
def test_a_project_runs_by_the_command_line(name, clean_env, tmp_path):
    folder = tmp_path / 'my-plugin'
    plugin_from_template(template_name=name, target_dir=folder)
    path = os.pathsep.join([str(folder), clean_env['PYTHONPATH']])
    env = clean_env | {'PYMEMRI_HOME': str(tmp_path / 'home'), 'PYTHONPATH': path}
    def run(code, *words):
        return subprocess.run([sys.executable, '-c', f'import sys; {code}', *words], cwd=folder, env=env,
                              capture_output=True, text=True, timeout=120)
    assert run('from pymemri.pod.keys import *; sys.exit(store_keys_cli(sys.argv[1:]))').returncode == 0
    code = 'from pymemri.plugin.run import *; sys.exit(run_plugin_cli(sys.argv[1:]))'
    for first in (True, False):                          # the second time, there is nothing to do
        done = run(code, '--metadata', 'metadata.json')
        assert done.returncode == 0, done.stderr
        assert ('12 created, 0 updated' in done.stdout) == (first and name == 'basic'), done.stdout
        assert ('created' in done.stdout) == (first and name == 'basic'), done.stdout


def test_a_package_that_would_harm_is_refused(tmp_path):
    for bad in ('json', 'class', 'my-plugin', '../up', 'größe', 'pymemri', 'a' * 61, '_x', 'a.b', 'a\nb'):
        with pytest.raises(Invalid, match='a package cannot be called'):
            plugin_from_template(package_name=bad, target_dir=tmp_path / 'x')
        assert why_not(bad) and not why_not(package_for(bad))
    assert not list(tmp_path.iterdir())


# ---- the git remote ----

REMOTES = {  # remote: (user, display name, package, address that is published)
    'https://gitlab.com/anna/my-plugin.git': ('anna', 'My Plugin', 'my_plugin',
                                              'https://gitlab.com/anna/my-plugin.git'),
    'https://gitlab.com/anna/my-plugin': ('anna', 'My Plugin', 'my_plugin', 'https://gitlab.com/anna/my-plugin'),
    'https://anna:s3cr3t@gitlab.com/anna/my-plugin.git': ('anna', 'My Plugin', 'my_plugin',
                                                          'https://gitlab.com/anna/my-plugin.git'),
    'git@github.com:anna/my_plugin.git': ('anna', 'My Plugin', 'my_plugin', 'git@github.com:anna/my_plugin.git'),
    'ssh://git@host:2222/team/anna/MyPlugin.git': ('team/anna', 'MyPlugin', 'myplugin',
                                                   'ssh://git@host:2222/team/anna/MyPlugin.git'),
    'git@gitlab.memri.io:memri/plugins/mail-reader.git': (None, 'Mail Reader', 'mail_reader',
                                                          'git@gitlab.memri.io:memri/plugins/mail-reader.git'),
    '/srv/git/my-plugin.git': (None, 'My Plugin', 'my_plugin', None),
    '../my-plugin': (None, 'My Plugin', 'my_plugin', None),
    'file:///srv/git/my-plugin/.git': (None, 'My Plugin', 'my_plugin', None),
    'https://host/anna/caf%C3%A9%20reader.git': ('anna', 'Café Reader', 'cafe_reader',
                                                 'https://host/anna/caf%C3%A9%20reader.git'),
}


@pytest.fixture
def repo(tmp_path, monkeypatch):
    "Makes a repository with a remote"
    for k, v in dict(GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_SYSTEM='/dev/null').items(): monkeypatch.setenv(k, v)
    def make(url=None, remote='origin', name='checkout'):
        folder = tmp_path / name
        subprocess.run(['git', 'init', '-q', folder], check=True)
        if url: subprocess.run(['git', '-C', folder, 'remote', 'add', remote, url], check=True)
        return folder
    return make


@git
@pytest.mark.parametrize('url', REMOTES)
def test_names_come_from_the_git_remote(repo, url):
    folder, (user, display, package, public) = repo(url), REMOTES[url]
    assert get_remote_url(folder) == url
    plugin_from_template(target_dir=folder)
    said = json.loads((folder / 'metadata.json').read_text(encoding='utf-8'))
    project = tomllib.loads((folder / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    assert (said['name'], said['pluginModule'], said.get('repository')) == (display, f'{package}.plugin', public)
    assert project.get('authors') == ([{'name': user}] if user else None)
    assert project['urls'] == ({'Repository': public} if public else {})
    assert not [p for p, data in files_in(folder).items() if b's3cr3t' in data and not p.startswith('.git/')]


@git
def test_where_there_is_no_remote_the_folder_gives_the_name(repo, tmp_path, monkeypatch):
    assert get_remote_url(repo(name='note-reader')) is None and get_remote_url(tmp_path / 'nothing') is None
    plugin_from_template(target_dir=tmp_path / 'note-reader')
    assert (tmp_path / 'note-reader/note_reader/plugin.py').exists()
    assert get_remote_url(repo('https://h/a/b', 'upstream', 'other')) == 'https://h/a/b'
    inside = repo('https://h/a/big-project', name='big') / 'plugins' / 'small-one'
    inside.mkdir(parents=True)
    assert get_remote_url(inside) is None                # that of the project around it says nothing of this one
    monkeypatch.chdir(inside)
    assert plugin_from_template_cli([]) == 0 and Path('small_one/plugin.py').exists()
    monkeypatch.setenv('GIT_DIR', str(tmp_path / 'other/.git'))
    assert get_remote_url(tmp_path / 'note-reader') is None  # as in a git hook of another repository
    monkeypatch.setenv('PATH', '')
    assert get_remote_url(tmp_path / 'other') is None        # no git, no remote


@git
def test_what_is_given_beats_the_remote(repo):
    folder = repo('https://gitlab.com/anna/my-plugin.git')
    plugin_from_template(user='Ben B.', repo_url='https://x:y@host/c/d.git', plugin_name='Post Reader',
                         package_name='post', description='Reads posts', target_dir=folder)
    assert json.loads((folder / 'metadata.json').read_text(encoding='utf-8')) == {
        'description': 'Reads posts', 'repository': 'https://host/c/d.git', 'name': 'Post Reader',
        'containerImage': 'post', 'pluginModule': 'post.plugin', 'pluginName': class_for('post')}
    assert 'Ben B.' in (folder / 'pyproject.toml').read_text(encoding='utf-8')


@pytest.mark.parametrize('url', ['https://u:p4ss@[::1]:8/x/y.git', 'ssh://u:p4ss@h/x/y', 'http://u:p4ss@h:0',
                                 'https://p4ss@h/x/y?p4ss#p4ss'])
def test_no_secret_of_an_address_is_published(url): assert 'p4ss' not in public_url(url) and public_url(url)


def test_addresses_that_cannot_be_read_are_told_without_them():
    with pytest.raises(Invalid) as e: public_url('https://u:p4ss@[::1/x')
    assert 'p4ss' not in str(e.value)


# ---- nothing is overwritten ----

@pytest.mark.parametrize('path', ['metadata.json', 'tests/test_plugin.py', 'my_plugin/__init__.py', 'Dockerfile', 'tests',
                                  'my_plugin'])
@pytest.mark.parametrize('kind', ['file', 'link', 'dangling link', 'folder'])
def test_nothing_is_written_over(path, kind, tmp_path):
    folder, elsewhere = tmp_path / 'my-plugin', tmp_path / 'elsewhere'
    there = folder / path
    there.parent.mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / 'mine').write_text('mine')
    if kind == 'folder': there.mkdir()
    elif kind == 'file': there.write_text('mine')
    elif kind == 'link': there.symlink_to(elsewhere if path in ('tests', 'my_plugin') else elsewhere / 'mine')
    else: there.symlink_to(tmp_path / 'nowhere')
    before = files_in(tmp_path)
    if kind == 'folder' and path in ('tests', 'my_plugin'):     # an empty folder is in nobody's way
        assert plugin_from_template(target_dir=folder)
        return
    with pytest.raises(Conflict, match='nothing was written') as e: plugin_from_template(target_dir=folder)
    assert path in str(e.value) and files_in(tmp_path) == before and not (tmp_path / 'nowhere').exists()


def test_what_a_code_host_put_there_is_kept(tmp_path, capsys):
    (tmp_path / 'README.md').write_text('mine')
    (tmp_path / '.gitignore').write_text('*.mine')
    (tmp_path / 'LICENSE').write_text('all mine')
    plugin_from_template(package_name='my_plugin', target_dir=tmp_path)
    said = capsys.readouterr().out
    assert 'Kept .gitignore, which was there already.\nKept README.md' in said
    names = ('README.md', '.gitignore', 'LICENSE')
    assert [(tmp_path / n).read_text() for n in names] == ['mine', '*.mine', 'all mine']
    with pytest.raises(Conflict): plugin_from_template(package_name='my_plugin', target_dir=tmp_path)


def test_a_project_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / 'README.md').write_text('mine')
    write, n = template.write_new, 0
    def breaking(*args):
        nonlocal n
        n += 1
        if n == 5: raise OSError(28, 'No space left on device')
        write(*args)
    monkeypatch.setattr(template, 'write_new', breaking)
    with pytest.raises(OSError, match='No space'): plugin_from_template(package_name='my_plugin', target_dir=tmp_path)
    assert n == 5 and files_in(tmp_path) == {'README.md': b'mine'} and len(list(tmp_path.iterdir())) == 1
    n = 0
    with pytest.raises(OSError): plugin_from_template(target_dir=tmp_path / 'a/b')
    assert not (tmp_path / 'a').exists()


def test_what_came_while_it_was_written_is_not_replaced(tmp_path, monkeypatch):
    formatter = TemplateFormatter({'$name.txt': 'new', 'z.txt': ''}, {'name': 'a'}, tmp_path)
    monkeypatch.setattr(formatter, 'in_the_way', list)
    (tmp_path / 'z.txt').write_text('mine')
    with pytest.raises(FileExistsError): formatter.format()
    assert files_in(tmp_path) == {'z.txt': b'mine'}


# ---- the command ----

def command(module, *words, env, cwd):
    code = f'import sys; from pymemri.plugin.{module} import *; sys.exit({words[0]}_cli(sys.argv[1:]))'
    return subprocess.run([sys.executable, '-c', code, *words[1:]], cwd=cwd, env=env, capture_output=True, text=True,
                          timeout=60)


def test_the_commands(tmp_path, clean_env):
    def new(*words, cwd=tmp_path): return command('template', 'plugin_from_template', *words, env=clean_env, cwd=cwd)
    assert new('--list_templates').stdout.splitlines() == [f'{k}: {v}' for k, v in TEMPLATES.items()]
    assert '--template_name' in new('--help').stdout and not list(tmp_path.iterdir())
    bad = new('--template_name', 'indexr')
    assert bad.returncode == 1 and 'did you mean `indexer`' in bad.stderr and 'Traceback' not in bad.stderr
    made = new('--template_name', 'indexer', '--plugin_name', 'Über Reader', '--target_dir', 'a b')
    assert (made.returncode, made.stdout) == (0, 'Created `Über Reader` using the indexer template.\n')
    config = command('config', 'create_plugin_config', env=clean_env, cwd=tmp_path / 'a b')
    assert (config.returncode, config.stdout) == (0, 'Config saved to config.json\n'), config.stderr
    fields = json.loads((tmp_path / 'a b/config.json').read_text(encoding='utf-8'))
    assert fields[0] == dict(name='keywords', display='Keywords', data_type='Integer', type='textbox', default=5,
                             optional=True, help='So many for each message')
    again = new('--target_dir', 'a b', '--plugin_name', 'Über Reader')
    assert again.returncode == 1 and 'nothing was written' in again.stderr
    (tmp_path / 'file').write_text('')
    assert new('--target_dir', 'file').returncode == 1


def test_config_of_a_bad_plugin_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    def said(**metadata):
        Path('metadata.json').write_text(json.dumps(metadata))
        assert create_plugin_config() is None and not Path('config.json').exists()
        return capsys.readouterr().out
    assert 'Missing metadata: pluginModule' in said()
    assert 'Missing metadata: pluginName' in said(pluginModule='a')
    assert 'no_such_module' in said(pluginModule='no_such_module', pluginName='Plugin')
    Path('broken_plugin_module.py').write_text('import a_module_that_is_missing\nclass P: pass\n')
    assert 'a_module_that_is_missing' in said(pluginModule='broken_plugin_module', pluginName='P')
    Path('metadata.json').unlink()
    assert create_plugin_config() is None and 'there is no metadata metadata.json' in capsys.readouterr().out
    assert str(tmp_path) not in sys.path


def test_a_config_does_not_replace_something_else(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = json.dumps(dict(pluginModule='pymemri.plugin.pluginbase', pluginName='ExamplePlugin'))
    Path('metadata.json').write_text(text)
    assert create_plugin_config(tgt_file='metadata.json') is None
    assert Path('metadata.json').read_text() == text and 'no form' in capsys.readouterr().out
    fields = create_plugin_config()
    assert [f['name'] for f in fields] == ['dog_name']
    assert create_plugin_config() == json.loads(Path('config.json').read_text())
    assert sorted(os.listdir()) == ['config.json', 'metadata.json']


# ---- as a package ----

def test_no_tool_takes_a_template_for_a_module():
    folder = Path(template.__file__).parent / 'templates'
    assert {p.suffix for p in folder.rglob('*') if p.is_file()} == {'.tmpl'}
    assert sorted(p.name for p in folder.iterdir()) == sorted(TEMPLATES)
    with pytest.raises(NotFound, match='no template'): plugin_from_template(template_name='../basic')

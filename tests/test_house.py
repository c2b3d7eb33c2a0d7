"""The house stands as CONTRIBUTING.md draws it: who imports whom, where SQL may be, what a public name owes readers."""
import ast, configparser, importlib, inspect, json, re, sys
from functools import cache
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
modules = {'.'.join(p.relative_to(root).with_suffix('').parts).removesuffix('.__init__'): p
           for p in sorted(root.glob('pymemri/**/*.py')) if p.name != '_modidx.py'}
notebooks = [p for p in sorted(root.glob('nbs/**/*.ipynb'))
             if not any(s.startswith(('.', '_')) for s in p.relative_to(root).parts)]
leaves = [m for m, p in modules.items() if p.name != '__init__.py']


@cache
def tree(module): return ast.parse(modules[module].read_text(encoding='utf-8'))


def arrows():
    "The table of CONTRIBUTING.md: part -> the parts that it may import"
    text = (root / 'CONTRIBUTING.md').read_text(encoding='utf-8')
    text = text.partition('| Part | May import |')[2].partition('\n\n')[0]
    rows = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| `')]
    table = {re.findall(r'`(\w+)`', a)[0]: set(re.findall(r'`(\w+)`', b)) | ({'*'} if 'everything' in b else set())
             for a, b in rows}
    assert len(table) >= 12, 'the table of arrows was not found'
    return table


def imports(module):
    "(line, dotted name) of everything that `module` imports, at the top or in a function"
    package = module.split('.') if modules[module].name == '__init__.py' else module.split('.')[:-1]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import): yield from ((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join([*package[:len(package) - node.level + 1], *filter(None, [node.module])]) if node.level \
                else node.module
            for a in node.names: yield node.lineno, f'{base}.{a.name}' if f'{base}.{a.name}' in modules else base


def part(module): return (module.split('.') + [''])[1]


def strings(node, skip=()):
    "Every string constant under `node` that is no docstring"
    docs = {id(n.body[0].value) for n in ast.walk(node)
            if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and n.body and isinstance(n.body[0], ast.Expr) and isinstance(n.body[0].value, ast.Constant)}
    return [n for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs]


def test_there_is_something_to_hold_against_the_table():
    assert 'pymemri.core' in modules and notebooks


@pytest.mark.parametrize('module', leaves)
def test_imports_follow_the_arrows(module):
    table, here, wrong = arrows(), part(module), []
    assert here in table, f'{here} is no part of the house: give it a row in CONTRIBUTING.md'
    for line, name in imports(module):
        to = part(name)
        if name.split('.')[0] == 'pymemri' and to not in (here, '') and not table[here] & {to, '*'}:
            wrong.append(f'line {line}: {here} → {to} ({name})')
    assert not wrong, f'{module}: {wrong}'


def test_the_table_itself_has_no_circle():
    table, done = arrows(), set()
    table = {k: set(table) - {k} if '*' in v else v for k, v in table.items()}
    while ready := {k for k, v in table.items() if k not in done and v <= done}: done |= ready
    assert done == set(table)


def declared():
    "Names that the requirements of settings.ini let us import"
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(root / 'settings.ini', encoding='utf-8')
    names = {re.match(r'[\w-]+', r)[0] for r in ini['DEFAULT']['requirements'].split()}
    return {{'pillow': 'PIL', 'pynacl': 'nacl'}.get(n, n.replace('-', '_')) for n in names}


OPTIONAL = {'pillow_heif', 'IPython', 'pandas', 'skimage', 'docker', 'kubernetes', 'urllib3', 'fsspec', 'redis',
            'traitlets'}  # comes with ipywidgets; the others are used when they are there; only inside functions


@pytest.mark.parametrize('module', leaves)
def test_only_declared_packages_are_imported(module):
    known = declared() | set(sys.stdlib_module_names) | {'pymemri'} | OPTIONAL
    assert not [(line, n) for line, n in imports(module) if n.split('.')[0] not in known]
    top = {a.name.split('.')[0] for n in tree(module).body if isinstance(n, ast.Import) for a in n.names}
    top |= {(n.module or '').split('.')[0] for n in tree(module).body if isinstance(n, ast.ImportFrom) and not n.level}
    assert not top & (OPTIONAL | {'nbdev', 'sphinx', 'pytest'}), 'imported when pymemri is imported'


SQL = re.compile(r'''\bselect\b.{1,400}\bfrom\b\s+\w|\binsert\s+(or\s+\w+\s+)?into\s+\w|\bupdate\s+\w+\s+set\s+\w
    |\bdelete\s+from\s+\w+\s+(where\b|$)
    |\bcreate\s+(unique\s+|virtual\s+|temp\s+)*(table|index|view|trigger)\s+\w|\bpragma\s+\w+|\battach\s+database\b''',
    re.I | re.S | re.X)
STORES = ('pymemri.engine.store', 'pymemri.engine.query', 'pymemri.blobs.index', 'pymemri.blobs.search')


@pytest.mark.parametrize('module', [m for m in leaves if m not in STORES])
def test_sql_stands_only_in_stores_and_queries(module):
    assert not [(line, n) for line, n in imports(module)
                if n.split('.')[0] in ('sqlcipher3', 'sqlite3', 'apsw', 'pysqlite3')]
    assert not [(n.lineno, n.value[:80]) for n in strings(tree(module)) if SQL.search(n.value)]


def test_the_sql_finder_finds_sql():
    for s in ('select a from b', 'INSERT OR IGNORE INTO x values (?)', 'pragma key', 'create unique index i on t(a)'):
        assert SQL.search(s)
    for s in ('no item 1f', 'select the photos you like', 'delete from the Pod what is old'): assert not SQL.search(s)


@pytest.mark.parametrize('module', leaves)
def test_no_drawer_for_odds_and_ends(module):
    if module != 'pymemri.pod.utils':  # a name that older programs import
        assert not {'utils', 'util', 'helpers', 'helper', 'misc', 'common'} & set(module.split('.'))


@pytest.mark.parametrize('module', leaves)
def test_imports_by_name_and_no_silenced_types(module):
    assert not [n.lineno for n in ast.walk(tree(module)) if isinstance(n, ast.ImportFrom)
                and any(a.name == '*' for a in n.names)]
    assert 'type: ignore' not in modules[module].read_text(encoding='utf-8')


def public(module):
    "(name, object) of everything that `module` makes public"
    m = importlib.import_module(module)
    return [(n, getattr(m, n)) for n in getattr(m, '__all__', [])]


def own(value):
    "Is it a function or a class, and one of ours?"
    return (inspect.isclass(value) or inspect.isroutine(value)) \
        and (getattr(value, '__module__', '') or '').startswith('pymemri')


@pytest.mark.parametrize('module', leaves)
def test_every_public_name_has_a_docstring(module):
    missing = [] if tree(module).body and ast.get_docstring(tree(module)) else [module]
    for name, value in public(module):
        if not own(value): continue
        if not (vars(value).get('__doc__') if inspect.isclass(value) else value.__doc__): missing.append(name)
        if not inspect.isclass(value): continue
        for k, v in vars(value).items():  # an override may inherit its docstring
            made = getattr(v, 'fget', None) or getattr(v, 'func', None) or getattr(v, '__func__', v)
            if not k.startswith('_') and inspect.isfunction(made) and made.__name__ == k \
                and not inspect.getdoc(getattr(value, k, made)):
                missing.append(f'{name}.{k}')
    assert not missing, f'{module}: no docstring'


@cache
def documented():
    "Every id of every page, and the last part of each"
    ids = {i for p in root.glob('docs/**/*.html')
           for i in re.findall(r'id="(pymemri\.[\w.]+)"', p.read_text(encoding='utf-8'))}
    return ids | {i.rpartition('.')[2] for i in ids}


@pytest.mark.parametrize('module', leaves)
def test_every_public_name_is_in_the_docs(module):
    def place(name, value): return f'{value.__module__}.{value.__qualname__}' if own(value) else name
    assert not [n for n, v in public(module) if place(n, v) not in documented()]


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(root).as_posix())
def test_notebook_keeps_its_form(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    first = ''.join(cells[0]['source'])
    assert cells[0]['cell_type'] == 'markdown' \
        and re.fullmatch(r'# [^\n]+\n\n> [^\n]+\n*', first), 'a title and one `>` line, and no more'
    for c in cells:
        if c['cell_type'] != 'code': continue
        lines = [line for line in ''.join(c['source']).splitlines()]
        if any(re.match(r'#\|\s*export', line) for line in lines):
            assert len(lines) <= 41, f'a cell of {len(lines)} lines: {lines[1]}'


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(root).as_posix())
def test_exported_lines_fit_120_columns(path):
    cells = [''.join(c['source']).splitlines() for c in json.loads(path.read_text(encoding='utf-8'))['cells']
             if c['cell_type'] == 'code']
    exported = [lines for lines in cells if any(re.match(r'#\|\s*export', line) for line in lines)]
    assert not [(len(line), line) for lines in exported for line in lines if len(line) > 120]


MACHINE = re.compile(r'(?<![\w.~/:])'
                     r'(/home/|/Users/|/root/|/tmp/|/private/|/var/folders/|/work/|[A-Z]:\\\\)\w[^\s"\'<]*')


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.relative_to(root).as_posix())
def test_outputs_name_no_place_on_a_machine(path):
    outputs = [o for c in json.loads(path.read_text(encoding='utf-8'))['cells'] for o in c.get('outputs', [])]
    texts = [''.join(t) for o in outputs
             for t in [o.get('text', ''), *(v for k, v in o.get('data', {}).items() if k.startswith('text/')),
                       '\n'.join(o.get('traceback', []))]]
    assert not [m[0] for t in texts for m in [MACHINE.search(t)] if m]

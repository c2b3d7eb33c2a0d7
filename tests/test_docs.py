"""docs/ opens from disk, whole: every notebook has a page, each link leads somewhere, search knows each public name."""
import importlib.util, json, re
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
docs = root / 'docs'
notebooks = [p.relative_to(root / 'nbs') for p in sorted(root.glob('nbs/**/*.ipynb'))
             if not any(s.startswith(('.', '_')) for s in p.relative_to(root).parts)]


spec = importlib.util.spec_from_file_location('links', root / 'tools/docs/links.py')
spec.loader.exec_module(links := importlib.util.module_from_spec(spec))


def test_every_link_leads_somewhere_and_nothing_needs_the_network():
    assert list(links.problems(docs)) == []


def test_a_dead_link_and_a_remote_script_are_noticed(tmp_path):
    (tmp_path / 'a.html').write_text('<a href="b.html">b</a><script src="https://example.org/x.js"></script><a '
                                     'href="#none">c</a>', encoding='utf-8')
    assert len(list(links.problems(tmp_path))) == 3


@pytest.mark.parametrize('notebook', notebooks, ids=str)
def test_every_notebook_has_a_page_that_the_front_page_lists(notebook):
    page = notebook.with_suffix('.html').as_posix()
    assert (docs / page).is_file()
    assert page == 'index.html' or f'href="{page}"' in (docs / 'index.html').read_text(encoding='utf-8')


@pytest.mark.parametrize('module', [p for p in sorted(root.glob('pymemri/**/*.py')) if not p.name.startswith('_')],
                         ids=lambda p: p.relative_to(root).as_posix())
def test_every_module_with_entries_has_a_source_page(module):
    defines = re.search(r'^(def|class) [a-zA-Z]', module.read_text(encoding='utf-8'), re.M)
    assert not defines or (docs / '_modules' / module.relative_to(root).with_suffix('.html')).is_file()


def test_search_knows_names_and_words():
    index = (docs / 'searchindex.js').read_text(encoding='utf-8')
    held = json.loads(index[index.index('{'):index.rindex('}') + 1])
    assert {n.with_suffix('').as_posix() for n in notebooks} <= set(held['docnames'])
    assert 'pymemri.core' in held['objects'] and 'pod' in held['terms']


def test_both_modes_and_a_switch_are_there():
    front = (docs / 'index.html').read_text(encoding='utf-8')
    assert 'theme-toggle' in front \
        and 'prefers-color-scheme' in (docs / '_static/styles/furo.css').read_text(encoding='utf-8')


def test_the_readme_is_the_front_page():
    readme = (root / 'README.md').read_text(encoding='utf-8')
    assert 'make demo' in readme and 'make test' in readme
    assert '<details' in readme and '<style' not in readme # code hosts escape it, and show its text
    for target in re.findall(r'\]\((?!\w+:|#)([^)#\s]+)', readme): assert (root / target).exists(), target

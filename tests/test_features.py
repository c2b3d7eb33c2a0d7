"""The tables of features in `nbs/guide/notebook.ipynb` and of rules in `nbs/guide/blobs.ipynb`: each row names tests, and they exist."""
import ast, json
from functools import cache
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
features, rules = (json.loads((root/'tests'/f'{n}.json').read_text(encoding='utf-8')) for n in ('features', 'blob_rules'))


@cache
def functions_of(file):
    "Names of the test functions in a file"
    tree = ast.parse((root/file).read_text(encoding='utf-8'))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith('test_')}


def test_every_feature_has_a_row():
    assert [f['number'] for f in features] == [*range(1, 27), *range(29, 33)]
    assert [r['number'] for r in rules] == [*range(1, 21), *(f'S{i}' for i in range(1, 18))]


@pytest.mark.parametrize('row', features + rules, ids=lambda f: f'{f["number"]}-{f["feature"]}')
def test_the_tests_of_a_row_exist(row):
    assert row['feature'] and row['how'] and row['tests']
    for name in row['tests']:
        file, _, function = name.partition('::')
        assert (root/file).is_file(), f'{file} is named for {row["number"]}, and is not there'
        if file.endswith('.py'): assert function in functions_of(file), f'{file} has no {function}'
        else: assert not function and file.endswith('.ipynb')  # a whole notebook, which `make check` runs


def test_a_name_that_is_none_is_noticed():
    with pytest.raises(AssertionError, match='has no test_nothing'):
        test_the_tests_of_a_row_exist(dict(number=0, feature='x', how='x', tests=['tests/test_features.py::test_nothing']))


# --- rows that no other test holds ---------------------------------------------------
def test_tab_completes_properties_edges_and_types():
    from IPython.core.completer import provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    shell.run_cell('from pymemri.data.schema import EmailMessage\nfrom pymemri.data.types import all_types\n'
                   'from pymemri.data.item import ItemList\n'
                   'mail, types = EmailMessage(subject="Tea"), all_types()\nmails, kind = ItemList([mail]), types.EmailMessage', store_history=False)
    def completed(text):
        with provisionalcompleter(): return {c.text.strip('."\'[') for c in shell.Completer.completions(text, len(text))}
    assert {'subject', 'sender'} <= completed('mail.s')
    assert 'EmailMessage' in completed('types.Em') and 'EmailMessage' in completed('types["Em')
    assert 'subject' in completed('kind["su')


def test_lists_slice_chain_and_become_frames():
    from pymemri.data.item import ItemList
    from pymemri.data.schema import Account, EmailMessage
    ada, bob = Account(handle='ada', id='ada-1843'), Account(handle='bob', id='bob-1843')
    mails = ItemList(EmailMessage(subject=f'Tea {i}', sender=[ada, bob][i % 2], id=f'mail-{i:04}') for i in range(10))
    some = mails.filter(lambda m: m.subject > 'Tea 3')[:4]
    assert type(some) is ItemList and [m.subject[-1] for m in some] == list('4567')
    assert list(some.edge('sender')) == [ada, bob]
    frame = some.to_df()
    assert list(frame['subject']) == [m.subject for m in some]
    assert [m.subject for m in ItemList.from_df(frame, EmailMessage)] == [m.subject for m in some]

"The harness itself: what the other browser tests rely on, shown to work and, for each guard, to be able to fail"
import asyncio, json
from pathlib import Path

import pytest

from lab import soon

COUNTER = """
    import ipywidgets as w
    n, b, l = 0, w.Button(description='Go'), w.Label('0')
    def more(_):
        global n; n += 1; l.value = str(n)
    b.on_click(more)
    w.HBox([b, l])"""


def test_a_click_reaches_python_and_comes_back(notebook, kernel):
    nb = notebook(COUNTER, "import ipykernel; ipykernel.__version__", kernel=kernel)
    nb.out(0).get_by_role('button', name='Go').click()
    nb.out(0).get_by_text('1', exact=True).wait_for()
    assert nb.value('n') == 1
    assert nb.outputs()[1][0]['data']['text/plain'].startswith("'6." if kernel == 'ipykernel6' else "'7.")


def test_a_cell_that_raises_fails_the_test(notebook):
    from lab import CellError
    with pytest.raises(CellError, match='ZeroDivisionError'): notebook('1/0')
    nb = notebook('1/0', errors=True)
    with pytest.raises(CellError, match='no such'): nb.eval_py('raise ValueError("no such")')
    assert nb.eval_py('1+1') == '2' and nb.eval_py('print("a"); 3') == 'a\n3'


def test_themes_axe_and_screenshots(notebook):
    nb = notebook("from IPython.display import HTML, display\ndisplay(HTML('<p>good</p>'))",
                  "display(HTML('<button></button><p style=\"color:#eee\">bad</p>'))")
    assert nb.axe(0) == []
    assert {line.split()[0] for line in nb.axe(1)} == {'button-name', 'color-contrast'}
    nb.theme('dark')
    assert {line.split()[0] for line in nb.axe(1)} == {'button-name'}
    assert nb.shot('harness-dark', 0).stat().st_size > 100


def test_saved_and_reopened(notebook):
    nb = notebook("from IPython.display import HTML\nHTML('<style>b {color:red}</style><b class=\"t\">seen</b>')", COUNTER)
    saved = json.loads(nb.save(widgets=True))
    assert saved['metadata']['widgets'] and '<b class' in str(saved['cells'][0]['outputs'])
    nb.reopen(trusted=False)
    nb.out(0).get_by_text('seen').wait_for()
    assert nb.out(0).locator('style').count() == 0 and nb.js('return !w.sessionContext.session')


def test_reopened_by_its_author(notebook):
    nb = notebook("from IPython.display import HTML\nHTML('<style>b {color:red}</style><b class=\"t\">seen</b>')").reopen()
    nb.out(0).get_by_text('seen').wait_for()
    soon(lambda: nb.out(0).locator('style').count() == 1)


def test_keys_that_reach_jupyterlab_cut_the_cell(notebook):
    "So `nb.cells` notices"
    nb = notebook(COUNTER, '1')
    nb.out(0).get_by_role('button', name='Go').focus()
    nb.page.keyboard.press('x')
    nb.page.wait_for_function('id => window.panels[id].content.model.cells.length === 1', arg=nb.id)
    assert nb.cells == 1


def test_the_guards_notice(lab, notebook):
    nb = notebook('''
        from IPython.display import HTML
        HTML('<img src="https://evil.example/a.png" alt=""><img src=x onerror="window.hacked=1" alt="">')''')
    nb.page.wait_for_function('() => window.hacked')
    nb.page.evaluate('() => { setTimeout(() => { throw new Error("lost") }); setTimeout(() => alert("hi")) }')
    while len(lab.errors) < 2: nb.page.wait_for_timeout(20)
    assert set(lab.foreign) == {'https://evil.example/a.png'} and 'lost' in lab.errors[0] and 'hi' in lab.errors[1]
    nb.page.evaluate('() => { delete window.hacked }')
    nb.close()
    for list in (lab.errors, lab.foreign): list.clear()


def test_each_notebook_has_a_home_of_its_own(notebook):
    homes = {notebook().eval_py('import os; print(os.environ["PYMEMRI_HOME"])') for _ in range(2)}
    assert len(homes) == 2 and not any(Path(h).is_relative_to(Path.home()) for h in homes)


def test_other_tests_may_run_loops(awake):
    "Playwright's loop is there for a browser test alone; here is what others do"
    awake.loop.sleep()
    assert asyncio.run(asyncio.sleep(0, 'ran')) == 'ran'
    awake.loop.wake()

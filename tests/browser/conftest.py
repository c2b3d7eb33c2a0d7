'''Tests in a real JupyterLab: one server, one Chromium and one page for each process of pytest; a notebook is a tab (1 to 2 s).

How to write one, in `tests/browser/test_NAME.py`:

    def test_a_click_counts(notebook):
        nb = notebook("""                        # each argument is a code cell; all run before this returns
            import ipywidgets as w
            n, b, l = 0, w.Button(description='Go'), w.Label('0')
            def more(_):
                global n; n += 1; l.value = str(n)
            b.on_click(more)
            w.HBox([b, l])""")
        nb.out(0).get_by_role('button', name='Go').click()
        nb.out(0).get_by_text('1', exact=True).wait_for()     # wait for what shall be seen, never sleep
        assert nb.value('n') == 1                             # then ask Python: test both sides
        assert nb.axe() == []

A cell is dedented, and one that raises fails the test (`errors=True` lets it). Each notebook has a PYMEMRI_HOME of its
own. `notebook(…, kernel='ipykernel6')` runs ipykernel 6, and a test that takes `kernel` as an argument runs on 6 and 7.
`wait=False` does not wait for the cells.

What the handle can do, and `lab.py` says how:

    nb.out(i)               Playwright locator of what cell `i` shows
    nb.run(code or i)       run a new last cell, or cell `i` again; its locator. `timeout=0`: do not wait (busy kernel)
    nb.eval_py(code)        run beside the cells: what is printed, and the repr of the last line
    nb.value(expr)          value of a Python expression, through JSON
    nb.outputs()            what the cells gave, as Jupyter messages
    nb.cells                how many cells there are: `nb.page.keyboard.press('x')` may have cut one
    nb.theme('dark')        or 'light', which a test begins with
    nb.axe(i)               findings of axe-core in all outputs, or that of cell `i`: a list, to be empty
    nb.save(widgets=True)   save, with the state of the widgets; the text of the file
    nb.reopen(trusted=True, kernel=False)  save, close, open again, run nothing. An untrusted notebook came by mail
    nb.shot('card-dark', i) picture in `tests/browser/shots/`, which git does not know
    nb.page                 the Playwright page; `nb.js('return w.id')` is JavaScript with the panel `w` and JupyterLab `app`

`lab.HOSTILE` are texts that must stay text; put them in names, properties, edges, file names, URLs (`from lab import HOSTILE`).

After each test this fails it: an error of JavaScript that nobody caught, a dialog, a request to anything but the server,
a text of HOSTILE that ran. A test that fails leaves `shots/FAILED-<test>.png`.

Where something is missing the tests skip and say what; with REQUIRE_BROWSER=1 in the environment they fail instead.
'''
import os
from pathlib import Path

import pytest

from lab import Lab, Loop, Notebook, Server, chromium, CHROMIUM, PATIENCE, SHOTS, install_kernel6, missing


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, f'report_{report.when}', report)
    return report


def pytest_generate_tests(metafunc):
    if 'kernel' in metafunc.fixturenames and not any(
            'kernel' in m.args[0] for m in metafunc.definition.iter_markers('parametrize')):
        metafunc.parametrize('kernel', ['python3', 'ipykernel6'])


@pytest.fixture(scope='session')
def browser(apart):
    "Chromium, and the loop that Playwright must find running"
    if lacks := missing(): (pytest.fail if os.environ.get('REQUIRE_BROWSER') else pytest.skip)(lacks)
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM)
        browser.loop = Loop()
        yield browser
        browser.loop.wake()
        browser.close()


@pytest.fixture
def awake(browser):
    "Playwright may be used"
    browser.loop.wake()
    yield browser
    browser.loop.sleep()


@pytest.fixture(scope='session')
def lab_of_session(browser, tmp_path_factory):
    "One server and one page"
    with Server(tmp_path_factory.mktemp('lab')) as server:
        browser.loop.wake()
        lab = Lab(server, browser)
        browser.loop.sleep()
        yield lab


@pytest.fixture
def lab(awake, lab_of_session, request):
    "JupyterLab in a page, with the guards at the end of each test"
    lab = lab_of_session
    for list in (lab.errors, lab.foreign): list.clear()
    yield lab
    failed = not getattr(request.node, 'report_call', None) or request.node.report_call.failed
    if failed:
        SHOTS.mkdir(exist_ok=True)
        lab.page.screenshot(path=SHOTS/f'FAILED-{"".join(c if c.isalnum() else "-" for c in request.node.name)}.png')
    lab.tidy()
    hacked = lab.page.evaluate('() => { const h = window.hacked; delete window.hacked; return h ?? null }')
    assert (lab.errors, lab.foreign, hacked) == ([], [], None)


@pytest.fixture
def notebook(lab, tmp_path_factory):
    "Make a notebook of code cells, open it as a tab, run it: a `Notebook`. All are closed at the end of the test"
    def make(*cells, kernel='python3', run=True, wait=True, errors=False, name=None):
        if kernel == 'ipykernel6': install_kernel6()
        nb = Notebook(lab, lab.write(cells, kernel, name))
        home = Path(tmp_path_factory.mktemp('home'))/'.pymemri'
        nb.eval_py(f'import os as _os; _os.environ["PYMEMRI_HOME"] = {str(home)!r}')
        if run: nb.run_all(timeout=PATIENCE if wait else 0, errors=errors)
        return nb
    return make

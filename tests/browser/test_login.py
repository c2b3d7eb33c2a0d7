"The form that asks for a password: filled in by hand in JupyterLab, on both kernels, and searched for what was typed"
import json

import pytest

from lab import HOSTILE, soon

LOGIN = '''
    import threading
    from pymemri.data.schema import PluginRun
    from pymemri.plugin.authenticators.ask import LoginForm, in_background
    from pymemri.plugin.authenticators.password import PasswordAuthenticator
    from pymemri.plugin.authenticators.request import Request, run_json
    from pymemri.pod.client import PodClient
    client = PodClient(quiet=True)
    run = PluginRun(containerImage='none', status='started')
    client.create(run)
    def login(username, password):
        if password[::-1] != 'terces-2retnuh': raise ValueError('no')
        return f'{username} is in'
    auth = PasswordAuthenticator(client, run)
    auth.SLEEP_INTERVAL = 0.05'''
START = 'form = in_background(auth.authenticate, login)\nform'
ASK = '''
    form = LoginForm()
    def ask(kind, url='', error=''): form(Request(client, run.id, kind, url, error).open())
    form'''
TYPED = ('typo-of-mine', 'hunter2-secret')


def fill(nb, i, username, password):
    nb.out(i).get_by_label('username').fill(username)
    nb.out(i).get_by_label('password').fill(password)
    nb.page.keyboard.press('Enter')


def test_a_login_from_first_try_to_the_saved_notebook(notebook, kernel):
    nb = notebook(LOGIN, START, kernel=kernel)
    form = nb.out(1)
    fill(nb, 1, 'ada', TYPED[0])
    form.get_by_text('Login failed, 2 attempts left').wait_for()
    soon(lambda: form.get_by_label('password').input_value() == '')
    fill(nb, 1, 'ada', TYPED[1])
    form.get_by_text('Done.').wait_for()
    soon(lambda: form.get_by_role('status').first.inner_text() == 'Done.' and form.locator('input').count() == 0)
    nb.run('await form').get_by_text('Secret(…)').wait_for() # what the plugin's `login` gave is a token
    assert nb.value('form.result()') == 'ada is in'
    saved = nb.save(widgets=True)
    state = json.loads(saved)['metadata']['widgets']['application/vnd.jupyter.widget-state+json']['state']
    assert 'AnyModel' in str(state)
    for secret in TYPED: assert secret not in saved
    kept = nb.eval_py('print(form.widget.get_state(), vars(form), form.last_error, repr(form))')
    for secret in TYPED: assert secret not in kept


def test_what_is_typed_and_not_sent_is_saved_nowhere(notebook):
    nb = notebook(LOGIN, START)
    nb.out(1).get_by_label('password').fill(TYPED[1])
    nb.out(1).get_by_label('username').press('Tab')
    assert TYPED[1] not in nb.save(widgets=True)


def test_a_cell_may_await_the_form(notebook):
    "While it waits, the form is filled in"
    nb = notebook(LOGIN, START)
    waiting = nb.run('await form', timeout=0)
    fill(nb, 1, 'grace', TYPED[1])
    waiting.get_by_text('Secret(…)').wait_for()
    assert nb.value('form.result()') == 'grace is in'


def test_a_kernel_that_hears_no_form_while_a_cell_waits_says_so(notebook):
    "ipykernel 6 reads no message of a widget before the cell is done: there the cell must not wait"
    nb = notebook(LOGIN, START, kernel='ipykernel6')
    nb.out(1).get_by_label('username').wait_for()
    assert 'run this cell again' in nb.run('await form', errors=True).inner_text()
    fill(nb, 1, 'grace', TYPED[1])
    nb.out(1).get_by_text('Done.').wait_for()
    nb.run('await form', errors=True).get_by_text('Secret(…)').wait_for()


def test_a_busy_kernel_gets_the_answer_later(notebook, kernel):
    nb = notebook(LOGIN, START, kernel=kernel)
    nb.out(1).get_by_label('username').wait_for()
    nb.run('import time; time.sleep(5); "rested"', timeout=0)
    fill(nb, 1, 'ada', TYPED[1])
    nb.out(2).get_by_text("'rested'").wait_for()
    nb.out(1).get_by_text('Done.').wait_for()
    assert nb.value('form.result(10)') == 'ada is in'


def test_links_codes_and_pictures(notebook):
    nb = notebook(LOGIN, ASK)
    form = nb.out(1)
    nb.eval_py("ask('code', 'https://login.example.com/oauth?state=1&x=%22')")
    link = form.get_by_role('link', name='Open the page to log in')
    link.wait_for()
    assert [link.get_attribute(a) for a in ('href', 'rel', 'target')] == [
        'https://login.example.com/oauth?state=1&x=%22', 'noopener noreferrer', '_blank']
    soon(lambda: '(login.example.com)' in form.inner_text() and form.get_by_label('code').get_attribute('type') == 'password')
    nb.eval_py("ask('code', 'http://127.0.0.1:5/x')")
    form.get_by_text('(127.0.0.1)').wait_for()
    nb.eval_py("ask('code', 'http://login.example.com/plain')")
    form.get_by_text('http://login.example.com/plain').wait_for()
    soon(lambda: form.get_by_role('link').count() == 0)
    nb.eval_py("from pymemri.plugin.authenticators.qr import QRCode; ask('qr', QRCode('link-device-1').url())")
    picture = form.get_by_role('img', name='QR code')
    picture.wait_for()
    nb.page.wait_for_function('i => i.complete && i.naturalWidth > 50', arg=picture.element_handle())
    soon(lambda: form.get_by_role('button', name='Send').count() == 0)
    saved = nb.save(widgets=True)
    for told in ('login.example.com', 'link-device-1', 'PHN2Z'): assert told not in saved


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_everybody_can_use_it(notebook, theme):
    nb = notebook(LOGIN, ASK)
    nb.theme(theme)
    nb.eval_py("ask('password', error='wrong password, 2 attempts left')")
    nb.out(1).get_by_label('username').wait_for()
    assert nb.axe(1) == []
    nb.shot(f'login-password-{theme}', 1)
    nb.out(1).get_by_role('button', name='Send').click()
    nb.out(1).get_by_text('Please fill in every field.').wait_for()
    soon(lambda: nb.page.evaluate('() => document.activeElement.name') == 'identifier')
    nb.out(1).get_by_role('button', name='Send').focus()
    for key in 'xdd': nb.page.keyboard.press(key)
    nb.eval_py("from pymemri.plugin.authenticators.qr import QRCode; ask('qr', QRCode('link-device-1').url())")
    nb.out(1).get_by_role('img').wait_for()
    assert nb.axe(1) == [] and nb.cells == 2
    nb.shot(f'login-qr-{theme}', 1)


def test_hostile_services(notebook):
    "What a service or a plugin says is text, and a false address is no link"
    nb = notebook(LOGIN, ASK)
    for text in HOSTILE:
        nb.eval_py(f'form.ask({text!r}, [({text!r}, {text!r}, False)], {text!r})')
        nb.page.wait_for_function('([e, t]) => e.querySelector("input")?.name === t', arg=[nb.out(1).element_handle(), text])
        assert nb.out(1).locator('.pm-login script, .pm-login a, .pm-login iframe, .pm-login img:visible').count() == 0


def test_a_run_that_the_pod_started(notebook):
    "`watch` shows what a run needs wherever it is, and how it ends"
    nb = notebook(LOGIN, '''
        form = LoginForm().watch(client, run.id, interval=.05)
        form''')
    nb.out(1).get_by_text('Nothing to do yet.').wait_for()
    nb.eval_py('_ = Request(client, run.id).open()')
    fill(nb, 1, 'ada', TYPED[1])
    nb.out(1).get_by_text('Sent; the run goes on.').wait_for()
    assert nb.value('run_json(client, run.id)["status"]') == 'ready'
    nb.eval_py('_ = client.api.update_item({"id": run.id, "status": "error", "error": "the <b>service</b> is gone"})')
    nb.out(1).get_by_text('The run has ended: error. the <b>service</b> is gone').wait_for()


def test_reopened_without_a_kernel_it_says_what_to_do(notebook):
    nb = notebook(LOGIN, ASK)
    nb.out(1).locator('.pm-login').wait_for()
    bundle, = [o['data'] for o in nb.outputs()[1]]
    assert 'Run this cell to use it' in bundle['text/html']
    nb.reopen(trusted=False)
    nb.page.wait_for_function('e => e.innerText.trim()', arg=nb.out(1).element_handle())

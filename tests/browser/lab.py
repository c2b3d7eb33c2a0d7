"""One JupyterLab, one Chromium and one page; a notebook is a tab of it. `conftest.py` says how tests use this."""
import asyncio, json, os, re, secrets, shutil, signal, socket, subprocess, sys, time, urllib.request
from pathlib import Path
from textwrap import dedent

here = Path(__file__).resolve().parent
root = here.parents[1]
SHOTS = here/'shots'
PATIENCE = 180  # seconds until a wait fails: that ends a hang, and is no test of speed
KERNEL6 = ('ipykernel==6.31.0', 'nest-asyncio==1.6.0')  # what the environment, which has ipykernel 7, lacks for 6
FOLDER6 = root/'_build'/KERNEL6[0].replace('==', '-')
THEMES = {'light': 'JupyterLab Light', 'dark': 'JupyterLab Dark'}
# Text that must stay text wherever a person's data may hold it. Each one that runs sets `hacked`, or asks a foreign host
HOSTILE = ['<script>window.hacked=1</script>', '<img src=x onerror="window.hacked=2">', '"><svg onload=window.hacked=3>',
           "' autofocus onfocus='window.hacked=4", 'javascript:window.hacked=5', '</style><script>window.hacked=6</script>',
           '</textarea></title><iframe srcdoc="<script>parent.hacked=7</script>">', '{{constructor.constructor("hacked=8")()}}',
           '<img src=https://evil.example/pixel.png>', '&lt;script&gt;window.hacked=9&lt;/script&gt;', '\u202eolleh <b>x</b>',
           '<a href="javascript:window.hacked=10" autofocus>x</a>', 'url(https://evil.example/x.css)', '`${window.hacked=11}`']
# A server whose pytest was killed ends itself, and its kernels with it
ORPHAN = '''
import os, signal, threading, time
def ends_with(parent):
    while os.getppid() == parent: time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ends_with, args=(os.getppid(),), daemon=True).start()
'''
CHROMIUM = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--force-color-profile=srgb',
            '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']
SETTINGS = {
    '@jupyterlab/apputils-extension:notification': {'fetchNews': 'false', 'checkForUpdates': False,
                                                    'doNotDisturbMode': True},
    '@jupyterlab/notebook-extension:tracker': {'windowingMode': 'none'},  # or cells out of sight are not in the DOM
    '@jupyterlab/docmanager-extension:plugin': {'autosave': False}}


def soon(holds):
    "`holds()` becomes true: what a page shows comes when kernel, browser and machine are ready. The limit ends a hang"
    until = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < until: time.sleep(.05)
    assert holds()

def chromium():
    "Path of an installed Chromium or Chrome, or None"
    return next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

def missing():
    "What a browser test needs and this computer lacks: a sentence with the way out, or an empty one"
    for module in ('playwright', 'axe_playwright_python', 'jupyterlab', 'anywidget'):
        try: __import__(module)
        except ImportError: return f'no {module}: pip install -c tools/constraints.txt -e .[dev]'
    return '' if chromium() else 'no Chromium: on Debian or Ubuntu, apt install chromium fonts-noto-color-emoji'

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def install_kernel6():
    "Fill `FOLDER6` with ipykernel 6, once"
    folder = FOLDER6
    if folder.exists(): return
    made = folder.with_name(f'{folder.name}.{os.getpid()}')
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check', '--no-deps',
                           '--target', made, *KERNEL6], capture_output=True, text=True)
    if done.returncode: raise RuntimeError(f'ipykernel 6 cannot be installed: {done.stderr[-500:]}')
    try: made.rename(folder)
    except OSError: shutil.rmtree(made)  # the other worker was first


class Server:
    "A Jupyter server on a free loopback port, with settings, kernels and notebooks of its own below `home`"
    def __init__(self, home, app='jupyterlab'):
        self.notebooks,self.app = home/'notebooks',app
        self.notebooks.mkdir()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(('JUPYTER', 'PYTEST_', 'PYTHON'))}
        for name in ('CONFIG_DIR', 'DATA_DIR', 'RUNTIME_DIR'): self.env[f'JUPYTER_{name}'] = str(home/name.lower())
        for name in ('SETTINGS', 'WORKSPACES'): self.env[f'JUPYTERLAB_{name}_DIR'] = str(home/name.lower())
        self.env |= {'IPYTHONDIR': str(home/'ipython'), 'PYTHONPATH': str(root)}
        config = home/'config_dir'/'labconfig'
        config.mkdir(parents=True)
        (config/'default_setting_overrides.json').write_text(json.dumps(SETTINGS))
        (home/'config_dir'/'jupyter_server_config.py').write_text(ORPHAN)
        self.log,self.port,self.token = home/'server.log',free_port(),secrets.token_hex(8)
        self.base = f'http://127.0.0.1:{self.port}'

        self.add_kernel6()

    def add_kernel6(self):
        "Offer the kernel `ipykernel6` beside `python3`: JupyterLab asks for the list just once"
        spec = Path(self.env['JUPYTER_DATA_DIR'])/'kernels/ipykernel6'
        path = os.pathsep.join([str(FOLDER6), str(root)])
        spec.mkdir(parents=True)
        (spec/'kernel.json').write_text(json.dumps(dict(
            argv=[sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}'], display_name='ipykernel 6',
            language='python', env={'PYTHONPATH': path})))

    def __enter__(self):
        extra = ['--LabApp.expose_app_in_browser=True', '--LabApp.extension_manager=readonly', '--LabApp.news_url=None',
                 '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate',
                 '--LanguageServerManager.autodetect=False']
        if self.app == 'notebook': extra = ['--JupyterNotebookApp.expose_app_in_browser=True']
        self.process = subprocess.Popen(
            [sys.executable, '-m', self.app, '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1',
             f'--ServerApp.port={self.port}', '--ServerApp.port_retries=0', f'--IdentityProvider.token={self.token}',
             f'--ServerApp.root_dir={self.notebooks}', '--ServerApp.terminals_enabled=False', *extra],
            env=self.env, stdout=self.log.open('wb'), stderr=subprocess.STDOUT, start_new_session=True)
        for _ in range(10 * PATIENCE):
            if self.process.poll() is not None: break
            try:
                urllib.request.urlopen(f'{self.base}/api/status?token={self.token}', timeout=5).close()
                return self
            except OSError: time.sleep(.1)
        self.__exit__()
        raise RuntimeError(f'the Jupyter server did not start: {self.log.read_text()[-2000:]}')

    def __exit__(self, *_):
        if self.process.poll() is None: self.process.terminate()
        try: self.process.wait(15)
        except subprocess.TimeoutExpired: os.killpg(self.process.pid, signal.SIGKILL)


class Loop:
    """Playwright's loop counts as running from its start to its end, so `asyncio.run` in any other test of this process
    would refuse. We let it count as running only while a browser test does"""
    def __init__(self): self.sleep()

    def sleep(self):
        self.loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)

    def wake(self): asyncio._set_running_loop(self.loop)


class Lab:
    "The page with JupyterLab in it; `notebook` opens a tab"
    def __init__(self, server, browser):
        self.server,self.browser,self.count = server,browser,0
        self.page = browser.new_page(viewport=dict(width=1200, height=1000))
        self.page.set_default_timeout(PATIENCE*1000)
        self.errors,self.foreign = [],[]
        watch(self.page, server.base, self.errors, self.foreign)
        self.page.goto(f'{server.base}/lab?token={server.token}&reset')
        self.page.wait_for_function('() => window.jupyterapp')
        self.page.evaluate('() => window.jupyterapp.restored')
        self.page.evaluate('() => { window.panels = {} }')
        axe = __import__('axe_playwright_python').__path__[0]
        self.page.evaluate((Path(axe)/'axe.min.js').read_text(encoding='utf-8') + ';0')

    def tidy(self):
        "Close all tabs, end all kernels, and be light again"
        self.page.evaluate("""async theme => { const app = window.jupyterapp;
            for (const [id, w] of Object.entries(window.panels)) {
                delete window.panels[id]; if (w.isDisposed) continue;
                if (w.sessionContext.session) await w.sessionContext.shutdown().catch(() => 0);
                w.context.model.dirty = false; w.dispose() }
            const states = '@jupyter-widgets/jupyterlab-manager:saveWidgetState';
            if (app.commands.isToggled(states)) await app.commands.execute(states);
            if (document.body.dataset.jpThemeName !== theme)
                await app.commands.execute('apputils:change-theme', {theme}) }""", THEMES['light'])

    def write(self, cells, kernel, name=None):
        "Write a notebook of these code cells; its path below the server's folder"
        self.count += 1
        name = name or f'n{self.count}.ipynb'
        write(self.server.notebooks/name, cells, kernel)
        return name


def write(path, cells, kernel='python3'):
    "A notebook of code cells, as a file"
    import nbformat.v4 as v4
    nb = v4.new_notebook(cells=[v4.new_code_cell(dedent(c).strip()) for c in cells], metadata=dict(
        kernelspec=dict(name=kernel, display_name=kernel, language='python'), language_info=dict(name='python')))
    path.write_text(json.dumps(nb), encoding='utf-8')


def watch(page, base, errors, foreign):
    "Note uncaught JavaScript errors, dialogs, and requests to anything but `base`"
    def asked(url):
        if not url.startswith((base, base.replace('http', 'ws', 1), 'data:', 'blob:', 'about:')): foreign.append(url)
    def failed(error):
        text = f'{error}\n{getattr(error, "stack", "")}'
        # ipywidgets' own extension looks for the kernel of a notebook that is opened without one
        if 'Canceled future for' in text: return # JupyterLab's own, when a kernel goes while a question is on its way
        if not ("reading 'kernel'" in text and '/@jupyter-widgets/jupyterlab-manager/' in text): errors.append(text)
    page.on('pageerror', failed)
    page.on('dialog', lambda d: (errors.append(f'dialog: {d.message}'), d.dismiss()))
    page.on('request', lambda r: asked(r.url))
    page.on('websocket', lambda s: asked(s.url))


class CellError(AssertionError): "A cell raised; the text is its traceback"


class Notebook:
    "A notebook in a tab, and its kernel"
    def __init__(self, lab, path, kernel=True):
        self.lab,self.page,self.path = lab,lab.page,path
        self.open(kernel)

    def js(self, body, **args):
        "Run `body`, where `w` is this notebook's panel, `app` is JupyterLab and `a` holds `args`; what it returns"
        return self.page.evaluate('''async ([id, a]) => { const app = window.jupyterapp, w = window.panels[id];
            %s }''' % body, [getattr(self, 'id', None), args])

    def open(self, kernel=True):
        "Open the tab and wait for its kernel, or open it without one"
        self.id = self.js('''
            const args = {path: a.path, factory: 'Notebook'};
            if (!a.kernel) args.kernelPreference = {shouldStart: false, canStart: false, autoStartDefault: false};
            const p = await app.commands.execute('docmanager:open', args);
            await p.context.ready; await p.revealed; window.panels[p.id] = p;
            if (a.kernel) { await p.sessionContext.ready; await p.sessionContext.session.kernel.info }
            return p.id''', path=self.path, kernel=kernel)

    def wait(self, command, timeout, errors):
        "Run a command of JupyterLab on this notebook until its cells are done"
        self.js('''app.shell.activateById(w.id); w.done = false;
            app.commands.execute(a.command).finally(() => { w.done = true })''', command=command)
        if timeout:
            self.page.wait_for_function('id => window.panels[id].done', arg=self.id, timeout=timeout*1000)
            self.js('await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))')  # outputs are drawn
            if not errors: self.check()

    def check(self):
        "Raise `CellError` if a cell did"
        for out in sum(self.outputs(), []):
            if out['output_type'] == 'error':
                raise CellError(re.sub('\x1b\\[[0-9;]*m', '', '\n'.join(out['traceback'])))

    def run_all(self, timeout=PATIENCE, errors=False): self.wait('notebook:run-all-cells', timeout, errors)

    def run(self, cell, timeout=PATIENCE, errors=False):
        "Run a new last cell of this code, or cell number `cell` again; its output. `timeout=0` does not wait for its end"
        i = self.js('''if (typeof a.cell === 'string') {
                const m = w.content.model.sharedModel; m.addCell({cell_type: 'code', source: a.cell});
                a.cell = m.cells.length - 1 }
            w.content.activeCellIndex = a.cell; w.content.deselectAll(); return a.cell''', cell=cell)
        self.wait('notebook:run-cell', timeout, errors)
        return self.out(i)

    def outputs(self):
        "What the cells gave, as Jupyter messages: a list for each cell"
        return self.js('return [...w.content.model.cells].map(c => c.type === "code" ? c.outputs.toJSON() : [])')

    @property
    def cells(self):
        "How many cells there are now: a key that reached JupyterLab may have cut one"
        return self.js('return w.content.model.cells.length')

    def out(self, i=0):
        "Locator of what cell `i` shows"
        return self.page.locator(f'[id="{self.id}"] .jp-Notebook-cell').nth(i).locator('.jp-OutputArea').first

    def eval_py(self, code, timeout=PATIENCE):
        "Run `code` in the kernel beside the cells: what it prints, and the repr of its last line. Raises if it does"
        self.js('''w.reply = null;
            const f = w.sessionContext.session.kernel.requestExecute({code: a.code, store_history: false,
                allow_stdin: false, stop_on_error: false});
            const r = {text: '', error: ''};
            f.onIOPub = m => { const t = m.header.msg_type, c = m.content;
                if (t === 'stream') r.text += c.text;
                if (t === 'execute_result') r.text += c.data['text/plain'];
                if (t === 'error') r.error = c.traceback.join('\\n') };
            f.done.then(() => { w.reply = r }, e => { w.reply = {text: '', error: String(e)} })''', code=code)
        self.page.wait_for_function('id => window.panels[id].reply', arg=self.id, timeout=timeout*1000)
        reply = self.js('return w.reply')
        if reply['error']: raise CellError(re.sub('\x1b\\[[0-9;]*m', '', reply['error']))
        return reply['text'].strip()

    def value(self, expr):
        "The value of a Python expression in the kernel, through JSON"
        return json.loads(self.eval_py(f'import json as _json; print(_json.dumps({expr}, default=str))'))

    def theme(self, name):
        "Switch JupyterLab to 'light' or 'dark'"
        self.js('await app.commands.execute("apputils:change-theme", {theme: a.theme})', theme=THEMES[name])
        self.page.wait_for_function('t => document.body.dataset.jpThemeName === t', arg=THEMES[name])

    def axe(self, i=None):
        """What axe-core finds wrong with the outputs (of cell `i`): a list of lines, empty when nothing is. JupyterLab's
        body is 0 px high and cuts what flows over, so axe would take all in it for hidden, and judge no colour"""
        where = f'[id="{self.id}"] .jp-OutputArea-output' if i is None else None
        nodes = self.page.locator(where).element_handles() if where else [self.out(i).element_handle()]
        return self.page.evaluate('''async nodes => {
            document.body.style.overflow = 'visible';
            const found = await axe.run({include: nodes}, {resultTypes: ['violations']});
            return found.violations.flatMap(v => v.nodes.map(n => `${v.id} (${v.impact}): ${n.html.slice(0, 200)} ` +
                n.failureSummary.split('\\n').slice(1).join('; '))) }''', nodes)

    def save(self, widgets=False):
        "Save, with the state of the widgets if asked for; the notebook file as text"
        if widgets: self.js('''const command = '@jupyter-widgets/jupyterlab-manager:saveWidgetState';
            if (!app.commands.isToggled(command)) await app.commands.execute(command)''')
        self.js('await w.context.save()')
        return self.file.read_text(encoding='utf-8')

    @property
    def file(self): return self.lab.server.notebooks/self.path

    def close(self):
        "End the kernel and close the tab; what is not saved is lost"
        self.js('''if (w.sessionContext.session) await w.sessionContext.shutdown();
            w.context.model.dirty = false; w.dispose(); delete window.panels[w.id]''')

    def reopen(self, trusted=True, kernel=False):
        "Save, close, and open again, running nothing: as the author (`trusted`), or as who gets the file by mail"
        text = self.save()
        self.close()
        if not trusted:  # the signature that makes a notebook trusted is one of its content
            nb = json.loads(text)
            nb['metadata']['sent_by'] = secrets.token_hex(4)
            self.file.write_text(json.dumps(nb), encoding='utf-8')
        self.open(kernel)
        return self

    def shot(self, name, i=None):
        "Screenshot of what cell `i` shows, or of the page, as `shots/<name>.png`; its path"
        SHOTS.mkdir(exist_ok=True)
        path = SHOTS/f'{name}.png'
        if i is None: self.page.screenshot(path=path)
        else:
            size = self.page.viewport_size
            box = self.out(i).bounding_box()
            self.page.set_viewport_size(dict(size, height=max(size['height'], min(6000, round(box['height'])+300))))
            self.out(i).screenshot(path=path)
            self.page.set_viewport_size(size)
        return path

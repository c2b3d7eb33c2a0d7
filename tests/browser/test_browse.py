"The item browser in a real JupyterLab: what one sees, types, clicks, and what Python knows of it"
import json, re

import pytest

from lab import HOSTILE, soon

PEOPLE = '''
    from pymemri.pod.client import PodClient
    from pymemri.data.schema import Account, Note, Person
    client = PodClient(quiet=True)
    client.add_to_schema(Person, Note, Account)
    people = [Person(id=f'person-{k:03}', firstName=('Ada', 'Bea', 'Cem')[k % 3], lastName=f'Nr{k:03}', starred=k % 2 == 0,
                     role=('friend', 'colleague')[k % 2]) for k in range(120)]
    note = Note(id='note-tea', title='Tea at the harbour', content='with Ada')
    account = Account(id='account-1', service='mail', handle='ada', secret='sword' + 'fish')
    client.bulk_action(create_items=[*people, note, account])
    client.create_edge(note.add_edge('writtenBy', people[0]))
    browser = client.browse(QUERY)
    browser'''
MANY = 20_000


def people(query=None): return PEOPLE.replace('QUERY', repr(query))


class View:
    "The browser in the output of the first cell"
    def __init__(self, nb):
        self.nb,self.page,self.out = nb,nb.page,nb.out(0)
        self.box,self.grid,self.panel = (self.out.locator(c) for c in ('.pm-box', '.pm-scroll', '.pm-panel'))
        self.rows,self.foot = self.out.locator('.pm-row'),self.out.locator('.pm-foot')
        self.rows.first.wait_for()

    def search(self, line):
        self.box.fill(line)
        self.answered(line)

    def answered(self, line): self.page.wait_for_function(
        '([e, line]) => e.dataset.line === line && !e.closest(".pm-browser").querySelector(".pm-busy")', arg=[self.grid.element_handle(), line])

    def row(self, title): return self.rows.filter(has=self.page.locator('.pm-title').get_by_text(title, exact=True))

    def python_has(self, expr, value):
        "What is chosen travels to Python by itself, and arrives when it does"
        soon(lambda: self.nb.value(expr) == value)
        return True

    def titles(self): return self.rows.locator('.pm-title').all_text_contents()

    def open(self, title):
        self.row(title).locator('.pm-title').click()
        self.panel.get_by_role('heading', name=title).wait_for()


@pytest.fixture
def view(notebook): return View(notebook(people('type:Person')))


def test_typing_finds_and_says_how_many(view):
    view.answered('type:Person')
    soon(lambda: view.foot.text_content() == '120 items' and view.box.input_value() == 'type:Person')
    view.box.click()
    view.box.press('End')
    view.box.press_sequentially(' bea', delay=30)
    view.answered('type:Person bea')
    soon(lambda: view.foot.text_content() == '40 items' and all(t.startswith('Bea ') for t in view.titles()))
    view.out.get_by_role('status').filter(has_text='40 items').wait_for(state='attached')
    assert view.nb.value('browser.query') == {'deleted': False, 'type': 'Person', '_text': 'bea*'}
    view.search('type:Person zebra')
    view.out.get_by_text('Nothing found').wait_for()
    soon(lambda: view.foot.text_content() == 'no items' and view.rows.count() == 0)
    assert view.nb.axe() == []


def test_a_wrong_word_is_pointed_at(view):
    view.box.fill('type:Person agee>=3')
    alert = view.out.locator('.pm-problem')
    alert.wait_for()
    soon(lambda: alert.locator('mark').text_content() == 'agee>=3' and 'no property is called agee' in alert.text_content())
    soon(lambda: view.box.get_attribute('aria-invalid') == 'true' and view.rows.count() > 10)  # what was found before stays
    assert view.nb.axe() == []
    view.search('type:Person')
    alert.wait_for(state='hidden')


def test_words_are_completed(view):
    view.box.fill('')
    view.box.press_sequentially('star', delay=20)
    view.out.get_by_role('option', name='starred: Bool').wait_for()
    assert view.nb.axe() == []
    view.box.press('ArrowDown')
    soon(lambda: view.box.get_attribute('aria-activedescendant') == view.out.get_by_role('option', selected=True).get_attribute('id'))
    view.box.press('Enter')
    soon(lambda: view.box.input_value() == 'starred:')
    view.box.press_sequentially('y')
    view.out.get_by_role('option', name='starred:yes').click()
    view.answered('starred:yes')
    soon(lambda: view.foot.text_content() == '60 items')


def test_counts_narrow_and_widen(view):
    friend = view.out.get_by_role('button', name='friend 60')
    friend.click()
    view.answered('type:Person role:friend')
    soon(lambda: view.box.input_value() == 'type:Person role:friend' and view.foot.text_content() == '60 items')
    pressed = view.out.get_by_role('button', name='friend 60', pressed=True)
    pressed.wait_for()
    soon(lambda: view.out.get_by_role('button', name='colleague 60').count() == 1)  # what else could be chosen
    pressed.click()
    view.answered('type:Person')
    view.out.get_by_role('button', name='Note 1', exact=True).click()
    view.answered('type:Note')
    assert view.titles() == ['Tea at the harbour']


def test_columns_sort(view):
    view.answered('type:Person')
    button = view.out.get_by_role('columnheader', name='lastName').get_by_role('button')
    view.page.set_viewport_size(dict(width=1500, height=1000))
    button.click()
    view.out.get_by_role('columnheader', name='lastName').and_(view.page.locator('[aria-sort=ascending]')).wait_for()
    assert view.titles()[:2] == ['Ada Nr000', 'Bea Nr001']
    button.click()
    view.page.locator('[aria-sort=descending]').wait_for()
    assert view.titles()[:2] == ['Cem Nr119', 'Bea Nr118'] and view.nb.value('browser.query["_sort"]') == '-lastName'
    view.page.set_viewport_size(dict(width=1200, height=1000))


def test_the_keyboard_goes_everywhere(view):
    view.answered('type:Person')
    view.nb.run('1')
    cells = view.nb.cells
    view.box.press('ArrowDown')  # into the list
    def at(): return view.out.locator(f'[id="{view.grid.get_attribute("aria-activedescendant")}"]').get_attribute('aria-rowindex')
    moves = [('ArrowDown', 3), ('ArrowUp', 2), ('End', 121), ('Home', 2)]
    for key, row in moves:
        view.grid.press(key)
        assert at() == str(row), key
    view.grid.press('PageDown')
    page = int(at())
    assert page > 8
    view.grid.press('PageUp')
    assert at() == '2'
    for key in 'xddzbammcv': view.grid.press(key)  # what JupyterLab would do with these!
    view.grid.press('Shift+ArrowDown')
    assert view.python_has('[i.lastName for i in browser.selected]', ['Nr119', 'Nr118'])
    view.grid.press('Escape')
    assert view.python_has('browser.widget.chosen', [])
    view.grid.press(' ')
    view.out.get_by_role('row', selected=True).wait_for()
    view.grid.press('Enter')
    view.panel.get_by_role('heading').wait_for()
    view.page.keyboard.press('x')
    view.page.keyboard.press('Escape')
    view.panel.wait_for(state='hidden')
    view.page.keyboard.press('/')
    soon(lambda: view.box.evaluate('e => e === document.activeElement') and view.box.input_value() == 'type:Person')
    view.box.press('Escape')
    view.answered('')
    assert view.nb.cells == cells


def test_selected_is_what_is_marked(view):
    view.answered('type:Person')
    view.row('Cem Nr119').locator('.pm-title').click()
    view.row('Bea Nr118').locator('.pm-tick').click()
    view.row('Ada Nr117').locator('.pm-title').click(modifiers=['Control'])
    marked = view.out.get_by_role('row', selected=True)
    soon(lambda: marked.locator('.pm-title').all_text_contents() == ['Cem Nr119', 'Bea Nr118', 'Ada Nr117'])
    assert view.python_has('[i.id for i in browser.selected]', ['person-119', 'person-118', 'person-117'])
    soon(lambda: view.python_has('browser.item.lastName', 'Nr119') and view.foot.text_content() == '120 items · 3 selected')
    view.nb.eval_py('browser.select(people[115:117])')
    view.out.get_by_text('2 selected').first.wait_for()
    soon(lambda: marked.locator('.pm-title').all_text_contents() == ['Cem Nr116', 'Bea Nr115'])
    view.search('type:Note')  # what is out of sight is not selected
    assert view.python_has('browser.widget.chosen', [])


def test_edges_lead_on_and_back(view):
    view.search('harbour')
    view.open('Tea at the harbour')
    soon(lambda: view.panel.locator('.pm-edge .pm-by').text_content() == 'writtenBy →')
    view.panel.get_by_role('button', name='Ada Nr000').click()
    view.panel.get_by_role('heading', name='Ada Nr000').wait_for()
    soon(lambda: view.panel.locator('.pm-edge .pm-by').text_content() == '← writtenBy')
    assert view.python_has('browser.item.id', 'person-000')
    assert view.nb.axe() == []
    view.panel.get_by_role('button', name='Back').click()
    view.panel.get_by_role('heading', name='Tea at the harbour').wait_for()
    assert view.panel.get_by_role('button', name='Back').is_disabled()


def test_editing_is_checked_and_taken_back(view):
    view.open('Cem Nr119')
    view.panel.get_by_role('button', name='Edit role').click()
    field = view.panel.get_by_role('textbox', name='role')
    soon(lambda: field.input_value() == 'colleague' and view.nb.axe() == [])
    field.fill('captain')
    field.press('Enter')
    view.panel.get_by_text('captain', exact=True).wait_for()
    assert view.nb.value('[people[119].role, client.api.get_item("person-119")[0]["role"]]') == ['captain'] * 2
    view.panel.get_by_label('Add a property').select_option('birthDate')
    date = view.panel.get_by_role('textbox', name='birthDate')
    date.fill('tomorrow')
    date.press('Enter')
    view.panel.get_by_role('alert').filter(has_text='birthDate is DateTime').wait_for()
    soon(lambda: date.get_attribute('aria-invalid') == 'true' and view.nb.axe() == [])
    date.fill('1815-12-10')
    date.press('Enter')
    view.panel.get_by_role('button', name='Edit birthDate').wait_for()
    assert view.nb.value('people[119].birthDate.isoformat()') == '1815-12-10T00:00:00+00:00'
    view.out.get_by_role('button', name='Undo').click()
    view.panel.get_by_role('button', name='Edit birthDate').wait_for(state='detached')
    view.out.get_by_role('button', name='Undo').click()
    view.panel.get_by_text('colleague', exact=True).wait_for()
    view.out.get_by_role('button', name='Undo').wait_for(state='hidden')
    assert view.nb.value('[people[119].birthDate, people[119].role]') == [None, 'colleague']


def test_deleted_and_undone(view):
    view.answered('type:Person')
    view.row('Cem Nr119').locator('.pm-title').click()
    view.row('Bea Nr118').locator('.pm-title').click(modifiers=['Shift'])
    view.out.get_by_role('button', name='Delete', exact=True).click()
    view.out.get_by_text('118 items').first.wait_for()
    soon(lambda: view.row('Cem Nr119').count() == 0 and view.nb.value('[p.deleted for p in people[118:]]') == [True, True])
    view.out.get_by_role('button', name='Undo').click()
    view.out.get_by_text('120 items').first.wait_for()
    assert view.nb.value('client.count({"type": "Person"})') == 120 and view.nb.value('people[119].deleted') is False


def test_the_search_as_python_runs(view):
    view.search('type:Person role:friend lastName^=Nr00')
    view.out.get_by_role('button', name='Copy as Python').click()
    code = view.out.get_by_label('The search in Python')
    code.wait_for()
    assert view.nb.axe() == []
    soon(lambda: len(view.nb.value(f'[i.id for i in {code.input_value()}]')) == 5 == int(view.foot.text_content().split()[0]))


def test_a_long_list_is_smooth_to_its_end(notebook):
    view = View(notebook(f'''
        from pymemri.pod.client import PodClient, Dog
        client = PodClient(quiet=True)
        client.add_to_schema(Dog)
        for k in range(0, {MANY}, 5000):
            client.api.bulk(create_items=[dict(type='Dog', id=f'dog-{{i:06}}', name=f'dog {{i:06}}', age=i % 9) for i in range(k, k + 5000)])
        browser = client.browse('type:Dog')
        browser'''))
    view.answered('type:Dog')
    soon(lambda: view.foot.text_content() == f'{MANY:,} items')
    view.grid.focus()
    view.grid.press('End')
    view.row('dog 000000').wait_for()
    assert view.rows.count() < 50
    view.grid.evaluate('e => { e.scrollTop = e.scrollHeight / 2 }')
    view.page.wait_for_function('e => [...e.querySelectorAll(".pm-title")].some(t => /dog 0(09|10)/.test(t.textContent))', arg=view.grid.element_handle())
    assert view.rows.count() < 50
    # a wheel that turns through thousands of lines: every frame has lines, and the last ones come
    view.grid.hover()
    for _ in range(20): view.page.mouse.wheel(0, 20_000)
    view.page.wait_for_function('e => e.scrollTop > 400000 * .9 && !e.querySelector(".pm-empty")', arg=view.grid.element_handle())
    assert view.rows.count() < 50


def test_hostile_text_stays_text(notebook):
    view = View(notebook(f'''
        from pymemri.pod.client import PodClient
        from pymemri.data.schema import Note, Person
        client, evil = PodClient(quiet=True), {HOSTILE!r}
        client.add_to_schema(Note, Person)
        notes = [Note(title=e, content=e, itemType=e) for e in evil]
        people = [Person(displayName=e, role=e, email=e) for e in evil]
        client.bulk_action(create_items=notes + people)
        for n, p in zip(notes, people): client.create_edge(n.add_edge('writtenBy', p))
        browser = client.browse()
        browser'''))
    for evil in HOSTILE:
        view.box.fill(evil)
        view.page.wait_for_function('''([e, line]) => e.dataset.line === line ||
            !e.closest('.pm-browser').querySelector('.pm-problem').hidden''', arg=[view.grid.element_handle(), evil])
    view.search('type:Note')
    for row in range(min(4, view.rows.count())):
        view.rows.nth(row).locator('.pm-title').click()
        view.panel.get_by_text('writtenBy →').wait_for()
        view.panel.locator('.pm-link').first.click()
        view.panel.get_by_text('← writtenBy').wait_for()
        view.panel.get_by_role('button', name='Edit role').click()
        view.panel.get_by_role('button', name='Cancel').click()
    view.search('type:Person')
    view.out.get_by_role('button', name='Copy as Python').click()
    assert set(view.titles()) <= {' '.join(re.sub(r'[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]', '\ufffd', e).split()) for e in HOSTILE}
    assert view.out.locator('script, iframe, img, a, [onerror], [onload], [onfocus]').count() == 0


def test_secrets_never_reach_the_page(lab, notebook):
    frames = []
    def listen(socket): socket.on('framereceived', lambda f: frames.append(f if isinstance(f, bytes) else f.encode()))
    lab.page.on('websocket', listen)
    view = View(notebook(people('type:Account')))
    view.open('ada')
    soon(lambda: '•••' in view.panel.text_content())
    for line in ('type:Account service:mail', '', 'swordfish', 'ada'): view.search(line)
    lab.page.remove_listener('websocket', listen)
    assert any(b'harbour' in f for f in frames) and not any(b'swordfish' in f for f in frames if b'"line"' not in f)
    assert 'swordfish' not in view.nb.save(widgets=True).replace('"line": "swordfish"', '')


def test_a_silent_kernel_is_noticed(view):
    view.answered('type:Person')
    view.nb.js('await w.sessionContext.session.kernel.restart()')
    view.box.fill('type:Note')
    view.out.get_by_text('The kernel does not answer').wait_for()
    assert view.nb.axe() == []


def test_a_kernel_that_is_busy_answers_when_it_can(view):
    view.answered('type:Person')
    view.nb.run('import time; time.sleep(4)', timeout=0)
    view.box.fill('type:Note')
    view.answered('type:Note')
    view.out.locator('.pm-live-silent').wait_for(state='hidden')
    assert view.titles() == ['Tea at the harbour']


def test_two_views_of_one_browser(notebook):
    nb = notebook(people('type:Person'), 'browser')
    one = View(nb)
    other = nb.out(1).locator('.pm-row').first
    other.wait_for()
    one.row('Cem Nr119').locator('.pm-tick').click()
    nb.out(1).get_by_role('row', selected=True).wait_for()
    one.search('type:Note')
    nb.out(1).locator('.pm-row').nth(5).wait_for()  # each has a search of its own


def test_both_kernels(notebook, kernel):
    view = View(notebook(people('type:Person'), kernel=kernel))
    view.answered('type:Person')
    view.open('Cem Nr119')
    assert view.python_has('browser.item.id', 'person-119')


def test_saved_and_opened_elsewhere_it_is_a_table(view):
    saved = json.loads(view.nb.save())
    html = ''.join(saved['cells'][0]['outputs'][0]['data']['text/html'])
    assert '120 items' in html and 'Nr119' in html and '<script' not in html and 'swordfish' not in html


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_both_themes_are_sound(view, theme):
    view.nb.theme(theme)
    view.search('ada')
    view.nb.shot(f'browse-words-{theme}', 0)
    assert view.nb.axe() == []
    view.search('type:Person')
    view.out.get_by_role('button', name='friend 60').wait_for()
    view.row('Bea Nr118').locator('.pm-tick').click()
    view.row('Cem Nr119').locator('.pm-title').click(modifiers=['Control'])
    view.grid.press('Enter')
    view.panel.get_by_role('heading').wait_for()
    view.nb.shot(f'browse-item-{theme}', 0)
    assert view.nb.axe() == []
    view.panel.get_by_role('button', name='Edit role').click()
    view.nb.shot(f'browse-edit-{theme}', 0)
    assert view.nb.axe() == []

"""The types of a Pod: a page without scripts, and the same searched while one types."""
from lab import HOSTILE, soon

POD = '''
    from pymemri.data.item import Edges, Item, unset
    from pymemri.pod.client import PodClient
    class Recipe(Item):
        "How a dish is made"
        title: str = unset             # What it is called
        cook: Edges['Person'] = unset  # Whose recipe it is
    client = PodClient(quiet=True)
    client.create(Recipe('Soup'))'''


def test_the_page_of_types_unfolds_without_a_script(notebook):
    nb = notebook(POD, 'client.schema')
    page = nb.out(1)
    page.get_by_text('1 of your own').wait_for()
    row = page.locator('details').filter(has_text='Recipe').first
    assert row.get_by_text('Whose recipe it is').is_hidden()
    row.locator('summary').click()
    row.get_by_text('Whose recipe it is').wait_for()
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe() == []
        nb.shot(f'types-{theme}', 1)
    assert '<script' not in nb.outputs()[1][-1]['data']['text/html']


def test_types_are_found_while_one_types(notebook, kernel):
    nb = notebook(POD, 'types = client.schema.browse()\ntypes', kernel=kernel)
    view = nb.out(1)
    box = view.get_by_role('searchbox', name='Search types')
    view.get_by_text('Recipe').first.wait_for()
    box.press_sequentially('mail')
    view.locator('p').filter(has_text='with “mail”').wait_for()
    soon(lambda: view.locator('details').count() == nb.value('len(client.schema.search("mail"))') > 1)
    view.locator('summary').filter(has_text='EmailMessage').click()
    view.get_by_text('Where answers shall go').wait_for()
    assert nb.value('types.selected.name') == 'EmailMessage'


def test_an_edge_leads_to_its_type(notebook):
    nb = notebook(POD, 'types = client.schema.browse()\ntypes')
    view = nb.out(1)
    view.get_by_role('searchbox').fill('recipe')
    view.locator('p').filter(has_text='with “recipe”').wait_for()
    view.locator('summary').filter(has_text='Recipe').click()
    view.get_by_role('button', name='Person', exact=True).click()
    view.get_by_text('Given name').wait_for()
    soon(lambda: view.get_by_role('searchbox').input_value() == '')
    view.locator('details[open]').filter(has_text='Given name').wait_for()
    assert nb.value('types.selected.name') == 'Person'
    for theme in ('light', 'dark'):
        nb.theme(theme)
        assert nb.axe() == []
        nb.shot(f'types-live-{theme}', 1)
    cells = nb.cells
    nb.page.keyboard.press('x')
    assert nb.cells == cells  # JupyterLab did not take the key for its own


def test_hostile_types_fire_nothing(notebook):
    nb = notebook(f'''
    from pymemri.data.item import Item
    from pymemri.data.types import Field, ItemType
    from pymemri.pod.schema import PodSchema
    hostile, types = {list(HOSTILE)!r}, []
    for text in hostile:
        cls = type('Bad', (Item,), dict(__doc__=text))
        cls.__name__ = text
        types.append(ItemType(cls, 1, [Field(text, 'Text', text, text), Field(text + 'e', text, text, text, True)]))
    schema = PodSchema(types)''', 'schema', 'schema.browse()')
    for view in (nb.out(1), nb.out(2)):
        rows = view.locator('summary')
        rows.first.wait_for()
        soon(lambda: rows.count() == nb.value('len(schema)') == len(HOSTILE))
        for i in range(len(HOSTILE)): rows.nth(i).click()
        view.locator('tbody tr').first.wait_for()

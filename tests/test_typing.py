"""Editors and type checkers understand a type that is declared by annotation: pyright, on a small file, says
what we say.

No rule of Python's typing lets a field without a default be left out, so a checker asks for bare fields; `= unset`
makes one optional to it. When the program runs, all are optional.
"""
import json, re, shutil, subprocess, sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]

DOG = '''
from datetime import datetime
from pymemri.data.item import Edge, Edges, Item, unset

class Person(Item):
    firstName: str = unset

class Dog(Item):
    name: str
    age: int
    weight: float = unset
    born: datetime = unset
    friend: Edges["Person"] = unset

class Cat(Item):
    name: str
    age: int
    friend: Edges["Person"]

by_place = Dog("a", 3)
by_name = Dog(name="a", age=3, weight=1.5)
friendly = Dog("b", 2, friend=[Person("Alice")])
nobody = Person()
cat = Cat("c", 4, [Person("Bob")])
'''
RIGHT = {  # expression: what pyright reveals (a pattern)
    'Dog("a", 3)': 'Dog', 'by_place.name': 'str', 'by_name.age': 'int', 'by_place.weight': 'float',
    'by_name.born': 'datetime',
    'by_name.friend': r'(Edges|list)\[Person\].*', 'by_name.id': r'str( \| None)?', 'Dog.from_data(name="a")': 'Dog',
    'friendly.friend[0].firstName': 'str', 'cat.age': 'int',
    'cat.friend[0]': 'Person', 'nobody.firstName': 'str', '[p.firstName for p in cat.friend]': r'list\[str\]',
}
WRONG = {  # statement: the rule that it breaks
    'Dog(nme="a")': 'reportCallIssue',
    'Dog(3, 4)': 'reportArgumentType',
    'Dog("a", "three")': 'reportArgumentType',
    'Dog("a", age="three")': 'reportArgumentType',
    'Cat("c", 4, friend=["Bob"])': 'reportArgumentType',
    'by_name.age = "three"': 'reportAttributeAccessIssue',
    'by_name.color': 'reportAttributeAccessIssue',
    'born: str = by_name.born': 'reportAssignmentType',
}


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    "What pyright says of the file: line -> [(rule, message)]; it comes with its own node, and fetches nothing"
    folder = tmp_path_factory.mktemp('types')
    lines = DOG.splitlines() + [f'reveal_type({e})' for e in RIGHT] + list(WRONG)
    (folder / 'dogs.py').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (folder / 'pyrightconfig.json').write_text(json.dumps(dict(include=['dogs.py'], extraPaths=[str(root)],
                                                               typeCheckingMode='standard')), encoding='utf-8')
    command = Path(sys.executable).with_name('pyright')
    done = subprocess.run([str(command) if command.exists() else shutil.which('pyright'), '--outputjson',
                           '--pythonpath', sys.executable, '-p', str(folder)],
                          cwd=folder, capture_output=True, text=True, timeout=300)
    said = json.loads(done.stdout[done.stdout.index('{'):])
    out = {}
    for d in said['generalDiagnostics']:
        out.setdefault(lines[d['range']['start']['line']], []).append((d.get('rule', d['severity']), d['message']))
    return out


def test_the_declaration_itself_is_right(found):
    assert {line: found[line] for line in DOG.splitlines() if line in found} == {}


@pytest.mark.parametrize('expression', RIGHT)
def test_attributes_have_the_types_that_were_declared(found, expression):
    (_, message), = found[f'reveal_type({expression})']
    assert re.fullmatch(RIGHT[expression], re.search(r'is "(.*)"', message, re.S)[1])


def test_what_a_checker_asks_for_may_be_left_out_when_the_program_runs():
    space = {}
    exec(DOG, space)
    Dog = space['Dog']
    assert (Dog().name, Dog('a').name, Dog('a').age, Dog(age=3).age, list(Dog().friend)) == (None, 'a', None, 3, [])


@pytest.mark.parametrize('statement', WRONG)
def test_mistakes_are_found(found, statement):
    assert WRONG[statement] in [rule for rule, _ in found.get(statement, [])]

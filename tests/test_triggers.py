"""Triggers, with real plugins in real processes: embedded and served alike. The rules themselves are tested in the
notebook of `engine.triggers`, with a clock of its own."""
import json, os, time
from pathlib import Path

import pytest

from waiting import wait_for

from pymemri.data.schema import Account, PluginRun, PluginTrigger
from pymemri.pod.client import Dog, PodClient
from pymemri.pod.hosting import host_settings
from pymemri.server.serve import Served

root = Path(__file__).resolve().parents[1]
OWNER, KEY = '0f' * 32, 'e1' * 32

PLUGINS = '''
import os, time
from pymemri.plugin.pluginbase import PluginBase
class Counts(PluginBase):
    schema_classes = []
    def __init__(self, file:str='', seconds:float=0, until:str='', **kwargs):
        super().__init__(**kwargs)
        self.file, self.seconds, self.until = file, seconds, until # `until` there is such a file
    def run(self):
        account = self.pluginRun.account[0].identifier if self.pluginRun.account else ''
        def tell(word):
            with open(self.file, 'a') as f: f.write(f'{word} {account}\\n')
        tell('begin')
        time.sleep(self.seconds)
        while self.until and not os.path.exists(self.until): time.sleep(.02)
        tell('end')
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / 'code').mkdir()
    (tmp_path / 'code' / 'counter.py').write_text(PLUGINS)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(root), str(tmp_path / 'code')]))


@pytest.fixture(params=['embedded', 'served'])
def road(request, tmp_path):
    "Opens and closes one Pod, again and again"
    class Road:
        name, client, served = request.param, None, None
        def open(self):
            if self.name == 'served': self.served = Served(host_settings(tmp_path / 'home', os.environ), keep_open=600).start()
            where = dict(url=self.served.url) if self.served else dict(home=tmp_path / 'home')
            self.client = PodClient(owner_key=OWNER, database_key=KEY, **where)
            return self.client
        @property
        def pod(self): return next(iter(self.served.app.pods.held.values())).pod if self.served else self.client.api.road.pod
        def close(self):
            if self.client: self.client.close()
            if self.served: self.served.stop()
            self.client = self.served = None
    one = Road()
    yield one
    one.close()


def trigger(tmp_path, seconds=0, until='', **when):
    config = json.dumps(dict(file=str(tmp_path / 'told'), seconds=seconds, until=str(until)))
    return PluginTrigger(pluginModule='counter', pluginName='Counts', config=config, permissions='{"read": {"Account": "*"}, "edges": {"read": "*"}}', **when)


def told(tmp_path):
    path = tmp_path / 'told'
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def runs(client): return client.api.search({'type': 'PluginRun'})


def test_every_so_often_and_never_two_at_once(road, tmp_path):
    client = road.open()
    client.create(trigger(tmp_path, seconds=2.0, every=1))
    wait_for(lambda: told(tmp_path).count('begin') >= 3)
    words = told(tmp_path)
    assert words[:5] == ['begin', 'end', 'begin', 'end', 'begin']
    wait_for(lambda: runs(client)[0].get('status') == 'done')


def test_when_items_of_a_type_appear(road, tmp_path):
    client = road.open()
    client.create(Dog(name='Fido', age=3))
    client.create(one := trigger(tmp_path, whenType='Dog'))
    time.sleep(2.5)
    assert told(tmp_path) == []  # those that were there do not count
    client.bulk_action(create_items=[dog := Dog(name='Rex', age=1), Dog(name='Bello', age=2)])
    wait_for(lambda: told(tmp_path) == ['begin', 'end'])
    dog.age = 2
    client.update_item(dog)
    client.create(Account(identifier='anna'))
    time.sleep(2.5)
    assert told(tmp_path) == ['begin', 'end'] and len(runs(client)) == 1
    assert [e['item'].id for e in client.get_edges(one.id) if e['name'] == 'run'] == [runs(client)[0]['id']]


def test_items_that_appear_during_a_run_cause_one_more(road, tmp_path):
    client = road.open()
    client.create(trigger(tmp_path, until=tmp_path / 'enough', whenType='Dog'))
    client.create(Dog(name='Rex', age=1))  # counts from the first moment, looked at or not
    wait_for(lambda: told(tmp_path) == ['begin'])
    for k in range(3): client.create(Dog(name=f'{k}', age=1))
    (tmp_path / 'enough').touch()
    wait_for(lambda: told(tmp_path) == ['begin', 'end', 'begin', 'end'])
    time.sleep(2)
    assert len(told(tmp_path)) == 4


def test_what_was_missed_is_caught_up_once(road, tmp_path):
    client = road.open()
    client.create(one := trigger(tmp_path, every=3600))
    client.create(trigger(tmp_path, every=3600))
    client.create(three := trigger(tmp_path, whenType='Dog'))
    client.create(PluginRun('none'))
    wait_for(lambda: len(road.pod.store.notes('trigger.')) == 3)  # all have been looked at
    road.close()
    home = tmp_path / 'home'
    from pymemri.engine.pod import Pod
    with Pod(OWNER, KEY, home) as pod, pod.store.write():  # three hours pass
        for id, note in pod.store.notes('trigger.').items(): pod.store.note(f'trigger.{id}', note | {'fired': note['fired'] - 3 * 3600_000})
        pod.create([{'type': 'Dog', 'name': str(k)} for k in range(5)] if 'Dog' in pod.store.types else [])
    road.open().count({'type': 'Dog'})
    wait_for(lambda: len(told(tmp_path)) == 4)  # one plugin: one after the other
    time.sleep(2.5)
    assert told(tmp_path) == ['begin', 'end'] * 2


def test_the_account_goes_along(road, tmp_path):
    client = road.open()
    one, account = trigger(tmp_path, every=1), Account(identifier='anna')
    client.create(account)
    one.add_edge('account', account)
    client.bulk_action(create_items=[one], create_edges=one.get_edges('account'))
    wait_for(lambda: told(tmp_path)[:2] == ['begin', 'end'])
    assert (tmp_path / 'told').read_text().startswith('begin anna\n')


def test_off_wrong_and_deleted_triggers(road, tmp_path):
    client = road.open()
    off, wrong, gone = (trigger(tmp_path, every=1, enabled=False), trigger(tmp_path, at='25:00'), trigger(tmp_path, every=2))
    for t in (off, wrong, gone): client.create(t)
    client.api.delete_item(gone.id)
    wait_for(lambda: client.api.get_item(wrong.id)[0].get('error'))
    assert "'25:00' is no time" in client.api.get_item(wrong.id)[0]['error']
    time.sleep(2.5)
    assert told(tmp_path) == [] and runs(client) == []


def test_a_plugin_makes_and_changes_no_trigger(tmp_path):
    with Served(data_folder=tmp_path / 'home') as served, PodClient(served.url, owner_key=OWNER, database_key=KEY) as owner:
        one = trigger(tmp_path, every=3600)
        owner.create(one)
        for right in ('create', 'update'):
            with pytest.raises(Exception, match='can not start plugins'): owner.api.create_plugin_auth({right: {'PluginTrigger': '*'}})
        auth = owner.api.create_plugin_auth({'create': {'*': '*'}, 'update': {'*': '*'}, 'read': {'*': '*', 'PluginTrigger': '*'}, 'delete': ['*']})
        with PodClient(served.url, owner_key=OWNER, auth_json=auth, register_base_schema=False) as plugin:
            assert plugin.api.get_item(one.id)[0]['every'] == 3600
            for op, payload in (('update_item', {'id': one.id, 'every': 1}), ('delete_item', one.id),
                                ('create_item', {'type': 'PluginTrigger', 'every': 1, 'containerImage': 'x'})):
                with pytest.raises(Exception, match='permissions|start plugins'): getattr(plugin.api, op)(payload)


def test_a_server_does_not_stay_open_for_triggers(tmp_path):
    with Served(data_folder=tmp_path / 'home', keep_open=1.5) as served:
        with PodClient(served.url, owner_key=OWNER, database_key=KEY) as client: client.create(trigger(tmp_path, every=3600))
        wait_for(lambda: not served.app.pods.held)

"""A plugin for tests/test_stateful.py, in a process of its own: `python importer.py PLACE OWNER KEY PAGE PAUSE`.
PLACE is the address of a Pod, or its folder. It imports messages with their senders page by page, and tells when it
begins one"""
import sys, time

from pymemri.data.schema import Account, EmailMessage, PluginRun
from pymemri.plugin.stateful import StatefulPlugin
from pymemri.pod.client import PodClient

MAILS, SENDERS = 400, 9


def mail(n):
    "Mail `n` as its source tells it"
    sender = Account(externalId=f'test:account:{n % SENDERS}', service='test', handle=f'sender {n % SENDERS}')
    answered = [] if n % 5 or not n else [EmailMessage(externalId=f'test:mail:{n - 5}', subject=f'mail {n - 5}')]
    return EmailMessage(externalId=f'test:mail:{n}', subject=f'mail {n}', content=f'text {n} ' * 20, sender=[sender],
                        message=answered)


class Importer(StatefulPlugin):
    "Imports mails"
    schema_classes = [EmailMessage, Account]
    def __init__(self, page: int = 7, pause: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.page, self.pause = page, pause

    def run(self):
        "All mails from the cursor on"
        for start in range(self.cursor or 0, MAILS, self.page):
            print(start, flush=True)
            end = min(start + self.page, MAILS)
            self.store([mail(n) for n in range(start, end)], cursor=end)
            time.sleep(self.pause)


def account():
    "The login that mails are fetched with; another item for each run"
    return Account(service='test', identifier='me')


def connect(place, owner, key):
    "A client of the Pod at `place`"
    where = dict(url=place) if '://' in place else dict(home=place)
    return PodClient(owner_key=owner, database_key=key, quiet=True, **where)


if __name__ == '__main__':
    place, owner, key, page, pause = sys.argv[1:]
    with connect(place, owner, key) as client:
        run = PluginRun(containerImage='none', pluginModule='importer', pluginName='Importer', account=[account()])
        Importer(client=client, pluginRun=run, page=int(page), pause=float(pause)).run()
    print('done', flush=True)

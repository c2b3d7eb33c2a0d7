"Long work and runs of plugins: what is seen while they go on, and what a saved notebook still says"
import json

from lab import soon

RUN = '''
    from pymemri.data.schema import PluginRun
    from pymemri.plugin.pluginbase import PluginBase
    from pymemri.pod.client import PodClient
    client = PodClient()
    run = PluginRun('none', 'photos', 'Photos', status='started')
    client.create(run)
    def go(**values): client.api.update_item(dict(id=run.id) | values)'''


def test_progress_is_seen_and_kept(notebook, kernel):
    "It moves while the cell runs, ten times a second at most, and the saved notebook says how it ended"
    nb = notebook('''
        import time
        from pymemri.core import progress
        for n in progress(range(400), 'Reading', unit='photos', after=.2): time.sleep(.01)''', kernel=kernel)
    line = nb.out(0).locator('.pm-meter')
    soon(lambda: 'Reading: 400 of 400 photos' in line.inner_text())
    soon(lambda: line.locator('progress').get_attribute('value') == '1.0000' and nb.axe() == [])
    outputs, = [o for o in nb.outputs() if o]
    assert len(outputs) == 1 and outputs[0]['data']['text/plain'].startswith('Reading: 400 of 400')
    nb.reopen(trusted=False)
    nb.out(0).get_by_text('Reading: 400 of 400 photos').wait_for()


def test_ten_changes_a_second_at_most(notebook):
    nb = notebook('''
        import time
        from pymemri.core import Meter, Spot
        class Count(Spot):
            n = 0
            def show(self, *args):
                self.n += 1
                super().show(*args)
        spot, start = Count(), time.monotonic()
        meter = Meter('Counting', 100_000, 'steps', after=0, spot=spot)
        for n in range(100_000): meter.to(n)
        meter.to(100_000); meter.close()
        took = time.monotonic() - start''')
    n, took = nb.value('[spot.n, took]')
    assert 2 <= n <= 10*took + 3
    nb.out(0).get_by_text('Counting: 100,000 of 100,000 steps').wait_for()


def test_a_plugin_in_a_cell_says_how_far_it_came(notebook, kernel):
    nb = notebook(RUN, '''
        import time
        class Photos(PluginBase):
            schema_classes = []
            def run(self):
                for n in range(13):
                    self.set_progress(n / 20)
                    time.sleep(.1)
                raise ValueError('no more <b>photos</b>')
        plugin = Photos(pluginRun=run, client=client)
        try: plugin._run()
        except ValueError as e: print(e)''', kernel=kernel)
    nb.out(1).get_by_text('Photos: ended at 60%').wait_for()
    assert len([o for o in nb.outputs()[1] if o['output_type'] == 'display_data']) == 1


def test_a_run_is_watched_from_its_start_to_its_end(notebook, kernel):
    "The cell returns at once; the card changes below it, and the last one is saved"
    nb = notebook(RUN, 'watch = client.watch_run(run, interval=.05)', kernel=kernel)
    card = nb.out(1)
    card.get_by_text('started').first.wait_for()
    nb.eval_py('go(progress=.4)')
    card.get_by_text('40%').wait_for()
    assert nb.axe() == []
    nb.eval_py('go(status="error", error="the <b>folder</b> is gone")')
    card.get_by_text('the <b>folder</b> is gone').first.wait_for()
    assert nb.value('watch.result(10).status') == 'error'
    saved = json.loads(nb.save())['cells'][1]['outputs']
    assert len(saved) == 1 and 'Photos: error 40%' in ''.join(saved[0]['data']['text/plain'])
    nb.reopen(trusted=False)
    nb.out(1).get_by_text('the <b>folder</b> is gone').first.wait_for()


def test_a_cell_may_await_a_run(notebook, kernel):
    nb = notebook(RUN, '''
        import threading
        threading.Timer(.5, lambda: go(status='done', progress=1)).start()
        (await client.watch_run(run, interval=.05)).status''', '''
        run = PluginRun('none', 'photos', 'Photos', status='started')
        client.create(run)
        threading.Timer(1.5, lambda: go(status='done', progress=1)).start()
        client.wait_for_run(run).status''', kernel=kernel)
    assert [o['data']['text/plain'] for o in nb.outputs()[1]] == ['Photos: done 100%', "'done'"]
    shown = [o['data']['text/plain'] for o in nb.outputs()[2]]
    assert shown[0].startswith('Photos: 0:0') and shown[0].endswith('done') and shown[1] == "'done'"

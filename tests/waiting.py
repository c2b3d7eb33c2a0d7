"""Waiting for what another thread or process does, however slow disk and cores are."""
import faulthandler, sys, time

PATIENCE = 600  # seconds; they end a hang, and are no test of speed


def wait_for(what, why='waited in vain', every=.02):
    "What `what()` gives once that is true. If it does not become so, all threads are shown"
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        if time.monotonic() > end:
            faulthandler.dump_traceback(sys.__stderr__)
            raise AssertionError(why)
        time.sleep(every)
    return found

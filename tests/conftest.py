"""What every test has: a home of its own, no Pod server, and the tools of this checkout."""
import os, sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session', autouse=True)
def apart(tmp_path_factory):
    "No test touches `~/.pymemri`, and none reaches a Pod that somebody's environment names"
    with pytest.MonkeyPatch.context() as m:
        for name in [k for k in os.environ if k.startswith(('POD_', 'PYMEMRI_'))]: m.delenv(name)
        m.setenv('PYMEMRI_HOME', str(tmp_path_factory.mktemp('home') / '.pymemri'))
        yield


@pytest.fixture(autouse=True)
def own_home(apart, tmp_path_factory, monkeypatch):
    "Tests do not see each other's Pods"
    monkeypatch.setenv('PYMEMRI_HOME', str(tmp_path_factory.mktemp('home') / '.pymemri'))


@pytest.fixture(scope='session')
def clean_env():
    "Environment of a child process that shall see nothing of this one but the checkout"
    keep = {k: v for k, v in os.environ.items()
            if not k.startswith(('POD_', 'PYMEMRI_', 'PYTHON', 'PYTEST_', 'COVERAGE_'))}
    return keep | {'PYTHONPATH': str(root)}


@pytest.fixture(params=['embedded', 'http'])
def served(request, tmp_path):
    "Where a test's Pods are: None for Pods in this process, or a real server. A test that uses it runs over both roads"
    if request.param == 'embedded': yield None
    else:
        from serving import Server
        with Server(tmp_path) as server: yield server

"""Processes end with the test that starts them, also when it fails or reaches its time limit."""

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.pictures import ROOT
from tests.helpers.processes import running

SLEEP = "import time; time.sleep(3600)"
HANGING = f"""
import sys
from tests.helpers.processes import running

def test_that_hangs():
    with running(sys.executable, "-c", {SLEEP!r}) as process:
        print("process", process.pid)
        process.wait()
"""


def test_running_kills_a_process_whose_test_fails():
    with pytest.raises(AssertionError), running(sys.executable, "-c", SLEEP) as process:
        raise AssertionError
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_time_limit_ends_a_test_and_its_process(tmp_path):
    path = tmp_path / "test_hanging.py"
    path.write_text(HANGING)
    options = ["-n", "0", "-s", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", "-o", "timeout=1"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Failed: Timeout (>1.0s) from pytest-timeout." in done.stdout
    pid = int(done.stdout.partition("process ")[2].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

"""A process is ended with a line if it takes too long, and only then."""

import os
import signal
import subprocess
import sys
import time

import pytest

from system.watchdog import killed_after
from tests.helpers.processes import with_modules

pytestmark = pytest.mark.skipif(os.name == "nt", reason="not on Windows")


def test_killed_after_does_nothing_if_the_block_ends_in_time(capfd):
    start = time.monotonic()
    with killed_after(30, "too late"):
        pass
    assert time.monotonic() - start < 20
    assert capfd.readouterr().err == ""


def test_killed_after_ends_a_process_that_is_stuck_outside_of_python():
    """It holds Python's lock while it sleeps in C, so no thread and no handler of a signal can run."""
    stuck = "import ctypes; from system.watchdog import killed_after\n"
    stuck += "with killed_after(0.2, 'too late'): ctypes.PyDLL(None).sleep(60)"
    result = subprocess.run([sys.executable, "-c", stuck], env=with_modules(), capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (-signal.SIGKILL, "too late\n")


def test_the_watchdog_ends_with_the_process_that_it_watches():
    """It would keep the pipe open; so this returns at once only if it ends."""
    ended = "import os; from system.watchdog import killed_after\nwith killed_after(60, 'too late'): os._exit(7)"
    result = subprocess.run([sys.executable, "-c", ended], env=with_modules(), capture_output=True, timeout=30)
    assert (result.returncode, result.stderr) == (7, b"")

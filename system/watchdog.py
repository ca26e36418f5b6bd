"""Ending this process if something takes too long during which nothing in it can run, not even a handler of Ctrl-C.

`faulthandler.dump_traceback_later` does that too, but can only print a traceback.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# Run by another process. It ends if the pipe at its stdin is closed in time; so it does if this process ends.
_WATCHDOG = """
import os, select, signal, sys
seconds, process, line = sys.argv[1:]
if not select.select([0], [], [], float(seconds))[0]:
    os.write(2, os.fsencode(line) + b"\\n")
    os.kill(int(process), signal.SIGKILL)
"""


@contextlib.contextmanager
def killed_after(seconds: float, line: str) -> Iterator[None]:
    """Kills this process after some seconds, unless the block has ended, and prints a line to stderr before.

    Not on Windows, where nothing happens.
    """
    if os.name == "nt":
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(seconds), str(os.getpid()), line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watchdog:
        try:
            yield
        finally:
            assert watchdog.stdin
            watchdog.stdin.close()

"""Processes that do not outlive the test that starts them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.helpers.pictures import ROOT


@contextlib.contextmanager
def running(*command: object, **options) -> Iterator[subprocess.Popen]:
    """Starts a process. At the end of the block, however it ends, it is killed if it still runs.

    Without this, Popen would wait for it forever after a failed assertion or at the time limit of the test.
    """
    options = {"env": environment(), "text": True, **options}
    with subprocess.Popen(list(map(str, command)), **options) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(**changes: str) -> dict[str, str]:
    """Returns the variables of a new process: those of this one, and changes."""
    variables = {**os.environ, **changes}
    if variables.get("MUTANT_UNDER_TEST") == "stats":  # mutmut can record only what runs in its own folder
        del variables["MUTANT_UNDER_TEST"]
    return variables


def with_modules() -> dict[str, str]:
    """Returns an environment in which Python finds the modules of this project, from any folder."""
    return environment(PYTHONPATH=str(ROOT))


def free_addresses(count: int) -> tuple[str, ...]:
    """Returns addresses of this machine whose ports are free, host:port."""
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return tuple(f"localhost:{one.getsockname()[1]}" for one in found)


def wait_until(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Returns once a condition holds, while a process runs. The test has a limit, since machines may be slow."""
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        time.sleep(0.002)


_KILLED = """
import os, runpy, signal, sys
from pathlib import Path

suffix, left, script = sys.argv[1], int(sys.argv[2]), sys.argv[3]
replace = Path.replace

def counted(self, target):
    global left
    result = replace(self, target)
    left -= str(target).endswith(suffix)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

Path.replace = counted
sys.argv = sys.argv[3:]
sys.path[0] = str(Path(script).parent)
runpy.run_path(script, run_name="__main__")
"""


def kill_script(name: str, *arguments: object, suffix: str, count: int, cwd: Path) -> None:
    """Runs a script in a process that kills itself, as by kill -9, when it has completed `count` files of a kind."""
    command = [sys.executable, "-c", _KILLED, suffix, count, ROOT / name, *arguments]
    with running(*command, cwd=cwd, stdout=subprocess.DEVNULL) as process:
        assert process.wait() == -9

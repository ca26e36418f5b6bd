"""TensorBoard as a process, for the tests that look at what it shows."""

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.helpers.pictures import ROOT
from tests.helpers.processes import running, wait_until

TENSORBOARD = (Path(sys.executable).with_name("tensorboard"),)  # as a user starts it


class Served(NamedTuple):
    """A TensorBoard that has found its runs."""

    url: str
    process: subprocess.Popen

    def get(self, page: str) -> bytes:
        with urllib.request.urlopen(self.url + page) as response:
            return response.read()

    def json(self, page: str):
        return json.loads(self.get(page))

    def runs(self) -> list[str]:
        """Returns the runs that it has found so far; none while it is starting."""
        try:
            return sorted(self.json("/data/runs"))
        except urllib.error.URLError:
            return []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def serving(logdir: Path, *, log: Path, command: Sequence[object] = TENSORBOARD, runs: int = 2) -> Iterator[Served]:
    """Starts TensorBoard on a free port, and returns when it has found this number of runs.

    Its output is written to the file `log`. It ends with the block.
    """
    port = free_port()
    options = ["--logdir", logdir, "--host", "127.0.0.1", "--port", port]
    with log.open("wb") as output, running(*command, *options, cwd=ROOT, stdout=output, stderr=output) as process:
        served = Served(f"http://127.0.0.1:{port}", process)
        wait_until(lambda: len(served.runs()) == runs, process)
        yield served

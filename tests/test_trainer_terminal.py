"""What a training run looks like on a terminal of 80 columns."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.pictures import ROOT
from tests.helpers.processes import environment
from tests.helpers.screens import rendered

if os.name == "nt":
    pytest.skip("terminals of POSIX", allow_module_level=True)

import fcntl
import pty
import struct
import termios

SMALL = ["--height", "16", "--width", "16"]
ENDLESS = [*SMALL, "--epochs", "1000000", "--patience", "1000000"]


class OnTerminal:
    """A script whose standard streams are a terminal of 80 columns, and what it has written there."""

    def __init__(self, script: str, *arguments: str, cwd: Path) -> None:
        self._controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        variables = {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHONUTF8": "1"}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        self.process = subprocess.Popen(
            [sys.executable, ROOT / script, *arguments], cwd=cwd, env=environment(**variables), **streams
        )
        os.close(terminal)
        self._written = b""

    @property
    def output(self) -> str:
        return self._written.decode(errors="replace")  # the last letter may be incomplete

    def read(self) -> bool:
        """Waits for more output. Returns whether there was some before the end."""
        try:
            data = os.read(self._controller, 65536)
        except OSError:  # what Linux says at the end
            data = b""
        self._written += data
        return bool(data)

    def wait_for(self, pattern: str) -> None:
        while not re.search(pattern, self.output):
            assert self.read(), self.output

    def finish(self) -> int:
        """Returns the exit code."""
        while self.read():
            pass
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._controller)


@contextlib.contextmanager
def on_terminal(script: str, *arguments: str, cwd: Path) -> Iterator[OnTerminal]:
    started = OnTerminal(script, *arguments, cwd=cwd)
    try:
        yield started
    finally:
        started.close()


def test_run_on_a_terminal_fits_80_columns_and_leaves_only_its_rows(rawdata, tmp_path):
    with on_terminal("trainer.py", *SMALL, "--epochs", "2", cwd=tmp_path) as run:
        assert run.finish() == 0
    lines = rendered(run.output)
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == "data/      20 pictures, 2 classes: ant 12, bee 8 (20 new)"
    rows = [line for line in lines if re.match(r" +\d+  \d", line)]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert not [line for line in lines if "━" in line or "..." in line]
    assert run.output.startswith("loading ...\r")  # before anything else is imported
    done = ("loading TensorFlow", "building the network", "preparing TensorBoard", "starting", "validating")
    for shown in (*done, "drawing for TensorBoard", "saving", "evaluating", "writing the report"):
        assert f"{shown} ..." in run.output
    assert "\x1b[?25l" not in run.output  # the cursor is never hidden, so that it need not be shown again


def test_ctrl_c_while_tensorflow_is_loaded_leaves_one_line(tmp_path):
    with on_terminal("trainer.py", cwd=tmp_path) as run:
        run.wait_for("loading TensorFlow ...")
        run.process.send_signal(signal.SIGINT)
        assert run.finish() == 130
    assert rendered(run.output) == ["trainer.py: interrupted"]


def test_ctrl_c_on_a_terminal_erases_the_bar(rawdata, tmp_path):
    with on_terminal("trainer.py", *ENDLESS, cwd=tmp_path) as run:
        run.wait_for(r"     1  \d")
        run.process.send_signal(signal.SIGINT)
        assert run.finish() == 130
    lines = rendered(run.output)
    assert re.fullmatch(r"stopped and saved after step \d+; run the same command to continue", lines[-1])
    assert not [line for line in lines if "━" in line]


def test_second_ctrl_c_on_a_terminal_says_one_line(rawdata, tmp_path):
    with on_terminal("trainer.py", *ENDLESS, cwd=tmp_path) as run:
        run.wait_for(r"     1  \d")
        run.process.send_signal(signal.SIGSTOP)  # so that both arrive before it reacts
        run.process.send_signal(signal.SIGINT)
        run.process.send_signal(signal.SIGTERM)
        run.process.send_signal(signal.SIGCONT)
        assert run.finish() in (130, 143)
    assert "Traceback" not in run.output
    assert "\x1b[?25l" not in run.output

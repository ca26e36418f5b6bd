"""Scripts as processes that get signals, or whose output is closed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.helpers.pictures import ROOT

# The start of each script, for scripts that a test writes.
START = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from system.startup import start_script
start_script()
"""
SECONDS = 300  # until a process that should end is killed; generous, since slow machines are tested too


def start(script: str | Path, *arguments: object, cwd: Path, **options) -> subprocess.Popen:
    """Starts a script of the top folder, or of a test. Its output is a pipe, and is not buffered."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **options.pop("env", {})}
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, **pipes | options)


def handles(process: subprocess.Popen, number: int) -> bool:
    """Returns whether a process has set a handler of a signal. Linux only."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)


def has_loaded(process: subprocess.Popen, library: str) -> bool:
    """Returns whether a process has loaded a library of this name. Linux only."""
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Returns the exit code of a process, and what it wrote to stdout and stderr."""
    with process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return process.returncode, out, err


def interrupt(process: subprocess.Popen, number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Sends a signal to a process and returns how it ended."""
    process.send_signal(number)
    return finish(process)

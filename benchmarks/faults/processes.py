"""Scripts that run in processes of their own until they end, are stopped or are killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.campaign import Failure, expect
from benchmarks.harness.processes import ROOT

TENSORBOARD_FAILED = "TensorBoard"  # the start of what trainer.py says when it cannot write TensorBoard's files
_MAX_SECONDS = 300  # after which a script counts as hung


class ScriptProcess:
    """Python running in the root of the repository. Its output goes to files in a folder."""

    def __init__(self, folder: Path, *arguments: str | os.PathLike) -> None:
        number = len(list(folder.glob("*.out")))
        self._stdout, self._stderr = folder / f"{number}.out", folder / f"{number}.err"
        self._start = time.monotonic()
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr, _inheritable_interrupt():
            self._popen = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self._start

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(encoding="utf-8")

    def runs_until(self, condition: Callable[[], object]) -> bool:
        """Waits, and returns whether a condition became true before the process ended."""
        while self.exit_code is None:
            if condition():
                return True
            if self.seconds > _MAX_SECONDS:
                self.kill()
                raise Failure(f"hung for {_MAX_SECONDS} s")
            time.sleep(0.001)
        return False

    def runs_for(self, seconds: float) -> bool:
        """Waits, and returns whether the process has not ended meanwhile."""
        end = time.monotonic() + seconds
        return self.runs_until(lambda: time.monotonic() >= end)

    def wait(self) -> int:
        """Returns the exit code, once it has ended."""
        self.runs_until(lambda: False)
        return self._popen.returncode

    def send_signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Ends it, and only it, at once, like `kill -9` or a kernel that is out of memory."""
        self._popen.kill()
        self._popen.wait()

    def expect_success(self) -> None:
        code = self.wait()
        expect(code == 0, f"ended with {code}: {self.stderr[-500:]}")
        expect(not self.stderr, f"wrote to stderr: {self.stderr[-500:]}")

    def expect_user_error(self, *parts: str | tuple[str, ...]) -> None:
        """It must end with 2 and one line on stderr that contains all parts; one about TensorBoard may precede it.

        Of a part that is a tuple, it must contain one element.
        """
        code = self.wait()
        lines = [line for line in self.stderr.splitlines() if not line.startswith(TENSORBOARD_FAILED)]
        expect(code == 2, f"ended with {code} instead of 2: {self.stderr[-500:]}")
        options = [(part,) if isinstance(part, str) else part for part in parts]
        fits = len(lines) == 1 and all(any(text in lines[0] for text in texts) for texts in options)
        expect(fits, f"wrote to stderr: {self.stderr[-500:]}")


@contextlib.contextmanager
def _inheritable_interrupt() -> Iterator[None]:
    """Lets processes started meanwhile react to SIGINT, which they would ignore if this one runs in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def start_script(folder: Path, name: str, *arguments: str | os.PathLike) -> ScriptProcess:
    return ScriptProcess(folder, ROOT / name, *arguments)


@contextlib.contextmanager
def busy_cores(enabled: bool) -> Iterator[None]:
    """Keeps every core busy with other processes."""
    count = (os.cpu_count() or 1) if enabled else 0
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def descendants(pid: int) -> set[int]:
    """Returns the processes that a process has started, and those that these have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    latest = {pid}
    while latest:
        latest = {child for child, parent in parents.items() if parent in latest} - found
        found |= latest
    return found


def survivors(pids: set[int], *, seconds: float) -> set[int]:
    """Returns those of some processes that are still running after a while, and kills them."""
    end = time.monotonic() + seconds
    while running := {pid for pid in pids if _is_running(pid)}:
        if time.monotonic() > end:
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return running
        time.sleep(0.01)
    return set()


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

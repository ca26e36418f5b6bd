"""How reliability.py does harm: cases with folders and dice of their own, processes to cut off, disks that are full."""

import contextlib
import filecmp
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests")]
NO_FIGURES = "no more figures for TensorBoard"  # what the trainer says when it can do without
_LONGEST = 300  # seconds that a script may take before it counts as hung
LOCK = ".lock"  # the file by which a script keeps others out of a folder
_OWN_MOUNTS = "RELIABILITY_MOUNTS"  # set in the environment once they are


class Wrong(Exception):  # noqa: N818 - no error of this program
    """Something was lost, or taken for right that is not."""


def expect(condition: object, message: str) -> None:
    if not condition:
        raise Wrong(message)


class Line(NamedTuple):
    """One line of the table."""

    what: str
    tried: str
    result: str


class Row:
    """One row under way: its share of the time, the folders and the dice of its cases, and what went wrong in them."""

    def __init__(self, name: str, folder: Path, *, seed: int, seconds: float) -> None:
        self.name = name
        self.wrong: list[str] = []
        self._folder = folder
        self._seed = seed
        self._deadline = time.monotonic() + seconds

    def has_time(self) -> bool:
        return time.monotonic() < self._deadline

    def numbers(self, count: int) -> Iterator[int]:
        """0, 1, 2… to `count`, or for as long as there is time."""
        for number in range(count):
            if not self.has_time():
                return
            yield number

    @contextlib.contextmanager
    def case(self, name: str) -> Iterator[tuple[Path, random.Random]]:
        """A new folder and dice that follow from the seed. The folder is kept if the case goes wrong."""
        folder = self._folder / f"{self.name}-{name}".replace(" ", "-")
        folder.mkdir()
        print(f"  {self.name}, {name}", file=sys.stderr, flush=True)
        before = len(self.wrong)
        try:
            yield folder, random.Random(f"{self._seed}/{self.name}/{name}")
        except Wrong as wrong:
            self.fail(f"{name}: {wrong} (kept in {folder})")
        if len(self.wrong) == before:
            shutil.rmtree(folder)

    def fail(self, message: str) -> None:
        self.wrong.append(f"{self.name}, {message}; to repeat: --rows {self.name} --seed {self._seed}")
        print(f"  WRONG: {self.wrong[-1]}", file=sys.stderr, flush=True)


def counted(done: int, wanted: int, what: str) -> str:
    """How much was tried, and whether it was all."""
    return f"{done:,} {what}" if done >= wanted else f"{done:,} of {wanted:,} {what}, ended by the time budget"


# ---- processes ----


class Running:
    """Python at work on a command in a process of its own. What it writes goes to files in a folder."""

    def __init__(self, folder: Path, *command: str | os.PathLike) -> None:
        number = len(list(folder.glob("*.out")))
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        environment = {**os.environ, "PYTHONPATH": str(TOP), "PYTHONUNBUFFERED": "1"}
        self.began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, command)], cwd=folder, env=environment, stdout=out, stderr=err
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def lasts_until(self, condition: Callable[[], object]) -> bool:
        """Waits until something is so: True; or until the process ends: False."""
        while self.process.poll() is None:
            if condition():
                return True
            if self.seconds > _LONGEST:
                self.process.kill()
                raise Wrong(f"hung for {_LONGEST} s")
            time.sleep(0.001)
        return False

    def lasts(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        return self.lasts_until(lambda: time.monotonic() >= end)

    def end(self) -> int:
        """Its exit code, once it has ended."""
        self.lasts_until(lambda: False)
        return self.process.returncode

    def kill(self) -> None:
        """What the kernel does when memory runs out, and `kill -9`: it ends at once, and nobody else."""
        self.process.kill()
        self.process.wait()

    def expect_done(self) -> None:
        code = self.end()
        expect(code == 0, f"ended with {code}: {self.err[-500:]}")
        expect(not self.err, f"wrote to stderr: {self.err[-500:]}")

    def expect_refusal(self, *parts: str) -> None:
        """It ends with 2 and one line on stderr, in which all the parts stand, besides one about TensorBoard."""
        code = self.end()
        lines = [line for line in self.err.splitlines() if not line.startswith(NO_FIGURES)]
        expect(code == 2, f"ended with {code} instead of 2: {self.err[-500:]}")
        expect(len(lines) == 1 and all(part in lines[0] for part in parts), f"said: {self.err[-500:]}")


def script(folder: Path, name: str, *arguments: str | os.PathLike) -> Running:
    return Running(folder, TOP / name, *arguments)


@contextlib.contextmanager
def load(switched_on: bool) -> Iterator[None]:
    """Keeps every core busy with something else."""
    count = (os.cpu_count() or 1) if switched_on else 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def descendants(number: int) -> set[int]:
    """The processes that a process has begun, and those that these have begun."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, new = set(), {number}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def outlive(processes: set[int], *, seconds: float) -> set[int]:
    """Those of some processes that are still there after a while; they are ended."""
    end = time.monotonic() + seconds
    while left := {number for number in processes if _is_alive(number)}:
        if time.monotonic() > end:
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, 9)
            return left
        time.sleep(0.01)
    return set()


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# ---- folders and disks ----


def leftovers(folder: Path) -> list[str]:
    """Hidden files, as whatever is half written is one."""
    return [path.name for path in folder.rglob(".*") if path.name != LOCK]


def expect_same_files(folder: Path, other: Path, *, apart: Sequence[str] = ()) -> None:
    """All files of both are the same, byte by byte, but for locks and those of some names."""
    mine, others = (
        {path.relative_to(top) for path in top.rglob("*") if path.is_file() and path.name not in (LOCK, *apart)}
        for top in (folder, other)
    )
    expect(mine == others, f"{folder.name}/ has other files: {sorted(map(str, mine ^ others))[:5]}")
    different = [str(name) for name in sorted(mine) if not filecmp.cmp(folder / name, other / name, shallow=False)]
    expect(not different, f"{folder.name}/ differs in {len(different)} files: {different[:5]}")


def places(folder: Path, raw: Path) -> list[str]:
    """The arguments that make a script read `raw` and write below `folder`."""
    return ["--raw_data", str(raw), "--augmented", f"{folder}/augmented", "--data_path", f"{folder}/data"]


def enter_own_mounts() -> bool:
    """Starts this program again where it may mount disks, which nobody else sees and which vanish with it.

    Returns:
        False where the system does not let it; else True, in the program that has been started again.
    """
    if _OWN_MOUNTS in os.environ:
        return True
    for unshare in (["unshare", "-m"], ["unshare", "-Urm"]):  # as root, and as anybody else
        with contextlib.suppress(FileNotFoundError):
            attempt = subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], stderr=subprocess.DEVNULL)
            if attempt.returncode == 0:
                os.environ[_OWN_MOUNTS] = "1"
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    return False


@contextlib.contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes at a place; should the case go wrong, what is on it is kept beside."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    except Wrong:
        shutil.copytree(place, place.with_name(f"{place.name}-kept"))
        raise
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)

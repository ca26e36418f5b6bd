"""How speed.py measures: pictures and networks made for it, processes, and sides that take turns."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from common import alone

# isort: split

import cv2
import numpy as np

import steps
from config import UserError
from peers import Run
from preprocessing import visible_files

TOP = Path(__file__).parent.parent
CLASSES = "first", "second"  # of the pictures that are made


# ---- the pictures, and taking turns ----


class Bench:
    """One run of the benchmark: its size, and the folder in which pictures and networks are made, each once."""

    def __init__(self, folder: Path, *, raw_data: str, size: float, rounds: int) -> None:
        self.rounds = rounds
        self._size = size
        self._folder = folder
        self._photographs = [
            image for path in visible_files(Path(raw_data)) if (image := cv2.imread(str(path))) is not None
        ]
        if not self._photographs:
            raise UserError(f"--raw_data {raw_data}: no pictures there; name a folder that has some")

    @cached_property
    def machine(self) -> steps.Machine:
        return alone(steps.measure_machine)

    def scaled(self, count: int, *, multiple: int = 2) -> int:
        return max(2, round(count * self._size / multiple)) * multiple  # two pictures a class are the least

    def fresh(self) -> Path:
        """A new, empty folder."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def pictures(self, count: int, height: int, width: int, suffix: str = ".jpg") -> Path:
        """So many pictures in two class folders, no two alike; each follows from its own number."""
        folder = self._folder / f"{count} of {height}x{width}{suffix}"

        def make(number: int) -> None:
            path = folder / CLASSES[number % 2] / f"{number:06d}{suffix}"
            photograph = self._photographs[number % len(self._photographs)]
            image = draw(photograph, height, width, np.random.default_rng(number))
            cv2.imwrite(str(path), image, [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90])

        if not folder.exists():
            for name in CLASSES:
                (folder / name).mkdir(parents=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(make, range(count)))
        return folder

    def network(self) -> Path:
        """The checkpoints of a network that was trained for one epoch, which is as fast to ask as any."""
        folder = self._folder / "network"
        if not folder.exists():
            raw = self.pictures(400, 100, 100)
            script("trainer.py", *places(raw, self.fresh()), "--model_save_name", folder, "--epochs", "1")
        return folder

    def alternate(self, sides: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
        """Measures all sides in turn, several times, and checks that all did the same work."""
        runs = {name: [] for name in sides}
        for number in range(self.rounds):
            for name, side in sides.items():
                runs[name].append(side())
                figures = f"{runs[name][-1].seconds:.2f} s, {runs[name][-1].rate:,.1f} a second"
                print(f"  round {number + 1}, {name}: {figures}", file=sys.stderr, flush=True)
        works = {name: {run.work for run in own} for name, own in runs.items()}
        require(len(set.union(*works.values())) == 1, f"not the same work: {works}")
        return runs


def draw(photograph: np.ndarray, height: int, width: int, dice: np.random.Generator) -> np.ndarray:
    """A piece of a photograph, colours that flow over it, and grain as cameras leave it: uint8 (height, width, 3).

    There is so much grain that, as with the photographs of common data sets, a JPEG takes about 0.15 bytes a pixel.
    """
    rows, columns = photograph.shape[:2]
    top, left = dice.integers(0, rows // 2), dice.integers(0, columns // 2)
    piece = photograph[top : top + rows // 2, left : left + columns // 2]
    flow = dice.integers(0, 256, (6, 6, 3), np.uint8)
    piece, flow = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in (piece, flow))
    grain = cv2.cvtColor(dice.integers(0, 8, (height, width), np.uint8), cv2.COLOR_GRAY2BGR)
    return cv2.add(cv2.addWeighted(piece, 0.5, flow, 0.45, 0), grain)


def places(raw: Path, work: Path) -> list[str]:
    """The arguments that make a script read `raw` and write below `work`."""
    return ["--raw_data", str(raw), "--augmented", f"{work}/augmented", "--data_path", f"{work}/data"]


# ---- processes ----


def run_process(*command: str | os.PathLike, work: object = None, expected: int = 0) -> tuple[Run, str]:
    """Runs Python with arguments from start to end; also returns what it wrote.

    A small process stands between, because Linux counts what the parent holds towards its child's peak of memory.
    """
    between = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call([sys.executable, *sys.argv[1:]])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        f"sys.exit(code != {expected})"
    )
    path = os.pathsep.join(map(str, (TOP, Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", between, *map(str, command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - began
    require(process.returncode == 0, f"{' '.join(map(str, command))} ended badly:\n{process.stdout[-2000:]}")
    *lines, peak = process.stdout.splitlines()
    return Run(seconds, 1, work, int(peak) * (1 if sys.platform == "darwin" else 1024)), "\n".join(lines)


def script(name: str, *arguments: str | os.PathLike, work: object = None) -> Run:
    return run_process(TOP / name, *arguments, work=work)[0]


def code(text: str, *arguments: str | os.PathLike) -> Run:
    return run_process("-c", text, *arguments)[0]


# ---- figures ----


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def per_second(runs: Sequence[Run]) -> str:
    return f"{median([run.rate for run in runs]):,.0f} img/s"


def in_seconds(runs: Sequence[Run]) -> str:
    return f"{median([run.seconds for run in runs]):.2f} s"


def megabytes(run: Run) -> str:
    return f"{run.peak / 1e6:,.0f} MB"


def ratio(ours: list[Run], theirs: list[Run]) -> float:
    """How many times faster ours is, or which share of a limit it reaches."""
    return median([mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)])


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)

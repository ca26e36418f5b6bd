"""Running functions and scripts in processes of their own."""

import multiprocessing
import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.harness.timing import Measurement, require

ROOT = Path(__file__).parent.parent.parent

# Linux counts the memory of the parent towards the peak of its child, so a small process starts the one to measure.
_MEASURE_PEAK = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[2:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code != int(sys.argv[1]))
"""


def in_new_process(function: Callable, *arguments: Any) -> Any:
    """Returns the result of a function that is called in a new process."""
    return in_new_processes(function, [arguments])[0]


def in_new_processes(function: Callable, calls: Iterable[Sequence], *, n_jobs: int = 1) -> list:
    """Returns the result of each call of a function in a new process, given the arguments of each call.

    Of `n_jobs` that run at the same time, each has an equal part of the processor's cores for itself, if there are
    enough and the system can bind a process to cores. Else their threads would wait for each other.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    free: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for job in range(n_jobs):
        free.put(cores[job::n_jobs] if n_jobs <= len(cores) else cores)

    def run(arguments: Sequence) -> Any:
        own = free.get()
        try:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context, initializer=_bind_to, initargs=(own,)) as pool:
                return pool.submit(function, *arguments).result()
        finally:
            free.put(own)

    with ThreadPoolExecutor(n_jobs) as threads:
        return list(threads.map(run, calls))


def _bind_to(cores: Sequence[int]) -> None:
    if cores:  # else this system cannot do it
        os.sched_setaffinity(0, cores)


def run_python(*arguments: str | os.PathLike, expected: int = 0) -> tuple[Measurement, str]:
    """Runs Python with some arguments from start to end, in the root of the repository.

    Returns:
        its time and the peak of its memory, and what it printed.

    Raises:
        RuntimeError: its exit code is not the expected one.
    """
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", _MEASURE_PEAK, str(expected), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - start
    command = " ".join(map(str, arguments))
    require(process.returncode == 0, f"{command} failed:\n{process.stdout[-2000:]}")
    *lines, peak = process.stdout.splitlines()
    unit = 1 if sys.platform == "darwin" else 1024
    return Measurement(seconds, peak=int(peak) * unit), "\n".join(lines)


def time_script(name: str, *arguments: str | os.PathLike) -> Measurement:
    """Runs one of the scripts in the root of the repository from start to end."""
    return run_python(ROOT / name, *arguments)[0]


def folder_arguments(raw: Path, work: Path) -> list[str]:
    """Returns the arguments that make a script read `raw` and write below `work`."""
    return ["--raw_data", str(raw), "--augmented", f"{work}/augmented", "--data_path", f"{work}/data"]

"""The experiment with disks that are full or read-only."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.faults.campaign import Experiment, Failure, Row, expect, format_tried
from benchmarks.faults.folders import expect_no_partial_files, expect_same_files, pictures_of_many_sizes
from benchmarks.faults.processes import TENSORBOARD_FAILED, start_script
from benchmarks.faults.resumed import ReferenceRun, TrainingRun
from benchmarks.harness.processes import folder_arguments
from pictures.manifest import TRAIN, VALIDATION

_PAGE = 4096  # bytes
_PLENTY = 2**28  # bytes: a disk that is large enough
_PICTURES = 60  # in data/
_NO_SPACE = "No space left on device; free some space on", "more of disk, but only"  # noticed late, or at the start
_READ_ONLY = "Read-only file system; make that disk writable"
_HAS_NAMESPACE = "RELIABILITY_MOUNT_NAMESPACE"  # set in the environment once it is entered


def disk_full(experiment: Experiment, *, points: int, reference: ReferenceRun) -> Iterator[Row]:
    """Runs scripts with disks of as many sizes as there are points."""
    if not enter_mount_namespace():
        yield Row(experiment.name, "nothing", "this system does not permit mounting a disk")
        return
    yield checkpoints_on_small_disks(experiment, reference.finished(), points)
    yield tensorboard_on_a_full_disk(experiment, reference)
    yield data_on_small_disks(experiment, points)
    yield read_only_disks(experiment, reference)


# ---- disks ----


def enter_mount_namespace() -> bool:
    """Starts this program again where it may mount disks, which only it sees and which disappear with it.

    Returns:
        False if the system does not permit it; otherwise True, in the program that was started again.
    """
    if _HAS_NAMESPACE in os.environ:
        return True
    for unshare in (["unshare", "-m"], ["unshare", "-Urm"]):  # as root, and as anyone else
        with contextlib.suppress(FileNotFoundError):
            attempt = subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], stderr=subprocess.DEVNULL)
            if attempt.returncode == 0:
                os.environ[_HAS_NAMESPACE] = "1"
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.orig_argv[1:]])
    return False


@contextlib.contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """Mounts a disk of `size` bytes at a folder. If the case fails, its content is kept in a folder next to it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    except Failure:
        shutil.copytree(folder, folder.with_name(f"{folder.name}-kept"))
        raise
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def too_small_sizes(needed: int, points: int) -> list[int]:
    """Returns sizes of disks, from a single page to one less than needed."""
    return [int(size) // _PAGE * _PAGE for size in np.linspace(_PAGE, needed - _PAGE, points)]


# ---- the rows ----


def peak_usage(experiment: Experiment, reference: ReferenceRun) -> int:
    """Returns the most bytes that the checkpoints of a run occupy at any time."""
    peak = 0
    with experiment.case("peak usage") as (folder, _):
        run = TrainingRun(folder, reference.raw, reference.arguments)
        with disk(run.checkpoints, _PLENTY):

            def look() -> bool:
                nonlocal peak
                status = os.statvfs(run.checkpoints)
                peak = max(peak, (status.f_blocks - status.f_bfree) * status.f_frsize)
                return False

            process = run.start()
            process.runs_until(look)
            process.expect_success()
    return peak


def checkpoints_on_small_disks(experiment: Experiment, reference: ReferenceRun, points: int) -> Row:
    needed = peak_usage(experiment, reference)
    sizes = too_small_sizes(needed, points)
    counts = Counter()
    for number in experiment.numbers(points):
        with experiment.case(f"{sizes[number]} bytes") as (folder, _):
            counts["all"] += 1
            run = TrainingRun(folder, reference.raw, reference.arguments)
            with disk(run.checkpoints, sizes[number]):
                process = run.start()
                if process.wait():
                    process.expect_user_error(str(run.checkpoints), _NO_SPACE)
                    counts["refused"] += 1
                expect_no_partial_files(folder)
                run.check(process)
                remount(run.checkpoints, f"size={_PLENTY}")
                run.finish()
                run.expect_same(reference, curves=bool(process.exit_code))
                counts["same"] += 1
    tried = format_tried(counts["all"], points, f"sizes up to {needed / 1e6:.1f} MB")
    result = (
        f"{counts['refused']} ended with 2 and one line; {counts['same']} of {counts['all']} ended equal to the bit "
        "when there was space again"
    )
    return Row(f"{experiment.name}, checkpoints/", tried, result)


def tensorboard_on_a_full_disk(experiment: Experiment, reference: ReferenceRun) -> Row:
    same = 0
    with experiment.case("tensorboard") as (folder, _), contextlib.ExitStack() as stack:
        run = TrainingRun(folder, reference.raw, reference.arguments)
        for name in (TRAIN, VALIDATION):
            stack.enter_context(disk(run.checkpoints / name, _PAGE))
            (run.checkpoints / name / "full").write_bytes(bytes(_PAGE))
        process = run.start()
        expect(process.wait() == 0, f"ended with {process.exit_code}: {process.stderr[-500:]}")
        one_line = process.stderr.startswith(TENSORBOARD_FAILED) and len(process.stderr.splitlines()) == 1
        expect(one_line, f"wrote to stderr: {process.stderr[-500:]}")
        run.check(process)
        run.expect_same(reference, curves=False)
        same = 1
    return Row(f"{experiment.name}, TensorBoard's folders", "1 run", f"{same} ended equal to the bit, with one line")


def data_on_small_disks(experiment: Experiment, points: int) -> Row:
    same = tried = needed = 0
    with experiment.case("data reference") as (reference, _):
        raw = pictures_of_many_sizes(reference / "raw", _PICTURES)
        start_script(reference, "preprocessing.py", *folder_arguments(raw, reference)).expect_success()
        files = [path for path in (reference / "data").rglob("*") if path.is_file()]
        needed = sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files)
        sizes = too_small_sizes(needed, points)
        for number in experiment.numbers(points):
            with experiment.case(f"data {sizes[number]} bytes") as (folder, _):
                tried += 1
                with disk(folder / "data", sizes[number]):
                    process = start_script(folder, "preprocessing.py", *folder_arguments(raw, folder))
                    process.expect_user_error(f"{folder}/data", _NO_SPACE)
                    expect_no_partial_files(folder)
                    remount(folder / "data", f"size={_PLENTY}")
                    start_script(folder, "preprocessing.py", *folder_arguments(raw, folder)).expect_success()
                    expect_same_files(folder / "data", reference / "data")
                    same += 1
    result = f"{same} of {tried} ended with 2 and one line, and equal to the bit when there was space again"
    tried_text = format_tried(tried, points, f"sizes up to {needed / 1e6:.1f} MB")
    return Row(f"{experiment.name}, data/", tried_text, result)


def read_only_disks(experiment: Experiment, reference: ReferenceRun) -> Row:
    refused = 0
    for script, name in {"trainer.py": "checkpoints", "preprocessing.py": "data"}.items():
        with experiment.case(f"read-only {name}") as (folder, _), disk(folder / name, _PLENTY):
            remount(folder / name, "ro")
            option = ["--model_save_name", folder / name] if script == "trainer.py" else []
            process = start_script(folder, script, *folder_arguments(reference.raw, folder), *option)
            process.expect_user_error(f"{folder / name}", _READ_ONLY)
            refused += 1
    return Row(f"{experiment.name}, read-only checkpoints/, data/", "2 runs", f"{refused} ended with 2 and one line")

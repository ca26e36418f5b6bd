"""The rows of reliability.py that damage checkpoints and fill disks."""

import contextlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from campaign import (
    NO_FIGURES,
    TOP,
    Line,
    Row,
    counted,
    disk,
    enter_own_mounts,
    expect,
    expect_same_files,
    leftovers,
    places,
    remount,
    script,
)

# isort: split

import numpy as np

from checkpoint import BEST, load_classifier, read_tensors
from config import UserError
from description import DESCRIPTION, read_description
from kills import pictures_of_many_sizes
from resumed import Training, Undisturbed, newest_file

SMALL = ["--height", "16", "--width", "16", "--batch_size", "2", "--patience", "1000"]
_PAGE = 4096  # bytes, which disks write at a time
_EVERY = 37  # of the truncations
_PLENTY = 2**28  # bytes of a disk


def few_pictures(folder: Path) -> Path:
    """A dozen of the shipped pictures of each class."""
    for class_folder in sorted((TOP / "rawdata").iterdir()):
        (folder / class_folder.name).mkdir(parents=True)
        for path in sorted(class_folder.iterdir())[:12]:
            shutil.copy(path, folder / class_folder.name)
    return folder


# ---- damaged checkpoints ----


@contextlib.contextmanager
def overwritten(path: Path, content: dict[int, bytes]) -> Iterator[None]:
    """Other bytes in a file, by their places; for the time being."""
    former = {}
    with path.open("r+b") as file:
        for place, data in content.items():
            file.seek(place)
            former[place] = file.read(len(data))
            file.seek(place)
            file.write(data)
    yield
    with path.open("r+b") as file:
        for place, data in former.items():
            file.seek(place)
            file.write(data)


def flips(path: Path, bits: Iterable[int]) -> Iterator[str]:
    """The same file with a single other bit, again and again; what is yielded says which."""
    content = path.read_bytes()
    for bit in bits:
        with overwritten(path, {bit // 8: bytes([content[bit // 8] ^ 1 << bit % 8])}):
            yield f"bit {bit} flipped"


def pages(path: Path, dice: random.Random, *, swapped: bool, count: int) -> Iterator[str]:
    """The same file with a page of zeros, or with two pages in each other's place."""
    content = path.read_bytes()
    while count:
        one, other = dice.sample(range(len(content) // _PAGE), 2)
        first, second = (content[_PAGE * page : _PAGE * (page + 1)] for page in (one, other))
        change = {_PAGE * one: second, _PAGE * other: first} if swapped else {_PAGE * one: bytes(_PAGE)}
        if first != second and any(first):  # or it would be no damage
            count -= 1
            with overwritten(path, change):
                yield f"pages {one} and {other} swapped" if swapped else f"page {one} zeroed"


def truncations(path: Path, lengths: Iterable[int]) -> Iterator[str]:
    """The same file with less and less of it, in place, as that is fast."""
    for length in lengths:
        os.truncate(path, length)
        yield f"cut off behind {length} bytes"


def checkpoint_damage(row: Row, other: Undisturbed) -> Iterator[Line]:
    other.made()
    with row.case("files") as (folder, dice):
        for what, source in {"checkpoint": other.checkpoints, "best": other.checkpoints / BEST}.items():
            path = Path(shutil.copy(newest_file(source), folder))
            size = path.stat().st_size
            header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
            kinds = {
                "bit flips": (flips(path, dice.sample(range(8 * size), 1000)), 1000),
                "bit flips in its header": (flips(path, dice.sample(range(8 * header), 1000)), 1000),
                "zeroed pages": (pages(path, dice, swapped=False, count=100), 100),
                "swapped pages": (pages(path, dice, swapped=True, count=100), 100),
                "truncations": (truncations(path, lengths := range(size - 1, -1, -_EVERY)), len(lengths)),
            }
            for kind, (damages, count) in kinds.items():
                read_tensors(path)  # whole until now
                yield refusals(row, f"{what}, {size / 1e6:.1f} MB: {kind}", path, damages, count)
    yield from description_damage(row, other)


def refusals(row: Row, what: str, path: Path, damages: Iterator[str], count: int) -> Line:
    """Reads a file in every state of damage, none of which may be believed."""
    tried = refused = 0
    for damage in damages:
        tried += 1
        try:
            read_tensors(path)
        except ValueError:
            refused += 1
        except Exception as error:
            row.fail(f"{what}: {damage}: {error!r}")
        else:
            row.fail(f"{what}: {damage}: accepted")
        if not row.has_time():
            break
    return Line(f"{row.name}, {what}", counted(tried, count, "damaged files"), f"{refused:,} refused")


def description_damage(row: Row, other: Undisturbed) -> Iterator[Line]:
    with row.case("description") as (folder, _):
        shutil.copytree(other.checkpoints / BEST, folder / BEST)
        path = Path(shutil.copy(other.checkpoints / DESCRIPTION, folder))
        right, size = read_description(folder), path.stat().st_size
        tried = Counter()
        for damages in (flips(path, range(8 * size)), truncations(path, range(size - 1, -1, -1))):
            for damage in damages:
                tried["all"] += 1
                try:
                    _, found = load_classifier(folder)
                    tried["harmless"] += 1
                    expect(found == right, f"{damage}: taken for {found}")
                except UserError:
                    tried["refused"] += 1
                if not row.has_time():
                    break
    what = f"{row.name}, {DESCRIPTION}, {size} bytes: every bit flip, every truncation"
    result = f"{tried['refused']:,} refused, {tried['harmless']:,} read as what was written"
    yield Line(what, counted(tried["all"], 9 * size, "damaged files"), result)


# ---- full disks ----


def disk_full(row: Row, other: Undisturbed, points: int = 20) -> Iterator[Line]:
    if not enter_own_mounts():
        yield Line(row.name, "nothing", "this system lets nobody mount a disk for it")
        return
    yield checkpoints_on_small_disks(row, other.made(), points)
    yield figures_on_a_full_disk(row, other)
    yield data_on_small_disks(row, points)
    yield read_only_disks(row, other)


def most_used(row: Row, other: Undisturbed) -> int:
    """Bytes that a run takes at most, its files and what it writes before it deletes."""
    most = 0
    with row.case("need") as (folder, _):
        training = Training(folder, other.raw, other.arguments)
        with disk(training.checkpoints, _PLENTY):

            def look() -> bool:
                nonlocal most
                state = os.statvfs(training.checkpoints)
                most = max(most, (state.f_blocks - state.f_bfree) * state.f_frsize)
                return False

            run = training.start()
            run.lasts_until(look)
            run.expect_done()
    return most


def sizes(most: int, points: int) -> list[int]:
    """Of disks, from a single page to all but one of those that are needed."""
    return [int(size) // _PAGE * _PAGE for size in np.linspace(_PAGE, most - _PAGE, points)]


def checkpoints_on_small_disks(row: Row, other: Undisturbed, points: int) -> Line:
    most = most_used(row, other)
    tried = Counter()
    for size in (sizes(most, points)[number] for number in row.numbers(points)):
        with row.case(f"{size} bytes") as (folder, _):
            tried["all"] += 1
            training = Training(folder, other.raw, other.arguments)
            with disk(training.checkpoints, size):
                run = training.start()
                if run.end():
                    run.expect_refusal(str(training.checkpoints), "No space left on device; free some space on")
                    tried["refused"] += 1
                expect(not leftovers(folder), f"left over: {leftovers(folder)}")
                training.check(run)
                remount(training.checkpoints, f"size={_PLENTY}")
                training.finish()
                training.expect_same(other, curves=bool(run.process.returncode))
                tried["same"] += 1
    result = (
        f"{tried['refused']} ended with 2 and one line; {tried['same']} of {tried['all']} ended equal to the bit when "
        "there was room again"
    )
    return Line(f"{row.name}, checkpoints/", counted(tried["all"], points, f"sizes up to {most / 1e6:.1f} MB"), result)


def figures_on_a_full_disk(row: Row, other: Undisturbed) -> Line:
    same = 0
    with row.case("figures") as (folder, _), contextlib.ExitStack() as stack:
        training = Training(folder, other.raw, other.arguments)
        for name in ("train", "validation"):
            stack.enter_context(disk(training.checkpoints / name, _PAGE))
            (training.checkpoints / name / "full").write_bytes(bytes(_PAGE))
        run = training.start()
        expect(run.end() == 0, f"ended with {run.process.returncode}: {run.err[-500:]}")
        expect(run.err.startswith(NO_FIGURES) and len(run.err.splitlines()) == 1, f"said: {run.err[-500:]}")
        training.check(run)
        training.expect_same(other, curves=False)
        same = 1
    return Line(f"{row.name}, TensorBoard's folders", "1 run", f"{same} ended equal to the bit, with one line")


def data_on_small_disks(row: Row, points: int) -> Line:
    same = tried = 0
    with row.case("data undisturbed") as (clean, _):
        raw = pictures_of_many_sizes(clean / "raw", 60)
        script(clean, "preprocessing.py", *places(clean, raw)).expect_done()
        need = sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in (clean / "data").rglob("*") if path.is_file())
        for size in (sizes(need, points)[number] for number in row.numbers(points)):
            with row.case(f"data {size} bytes") as (folder, _):
                tried += 1
                with disk(folder / "data", size):
                    run = script(folder, "preprocessing.py", *places(folder, raw))
                    run.expect_refusal(f"{folder}/data", "No space left on device; free some space on")
                    expect(not leftovers(folder), f"left over: {leftovers(folder)}")
                    remount(folder / "data", f"size={_PLENTY}")
                    script(folder, "preprocessing.py", *places(folder, raw)).expect_done()
                    expect_same_files(folder / "data", clean / "data")
                    same += 1
    result = f"{same} of {tried} ended with 2 and one line, and equal to the bit when there was room again"
    return Line(f"{row.name}, data/", counted(tried, points, f"sizes up to {need / 1e6:.1f} MB"), result)


def read_only_disks(row: Row, other: Undisturbed) -> Line:
    refused = 0
    for name, made in {"trainer.py": "checkpoints", "preprocessing.py": "data"}.items():
        with row.case(f"read-only {made}") as (folder, _), disk(folder / made, _PLENTY):
            remount(folder / made, "ro")
            where = ["--model_save_name", folder / made] if name == "trainer.py" else []
            run = script(folder, name, *places(folder, other.raw), *where)
            run.expect_refusal(f"{folder / made}", "Read-only file system; make that disk writable")
            refused += 1
    return Line(f"{row.name}, read-only checkpoints/, data/", "2 runs", f"{refused} ended with 2 and one line")

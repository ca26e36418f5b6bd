"""The experiment that damages checkpoints, model.tflite and model.json."""

import contextlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from answers.trained_network import load_trained_network
from benchmarks.faults.campaign import Experiment, Row, expect, format_tried
from benchmarks.faults.resumed import ReferenceRun, newest_checkpoint
from network.checkpoint_file import BEST, read_checkpoint
from network.model_config import MODEL_CONFIG, read_model_config
from network.model_file import MODEL_FILE, read_model_file
from system.errors import UserError

_PAGE = 4096  # bytes that disks write at a time
_TRUNCATION_STEP = 37  # bytes between the truncations that are tried


def checkpoint_damage(experiment: Experiment, *, size: float, reference: ReferenceRun) -> Iterator[Row]:
    """Damages the newest and the best checkpoint and the model file in many ways; `size` is a factor of how often."""
    reference.finished()
    flip_count, page_count = (max(1, round(size * count)) for count in (1000, 100))
    step = max(1, round(_TRUNCATION_STEP / size))
    with experiment.case("checkpoints") as (folder, rng):
        for name, source in {"checkpoint": reference.checkpoints, "best": reference.checkpoints / BEST}.items():
            path = Path(shutil.copy(newest_checkpoint(source), folder))
            length = path.stat().st_size
            header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
            lengths = range(length - 1, -1, -step)
            kinds = {
                "bit flips": (flips(path, rng.sample(range(8 * length), flip_count)), flip_count),
                "bit flips in its header": (flips(path, rng.sample(range(8 * header), flip_count)), flip_count),
                "zeroed pages": (pages(path, rng, swapped=False, count=page_count), page_count),
                "swapped pages": (pages(path, rng, swapped=True, count=page_count), page_count),
                "truncations": (truncations(path, lengths), len(lengths)),
            }
            for kind, (damages, count) in kinds.items():
                read_checkpoint(path)  # intact until now
                yield read_damaged(experiment, f"{name}, {length / 1e6:.1f} MB: {kind}", path, damages, count)
    yield from model_file_damage(experiment, size=size, reference=reference)
    yield from model_config_damage(experiment, reference)


def model_file_damage(experiment: Experiment, *, size: float, reference: ReferenceRun) -> Iterator[Row]:
    """Damages the model file, whose archive has bits that mean nothing: it must be refused, or read as before."""
    flip_count, page_count = (max(1, round(size * count)) for count in (1000, 100))
    with experiment.case(MODEL_FILE) as (folder, rng):
        path = Path(shutil.copy(reference.checkpoints / MODEL_FILE, folder))
        expected, length = read_model_file(path), path.stat().st_size
        archive = range(8 * expected.size, 8 * length)
        lengths = range(length - 1, -1, -max(1, length // flip_count))
        kinds = {
            "bit flips": (flips(path, rng.sample(range(8 * length), flip_count)), flip_count),
            "bit flips in its archive": (flips(path, rng.sample(archive, flip_count)), flip_count),
            "zeroed pages": (pages(path, rng, swapped=False, count=page_count), page_count),
            "truncations": (truncations(path, lengths), len(lengths)),
        }
        for kind, (damages, count) in kinds.items():
            counts = Counter()
            with contextlib.closing(damages):  # which repairs the file
                for damage in damages:
                    counts["all"] += 1
                    try:
                        found = read_model_file(path)
                        counts["harmless"] += 1
                        expect(found._replace(content=expected.content) == expected, f"{damage}: read as another")
                    except UserError:
                        counts["refused"] += 1
                    if not experiment.has_time():
                        break
            tried = format_tried(counts["all"], count, "damaged files")
            result = f"{counts['refused']:,} refused, {counts['harmless']:,} read as before"
            yield Row(f"{experiment.name}, {MODEL_FILE}, {length / 1e6:.1f} MB: {kind}", tried, result)


def read_damaged(experiment: Experiment, what: str, path: Path, damages: Iterator[str], count: int) -> Row:
    """Reads a checkpoint after each damage: it must be refused."""
    tried = refused = 0
    with contextlib.closing(damages):  # which repairs the file
        for damage in damages:
            tried += 1
            try:
                read_checkpoint(path)
            except ValueError:
                refused += 1
            except Exception as error:
                experiment.fail(f"{what}: {damage}: {error!r}")
            else:
                experiment.fail(f"{what}: {damage}: accepted")
            if not experiment.has_time():
                break
    tried_text = format_tried(tried, count, "damaged files")
    return Row(f"{experiment.name}, {what}", tried_text, f"{refused:,} refused")


def model_config_damage(experiment: Experiment, reference: ReferenceRun) -> Iterator[Row]:
    """Flips every bit of model.json and truncates it to every length: it must be refused or read as before."""
    with experiment.case(MODEL_CONFIG) as (folder, _):
        shutil.copytree(reference.checkpoints / BEST, folder / BEST)
        path = Path(shutil.copy(reference.checkpoints / MODEL_CONFIG, folder))
        expected, length = read_model_config(folder), path.stat().st_size
        counts = Counter()
        for damages in (flips(path, range(8 * length)), truncations(path, range(length - 1, -1, -1))):
            for damage in damages:
                counts["all"] += 1
                try:
                    found = load_trained_network(folder).model_config
                    counts["harmless"] += 1
                    expect(found == expected, f"{damage}: read as {found}")
                except UserError:
                    counts["refused"] += 1
                if not experiment.has_time():
                    break
    name = f"{experiment.name}, {MODEL_CONFIG}, {length} bytes: every bit flip, every truncation"
    result = f"{counts['refused']:,} refused, {counts['harmless']:,} read as before"
    yield Row(name, format_tried(counts["all"], 9 * length, "damaged files"), result)


# ---- ways to damage a file: each yields descriptions, while the file is damaged in that way ----


def flips(path: Path, bits: Iterable[int]) -> Iterator[str]:
    """Flips one bit at a time."""
    content = path.read_bytes()
    for bit in bits:
        with _overwritten(path, {bit // 8: bytes([content[bit // 8] ^ 1 << bit % 8])}):
            yield f"bit {bit} flipped"


def pages(path: Path, rng: random.Random, *, swapped: bool, count: int) -> Iterator[str]:
    """Overwrites one page with zeros, or swaps two pages."""
    content = path.read_bytes()
    while count:
        one, other = rng.sample(range(len(content) // _PAGE), 2)
        first, second = (content[_PAGE * page : _PAGE * (page + 1)] for page in (one, other))
        change = {_PAGE * one: second, _PAGE * other: first} if swapped else {_PAGE * one: bytes(_PAGE)}
        if first != second and any(first):  # otherwise nothing would change
            count -= 1
            with _overwritten(path, change):
                yield f"pages {one} and {other} swapped" if swapped else f"page {one} zeroed"


def truncations(path: Path, lengths: Iterable[int]) -> Iterator[str]:
    """Truncates the file to decreasing lengths, in place because that is fast. It stays truncated."""
    for length in lengths:
        os.truncate(path, length)
        yield f"truncated to {length} bytes"


@contextlib.contextmanager
def _overwritten(path: Path, content: dict[int, bytes]) -> Iterator[None]:
    """Temporarily overwrites parts of a file, given by their positions."""
    previous = {}
    with path.open("r+b") as file:
        for position, data in content.items():
            file.seek(position)
            previous[position] = file.read(len(data))
            file.seek(position)
            file.write(data)
    try:
        yield
    finally:
        with path.open("r+b") as file:
            for position, data in previous.items():
                file.seek(position)
                file.write(data)

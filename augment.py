"""Makes randomly transformed copies of the training pictures of `rawdata/`, in `augmented/<class>/`.

Edit the list of transforms below. They are Augmentor's, but each is performed with random numbers of our own, since
Augmentor rounds its probabilities to one decimal and is not reproducible. The same seed gives the same files, however
often the run was interrupted. Only pictures on the training side of the split are copied. A picture that cannot be read
is named and has no copies; the exit code is 0 all the same, as in preprocessing.
"""

if __name__ == "__main__":  # before the imports, which take a moment
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - `python -P` leaves it out
    from system.startup import start_script

    start_script()

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from Augmentor.Operations import BlackAndWhite, Flip, Operation, RotateRange, Skew

from config import AugmentConfig
from pictures.copies import CopyTask, make_copies, plan
from pictures.copy_names import source_of
from pictures.distortion import GaussianDistortion
from pictures.folders import picture_files
from preprocessing import preprocess
from system.errors import EXIT_SUCCESS
from system.files import fsync_all, locked, remove_partial_files, write_atomically
from system.pool import imap
from system.script import run_script
from system.terminal import plural, print_entry, printable, wrapped


def transforms(config: AugmentConfig) -> list[Operation]:
    """Returns the transforms in the order in which they are performed, each with its own probability.

    None turns a picture upside down.
    """
    return [
        Flip(probability=config.mirror, top_bottom_left_right="LEFT_RIGHT"),
        BlackAndWhite(probability=0.1, threshold=128),
        GaussianDistortion(probability=0.4, grid_width=7, grid_height=6, magnitude=6),
        RotateRange(probability=0.3, max_left_rotation=10, max_right_rotation=10),
        Skew(probability=0.4, skew_type="RANDOM", magnitude=0.5),
        Skew(probability=0.6, skew_type="TILT", magnitude=0.8),
        Skew(probability=0.5, skew_type="TILT_LEFT_RIGHT", magnitude=0.8),
    ]


def write_copies(tasks: Sequence[CopyTask], config: AugmentConfig) -> dict[str, str]:
    """Makes and writes all copies. Returns the sources that have none, with the reason."""
    folder = Path(config.augmented)
    failures: dict[str, str] = {}
    written: list[Path] = []
    chunks = [chunk for task in tasks for chunk in task.chunks(config.images_per_chunk)]
    results = imap(
        partial(make_copies, config=config, operations=transforms(config)),
        chunks,
        on_failure=lambda _, reason: reason,
        description="augmenting",
        chunksize=1,
    )
    for chunk, copies in zip(chunks, results, strict=True):
        if isinstance(copies, str):
            failures.setdefault(chunk.picture.source, copies)
        else:
            for name, data in zip(chunk.names(), copies, strict=True):
                written.append(folder / name)
                write_atomically(written[-1], data, fsync=False)
    if written:
        fsync_all(written)
    return failures


def remove_old_copies(folder: Path, keep: set[str]) -> int:
    """Deletes the copies of earlier runs, except those to keep, and returns their number. Other files stay."""
    copies = [path for path in picture_files(folder) if source_of(path.name)[1]]
    old = [path for path in copies if path.relative_to(folder).as_posix() not in keep]
    for path in old:
        path.unlink()
    return len(old)


def main(config: AugmentConfig) -> int:
    pictures = preprocess(config)  # finds out which sources are readable and which are for training
    tasks = plan(pictures, config.sample)
    folder = Path(config.augmented)
    with locked(folder, wait=True):
        remove_partial_files(folder, is_ours=lambda name: source_of(name)[1])
        failures = write_copies(tasks, config)
        copied = [task for task in tasks if task.picture.source not in failures]
        names = {name for task in copied for name in task.names()}
        removed = remove_old_copies(folder, names)
    for task in tasks:
        if reason := failures.get(task.picture.source):
            print(wrapped(f"skipped {printable(task.picture.path)}: {printable(reason)}"))
    also_removed = f"; {removed:,} of an earlier run removed" if removed else ""
    copies = f"{len(names):,} copies of {plural(len(copied), 'picture')} to train on"
    print_entry(f"{printable(folder)}/", f"{copies}{also_removed}")
    folders = {name: getattr(config, name) for name in ("raw_data", "augmented", "data_path")}
    changed = (
        f" --{name} {shlex.quote(path)}" for name, path in folders.items() if path != getattr(AugmentConfig, name)
    )
    print_entry("next", printable(f"python trainer.py --model_save_name checkpoints-augmented{''.join(changed)}"))
    print_entry("", "a run that started without these copies cannot continue with them")
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, AugmentConfig, __doc__)

"""What the benchmarks share: pictures put aside, networks trained in processes of their own, figures over seeds."""

import contextlib
import multiprocessing
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

import dataset
from config import PictureConfig, TrainConfig
from manifest import validation_sources
from preprocessing import list_pictures, prepare

_PUT_ASIDE = 0.2  # share of the photographs of each class


def alone(function: Callable, *arguments: Any) -> Any:
    """Runs a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def settings_in(work: Path, raw_data: Path | str, **changes: Any) -> TrainConfig:
    """The defaults, with all that is made in a folder `work`."""
    return TrainConfig(
        raw_data=str(raw_data),
        augmented=f"{work}/none",
        data_path=f"{work}/data",
        model_save_name=f"{work}/checkpoints",
        **changes,
    )


def put_aside(raw_data: str, work: Path, seed: int, *, rare: int = 0) -> None:
    """Copies a fifth of the photographs of each class to work/aside and the others to work/rest.

    Near-duplicates stay together; those that lie in several classes are not put aside. With `rare`, only so many
    photographs of the first class are left to work/rest, and more are put aside.
    """
    with contextlib.redirect_stdout(None):
        pictures = prepare(PictureConfig(raw_data=raw_data, data_path=f"{work}/all", augmented=f"{work}/none"))
    homes = defaultdict(set)
    for picture in pictures:
        homes[picture.group].add(picture.class_name)
    for place, class_name in enumerate(dataset.class_names(pictures)):
        own = [group for group, names in homes.items() if names == {class_name}]
        aside = validation_sources(own, share=_PUT_ASIDE, seed=1000 + seed)
        if rare and not place:
            rest = set(own) - aside
            aside |= rest - validation_sources(rest, share=rare / len(rest), seed=2000 + seed)
        for picture in pictures:
            if picture.class_name == class_name:
                below = Path(picture.origin).relative_to(raw_data)
                copy = work / ("aside" if picture.group in aside else "rest") / below
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture.origin, copy)


def read(folder: Path | str, work: Path) -> dataset.Samples:
    """All pictures in the class folders of a folder, standardised as the trainer does it."""
    config = PictureConfig(raw_data=f"{work}/none/raw", augmented=f"{work}/none/copies", data_path=str(folder))
    pictures = [replace(p, file=p.file.removesuffix(".png")) for p in list_pictures(Path(folder), config)]
    return dataset.load(pictures, config)


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean

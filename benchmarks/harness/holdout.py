"""Pictures that are held out before anything else happens, to test networks with."""

import contextlib
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from config import PictureConfig
from pictures.folders import find_classes, picture_files, read_image
from pictures.manifest import class_names
from pictures.split import draw_validation_groups
from preprocessing import training_pictures
from training.batches import Samples

TEST, REST = "test", "rest"  # the folders that `hold_out` fills
_TEST_FRACTION = 0.2  # of the photos of each class


def hold_out(raw_data: str, work: Path, seed: int, *, rare: int = 0) -> None:
    """Copies a fifth of the photos of each class to work/test and the others to work/rest.

    Near-duplicates stay together; those that are in several classes are not held out. `rare` limits the number of
    photos of the first class in work/rest; the others are held out too.
    """
    with contextlib.redirect_stdout(None):
        pictures = training_pictures(
            PictureConfig(raw_data=raw_data, data_path=f"{work}/all", augmented=f"{work}/none")
        )
    classes_of = defaultdict(set)
    for picture in pictures:
        classes_of[picture.group].add(picture.class_name)
    for label, class_name in enumerate(class_names(pictures)):
        own = [group for group, names in classes_of.items() if names == {class_name}]
        test = draw_validation_groups(own, fraction=_TEST_FRACTION, seed=1000 + seed)
        if rare and label == 0:
            rest = set(own) - test
            test |= rest - draw_validation_groups(rest, fraction=rare / len(rest), seed=2000 + seed)
        for picture in pictures:
            if picture.class_name == class_name:
                copy = work / (TEST if picture.group in test else REST) / Path(picture.path).relative_to(raw_data)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture.path, copy)


def load_classes(folder: Path) -> Samples:
    """Returns all pictures in the class folders of a folder, decoded as for training."""
    config = PictureConfig()
    files = [
        (label, path)
        for label, class_folder in enumerate(find_classes(folder).values())
        for path in picture_files(class_folder)
    ]
    images = [read_image(path, config, max_pixels=config.max_pixels) for _, path in files]
    return Samples(np.stack(images), np.array([label for label, _ in files], np.int32), [path for _, path in files])

"""Pictures and networks to ask about, for the tests of predict.py."""

import shutil
from pathlib import Path

from conftest import write_picture

from checkpoint import load_classifier, save_calibration


def picture(name: str, *, label: int = 0, seed: int = 500) -> str:
    return str(write_picture(Path(name), label=label, seed=seed))


def with_limits(trained: Path, folder: Path, *, farthest: float) -> Path:
    """A copy of the checkpoints whose network refuses what is farther from its training pictures than this."""
    shutil.copytree(trained, folder)
    classifier, _ = load_classifier(folder)
    classifier.calibration.farthest.assign(farthest)
    save_calibration(folder, classifier)
    return folder

"""The folder of an ensemble: a sub-folder for each member, and how their answers are calibrated. Needs no TensorFlow.

checkpoints/fold-1, fold-2 …   the folder of each member, a complete run
checkpoints/model.json         the settings of all, with the number of folds
checkpoints/ensemble.json      the calibration of the members together, and the checksums of those it was fitted for
checkpoints/model.tflite       all members in one file
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from config import TrainConfig
from network.checkpoint_file import checkpoint_paths, is_ensemble, member_folders, stored_checksum, trained_paths
from network.model_config import MODEL_CONFIG, ModelConfig, require_same
from system.errors import UserError
from system.files import write_atomically
from system.terminal import printable

ENSEMBLE = "ensemble.json"
_VERSION = 1  # of the format of ensemble.json
_MAX_BYTES = 2**16  # of the file


class EnsembleCalibration(NamedTuple):
    """Fitted once for all members together."""

    slope: float  # of the log-odds
    intercept: float  # added to them
    max_distance: float = math.inf  # pictures farther from the training pictures are unknown


def paths_to_predict_with(folder: Path) -> list[Path]:
    """Returns the checkpoint to predict with, or that of each member of an ensemble; as far as there are any."""
    folders = member_folders(folder) if is_ensemble(folder) else [folder]
    return [paths[0] for member in folders if (paths := trained_paths(member))]


def require_same_folds(folder: Path, config: TrainConfig | ModelConfig) -> None:
    """Raises UserError if a run cannot use a folder, since there is one in it with another number of folds.

    For an ensemble, the other settings are compared too.
    """
    saved = None
    if checkpoint_paths(folder):
        folds = 1
    elif is_ensemble(folder):
        with contextlib.suppress(OSError, ValueError):  # missing or damaged, so it is written again
            saved = ModelConfig.from_json((folder / MODEL_CONFIG).read_bytes(), path=folder / MODEL_CONFIG)
        folds = saved.folds if saved else max(config.folds, len(member_folders(folder)))
    else:
        return
    if folds != config.folds:
        raise UserError(
            f"{printable(folder)}: was trained with --folds {folds}, not {config.folds}; "
            "train to a new folder with --model_save_name, or move this one away"
        )
    if saved:
        require_same(folder, saved, config)


def source_of(checksums: Sequence[str]) -> str:
    """Returns the checksum over those of the members, in their order."""
    return hashlib.sha256("".join(checksums).encode()).hexdigest()


def current_source(paths: Sequence[Path]) -> str:
    """Returns the checksum over the members with these checkpoints, or "" if one of them cannot be read."""
    checksums = [stored_checksum(path) for path in paths]
    return source_of(checksums) if all(checksums) else ""


def write_calibration(folder: Path, calibration: EnsembleCalibration, *, source: str) -> None:
    """Writes the calibration of the members whose checksum is `source`."""
    values = {name: value if math.isfinite(value) else None for name, value in calibration._asdict().items()}
    content = {"version": _VERSION, "source": source, **values}
    write_atomically(folder / ENSEMBLE, json.dumps(content, indent=1).encode())


def read_calibration(folder: Path, *, source: str) -> EnsembleCalibration | None:
    """Returns the calibration of the members whose checksum is `source`; None if there is no valid one for them."""
    try:
        with (folder / ENSEMBLE).open("rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
        if content["version"] != _VERSION or content["source"] != source:
            return None
        values = {name: content[name] for name in EnsembleCalibration._fields}
        values["max_distance"] = math.inf if values["max_distance"] is None else values["max_distance"]
        calibration = EnsembleCalibration(**{name: float(value) for name, value in values.items()})
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    is_valid = math.isfinite(calibration.slope) and math.isfinite(calibration.intercept)
    return calibration if is_valid and calibration.slope > 0 and calibration.max_distance >= 0 else None

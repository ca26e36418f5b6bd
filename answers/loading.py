"""Finding the trained network that a name stands for, and building its model file if there is none."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from answers.engine import Engine
from answers.messages import Message, print_messages
from network.checkpoint_file import (
    BEST,
    is_checkpoint_name,
    is_ensemble,
    member_folder,
    network_folder,
    read_best,
    step_of,
    stored_checksum,
)
from network.ensemble_folder import current_source, paths_to_predict_with, read_calibration
from network.model_config import MODEL_CONFIG, ModelConfig, read_model_config
from network.model_file import MODEL_FILE, ModelFile, read_model_file, write_model_file
from system.errors import UserError
from system.files import locked
from system.resources import require_memory
from system.terminal import printable

_SUFFIX = Path(MODEL_FILE).suffix
# How many times the size of a file its network takes in memory, as measured: to be computed, and to be built.
_READING, _BUILDING = 3, 15
_LARGE = 2**27  # bytes of a file from which on the memory is checked, which takes longer than to read a small one
_REMEDY = "use a larger machine"


def load_engine(name: Path) -> Engine:
    """Returns the trained network of a folder of checkpoints, or of a model file.

    The model file of a folder is built if there is none, or if it is older than the best weights, as in a run that was
    killed or still goes on. That takes seconds, since it needs TensorFlow, so a line says so, and the file is kept.
    The model file of an ensemble is built from the best weights of all its members.
    A model file that is named itself is used as it is.

    Args:
        name: of the folder, of its sub-folder best/, of a file in them that the trainer wrote, or of any model file.

    Raises:
        UserError: there is no trained network, it is damaged, or a checkpoint is named that is not the best one.
    """
    folder = checkpoints_of(name)
    if folder is None:
        return Engine(_read(name))
    engine = Engine(_current_model_file(folder) or _build_model_file(folder))
    if name.name != MODEL_CONFIG and is_checkpoint_name(name.name) and step_of(name) != engine.step:
        raise UserError(
            f"{printable(name)}: its weights are not the best ones, which are of step {engine.step} and are used for "
            f"all predictions; name the folder: --model_save_name {printable(folder)}"
        )
    return engine


def checkpoints_of(name: Path) -> Path | None:
    """Returns the folder of checkpoints for a name as in `load_engine`; None for a model file.

    Neither needs to exist.
    """
    is_file = not name.is_dir() and (name.exists() or name.suffix.lower() == _SUFFIX)
    return None if is_file and not is_checkpoint_name(name.name) else network_folder(name)


def _current_model_file(folder: Path) -> ModelFile | None:
    """Returns the model file of a folder if it is intact and is not older than the weights to predict with."""
    path, weights = folder / MODEL_FILE, paths_to_predict_with(folder)
    if not path.exists():
        return None
    if not weights:
        return _read(path)
    model_config = read_model_config(folder)
    is_current = _is_current_ensemble if is_ensemble(folder) else _is_current
    try:
        model = _read(path)
    except UserError as error:
        print_messages([Message(str(error).rpartition("; ")[0])])  # without the remedy, as it is built again
        return None
    return model if model.model_config == model_config and is_current(model, folder, weights) else None


def _is_current(model: ModelFile, folder: Path, weights: Sequence[Path]) -> bool:
    """Returns whether a model file is not older than the weights to predict with: the best, or the newest if none."""
    path = weights[0]
    if path.parent == folder:  # no epoch is finished, or best/ was deleted: only its weights are ever calibrated
        return model.calibrated or model.step >= step_of(path)
    checksum = stored_checksum(path)
    if not checksum:  # older weights, which could be read, would replace the best ones here, each time
        _say_damaged(path)
    return checksum in ("", model.source)


def _is_current_ensemble(model: ModelFile, folder: Path, weights: Sequence[Path]) -> bool:
    """Returns whether a model file has the members with these weights and, if it exists, their calibration."""
    source = current_source(weights)
    if not source:
        _say_damaged(next(path for path in weights if not stored_checksum(path)))
        return True
    return model.source == source and (model.calibrated or not read_calibration(folder, source=source))


def _say_damaged(path: Path) -> None:
    print_messages([Message(f"{printable(path)}: damaged; {MODEL_FILE}, which is intact, is used as it is")])


def _build_model_file(folder: Path) -> ModelFile:
    """Builds the model file of a folder from its best weights and keeps it, unless the folder cannot be written to.

    It does not replace the model file of another network.
    """
    model_config = read_model_config(folder)  # says what is wrong before TensorFlow is loaded
    weights = paths_to_predict_with(folder)
    if is_ensemble(folder) or model_config.folds > 1:
        _require_all_members(folder, model_config.folds, found=len(weights))
    elif not weights:
        read_best(folder)  # raises the error that applies
    path = folder / MODEL_FILE
    with contextlib.ExitStack() as stack:
        before = _modified(path)
        with contextlib.suppress(OSError):
            stack.enter_context(locked(folder / BEST, wait=True))
        if _modified(path) != before and (model := _current_model_file(folder)):
            return model  # another process has built it meanwhile
        require_memory(_BUILDING * sum(path.stat().st_size for path in weights), _REMEDY)
        is_kept = not _is_of_another_network(path, model_config)
        text = "is built from the best weights once, with TensorFlow ..."
        if not is_kept:
            text = f"belongs to another network than {MODEL_CONFIG}; until you move it away, one is built each time ..."
        print_messages([Message(f"{printable(path)}: {text}")])
        from answers.conversion import build_model_file  # here, because loading TensorFlow takes seconds

        model = build_model_file(folder)
        try:
            if is_kept:
                write_model_file(path, model)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            print_messages([Message(f"{printable(path)}: cannot be kept ({reason}), so it will be built again")])
    return model


def _require_all_members(folder: Path, folds: int, *, found: int) -> None:
    """Raises UserError unless all members of an ensemble have weights."""
    if found < folds:
        one = f", or use one of them alone: --model_save_name {printable(member_folder(folder, 1))}" if found else ""
        raise UserError(
            f"{printable(folder)}: {found} of its {folds} networks have been trained so far, and they answer together; "
            f"run trainer.py to its end{one}"
        )


def _is_of_another_network(path: Path, model_config: ModelConfig) -> bool:
    try:
        return path.exists() and _read(path).model_config != model_config
    except UserError:  # it is damaged
        return False


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _read(path: Path) -> ModelFile:
    """Returns a model file, if the memory can hold it: in one piece, and once more as LiteRT arranges the weights."""
    if path.is_file() and (size := path.stat().st_size) > _LARGE:
        require_memory(_READING * size, _REMEDY)
    return read_model_file(path)

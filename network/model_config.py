"""What rebuilds a network, and what a resumed run must share: `checkpoints/model.json`, also in every checkpoint."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from config import (
    MAX_CLASSES,
    MIN_CLASSES,
    BatchSize,
    DropoutRate,
    Flag,
    ImageConfig,
    Loss,
    Seed,
    TrainConfig,
    ValidationFraction,
)
from system.errors import UserError
from system.terminal import printable

MODEL_CONFIG = "model.json"
VERSION = 2  # of the formats of model.json and of checkpoints
_MAX_BYTES = 2**22  # of the file; the names of a thousand classes need a quarter of it
_NEW_FOLDER = "train to a new folder with --model_save_name"


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ImageConfig):
    """The settings that determine a network and its run. Checked, so that nothing is built from a forged file."""

    class_names: list[str]  # sorted; the order of the logits
    scale_input: Flag
    batch_normalization: Flag
    dropout: DropoutRate
    loss: Loss
    random_mirror: Flag
    balance_classes: Flag
    batch_size: BatchSize
    seed: Seed
    validation_split: ValidationFraction
    pictures: str  # fingerprint of the training and validation pictures

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_class_names(self.class_names)

    @classmethod
    def of_run(cls, config: TrainConfig, *, class_names: list[str], pictures: str) -> "ModelConfig":
        """Returns the model config of a training run."""
        shared = {field.name: getattr(config, field.name) for field in fields(cls) if hasattr(config, field.name)}
        return cls(**shared, class_names=class_names, pictures=pictures)

    def to_json(self) -> bytes:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes, *, path: Path) -> "ModelConfig":
        """Returns the config in a JSON text.

        Args:
            text: as from `to_json`.
            path: the file that holds it, for error messages.

        Raises:
            ValueError: no version of this toolkit has written it.
            UserError: another version of this toolkit has written it.
        """
        try:
            values = json.loads(text)
            version = values.pop("version", 1 if "class_names" in values else None)
        except (AttributeError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if version != VERSION and isinstance(version, int):
            raise other_version(path)
        different = {field.name for field in fields(cls)} ^ values.keys()
        if version != VERSION or different:
            raise ValueError(f"unknown or missing entries: {', '.join(sorted(different)) or 'version'}")
        try:
            return cls(**values)
        except UserError as error:
            raise ValueError(str(error)) from None


def _check_class_names(names: Any) -> None:
    """Raises UserError for names that cannot be those of class folders."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or names != sorted(set(names)):
        raise UserError("class_names: must be a sorted list of different names")
    for name in names:
        try:
            valid = bool(os.fsencode(name)) and "/" not in name and "\0" not in name
        except UnicodeEncodeError:
            valid = False
        if not valid:
            raise UserError(f"class_names: {name!r} cannot be the name of a folder")
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise UserError(f"class_names: there are {len(names)} classes; must be {MIN_CLASSES} to {MAX_CLASSES}")


def other_version(path: Path) -> UserError:
    """Returns the error for a file that another version of this toolkit has written."""
    return UserError(f"{printable(path)}: was saved by another version of this toolkit; {_NEW_FOLDER}")


def read_model_config(folder: Path) -> ModelConfig:
    """Returns the config of the network in a folder of checkpoints.

    Raises:
        UserError: there is no trained network, another version has saved it, or its file is damaged.
    """
    path = folder / MODEL_CONFIG
    if not path.is_file():
        raise UserError(f"{printable(folder)}: no trained network here; {_where_else(folder)}")
    try:
        with path.open("rb") as file:
            return ModelConfig.from_json(file.read(_MAX_BYTES), path=path)
    except ValueError as error:
        reason = printable(str(error))[:200]
        raise UserError(
            f"{printable(path)}: damaged ({reason}); run the same trainer.py command to restore it"
        ) from None


def _where_else(folder: Path) -> str:
    """Returns what to do if there is no network in a folder; it names up to five neighboring folders that have one."""
    found = sorted(path.parent for path in folder.resolve().parent.glob(f"*/{MODEL_CONFIG}"))[:5]
    if not found:
        return "run trainer.py first, or name a folder with --model_save_name"
    return f"try {' or '.join(f'--model_save_name {printable(folder.parent / path.name)}' for path in found)}"


def require_same(folder: Path, saved: ModelConfig, wanted: ModelConfig) -> None:
    """Raises UserError with both values if a run cannot continue from a checkpoint."""
    for name, value in asdict(wanted).items():
        saved_value = getattr(saved, name)
        if saved_value != value:
            difference = f"--{name} {saved_value}, not {value}"
            if name == "class_names":
                difference = f"the classes {', '.join(saved_value)}, not {', '.join(value)}"
            if name == "pictures":
                difference = "different pictures"
            remedy = f"{_NEW_FOLDER}, or move this one away"
            raise UserError(f"{printable(folder)}: was trained with {printable(difference)}; {remedy}")

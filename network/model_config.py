"""What rebuilds a network, and the settings of its run: `checkpoints/model.json`, also in every checkpoint."""

import json
import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from config import (
    MAX_CLASSES,
    MIN_CLASSES,
    UNKNOWN,
    BatchSize,
    Count,
    Degrees,
    DropoutRate,
    Flag,
    Folds,
    Fraction,
    ImageConfig,
    LearningRate,
    Loss,
    Precision,
    Probability,
    Seed,
    TrainConfig,
    UnknownRate,
    ValidationFraction,
    WeightDecayRate,
)
from system.errors import UserError
from system.terminal import printable

MODEL_CONFIG = "model.json"
VERSION = 9  # of the formats of model.json and of checkpoints
_MAX_BYTES = 2**22  # of the file; the names of a thousand classes need a quarter of it
_NEW_FOLDER = "train to a new folder with --model_save_name"

# Settings of TrainConfig that a run does not remember, because another value gives the same result.
_NOT_REMEMBERED = {
    "raw_data": "folders may be moved: the pictures in them are compared",
    "augmented": "as above",
    "data_path": "as above",
    "model_save_name": "as above",
    "max_megapixels": "which pictures it excludes is compared",
    "memory_gib": "only how fast images are read depends on it",
    "save_seconds": "only how much a kill loses depends on it",
    "max_to_keep": "only how many checkpoints are kept depends on it",
    "learning_curve": "the networks that it adds are runs of their own",
    "tensorboard": "it shows the run and changes nothing",
    "summary": "only what is shown depends on it",
    "devices": "the number of all replicas is remembered",
    "workers": "as above",
    "worker": "as above",
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ImageConfig):
    """The settings that determine a network and its run. Checked, so that nothing is built from a forged file.

    Two are equal if they differ in nothing but what may change when a run is resumed.
    """

    # Must not change: the weights have no meaning without them.
    class_names: list[str]  # sorted; the order of the logits
    scale_input: Flag
    batch_normalization: Flag
    loss: Loss
    random_mirror: Flag  # it is also a part of the network, which averages over both images

    # Must not change: the metrics of the epochs could not be compared, or their steps not be counted.
    dropout: DropoutRate
    balance_classes: Flag
    batch_size: BatchSize
    seed: Seed
    validation_split: ValidationFraction
    folds: Folds  # of an ensemble; each of its members has 1
    group_similar: Flag
    pictures: str  # fingerprint of the training and validation pictures

    # May change, which is said: it affects what is trained from then on.
    epochs: Count = field(compare=False)
    patience: Count = field(compare=False)
    learning_rate: LearningRate = field(compare=False)
    learning_rate_decay: Fraction = field(compare=False)
    mixup: Probability = field(compare=False)
    weight_decay: WeightDecayRate = field(compare=False)
    adapt_regularization: Flag = field(compare=False)
    random_shift: Fraction = field(compare=False)
    random_rotation: Degrees = field(compare=False)
    random_zoom: Fraction = field(compare=False)
    random_contrast: Fraction = field(compare=False)
    average_weights: Flag = field(compare=False)
    precision: Precision = field(compare=False)  # not every machine has all of them
    unknown_rate: UnknownRate = field(compare=False)  # used at the end only
    replicas: Count = field(compare=False)  # copies of the network that train together, on several devices

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_class_names(self.class_names)

    @classmethod
    def of_run(cls, config: TrainConfig, *, class_names: list[str], pictures: str, replicas: int = 1) -> "ModelConfig":
        """Returns the model config of a training run."""
        return cls(**remembered_settings(config), class_names=class_names, pictures=pictures, replicas=replicas)

    def to_json(self) -> bytes:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes, *, path: Path) -> "ModelConfig":
        """Returns the config in a JSON text.

        Args:
            text: as from `to_json`.
            path: the file that holds it, for error messages.

        Raises:
            ValueError: it is damaged.
            UserError: another version of this toolkit has written it.
        """
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError(str(error)) from None
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        if values.pop("version", None) != VERSION:  # the first version wrote no number, and later ones may write more
            raise other_version(path)
        if different := {field.name for field in fields(cls)} ^ values.keys():
            raise ValueError(f"unknown or missing entries: {', '.join(sorted(different))}")
        try:
            return cls(**values)
        except UserError as error:
            raise ValueError(str(error).removeprefix("--")) from None  # it is not on a command line


def remembered_settings(config: TrainConfig) -> dict[str, Any]:
    """Returns the settings on which the result of a run depends, by name."""
    return {name: value for name, value in vars(config).items() if name not in _NOT_REMEMBERED}


def _check_class_names(names: Any) -> None:
    """Raises UserError for names that cannot be those of class folders."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or names != sorted(set(names)):
        raise UserError("class_names: must be a sorted list of different names")
    for name in names:
        try:
            # Not os.fsencode: a network may come from a machine whose file names have another encoding.
            valid = bool(name.encode(errors="surrogateescape")) and not set("/\0") & set(name) and name[0] != "."
        except UnicodeEncodeError:
            valid = False
        if not valid or name == UNKNOWN:
            raise UserError(f"class_names: {name!r} cannot be the name of a class folder")
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise UserError(f"class_names: there are {len(names)} classes; must be {MIN_CLASSES} to {MAX_CLASSES}")


def other_version(path: Path, remedy: str = _NEW_FOLDER) -> UserError:
    """Returns the error for a file that another version of this toolkit has written."""
    return UserError(f"{printable(path)}: was saved by another version of this toolkit; {remedy}")


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
    """Returns what to do if there is no network in a folder; it names up to five model files in it, or neighbors."""
    found = sorted(folder.glob("*.tflite"))
    found += [folder.parent / path.parent.name for path in sorted(folder.resolve().parent.glob(f"*/{MODEL_CONFIG}"))]
    if not found:
        return "run trainer.py first, or name a folder with --model_save_name"
    return f"try {' or '.join(f'--model_save_name {printable(shlex.quote(str(path)))}' for path in found[:5])}"


def require_same(folder: Path, saved: ModelConfig, wanted: ModelConfig | TrainConfig) -> None:
    """Raises UserError with both values if a run cannot continue from a checkpoint, as far as `wanted` tells."""
    for name, saved_value in asdict(saved).items():
        value = getattr(wanted, name, saved_value)
        if name in _changeable() or value == saved_value:
            continue
        difference = f"--{name} {saved_value}, not {value}"
        if name == "class_names":
            difference = f"the classes {', '.join(saved_value)}, not {', '.join(value)}"
        if name == "pictures":
            difference = "different pictures"
        remedy = f"{_NEW_FOLDER}, or move this one away"
        raise UserError(f"{printable(folder)}: was trained with {printable(difference)}; {remedy}")


def changed_settings(saved: ModelConfig, wanted: ModelConfig) -> str:
    """Returns the settings with which a run continues differently, with both values, or ""."""
    pairs = [(name, getattr(wanted, name), getattr(saved, name)) for name in _changeable()]
    return ", ".join(f"{name} {value} (was {old})" for name, value, old in pairs if value != old)


def _changeable() -> list[str]:
    return [field.name for field in fields(ModelConfig) if not field.compare]

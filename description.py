"""What a network was made for: all that rebuilds it, and what a run that goes on must agree on.

It stands in `checkpoints/model.json`, and in every checkpoint besides. Nothing of it is believed before it is checked.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from classifier import Classifier
from config import LOSSES, UserError
from files import printable
from model import generate_model

DESCRIPTION = "model.json"
_LONGEST = 2**22  # bytes; a thousand names of classes take a quarter of it


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a checkpoint was made for: all that rebuilds the network, and what a resumed run must agree on."""

    class_names: list[str]  # sorted; the order of the logits
    height: int
    width: int
    color_channels: int
    scale_input: bool
    batch_normalization: bool
    dropout: float
    loss: str  # "softmax" or "sigmoid"
    random_mirror: bool
    balance_classes: bool
    batch_size: int
    seed: int
    validation_split: float
    pictures: str  # sha256 over the training and validation pictures and their labels

    def network(self) -> keras.Model:
        """The network, with fresh weights."""
        return generate_model(
            height=self.height,
            width=self.width,
            color_channels=self.color_channels,
            classes=len(self.class_names),
            scale_input=self.scale_input,
            batch_normalization=self.batch_normalization,
            dropout=self.dropout,
            random_mirror=self.random_mirror,
        )

    def classifier(self) -> Classifier:
        """The same, as it is asked; not calibrated yet."""
        return Classifier(self.network(), loss=self.loss, random_mirror=self.random_mirror)

    def as_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Description":
        """Raises ValueError for what no run of ours could have written, before anything is built from it."""
        try:
            description = cls(**json.loads(text))
        except (TypeError, RecursionError) as error:
            raise ValueError(error) from None
        _check(description)
        return description


def read_description(folder: Path) -> Description:
    """Raises UserError where there is no checkpoint, or its description is damaged."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{printable(folder)}: no trained network here; run trainer.py, or name one: --model_save_name")
    try:
        with path.open("rb") as file:
            return Description.from_json(file.read(_LONGEST))
    except ValueError as error:
        reason = printable(str(error))[:200]
        raise UserError(f"{printable(path)}: damaged ({reason}); the trainer's command of that run mends it") from None


def _check(description: Description) -> None:
    """Raises ValueError for what no run of ours could have written, before anything is built from it."""
    for name, kind in Description.__annotations__.items():
        value = getattr(description, name)
        if kind in (int, bool, float, str) and type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{name} is {value!r}")
    names = description.class_names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or names != sorted(set(names)):
        raise ValueError("class_names is no sorted list of names")
    for name in names:
        if not os.fsencode(name) or "/" in name or "\0" in name:  # and what cannot be encoded raises by itself
            raise ValueError("class_names has one that no folder can have")
    limits = {"height": (16, 4096), "width": (16, 4096), "dropout": (0, 0.95), "validation_split": (0.01, 0.9)}
    for name, (low, high) in {**limits, "batch_size": (1, 65536), "seed": (0, 2**31 - 1)}.items():
        if not low <= getattr(description, name) <= high:
            raise ValueError(f"{name} is {getattr(description, name)}")
    if not 2 <= len(names) <= 1000 or description.color_channels not in (1, 3):
        raise ValueError(f"{len(names)} classes, {description.color_channels} channels")
    if description.loss not in LOSSES:
        raise ValueError(f"loss is {description.loss}")


def refuse_others(folder: Path, saved: Description, wanted: Description) -> None:
    """Raises UserError where a run cannot go on from a checkpoint, with both values."""
    mend = "train to another folder with --model_save_name, or move this one away"
    for name, value in asdict(wanted).items():
        if getattr(saved, name) != value:
            what = f"--{name} {getattr(saved, name)}, not {value}"
            if name == "class_names":
                what = f"the classes {', '.join(saved.class_names)}, not {', '.join(value)}"
            if name == "pictures":
                what = "other pictures than there are now"
            raise UserError(f"{printable(folder)}: was trained with {printable(what)}; {mend}")

"""The trained network as a Python object: `Classifier("checkpoints")("picture.jpg")`."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np

from answers.loading import load_engine
from answers.output import Answer
from answers.predictions import BATCH_SIZE, short_float
from answers.sources import predict_pictures
from config import DecodingConfig
from pictures.arrays import picture_from_array
from pictures.decoding import LoadedPicture, UnreadableImage, load_picture
from pictures.folders import read_regular_file
from pictures.formats import FRAMES
from system.errors import UserError
from system.terminal import printable

Picture: TypeAlias = str | os.PathLike[str] | np.ndarray  # a file, or pixels


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says about one picture."""

    predicted: str  # the class with the highest raw magnitude, also if the picture is unknown
    score: float  # of this class, 0..1
    unknown: bool  # unlike the training pictures
    scores: dict[str, float] = field(repr=False)  # of each class, 0..1
    raw: dict[str, float] = field(repr=False)  # the raw magnitude of each class
    agreement: float = 1.0  # the part of the networks of an ensemble that predict this class; 1 for a single network
    note: str = ""  # what the image does not show of the picture, if anything

    def __str__(self) -> str:
        """Returns `cat 0.981`, or `unknown (cat 0.611)`."""
        likely = f"{self.predicted} {self.score:.3f}"
        return f"unknown ({likely})" if self.unknown else likely


class Classifier:
    """A trained network that is called with pictures. It is loaded once and may be called from several threads.

    The answers are those of `predict.py`. Pictures are decoded in this process, so a file that crashes its decoder ends
    it; `predict.py` decodes in other processes. Calls from several threads decode at the same time, while one of them
    computes.
    """

    def __init__(self, name: str | os.PathLike[str] = "checkpoints", *, max_megapixels: float | None = None) -> None:
        """Loads a network.

        Args:
            name: a folder of checkpoints, or a model file (`.tflite`).
            max_megapixels: larger pictures, in millions of pixels, are not decoded; as in `config.py` unless given.

        Raises:
            UserError: there is no trained network, or it is damaged.
        """
        limits = DecodingConfig() if max_megapixels is None else DecodingConfig(max_megapixels=max_megapixels)
        self._max_pixels = limits.max_pixels
        try:
            self._engine = load_engine(Path(name))
        except UserError as error:  # its advice is for the command line
            advice = str(error).replace(" with --model_save_name", "").replace("--model_save_name ", "")
            raise UserError(advice) from None

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self._engine.model_config.class_names)

    @overload
    def __call__(self, pictures: Picture) -> Prediction: ...

    @overload
    def __call__(self, pictures: Iterable[Picture]) -> list[Prediction]: ...

    def __call__(self, pictures: Picture | Iterable[Picture]) -> Prediction | list[Prediction]:
        """Returns the prediction for a picture, or a list of them for several pictures.

        Args:
            pictures: the path of a file, or a uint8 array (rows, columns, 3) in RGB, or (rows, columns) or
                (rows, columns, 1) in gray; or any iterable of those, of which 32 are in memory at a time.

        Raises:
            UnreadableImage: a file cannot be read. The message names it, and says why.
            ValueError: an array has another type or shape. The message says which.
            TypeError: it is something else.
            OSError: the disk fails.
        """
        if isinstance(pictures, str | os.PathLike | np.ndarray):
            return next(self._predict(iter([self._load(pictures)])))
        if isinstance(pictures, bytes | bytearray) or not isinstance(pictures, Iterable):
            raise TypeError(f"expected a path, an array, or an iterable of those, received {type(pictures).__name__}")
        return list(self._predict(self._load(picture, f"item {index}: ") for index, picture in enumerate(pictures)))

    def _predict(self, loaded: Iterator[LoadedPicture]) -> Iterator[Prediction]:
        while batch := [("", picture) for picture in itertools.islice(loaded, BATCH_SIZE)]:
            for answer in predict_pictures(self._engine, batch):
                yield _prediction(answer, self.class_names)

    def _load(self, picture: Picture, item: str = "") -> LoadedPicture:
        """Returns a picture as the network reads it. `item` is the start of the message about what is not a path."""
        config = self._engine.model_config
        if isinstance(picture, np.ndarray):
            try:
                return picture_from_array(picture, config)
            except ValueError as error:
                raise ValueError(f"{item}{error}") from None
        if not isinstance(picture, str | os.PathLike):
            raise TypeError(f"{item}expected a path or an array, received {type(picture).__name__}")
        try:
            return load_picture(_read(picture), config, max_pixels=self._max_pixels)
        except UnreadableImage as error:
            reason = str(error).replace(FRAMES, "pass its frames as arrays")
            raise type(error)(f"{printable(picture) or repr(picture)}: {reason}") from None


def _read(name: str | os.PathLike[str]) -> bytes:
    """Returns the content of a file; raises UnreadableImage also for what is no name of a file."""
    if not os.fspath(name) or "\0" in os.fspath(name):
        raise UnreadableImage("no file can have this name")
    path = Path(name)
    if path.is_dir():
        raise UnreadableImage("is a folder: pass its pictures")
    return read_regular_file(path)


def _prediction(answer: Answer, class_names: Sequence[str]) -> Prediction:
    return Prediction(
        predicted=class_names[answer.predicted],
        score=short_float(answer.scores[answer.predicted]),
        unknown=answer.unknown,
        scores=dict(zip(class_names, map(short_float, answer.scores), strict=True)),
        raw=dict(zip(class_names, map(short_float, answer.logits), strict=True)),
        agreement=answer.agreement,
        note=answer.note,
    )

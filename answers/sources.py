"""Which pictures a network predicts, and its answers."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from answers.engine import Engine
from answers.output import Answer
from answers.predictions import Predictions
from pictures.decoding import LoadedPicture
from pictures.formats import FRAMES

_NAME_ALONE = "name it alone to predict its frames"  # predict.py reads videos, preprocessing.py does not


class Source(NamedTuple):
    """Where the pictures come from that a network predicts."""

    paths: dict[Path, Path | None]  # the files, each with the folder that a link must not leave, if any
    missing: Sequence[str] = ()  # names for which there is no file
    videos: Sequence[Path | int] = ()  # videos, and the numbers of cameras
    watched: Path | None = None  # a folder
    true_classes: Mapping[Path, str] = MappingProxyType({})  # with --evaluate

    @property
    def named(self) -> set[Path]:
        """The files that were given by name, not as those of a folder."""
        return {path for path, within in self.paths.items() if within is None}

    @property
    def is_endless(self) -> bool:
        """Whether Ctrl-C is the usual end, before which everything is written."""
        return bool(self.videos or self.watched)


def predict_pictures(engine: Engine, pictures: Sequence[tuple[Path | str, LoadedPicture | str]]) -> list[Answer]:
    """Returns an answer for each picture, in order, with its image.

    Args:
        engine: the network.
        pictures: the name of each, and what was read: its image, or the reason why there is none.
    """
    images = [picture.image for _, picture in pictures if not isinstance(picture, str)]
    predictions = _one_by_one(engine.predict(np.stack(images))) if images else iter(())
    answers = []
    for path, picture in pictures:
        if isinstance(picture, str):
            answers.append(Answer(path=path, error=picture.replace(FRAMES, _NAME_ALONE)))
            continue
        predicted, logits, scores, unknown, agreement = next(predictions)
        answer = Answer(
            path=path,
            predicted=int(predicted),
            logits=logits,
            scores=scores,
            unknown=bool(unknown),
            agreement=round(agreement, 3),
            note=picture.note,
            image=picture.image,
        )
        answers.append(answer)
    return answers


def _one_by_one(predictions: Predictions) -> Iterator[tuple]:
    """Yields what is said about each image: the class, logits, scores, whether it is unknown, and the agreement."""
    *parts, agreement = predictions
    return zip(*parts, itertools.repeat(1.0) if agreement is None else agreement.tolist(), strict=False)

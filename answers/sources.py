"""Which pictures a network is asked about, what it answers, and what becomes of the answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from answers.engine import Engine
from answers.output import Answer
from pictures.decoding import LoadedPicture
from system.output_folder import OutputFolder

# Answers with the images that they are about; None for pictures that could not be read.
Batch = list[tuple[Answer, np.ndarray | None]]


class Question(NamedTuple):
    """Which pictures a network is asked about."""

    paths: dict[Path, Path | None]  # the files, each with the folder that a link must not leave, if any
    missing: Sequence[str] = ()  # names for which there is no file
    live: Sequence[Path | int] = ()  # videos, and the numbers of cameras
    true_classes: Mapping[Path, str] = MappingProxyType({})  # with --evaluate


class Output(Protocol):
    """What becomes of answers, a batch at a time."""

    def add(self, answers: Sequence[Answer], /) -> None: ...


class PictureOutput(Protocol):
    """What becomes of answers and images, a batch at a time, without pictures that could not be read."""

    files: OutputFolder  # that it has made

    def add(self, answers: Sequence[tuple[Answer, np.ndarray]], /) -> None: ...


def predict_pictures(engine: Engine, pictures: Sequence[tuple[Path | str, LoadedPicture | str]]) -> Batch:
    """Returns an answer for each picture, in order, with its image.

    Args:
        engine: the network.
        pictures: the name of each, and what was read: its image, or the reason why there is none.
    """
    images = [picture.image for _, picture in pictures if not isinstance(picture, str)]
    predictions = zip(*engine.predict(np.stack(images)), strict=True) if images else iter(())
    batch: Batch = []
    for path, picture in pictures:
        if isinstance(picture, str):
            batch.append((Answer(path=path, error=picture), None))
            continue
        predicted, logits, scores, unknown = next(predictions)
        answer = Answer(
            path=path,
            predicted=int(predicted),
            logits=logits,
            scores=scores,
            unknown=bool(unknown),
            remark=_remark(scores, engine.limits.min_score) if unknown else "",
            note=picture.note,
        )
        batch.append((answer, picture.image))
    return batch


def _remark(scores: np.ndarray, min_score: float) -> str:
    """Returns why a picture is unknown: no score is high enough, or else it is far from the training pictures."""
    return "no likely class" if scores.max() < min_score else "like nothing seen"

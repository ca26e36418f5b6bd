"""The pictures of a report: which ones are shown, as small images inside the page."""

import base64
import contextlib
import io
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image

from answers.evaluation import Evaluation, largest_confusions
from answers.explain import HeatMaps, overlay
from answers.suspects import KINDS, find_suspects, suspect_row
from pictures.duplicates import mixed_groups, same_photos, some_of
from pictures.manifest import Picture
from system.errors import UserError

ImageOf = Callable[[int], np.ndarray | None]  # the image of an evaluated picture; None if it cannot be read any more
PixelsOf = Callable[[Picture], np.ndarray]  # the image of a row of the manifest

MAX_MISTAKES, MAX_SUSPECTS, MAX_CONFUSIONS, MAX_GROUPS = 12, 24, 12, 12  # that are shown
_MAX_IN_GROUP = 4
_SMALL, _LARGE = 100, 160  # pixels of the longer side, at most
_QUALITY = 80  # of WebP: about 3 kB for 100 × 100 pixels


def data_uri(image: np.ndarray, side: int) -> str:
    """Returns an image inside a URI, as WebP, reduced to a number of pixels on its longer side.

    Args:
        image: uint8 (height, width, 3 or 1).
        side: pixels.
    """
    small = Image.fromarray(image if image.shape[2] == 3 else image.squeeze(axis=2))
    small.thumbnail((side, side))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def _uri(image: np.ndarray | None) -> str:
    return "" if image is None else data_uri(image, _SMALL)


def worst_mistakes(evaluation: Evaluation, heat_maps: HeatMaps, image_of: ImageOf) -> list[dict]:
    """Returns the mistakes with the highest scores, with what speaks for the predicted class and for the true one.

    If the network has no heat maps, there are none.
    """
    found = [(int(index), image_of(int(index))) for index in evaluation.mistakes[:MAX_MISTAKES]]
    shown = {index: image for index, image in found if image is not None}
    maps = {}
    if shown:
        images, indices = np.stack(list(shown.values())), np.array(list(shown))
        classes = evaluation.predictions.predicted[indices], evaluation.labels[indices]
        with contextlib.suppress(UserError):  # model.py was edited so that there are none
            pairs = zip(*[heat_maps(images, part) for part in classes], strict=True)
            maps = dict(zip(shown, pairs, strict=True))
    return [
        {
            **_describe(evaluation, index),
            "image": data_uri(shown[index], _LARGE) if index in shown else "",
            "maps": [data_uri(overlay(shown[index], heat), _LARGE) for heat in maps.get(index, ())],
        }
        for index, _ in found
    ]


def most_suspicious(evaluation: Evaluation, image_of: ImageOf) -> dict[str, list[dict]]:
    """Returns the pictures whose class is most doubtful, by the kind of doubt."""
    shown: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for suspect in find_suspects(evaluation):
        if len(shown[suspect.kind]) < MAX_SUSPECTS:
            item = {**suspect_row(evaluation, suspect), "image": _uri(image_of(suspect.index))}
            shown[suspect.kind].append(item)
    return shown


def _describe(evaluation: Evaluation, index: int) -> dict:
    names = evaluation.class_names
    return {
        "path": evaluation.paths[index],
        "true": names[evaluation.labels[index]],
        "true_score": float(evaluation.true_scores[index]),
        "predicted": names[evaluation.predictions.predicted[index]],
        "score": float(evaluation.top_scores[index]),
        "unknown": bool(evaluation.predictions.unknown[index]),
    }


def confusions(evaluation: Evaluation, image_of: ImageOf) -> list[dict]:
    """Returns the most frequent confusions of two classes, each with its worst mistake beside a picture of the other.

    The other picture is the one of the predicted class that is recognized best, if there is any.
    """
    matrix, found = evaluation.confusion_matrix, []
    for true, other in largest_confusions(matrix, MAX_CONFUSIONS):
        wrong = evaluation.example(true=true, predicted=other)
        typical = evaluation.best_recognized(other)
        found.append(
            {
                "true": evaluation.class_names[true],
                "predicted": evaluation.class_names[other],
                "count": int(matrix[true, other]),
                "support": int(matrix[true].sum()),
                "image": _uri(image_of(wrong)),
                "typical": "" if typical is None else _uri(image_of(typical)),
            }
        )
    return found


def duplicates(pictures: Sequence[Picture], pixels_of: PixelsOf) -> list[dict]:
    """Returns some of the pictures that show the same photo, all of one class."""
    photos = (group for group in same_photos(pictures) if len({picture.class_name for picture in group}) == 1)
    return _groups(sorted(photos, key=len, reverse=True)[:MAX_GROUPS], pixels_of)


def in_several_classes(pictures: Sequence[Picture], pixels_of: PixelsOf) -> list[dict]:
    """Returns some of the pictures that are in several class folders."""
    return _groups(mixed_groups(pictures)[:MAX_GROUPS], pixels_of)


def _groups(groups: Iterable[Sequence[Picture]], pixels_of: PixelsOf) -> list[dict]:
    return [
        {
            "pictures": [
                {"path": picture.path, "true": picture.class_name, "image": _uri(pixels_of(picture))}
                for picture in some_of(group, _MAX_IN_GROUP)
            ],
            "more": max(0, len(group) - _MAX_IN_GROUP),
        }
        for group in groups
    ]

"""Pictures that are worth a look before a network is trained on them, found from the rows of the manifest alone.

Nothing is removed. A picture is named only if it is unusual by itself and among the others, so that a set of pictures
taken at night is not reported as dark. CleanVision does similar things; its limits are used where they fit.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from config import ImageConfig
from pictures.decoding import BLANK
from pictures.duplicates import same_photos
from pictures.manifest import Picture, class_names, kept, stand_ins, updated
from system.terminal import plural

# Default limits of CleanVision, which has them as fractions of the brightest level, and as short by long side.
_DARK, _BRIGHT = 0.32 * 255, 0.95 * 255  # levels
_LONG = 1 / 0.35  # times
# Our own, measured at 100 × 100 pixels on 1,104 photos and 240 drawings. Their contrast is at least 24 and 4.9. The
# only photo with a sharpness below 0.75 is blurred to the eye, and so are nine drawings. Of the photos blurred by a
# Gaussian of 1 pixel, 95 % are below it. A picture on white with a dark object on 1 % of it has a contrast above 20.
_BLANK_CONTRAST = 2.0
_FAINT_CONTRAST = 20.0
_BLURRED = 0.75
_MIN_SHARPNESS = 0.001  # to which it is rounded
_ENLARGED = 2.0  # times; then three of four pixels are invented
_FAR = 2.5  # deviations from the median, by the median of all deviations (Leys et al. 2013)
_NORMAL = 1.4826  # by which that median is multiplied to be the standard deviation of a normal distribution


class Finding(NamedTuple):
    """Pictures with the same peculiarity."""

    remark: str  # for the manifest: a word or a few
    text: str  # what is said of each
    pictures: list[Picture]  # the worst first
    names: list[str]  # of these pictures, as they are printed


def check_pictures(pictures: Sequence[Picture], config: ImageConfig) -> list[Finding]:
    """Returns what is unusual about the pictures that are used, copies left out; kinds without pictures are left out.

    Args:
        pictures: rows of a manifest with their measures; if those of the photo and the group are there, duplicates and
            series of several classes are found too.
        config: the size of the images.
    """
    rows = [
        picture for picture in kept(pictures) if picture.width and not picture.is_copy and BLANK not in picture.note
    ]
    photos = same_photos(pictures)
    findings = [_repeated(photos), _like_other_classes(pictures, photos)]
    if rows:
        findings += _unusual_pixels(rows, config)
    return [finding for finding in findings if finding.pictures]


def with_remarks(pictures: Sequence[Picture], findings: Sequence[Finding]) -> list[Picture]:
    """Returns the pictures with the remarks about them, as in "dark; small"."""
    remarks = defaultdict(list)
    for finding in findings:
        for picture in finding.pictures:
            remarks[picture.path].append(finding.remark)
    return [updated(picture, remarks="; ".join(remarks.get(picture.path, ()))) for picture in pictures]


def _repeated(photos: Sequence[Sequence[Picture]]) -> Finding:
    """Returns the pictures that show the same photo as another one of their class, those after the first."""
    found, names, equal = [], [], 0
    for photo in photos:
        firsts: dict[str, Picture] = {}
        contents: set[tuple[str, str]] = set()
        for picture in photo:
            first = firsts.setdefault(picture.class_name, picture)
            if picture is not first:
                found.append(picture)
                names.append(f"{picture.path} (like {first.source})")
                equal += (picture.class_name, picture.sha256) in contents
            contents.add((picture.class_name, picture.sha256))
    equal_files = f" ({plural(equal, 'equal file')})" if equal else ""
    return Finding("repeated", f"the same as another one of its class{equal_files}", found, names)


def _like_other_classes(pictures: Sequence[Picture], photos: Sequence[Sequence[Picture]]) -> Finding:
    """Returns the pictures that look like one of another class, without being the same photo: that is said before."""
    mislabeled = {picture.path for photo in photos if len(class_names(photo)) > 1 for picture in photo}
    groups = defaultdict(list)
    for picture in stand_ins(kept(pictures)).values():
        if picture.path not in mislabeled:
            groups[picture.group or picture.path].append(picture)
    found, names = [], []
    for group in groups.values():
        firsts = {picture.class_name: picture for picture in reversed(group)}
        for picture in group if len(firsts) > 1 else ():
            other = next(first for name, first in firsts.items() if name != picture.class_name)
            found.append(picture)
            names.append(f"{picture.path} (like {other.source})")
    return Finding("like another class", "much like one of another class", found, names)


def _unusual_pixels(rows: Sequence[Picture], config: ImageConfig) -> list[Finding]:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(picture, name) for picture in rows], float)

    def finding(
        remark: str, text: str, which: np.ndarray, badness: np.ndarray, name: Callable[[Picture], str] = _path
    ) -> Finding:
        order = np.argsort(-badness, kind="stable")
        found = [rows[index] for index in order[which[order]]]
        return Finding(remark, text, found, list(map(name, found)))

    shadows, highlights, contrast = map(column, ("shadows", "highlights", "contrast"))
    enlargement = np.maximum(config.height / column("height"), config.width / column("width"))
    # Interpolation blurs: widths grow by the factor of the enlargement, and the sharpness goes with their square.
    sharpness = np.log(np.maximum(column("sharpness") * np.maximum(enlargement, 1) ** 2, _MIN_SHARPNESS))
    proportions = np.abs(np.log(column("width") / column("height") * config.height / config.width))
    blank = contrast < _BLANK_CONTRAST
    dark = ~blank & (highlights < _DARK) & _far_above(-highlights)
    bright = ~blank & (shadows > _BRIGHT) & (contrast < _FAINT_CONTRAST) & _far_above(shadows)
    small = enlargement >= _ENLARGED
    long = proportions >= np.log(_LONG)
    blurred = ~(blank | small) & (sharpness < np.log(_BLURRED)) & _far_above(-sharpness)
    size = f"{config.width} × {config.height}"
    enlarged, stretched = f"enlarged {_ENLARGED:g} times or more, to {size}", f"stretched out of proportion, to {size}"
    if small.mean() > 0.5:
        enlarged += "; a smaller --height and --width would do"
    if long.mean() > 0.5:
        stretched += "; another --height or --width would suit them"
    return [
        finding("blank", "nearly of one color", blank, -contrast),
        finding("dark", "very dark", dark, -highlights),
        finding("bright", "very bright", bright, shadows),
        finding("blurred", "blurred", blurred, -sharpness),
        finding("small", enlarged, small & ~long, enlargement, _with_size),
        finding("long", stretched, long, proportions, _with_size),
    ]


def _far_above(values: np.ndarray) -> np.ndarray:
    """Returns which values are far above their median."""
    median = np.median(values)
    return values - median > _FAR * _NORMAL * np.median(np.abs(values - median))


def _path(picture: Picture) -> str:
    return picture.path


def _with_size(picture: Picture) -> str:
    return f"{picture.path} ({picture.width} × {picture.height})"

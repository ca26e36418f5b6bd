"""Traits of the files in which classes differ, so that a network may learn them instead of what the pictures show.

An example: all pictures of one class are screenshots, or were taken with another camera.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pictures.manifest import Picture, class_names, kept
from system.terminal import printable

_MIN_DIFFERENCE = 0.6  # see `class_differences`; then the trait alone tells 80 % of the pictures right
_SIGNIFICANCE = 0.001  # probability of any line for classes that do not differ
_MIN_COLORFULNESS = 2.0  # of a picture in color: gray ones that were saved as JPEG can have less
_MAX_CLASSES = 3  # in a line


class _Number(NamedTuple):
    """A trait that can be sorted."""

    name: str
    unit: str
    value: Callable[[Picture], float]
    digits: int  # that are shown after the point


class _Category(NamedTuple):
    """A trait that a picture has or has not."""

    name: str
    value: Callable[[Picture], str]


_NUMBERS = (
    _Number("size", " megapixels", lambda picture: picture.pixels / 10**6, 2),
    _Number("proportions", " times as wide as high", lambda picture: picture.width / picture.height, 2),
    _Number("brightness", " of 255", lambda picture: picture.brightness, 0),
    _Number("sharpness", "", lambda picture: picture.sharpness, 2),
)
_CATEGORIES = (
    _Category("format", lambda picture: picture.format),
    _Category("camera", lambda picture: picture.camera or "none"),
    _Category("color", lambda picture: "black and white" if picture.colorfulness < _MIN_COLORFULNESS else "color"),
)


def class_difference_lines(pictures: Sequence[Picture]) -> list[str]:
    """Returns a line for each trait in which a class differs from all other pictures; copies are left out.

    The measure is the largest difference between two cumulative distributions, for a trait that can be sorted
    (Kolmogorov and Smirnov), and between the fractions with the same value, for one that cannot. It is also Youden's
    index of the best rule that tells the class from the others by this trait: 0 for none, 1 if the rule is always
    right. It counts from 0.6, and only if it is larger than is likely for so few pictures: by the critical values of
    Smirnov (1948), which are also Hoeffding's bound (1963) for fractions, with Bonferroni's correction.
    """
    rows = [picture for picture in kept(pictures) if picture.width and not picture.is_copy]
    names = class_names(rows)
    if len(names) < 2:
        return []
    labels = np.searchsorted(names, [picture.class_name for picture in rows])
    lines = []
    for number in _NUMBERS:
        values = np.array([number.value(picture) for picture in rows])
        lines += _number_line(number, values, labels, names)
    for category in _CATEGORIES:
        lines += _category_line(category, [category.value(picture) for picture in rows], labels, names)
    return lines


def _number_line(trait: _Number, values: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[str]:
    order = np.sort(values)
    found = []
    for label, name in enumerate(names):
        own = np.sort(values[labels == label])
        difference = _largest_difference(own, order)
        if difference >= max(_MIN_DIFFERENCE, _by_chance(len(own), len(order) - len(own), comparisons=len(names))):
            median, others = np.median(own), np.median(values[labels != label])
            found.append((difference, name, f"{median:.{trait.digits}f}", f"{others:.{trait.digits}f}"))
    return _line(trait.name, found, f"{trait.unit} (medians)", names)


def _largest_difference(own: np.ndarray, everything: np.ndarray) -> float:
    """Returns the Kolmogorov-Smirnov statistic of some values and the rest, both sorted, from those of all."""
    rest = len(everything) - len(own)
    differences = []
    for side in ("left", "right"):
        below_own = np.searchsorted(own, own, side=side)
        below_rest = np.searchsorted(everything, own, side=side) - below_own
        differences.append(np.abs(below_own / len(own) - below_rest / rest).max())
    return float(max(differences))


def _category_line(trait: _Category, values: Sequence[str], labels: np.ndarray, names: Sequence[str]) -> list[str]:
    total = Counter(values)
    counts = np.bincount(labels)
    per_class: dict[int, Counter] = {label: Counter() for label in range(len(names))}
    for label, value in zip(labels.tolist(), values, strict=True):
        per_class[label][value] += 1
    found = []
    for label, name in enumerate(names):
        own, rest = int(counts[label]), len(values) - int(counts[label])
        fractions = [
            (per_class[label][value] / own, (total[value] - per_class[label][value]) / rest, value) for value in total
        ]
        mine, others, value = max(fractions, key=lambda fraction: (abs(fraction[0] - fraction[1]), fraction[0]))
        chance = _by_chance(own, rest, comparisons=len(names) * len(total))
        if abs(mine - others) >= max(_MIN_DIFFERENCE, chance):
            found.append((abs(mine - others), name, f"{100 * mine:.0f} % {printable(value)}", f"{100 * others:.0f} %"))
    return _line(trait.name, found, "", names)


def _by_chance(own: int, rest: int, *, comparisons: int) -> float:
    """Returns the difference that classes which do not differ reach with the probability `_SIGNIFICANCE`."""
    comparisons *= len(_NUMBERS) + len(_CATEGORIES)
    return math.sqrt(math.log(2 * comparisons / _SIGNIFICANCE) / 2 * (own + rest) / (own * rest))


def _line(trait: str, found: list[tuple[float, str, str, str]], unit: str, names: Sequence[str]) -> list[str]:
    """Returns a line about the classes that differ most, if there are any. Of two classes, one is enough."""
    if not found:
        return []
    found = sorted(found, key=lambda entry: (-entry[0], entry[1]))
    others = "the others"
    if len(names) == 2:
        found = found[:1]
        others = next(printable(name) for name in names if name != found[0][1])
    named = [f"{printable(name)} {own}, {others} {rest}" for _, name, own, rest in found[:_MAX_CLASSES]]
    more = f", and {len(found) - _MAX_CLASSES:,} more" if len(found) > _MAX_CLASSES else ""
    right = f"{50 + 50 * found[0][0]:.0f} %"
    return [
        f"classes differ in {trait}: {'; '.join(named)}{unit}{more}; that alone tells up to {right} right, so a "
        "network may learn it instead of the content"
    ]

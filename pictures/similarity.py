"""Two tests for a pair of pictures: whether they look alike, and whether they are the same picture.

Both compare small images, which take 7 kB a picture, for many pairs at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

_COLOR_SIDE = 8  # cells
_GRAY_SIDE = 48
_PAIRS = 1000  # compared cell by cell at a time
_MIN_CORRELATION = 0.98  # of the colors of pictures that look alike
# Of the gray images of mirrored or turned copies. It finds 99 % of those of 221 photos, 94 % of those of 48 drawings,
# and joins no different pictures of 1,104 photos and 240 drawings.
_MIN_TURNED_CORRELATION = 0.99

# Measured on 60 photos of 350 pixels, reduced to 100. The same picture by these limits: all of those saved as JPEG with
# quality 75 or more, 98 % with quality 50, 90 % of those halved; 5 % of those with a scratch of 2 x 30 pixels that
# differs by 80 levels (some are hard to see), 2 % of those with a spot of 12 pixels, none of those cropped by 2.
_MAX_GRAY_DIFFERENCE = 3  # levels of a cell
_MAX_COLOR_DIFFERENCE = 8.0
_EDGE_TOLERANCE = 0.05  # more, as a fraction of the difference between neighboring cells
_MAX_RMS = 0.75  # root mean square of the differences: independent noise of two pictures exceeds it
_DETAIL_TOLERANCE = 0.03  # more, as a fraction of the root mean square of the details


@dataclass(frozen=True)
class Symmetry:
    """One of the ways to mirror or turn a square: first transposed, then each axis reversed, as far as set."""

    transpose: bool = False
    rows: bool = False
    columns: bool = False

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Returns square images, (n, side, side, …), mirrored or turned."""
        images = images.swapaxes(1, 2) if self.transpose else images
        return images[:, :: -1 if self.rows else 1, :: -1 if self.columns else 1]

    def apply_to_hashes(self, hashes: np.ndarray) -> np.ndarray:
        """Returns nearly the perceptual hashes of mirrored or turned images: 99 % differ in at most 5 of 64 bits.

        The cosines of odd frequencies change their sign when an axis is reversed, so the bits of theirs do too.

        Args:
            hashes: uint64 (n,).
        """
        bits = np.unpackbits(hashes.astype(">u8").view(np.uint8)).reshape(-1, 8, 8)
        bits = bits.swapaxes(1, 2) if self.transpose else bits
        odd = np.arange(8, dtype=np.uint8) % 2
        bits = bits ^ odd[:, None] * np.uint8(self.rows) ^ odd * np.uint8(self.columns)
        return np.packbits(bits).view(">u8").astype(np.uint64)


UNCHANGED = Symmetry()
# The seventh, a quarter turn to the other side, is the same for the pair in the other order.
MIRRORED_OR_TURNED = tuple(
    Symmetry(transpose="t" in axes, rows="r" in axes, columns="c" in axes)
    for axes in ("c", "r", "rc", "t", "trc", "tr")
)


class Thumbnails:
    """Small images of pictures, which are read when they are needed first."""

    def __init__(self, count: int, load: Callable[[int], np.ndarray]) -> None:
        """`load` returns the pixels of one of `count` pictures, uint8 (height, width, 3 or 1)."""
        self._load = load
        self._known = np.zeros(count, bool)  # all of these take memory only where something is stored
        self._color = np.zeros((count, _COLOR_SIDE, _COLOR_SIDE, 3), np.float32)
        self._direction = np.zeros_like(self._color)
        self._gray = np.zeros((count, _GRAY_SIDE, _GRAY_SIDE), np.uint8)
        self._tolerance = np.zeros_like(self._gray)
        self._max_rms = np.zeros(count, np.float32)

    def _read(self, *indices: np.ndarray) -> None:
        needed = np.unique(np.concatenate(indices))
        for index in needed[~self._known[needed]].tolist():
            pixels = self._load(index)
            color = cv2.resize(pixels, (_COLOR_SIDE,) * 2, interpolation=cv2.INTER_AREA)
            gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels
            gray = cv2.resize(gray, (_GRAY_SIDE,) * 2, interpolation=cv2.INTER_AREA)
            details = gray - cv2.blur(gray.astype(np.float32), (3, 3))
            self._color[index] = color.reshape(_COLOR_SIDE, _COLOR_SIDE, -1)
            self._direction[index] = _direction(self._color[index])
            self._gray[index] = gray
            self._tolerance[index] = _MAX_GRAY_DIFFERENCE + _EDGE_TOLERANCE * _local_contrast(gray)
            self._max_rms[index] = _MAX_RMS + _DETAIL_TOLERANCE * _rms(details)
            self._known[index] = True

    def brightness(self, indices: np.ndarray) -> np.ndarray:
        """Returns the mean gray level of each picture."""
        self._read(indices)
        return self._gray[indices].mean(axis=(1, 2))

    def alike(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Returns which pictures look alike, bool (rows, columns): their colors correlate, or are one and the same."""
        self._read(rows, columns)
        one, other = (self._direction[part].reshape(len(part), -1) for part in (rows, columns))
        return one @ other.T >= _MIN_CORRELATION

    def turned(self, rows: np.ndarray, columns: np.ndarray, symmetry: Symmetry) -> np.ndarray:
        """Returns which pictures of the columns are those of the rows, mirrored or turned, bool (rows, columns).

        They may differ a little more than in `same`, since a JPEG whose size is odd is not reduced symmetrically.
        """
        self._read(rows, columns)
        one, other = _normalized(symmetry.apply(self._gray[rows])), _normalized(self._gray[columns])
        found = one @ other.T >= _MIN_TURNED_CORRELATION
        color = symmetry.apply(self._color[rows])
        for row in np.flatnonzero(found.any(axis=1)).tolist():
            found[row] &= (np.abs(color[row] - self._color[columns]) <= _MAX_COLOR_DIFFERENCE).all(axis=(1, 2, 3))
        return found

    def same(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Returns which pictures are the same picture, bool (rows, columns), apart from saving again and resizing."""
        self._read(rows, columns)
        max_rms = np.minimum(self._max_rms[rows][:, None], self._max_rms[columns])
        # Every fourth cell tells for most pairs that they differ too much.
        found = _mean_squares(self._gray[rows, ::2, ::2], self._gray[columns, ::2, ::2]) <= (1.4 * max_rms) ** 2
        row, column = np.nonzero(found)
        for start in range(0, len(row), _PAIRS):
            pairs = row[start : start + _PAIRS], column[start : start + _PAIRS]
            one, other = rows[pairs[0]], columns[pairs[1]]
            difference = cv2.absdiff(self._gray[one], self._gray[other])
            found[pairs] = (
                (difference <= np.minimum(self._tolerance[one], self._tolerance[other])).all(axis=(1, 2))
                & (np.square(difference, dtype=np.float32).mean(axis=(1, 2)) <= max_rms[pairs] ** 2)
                & (np.abs(self._color[one] - self._color[other]) <= _MAX_COLOR_DIFFERENCE).all(axis=(1, 2, 3))
            )
        return found


def _direction(color: np.ndarray) -> np.ndarray:
    """Returns an image of mean 0 and length 1, so that the product of two is the correlation of their colors.

    A picture of a single color correlates with nothing. It gets a random direction, the same for each of that color.
    """
    if (color == color[0, 0]).all():
        direction = np.random.default_rng(color[0, 0].astype(int)).normal(size=color.shape)
    else:
        direction = color - color.mean()
    return direction / np.linalg.norm(direction)


def _normalized(images: np.ndarray) -> np.ndarray:
    """Returns images (n, side, side) as vectors of mean 0 and length 1; single colors as zeros."""
    vectors = images.reshape(len(images), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _mean_squares(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the mean squared differences, (rows, columns), of images (n, side, side)."""
    one, other = (images.reshape(len(images), -1).astype(np.float32) - 128 for images in (rows, columns))
    return ((one**2).mean(axis=1)[:, None] + (other**2).mean(axis=1)) - one @ other.T * (2 / one.shape[1])


def _local_contrast(image: np.ndarray) -> np.ndarray:
    """Returns the difference between the brightest and the darkest of each cell and its neighbors, uint8."""
    window = np.ones((3, 3), np.uint8)
    return cv2.dilate(image, window) - cv2.erode(image, window)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))

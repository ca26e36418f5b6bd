"""Which picture files show the same photograph, so that none of them is trained on while another one validates.

Names tell of copies (manifest.py); perceptual hashes tell of what was saved again, reduced, cropped a little, or put
into two class folders.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import cv2
import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manifest import KEPT, Picture

# Measured on photographs and drawings: re-encoding, halving the size, cutting off 2 % of each side or lighting by 30 %
# changes at most 8 of 64 bits of nearly all pictures; different ones differ in at least 10. Signs on plain ground can
# agree in their hashes and yet differ, so what the hash finds is confirmed on small colour pictures.
_LEAST_CORRELATION = 0.98
_SIDE = 8  # of those, in pixels
_BLOCK = 64  # rows of the table of distances held at a time


def perceptual_hash(pixels: np.ndarray) -> str:
    """16 hexadecimal digits, of which near-duplicates share nearly all bits.

    Args:
        pixels: uint8 (height, width, 3 or 1).

    Algorithm: the signs of the 64 lowest frequencies around their median, "pHash" (Zauner 2010), by ImageHash.
    """
    return str(imagehash.phash(Image.fromarray(pixels.squeeze())))


def assign_groups(
    pictures: Sequence[Picture], *, most_bits: int, pixels_of: Callable[[Picture], np.ndarray]
) -> list[Picture]:
    """Fills in the group of every kept picture: the first, by name, of the sources that show the same photograph.

    Args:
        pictures: rows of a manifest with their perceptual hashes.
        most_bits: in how many of 64 bits the hashes of near-duplicates may differ.
        pixels_of: the standardised pixels of a picture, uint8 (height, width, 3 or 1); asked of candidates alone.
    """
    kept = [picture for picture in pictures if picture.status == KEPT]
    sources = sorted({picture.source for picture in kept})
    place = {source: number for number, source in enumerate(sources)}
    same = [(place[a.source], place[b.source]) for a, b in _same_pictures(kept, most_bits, pixels_of)]
    rows, columns = np.array(same, int).reshape(-1, 2).T
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(sources),) * 2)
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    group = {source: sources[first[component[number]]] for source, number in place.items()}
    return [replace(p, group=group[p.source]) if p.status == KEPT else p for p in pictures]


def mixed_groups(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """The groups whose pictures lie in several class folders, of which at most one can be right."""
    groups = defaultdict(list)
    for picture in pictures:
        if picture.status == KEPT and not picture.is_copy:
            groups[picture.group].append(picture)
    return [group for group in groups.values() if len({picture.class_name for picture in group}) > 1]


def _same_pictures(
    kept: Sequence[Picture], most_bits: int, pixels_of: Callable[[Picture], np.ndarray]
) -> Iterator[tuple[Picture, Picture]]:
    first_with: dict[str, Picture] = {}
    for picture in kept:
        if picture.sha256:
            yield first_with.setdefault(picture.sha256, picture), picture
    distinct = [p for p in kept if p.perceptual_hash and first_with.get(p.sha256, p) is p]
    thumbnails: dict[int, np.ndarray] = {}

    def thumbnail(number: int) -> np.ndarray:
        if number not in thumbnails:
            thumbnails[number] = _thumbnail(pixels_of(distinct[number]))
        return thumbnails[number]

    for a, b in _near(np.array([int(p.perceptual_hash, 16) for p in distinct], np.uint64), most_bits):
        if thumbnail(a) @ thumbnail(b) >= _LEAST_CORRELATION:
            yield distinct[a], distinct[b]


def _near(hashes: np.ndarray, most_bits: int) -> Iterator[tuple[int, int]]:
    """The places of all pairs of hashes, uint64 (n,), that differ in at most so many bits."""
    for start in range(0, len(hashes), _BLOCK):
        differing = np.bitwise_count(hashes[start : start + _BLOCK, None] ^ hashes[None, start:])
        for row, column in np.argwhere(differing <= most_bits):
            if row < column:
                yield start + int(row), start + int(column)


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A tiny picture as a vector of mean 0 and length 1, so that a product of two is their correlation."""
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-9)

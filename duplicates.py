"""Which picture files show the same photograph, so that none of them is trained on while another one validates.

Names tell of copies (manifest.py); perceptual hashes tell of what was saved again, reduced, cropped a little, or put
into two class folders.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import cv2
import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manifest import KEPT, Picture, updated

# Measured on photographs and drawings: re-encoding, halving the size, cutting off 2 % of each side or lighting by 30 %
# changes at most 8 of 64 bits of nearly all pictures; different ones differ in at least 10. Signs on plain ground can
# agree in their hashes and yet differ, so what the hash finds is confirmed on small colour pictures.
_LEAST_CORRELATION = 0.98
_SIDE = 8  # of those, in pixels
_BLOCK = 2**16  # distances held at a time
_NO_PAIRS = np.zeros((0, 2), int)


def perceptual_hash(pixels: np.ndarray) -> str:
    """16 hexadecimal digits, of which near-duplicates share nearly all bits.

    Args:
        pixels: uint8 (height, width, 3 or 1).

    Algorithm: the signs of the 64 lowest frequencies around their median, "pHash" (Zauner 2010), by ImageHash.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels.squeeze(axis=2)
    # The hash is of 32 x 32 pixels, to which the library would bring it more slowly.
    return str(imagehash.phash(Image.fromarray(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))))


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
    number = np.array([place[picture.source] for picture in kept], int)
    rows, columns = number[np.concatenate([_NO_PAIRS, *_same_pictures(kept, most_bits, pixels_of)])].T
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(sources),) * 2)
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    group = {source: sources[first[component[number]]] for source, number in place.items()}
    return [updated(p, group=group[p.source], group_bits=most_bits) if p.status == KEPT else p for p in pictures]


def mixed_groups(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """The groups whose pictures lie in several class folders, of which at most one can be right."""
    groups = defaultdict(list)
    for picture in pictures:
        if picture.status == KEPT and not picture.is_copy:
            groups[picture.group].append(picture)
    return [group for group in groups.values() if len({picture.class_name for picture in group}) > 1]


def _same_pictures(
    kept: Sequence[Picture], most_bits: int, pixels_of: Callable[[Picture], np.ndarray]
) -> Iterator[np.ndarray]:
    """The places of pictures that are the same file or look the same, int (pairs, 2), in pieces."""
    first_with: dict[str, int] = {}
    first = np.array([first_with.setdefault(p.sha256, at) if p.sha256 else at for at, p in enumerate(kept)], int)
    yield np.stack([first, np.arange(len(kept))], axis=1)
    distinct = np.array([at for at, p in enumerate(kept) if p.perceptual_hash and first[at] == at], int)
    hashes = np.array([int(kept[at].perceptual_hash, 16) for at in distinct], np.uint64)
    thumbnails: dict[int, np.ndarray] = {}  # of candidates alone, which are few

    def thumbnail(at: int) -> np.ndarray:
        if at not in thumbnails:
            thumbnails[at] = _thumbnail(pixels_of(kept[at]))
        return thumbnails[at]

    for near in _near(hashes, most_bits):
        candidates, position = np.unique(distinct[near], return_inverse=True)
        small = np.array([thumbnail(at) for at in candidates.tolist()])
        first, second = small[position.reshape(near.shape).T]
        yield distinct[near][np.einsum("pv,pv->p", first, second) >= _LEAST_CORRELATION]


def _near(hashes: np.ndarray, most_bits: int) -> Iterator[np.ndarray]:
    """The places, int (pairs, 2), of all pairs of hashes, uint64 (n,), that differ in at most so many bits; in pieces.

    Cut into one part more than there may be differing bits, two such hashes agree in a part at least. So only those
    that agree in one are compared (Norouzi, Punjani and Fleet 2012), which are few of all unless most are the same.
    """
    cuts = [64 * part // (most_bits + 1) for part in range(most_bits + 2)]
    masks = np.array([(1 << high) - (1 << low) for low, high in pairwise(cuts)], np.uint64)
    for part, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        ends = np.flatnonzero(np.diff(hashes[order] & mask)) + 1
        for start, end in pairwise([0, *ends.tolist(), len(order)]):
            for pairs in _near_among(hashes, order[start:end], most_bits):
                first, second = hashes[pairs].T
                found_before = ((first ^ second)[:, None] & masks[:part] == 0).any(axis=1)
                if not found_before.all():
                    yield pairs[~found_before]


def _near_among(hashes: np.ndarray, places: np.ndarray, most_bits: int) -> Iterator[np.ndarray]:
    """As `_near`, for the hashes at some places, each of which is compared with every later one."""
    own = hashes[places]
    rows = max(1, _BLOCK // max(1, len(own)))
    for start in range(0, len(own) - 1, rows):
        differing = np.bitwise_count(own[start : start + rows, None] ^ own[None, start:])
        row, column = divmod(np.flatnonzero(differing <= most_bits), len(own) - start)
        pairs = places[start + np.stack([row, column], axis=1)]
        if (row < column).any():
            yield pairs[row < column]


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A tiny picture as a vector of mean 0 and length 1, so that a product of two is their correlation."""
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-9)

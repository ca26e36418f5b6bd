"""Which pictures show the same photo, so that none is used for training while another one is used for validation.

Names identify copies (manifest.py); perceptual hashes find pictures that were saved again, reduced, slightly cropped,
or put into two class folders. The hash is ImageHash's. The search is ours: imagededup needs torch, fastdup has
a non-commercial license, and cleanvision needs pandas.
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

from pictures.manifest import KEPT, Picture, updated

# Measured on photos and drawings: saving again, halving the size, cutting off 2 % of each side or changing the
# brightness by 30 % changes at most 8 of 64 bits of nearly all pictures; different pictures differ in at least 10.
# Logos on a plain background can have the same hash and yet differ, so each pair is confirmed by comparing thumbnails.
MAX_HASH_DISTANCE = 8  # bits
_MIN_CORRELATION = 0.98
_THUMBNAIL_SIDE = 8  # pixels
_BLOCK = 2**16  # distances computed at a time
_NO_PAIRS = np.zeros((0, 2), int)


def perceptual_hash(pixels: np.ndarray) -> str:
    """Returns 16 hexadecimal digits; those of near-duplicates share nearly all of their 64 bits.

    Args:
        pixels: uint8 (height, width, 3 or 1).

    Algorithm: whether each of 64 low frequencies is above their median, "pHash" (Zauner 2010), by ImageHash.
    """
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels.squeeze(axis=2)
    # The hash is computed from 32 x 32 pixels; the library would resize more slowly.
    return str(imagehash.phash(Image.fromarray(cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA))))


def assign_groups(pictures: Sequence[Picture], *, pixels_of: Callable[[Picture], np.ndarray]) -> list[Picture]:
    """Returns the pictures with the group of every kept one: the first, by name, of the sources that show the same.

    Args:
        pictures: rows of a manifest with their perceptual hashes.
        pixels_of: returns the standardized pixels of a picture, uint8 (height, width, 3 or 1). It is called only for
            candidates, which are few.
    """
    kept = [picture for picture in pictures if picture.status == KEPT]
    sources = sorted({picture.source for picture in kept})
    index = {source: number for number, source in enumerate(sources)}
    node = np.array([index[picture.source] for picture in kept], int)
    rows, columns = node[np.concatenate([_NO_PAIRS, *_same_pictures(kept, pixels_of)])].T
    links = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(sources),) * 2)
    _, component = connected_components(links, directed=False)
    _, first = np.unique(component, return_index=True)
    group = {source: sources[first[component[number]]] for source, number in index.items()}
    return [updated(p, group=group[p.source], grouped=1) if p.status == KEPT else p for p in pictures]


def mixed_groups(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Returns the groups whose pictures are in several class folders, of which at most one can be right."""
    groups = defaultdict(list)
    for picture in pictures:
        if picture.status == KEPT and not picture.is_copy:
            groups[picture.group].append(picture)
    return [group for group in groups.values() if len({picture.class_name for picture in group}) > 1]


def _same_pictures(kept: Sequence[Picture], pixels_of: Callable[[Picture], np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the indices of pictures that are the same file or look the same, int (pairs, 2), in blocks."""
    first_with: dict[str, int] = {}
    first = np.array([first_with.setdefault(p.sha256, at) if p.sha256 else at for at, p in enumerate(kept)], int)
    yield np.stack([first, np.arange(len(kept))], axis=1)
    distinct = np.array([at for at, p in enumerate(kept) if p.perceptual_hash and first[at] == at], int)
    hashes = np.array([int(kept[at].perceptual_hash, 16) for at in distinct], np.uint64)
    thumbnails: dict[int, np.ndarray] = {}  # of the candidates

    def thumbnail(at: int) -> np.ndarray:
        if at not in thumbnails:
            thumbnails[at] = _thumbnail(pixels_of(kept[at]))
        return thumbnails[at]

    for near in similar_hashes(hashes, MAX_HASH_DISTANCE):
        candidates, position = np.unique(distinct[near], return_inverse=True)
        small = np.array([thumbnail(at) for at in candidates.tolist()])
        one, other = small[position.reshape(near.shape).T]
        yield distinct[near][np.einsum("pv,pv->p", one, other) >= _MIN_CORRELATION]


def similar_hashes(hashes: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    """Yields the indices, int (pairs, 2), of all pairs of hashes that differ in at most `max_distance` bits, in blocks.

    If 64 bits are split into max_distance + 1 parts, two similar hashes have at least one equal part. So only hashes
    with an equal part are compared: a small fraction, unless most are the same.

    Args:
        hashes: uint64 (n,).
        max_distance: 0 to 63.

    Algorithm: multi-index hashing (Norouzi, Punjani and Fleet 2012).
    """
    cuts = [64 * part // (max_distance + 1) for part in range(max_distance + 2)]
    masks = np.array([(1 << high) - (1 << low) for low, high in pairwise(cuts)], np.uint64)
    for part, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        ends = np.flatnonzero(np.diff(hashes[order] & mask)) + 1
        for start, end in pairwise([0, *ends.tolist(), len(order)]):
            for pairs in _similar_among(hashes, order[start:end], max_distance):
                one, other = hashes[pairs].T
                found_before = ((one ^ other)[:, None] & masks[:part] == 0).any(axis=1)
                if not found_before.all():
                    yield pairs[~found_before]


def _similar_among(hashes: np.ndarray, indices: np.ndarray, max_distance: int) -> Iterator[np.ndarray]:
    """Yields the same as `similar_hashes` for some indices, comparing each hash with every later one."""
    own = hashes[indices]
    rows = max(1, _BLOCK // max(1, len(own)))
    for start in range(0, len(own) - 1, rows):
        distances = np.bitwise_count(own[start : start + rows, None] ^ own[None, start:])
        row, column = divmod(np.flatnonzero(distances <= max_distance), len(own) - start)
        pairs = indices[start + np.stack([row, column], axis=1)]
        if (row < column).any():
            yield pairs[row < column]


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Returns a tiny image as a vector of mean 0 and length 1, so that the product of two is their correlation."""
    small = cv2.resize(pixels, (_THUMBNAIL_SIDE,) * 2, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-9)

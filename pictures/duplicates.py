"""Which pictures show the same photo, so that none is used for training while another one is used for validation.

Names identify copies (copy_names.py). Perceptual hashes find pictures that may look alike, and thumbnails confirm it
(similarity.py): pictures saved again, reduced or slightly cropped, mirrored or turned, and series of one scene. The
hash is ImageHash's. The search is ours (hash_index.py): imagededup needs torch, fastdup has a non-commercial license,
and cleanvision needs pandas.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from operator import attrgetter

import cv2
import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pictures.hash_index import HashIndex
from pictures.manifest import KEPT, Picture, kept, stand_ins, updated
from pictures.similarity import MIRRORED_OR_TURNED, UNCHANGED, Thumbnails
from system.progress import progress
from system.terminal import printable

# Measured on photos and drawings: saving again, halving the size, cutting off 2 % of each side or changing the
# brightness by 30 % changes at most 8 of 64 bits of nearly all pictures; different pictures differ in at least 10.
# Logos on a plain background can have the same hash and yet differ, so each pair is confirmed by comparing thumbnails.
MAX_HASH_DISTANCE = 8  # bits
SIMILAR, SAME = 1, 2  # which pictures were grouped
_BLOCK = 2**21  # pairs compared at a time
_MAX_NEIGHBORS = 1000  # in a group, that each picture is compared with to find the same picture
_MAX_LINES = 10  # of warnings, with one about those that are not shown
_MAX_NAMES = 3  # in one of them


def perceptual_hash(pixels: np.ndarray) -> str:
    """Returns 16 hexadecimal digits; those of near-duplicates share nearly all of their 64 bits.

    Args:
        pixels: uint8 (height, width, 3 or 1).

    Algorithm: whether each of 64 low frequencies is above their median, "pHash" (Zauner 2010), by ImageHash.
    """
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels.squeeze(axis=2)
    # The hash is computed from 32 x 32 pixels; the library would resize more slowly.
    return str(imagehash.phash(Image.fromarray(cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA))))


def grouping(*, similar: bool) -> int:
    """Returns how groups are made: of all pictures that look alike, or only of those that are the same picture."""
    return SIMILAR if similar else SAME


def assign_groups(
    pictures: Sequence[Picture], *, pixels_of: Callable[[Picture], np.ndarray], similar: bool = True
) -> list[Picture]:
    """Returns the pictures with the photo and the group of every kept one: each named by the first of its sources.

    Sources of one photo are the same picture: equal files, or differing by no more than saving again, resizing and, in
    one class, mirroring or turning. (Not in several classes: these may be about left and right.) Sources of one group
    look alike, directly or through others between them.

    Args:
        pictures: rows of a manifest with their perceptual hashes.
        pixels_of: returns the standardized pixels of a picture, uint8 (height, width, 3 or 1). It is called only for
            candidates, which are few.
        similar: whether pictures that look alike are in one group, or only those that are the same picture.
    """
    used = kept(pictures)
    sources = sorted({picture.source for picture in used})
    index = {source: number for number, source in enumerate(sources)}
    photos, groups = _Components(len(sources)), _Components(len(sources))
    first_with: dict[str, Picture] = {}
    firsts = [first_with.setdefault(picture.sha256 or picture.path, picture) for picture in used]
    nodes, first_nodes = (np.array([index[picture.source] for picture in part], int) for part in (used, firsts))
    for components in (photos, groups):
        components.join_pairs(nodes, first_nodes)  # equal files
    distinct = [
        picture for picture, first in zip(used, firsts, strict=True) if picture is first and first.perceptual_hash
    ]
    nodes = np.array([index[picture.source] for picture in distinct], int)
    with progress(len(distinct), "comparing") as advance:

        def load(at: int) -> np.ndarray:
            advance(1)
            return pixels_of(distinct[at])

        _find(distinct, nodes, Thumbnails(len(distinct), load), photos=photos, groups=groups)
    grouped = grouping(similar=similar)
    first_photos, first_alike = photos.roots(), (groups if similar else photos).roots()

    def assign(picture: Picture) -> Picture:
        node = index[picture.source]
        photo, group = sources[first_photos[node]], sources[first_alike[node]]
        return updated(picture, photo=photo, group=group, grouped=grouped)

    return [assign(picture) if picture.status == KEPT else picture for picture in pictures]


def _find(
    pictures: Sequence[Picture],
    nodes: np.ndarray,
    thumbnails: Thumbnails,
    *,
    photos: "_Components",
    groups: "_Components",
) -> None:
    """Joins the nodes of the pictures: in `groups` if they look alike, in `photos` too if they are the same picture."""
    hashes = np.array([int(picture.perceptual_hash, 16) for picture in pictures], np.uint64)
    classes = {name: number for number, name in enumerate(sorted({picture.class_name for picture in pictures}))}
    labels = np.array([classes[picture.class_name] for picture in pictures], int)

    def group_of(indices: np.ndarray) -> np.ndarray:
        return groups.roots(nodes[indices])

    index = HashIndex(hashes, MAX_HASH_DISTANCE)
    for symmetry in (UNCHANGED, *MIRRORED_OR_TURNED):
        for rows, columns, near in index.similar_to(symmetry.apply_to_hashes(hashes), group_of):
            if symmetry == UNCHANGED:
                groups.join(nodes[rows], nodes[columns], near & thumbnails.alike(rows, columns))
            elif (near := near & (labels[rows][:, None] == labels[columns])).any():
                same = near & thumbnails.turned(rows, columns, symmetry)
                groups.join(nodes[rows], nodes[columns], same)
                photos.join(nodes[rows], nodes[columns], same)
    roots = groups.roots(nodes)
    order = np.argsort(roots, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(roots[order])) + 1):
        _find_photos(members, nodes, thumbnails, photos)


def _find_photos(members: np.ndarray, nodes: np.ndarray, thumbnails: Thumbnails, photos: "_Components") -> None:
    """Joins in `photos` the nodes of those members of a group that are the same picture.

    In a large group each is compared with those of nearly the same brightness only, so that the time does not grow with
    the square of their number. If the same picture is missed there, both are still on one side of the split.

    Algorithm: the sorted neighborhood method (Hernández and Stolfo 1995).
    """
    if len(members) > 1:
        members = members[np.argsort(thumbnails.brightness(members), kind="stable")]
    start, step = 0, 1
    while start < len(members) - 1:
        rows, columns = members[start : start + step], members[start : start + step + _MAX_NEIGHBORS]
        wanted = photos.roots(nodes[rows])[:, None] != photos.roots(nodes[columns])
        if wanted.any():
            photos.join(nodes[rows], nodes[columns], wanted & thumbnails.same(rows, columns))
        start += step
        step = min(2 * step, _BLOCK // _MAX_NEIGHBORS)  # the first few may join most of the others


class _Components:
    """The connected components of a graph to which links are added; each is named by its first node.

    SciPy's connected_components alone would need all links at once, and its DisjointSet looks up one node at a time.
    """

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count)

    def roots(self, nodes: np.ndarray | None = None) -> np.ndarray:
        """Returns the first node of the component of each of the nodes, or of all."""
        nodes = np.arange(len(self._parents)) if nodes is None else nodes
        roots = self._parents[nodes]
        while (above := self._parents[roots]).tobytes() != roots.tobytes():
            roots = above
        self._parents[nodes] = roots
        return roots

    def join(self, rows: np.ndarray, columns: np.ndarray, linked: np.ndarray) -> None:
        """Adds the links between two lists of nodes, bool (rows, columns)."""
        self.join_pairs(rows, columns, np.nonzero(linked))

    def join_pairs(self, ones: np.ndarray, others: np.ndarray, pairs: tuple[np.ndarray, ...] | None = None) -> None:
        """Adds links between two lists of nodes, given by positions in these lists, or by default one by one."""
        nodes, position = np.unique(self.roots(np.concatenate([ones, others])), return_inverse=True)
        one, other = position[: len(ones)], position[len(ones) :]
        ends = (one[pairs[0]], other[pairs[1]]) if pairs else (one, other)
        graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(len(nodes),) * 2)
        _, component = connected_components(graph, directed=False)
        _, first = np.unique(component, return_index=True)
        self._parents[nodes] = nodes[first[component]]


# ---- what the user is told ----


def same_photos(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Returns the kept pictures that show the same photo as others, in groups of two or more, sorted by path.

    A copy is left out if its source is there.
    """
    photos = defaultdict(list)
    for picture in sorted(stand_ins(kept(pictures)).values(), key=attrgetter("path")):
        photos[picture.photo or picture.group].append(picture)
    return [photo for photo in photos.values() if len(photo) > 1]


def mixed_groups(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Returns those of the same photos that are in several class folders, of which at most one can be right."""
    return [photo for photo in same_photos(pictures) if len({picture.class_name for picture in photo}) > 1]


def some_of(photo: Sequence[Picture], limit: int) -> list[Picture]:
    """Returns at most `limit` pictures of a photo in their order: the first of each class, then the second of each."""
    seen: Counter[str] = Counter()
    rounds = []
    for picture in photo:
        rounds.append(seen[picture.class_name])
        seen[picture.class_name] += 1
    chosen = sorted(range(len(photo)), key=rounds.__getitem__)[:limit]
    return [photo[index] for index in sorted(chosen)]


def mislabeled_lines(pictures: Sequence[Picture]) -> list[str]:
    """Returns a few lines that name pictures which are in the folders of several classes."""
    groups = mixed_groups(pictures)
    lines = []
    shown = groups if len(groups) <= _MAX_LINES else groups[: _MAX_LINES - 1]
    for group in shown:
        names = " and ".join(printable(picture.path) for picture in some_of(group, _MAX_NAMES))
        more = f" and {len(group) - _MAX_NAMES:,} more" if len(group) > _MAX_NAMES else ""
        lines.append(f"probably mislabeled: {names}{more} show the same picture")
    if len(shown) < len(groups):
        lines.append(
            f"probably mislabeled: {len(groups) - len(shown):,} more pictures like these; pictures in several classes "
            "have the same entry in the column photo of manifest.csv"
        )
    return lines

"""All pairs of similar 64-bit hashes, in a time that hardly grows faster than the number of hashes.

faiss has such an index (IndexBinaryMultiHash), but it would take 85 MB more to install.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from math import comb

import numpy as np

_BITS = 64
_MIN_PARTS = 3  # so that a table with an entry for each value of a part is small
_LOOKUP_TIME = 3  # of the time in which two hashes are compared
_MAX_PROBES = 2**20  # that are looked up at a time
_MANY = 64  # hashes with the same part, above which they are compared as a block
_BLOCK = 2**21  # pairs compared at a time

Pairs = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]
Groups = Callable[[np.ndarray], np.ndarray]


class HashIndex:
    """Finds all pairs of hashes that differ in at most `max_distance` bits.

    If the 64 bits are divided into n parts, two similar hashes differ in one of the parts in at most `max_distance` / n
    bits. So each part of a hash, and what it becomes if so few of its bits change, is looked up among the same parts of
    all others. The more hashes there are, the fewer and longer parts are best. Algorithm: multi-index hashing (Norouzi,
    Punjani and Fleet 2012).
    """

    def __init__(self, hashes: np.ndarray, max_distance: int) -> None:
        """`hashes` are uint64 (n,), `max_distance` is 0 to 20."""
        self._hashes = hashes
        self._max_distance = max_distance
        parts = _best_number_of_parts(len(hashes), max_distance)
        self._part_distance = max_distance // parts
        cuts = [_BITS * part // parts for part in range(parts + 1)]
        self._parts = [_Part(hashes, low, high, self._part_distance) for low, high in pairwise(cuts)]

    def similar_to(self, rows: np.ndarray, group_of: Groups) -> Pairs:
        """Yields all similar pairs of other hashes and of these, except those in one group, each once.

        Args:
            rows: the other hashes, uint64 (n,), as many as there are here.
            group_of: called with indices, before they are compared; returns an int for each, the same for those that
                need not be compared with each other, int (len(indices),).

        Yields:
            indices of rows, indices of the hashes, and which of these pairs are meant, bool (rows, hashes).
        """
        for number, part in enumerate(self._parts):
            earlier = self._parts[:number]
            step = max(1, _MAX_PROBES // len(part.changes))
            for start in range(0, len(rows), step):
                block = np.arange(start, min(start + step, len(rows)))
                probes = part.values(rows[block])[:, None] ^ part.changes
                found = np.flatnonzero(part.exists[probes])
                row, value = block[found // len(part.changes)], probes.ravel()[found]
                first, end = part.starts[value], part.starts[value + 1]
                if (many := end - first > _MANY).any():
                    for common, same in _by_value(value[many], row[many]):
                        yield from self._compare(rows, same, part.indices(common), group_of, earlier)
                    row, first, end = row[~many], first[~many], end[~many]
                yield from self._compare_few(rows, row, first, end, part, earlier, group_of)

    def _compare_few(
        self,
        rows: np.ndarray,
        row: np.ndarray,
        first: np.ndarray,
        end: np.ndarray,
        part: "_Part",
        earlier: Sequence["_Part"],
        group_of: Groups,
    ) -> Pairs:
        """Yields the similar pairs of each row and a few hashes: those from `first` to `end` in the order of a part.

        `row`, `first` and `end` are int (n,).
        """
        step = _BLOCK // _MANY
        for start in range(0, len(row), step):
            own, begin, after = (values[start : start + step] for values in (row, first, end))
            number = after - begin
            ends = np.cumsum(number)
            places = np.repeat(begin - (ends - number), number) + np.arange(ends[-1])  # one after the other
            near = np.flatnonzero(self._are_near(np.repeat(rows[own], number) ^ part.hashes[places], earlier))
            one, other = own[np.searchsorted(ends, near, side="right")], part.order[places[near]]
            if (apart := group_of(one) != group_of(other)).any():
                for index, others in _by_value(one[apart], other[apart]):
                    yield np.array([index]), others, np.ones((1, len(others)), bool)

    def _compare(
        self,
        rows: np.ndarray,
        row: np.ndarray,
        column: np.ndarray,
        group_of: Groups,
        earlier: Sequence["_Part"],
    ) -> Pairs:
        """Yields the similar pairs of some rows and some hashes, all compared with all."""
        step = max(1, _BLOCK // len(column)) if len(column) else 1
        for start in range(0, len(row), step):
            block, others = row[start : start + step], column
            row_groups, column_groups = group_of(block), group_of(others)
            if (row_groups == row_groups[0]).all():  # as nearly all are, once a series has been joined
                others = others[column_groups != row_groups[0]]
                column_groups = group_of(others)
            near = row_groups[:, None] != column_groups
            near &= self._are_near(rows[block][:, None] ^ self._hashes[others], earlier)
            if near.any():
                used, beside = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
                yield block[used], others[beside], near[np.ix_(used, beside)]

    def _are_near(self, different: np.ndarray, earlier: Sequence["_Part"]) -> np.ndarray:
        """Returns which pairs are similar, and were not found by earlier parts, given the bits in which they differ."""
        near = np.bitwise_count(different) <= self._max_distance
        for part in earlier if near.any() else ():
            near &= part.distance(different) > self._part_distance
        return near


def _by_value(values: np.ndarray, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each of the values, sorted, with the indices that have it."""
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    yield from zip(found.tolist(), np.split(indices[order], starts[1:]), strict=False)


def _best_number_of_parts(count: int, max_distance: int) -> int:
    """Returns the number of parts with which so many hashes take the least time."""

    def time_of(parts: int) -> float:
        bits = _BITS / parts
        probes = parts * sum(comb(round(bits), changed) for changed in range(max_distance // parts + 1))
        return probes * (_LOOKUP_TIME + count / 2**bits)

    return min(range(_MIN_PARTS, max(_MIN_PARTS, max_distance + 1) + 1), key=time_of)


class _Part:
    """The bits of all hashes from one position up to another one, and which hashes have each value of them."""

    def __init__(self, hashes: np.ndarray, low: int, high: int, max_distance: int) -> None:
        self._low, self._mask = np.uint64(low), np.uint64(2 ** (high - low) - 1)
        values = self.values(hashes)
        self.order = np.argsort(values, kind="stable").astype(np.int32)
        self.hashes = hashes[self.order]
        counts = np.bincount(values, minlength=2 ** (high - low))
        self.exists = counts > 0  # whether a hash has a value
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # of each value in the order
        bits = [1 << bit for bit in range(high - low)]
        # What a value can be combined with (xor) so that at most max_distance bits change.
        self.changes = np.array(
            [sum(chosen) for count in range(max_distance + 1) for chosen in combinations(bits, count)]
        )

    def values(self, hashes: np.ndarray) -> np.ndarray:
        return (hashes >> self._low & self._mask).astype(np.int64)

    def distance(self, different: np.ndarray) -> np.ndarray:
        """Returns in how many bits of this part hashes differ."""
        return np.bitwise_count(different >> self._low & self._mask)

    def indices(self, value: int) -> np.ndarray:
        """Returns the hashes that have a value."""
        return self.order[self.starts[value] : self.starts[value + 1]]

"""All pairs of hashes that differ in few bits, each once."""

import numpy as np
import pytest

from pictures import hash_index
from pictures.hash_index import HashIndex


def similar_pairs(hashes: np.ndarray, max_distance: int) -> list[tuple[int, int]]:
    """Returns all pairs, sorted; a pair that is found twice is in it twice."""
    blocks = HashIndex(hashes, max_distance).similar_to(hashes, lambda indices: indices)
    pairs = [(int(rows[r]), int(columns[c])) for rows, columns, near in blocks for r, c in np.argwhere(near)]
    assert sorted((column, row) for row, column in pairs) == sorted(pairs)  # it finds them in both orders
    return sorted((row, column) for row, column in pairs if row < column)


@pytest.mark.parametrize(
    ("max_distance", "pairs"),
    [
        (0, [(0, 3)]),
        (1, [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]),
        (2, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
    ],
)
def test_similar_hashes_differ_at_most_by_the_limit(max_distance, pairs):
    hashes = np.array([0b1000, 0b1001, 0b1010, 0b1000], np.uint64)
    assert similar_pairs(hashes, max_distance) == pairs


@pytest.mark.parametrize("max_distance", [0, 1, 3, 8, 16])
@pytest.mark.parametrize("kind", ["any", "crowded"])
@pytest.mark.parametrize(("parts", "many"), [(3, 64), (3, 2), (5, 8), (9, 1), (17, 64)])
def test_similar_hashes_are_all_found_once(kind, max_distance, parts, many, monkeypatch):
    """However the hashes are divided, and whether those with an equal part are compared as a block or not."""
    monkeypatch.setattr(hash_index, "_best_number_of_parts", lambda count, distance: parts)
    monkeypatch.setattr(hash_index, "_MANY", many)
    rng = np.random.default_rng(max_distance)
    hashes = rng.integers(0, 2**64, 400, dtype=np.uint64)
    if kind == "crowded":  # around a few centers, up to 20 bits away
        hashes = hashes[rng.integers(0, 5, 400)]
        for _ in range(20):
            hashes ^= np.uint64(1) << rng.integers(0, 64, 400, dtype=np.uint64)
    expected = [
        (a, b)
        for a in range(400)
        for b in range(a + 1, 400)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= max_distance
    ]
    assert similar_pairs(hashes, max_distance) == expected


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_similar_hashes_leaves_out_pairs_of_one_group(groups):
    hashes = np.zeros(12, np.uint64)
    blocks = HashIndex(hashes, 0).similar_to(hashes, lambda indices: indices % groups)
    pairs = {(int(rows[r]), int(columns[c])) for rows, columns, near in blocks for r, c in np.argwhere(near)}
    assert pairs == {(a, b) for a in range(12) for b in range(12) if a % groups != b % groups}


def test_similar_hashes_finds_pairs_across_blocks_in_all_64_bits():
    hashes = np.arange(1000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes[900] = hashes[5] ^ np.uint64(1 << 63)
    assert (5, 900) in similar_pairs(hashes, 1)
    assert (5, 900) not in similar_pairs(hashes, 0)


def test_pairs_that_were_joined_meanwhile_are_not_compared():
    """As soon as the first block of a series is joined, the rest of it is skipped."""
    hashes = np.zeros(5000, np.uint64)
    group = np.arange(5000)
    blocks = 0
    for rows, columns, near in HashIndex(hashes, 8).similar_to(hashes, lambda indices: group[indices]):
        assert near.sum() <= 2**21
        group[rows] = group[columns] = 0
        blocks += 1
    assert blocks == 1
    assert not group.any()


@pytest.mark.parametrize(("count", "parts"), [(2, 9), (3000, 9), (100_000, 5), (1_000_000, 3)])
def test_more_hashes_have_fewer_parts(count, parts):
    assert hash_index._best_number_of_parts(count, 8) == parts

"""Which pictures show the same photo, by their hashes and thumbnails."""

from collections import defaultdict

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from pictures.duplicates import MAX_HASH_DISTANCE, assign_groups, mixed_groups, perceptual_hash, similar_hashes
from pictures.manifest import KEPT, SKIPPED, Picture
from tests.helpers.pictures import as_jpeg, clouds


def groups(pictures: dict[str, Image.Image]) -> set[frozenset[str]]:
    """Returns the names of the pictures in each group."""
    pixels = {name: np.asarray(image.convert("RGB").resize((100, 100))) for name, image in pictures.items()}
    rows = [
        Picture(class_name="ant", source=name, path=name, status=KEPT, perceptual_hash=perceptual_hash(pixels[name]))
        for name in pictures
    ]
    found = defaultdict(set)
    for picture in assign_groups(rows, pixels_of=lambda picture: pixels[picture.source]):
        found[picture.group].add(picture.source)
    assert all(min(sources) == group for group, sources in found.items())  # named after the first
    return set(map(frozenset, found.values()))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: as_jpeg(image, quality=30),
        lambda image: image.resize((60, 60)),
        lambda image: image.crop((3, 2, 157, 118)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.75),
        lambda image: image.resize((320, 240)),
    ],
    ids=["the same pixels", "a poor JPEG", "reduced", "cropped by 2 %", "darker", "enlarged"],
)
def test_assign_groups_finds_a_changed_copy_among_others(change):
    pictures = {f"ant/{seed}": clouds(seed) for seed in range(20)}
    expected = {frozenset({name}) for name in pictures} - {frozenset({"ant/7"})} | {frozenset({"ant/7", "ant/x"})}
    assert groups({**pictures, "ant/x": change(clouds(7))}) == expected


def test_assign_groups_joins_groups_through_a_picture_between_them():
    first = clouds(3)
    chain = [first.crop((step, step, 160 - step, 120 - step)) for step in (0, 2, 4, 6, 8)]
    pictures = {f"ant/{index}": image for index, image in enumerate(chain)}
    assert groups({"ant/0": chain[0], "ant/4": chain[4]}) == {frozenset({"ant/0"}), frozenset({"ant/4"})}
    assert groups(pictures) == {frozenset(pictures)}


def test_assign_groups_separates_pictures_that_differ_in_color_only():
    red, green = (Image.new("RGB", (100, 100), "white") for _ in range(2))
    red.paste((200, 0, 0), (30, 30, 60, 70))
    green.paste((0, 130, 0), (30, 30, 60, 70))  # as bright as the red
    hashes = [perceptual_hash(np.asarray(image)) for image in (red, green)]
    assert hashes[0] == hashes[1]  # computed from gray levels
    assert len(groups({"ant/red": red, "ant/green": green})) == 2


def test_assign_groups_joins_blank_pictures_only_if_the_files_are_equal():
    def row(name, sha256):
        return Picture(
            class_name="ant", source=name, path=name, status=KEPT, sha256=sha256, perceptual_hash="8" + "0" * 15
        )

    rows = [row("ant/a", "1"), row("ant/b", "2"), row("ant/c", "1")]
    shades = {"1": 10, "2": 200}
    found = assign_groups(rows, pixels_of=lambda p: np.full((16, 16, 3), shades[p.sha256], np.uint8))
    assert [picture.group for picture in found] == ["ant/a", "ant/b", "ant/a"]


@pytest.mark.parametrize(("bits", "groups"), [(MAX_HASH_DISTANCE, 1), (MAX_HASH_DISTANCE + 1, 2)])
def test_assign_groups_compares_hashes_up_to_the_maximum_distance(bits, groups):
    hashes = {"ant/a": 0, "ant/b": (1 << bits) - 1}
    rows = [
        Picture(class_name="ant", source=name, path=name, status=KEPT, sha256=name, perceptual_hash=f"{value:016x}")
        for name, value in hashes.items()
    ]
    pixels = np.asarray(clouds(1))
    found = assign_groups(rows, pixels_of=lambda picture: pixels)
    assert len({picture.group for picture in found}) == groups
    assert [picture.grouped for picture in found] == [1, 1]


def similar_pairs(hashes: np.ndarray, max_distance: int) -> list[tuple[int, int]]:
    """Returns all pairs, sorted; a pair that is found twice is in it twice."""

    def is_wanted(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return rows[:, None] < columns

    blocks = similar_hashes(hashes, hashes, max_distance, is_wanted)
    return sorted((int(rows[r]), int(columns[c])) for rows, columns, near in blocks for r, c in np.argwhere(near))


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
def test_similar_hashes_finds_every_pair_once(kind, max_distance):
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


def test_similar_hashes_finds_pairs_across_blocks_in_all_64_bits():
    hashes = np.arange(1000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes[900] = hashes[5] ^ np.uint64(1 << 63)
    assert (5, 900) in similar_pairs(hashes, 1)
    assert (5, 900) not in similar_pairs(hashes, 0)


def test_assign_groups_leaves_skipped_pictures_without_a_group():
    (found,) = assign_groups([Picture(class_name="ant", source="ant/a", path="ant/a", status=SKIPPED)], pixels_of=None)
    assert found.group == ""


def test_mixed_groups_are_those_of_several_classes():
    def row(name, group):
        return Picture(class_name=name.split("/")[0], source=name, path=name, group=group, status=KEPT)

    rows = [row("ant/a", "ant/a"), row("ant/b", "ant/a"), row("bee/c", "bee/c"), row("cow/d", "bee/c")]
    assert [[p.path for p in group] for group in mixed_groups(rows)] == [["bee/c", "cow/d"]]

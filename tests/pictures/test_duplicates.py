"""Which pictures show the same photo, by their hashes and thumbnails."""

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from pictures.duplicates import (
    MAX_HASH_DISTANCE,
    assign_groups,
    mislabeled_lines,
    mixed_groups,
    perceptual_hash,
    some_of,
)
from pictures.manifest import KEPT, SKIPPED, Picture
from tests.helpers.pictures import as_jpeg, clouds


def row(name: str, photo: str = "", group: str = "") -> Picture:
    class_name = name.split("/")[0]
    return Picture(class_name=class_name, source=name, path=name, photo=photo, group=group or photo, status=KEPT)


def groups(pictures: dict[str, Image.Image], column: str = "group", **options) -> set[frozenset[str]]:
    """Returns the names of the pictures in each group, or with the same entry in another column."""
    pixels = {name: np.asarray(image.convert("RGB").resize((100, 100))) for name, image in pictures.items()}
    rows = [
        Picture(
            class_name=name.split("/")[0],
            source=name,
            path=name,
            status=KEPT,
            perceptual_hash=perceptual_hash(pixels[name]),
        )
        for name in pictures
    ]
    found = defaultdict(set)
    for picture in assign_groups(rows, pixels_of=lambda picture: pixels[picture.source], **options):
        found[getattr(picture, column)].add(picture.source)
    assert all(min(sources) == group for group, sources in found.items())  # named after the first
    return set(map(frozenset, found.values()))


def test_perceptual_hash_is_that_of_the_mean_gray_levels():
    means = np.random.default_rng(1).integers(9, 240, (32, 32))
    pixels = means.repeat(3, axis=0).repeat(3, axis=1)
    pixels[1::3, 1::3] -= 8  # and one of its eight neighbors each is brighter by as much
    pixels[::3, ::3] += 8
    expected = perceptual_hash(means.astype(np.uint8)[..., None])
    assert perceptual_hash(pixels.astype(np.uint8)[..., None]) == expected
    assert perceptual_hash(pixels.astype(np.uint8)[..., None].repeat(3, axis=2)) == expected


def test_perceptual_hash_weighs_colors_by_their_brightness():
    colors = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    gray = np.rint(colors @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
    assert perceptual_hash(colors) == perceptual_hash(gray)
    assert perceptual_hash(colors) != perceptual_hash(np.ascontiguousarray(colors[..., ::-1]))


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


@pytest.mark.parametrize("column", ["group", "photo"])
def test_assign_groups_joins_blank_pictures_of_one_color(column):
    colors = {
        "ant/a": "white",
        "ant/b": "red",
        "ant/c": "white",
        "ant/d": (200, 255, 255),
        "bee/e": "red",
        "bee/f": "black",
    }
    found = groups({name: Image.new("RGB", (100, 100), color) for name, color in colors.items()}, column)
    assert found == set(map(frozenset, [{"ant/a", "ant/c"}, {"ant/b", "bee/e"}, {"ant/d"}, {"bee/f"}]))


@pytest.mark.parametrize(("bits", "groups"), [(MAX_HASH_DISTANCE, 1), (MAX_HASH_DISTANCE + 1, 2)])
def test_assign_groups_compares_hashes_up_to_the_maximum_distance(bits, groups):
    hashes = {"ant/a": 0, "ant/b": (1 << bits) - 1}
    rows = [
        Picture(
            class_name=name.split("/")[0],
            source=name,
            path=name,
            status=KEPT,
            sha256=name,
            perceptual_hash=f"{value:016x}",
        )
        for name, value in hashes.items()
    ]
    pixels = np.asarray(clouds(1))
    found = assign_groups(rows, pixels_of=lambda picture: pixels)
    assert len({picture.group for picture in found}) == groups
    assert [picture.grouped for picture in found] == [1, 1]


def test_assign_groups_leaves_skipped_pictures_without_a_group():
    (found,) = assign_groups([Picture(class_name="ant", source="ant/a", path="ant/a", status=SKIPPED)], pixels_of=None)
    assert found.group == ""


# ---- the same picture, or only alike ----


def part(seed: int, *, scratched: bool = False, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """Returns a photo of a part, which is always the same apart from the noise of the camera and perhaps a scratch."""
    rng = np.random.default_rng(seed)
    image = clouds(5, size)
    if scratched:
        x, y = rng.integers(40, 100, 2).tolist()
        ImageDraw.Draw(image).line((x, y, x + 60, y + 25), fill=(230, 230, 230), width=2)
    noisy = np.asarray(image) + rng.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: as_jpeg(image, quality=75),
        lambda image: image.resize((80, 60)),
        lambda image: image.resize((320, 240), Image.Resampling.BICUBIC),
        lambda image: as_jpeg(image.resize((80, 60)), quality=90),
    ],
    ids=["a JPEG", "halved", "enlarged", "halved and a JPEG"],
)
def test_assign_groups_takes_a_picture_saved_again_for_the_same_photo(change):
    pictures = {"ant/a": clouds(1), "bee/a": change(clouds(1)), "bee/b": clouds(2)}
    assert groups(pictures, "photo") == {frozenset({"ant/a", "bee/a"}), frozenset({"bee/b"})}


@pytest.mark.parametrize(
    "change",
    [
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        lambda image: image.crop((3, 2, 157, 118)),
    ],
    ids=["darker", "cropped by 2 %"],
)
def test_assign_groups_takes_a_changed_picture_for_another_photo_alike(change):
    pictures = {"ant/a": clouds(1), "ant/b": change(clouds(1))}
    assert groups(pictures, "photo") == {frozenset({"ant/a"}), frozenset({"ant/b"})}
    assert groups(pictures) == {frozenset(pictures)}


def test_assign_groups_keeps_a_series_together_but_tells_its_photos_apart():
    pictures = {f"ant/{seed}": part(seed) for seed in range(10)}
    pictures |= {f"bee/{seed}": part(seed, scratched=True) for seed in range(10)}
    assert groups(pictures) == {frozenset(pictures)}
    assert groups(pictures, "photo") == {frozenset({name}) for name in pictures}


def test_assign_groups_finds_a_scratch_without_noise():
    scratched = clouds(5, (240, 180))
    ImageDraw.Draw(scratched).line((50, 60, 90, 75), fill=(240, 240, 240), width=2)
    assert len(groups({"ant/good": clouds(5, (240, 180)), "ant/bad": scratched}, "photo")) == 2


def test_assign_groups_of_the_same_pictures_only():
    first = clouds(3)
    pictures = {f"ant/{step}": first.crop((step, step, 160 - step, 120 - step)) for step in (0, 2, 4)}
    pictures["ant/again"] = as_jpeg(first)
    assert groups(pictures) == {frozenset(pictures)}
    expected = {frozenset({"ant/0", "ant/again"}), frozenset({"ant/2"}), frozenset({"ant/4"})}
    assert groups(pictures, similar=False) == groups(pictures, "photo") == expected
    rows = [Picture(class_name="ant", source="ant/a", path="ant/a", status=KEPT)]
    assert [assign_groups(rows, pixels_of=None, similar=similar)[0].grouped for similar in (True, False)] == [1, 2]


@pytest.mark.parametrize("method", list(Image.Transpose), ids=lambda method: method.name)
def test_assign_groups_finds_mirrored_and_turned_copies_within_a_class(method):
    pictures = {f"ant/{seed}": clouds(seed) for seed in range(5)}
    single = {frozenset({name}) for name in pictures}
    for copy in (clouds(3).transpose(method), as_jpeg(clouds(3).transpose(method), 85)):
        expected = single - {frozenset({"ant/3"})} | {frozenset({"ant/3", "ant/x"})}
        assert groups({**pictures, "ant/x": copy}, "photo") == groups({**pictures, "ant/x": copy}) == expected
        assert groups({**pictures, "bee/x": copy}) == single | {frozenset({"bee/x"})}  # about left and right, perhaps


def test_assign_groups_compares_pictures_of_other_proportions():
    pictures = {"ant/a": clouds(3), "ant/b": clouds(3).rotate(90, expand=True), "ant/c": clouds(4)}
    assert groups(pictures) == {frozenset({"ant/a", "ant/b"}), frozenset({"ant/c"})}


def test_assign_groups_equals_a_comparison_of_all_pairs():
    rng = np.random.default_rng(1)
    centers = [clouds(seed) for seed in range(4)]
    pictures = {}
    for number in range(60):
        x, y = rng.integers(0, 5, 2).tolist()
        pictures[f"ant/{number:02}"] = centers[number % 4].crop((x, y, 155 + x % 2, 115 + y % 2))
    single = [
        {one, other}
        for one, other in itertools.combinations(pictures, 2)
        if len(groups({one: pictures[one], other: pictures[other]})) == 1
    ]
    expected = {name: {name} for name in pictures}
    for one, other in map(sorted, single):
        joined = expected[one] | expected[other]
        for name in joined:
            expected[name] = joined
    assert 4 < len(single) < 4 * 15 * 14 / 2  # some pairs are alike only through others
    assert groups(pictures) == set(map(frozenset, expected.values()))


def test_assign_groups_reads_each_candidate_once_and_no_others():
    images = {f"ant/{seed}": clouds(seed) for seed in range(20)} | {
        f"ant/{seed}b": as_jpeg(clouds(7)) for seed in range(9)
    }
    pixels = {name: np.asarray(image.convert("RGB").resize((100, 100))) for name, image in images.items()}
    rows = [replace(row(name), perceptual_hash=perceptual_hash(pixels[name])) for name in images]
    read = []
    assign_groups(rows, pixels_of=lambda picture: read.append(picture.source) or pixels[picture.source])
    assert sorted(read) == sorted({"ant/7", *(f"ant/{seed}b" for seed in range(9))})


# ---- what the user is told ----


def test_mixed_groups_are_photos_in_several_classes():
    rows = [row("ant/a", "ant/a"), row("ant/b", "ant/a"), row("bee/c", "bee/c"), row("cow/d", "bee/c")]
    rows += [row("ant/e", "ant/e", "ant/e"), row("bee/f", "bee/f", "ant/e")]  # only alike
    assert [[p.path for p in group] for group in mixed_groups(rows)] == [["bee/c", "cow/d"]]


def test_mixed_groups_leave_out_copies_unless_the_source_is_missing():
    copies = [replace(row(f"ant/a_{number}", "ant/a"), source="ant/a") for number in range(3)]
    other = row("bee/a", "ant/a")
    assert mixed_groups([*copies, other]) == [[copies[0], other]]
    assert mixed_groups([*copies, row("ant/a", "ant/a"), other]) == [[row("ant/a", "ant/a"), other]]


@pytest.mark.parametrize(
    ("classes", "limit", "shown"),
    [
        ("aaab", 2, [0, 3]),
        ("aaab", 3, [0, 1, 3]),
        ("aaabbc", 4, [0, 1, 3, 5]),
        ("abcd", 3, [0, 1, 2]),
        ("aaa", 2, [0, 1]),
        ("ab", 3, [0, 1]),
    ],
)
def test_some_of_a_photo_are_of_as_many_classes_as_possible(classes, limit, shown):
    photo = [row(f"{name}/{number}", "a/0", "a/0") for number, name in enumerate(classes)]
    assert some_of(photo, limit) == [photo[index] for index in shown]


def test_mislabeled_lines_are_short_and_few():
    rows = [
        row(f"{name}/{number}", f"ant/{photo}")
        for photo in range(12)
        for name, number in (("ant", photo), ("bee", photo))
    ]
    rows += [row(f"ant/0-{number}", "ant/0") for number in range(4)]
    first, second, *_, last = lines = mislabeled_lines(rows)
    assert first == "probably mislabeled: ant/0 and ant/0-0 and bee/0 and 3 more show the same picture"
    assert second == "probably mislabeled: ant/1 and bee/1 show the same picture"
    assert len(lines) == 10
    assert last == (
        "probably mislabeled: 3 more pictures like these; pictures in several classes have the same entry in the "
        "column photo of manifest.csv"
    )
    assert len(mislabeled_lines(rows[:20])) == 10


def test_mislabeled_lines_are_none_for_pictures_that_are_only_alike():
    assert mislabeled_lines([row("ant/a", "ant/a", "ant/a"), row("bee/b", "bee/b", "ant/a")]) == []

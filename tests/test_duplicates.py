"""Pictures that show the same: found, kept on one side of the split, and named where their labels contradict."""

import io
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import preprocessing
from config import PictureConfig, UserError
from dataset import load
from duplicates import _near, assign_groups, mixed_groups, perceptual_hash
from manifest import KEPT, SKIPPED, TRAIN, VALIDATION, Picture, read_manifest
from preprocessing import prepare, preprocess

UUID = "123e4567-e89b-12d3-a456-{:012d}"


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Soft coloured clouds, different for every seed, as photographs are at a glance."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 90) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def groups(pictures: dict[str, Image.Image], most_bits: int = 8) -> set[frozenset[str]]:
    """The groups that the pictures, by their names, are put into."""
    pixels = {name: np.asarray(image.convert("RGB").resize((100, 100))) for name, image in pictures.items()}
    rows = [
        Picture(class_name="ant", source=name, origin=name, status=KEPT, perceptual_hash=perceptual_hash(pixels[name]))
        for name in pictures
    ]
    found = defaultdict(set)
    for picture in assign_groups(rows, most_bits=most_bits, pixels_of=lambda picture: pixels[picture.source]):
        found[picture.group].add(picture.source)
    assert all(min(sources) == group for group, sources in found.items())  # named after the first of them
    return set(map(frozenset, found.values()))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: jpeg(image, quality=30),
        lambda image: image.resize((60, 60)),
        lambda image: image.crop((3, 2, 157, 118)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.75),
        lambda image: image.resize((320, 240)),
    ],
    ids=["saved again", "as a poor JPEG", "reduced", "cropped by 2 %", "darker", "enlarged"],
)
def test_a_changed_copy_is_found_among_others(change):
    pictures = {f"ant/{seed}": scene(seed) for seed in range(20)}
    expected = {frozenset({name}) for name in pictures} - {frozenset({"ant/7"})} | {frozenset({"ant/7", "ant/x"})}
    assert groups({**pictures, "ant/x": change(scene(7))}) == expected


def test_groups_join_where_a_picture_is_like_two_others():
    first = scene(3)
    chain = [first.crop((step, step, 160 - step, 120 - step)) for step in (0, 2, 4, 6, 8)]
    pictures = {f"ant/{place}": image for place, image in enumerate(chain)}
    assert groups({"ant/0": chain[0], "ant/4": chain[4]}) == {frozenset({"ant/0"}), frozenset({"ant/4"})}
    assert groups(pictures) == {frozenset(pictures)}


def test_pictures_that_differ_in_their_colours_alone_are_not_the_same():
    red, green = (Image.new("RGB", (100, 100), "white") for _ in range(2))
    red.paste((200, 0, 0), (30, 30, 60, 70))
    green.paste((0, 130, 0), (30, 30, 60, 70))  # as bright as the red
    hashes = [perceptual_hash(np.asarray(image)) for image in (red, green)]
    assert hashes[0] == hashes[1]  # which knows no colours
    assert len(groups({"ant/red": red, "ant/green": green})) == 2


def test_blank_pictures_are_the_same_only_if_their_files_are():
    def row(name, sha256):
        return Picture(
            class_name="ant", source=name, origin=name, status=KEPT, sha256=sha256, perceptual_hash="8" + "0" * 15
        )

    rows = [row("ant/a", "1"), row("ant/b", "2"), row("ant/c", "1")]
    shades = {"1": 10, "2": 200}
    found = assign_groups(rows, most_bits=8, pixels_of=lambda p: np.full((16, 16, 3), shades[p.sha256], np.uint8))
    assert [picture.group for picture in found] == ["ant/a", "ant/b", "ant/a"]


def near_pairs(hashes: np.ndarray, most_bits: int) -> list[tuple[int, int]]:
    """Sorted; a pair that is found twice stands in it twice."""
    return sorted((int(a), int(b)) for pairs in _near(hashes, most_bits) for a, b in pairs)


@pytest.mark.parametrize(("most_bits", "pairs"), [(0, [(0, 3)]), (1, [(0, 1), (0, 3), (1, 3)]), (2, 6)])
def test_hashes_are_near_up_to_the_limit_and_no_further(most_bits, pairs):
    hashes = np.array([0b1000, 0b1001, 0b1010, 0b1000], np.uint64)
    expected = {
        0: [(0, 3)],
        1: [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)],
        2: [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)],
    }[most_bits]
    assert near_pairs(hashes, most_bits) == expected


@pytest.mark.parametrize("most_bits", [0, 1, 3, 8, 16])
@pytest.mark.parametrize("kind", ["any", "crowded"])
def test_every_pair_of_near_hashes_is_found_once(kind, most_bits):
    dice = np.random.default_rng(most_bits)
    hashes = dice.integers(0, 2**64, 400, dtype=np.uint64)
    if kind == "crowded":  # around a few centres, up to 20 bits away
        hashes = hashes[dice.integers(0, 5, 400)]
        for _ in range(20):
            hashes ^= np.uint64(1) << dice.integers(0, 64, 400, dtype=np.uint64)
    expected = [
        (a, b)
        for a in range(400)
        for b in range(a + 1, 400)
        if (int(hashes[a]) ^ int(hashes[b])).bit_count() <= most_bits
    ]
    assert near_pairs(hashes, most_bits) == expected


def test_near_hashes_are_found_across_blocks_in_all_64_bits():
    hashes = np.arange(1000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes[900] = hashes[5] ^ np.uint64(1 << 63)
    assert (5, 900) in near_pairs(hashes, 1)
    assert (5, 900) not in near_pairs(hashes, 0)


def test_what_was_skipped_is_in_no_group():
    (found,) = assign_groups(
        [Picture(class_name="ant", source="ant/a", origin="ant/a", status=SKIPPED)], most_bits=8, pixels_of=None
    )
    assert found.group == ""


# ---- in preprocessing ----


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig, height=32, width=32)


def by_origin(config: PictureConfig) -> dict[str, Picture]:
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    return {Path(picture.origin).relative_to(config.raw_data).as_posix(): picture for picture in pictures}


def make_scenes(folder: Path, count: int = 10) -> None:
    for number in range(2 * count):
        save(scene(number), folder / ("ant" if number < count else "bee") / f"{number}.png")


def test_of_near_duplicates_that_validate_one_stands_for_all(config):
    raw = Path(config.raw_data)
    make_scenes(raw)
    for number in range(10):
        save(jpeg(scene(number), 80), raw / "ant" / f"again-{number}.jpg")
    preprocess(config)
    rows = by_origin(config)
    for number in range(10):
        pair = [rows[f"ant/{number}.png"], rows[f"ant/again-{number}.jpg"]]
        assert {picture.group for picture in pair} == {f"ant/{number}.png"}
        sides = [(picture.split, picture.status) for picture in pair]
        assert sides in ([(TRAIN, "kept")] * 2, [(VALIDATION, "kept"), ("", "left out")])
    assert Counter(picture.split for picture in rows.values() if picture.class_name == "ant")[VALIDATION] == 2
    left_out = next(picture for picture in rows.values() if picture.status == "left out")
    assert left_out.reason.startswith("shows the same as ") and left_out.reason.endswith(", which validates")
    assert not Path(config.data_path, "ant", f"{Path(left_out.origin).name}.png").exists()


def test_one_picture_in_two_classes_is_named_and_measures_nothing(config, capsys):
    raw = Path(config.raw_data)
    make_scenes(raw)
    save(jpeg(scene(3)), raw / "bee" / "3.jpg")
    save(scene(4), raw / "bee" / "4.png")  # the very file
    for seed in range(1, 6):
        preprocess(replace(config, seed=seed))
        said = capsys.readouterr().out
        for names in (("ant/3.png", "bee/3.jpg"), ("ant/4.png", "bee/4.png")):
            both = " and ".join(str(raw / name) for name in names)
            assert f"probably mislabelled: {both} show the same picture" in said
            assert {by_origin(config)[name].split for name in names} == {TRAIN}
        assert said.count("mislabelled") == 2


def test_a_class_of_one_photograph_again_and_again_is_refused_with_the_reason(config):
    raw = Path(config.raw_data)
    make_scenes(raw, count=3)
    for number in range(5):
        save(jpeg(scene(50), 70 + number), raw / "cow" / f"{number}.jpg")
    with pytest.raises(UserError, match="^class cow: 1 usable picture .4 more show the same as others.; at least two"):
        preprocess(config)


def test_groups_are_the_same_when_nothing_has_changed(config):
    make_scenes(Path(config.raw_data))
    save(jpeg(scene(3)), Path(config.raw_data, "ant", "copy.jpg"))
    preprocess(config)
    first = Path(config.data_path, "manifest.csv").read_bytes()
    preprocess(config)
    assert Path(config.data_path, "manifest.csv").read_bytes() == first


def test_no_picture_counts_as_another_where_hashes_must_be_equal_and_are_not(config):
    make_scenes(Path(config.raw_data))
    save(ImageEnhance.Brightness(scene(3)).enhance(0.7).crop((4, 3, 156, 117)), Path(config.raw_data, "ant", "x.png"))
    preprocess(config)
    assert by_origin(config)["ant/x.png"].group == "ant/3.png"
    preprocess(replace(config, near_duplicate_bits=0))
    assert by_origin(config)["ant/x.png"].group == "ant/x.png"


def test_what_was_left_out_is_neither_read_nor_stored_again(config, capsys, monkeypatch):
    raw = Path(config.raw_data)
    make_scenes(raw)
    for number in range(10):
        save(jpeg(scene(number), 80), raw / "ant" / f"again-{number}.jpg")
    preprocess(config)
    manifest = Path(config.data_path, "manifest.csv")
    before = manifest.read_bytes(), manifest.stat().st_ino
    assert before[0].count(b",left out,") == 2
    read = []
    with monkeypatch.context() as patch:
        former = preprocessing.standard_image
        patch.setattr(preprocessing, "standard_image", lambda data, **size: read.append(data) or former(data, **size))
        preprocess(config)
    assert read == []
    assert (manifest.read_bytes(), manifest.stat().st_ino) == before
    assert "nothing has changed" in capsys.readouterr().out


def test_what_was_left_out_comes_back_when_it_is_to_train(config):
    raw = Path(config.raw_data)
    make_scenes(raw)
    for number in range(10):
        save(jpeg(scene(number), 80), raw / "ant" / f"again-{number}.jpg")
    for seed in range(1, 6):
        changed = replace(config, seed=seed)
        preprocess(changed)
        rows = by_origin(config)
        made = {path.relative_to(config.data_path).as_posix() for path in Path(config.data_path).rglob("*.png")}
        assert made == {picture.file for picture in rows.values() if picture.file}
        assert sum(picture.status == KEPT for picture in rows.values()) == len(made) == 28
        assert_as_if_for_the_first_time(changed)


def assert_as_if_for_the_first_time(config: PictureConfig) -> None:
    """What is in `data/` is what a run without any former one makes."""
    fresh = replace(config, data_path=f"{config.data_path}-fresh")
    preprocess(fresh)
    names = [{p.relative_to(c.data_path) for p in Path(c.data_path).rglob("*")} for c in (config, fresh)]
    assert names[0] == names[1]
    for name in names[0]:
        path = Path(config.data_path, name)
        assert path.is_dir() or path.read_bytes() == Path(fresh.data_path, name).read_bytes()
    shutil.rmtree(fresh.data_path)


def test_groups_are_found_anew_whenever_pictures_or_the_limit_change(config):
    raw = Path(config.raw_data)
    make_scenes(raw)
    save(jpeg(scene(3)), raw / "ant" / "3-again.jpg")
    preprocess(config)
    chain = [scene(11).crop((step, step, 160 - step, 120 - step)) for step in (1, 2, 3)]
    for number, image in enumerate(chain):
        save(image, raw / "bee" / f"chain-{number}.png")
    preprocess(config)
    assert {by_origin(config)[f"bee/chain-{number}.png"].group for number in range(3)} == {"bee/11.png"}
    assert_as_if_for_the_first_time(config)
    for name in ("ant/3-again.jpg", "bee/11.png", "bee/chain-1.png", "bee/chain-0.png"):  # a group falls apart
        (raw / name).unlink()
        preprocess(config)
        assert_as_if_for_the_first_time(config)
    assert by_origin(config)["bee/chain-2.png"].group == "bee/chain-2.png"
    save(jpeg(scene(5)), raw / "ant" / "6.png")  # takes the place of another picture
    preprocess(config)
    assert_as_if_for_the_first_time(config)
    assert by_origin(config)["ant/6.png"].group == "ant/5.png"
    preprocess(replace(config, near_duplicate_bits=0))
    assert_as_if_for_the_first_time(replace(config, near_duplicate_bits=0))


def test_groups_of_a_run_that_was_cut_off_are_not_trusted(config, monkeypatch):
    raw = Path(config.raw_data)
    make_scenes(raw)
    save(scene(5).crop((6, 6, 154, 114)), raw / "ant" / "far.png")
    save(scene(5).crop((3, 3, 157, 117)), raw / "ant" / "between.png")
    preprocess(config)
    assert by_origin(config)["ant/far.png"].group == by_origin(config)["ant/5.png"].group == "ant/5.png"
    save(scene(77), raw / "ant" / "between.png")
    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "assign_groups", None)  # so that the run ends there
        with pytest.raises(TypeError):
            preprocess(config)
    (raw / "ant" / "between.png").unlink()
    preprocess(config)
    assert_as_if_for_the_first_time(config)


def test_copies_in_augmented_are_of_their_sources_group(config):
    make_scenes(Path(config.raw_data))
    save(jpeg(scene(3)), Path(config.raw_data, "ant", "3-again.jpg"))
    for seed in range(1, 20):  # until it trains
        kept = {p.source: p for p in preprocess(replace(config, seed=seed))}
        if kept.get("ant/3.png", Picture(class_name="", source="", origin="")).split == TRAIN:
            break
    source = kept["ant/3.png"]
    name = f"ant/3.png_augmented_{source.sha256[:8]}_0000.jpg"
    save(scene(99), Path(config.augmented, name))
    (copy,) = (p for p in preprocess(replace(config, seed=seed)) if p.is_copy)
    assert (copy.group, copy.split) == ("ant/3-again.jpg", TRAIN)


def test_ready_made_data_is_treated_alike(config, capsys):
    data = Path(config.data_path)
    make_scenes(data)
    for number in range(10):
        save(jpeg(scene(number), 80), data / "ant" / f"again-{number}.jpg")
        name = f"bee_original_{number + 10}.png_{UUID.format(number)}.png"  # as plain Augmentor names its copies
        save(scene(500 + number), data / "bee" / name)
    save(scene(3), data / "bee" / "3.png")
    for seed in range(1, 6):
        pictures = prepare(replace(config, seed=seed))
        assert "probably mislabelled" in capsys.readouterr().out
        sides = defaultdict(set)
        for picture in pictures:
            sides[picture.group].add(picture.split)
        assert all(len(found) == 1 for found in sides.values())
        assert Counter(picture.split for picture in pictures)[VALIDATION] == 4  # of 10 photographs a class
        assert {picture.group for picture in pictures if picture.class_name == "bee" and picture.is_copy} <= {
            f"bee/{number}.png" for number in range(10, 20)
        }


# ---- why it matters ----


def nearest_neighbour_accuracy(train, validation) -> float:
    """How many pictures have the label of the training picture that is most like them: learning by heart."""
    distances = ((validation.images[:, None].astype(float) - train.images[None]) ** 2).sum(axis=(2, 3, 4))
    return float((train.labels[distances.argmin(axis=1)] == validation.labels).mean())


@pytest.mark.parametrize("told_by", ["names", "hashes"])
def test_a_leaky_split_scores_high_where_ours_reports_the_truth(told_by, config):
    # 20 photographs of nothing, with labels by chance, so no one can score more than 0.5; and 30 copies of each.
    dice = np.random.default_rng(1)
    for number in range(20):
        class_name = "ant" if number % 2 else "bee"
        for copy in range(30):
            if told_by == "hashes":
                image, name = jpeg(scene(number), int(dice.integers(60, 95))), f"{dice.integers(10**9)}.jpg"
            else:
                box = (*dice.integers(0, 25, 2), *(135, 95) + dice.integers(0, 25, 2))
                image, name = scene(number).crop(box), f"{class_name}_original_{number}.jpg_{UUID.format(copy)}.jpg"
            save(image, Path(config.raw_data, class_name, name))
    truth = []
    for seed in range(1, 11):
        pictures = preprocess(replace(config, seed=seed))
        parts = [load([p for p in pictures if p.split == side], config) for side in (TRAIN, VALIDATION)]
        assert [len(part.labels) for part in parts] == [480, 4]
        truth.append(nearest_neighbour_accuracy(*parts))
    train = parts[0]
    drawn = dice.random(480) < 0.2  # a split over files instead of photographs
    leaky = nearest_neighbour_accuracy(
        train._replace(images=train.images[~drawn], labels=train.labels[~drawn]),
        train._replace(images=train.images[drawn], labels=train.labels[drawn]),
    )
    assert leaky > 0.95
    assert np.mean(truth) < 0.7  # of 40 answers by chance


def test_mixed_groups_are_those_with_several_labels():
    def row(name, group):
        return Picture(class_name=name.split("/")[0], source=name, origin=name, group=group, status=KEPT)

    rows = [row("ant/a", "ant/a"), row("ant/b", "ant/a"), row("bee/c", "bee/c"), row("cow/d", "bee/c")]
    assert [[p.origin for p in group] for group in mixed_groups(rows)] == [["bee/c", "cow/d"]]


def test_a_new_near_duplicate_renames_the_group_of_copies_made_before(config):
    make_scenes(Path(config.raw_data))
    kept = preprocess(config)
    source = next(picture for picture in kept if picture.class_name == "bee" and picture.split == TRAIN)
    name = f"{source.source}_augmented_{source.sha256[:8]}_0000.jpg"
    save(scene(99), Path(config.augmented, name))
    preprocess(config)
    number = int(Path(source.source).stem)
    for attempt in range(20):  # until the group trains under its new name
        twin = Path(config.raw_data, "bee", f"0-{attempt}.png")
        save(jpeg(scene(number)), twin)
        rows = {picture.origin: picture for picture in preprocess(config)}
        copy = rows.get(Path(config.augmented, name).as_posix())
        if copy:
            assert copy.group == rows[source.origin].group == f"bee/{twin.name}"
            return
        twin.unlink()
    raise AssertionError("the group never trained")


def test_what_augmentor_leaves_beside_the_classes_is_no_class(config):
    make_scenes(Path(config.raw_data))
    save(scene(77), Path(config.raw_data, "output", "ant", f"ant_original_3.png_{UUID.format(1)}.png"))
    with pytest.raises(UserError, match="output: Augmentor's output is no class; move or remove it"):
        preprocess(config)


def test_a_candidate_that_is_damaged_in_data_is_named(config):
    make_scenes(Path(config.raw_data))
    save(jpeg(scene(3)), Path(config.raw_data, "ant", "3.jpg"))
    preprocess(config)
    Path(config.data_path, "ant", "3.png.png").write_bytes(b"damaged")
    save(scene(50), Path(config.raw_data, "ant", "new.png"))  # else the groups are known, and nothing is looked at
    with pytest.raises(UserError, match=r"cannot read .*3\.png\.png .*; delete it and run this again$"):
        preprocess(config)
    Path(config.data_path, "ant", "3.png.png").unlink()
    assert by_origin(config)["ant/3.png"].group == "ant/3.jpg"
    preprocess(config)

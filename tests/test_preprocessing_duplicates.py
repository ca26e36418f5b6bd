"""Pictures that show the same: kept on one side of the split, and named if their labels contradict each other."""

import re
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

import preprocessing
from config import PictureConfig
from pictures import data_folder
from pictures.data_folder import read_pixels
from pictures.manifest import KEPT, TRAIN, VALIDATION, Picture, read_manifest
from pictures.split import draw_validation_groups
from preprocessing import preprocess, training_pictures
from system.errors import UserError
from tests.helpers.pictures import as_jpeg, clouds, save

UUID = "123e4567-e89b-12d3-a456-{:012d}"


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig, height=32, width=32)


def rows(config: PictureConfig) -> dict[str, Picture]:
    """Returns the manifest by the names of the files below rawdata/."""
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    return {Path(picture.path).relative_to(config.raw_data).as_posix(): picture for picture in pictures}


def make_photos(folder: Path, count: int = 10) -> None:
    """Writes 0.png, 1.png and so on: different pictures of the class ant, then as many of bee."""
    for number in range(2 * count):
        save(clouds(number), folder / ("ant" if number < count else "bee") / f"{number}.png")


def test_near_duplicates_validate_with_one_picture(config):
    raw = Path(config.raw_data)
    make_photos(raw)
    for number in range(10):
        save(as_jpeg(clouds(number), 80), raw / "ant" / f"again-{number}.jpg")
    preprocess(config)
    table = rows(config)
    for number in range(10):
        pair = [table[f"ant/{number}.png"], table[f"ant/again-{number}.jpg"]]
        assert {picture.group for picture in pair} == {f"ant/{number}.png"}
        sides = [(picture.split, picture.status) for picture in pair]
        assert sides in ([(TRAIN, "kept")] * 2, [(VALIDATION, "kept"), ("", "excluded")])
    assert Counter(picture.split for picture in table.values() if picture.class_name == "ant")[VALIDATION] == 2
    excluded = next(picture for picture in table.values() if picture.status == "excluded")
    assert re.fullmatch("shows the same as .*, which is used for validation", excluded.reason)
    assert not Path(config.data_path, "ant", f"{Path(excluded.path).name}.png").exists()


def test_one_picture_in_two_classes_is_named_and_never_validates(config, capsys):
    raw = Path(config.raw_data)
    make_photos(raw)
    save(as_jpeg(clouds(3)), raw / "bee" / "3.jpg")
    save(clouds(4), raw / "bee" / "4.png")  # the same file
    for seed in range(1, 6):
        preprocess(replace(config, seed=seed))
        output = capsys.readouterr().out
        for names in (("ant/3.png", "bee/3.jpg"), ("ant/4.png", "bee/4.png")):
            both = " and ".join(str(raw / name) for name in names)
            assert f"probably mislabeled: {both} show the same picture" in output
            assert {rows(config)[name].split for name in names} == {TRAIN}
        assert output.count("mislabeled") == 2


def test_a_class_of_one_photo_saved_many_times_is_refused(config):
    raw = Path(config.raw_data)
    make_photos(raw, count=3)
    for number in range(5):
        save(as_jpeg(clouds(50), 70 + number), raw / "cow" / f"{number}.jpg")
    with pytest.raises(UserError, match="^class cow: 1 usable picture .4 more show the same as others.; at least two"):
        preprocess(config)


def test_groups_stay_the_same_if_nothing_has_changed(config):
    make_photos(Path(config.raw_data))
    save(as_jpeg(clouds(3)), Path(config.raw_data, "ant", "copy.jpg"))
    preprocess(config)
    first = Path(config.data_path, "manifest.csv").read_bytes()
    preprocess(config)
    assert Path(config.data_path, "manifest.csv").read_bytes() == first


def test_near_duplicates_are_found_when_cropped_and_darkened(config):
    make_photos(Path(config.raw_data))
    save(ImageEnhance.Brightness(clouds(3)).enhance(0.7).crop((4, 3, 156, 117)), Path(config.raw_data, "ant", "x.png"))
    preprocess(config)
    assert rows(config)["ant/x.png"].group == "ant/3.png"


def test_excluded_pictures_are_not_read_again(config, capsys, monkeypatch):
    raw = Path(config.raw_data)
    make_photos(raw)
    for number in range(10):
        save(as_jpeg(clouds(number), 80), raw / "ant" / f"again-{number}.jpg")
    preprocess(config)
    manifest = Path(config.data_path, "manifest.csv")
    before = manifest.read_bytes(), manifest.stat().st_ino
    assert before[0].count(b",excluded,") == 2
    processed, imap = [], data_folder.imap

    def recording(function, items, **options):
        processed.extend(items)
        return imap(function, items, **options)

    monkeypatch.setattr(data_folder, "imap", recording)
    preprocess(config)
    assert processed == []
    assert (manifest.read_bytes(), manifest.stat().st_ino) == before
    assert "(unchanged)" in capsys.readouterr().out


def test_excluded_pictures_are_stored_again_when_they_train(config):
    raw = Path(config.raw_data)
    make_photos(raw)
    for number in range(10):
        save(as_jpeg(clouds(number), 80), raw / "ant" / f"again-{number}.jpg")
    for seed in range(1, 6):
        changed = replace(config, seed=seed)
        preprocess(changed)
        table = rows(config)
        stored = {path.relative_to(config.data_path).as_posix() for path in Path(config.data_path).rglob("*.png")}
        assert stored == {picture.stored for picture in table.values() if picture.stored}
        assert sum(picture.status == KEPT for picture in table.values()) == len(stored) == 28
        assert_same_as_a_first_run(changed)


def assert_same_as_a_first_run(config: PictureConfig) -> None:
    """Compares `data/` with what a run makes that finds no `data/`."""
    fresh = replace(config, data_path=f"{config.data_path}-fresh")
    preprocess(fresh)
    names = [{p.relative_to(c.data_path) for p in Path(c.data_path).rglob("*")} for c in (config, fresh)]
    assert names[0] == names[1]
    for name in names[0]:
        path = Path(config.data_path, name)
        assert path.is_dir() or path.read_bytes() == Path(fresh.data_path, name).read_bytes()
    shutil.rmtree(fresh.data_path)


def test_groups_are_updated_whenever_pictures_change(config):
    raw = Path(config.raw_data)
    make_photos(raw)
    save(as_jpeg(clouds(3)), raw / "ant" / "3-again.jpg")
    preprocess(config)
    chain = [clouds(11).crop((step, step, 160 - step, 120 - step)) for step in (1, 2, 3)]
    for number, image in enumerate(chain):
        save(image, raw / "bee" / f"chain-{number}.png")
    preprocess(config)
    assert {rows(config)[f"bee/chain-{number}.png"].group for number in range(3)} == {"bee/11.png"}
    assert_same_as_a_first_run(config)
    for name in ("ant/3-again.jpg", "bee/11.png", "bee/chain-1.png", "bee/chain-0.png"):  # the group is split
        (raw / name).unlink()
        preprocess(config)
        assert_same_as_a_first_run(config)
    assert rows(config)["bee/chain-2.png"].group == "bee/chain-2.png"
    save(as_jpeg(clouds(5)), raw / "ant" / "6.png")  # replaces another picture
    preprocess(config)
    assert_same_as_a_first_run(config)
    assert rows(config)["ant/6.png"].group == "ant/5.png"


def test_groups_of_an_interrupted_run_are_not_used(config, monkeypatch):
    raw = Path(config.raw_data)
    make_photos(raw)
    save(clouds(5).crop((6, 6, 154, 114)), raw / "ant" / "far.png")
    save(clouds(5).crop((3, 3, 157, 117)), raw / "ant" / "between.png")
    preprocess(config)
    assert rows(config)["ant/far.png"].group == rows(config)["ant/5.png"].group == "ant/5.png"
    save(clouds(77), raw / "ant" / "between.png")
    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "assign_groups", None)  # so that the run ends here
        with pytest.raises(TypeError):
            preprocess(config)
    (raw / "ant" / "between.png").unlink()
    preprocess(config)
    assert_same_as_a_first_run(config)


def test_copies_have_the_group_of_their_source(config):
    make_photos(Path(config.raw_data))
    save(as_jpeg(clouds(3)), Path(config.raw_data, "ant", "3-again.jpg"))
    for seed in range(1, 20):  # until it trains
        kept = {p.source: p for p in preprocess(replace(config, seed=seed))}
        if kept.get("ant/3.png", Picture(class_name="", source="", path="")).split == TRAIN:
            break
    source = kept["ant/3.png"]
    name = f"ant/3.png_augmented_{source.sha256[:8]}_0000.jpg"
    save(clouds(99), Path(config.augmented, name))
    (copy,) = (p for p in preprocess(replace(config, seed=seed)) if p.is_copy)
    assert (copy.group, copy.split) == ("ant/3-again.jpg", TRAIN)


def test_near_duplicates_are_found_in_foreign_data_too(config, capsys):
    data = Path(config.data_path)
    make_photos(data)
    for number in range(10):
        save(as_jpeg(clouds(number), 80), data / "ant" / f"again-{number}.jpg")
        name = f"bee_original_{number + 10}.png_{UUID.format(number)}.png"  # as Augmentor names its copies
        save(clouds(500 + number), data / "bee" / name)
    save(clouds(3), data / "bee" / "3.png")
    for seed in range(1, 6):
        pictures = training_pictures(replace(config, seed=seed))
        assert "probably mislabeled" in capsys.readouterr().out
        sides = defaultdict(set)
        for picture in pictures:
            sides[picture.group].add(picture.split)
        assert all(len(found) == 1 for found in sides.values())
        assert Counter(picture.split for picture in pictures)[VALIDATION] == 4  # of 10 photos per class
        assert {picture.group for picture in pictures if picture.class_name == "bee" and picture.is_copy} <= {
            f"bee/{number}.png" for number in range(10, 20)
        }


# ---- why it matters ----


def nearest_neighbor_accuracy(train: tuple, validation: tuple) -> float:
    """Returns the accuracy of a classifier that memorizes: it gives the label of the most similar training picture."""
    (train_images, train_labels), (images, labels) = train, validation
    distances = ((images[:, None].astype(float) - train_images[None]) ** 2).sum(axis=(2, 3, 4))
    return float((train_labels[distances.argmin(axis=1)] == labels).mean())


@pytest.mark.parametrize("known_by", ["names", "hashes"])
def test_the_split_reports_chance_where_a_leaky_one_reports_success(known_by, config):
    # 20 photos with random labels, so nothing can be learned from them; and 12 copies of each.
    rng = np.random.default_rng(1)
    for number in range(20):
        class_name = "ant" if number % 2 else "bee"
        for copy in range(12):
            if known_by == "hashes":
                image, name = as_jpeg(clouds(number), int(rng.integers(70, 95))), f"{rng.integers(10**9)}.jpg"
            else:
                box = (*rng.integers(0, 25, 2), *(135, 95) + rng.integers(0, 25, 2))
                image, name = clouds(number).crop(box), f"{class_name}_original_{number}.jpg_{UUID.format(copy)}.jpg"
            save(image, Path(config.raw_data, class_name, name))
    accuracies = []
    for seed in range(1, 11):
        pictures = preprocess(replace(config, seed=seed))
        sides = []
        for side in (TRAIN, VALIDATION):
            own = [picture for picture in pictures if picture.split == side]
            images = np.stack([read_pixels(picture, config) for picture in own])
            sides.append((images, np.array([picture.class_name for picture in own])))
        assert [len(labels) for _, labels in sides] == [192, 4]
        accuracies.append(nearest_neighbor_accuracy(*sides))
    images, labels = sides[0]
    held_out = rng.random(192) < 0.2  # a split of files instead of photos
    leaky = nearest_neighbor_accuracy((images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))
    assert leaky > 0.95
    assert np.mean(accuracies) < 0.7  # 40 random answers


def test_a_new_near_duplicate_renames_the_group_of_existing_copies(config):
    make_photos(Path(config.raw_data))
    kept = preprocess(config)
    source = next(picture for picture in kept if picture.class_name == "bee" and picture.split == TRAIN)
    name = f"{source.source}_augmented_{source.sha256[:8]}_0000.jpg"
    save(clouds(99), Path(config.augmented, name))
    preprocess(config)
    number = int(Path(source.source).stem)
    for attempt in range(20):  # until the group trains under its new name
        twin = Path(config.raw_data, "bee", f"0-{attempt}.png")
        save(as_jpeg(clouds(number)), twin)
        kept = {picture.path: picture for picture in preprocess(config)}
        copy = kept.get(Path(config.augmented, name).as_posix())
        if copy:
            assert copy.group == kept[source.path].group == f"bee/{twin.name}"
            return
        twin.unlink()
    raise AssertionError("the group never trained")


def test_the_output_folder_of_augmentor_is_not_a_class(config):
    make_photos(Path(config.raw_data))
    save(clouds(77), Path(config.raw_data, "output", "ant", f"ant_original_3.png_{UUID.format(1)}.png"))
    with pytest.raises(UserError, match="output: Augmentor's output is not a class; move or remove it"):
        preprocess(config)


def test_a_damaged_image_in_data_is_made_again_before_it_is_compared(config):
    make_photos(Path(config.raw_data))
    save(as_jpeg(clouds(3)), Path(config.raw_data, "ant", "3.jpg"))
    preprocess(config)
    Path(config.data_path, "ant", "3.png.png").write_bytes(b"damaged")
    save(clouds(50), Path(config.raw_data, "ant", "new.png"))  # otherwise the groups are known, and nothing is compared
    preprocess(config)
    assert rows(config)["ant/3.png"].group == "ant/3.jpg"


# ---- series of one scene ----


def frame(scene: int, number: int, *, defect: bool = False) -> Image.Image:
    """Returns a photo of a scene in which an object moves; with a defect it is another object."""
    image = clouds(scene)
    x, y = (number * 37) % 130, (number * 23) % 90
    ImageDraw.Draw(image).rectangle((x, y, x + 8, y + 6), fill="white" if defect else "black")
    return image


def make_series(folder: Path, scenes: int, frames: int) -> None:
    for scene in range(scenes):
        for number in range(frames):
            save(frame(scene, number), folder / "ant" / f"{scene}-{number}.png")
    for number in range(10):
        save(clouds(100 + number), folder / "bee" / f"{number}.png")


def test_a_series_validates_as_a_whole(config, capsys):
    make_series(Path(config.raw_data), scenes=10, frames=6)
    preprocess(config)
    table = rows(config)
    ant = [picture for picture in table.values() if picture.class_name == "ant"]
    assert Counter((picture.status, picture.split) for picture in ant) == {(KEPT, TRAIN): 48, (KEPT, VALIDATION): 12}
    assert len({picture.group for picture in ant}) == len({(picture.group, picture.split) for picture in ant}) == 10
    assert len({picture.photo for picture in ant}) == 60
    output = capsys.readouterr().out
    assert "mislabeled" not in output
    assert "validate instead" not in output


def test_a_class_of_one_scene_is_refused_unless_it_is_spread(config, capsys):
    make_series(Path(config.raw_data), scenes=1, frames=40)
    with pytest.raises(UserError, match="^class ant: all 40 pictures look alike.*, or use --group_similar False"):
        preprocess(config)
    for _ in range(2):  # the second time from the manifest
        preprocess(replace(config, group_similar=False))
        ant = [picture for picture in rows(config).values() if picture.class_name == "ant"]
        assert Counter(picture.split for picture in ant) == {TRAIN: 32, VALIDATION: 8}
        assert {picture.grouped for picture in ant} == {2}
    with pytest.raises(UserError, match="all 40 pictures look alike"):
        preprocess(config)


def test_parts_photographed_alike_are_not_called_mislabeled(config, capsys):
    raw = Path(config.raw_data)
    for number in range(30):
        save(frame(1, number), raw / "good" / f"{number}.png")
        save(frame(1, number, defect=True), raw / "scratched" / f"{number}.png")
    for number in range(5):
        for name in ("good", "scratched"):
            save(clouds(100 + 10 * number + len(name)), raw / name / f"other-{number}.png")
    preprocess(config)
    output = capsys.readouterr().out
    assert "mislabeled" not in output
    assert "class good: 1 of 35 pictures validate instead of 7, since pictures that look alike" in output
    assert "class scratched: 1 of 35 pictures validate instead of 7" in output
    assert "60 pictures: much like one of another class: " in output
    assert max(map(len, output.splitlines())) < 600
    series = [picture for name, picture in rows(config).items() if "other" not in name]
    assert {(picture.status, picture.split) for picture in series} == {(KEPT, TRAIN)}
    preprocess(replace(config, group_similar=False))
    output = capsys.readouterr().out
    assert "mislabeled" not in output
    assert "validate instead" not in output
    assert Counter(picture.split for picture in rows(config).values()) == {TRAIN: 56, VALIDATION: 14}


@pytest.mark.parametrize("before", [True, False])
def test_group_similar_applies_to_data_without_raw_pictures(before, config, capsys):
    raw = Path(config.raw_data)
    make_series(raw, scenes=2, frames=10)
    preprocess(replace(config, group_similar=before))
    shutil.rmtree(raw)
    for similar, validating in ((True, 10), (False, 4)):
        kept = training_pictures(replace(config, group_similar=similar))
        assert sum(picture.split == VALIDATION for picture in kept if picture.class_name == "ant") == validating


def test_group_similar_applies_to_foreign_data(config):
    make_series(Path(config.data_path), scenes=2, frames=10)
    for similar, validating in ((True, 10), (False, 4)):
        kept = training_pictures(replace(config, group_similar=similar))
        assert sum(picture.split == VALIDATION for picture in kept if picture.class_name == "ant") == validating


def test_data_without_series_is_split_as_before(config):
    make_photos(Path(config.raw_data))
    for similar in (True, False):
        preprocess(replace(config, group_similar=similar))
        validating = {name for name, picture in rows(config).items() if picture.split == VALIDATION}
        assert validating == draw_validation_groups(
            [f"ant/{number}.png" for number in range(10)], fraction=0.2, seed=1
        ) | draw_validation_groups([f"bee/{number}.png" for number in range(10, 20)], fraction=0.2, seed=1)

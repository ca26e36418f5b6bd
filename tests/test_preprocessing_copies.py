"""The copies in `augmented/` that preprocessing takes into `data/`."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps

from config import PictureConfig
from pictures.copies import plan
from pictures.copy_names import copy_name
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, read_manifest
from preprocessing import preprocess
from system.errors import UserError
from tests.helpers.files import contents
from tests.helpers.pictures import clouds, save, write_picture

UUID = "123e4567-e89b-12d3-a456-{:012d}"


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


def rows(config: PictureConfig, folder: str) -> dict:
    """Returns the manifest's rows for one folder, by the names of the files below it."""
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    own = [picture for picture in pictures if Path(picture.path).is_relative_to(folder)]
    return {Path(picture.path).relative_to(folder).as_posix(): picture for picture in own}


def write_copy(source: str, config: PictureConfig, index: int = 0, sha256: str = "") -> str:
    """Writes a copy of a source of rawdata/ as augment.py names it. Returns its name below augmented/."""
    content = Path(config.raw_data, source).read_bytes()
    name = copy_name(source, sha256 or hashlib.sha256(content).hexdigest(), index)
    write_picture(Path(config.augmented, name), label=2, seed=index)
    return name


def one_each(config: PictureConfig, class_name: str) -> tuple[str, str]:
    """Returns the names of a training and of a validation source of a class."""
    own = [picture for picture in preprocess(config) if picture.class_name == class_name]
    return tuple(next(picture.source for picture in own if picture.split == side) for side in (TRAIN, VALIDATION))


def test_copies_of_all_pictures_are_used_with_folds(config, rawdata, capsys):
    trained, held_out = one_each(config, "ant")
    copies = {source: write_copy(source, config) for source in (trained, held_out)}
    preprocess(config)
    assert rows(config, config.augmented)[copies[held_out]].status == EXCLUDED
    capsys.readouterr()
    preprocess(dataclasses.replace(config, folds=4))
    assert "22 to train, 20 to validate in 4 folds, 2 copies, 0 skipped" in capsys.readouterr().out
    found = {**rows(config, config.raw_data), **rows(config, config.augmented)}
    for source, copy in copies.items():
        assert found[copy].split == found[source].split
        assert Path(config.data_path, found[copy].stored).exists()
    assert {found[source].split for source in found} == {f"fold {fold}" for fold in (1, 2, 3, 4)}
    capsys.readouterr()
    preprocess(config)
    assert "17 to train, 4 to validate, 1 copy, 0 skipped, 1 excluded" in capsys.readouterr().out


def test_only_copies_of_training_pictures_are_used(config, rawdata, capsys):
    ant, held_out = one_each(config, "ant")
    bee, _ = one_each(config, "bee")
    good = [write_copy(ant, config, index=number) for number in range(3)] + [write_copy(bee, config)]
    wrong = {
        write_copy(held_out, config): "its source is used for validation",
        write_copy(ant, config, index=9, sha256="0" * 64): "its source has changed since: run augment.py again",
    }
    stranger = write_picture(Path(config.augmented, "ant", "stranger.jpg"), label=2, seed=1)
    orphan = write_picture(Path(config.augmented, copy_name("ant/gone.jpg", "a" * 64, 1)), label=2, seed=1)
    wrong[stranger.relative_to(config.augmented).as_posix()] = "its name is not that of a copy"
    wrong[orphan.relative_to(config.augmented).as_posix()] = "its source is not among the pictures of its class"
    capsys.readouterr()
    kept = preprocess(config)
    assert capsys.readouterr().out.endswith(" 20 to train, 4 to validate, 4 copies, 0 skipped, 4 excluded\n")
    table = rows(config, config.augmented)
    assert table.keys() == {*good, *wrong}
    for name in good:
        assert (table[name].status, table[name].split, table[name].reason) == (KEPT, TRAIN, "")
        assert table[name] in kept
        assert Path(config.data_path, f"{name}.png").exists()
    for name, reason in wrong.items():
        assert (table[name].status, table[name].split, table[name].reason) == (EXCLUDED, "", reason)
        assert not Path(config.data_path, f"{name}.png").exists()
    assert {picture.split for picture in kept if picture.source == held_out} == {VALIDATION}


def test_copies_do_not_change_the_split(config, rawdata):
    preprocess(config)
    before = {name: picture.split for name, picture in rows(config, config.raw_data).items()}
    (ant, _), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    for number in range(30):
        write_copy(ant, config, index=number)
    write_copy(bee, config)
    assert len(preprocess(config)) == 51
    assert {name: picture.split for name, picture in rows(config, config.raw_data).items()} == before


def test_copies_are_removed_when_their_source_is_deleted_or_validates(config, settings_for, rawdata):
    ant, _ = one_each(config, "ant")
    bee, _ = one_each(config, "bee")
    ant_copy, bee_copy = write_copy(ant, config), write_copy(bee, config)
    preprocess(config)
    assert {picture.status for picture in rows(config, config.augmented).values()} == {KEPT}
    Path(config.raw_data, ant).unlink()
    others = next(
        other
        for other in (settings_for(PictureConfig, seed=seed) for seed in range(50))
        if any(picture.source == bee and picture.split == VALIDATION for picture in preprocess(other))
    )
    table = rows(others, config.augmented)
    assert table[ant_copy].reason == "its source is not among the pictures of its class"
    assert table[bee_copy].reason == "its source is used for validation"
    assert {"_augmented_" in name for name in contents(config.data_path) if name.endswith(".png")} == {False}


def test_a_damaged_copy_is_skipped_and_named(config, rawdata, capsys):
    (ant, _), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    name, _ = write_copy(ant, config), write_copy(bee, config)
    Path(config.augmented, name).write_bytes(b"no picture")
    preprocess(config)
    assert rows(config, config.augmented)[name].status == SKIPPED
    assert f"{Path(name).name}: is text, not a picture" in capsys.readouterr().out


def test_preprocess_again_with_copies_changes_nothing(config, rawdata, capsys):
    (ant, held_out), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    for source in (ant, held_out, bee):
        write_copy(source, config)
    preprocess(config)
    before = contents(config.data_path)
    capsys.readouterr()
    preprocess(config)
    assert "(unchanged)" in capsys.readouterr().out
    assert contents(config.data_path) == before


def test_copies_of_one_class_only_are_used(config, rawdata):
    write_copy(one_each(config, "ant")[0], config)  # there is no augmented/bee
    assert len(preprocess(config)) == 21


def test_the_folder_of_copies_may_be_empty_or_have_system_files(config, rawdata):
    Path(config.augmented).mkdir()
    assert len(preprocess(config)) == 20
    Path(config.augmented, ".DS_Store").write_bytes(b"settings of a folder view")
    assert len(preprocess(config)) == 20


def test_a_name_in_both_rawdata_and_augmented_is_refused(config, rawdata):
    write_picture(Path(config.augmented, "ant", "ant00.jpg"), label=2, seed=1)
    write_picture(Path(config.augmented, "bee", "other.jpg"), label=2, seed=1)
    with pytest.raises(UserError, match="ant00.jpg has the same class and name; remove or rename one"):
        preprocess(config)
    assert not Path(config.data_path).exists()


# ---- copies made by other tools ----

ROBOFLOW = "{:032x}"
CHANGES = {
    "plain": lambda image: image,
    "mirrored": ImageOps.mirror,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotated": lambda image: image.rotate(8),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "cropped": lambda image: image.crop((16, 12, 144, 108)),
}
NAMES = {
    "roboflow": lambda source, change: f"{source}_png.rf.{ROBOFLOW.format(100 * source + change)}.jpg",
    "keras": lambda source, change: f"aug_{source}_{(7919 * source + 3571 * change + 17) % 9973}.png",
    "imgaug": lambda source, change: f"{source}_aug_{change}.jpg",
    "albumentations": lambda source, change: (
        f"{source}_{['copy', 'flip', 'rot90', 'rotate_8', 'bright', 'crop'][change]}.jpg"
    ),
    "augmentor": lambda source, change: f"ant_original_{source}.png_{UUID.format(100 * source + change)}.png",
}


@pytest.mark.parametrize("with_sources", [True, False])
@pytest.mark.parametrize("tool", NAMES)
def test_copies_of_other_tools_are_on_the_side_of_their_source(tool, with_sources, settings_for):
    config = settings_for(PictureConfig, height=32, width=32)
    shown = {}
    for source in range(8):
        if with_sources and tool != "keras":  # whose indices do not tell which file it was
            save(clouds(source), Path(config.raw_data, "ant", f"{source}.png"))
        for number, change in enumerate(CHANGES.values()):
            name = NAMES[tool](source, number)
            shown[f"ant/{name}"] = source
            save(change(clouds(source)), Path(config.raw_data, "ant", name))
        save(clouds(100 + source), Path(config.raw_data, "bee", f"IMG_{source}.jpg"))
    preprocess(config)
    table = rows(config, config.raw_data)
    sides = {(source, table[name].split) for name, source in shown.items() if table[name].split}
    expected = 8 if not with_sources or tool == "keras" else 6  # of the others, all copies are excluded
    assert len(sides) == expected
    assert sum(picture.split == VALIDATION for picture in table.values() if picture.class_name == "ant") == 2


@pytest.mark.parametrize("change", ["plain", "mirrored", "turned"])
def test_copies_without_telling_names_are_found_by_content(change, settings_for):
    config = settings_for(PictureConfig, height=32, width=32)
    for source in range(8):
        save(clouds(source), Path(config.raw_data, "ant", f"{source}.png"))
        save(CHANGES[change](clouds(source)), Path(config.raw_data, "ant", f"x{17 * source}.jpg"))
        save(clouds(100 + source), Path(config.raw_data, "bee", f"{source}.png"))
    preprocess(config)
    table = rows(config, config.raw_data)
    for source in range(8):
        assert table[f"ant/x{17 * source}.jpg"].photo == f"ant/{source}.png"
        assert (table[f"ant/{source}.png"].split == TRAIN) == (table[f"ant/x{17 * source}.jpg"].split == TRAIN)


def test_a_class_of_copies_of_roboflow_is_augmented_from_the_first_of_each(settings_for):
    config = settings_for(PictureConfig, height=32, width=32)
    for name in ("ant", "bee"):
        for source in range(4):
            for number in range(3):
                image = clouds(10 * source + number + 1000 * (name == "bee"))
                save(image, Path(config.raw_data, name, f"{source}_jpg.rf.{ROBOFLOW.format(10 * source + number)}.jpg"))
    pictures = preprocess(config)
    tasks = plan(pictures, 6)
    assert sum(len(task.indices) for task in tasks) == 12
    assert {task.picture.source for task in tasks} == {picture.source for picture in pictures if picture.split == TRAIN}
    save(clouds(99), Path(config.augmented, tasks[0].names()[0]))
    (copy,) = (picture for picture in preprocess(config) if "augmented" in picture.path)
    assert (copy.group, copy.split) == (tasks[0].picture.source, TRAIN)


def test_a_copy_of_a_source_with_a_long_name_is_used(settings_for):
    config = settings_for(PictureConfig, height=32, width=32)
    for number in range(4):
        save(clouds(number), Path(config.raw_data, "ant", f"{'猫' * 55}{number}.png"))
        save(clouds(10 + number), Path(config.raw_data, "bee", f"{number}.png"))
    source = next(p for p in preprocess(config) if p.class_name == "ant" and p.split == TRAIN)
    name = copy_name(source.source, source.sha256, 0)
    save(clouds(99), Path(config.augmented, name))
    (copy,) = (picture for picture in preprocess(config) if picture.is_copy)
    assert copy.source == source.source

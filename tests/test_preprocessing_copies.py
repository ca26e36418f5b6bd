"""The copies in `augmented/` that preprocessing takes into `data/`."""

import hashlib
from pathlib import Path

import pytest

from config import PictureConfig
from pictures.copy_names import copy_name
from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, read_manifest
from preprocessing import preprocess
from system.errors import UserError
from tests.helpers.files import contents
from tests.helpers.pictures import write_picture


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
    assert capsys.readouterr().out.splitlines()[1].split() == ["ant", "15", "13", "2", "3", "0", "4"]
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
    assert f"{Path(name).name}: not a picture" in capsys.readouterr().out


def test_preprocess_again_with_copies_changes_nothing(config, rawdata, capsys):
    (ant, held_out), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    for source in (ant, held_out, bee):
        write_copy(source, config)
    preprocess(config)
    before = contents(config.data_path)
    capsys.readouterr()
    preprocess(config)
    assert "nothing has changed" in capsys.readouterr().out
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

"""Preprocessing interrupted at any change of a file: run again, it makes what an uninterrupted run makes."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from config import PictureConfig
from pictures import data_folder
from pictures.copy_names import copy_name
from pictures.manifest import EXCLUDED, PENDING, SKIPPED, TRAIN, VALIDATION, Picture, read_manifest
from preprocessing import preprocess, training_pictures
from system.errors import UserError
from tests.helpers.kill import contents, killed, restore
from tests.helpers.pictures import write_picture
from tests.helpers.processes import kill_script

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


def table(config: PictureConfig) -> list[Picture]:
    return read_manifest(Path(config.data_path, "manifest.csv"))


def write_copy(picture: Picture, config: PictureConfig) -> Path:
    path = Path(config.augmented, copy_name(picture.source, picture.sha256, 0))
    return write_picture(path, label=2, seed=sum(path.name.encode()))


@pytest.fixture
def changed(tmp_path, settings_for) -> PictureConfig:
    """Makes `data_path/`, a copy of it as `state/`, and a `rawdata/` in which many things have changed since."""
    raw = tmp_path / "rawdata"
    config = settings_for(PictureConfig)
    for class_name, label in (("ant", 0), ("bee", 1)):
        for number in range(6):
            write_picture(raw / class_name / f"{number}.png", label=label, seed=number)
    write_picture(raw / "wasp" / "deep" / "0.png", label=2, seed=0)
    write_picture(raw / "wasp" / "deep" / "1.png", label=2, seed=1)
    sources = preprocess(config)
    training = [picture for picture in sources if picture.split == TRAIN and picture.class_name == "ant"]
    for picture in training[:3]:
        write_copy(picture, config)
    assert sum(picture.is_copy for picture in preprocess(config)) == 3
    shutil.copytree(config.data_path, tmp_path / "state")
    validating = next(p for p in sources if p.split == VALIDATION and p.class_name == "ant")
    shutil.copy(validating.path, raw / "ant" / "same.png")  # stored first, and then excluded
    write_picture(raw / "bee" / "new.png", label=1, seed=50)
    write_picture(raw / "bee" / "deleted soon" / "new.png", label=1, seed=51)
    write_picture(Path(training[0].path), label=0, seed=52)  # changed, so its copy is out of date
    Path(training[1].path).unlink()  # so its copy has no source
    Path(training[3].path).write_bytes(b"damaged")
    write_copy(training[2], config).write_bytes(b"a damaged copy")
    shutil.rmtree(raw / "wasp")
    return config


def delete_a_new_and_an_excluded_picture(config: PictureConfig) -> None:
    shutil.rmtree(Path(config.raw_data, "bee", "deleted soon"), ignore_errors=True)
    Path(config.raw_data, "ant", "same.png").unlink(missing_ok=True)


def test_preprocess_killed_at_any_change_is_completed_by_another_run(changed, settings_for, tmp_path):
    data, raw = Path(changed.data_path), Path(changed.raw_data)
    shutil.copytree(raw, tmp_path / "raw_state")
    clean = settings_for(PictureConfig, data_path=str(tmp_path / "clean"))
    preprocess(clean)
    assert {picture.status for picture in table(clean)} >= {EXCLUDED, SKIPPED}
    expected = contents(clean.data_path)
    delete_a_new_and_an_excluded_picture(changed)
    shutil.rmtree(clean.data_path)
    preprocess(clean)
    expected_of_fewer = contents(clean.data_path)
    after, was_killed = 0, True
    while was_killed:
        for deleted, wanted in ((False, expected), (True, expected_of_fewer)):
            restore(data, tmp_path / "state")
            for path in (tmp_path / "raw_state").rglob("*"):  # puts back the two pictures that are deleted below
                if path.is_file() and not (raw / path.relative_to(tmp_path / "raw_state")).exists():
                    target = raw / path.relative_to(tmp_path / "raw_state")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)
            with killed(data, after=after) as kill:
                preprocess(changed)
            was_killed = kill.happened
            if deleted:
                delete_a_new_and_an_excluded_picture(changed)
            preprocess(changed)
            assert contents(data) == wanted, f"after {after} changes"
        after += 1
    assert after > 20


def test_preprocess_killed_is_completed_with_other_settings(changed, settings_for, tmp_path):
    data = Path(changed.data_path)
    others = {"height": 20, "seed": 5, "validation_split": 0.4}
    preprocess(settings_for(PictureConfig, data_path=str(tmp_path / "clean"), **others))
    for after in range(0, 30, 4):
        restore(data, tmp_path / "state")
        with killed(data, after=after):
            preprocess(changed)
        preprocess(settings_for(PictureConfig, **others))
        assert contents(data) == contents(tmp_path / "clean"), f"after {after} changes"


@not_on_windows
def test_preprocessing_killed_several_times_is_completed(tmp_path, script):
    for number in range(300):
        write_picture(
            tmp_path / "rawdata" / ("ant", "bee")[number % 2] / f"{number}.png", label=number % 2, seed=number
        )
    for stored in (1, 40, 150):
        kill_script("preprocessing.py", suffix=".png", count=stored, cwd=tmp_path)
        (tmp_path / "rawdata" / "ant" / f"{stored // 2 * 2}.png").unlink()
    for data in ("data", "clean"):
        assert script("preprocessing.py", "--data_path", data).returncode == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "clean")


# ---- by Ctrl-C ----


@pytest.mark.parametrize("count", [0, 1, 7, 19])
def test_preprocess_completes_data_as_if_it_was_never_interrupted(count, config, rawdata, monkeypatch):
    preprocess(config)
    clean = contents(config.data_path)
    shutil.rmtree(config.data_path)
    interrupt(config, monkeypatch, after=count)
    assert any(picture.status == PENDING for picture in table(config))
    training_pictures(config)
    assert contents(config.data_path) == clean


def test_preprocess_completes_an_interrupted_update(config, rawdata, monkeypatch):
    write_picture(rawdata / "ant" / "old.jpg", label=0, seed=50)
    preprocess(config)
    (rawdata / "ant" / "old.jpg").unlink()
    for number in range(5):
        write_picture(rawdata / "ant" / f"ant{number:02d}.jpg", label=0, seed=60 + number)
    interrupt(config, monkeypatch, after=2)
    preprocess(config)
    finished = contents(config.data_path)
    shutil.rmtree(config.data_path)
    preprocess(config)
    assert finished == contents(config.data_path)


def test_training_pictures_refuses_incomplete_data_without_rawdata(config, rawdata, monkeypatch):
    interrupt(config, monkeypatch, after=3)
    rawdata.rename(rawdata.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"data_path: is incomplete; bring back .*rawdata/ and run this again$"):
        training_pictures(config)


def interrupt(config: PictureConfig, monkeypatch, *, after: int) -> None:
    """Interrupts a run after it has stored some images."""
    stored, write = itertools.count(), data_folder.write_atomically

    def write_some(path, data, **options):
        if next(stored) >= after:
            raise KeyboardInterrupt
        write(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(data_folder, "write_atomically", write_some)
        with pytest.raises(KeyboardInterrupt):
            preprocess(config)

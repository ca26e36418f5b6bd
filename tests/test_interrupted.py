"""Preprocessing and augment.py cut off at any moment: run again, they make what they would have made at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, write_picture
from dying import dying

import augment
from config import AugmentConfig, PictureConfig
from manifest import LEFT_OUT, SKIPPED, TRAIN, VALIDATION, Picture, copy_name, read_manifest
from preprocessing import preprocess

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def contents(folder: str | Path) -> dict[str, bytes | None]:
    """All files and folders, but for the lock."""
    folder = Path(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.name != ".lock"}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def restore(folder: Path, state: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(state, folder)


# ---- preprocessing ----


def table(config: PictureConfig) -> list[Picture]:
    return read_manifest(Path(config.data_path, "manifest.csv"))


def copy_of(picture: Picture, config: PictureConfig) -> Path:
    path = Path(config.augmented, copy_name(picture.source, picture.sha256, 0))
    return write_picture(path, label=2, seed=sum(path.name.encode()))


@pytest.fixture
def changed(tmp_path, settings_for) -> PictureConfig:
    """A finished `data_path/`, kept as `state/` too, and a `rawdata/` in which all kinds of things changed since.

    Of two pictures, one new and one of before, the source will be gone when the run that is cut off is run again.
    """
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
        copy_of(picture, config)
    assert sum(picture.is_copy for picture in preprocess(config)) == 3
    shutil.copytree(config.data_path, tmp_path / "state")
    validating = next(p for p in sources if p.split == VALIDATION and p.class_name == "ant")
    shutil.copy(validating.origin, raw / "ant" / "same.png")  # shows what validates: made, and then left out
    write_picture(raw / "bee" / "new.png", label=1, seed=50)
    write_picture(raw / "bee" / "soon gone" / "new.png", label=1, seed=51)
    write_picture(Path(training[0].origin), label=0, seed=52)  # changed, and its copy is out of date
    Path(training[1].origin).unlink()  # and its copy has no source
    Path(training[3].origin).write_bytes(b"damaged")
    copy_of(training[2], config).write_bytes(b"a damaged copy")
    shutil.rmtree(raw / "wasp")
    return config


def lose_a_new_and_a_left_out_picture(config: PictureConfig) -> None:
    shutil.rmtree(Path(config.raw_data, "bee", "soon gone"), ignore_errors=True)
    Path(config.raw_data, "ant", "same.png").unlink(missing_ok=True)


def test_a_run_that_dies_at_any_change_and_is_run_again_makes_what_a_clean_one_makes(
    changed, settings_for, tmp_path, capsys
):
    data, raw = Path(changed.data_path), Path(changed.raw_data)
    shutil.copytree(raw, tmp_path / "raw as it was")
    clean = settings_for(PictureConfig, data_path=str(tmp_path / "clean"))
    preprocess(clean)
    assert {picture.status for picture in table(clean)} >= {LEFT_OUT, SKIPPED}
    expected = contents(clean.data_path)
    lose_a_new_and_a_left_out_picture(changed)
    shutil.rmtree(clean.data_path)
    preprocess(clean)
    expected_of_less = contents(clean.data_path)
    after, died = 0, True
    while died:
        for lost, wanted in ((False, expected), (True, expected_of_less)):
            restore(data, tmp_path / "state")
            for path in (tmp_path / "raw as it was").rglob("*"):  # so that nothing but these two changes
                if path.is_file() and not (raw / path.relative_to(tmp_path / "raw as it was")).exists():
                    target = raw / path.relative_to(tmp_path / "raw as it was")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)
            with dying(data, after=after) as death:
                preprocess(changed)
            died = death.left < 0
            if lost:
                lose_a_new_and_a_left_out_picture(changed)
            preprocess(changed)
            assert contents(data) == wanted, f"after {after} changes"
        after += 1
    assert after > 20


def test_after_a_death_other_settings_make_what_they_make_at_once(changed, settings_for, tmp_path):
    data = Path(changed.data_path)
    others = {"height": 20, "seed": 5, "near_duplicate_bits": 0}
    preprocess(settings_for(PictureConfig, data_path=str(tmp_path / "clean"), **others))
    for after in range(0, 30, 4):
        restore(data, tmp_path / "state")
        with dying(data, after=after):
            preprocess(changed)
        preprocess(settings_for(PictureConfig, **others))
        assert contents(data) == contents(tmp_path / "clean"), f"after {after} changes"


def killed(name: str, *arguments: object, folder: Path, ending: str, at: int, cwd: Path) -> None:
    """Runs a script and kills it as soon as there are so many files."""
    run = subprocess.Popen([sys.executable, str(ROOT / name), *map(str, arguments)], cwd=cwd, stdout=subprocess.DEVNULL)
    with run:
        while sum(path.name.endswith(ending) for path in folder.rglob("*")) < at:
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL


@not_on_windows
def test_preprocessing_killed_again_and_again_makes_what_it_makes_at_once(tmp_path, script):
    for number in range(300):
        write_picture(
            tmp_path / "rawdata" / ("ant", "bee")[number % 2] / f"{number}.png", label=number % 2, seed=number
        )
    for stored in (1, 40, 150):
        killed("preprocessing.py", folder=tmp_path / "data", ending=".png", at=stored, cwd=tmp_path)
        (tmp_path / "rawdata" / "ant" / f"{stored // 2 * 2}.png").unlink()
    for data in ("data", "clean"):
        assert script("preprocessing.py", "--data_path", data).returncode == 0
    assert contents(tmp_path / "data") == contents(tmp_path / "clean")


# ---- augment.py ----

ONE_SEED, OTHER_SEED, OTHER_SEED_AND_FEWER = {"sample": 3}, {"sample": 5, "seed": 2}, {"sample": 2, "seed": 2}


def test_augmenting_that_dies_at_any_change_and_is_run_again_makes_what_a_clean_one_makes(
    rawdata, settings_for, tmp_path
):
    for path in sorted(rawdata.rglob("*.*"))[2:-4]:
        path.unlink()
    write_picture(rawdata / "ant" / "more.png", label=0, seed=40)
    write_picture(rawdata / "bee" / "more.png", label=1, seed=41)
    config, others, fewer = (settings_for(AugmentConfig, **s) for s in (ONE_SEED, OTHER_SEED, OTHER_SEED_AND_FEWER))
    folder = Path(config.augmented)
    augment.main(config)
    (folder / "ant" / ".mine.part").write_bytes(b"mine")  # hidden, and no copy's name
    shutil.copytree(folder, tmp_path / "state")
    augment.main(fewer)
    expected = contents(folder)
    assert expected["ant/.mine.part"] == b"mine"
    after, died = 0, True
    while died:
        restore(folder, tmp_path / "state")
        with dying(folder, after=after) as death:
            augment.main(others)
        died = death.left < 0
        augment.main(fewer)
        assert contents(folder) == expected, f"after {after} changes"
        after += 1
    assert after > 10


@not_on_windows
def test_augmenting_that_is_killed_and_run_again_makes_what_it_makes_at_once(rawdata, script, tmp_path):
    arguments = ("--sample", 40, "--height", 16, "--width", 16)
    killed("augment.py", *arguments, folder=tmp_path / "augmented", ending=".jpg", at=20, cwd=tmp_path)
    for folder in ("augmented", "clean"):
        assert script("augment.py", *arguments, "--augmented", folder).returncode == 0
    assert len(contents(tmp_path / "augmented")) == 82  # with the two folders
    assert contents(tmp_path / "augmented") == contents(tmp_path / "clean")

"""The pictures that a training run gets: from `rawdata/`, from `data/` alone, or from a folder that the user made."""

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import preprocessing
from config import PictureConfig
from pictures.data_folder import read_pixels
from pictures.manifest import TRAIN, VALIDATION, write_manifest
from preprocessing import preprocess, training_pictures
from system.errors import UserError
from system.files import locked
from tests.helpers import jobs
from tests.helpers.files import contents
from tests.helpers.pictures import ROOT, write_picture
from tests.helpers.processes import running

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and signals of POSIX")


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


# ---- a data/ folder that the user made ----


@pytest.fixture
def foreign_data(rawdata) -> Path:
    """Makes `data/` with pictures and without manifest.csv; there is no `rawdata/`."""
    return rawdata.rename(rawdata.with_name("data_path"))


def test_foreign_data_is_used_as_it_is(config, foreign_data, capsys):
    before = contents(foreign_data)
    pictures = training_pictures(config)
    assert {picture.stored for picture in pictures} == set(before)  # such as ant/ant00.jpg
    assert {picture.class_name for picture in pictures} == {"ant", "bee"}
    assert sorted(picture.split for picture in pictures) == [TRAIN] * 16 + [VALIDATION] * 4  # 2 of 12 and 2 of 8
    assert contents(foreign_data) == before
    assert capsys.readouterr().out == (
        f"{foreign_data}/ has no manifest.csv, so it was not made by this toolkit; it is used as it is\n"
        f"{foreign_data}/ 20 pictures, 2 classes: ant 12, bee 8\n"
        "           16 to train, 4 to validate, 0 copies, 0 skipped\n"
    )


@pytest.mark.parametrize(
    ("data", "raw", "exists", "is_used"),
    [
        ("data", "rawdata", False, True),  # there are no raw pictures
        ("data", "rawdata", True, False),
        ("mine", "rawdata", True, True),  # it is named
        ("mine", "rawdata", False, True),
        ("data", "pics", True, False),  # the raw pictures are named
        ("data", "pics", False, False),
        ("mine", "pics", True, False),
        ("mine", "pics", False, True),
    ],
)
def test_foreign_data_is_used_if_named_or_without_raw_pictures(data, raw, exists, is_used, rawdata, monkeypatch):
    monkeypatch.chdir(rawdata.parent)
    rawdata.rename(data)
    for name in ("cat", "dog") if exists else ():
        for seed in range(3):
            write_picture(Path(raw, name, f"{seed}.jpg"), label=2, seed=seed)
    config = PictureConfig(height=16, width=16, data_path=data, raw_data=raw)
    if is_used:
        assert {picture.class_name for picture in training_pictures(config)} == {"ant", "bee"}
    else:
        reason = f"{data}: has files but no manifest.csv" if exists else "pics: no such folder"
        with pytest.raises(UserError, match=reason):
            training_pictures(config)


def test_preprocess_never_writes_to_foreign_data(config, foreign_data):
    shutil.copytree(foreign_data, config.raw_data)
    before = contents(foreign_data)
    with pytest.raises(UserError) as refused:
        preprocess(config)
    assert str(refused.value) == (
        f"{foreign_data}: has files but no manifest.csv, so it is not overwritten; use another --data_path"
    )
    assert contents(foreign_data) == before


def test_foreign_data_needs_two_classes(config, foreign_data):
    shutil.rmtree(foreign_data / "bee")
    with pytest.raises(UserError, match="at least two classes are needed, found ant"):
        training_pictures(config)


@not_on_windows
def test_foreign_data_may_have_links_inside_the_folder_only(config, foreign_data, tmp_path, capsys):
    outside = write_picture(tmp_path / "outside.jpg", label=0, seed=90)
    (foreign_data / "ant" / "out.jpg").symlink_to(outside)
    (foreign_data / "ant" / "same.jpg").symlink_to("ant00.jpg")
    assert {Path(picture.stored).name for picture in training_pictures(config) if "ant/" in picture.stored} >= {
        "ant01.jpg"
    }
    output = capsys.readouterr().out
    assert f"skipped {(foreign_data / 'ant' / 'out.jpg').as_posix()}: is a link to a place outside the folder" in output
    assert not any("same.jpg" in line for line in output.splitlines() if line.startswith("skipped"))


def test_foreign_data_is_checked_too(config, foreign_data, capsys):
    for number in range(4):
        write_picture(foreign_data / "bee" / f"icon{number}.png", label=0, seed=number, size=(8, 8))
    training_pictures(config)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "enlarged" in line]
    assert line.startswith("4 pictures: enlarged 2 times or more, to 16 × 16: ")
    assert line.endswith("icon2.png (8 × 8) and 1 more")  # and no manifest.csv


@not_on_windows
def test_foreign_data_with_a_picture_that_crashes_is_refused(config, foreign_data, monkeypatch):
    monkeypatch.setattr(preprocessing, "add_hashes", jobs.add_hashes_or_crash)
    with pytest.raises(
        UserError, match=r"ant/ant03.jpg: crashed its process \(signal 11\); move it away and run this again$"
    ):
        training_pictures(config)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_foreign_data_with_a_pipe_does_not_wait_forever(config, foreign_data):
    os.mkfifo(foreign_data / "ant" / "pipe.jpg")  # reading it would wait forever
    pictures = training_pictures(config)  # the pipe is kept, and named when its pixels are needed
    (pipe,) = (picture for picture in pictures if picture.stored == "ant/pipe.jpg")
    with pytest.raises(
        UserError, match=r"^cannot read \S*pipe\.jpg \(not a regular file\); delete it and run this again$"
    ):
        read_pixels(pipe, config)


# ---- data/ and rawdata/ ----


def test_preprocessing_waits_for_another_run(config, rawdata, tmp_path):
    command = [sys.executable, ROOT / "preprocessing.py", "--data_path", config.data_path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as processes:
        with locked(Path(config.data_path)):
            second = processes.enter_context(running(*command, cwd=tmp_path, **pipes))
            line = second.stderr.readline()
            stored = [path.name for path in Path(config.data_path).iterdir()]
        out, err = second.communicate()
    assert line.endswith("data_path/: another run is using this folder; waiting\n")
    assert stored == [".lock"]
    assert (second.returncode, err) == (0, "")
    assert "(20 new)" in out


def test_data_is_used_as_it_is_if_rawdata_is_missing(config, rawdata, capsys):
    kept = preprocess(config)
    shutil.rmtree(rawdata)
    before = contents(config.data_path)
    assert training_pictures(config) == kept
    assert contents(config.data_path) == before
    assert "is used as it is" in capsys.readouterr().out


def test_training_pictures_updates_data_from_rawdata(config, rawdata):
    training_pictures(config)
    write_picture(rawdata / "ant" / "new.jpg", label=0, seed=77)
    assert len(training_pictures(config)) == 21
    assert Path(config.data_path, "ant", "new.jpg.png").exists()


def test_training_pictures_fills_an_empty_data_folder(config, rawdata):
    Path(config.data_path).mkdir()
    assert len(training_pictures(config)) == 20


def test_training_pictures_names_the_missing_folder(config):
    with pytest.raises(UserError, match="rawdata: no such folder"):
        training_pictures(config)


def test_training_pictures_does_not_touch_a_manifest_of_another_kind(config, rawdata):
    path = Path(config.data_path, "manifest.csv")
    path.parent.mkdir()
    path.write_text("name,label\na.jpg,1\n")
    with pytest.raises(UserError, match="not a manifest of this version"):
        training_pictures(config)
    assert contents(config.data_path) == {"manifest.csv": b"name,label\na.jpg,1\n"}


def test_data_is_not_used_for_a_misspelled_rawdata(rawdata, settings_for, tmp_path):
    training_pictures(settings_for(PictureConfig))
    with pytest.raises(
        UserError, match="rawdat: no such folder, and .*data_path was made from a different one; check --raw_data$"
    ):
        training_pictures(settings_for(PictureConfig, raw_data=str(tmp_path / "rawdat")))


def test_data_of_another_size_is_refused_if_rawdata_is_missing(rawdata, settings_for):
    training_pictures(settings_for(PictureConfig))
    shutil.rmtree(rawdata)
    with pytest.raises(
        UserError, match="has images of 16x16x3, not 20x16x3, and .*rawdata/ is missing; bring it back$"
    ):
        training_pictures(settings_for(PictureConfig, height=20))


def test_data_whose_pictures_have_no_groups_yet_needs_rawdata(config, rawdata):
    first, *others = preprocess(config)
    write_manifest(Path(config.data_path, "manifest.csv"), [replace(first, group=""), *others])
    shutil.rmtree(rawdata)
    with pytest.raises(UserError, match="data_path: is incomplete; bring back .*rawdata/ and run this again$"):
        training_pictures(config)


def test_data_without_its_manifest_still_knows_its_copies(rawdata, settings_for, tmp_path):
    config = settings_for(PictureConfig)
    pictures = training_pictures(config)
    digits = next(picture.sha256 for picture in pictures if picture.source == "ant/ant00.jpg")[:8]
    copy = tmp_path / "data_path" / "ant" / f"ant00.jpg_augmented_{digits}_0000.jpg.png"
    shutil.copy(tmp_path / "data_path" / "ant" / "ant00.jpg.png", copy)
    (tmp_path / "data_path" / "manifest.csv").unlink()
    shutil.rmtree(rawdata)
    found = {Path(picture.path).name: picture for picture in training_pictures(config)}
    original = found["ant00.jpg.png"]
    if original.split == "train":
        assert found[copy.name].split == "train"
    else:
        assert copy.name not in found
    assert sum(picture.source == original.source for picture in found.values()) == 1 + (original.split == "train")


# ---- data/ of an earlier version ----

HEADER_OF_VERSION_1 = (
    "file,class,source,group,split,sha256,perceptual_hash,status,reason,origin,size,modified,shape,group_bits\n"
)


def row_of_version_1(name: str, config: PictureConfig) -> str:
    """Returns the row of a kept picture, <class>/<file>."""
    class_name = name.partition("/")[0]
    return f"{name}.png,{class_name},{name},{name},train,00,00,kept,,{config.raw_data}/{name},1,1,16x16x3,8\n"


def test_data_of_an_earlier_version_is_made_again_with_one_line(config, rawdata, capsys):
    names = [f"{picture.class_name}/{Path(picture.path).name}" for picture in preprocess(config)]
    expected = contents(config.data_path)
    deleted = write_picture(Path(config.data_path, "ant", "deleted.jpg.png"), label=0, seed=1)  # from rawdata/ since
    Path(config.data_path, "ant", "ant00.jpg.png").write_bytes(b"an image of that version")
    manifest = Path(config.data_path, "manifest.csv")
    rows = [row_of_version_1(name, config) for name in (*names, "ant/deleted.jpg")]
    manifest.write_text(HEADER_OF_VERSION_1 + "".join(rows))
    capsys.readouterr()
    assert len(training_pictures(config)) == 20
    output = capsys.readouterr().out
    line = f"{manifest}: was written by another version of this toolkit; all images are made again"
    assert output.splitlines()[0] == line
    assert output.count("another version") == 1
    assert not deleted.exists()
    assert contents(config.data_path) == expected
    training_pictures(config)
    assert "another version" not in capsys.readouterr().out


def test_data_of_an_earlier_version_needs_rawdata(config, rawdata):
    preprocess(config)
    manifest = Path(config.data_path, "manifest.csv")
    manifest.write_text(HEADER_OF_VERSION_1 + row_of_version_1("ant/ant00.jpg", config))
    shutil.rmtree(rawdata)
    with pytest.raises(UserError, match="data_path: is incomplete; bring back .*rawdata/ and run this again$"):
        training_pictures(config)

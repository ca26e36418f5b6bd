"""Changes between two runs, and two runs at once: no image is ever used for another picture."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import PictureConfig, TrainConfig
from pictures import data_folder
from pictures.data_folder import DataFolder
from pictures.manifest import KEPT, SKIPPED, read_manifest
from preprocessing import preprocess, training_pictures
from system import resources
from system.errors import UserError
from system.files import locked
from tests.helpers.files import contents
from tests.helpers.pictures import ROOT, write_picture
from tests.helpers.processes import running
from training.batches import load

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and names of POSIX")
TIME = 1_700_000_000_000_000_000  # of all files, in nanoseconds


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


@pytest.fixture
def bitmaps(tmp_path) -> Path:
    """Makes `rawdata/` with six bitmaps each of ant and bee. All have the same size, in bytes too, and time."""
    folder = tmp_path / "rawdata"
    for label, name in enumerate(("ant", "bee")):
        for number in range(6):
            make_old(write_picture(folder / name / f"{number}.bmp", label=label, seed=number))
    return folder


def make_old(path: Path) -> None:
    os.utime(path, ns=(TIME, TIME))


def stored_pixels(config: PictureConfig, name: str) -> np.ndarray:
    return cv2.imread(str(Path(config.data_path, f"{name}.png")))


def assert_data_is_as_if_made_anew(config: PictureConfig) -> None:
    """Updates data/ and compares it with one that is made from nothing."""
    preprocess(config)
    updated = contents(config.data_path)
    shutil.rmtree(config.data_path)
    preprocess(config)
    assert contents(config.data_path) == updated


def exchange(one: Path, other: Path) -> None:
    waiting = one.with_name("waiting")
    one.rename(waiting)
    other.rename(one)
    waiting.rename(other)


def overwrite_in_place(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def copy_with_its_time(one: Path, other: Path) -> None:
    shutil.copy2(other, one)


def replace_by_a_hard_link(one: Path, other: Path) -> None:
    one.unlink()
    os.link(other, one)


@not_on_windows
@pytest.mark.parametrize("change", [exchange, overwrite_in_place, copy_with_its_time, replace_by_a_hard_link])
def test_preprocess_notices_other_content_of_the_same_size_and_time(change, config, bitmaps, capsys):
    preprocess(config)
    one, other = bitmaps / "ant" / "0.bmp", bitmaps / "bee" / "0.bmp"
    assert one.stat().st_size == other.stat().st_size
    change(one, other)
    for path in (one, other):
        make_old(path)
    capsys.readouterr()
    preprocess(config)
    changed = 2 if change in (exchange, overwrite_in_place) else 1
    assert f"{changed} changed" in capsys.readouterr().out
    assert_data_is_as_if_made_anew(config)


def test_preprocess_makes_an_image_again_that_was_changed_in_data(config, bitmaps):
    preprocess(config)
    one, other = Path(config.data_path, "ant", "0.bmp.png"), Path(config.data_path, "bee", "0.bmp.png")
    expected = one.read_bytes(), other.read_bytes()
    exchange(one, other)
    preprocess(config)
    assert (one.read_bytes(), other.read_bytes()) == expected


def test_preprocess_knows_a_folder_by_its_relative_and_absolute_name(bitmaps, monkeypatch, settings_for, capsys):
    monkeypatch.chdir(bitmaps.parent)
    preprocess(settings_for(PictureConfig, raw_data="rawdata"))
    inode = Path("data_path", "ant", "0.bmp.png").stat().st_ino
    capsys.readouterr()
    preprocess(settings_for(PictureConfig, raw_data=str(bitmaps)))
    assert "(unchanged)" in capsys.readouterr().out
    assert Path("data_path", "ant", "0.bmp.png").stat().st_ino == inode
    bitmaps.rename("moved")
    assert len(training_pictures(settings_for(PictureConfig, raw_data="rawdata"))) == 12


@not_on_windows
def test_preprocess_knows_a_folder_by_a_link_to_it(bitmaps, settings_for, tmp_path, capsys):
    preprocess(settings_for(PictureConfig))
    (tmp_path / "link").symlink_to(bitmaps)
    capsys.readouterr()
    preprocess(settings_for(PictureConfig, raw_data=str(tmp_path / "link")))
    assert "(unchanged)" in capsys.readouterr().out


def test_preprocess_takes_a_picture_in_the_place_of_a_folder_and_back(config, bitmaps):
    write_picture(bitmaps / "ant" / "q.png" / "a.bmp", label=0, seed=30)
    preprocess(config)
    shutil.rmtree(bitmaps / "ant" / "q.png")
    write_picture(bitmaps / "ant" / "x.bmp", label=0, seed=31).rename(bitmaps / "ant" / "q")
    assert len(preprocess(config)) == 13
    assert Path(config.data_path, "ant", "q.png").is_file()
    (bitmaps / "ant" / "q").rename(bitmaps / "ant" / "y")
    write_picture(bitmaps / "ant" / "q.png" / "a.bmp", label=0, seed=30)
    assert len(preprocess(config)) == 14
    assert_data_is_as_if_made_anew(config)


def test_preprocess_says_which_pictures_are_taken_for_copies(config, bitmaps, capsys):
    for photo in ("one", "two"):
        for copy in range(2):
            write_picture(bitmaps / "ant" / f"{photo}_aug_{copy}.bmp", label=0, seed=40 + copy)
    preprocess(config)
    line = f"taken for copies of 2 photos, by their names: {bitmaps}/ant/one_aug_0.bmp, "
    assert line in capsys.readouterr().out


def test_preprocess_needs_room_for_all_images_before_it_begins(config, bitmaps, monkeypatch):
    free = type("Usage", (), {"free": 12 * 16 * 16 * 3 - 1})
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: free)
    with pytest.raises(UserError, match="more of disk, but only .* are free; free some, or use a smaller --height"):
        preprocess(config)
    assert not Path(config.data_path).exists()
    free.free += 1
    assert len(preprocess(config)) == 12


def test_preprocess_trains_on_pictures_with_any_name(config, bitmaps):
    names = ["猫" * 83 + ".bmp", "pic", "pic.png/a.bmp", "A: b.bmp", "a\\..\\b.bmp"]
    for number, name in enumerate(names):
        write_picture(bitmaps / "ant" / "x.bmp", label=0, seed=20 + number)
        (bitmaps / "ant" / name).parent.mkdir(exist_ok=True)
        (bitmaps / "ant" / "x.bmp").rename(bitmaps / "ant" / name)
    for _ in range(2):  # the second run is like the first
        kept = {picture.source for picture in preprocess(config)} | {
            picture.source for picture in read_manifest(Path(config.data_path, "manifest.csv"))
        }
        assert kept >= {f"ant/{name}" for name in names}
        assert not [p for p in read_manifest(Path(config.data_path, "manifest.csv")) if p.status == SKIPPED]


def test_preprocess_skips_a_name_that_the_disk_of_data_refuses(config, bitmaps, monkeypatch):
    write = data_folder.write_atomically

    def refuse_some(path, data, **options):
        if path.name.startswith("3"):
            raise OSError(22, "Invalid argument", os.fspath(path))  # as vfat does for a colon
        write(path, data, **options)

    monkeypatch.setattr(data_folder, "write_atomically", refuse_some)
    for _ in range(2):
        assert len(preprocess(config)) == 10
        skipped = {p.source: p.reason for p in read_manifest(Path(config.data_path, "manifest.csv")) if p.reason}
        assert skipped == dict.fromkeys(
            ("ant/3.bmp", "bee/3.bmp"),
            f"{config.data_path} is on a disk that does not allow its name, or the path is too long",
        )


def test_preprocess_passes_over_a_class_whose_files_are_no_pictures(config, bitmaps, capsys):
    for number in range(30):
        (bitmaps / "labels").mkdir(exist_ok=True)
        (bitmaps / "labels" / f"{number:02}.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert {picture.class_name for picture in preprocess(config)} == {"ant", "bee"}
    output = capsys.readouterr().out
    assert "class labels: none of its files is a picture, so it is not a class of this run" in output
    assert output.count("labels/") == 3  # thirty files, in one line that names three
    assert "skipped 30 files: " in output and "and 27 more" in output


def test_images_are_flushed_before_the_manifest_calls_them_kept(config, bitmaps, monkeypatch):
    events = []
    monkeypatch.setattr(data_folder, "fsync_all", lambda paths: events.append({path.name for path in paths}))
    write_manifest = data_folder.write_manifest

    def record(path, pictures):
        events.append(len([picture for picture in pictures if picture.status == KEPT]))
        write_manifest(path, pictures)

    monkeypatch.setattr(data_folder, "write_manifest", record)
    preprocess(config)
    stored = {path.name for path in Path(config.data_path).rglob("*.png")}
    assert len(stored) == 6
    flushed = next(position for position, event in enumerate(events) if event == stored)
    assert all(event == 0 for event in events[:flushed])  # all are pending in the manifests before
    assert 12 in events[flushed:]


# ---- two runs at once ----


def test_load_refuses_images_that_another_run_has_changed(bitmaps, settings_for):
    mine = settings_for(TrainConfig, memory_gib=1e-6)
    pictures = training_pictures(mine)
    samples = load(pictures, mine, in_memory=False)
    assert samples.images[:].shape == (12, 16, 16, 3)
    preprocess(settings_for(PictureConfig, height=20, width=20))  # another size, in the same data/
    with pytest.raises(UserError) as refused:
        samples.images[:3]
    message = str(refused.value)
    assert "has changed since this run began" in message and message.count("\n") == 0
    assert message.endswith("if another run uses this folder, give each its own --data_path")


def test_preprocess_waits_while_augmented_is_written(config, bitmaps, tmp_path):
    write_picture(Path(config.augmented, "ant", "x.jpg"), label=0, seed=1)
    folders = ("--raw_data", config.raw_data, "--augmented", config.augmented, "--data_path", config.data_path)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as processes:
        with locked(Path(config.augmented)):
            run = running(sys.executable, ROOT / "preprocessing.py", *folders, cwd=tmp_path, **pipes)
            second = processes.enter_context(run)
            line = second.stderr.readline()
        out, _ = second.communicate()
    assert line.endswith("augmented/: another run is using this folder; waiting\n")
    assert (second.returncode, "12 pictures, " in out and "(13 new)" in out) == (0, True)


def test_a_refused_run_leaves_no_folder(rawdata, script, tmp_path):
    shutil.rmtree(rawdata / "bee")
    before = sorted(tmp_path.rglob("*"))
    done = script("trainer.py", "--model_save_name", "nets/new")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_keeps_groups_only_if_the_same_pictures_were_compared(config, bitmaps):
    preprocess(config)
    originals = read_manifest(Path(config.data_path, "manifest.csv"))
    assert DataFolder(config, originals).keeps_groups(originals)
    assert not DataFolder(config, originals).keeps_groups(originals[1:])

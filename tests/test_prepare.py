"""What preprocessing refuses, the copies it takes in, and a `data/` folder that somebody else made."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import working
from conftest import ROOT, write_picture

import preprocessing
from config import PictureConfig, UserError
from dataset import load
from files import locked
from manifest import KEPT, LEFT_OUT, SKIPPED, TRAIN, VALIDATION, copy_name, read_manifest
from preprocessing import prepare, preprocess

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and signals of POSIX")


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


def rows(config: PictureConfig, folder: str) -> dict:
    """The manifest's rows of one folder, by the names that files have below it."""
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    own = [picture for picture in pictures if Path(picture.origin).is_relative_to(folder)]
    return {Path(picture.origin).relative_to(folder).as_posix(): picture for picture in own}


def is_content(path: Path) -> bool:
    return path.is_file() and path.name != ".lock"


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if is_content(path)}


# ---- what is refused ----


def break_all_but(count: int, folder: Path) -> None:
    for path in sorted(folder.iterdir())[count:]:
        path.write_bytes(b"no picture")


MISTAKES = {  # what a user did, and what the one line says of it
    "no folder": (shutil.rmtree, ["rawdata: no such folder", "make it"]),
    "no class": (
        lambda raw: [shutil.rmtree(raw / name) for name in ("ant", "bee")],
        ["found none", "sub-folder a class"],
    ),
    "one class": (lambda raw: shutil.rmtree(raw / "bee"), ["at least two classes", "found ant", "sub-folder a class"]),
    "no usable picture": (lambda raw: break_all_but(0, raw / "bee"), ["class bee: no usable pictures", "8 skipped"]),
    "one usable picture": (lambda raw: break_all_but(1, raw / "bee"), ["class bee: 1 usable picture ", "add pictures"]),
    "an empty class": (lambda raw: (raw / "cat").mkdir(), ["cat", "remove its folder"]),
    "the parts of a split": (
        lambda raw: [(raw / "ant").rename(raw / "train"), (raw / "bee").rename(raw / "Test")],
        ["Test and train are no classes", "--raw_data"],
    ),
    "an emptied class": (lambda raw: [path.unlink() for path in (raw / "bee").iterdir()], ["bee", "remove its folder"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_that_says_what_to_do(mistake, rawdata, script):
    make, says = MISTAKES[mistake]
    make(rawdata)
    done = script("preprocessing.py", "--height", 16, "--width", 16)
    assert done.returncode == 2
    assert done.stderr.startswith("preprocessing.py: ") and done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in says), done.stderr


def test_two_usable_pictures_a_class_are_enough(config, rawdata):
    break_all_but(2, rawdata / "ant")
    break_all_but(2, rawdata / "bee")
    assert len(preprocess(config)) == 4


def test_the_script_works_without_a_word_on_stderr(rawdata, script, tmp_path):
    # Pillow warns of a broken EXIF block, which is no concern of the user's: the picture is whole.
    jpeg = (rawdata / "ant" / "ant00.jpg").read_bytes()
    block = b"\xff\xe1\x00\x10Exif\x00\x00II*\x00\xff\xff\xff\xff"
    (rawdata / "ant" / "ant00.jpg").write_bytes(jpeg[:2] + block + jpeg[2:])
    done = script("preprocessing.py", "--height", 20, "--width", 24)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data/: 20 pictures; 20 new, 0 changed, 0 gone" in done.stdout
    assert len(list((tmp_path / "data").rglob("*.png"))) == 20


# ---- a data/ folder of somebody else's ----


@pytest.fixture
def ready_made(rawdata) -> Path:
    """`data/` with pictures and without manifest.csv; there is no `rawdata/`."""
    return rawdata.rename(rawdata.with_name("data_path"))


def test_a_ready_made_folder_is_used_as_it_is(config, ready_made, capsys):
    before = contents(ready_made)
    pictures = prepare(config)
    assert {picture.file for picture in pictures} == set(before)  # such as ant/ant00.jpg
    assert {picture.class_name for picture in pictures} == {"ant", "bee"}
    assert sorted(picture.split for picture in pictures) == [TRAIN] * 16 + [VALIDATION] * 4  # 2 of 12 and 2 of 8
    assert contents(ready_made) == before
    assert "made elsewhere" in capsys.readouterr().out


def test_a_ready_made_folder_comes_before_rawdata(config, ready_made):
    for name in ("cat", "dog"):
        write_picture(Path(config.raw_data, name, "a.jpg"), label=2, seed=1)
    assert {picture.class_name for picture in prepare(config)} == {"ant", "bee"}


def test_a_ready_made_folder_is_never_written_to(config, ready_made):
    shutil.copytree(ready_made, config.raw_data)
    before = contents(ready_made)
    with pytest.raises(UserError, match="holds files but no manifest.csv, so is not ours; name another --data_path"):
        preprocess(config)
    assert contents(ready_made) == before


def test_a_ready_made_folder_needs_two_classes_too(config, ready_made):
    shutil.rmtree(ready_made / "bee")
    with pytest.raises(UserError, match="at least two classes are needed, found ant"):
        prepare(config)


@not_on_windows
def test_links_out_of_a_ready_made_folder_are_not_used(config, ready_made, tmp_path, capsys):
    outside = write_picture(tmp_path / "outside.jpg", label=0, seed=90)
    (ready_made / "ant" / "out.jpg").symlink_to(outside)
    (ready_made / "ant" / "same.jpg").symlink_to("ant00.jpg")
    assert {Path(picture.file).name for picture in prepare(config) if "ant/" in picture.file} >= {"ant01.jpg"}
    said = capsys.readouterr().out
    assert f"skipped {(ready_made / 'ant' / 'out.jpg').as_posix()}: a link that leads out of the folder" in said
    assert "same.jpg" not in said or "left out" in said


@not_on_windows
def test_a_picture_that_crashes_its_decoder_is_refused_by_name_in_a_ready_made_folder(config, ready_made, monkeypatch):
    monkeypatch.setattr(preprocessing, "_with_hashes", working.crash_on_ant03_too)
    with pytest.raises(UserError, match=r"ant/ant03.jpg: makes the decoder crash \(signal 11\); move it away and run"):
        prepare(config)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_a_ready_made_folder_ends_in_one_line(config, ready_made):
    os.mkfifo(ready_made / "ant" / "pipe.jpg")  # whoever reads it waits for ever
    pictures = prepare(config)
    with pytest.raises(UserError, match=r"cannot read \S*pipe\.jpg \(not a regular file\)"):
        load(pictures, config)


def test_a_second_run_waits_for_the_first(config, rawdata, tmp_path):
    with locked(Path(config.data_path)):
        command = [sys.executable, ROOT / "preprocessing.py", "--data_path", config.data_path]
        second = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stderr.readline().endswith("data_path/: another run is at work here; waiting for its end\n")
        assert sorted(contents(config.data_path)) == []
    out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    assert "20 pictures; 20 new" in out


def test_a_finished_folder_is_used_when_rawdata_is_gone(config, rawdata, capsys):
    kept = preprocess(config)
    shutil.rmtree(rawdata)
    before = contents(config.data_path)
    assert prepare(config) == kept
    assert contents(config.data_path) == before
    assert "is used as it is" in capsys.readouterr().out


def test_preparing_refreshes_what_has_changed(config, rawdata):
    prepare(config)
    write_picture(rawdata / "ant" / "new.jpg", label=0, seed=77)
    assert len(prepare(config)) == 21
    assert Path(config.data_path, "ant", "new.jpg.png").exists()


def test_an_empty_data_folder_is_filled(config, rawdata):
    Path(config.data_path).mkdir()
    assert len(prepare(config)) == 20


def test_with_nothing_to_train_on_the_missing_folder_is_named(config):
    with pytest.raises(UserError, match="rawdata: no such folder"):
        prepare(config)


def test_a_manifest_of_another_kind_is_left_alone(config, rawdata):
    path = Path(config.data_path, "manifest.csv")
    path.parent.mkdir()
    path.write_text("name,label\na.jpg,1\n")
    with pytest.raises(UserError, match="not a manifest of this version"):
        prepare(config)
    assert contents(config.data_path) == {"manifest.csv": b"name,label\na.jpg,1\n"}


# ---- copies ----


def copy_of(source: str, config: PictureConfig, number: int = 0, stamp: str = "") -> str:
    """Makes a copy of a source of rawdata/ as augment.py names it; returns its name below augmented/."""
    content = Path(config.raw_data, source).read_bytes()
    name = copy_name(source, stamp or hashlib.sha256(content).hexdigest(), number)
    write_picture(Path(config.augmented, name), label=2, seed=number)
    return name


def one_each(config: PictureConfig, class_name: str) -> tuple[str, str]:
    """Names of a training and of a validation source of a class, by the split that is made."""
    own = [picture for picture in preprocess(config) if picture.class_name == class_name]
    return tuple(next(picture.source for picture in own if picture.split == side) for side in (TRAIN, VALIDATION))


def test_only_sound_copies_of_training_pictures_are_taken_in(config, rawdata, capsys):
    ant, held_back = one_each(config, "ant")
    bee, _ = one_each(config, "bee")
    good = [copy_of(ant, config, number=number) for number in range(3)] + [copy_of(bee, config)]
    wrong = {
        copy_of(held_back, config): "its source is kept back for validation",
        copy_of(ant, config, number=9, stamp="0" * 64): "its source has changed since: run augment.py again",
    }
    stranger = write_picture(Path(config.augmented, "ant", "stranger.jpg"), label=2, seed=1)
    orphan = write_picture(Path(config.augmented, copy_name("ant/gone.jpg", "a" * 64, 1)), label=2, seed=1)
    for path in (stranger, orphan):
        name = path.relative_to(config.augmented).as_posix()
        wrong[name] = "its source is not among the pictures of its class"
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
        assert (table[name].status, table[name].split, table[name].reason) == (LEFT_OUT, "", reason)
        assert not Path(config.data_path, f"{name}.png").exists()
    assert {picture.split for picture in kept if picture.source == held_back} == {VALIDATION}


def test_copies_change_nothing_about_the_split(config, rawdata):
    preprocess(config)
    before = {name: picture.split for name, picture in rows(config, config.raw_data).items()}
    (ant, _), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    for number in range(30):
        copy_of(ant, config, number=number)
    copy_of(bee, config)
    assert len(preprocess(config)) == 51
    assert {name: picture.split for name, picture in rows(config, config.raw_data).items()} == before


def test_copies_are_dropped_when_their_source_goes_or_changes_sides(config, settings_for, rawdata):
    ant, _ = one_each(config, "ant")
    bee, _ = one_each(config, "bee")
    ant_copy, bee_copy = copy_of(ant, config), copy_of(bee, config)
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
    assert table[bee_copy].reason == "its source is kept back for validation"
    left = [path.name for path in Path(config.data_path).rglob("*.png") if "_augmented_" in path.name]
    assert left == []


def test_a_damaged_copy_is_skipped_and_named(config, rawdata, capsys):
    (ant, _), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    name, _ = copy_of(ant, config), copy_of(bee, config)
    Path(config.augmented, name).write_bytes(b"no picture")
    preprocess(config)
    assert rows(config, config.augmented)[name].status == SKIPPED
    assert f"{Path(name).name}: not a picture" in capsys.readouterr().out


def test_running_again_with_copies_changes_nothing(config, rawdata, capsys):
    (ant, held_back), (bee, _) = one_each(config, "ant"), one_each(config, "bee")
    for source in (ant, held_back, bee):
        copy_of(source, config)
    preprocess(config)
    before = contents(config.data_path)
    capsys.readouterr()
    preprocess(config)
    assert "nothing has changed" in capsys.readouterr().out
    assert contents(config.data_path) == before


def test_copies_of_one_class_only_are_taken_in(config, rawdata):
    copy_of(one_each(config, "ant")[0], config)  # there is no augmented/bee
    assert len(preprocess(config)) == 21


def test_without_copies_their_folder_may_be_empty_missing_or_hold_what_systems_leave(config, rawdata):
    Path(config.augmented).mkdir()
    assert len(preprocess(config)) == 20
    Path(config.augmented, ".DS_Store").write_bytes(b"a view of a folder")
    assert len(preprocess(config)) == 20


def test_one_name_in_rawdata_and_augmented_is_refused(config, rawdata):
    write_picture(Path(config.augmented, "ant", "ant00.jpg"), label=2, seed=1)
    write_picture(Path(config.augmented, "bee", "other.jpg"), label=2, seed=1)
    with pytest.raises(UserError, match="ant00.jpg has the same class and name; remove or rename one"):
        preprocess(config)
    assert not Path(config.data_path).exists()


def test_a_misspelt_rawdata_is_not_answered_with_pictures_of_another(rawdata, settings_for, tmp_path):
    prepare(settings_for(PictureConfig))
    with pytest.raises(UserError, match="no such folder, and .*data_path was made from another one"):
        prepare(settings_for(PictureConfig, raw_data=str(tmp_path / "rawdat")))


def test_without_rawdata_other_sizes_are_refused(rawdata, settings_for):
    prepare(settings_for(PictureConfig))
    shutil.rmtree(rawdata)
    with pytest.raises(UserError, match="holds pictures of 16x16x3, not 20x16x3"):
        prepare(settings_for(PictureConfig, height=20))


def test_data_that_lost_its_manifest_still_knows_its_copies(rawdata, settings_for, tmp_path):
    config = settings_for(PictureConfig)
    pictures = prepare(config)
    stamp = next(picture.sha256 for picture in pictures if picture.source == "ant/ant00.jpg")[:8]
    copy = tmp_path / "data_path" / "ant" / f"ant00.jpg_augmented_{stamp}_0000.jpg.png"
    shutil.copy(tmp_path / "data_path" / "ant" / "ant00.jpg.png", copy)
    (tmp_path / "data_path" / "manifest.csv").unlink()
    found = {Path(picture.origin).name: picture for picture in prepare(config)}
    original = found["ant00.jpg.png"]
    if original.split == "train":
        assert found[copy.name].split == "train"
    else:
        assert copy.name not in found
    assert sum(picture.source == original.source for picture in found.values()) == 1 + (original.split == "train")

"""Making `data/` from `rawdata/`: what is kept, what is skipped, and what is done again."""

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import working
from conftest import write_picture
from PIL import Image

import preprocessing
from config import PictureConfig, UserError
from manifest import KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, read_manifest
from pictures import standard_image
from preprocessing import decoding, prepare, preprocess, visible_files

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


def rows(config: PictureConfig) -> dict:
    """The manifest, by the names that files have below rawdata/."""
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    table = {Path(picture.origin).relative_to(config.raw_data).as_posix(): picture for picture in pictures}
    assert len(table) == len(pictures)
    return table


def is_content(path: Path) -> bool:
    return path.is_file() and path.name != ".lock"


def contents(folder: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if is_content(path)}


def outputs(config: PictureConfig) -> dict[str, tuple[int, int]]:
    """Changes for every picture that is written anew, be its content the same."""
    found = Path(config.data_path).rglob("*.png")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def later(path: Path, seconds: int = 10) -> None:
    """Makes a file look changed; clocks of file systems are too coarse to rely on."""
    changed = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(changed, changed))


# ---- what is made ----


def test_the_manifest_tells_what_became_of_every_file(config, tmp_path, capsys):
    ant, bee = tmp_path / "rawdata" / "ant", tmp_path / "rawdata" / "bee"
    for number, path in enumerate([ant / "good1.png", ant / "good2.jpg", bee / "good3.jpg", bee / "good4.png"]):
        write_picture(path, label=2, seed=number)
    whole = (ant / "good2.jpg").read_bytes()
    (ant / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (ant / "text.jpg").write_bytes(b"no picture at all")
    (ant / "empty.png").write_bytes(b"")
    kept = preprocess(config)
    table = rows(config)
    assert list(table) == [f"ant/{n}" for n in ("cut.jpg", "empty.png", "good1.png", "good2.jpg", "text.jpg")] + [
        "bee/good3.jpg",
        "bee/good4.png",
    ]
    for name, picture in table.items():
        assert (picture.class_name, picture.source) == (name.split("/")[0], name)
        assert picture.sha256 == sha256(tmp_path / "rawdata" / name)
        if "good" in name:
            assert (picture.status, picture.reason, picture.file) == (KEPT, "", f"{name}.png")
        else:
            assert (picture.status, picture.split, picture.file) == (SKIPPED, "", "")
    assert "truncated" in table["ant/cut.jpg"].reason
    assert "not a picture" in table["ant/text.jpg"].reason
    assert table["ant/empty.png"].reason == "the file is empty"
    for name in ("ant", "bee"):  # of two usable pictures, one on either side
        assert sorted(p.split for p in kept if p.class_name == name) == [TRAIN, VALIDATION]
    assert kept == [picture for picture in table.values() if picture.status == KEPT]
    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == ["ant", "2", "1", "1", "0", "3", "0"]
    assert said.splitlines()[2].split() == ["bee", "2", "1", "1", "0", "0", "0"]
    for name, picture in table.items():
        assert (f"skipped {(tmp_path / 'rawdata' / name).as_posix()}: {picture.reason}" in said) == ("good" not in name)


def test_pictures_are_stored_as_they_are_standardised(rawdata, settings_for):
    for changes in ({"height": 16, "width": 24}, {"height": 24, "width": 16, "color_channels": 1}):
        config = settings_for(PictureConfig, **changes)
        preprocess(config)
        stored = list(Path(config.data_path).rglob("*.png"))
        assert len(stored) == 20
        for path in stored:
            source = rawdata / path.parent.name / path.stem  # ant00.jpg.png was ant00.jpg
            expected = standard_image(source.read_bytes(), **decoding(config))
            with Image.open(path) as image:
                assert image.format == "PNG"
                assert np.array_equal(np.asarray(image).reshape(expected.shape), expected)


def test_files_of_one_name_but_several_kinds_are_all_kept(config, rawdata):
    write_picture(rawdata / "bee" / "twin.png", label=1, seed=50)
    jpeg = write_picture(rawdata / "bee" / "twin.jpg", label=1, seed=51)
    jpeg.with_name("misnamed.png").write_bytes(write_picture(rawdata / "spare.jpg", label=1, seed=52).read_bytes())
    preprocess(config)
    twins = [Path(config.data_path, "bee", name) for name in ("twin.png.png", "twin.jpg.png", "misnamed.png.png")]
    assert len({twin.read_bytes() for twin in twins}) == 3
    expected = standard_image(
        (rawdata / "spare.jpg").read_bytes(), height=16, width=16, color_channels=3, max_megapixels=1
    )
    assert np.array_equal(cv2.imread(str(twins[2]))[..., ::-1], expected)  # the content counts, not the ending


def test_hidden_files_and_what_systems_leave_behind_are_passed_over(config, rawdata):
    for name in (".DS_Store", ".hidden.jpg", "Thumbs.db", "thumbs.DB", "desktop.ini", ".git/a.jpg"):
        path = rawdata / "ant" / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(rawdata / "ant" / "ant00.jpg", path)
    (rawdata / ".cache").mkdir()  # no class either
    (rawdata / "readme.txt").write_text("mine")
    preprocess(config)
    assert len(rows(config)) == 20
    assert {picture.class_name for picture in rows(config).values()} == {"ant", "bee"}


def test_folders_inside_a_class_belong_to_it(config, rawdata):
    deep = write_picture(rawdata / "ant" / "garden" / "2018" / "ant00.jpg", label=0, seed=99)
    preprocess(config)
    picture = rows(config)["ant/garden/2018/ant00.jpg"]
    assert (picture.class_name, picture.source) == ("ant", "ant/garden/2018/ant00.jpg")
    assert picture.sha256 == sha256(deep)
    assert Path(config.data_path, "ant/garden/2018/ant00.jpg.png").exists()


def test_folders_nested_too_deep_are_named(config, rawdata):
    deep = rawdata / "ant"
    for depth in range(103):
        deep /= "d"
        deep.mkdir()
        if depth in (99, 102):
            shutil.copy(rawdata / "ant" / "ant00.jpg", deep / "deep.jpg")
    preprocess(config)
    table = rows(config)
    assert len(table) == 22
    assert table[f"ant/{'d/' * 100}deep.jpg"].status == KEPT
    assert table[f"ant/{'d/' * 100}d"].reason == "a folder that cannot be looked into, or is nested too deep"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_may_not_be_looked_into_is_named(config, rawdata):
    (rawdata / "ant" / "closed").mkdir(mode=0)
    preprocess(config)
    assert rows(config)["ant/closed"].reason == "a folder that cannot be looked into, or is nested too deep"


@not_on_windows
def test_what_is_no_regular_file_is_skipped_and_named(config, rawdata, capsys):
    os.mkfifo(rawdata / "ant" / "pipe.jpg")  # whoever reads it waits for ever
    (rawdata / "ant" / "nowhere.jpg").symlink_to("gone.jpg")
    (rawdata / "ant" / "loop").symlink_to(rawdata, target_is_directory=True)
    preprocess(config)
    table = rows(config)
    assert len(table) == 23
    assert table["ant/loop"].reason == "a link to a folder, which is not followed"
    assert (table["ant/pipe.jpg"].status, table["ant/pipe.jpg"].reason) == (SKIPPED, "not a regular file")
    assert (table["ant/nowhere.jpg"].status, table["ant/nowhere.jpg"].reason) == (SKIPPED, "No such file or directory")
    said = capsys.readouterr().out
    assert "pipe.jpg: not a regular file" in said and "nowhere.jpg: No such file" in said
    preprocess(config)
    assert "nothing has changed" in capsys.readouterr().out


@not_on_windows
@pytest.mark.parametrize("name", [b"latin\xe9.jpg", b'two\nlines,"quoted".jpg', b"return\r.jpg", b"x" * 251 + b".jpg"])
def test_a_file_may_have_any_name(name, config, rawdata, capsys):
    path = Path(os.fsdecode(os.fsencode(rawdata / "ant") + b"/" + name))
    shutil.copy(rawdata / "ant" / "ant00.jpg", path)
    preprocess(config)
    assert sum(picture.origin == path.as_posix() for picture in rows(config).values()) == 1
    capsys.readouterr()
    preprocess(config)
    assert "nothing has changed" in capsys.readouterr().out


# ---- running it again ----


def test_running_again_changes_nothing_and_says_so(config, rawdata, capsys):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    preprocess(config)
    assert "21 new, 0 changed, 0 gone" in capsys.readouterr().out
    made, manifest = outputs(config), contents(config.data_path)["manifest.csv"]
    assert len(made) == 20
    kept = preprocess(config)
    assert len(kept) == 20
    assert "20 pictures; nothing has changed" in capsys.readouterr().out
    assert (outputs(config), contents(config.data_path)["manifest.csv"]) == (made, manifest)


def test_only_what_changed_is_done_again(config, rawdata, capsys):
    write_picture(rawdata / "bee" / "size.bmp", label=1, seed=70)
    preprocess(config)
    before = outputs(config)
    capsys.readouterr()
    write_picture(rawdata / "ant" / "new.jpg", label=0, seed=77)
    write_picture(rawdata / "ant" / "ant01.jpg", label=0, seed=78)
    later(rawdata / "ant" / "ant01.jpg")
    write_picture(rawdata / "bee" / "size.bmp", label=1, seed=71)  # BMP files of one size are of one length
    later(rawdata / "bee" / "size.bmp")
    (rawdata / "ant" / "ant02.jpg").unlink()
    later(rawdata / "ant" / "ant03.jpg")  # only touched
    preprocess(config)
    assert "1 new, 2 changed, 1 gone" in capsys.readouterr().out
    after = outputs(config)
    assert after.keys() - before.keys() == {"new.jpg.png"}
    assert before.keys() - after.keys() == {"ant02.jpg.png"}
    redone = {name for name in after.keys() & before.keys() if after[name] != before[name]}
    assert redone == {"ant01.jpg.png", "size.bmp.png"}
    table = rows(config)
    assert "ant/ant02.jpg" not in table
    for name in ("ant/new.jpg", "ant/ant01.jpg", "ant/ant03.jpg", "bee/size.bmp"):
        assert table[name].sha256 == sha256(rawdata / name)


def test_touched_pictures_are_no_news(config, rawdata, capsys):
    preprocess(config)
    before = outputs(config)
    later(rawdata / "bee" / "bee00.png")
    capsys.readouterr()
    preprocess(config)
    assert "nothing has changed" in capsys.readouterr().out
    assert outputs(config) == before
    # Else it would be read again in every run to come.
    assert rows(config)["bee/bee00.png"].modified == (rawdata / "bee" / "bee00.png").stat().st_mtime_ns


def test_other_sizes_are_made_anew(settings_for, rawdata, capsys):
    preprocess(settings_for(PictureConfig))
    wide = settings_for(PictureConfig, width=32)
    capsys.readouterr()
    preprocess(wide)
    assert "0 new, 20 changed, 0 gone" in capsys.readouterr().out
    for path in Path(wide.data_path).rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (32, 16)


def test_a_picture_that_is_mended_is_taken_in_and_one_that_breaks_is_dropped(config, rawdata):
    path = rawdata / "ant" / "ant00.jpg"
    whole = path.read_bytes()
    path.write_bytes(b"broken")
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    path.write_bytes(whole)
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == KEPT
    path.write_bytes(b"broken")
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    assert "ant00.jpg.png" not in outputs(config)


def test_a_skipped_file_may_be_deleted(config, rawdata, capsys):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    preprocess(config)
    (rawdata / "ant" / "text.jpg").unlink()
    preprocess(config)
    assert "0 new, 0 changed, 1 gone" in capsys.readouterr().out
    assert len(rows(config)) == 20


def test_a_class_that_is_gone_leaves_no_folder(config, rawdata):
    for number in range(3):
        write_picture(rawdata / "cat" / "deep" / f"{number}.jpg", label=2, seed=number)
    preprocess(config)
    assert Path(config.data_path, "cat", "deep").is_dir()
    shutil.rmtree(rawdata / "cat")
    preprocess(config)
    assert sorted(entry.name for entry in Path(config.data_path).iterdir()) == [".lock", "ant", "bee", "manifest.csv"]


def test_a_stored_picture_that_was_lost_is_made_again(config, rawdata):
    preprocess(config)
    whole = contents(config.data_path)
    Path(config.data_path, "ant", "ant00.jpg.png").unlink()
    preprocess(config)
    assert contents(config.data_path) == whole


def test_rawdata_is_only_ever_read(config, rawdata):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    before = contents(rawdata), {path: path.stat().st_mtime_ns for path in rawdata.rglob("*")}
    preprocess(config)
    prepare(config)
    assert (contents(rawdata), {path: path.stat().st_mtime_ns for path in rawdata.rglob("*")}) == before


# ---- a run that is cut off ----


@pytest.mark.parametrize("pictures", [0, 1, 7, 19])
def test_a_half_made_folder_is_finished_as_if_nothing_had_happened(pictures, config, rawdata, monkeypatch):
    preprocess(config)
    clean = contents(config.data_path)
    shutil.rmtree(config.data_path)
    cut_off(config, monkeypatch, after=pictures)
    assert any(picture.status == PENDING for picture in rows(config).values())
    prepare(config)
    assert contents(config.data_path) == clean


def test_a_cut_off_change_is_finished_too(config, rawdata, monkeypatch):
    write_picture(rawdata / "ant" / "old.jpg", label=0, seed=50)
    preprocess(config)
    (rawdata / "ant" / "old.jpg").unlink()
    for number in range(5):
        write_picture(rawdata / "ant" / f"ant{number:02d}.jpg", label=0, seed=60 + number)
        later(rawdata / "ant" / f"ant{number:02d}.jpg")
    cut_off(config, monkeypatch, after=2)
    preprocess(config)
    finished = contents(config.data_path)
    shutil.rmtree(config.data_path)
    preprocess(config)
    assert finished == contents(config.data_path)


def test_a_half_made_folder_without_rawdata_is_refused(config, rawdata, monkeypatch):
    cut_off(config, monkeypatch, after=3)
    rawdata.rename(rawdata.with_name("elsewhere"))
    with pytest.raises(UserError, match="half made; bring back .*rawdata"):
        prepare(config)


def cut_off(config: PictureConfig, monkeypatch, *, after: int) -> None:
    """Lets a run die after it stored some pictures, as by Ctrl-C or a power cut."""
    stored, write = itertools.count(), preprocessing.write_atomically

    def write_some(path, data, **how):
        if next(stored) >= after:
            raise KeyboardInterrupt
        write(path, data, **how)

    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "write_atomically", write_some)
        with pytest.raises(KeyboardInterrupt):
            preprocess(config)


@not_on_windows
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may open every file")
def test_a_file_that_could_not_be_opened_is_tried_again(rawdata, config):
    (rawdata / "ant" / "ant03.jpg").chmod(0)
    assert len(preprocess(config)) == 19
    assert rows(config)["ant/ant03.jpg"].reason == "Permission denied"
    (rawdata / "ant" / "ant03.jpg").chmod(0o600)
    assert len(preprocess(config)) == 20


def test_a_picture_with_too_many_pixels_is_tried_again_when_more_are_allowed(rawdata, settings_for):
    write_picture(rawdata / "ant" / "huge.png", label=0, seed=99, size=(80, 60))
    few, more = (settings_for(PictureConfig, max_megapixels=most) for most in (0.004, 0.005))
    assert len(preprocess(few)) == 20
    assert "0.004" in rows(few)["ant/huge.png"].reason
    assert len(preprocess(more)) == 21
    assert len(preprocess(few)) == 21  # what has been made is kept


def test_a_picture_that_crashes_its_decoder_is_skipped_and_tried_again(rawdata, config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "_made", working.crash_on_ant03)
        assert len(preprocess(config)) == 19
    assert rows(config)["ant/ant03.jpg"].reason == "makes the decoder crash (signal 11)"
    assert len(preprocess(config)) == 20


def test_files_outside_the_class_folders_are_counted(rawdata, settings_for, capsys):
    (rawdata / "notes.txt").write_text("no class")
    (rawdata / ".hidden").write_text("not counted")
    preprocess(settings_for(PictureConfig))
    assert "rawdata: 1 files are in no class folder and are passed over" in capsys.readouterr().out


# ---- links ----


@not_on_windows
def test_a_link_to_itself_is_a_file_that_cannot_be_read(config, rawdata):
    loop = rawdata / "ant" / "loop.jpg"
    loop.symlink_to(loop)
    assert loop in list(visible_files(rawdata))
    preprocess(config)
    assert rows(config)["ant/loop.jpg"].reason == "a link that leads to itself"


@not_on_windows
def test_links_to_files_are_followed_inside_the_folder_and_nowhere_else(config, rawdata, tmp_path, capsys):
    outside = write_picture(tmp_path / "outside.jpg", label=0, seed=90)
    inside = write_picture(rawdata / ".originals" / "inside.jpg", label=0, seed=91)
    (rawdata / "ant" / "out.jpg").symlink_to(outside)
    (rawdata / "ant" / "up.jpg").symlink_to("../../outside.jpg")
    (rawdata / "ant" / "in.jpg").symlink_to(inside)
    (rawdata / "ant" / "via.jpg").symlink_to("out.jpg")
    preprocess(config)
    table = rows(config)
    assert table["ant/in.jpg"].status == KEPT
    for name in ("out", "up", "via"):
        assert table[f"ant/{name}.jpg"].status == SKIPPED
        assert table[f"ant/{name}.jpg"].reason == "a link that leads out of the folder"
    assert "ant/out.jpg: a link that leads out of the folder" in capsys.readouterr().out


@not_on_windows
def test_a_picture_that_becomes_a_link_out_of_the_folder_goes(config, rawdata, tmp_path):
    preprocess(config)
    path = rawdata / "ant" / "ant00.jpg"
    path.rename(tmp_path / "moved.jpg")
    path.symlink_to(tmp_path / "moved.jpg")  # of the same size and date
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    assert "ant00.jpg.png" not in outputs(config)


@not_on_windows
def test_rawdata_may_be_a_link_and_its_class_folders_may_not(config, rawdata, tmp_path):
    rawdata.rename(tmp_path / "elsewhere")
    rawdata.symlink_to(tmp_path / "elsewhere")
    assert len(preprocess(config)) == 20
    (tmp_path / "elsewhere" / "bee").rename(tmp_path / "bee")
    (rawdata / "bee").symlink_to(tmp_path / "bee")
    with pytest.raises(UserError, match="rawdata/bee: a link that leads out of the folder; move that folder here, or"):
        preprocess(config)
    (rawdata / "bee").unlink()
    (rawdata / "bee").symlink_to(rawdata)
    with pytest.raises(UserError, match="rawdata/bee: a link that leads out of the folder"):
        preprocess(config)
    (rawdata / "bee").unlink()
    (tmp_path / "bee").rename(rawdata / ".bee")
    (rawdata / "bee").symlink_to(".bee")
    assert len(preprocess(config)) == 20

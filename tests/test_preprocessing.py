"""Making `data/` from `rawdata/`: what is kept, what is skipped, what is done again, and what is refused."""

import hashlib
import io
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from config import PictureConfig
from pictures import data_folder
from pictures.decoding import load_image
from pictures.manifest import KEPT, SKIPPED, TRAIN, VALIDATION, read_manifest
from preprocessing import preprocess, training_pictures
from system.errors import UserError
from tests.helpers import jobs
from tests.helpers.files import contents
from tests.helpers.pictures import write_picture

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def config(settings_for) -> PictureConfig:
    return settings_for(PictureConfig)


def rows(config: PictureConfig) -> dict:
    """Returns the manifest by the names of the files below rawdata/."""
    pictures = read_manifest(Path(config.data_path, "manifest.csv"))
    table = {Path(picture.path).relative_to(config.raw_data).as_posix(): picture for picture in pictures}
    assert len(table) == len(pictures)
    return table


def outputs(config: PictureConfig) -> dict[str, tuple[int, int]]:
    """Returns what changes for every image that is written again, even with the same content."""
    found = list(Path(config.data_path).rglob("*.png"))
    assert found
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def later(path: Path, seconds: int = 10) -> None:
    """Makes a file look changed; the clocks of file systems are too coarse to rely on."""
    changed = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(changed, changed))


# ---- what is made ----


def test_preprocess_lists_every_file_in_the_manifest(config, tmp_path, capsys):
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
            assert (picture.status, picture.reason, picture.stored) == (KEPT, "", f"{name}.png")
        else:
            assert (picture.status, picture.split, picture.stored) == (SKIPPED, "", "")
    assert "truncated" in table["ant/cut.jpg"].reason
    assert "not a picture" in table["ant/text.jpg"].reason
    assert table["ant/empty.png"].reason == "the file is empty"
    for name in ("ant", "bee"):  # two usable pictures, one on each side
        assert sorted(p.split for p in kept if p.class_name == name) == [TRAIN, VALIDATION]
    assert kept == [picture for picture in table.values() if picture.status == KEPT]
    output = capsys.readouterr().out
    assert output.splitlines()[-2].endswith(" 4 pictures, 2 classes: ant 2, bee 2 (7 new)")
    assert output.splitlines()[-1].strip() == "2 to train, 2 to validate, 0 copies, 3 skipped"
    for name, picture in table.items():
        assert (f"skipped {(tmp_path / 'rawdata' / name).as_posix()}: {picture.reason}" in output) == (
            "good" not in name
        )


def test_preprocess_stores_what_load_image_returns(rawdata, settings_for):
    for changes in ({"height": 16, "width": 24}, {"height": 24, "width": 16, "color_channels": 1}):
        config = settings_for(PictureConfig, **changes)
        preprocess(config)
        stored = list(Path(config.data_path).rglob("*.png"))
        assert len(stored) == 20
        for path in stored:
            source = rawdata / path.parent.name / path.stem  # ant00.jpg.png comes from ant00.jpg
            expected = load_image(source.read_bytes(), config, max_pixels=config.max_pixels)
            with Image.open(path) as image:
                assert image.format == "PNG"
                assert np.array_equal(np.asarray(image).reshape(expected.shape), expected)


def test_preprocess_keeps_files_that_differ_in_their_suffix_only(config, rawdata):
    write_picture(rawdata / "bee" / "twin.png", label=1, seed=50)
    jpeg = write_picture(rawdata / "bee" / "twin.jpg", label=1, seed=51)
    jpeg.with_name("misnamed.png").write_bytes(write_picture(rawdata / "spare.jpg", label=1, seed=52).read_bytes())
    preprocess(config)
    twins = [Path(config.data_path, "bee", name) for name in ("twin.png.png", "twin.jpg.png", "misnamed.png.png")]
    assert len({twin.read_bytes() for twin in twins}) == 3
    expected = load_image((rawdata / "spare.jpg").read_bytes(), config, max_pixels=10**6)
    assert np.array_equal(cv2.imread(str(twins[2]))[..., ::-1], expected)  # the content decides, not the suffix


def test_preprocess_ignores_hidden_files_and_files_of_the_system(config, rawdata):
    for name in (".DS_Store", ".hidden.jpg", "Thumbs.db", "thumbs.DB", "desktop.ini", ".git/a.jpg"):
        path = rawdata / "ant" / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(rawdata / "ant" / "ant00.jpg", path)
    (rawdata / ".cache").mkdir()  # not a class either
    (rawdata / "readme.txt").write_text("mine")
    preprocess(config)
    assert len(rows(config)) == 20
    assert {picture.class_name for picture in rows(config).values()} == {"ant", "bee"}


def test_preprocess_takes_pictures_from_folders_inside_a_class(config, rawdata):
    deep = write_picture(rawdata / "ant" / "garden" / "2018" / "ant00.jpg", label=0, seed=99)
    preprocess(config)
    picture = rows(config)["ant/garden/2018/ant00.jpg"]
    assert (picture.class_name, picture.source) == ("ant", "ant/garden/2018/ant00.jpg")
    assert picture.sha256 == sha256(deep)
    assert Path(config.data_path, "ant/garden/2018/ant00.jpg.png").exists()


def test_preprocess_names_folders_that_are_nested_too_deep(config, rawdata):
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
    assert table[f"ant/{'d/' * 100}d"].reason == "is a folder that cannot be opened, or is nested too deep"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may open every folder")
def test_preprocess_names_a_folder_that_may_not_be_opened(config, rawdata):
    (rawdata / "ant" / "closed").mkdir(mode=0)
    preprocess(config)
    assert rows(config)["ant/closed"].reason == "is a folder that cannot be opened, or is nested too deep"


@not_on_windows
def test_preprocess_skips_and_names_what_is_not_a_regular_file(config, rawdata, capsys):
    os.mkfifo(rawdata / "ant" / "pipe.jpg")  # reading it would wait forever
    (rawdata / "ant" / "nowhere.jpg").symlink_to("gone.jpg")
    (rawdata / "ant" / "loop").symlink_to(rawdata, target_is_directory=True)
    preprocess(config)
    table = rows(config)
    assert len(table) == 23
    assert table["ant/loop"].reason == "is a link to a folder, which is not followed"
    assert (table["ant/pipe.jpg"].status, table["ant/pipe.jpg"].reason) == (SKIPPED, "not a regular file")
    assert (table["ant/nowhere.jpg"].status, table["ant/nowhere.jpg"].reason) == (SKIPPED, "No such file or directory")
    output = capsys.readouterr().out
    assert "pipe.jpg: not a regular file" in output and "nowhere.jpg: No such file" in output
    preprocess(config)
    assert "(unchanged)" in capsys.readouterr().out


@not_on_windows
@pytest.mark.parametrize("name", [b"latin\xe9.jpg", b'two\nlines,"quoted".jpg', b"return\r.jpg", b"x" * 251 + b".jpg"])
def test_preprocess_accepts_any_file_name(name, config, rawdata, capsys):
    path = Path(os.fsdecode(os.fsencode(rawdata / "ant") + b"/" + name))
    shutil.copy(rawdata / "ant" / "ant00.jpg", path)
    preprocess(config)
    assert sum(picture.path == path.as_posix() for picture in rows(config).values()) == 1
    capsys.readouterr()
    preprocess(config)
    assert "(unchanged)" in capsys.readouterr().out


def test_preprocess_counts_files_outside_the_class_folders(rawdata, settings_for, capsys):
    (rawdata / "notes.txt").write_text("not a class")
    (rawdata / ".hidden").write_text("not counted")
    preprocess(settings_for(PictureConfig))
    assert "rawdata: ignoring 1 file that is not in a class folder" in capsys.readouterr().out


# ---- running it again ----


def test_preprocess_again_changes_nothing_and_says_so(config, rawdata, capsys):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    preprocess(config)
    assert "(21 new)" in capsys.readouterr().out
    made, manifest = outputs(config), contents(config.data_path)["manifest.csv"]
    assert len(made) == 20
    kept = preprocess(config)
    assert len(kept) == 20
    assert "20 pictures, 2 classes: ant 12, bee 8 (unchanged)" in capsys.readouterr().out
    assert (outputs(config), contents(config.data_path)["manifest.csv"]) == (made, manifest)


def test_preprocess_again_processes_only_what_has_changed(config, rawdata, capsys):
    write_picture(rawdata / "bee" / "size.bmp", label=1, seed=70)
    preprocess(config)
    before = outputs(config)
    capsys.readouterr()
    write_picture(rawdata / "ant" / "new.jpg", label=0, seed=77)
    write_picture(rawdata / "ant" / "ant01.jpg", label=0, seed=78)
    later(rawdata / "ant" / "ant01.jpg")
    write_picture(rawdata / "bee" / "size.bmp", label=1, seed=71)  # the new file has the same length
    later(rawdata / "bee" / "size.bmp")
    (rawdata / "ant" / "ant02.jpg").unlink()
    later(rawdata / "ant" / "ant03.jpg")  # only touched
    preprocess(config)
    assert "(1 new, 2 changed, 1 removed)" in capsys.readouterr().out
    after = outputs(config)
    assert after.keys() - before.keys() == {"new.jpg.png"}
    assert before.keys() - after.keys() == {"ant02.jpg.png"}
    redone = {name for name in after.keys() & before.keys() if after[name] != before[name]}
    assert redone == {"ant01.jpg.png", "size.bmp.png"}
    table = rows(config)
    assert "ant/ant02.jpg" not in table
    for name in ("ant/new.jpg", "ant/ant01.jpg", "ant/ant03.jpg", "bee/size.bmp"):
        assert table[name].sha256 == sha256(rawdata / name)


def test_preprocess_again_does_not_report_touched_pictures(config, rawdata, capsys):
    preprocess(config)
    before = outputs(config)
    later(rawdata / "bee" / "bee00.png")
    capsys.readouterr()
    preprocess(config)
    assert "(unchanged)" in capsys.readouterr().out
    assert outputs(config) == before


def test_preprocess_remarks_on_unusual_pictures_and_forgets_it(config, rawdata, capsys):
    for number in range(4):
        write_picture(rawdata / "ant" / f"icon{number}.png", label=0, seed=number, size=(8, 8))
    write_picture(rawdata / "bee" / "banner.png", label=0, seed=50, size=(160, 30))
    preprocess(config)
    output = capsys.readouterr().out.splitlines()
    icons = ", ".join(str(rawdata / "ant" / f"icon{number}.png (8 × 8)") for number in range(3))
    where = "(column remarks of manifest.csv)"
    assert f"4 pictures: enlarged 2 times or more, to 16 × 16: {icons} and 1 more {where}" in output
    assert f"{rawdata / 'bee' / 'banner.png'} (160 × 30): stretched out of proportion, to 16 × 16" in output
    assert {name: picture.remarks for name, picture in rows(config).items() if picture.remarks} == {
        **{f"ant/icon{number}.png": "small" for number in range(4)},
        "bee/banner.png": "long",
    }
    write_picture(rawdata / "bee" / "banner.png", label=0, seed=50)
    preprocess(config)
    assert "stretched" not in capsys.readouterr().out
    assert rows(config)["bee/banner.png"].remarks == ""


def test_preprocess_makes_images_of_another_size_again(settings_for, rawdata, capsys):
    preprocess(settings_for(PictureConfig))
    wide = settings_for(PictureConfig, width=32)
    capsys.readouterr()
    preprocess(wide)
    assert "(20 changed)" in capsys.readouterr().out
    sizes = [Image.open(io.BytesIO(data)).size for name, data in contents(wide.data_path).items() if ".png" in name]
    assert sizes == [(32, 16)] * 20


def test_preprocess_keeps_a_picture_only_while_it_is_readable(config, rawdata):
    path = rawdata / "ant" / "ant00.jpg"
    intact = path.read_bytes()
    path.write_bytes(b"broken")
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    path.write_bytes(intact)
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == KEPT
    path.write_bytes(b"broken")
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    assert "ant00.jpg.png" not in outputs(config)


def test_preprocess_forgets_a_skipped_file_that_was_deleted(config, rawdata, capsys):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    preprocess(config)
    (rawdata / "ant" / "text.jpg").unlink()
    preprocess(config)
    assert "(1 removed)" in capsys.readouterr().out
    assert len(rows(config)) == 20


def test_preprocess_removes_the_folders_of_a_class_that_was_deleted(config, rawdata):
    for number in range(3):
        write_picture(rawdata / "cat" / "deep" / f"{number}.jpg", label=2, seed=number)
    preprocess(config)
    assert Path(config.data_path, "cat", "deep").is_dir()
    shutil.rmtree(rawdata / "cat")
    preprocess(config)
    assert sorted(entry.name for entry in Path(config.data_path).iterdir()) == [".lock", "ant", "bee", "manifest.csv"]


def test_preprocess_makes_an_image_again_that_was_deleted_from_data(config, rawdata):
    preprocess(config)
    whole = contents(config.data_path)
    Path(config.data_path, "ant", "ant00.jpg.png").unlink()
    preprocess(config)
    assert contents(config.data_path) == whole


def test_preprocess_never_changes_rawdata(config, rawdata):
    (rawdata / "ant" / "text.jpg").write_text("no picture")
    before = contents(rawdata), {path: path.stat().st_mtime_ns for path in rawdata.rglob("*")}
    preprocess(config)
    training_pictures(config)
    assert (contents(rawdata), {path: path.stat().st_mtime_ns for path in rawdata.rglob("*")}) == before


# ---- progress, disk space, pictures that are tried again ----


def test_preprocess_tells_its_progress_in_a_log(config, rawdata, capsys, monkeypatch):
    monkeypatch.setattr("system.progress._SECONDS_BETWEEN_LINES", 0)
    preprocess(config)
    assert "\npreprocessing: 20 of 20, " in capsys.readouterr().err
    preprocess(config)
    assert "comparing: 20 of 20, " in capsys.readouterr().err  # with those of the run before


def test_preprocess_refuses_to_begin_what_does_not_fit_on_the_disk(settings_for, rawdata, monkeypatch):
    def allow(free: int) -> None:
        monkeypatch.setattr("system.resources.shutil.disk_usage", lambda _: SimpleNamespace(free=free))

    allow(20 * 16 * 16 * 3 - 1)
    with pytest.raises(UserError, match="data_path': needs .* kB more of disk, .* --height and --width$"):
        preprocess(settings_for(PictureConfig))
    allow(20 * 16 * 16 * 3)
    pictures = preprocess(settings_for(PictureConfig))
    replaced = sum(Path(settings_for(PictureConfig).data_path, picture.stored).stat().st_size for picture in pictures)
    allow(20 * 20 * 16 * 3 - replaced - 1)
    with pytest.raises(UserError, match="more of disk"):
        preprocess(settings_for(PictureConfig, height=20))
    allow(20 * 20 * 16 * 3 - replaced)
    assert len(preprocess(settings_for(PictureConfig, height=20))) == 20


@not_on_windows
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may open every file")
def test_preprocess_tries_a_file_again_that_could_not_be_opened(rawdata, config):
    (rawdata / "ant" / "ant03.jpg").chmod(0)
    assert len(preprocess(config)) == 19
    assert rows(config)["ant/ant03.jpg"].reason == "Permission denied"
    (rawdata / "ant" / "ant03.jpg").chmod(0o600)
    assert len(preprocess(config)) == 20


def test_preprocess_tries_a_large_picture_again_if_more_is_allowed(rawdata, settings_for):
    write_picture(rawdata / "ant" / "huge.png", label=0, seed=99, size=(80, 60))
    few, more = (settings_for(PictureConfig, max_megapixels=limit) for limit in (0.004, 0.005))
    assert len(preprocess(few)) == 20
    assert "0.004" in rows(few)["ant/huge.png"].reason
    assert len(preprocess(more)) == 21
    assert len(preprocess(few)) == 20  # also if its image exists
    assert not Path(few.data_path, "ant", "huge.png.png").exists()


def test_preprocess_skips_a_picture_that_crashes_and_tries_it_again(rawdata, config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data_folder, "standardize", jobs.standardize_or_crash)
        assert len(preprocess(config)) == 19
    assert rows(config)["ant/ant03.jpg"].reason == "crashed its process (signal 11)"
    assert len(preprocess(config)) == 20


# ---- what is refused ----


def break_all_but(count: int, folder: Path) -> None:
    for path in sorted(folder.iterdir())[count:]:
        path.write_bytes(b"no picture")


MISTAKES = {  # what a user did, and parts of the message
    "no folder": (shutil.rmtree, ["rawdata: no such folder", "create it"]),
    "no class": (
        lambda raw: [shutil.rmtree(raw / name) for name in ("ant", "bee")],
        ["found none", "one sub-folder per class"],
    ),
    "one class": (
        lambda raw: shutil.rmtree(raw / "bee"),
        ["at least two classes", "found ant", "one sub-folder per class"],
    ),
    "no usable picture": (lambda raw: break_all_but(0, raw / "bee"), ["class bee: no usable pictures", "8 skipped"]),
    "one usable picture": (lambda raw: break_all_but(1, raw / "bee"), ["class bee: 1 usable picture ", "add pictures"]),
    "the parts of a split": (
        lambda raw: [(raw / "ant").rename(raw / "train"), (raw / "bee").rename(raw / "Test")],
        ["train and Test are parts of a data set and not classes", "put one of them into class folders"],
    ),
    "an emptied class": (
        lambda raw: [path.unlink() for path in (raw / "bee").iterdir()],
        ["at least two classes", "found ant (bee: no pictures)"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_preprocessing_reports_a_mistake_and_its_remedy_in_one_line(mistake, rawdata, script):
    make, parts = MISTAKES[mistake]
    make(rawdata)
    done = script("preprocessing.py", "--height", 16, "--width", 16)
    assert done.returncode == 2
    assert done.stderr.startswith("preprocessing.py: ") and done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in parts), done.stderr


def test_preprocess_needs_two_usable_pictures_per_class(config, rawdata):
    break_all_but(2, rawdata / "ant")
    break_all_but(2, rawdata / "bee")
    assert len(preprocess(config)) == 4


def test_preprocessing_prints_nothing_on_stderr(rawdata, script, tmp_path):
    # Pillow warns of a broken EXIF block, which does not affect the pixels.
    jpeg = (rawdata / "ant" / "ant00.jpg").read_bytes()
    block = b"\xff\xe1\x00\x10Exif\x00\x00II*\x00\xff\xff\xff\xff"
    (rawdata / "ant" / "ant00.jpg").write_bytes(jpeg[:2] + block + jpeg[2:])
    done = script("preprocessing.py", "--height", 20, "--width", 24)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data/      20 pictures, 2 classes: ant 12, bee 8 (20 new)" in done.stdout
    assert len(list((tmp_path / "data").rglob("*.png"))) == 20


# ---- links ----


@not_on_windows
def test_preprocess_skips_a_link_to_itself(config, rawdata):
    loop = rawdata / "ant" / "loop.jpg"
    loop.symlink_to(loop)
    preprocess(config)
    assert rows(config)["ant/loop.jpg"].reason == "is a link to itself"


@not_on_windows
def test_preprocess_follows_links_inside_the_folder_only(config, rawdata, tmp_path, capsys):
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
        assert table[f"ant/{name}.jpg"].reason == "is a link to a place outside the folder"
    assert "ant/out.jpg: is a link to a place outside the folder" in capsys.readouterr().out


@not_on_windows
def test_preprocess_drops_a_picture_that_becomes_a_link_outside(config, rawdata, tmp_path):
    preprocess(config)
    path = rawdata / "ant" / "ant00.jpg"
    path.rename(tmp_path / "moved.jpg")
    path.symlink_to(tmp_path / "moved.jpg")  # of the same size and date
    preprocess(config)
    assert rows(config)["ant/ant00.jpg"].status == SKIPPED
    assert "ant00.jpg.png" not in outputs(config)


@not_on_windows
def test_preprocess_follows_class_folders_that_are_links(config, rawdata, tmp_path):
    rawdata.rename(tmp_path / "elsewhere")
    rawdata.symlink_to(tmp_path / "elsewhere")
    assert len(preprocess(config)) == 20
    (tmp_path / "elsewhere" / "bee").rename(tmp_path / "bee")
    (rawdata / "bee").symlink_to(tmp_path / "bee")
    assert len(preprocess(config)) == 20
    (tmp_path / "bee" / "out.png").symlink_to(rawdata / "ant" / "ant00.jpg")
    (tmp_path / "bee" / "in.png").symlink_to("bee00.png")
    preprocess(config)
    assert rows(config)["bee/out.png"].reason == "is a link to a place outside the folder"
    assert rows(config)["bee/in.png"].reason != "is a link to a place outside the folder"
    (rawdata / "bee").unlink()
    (rawdata / "bee").symlink_to(rawdata)
    with pytest.raises(UserError, match="rawdata/bee: is a link to a folder that contains it; remove the link$"):
        preprocess(config)

"""New pictures in a watched folder."""

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import watchfiles

from config import ImageConfig
from pictures.folders import try_read_picture
from pictures.watching import watch_pictures
from system.errors import UserError
from tests.helpers.mutations import file_of, scene
from tests.helpers.pictures import write_picture

CONFIG = ImageConfig(height=16, width=16)
QUIET, PATIENCE = 0.1, 0.3  # seconds


class Reader:
    """Reads files as predict.py does, but in this process. `events` have the names of files, and are set once read."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.was_read = threading.Event()

    def __call__(self, paths):
        for item in paths.items():
            yield try_read_picture(item, config=CONFIG, max_pixels=10**6)
            self.names.append(item[0].name)
            self.was_read.set()


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


@pytest.fixture
def watch(folder):
    """Returns a function that starts to watch the folder; what it started is ended after the test."""
    started = []

    def start(path=folder, *, read=None, patience=PATIENCE):
        started.append(watch_pictures(path, read or Reader(), quiet_seconds=QUIET, patience=patience))
        return started[-1]

    yield start
    for arrivals in started:
        arrivals.close()


def take(arrivals, count: int) -> dict[Path, str]:
    """Returns the next files, each with the reason why it cannot be read, or ""."""
    taken: list[tuple[Path, str]] = []
    while len(taken) < count:
        taken += [(path, picture if isinstance(picture, str) else "") for path, picture in next(arrivals)]
    assert len(taken) == len(dict(taken)) == count, taken
    return dict(taken)


def test_watch_pictures_yields_new_files_at_any_depth(folder, watch):
    write_picture(folder / "old.png", label=0, seed=1)
    arrivals = watch()
    write_picture(folder / "new.png", label=0, seed=2)
    write_picture(folder / "a" / "b" / "deep.jpg", label=0, seed=3)
    assert take(arrivals, 2) == {folder / "new.png": "", folder / "a" / "b" / "deep.jpg": ""}


def test_watch_pictures_yields_images_as_for_any_picture(folder, watch):
    arrivals = watch()
    path = write_picture(folder / "new.png", label=0, seed=2)
    ((arrived, picture),) = next(arrivals)
    assert arrived == path
    assert (picture.image == try_read_picture((path, None), config=CONFIG, max_pixels=10**6).image).all()


def test_watch_pictures_finds_what_is_in_a_folder_that_is_moved_or_copied(folder, watch, tmp_path):
    write_picture(tmp_path / "moved" / "sub" / "one.png", label=0, seed=1)
    write_picture(tmp_path / "copied" / "sub" / "two.png", label=0, seed=2)
    arrivals = watch()
    (tmp_path / "moved").rename(folder / "moved")
    shutil.copytree(tmp_path / "copied", folder / "copied")
    names = {path.relative_to(folder).as_posix() for path in take(arrivals, 2)}
    assert names == {"moved/sub/one.png", "copied/sub/two.png"}


def test_watch_pictures_ignores_hidden_files_and_those_of_systems(folder, watch):
    arrivals = watch()
    for name in (".hidden.png", ".hidden/a.png", "sub/.a.png", "@eaDir/a.png", "Thumbs.db", "last.png"):
        write_picture(folder / name, label=0, seed=1) if name != "Thumbs.db" else (folder / name).write_bytes(b"x")
    assert take(arrivals, 1) == {folder / "last.png": ""}


def test_watch_pictures_waits_for_a_file_that_is_copied_slowly(folder, watch):
    data, reader = file_of(scene()), Reader()
    arrivals = watch(read=reader, patience=60)
    path = folder / "slow.png"

    def write_rest():
        assert reader.was_read.wait(10)
        with path.open("ab") as file:
            file.write(data[1000:])

    path.write_bytes(data[:1000])
    thread = threading.Thread(target=write_rest)
    thread.start()
    assert take(arrivals, 1) == {path: ""}
    thread.join()
    assert reader.names == ["slow.png"] * 2
    other = write_picture(folder / "other.png", label=0, seed=1)
    assert take(arrivals, 1) == {other: ""}


def test_watch_pictures_drops_what_was_read_while_it_changed(folder, watch):
    arrivals, path, images = None, folder / "new.png", []

    def read(paths):
        (item,) = paths.items()
        images.append(try_read_picture(item, config=CONFIG, max_pixels=10**6))
        if len(images) == 1:
            path.write_bytes(file_of(255 - scene()))
        yield images[-1]

    arrivals = watch(read=read)
    path.write_bytes(file_of(scene()))
    ((_, picture),) = next(arrivals)
    assert len(images) == 2
    assert picture is images[1]


def test_watch_pictures_yields_a_file_again_that_was_replaced(folder, watch):
    old = write_picture(folder / "old.png", label=0, seed=1)
    arrivals = watch()
    path = write_picture(folder / "new.png", label=0, seed=2)
    assert take(arrivals, 1) == {path: ""}
    path.chmod(0o600)  # changes no content
    old.chmod(0o600)
    write_picture(folder / "other.png", label=0, seed=3)
    assert take(arrivals, 1) == {folder / "other.png": ""}
    write_picture(path, label=1, seed=4, size=(60, 60))
    os.replace(shutil.copy(path, folder.parent / "elsewhere.png"), old)  # noqa: PTH105
    assert take(arrivals, 2) == {path: "", old: ""}


def test_watch_pictures_yields_a_file_again_that_was_deleted_and_returns(folder, watch):
    path = write_picture(folder / "old.png", label=0, seed=1)
    kept = shutil.copy2(path, folder.parent / "kept.png")
    arrivals = watch()
    path.unlink()
    other = write_picture(folder / "other.png", label=0, seed=2)
    assert take(arrivals, 1) == {other: ""}
    shutil.copy2(kept, path)
    assert take(arrivals, 1) == {path: ""}


def test_watch_pictures_reports_what_stays_unreadable(folder, watch):
    arrivals = watch()
    (folder / "bad.png").write_bytes(file_of(scene())[:1000])
    (folder / "notes.txt").write_text("some text")
    reasons = take(arrivals, 2)
    assert "truncated" in reasons[folder / "bad.png"]
    assert reasons[folder / "notes.txt"] == "is text, not a picture"
    (folder / "bad.png").write_bytes(file_of(scene()))
    assert take(arrivals, 1) == {folder / "bad.png": ""}


def test_watch_pictures_forgets_a_file_that_is_gone_before_it_is_read(folder, watch):
    arrivals = watch()
    (folder / "short.png").write_bytes(b"x")
    (folder / "short.png").unlink()
    other = write_picture(folder / "other.png", label=0, seed=1)
    assert take(arrivals, 1) == {other: ""}


def test_watch_pictures_yields_many_files_a_few_at_a_time(folder, watch):
    arrivals = watch()
    data = file_of(scene())
    for number in range(150):
        (folder / f"{number}.png").write_bytes(data)
    counts = []
    while sum(counts) < 150:
        counts.append(len(next(arrivals)))
    assert sum(counts) == 150
    assert max(counts) == 64


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right that users do not have")
def test_watch_pictures_treats_links_as_those_of_any_folder(folder, watch, tmp_path):
    outside = write_picture(tmp_path / "outside" / "out.png", label=0, seed=1)
    inside = write_picture(folder / "in.png", label=0, seed=1)
    arrivals = watch()
    (folder / "link_in.png").symlink_to(inside)
    (folder / "link_out.png").symlink_to(outside)
    (folder / "link_folder").symlink_to(outside.parent)
    assert take(arrivals, 3) == {
        folder / "link_in.png": "",
        folder / "link_out.png": "is a link to a place outside the folder",
        folder / "link_folder": "is a link to a folder, which is not followed",
    }
    write_picture(outside.parent / "later.png", label=0, seed=2)
    last = write_picture(folder / "last.png", label=0, seed=3)
    assert take(arrivals, 1) == {last: ""}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right that users do not have")
def test_watch_pictures_names_files_as_the_folder_was_named(folder, watch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(folder)
    for name in ("watched", "link", "link/../watched"):
        arrivals = watch(Path(name))
        write_picture(folder / f"{len(name)}.png", label=0, seed=1)
        assert take(arrivals, 1) == {Path(name, f"{len(name)}.png"): ""}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no names that are not UTF-8")
def test_watch_pictures_goes_on_after_a_name_that_is_not_utf_8(folder, watch):
    deep = write_picture(folder / "deep" / "old.png", label=0, seed=1)
    arrivals = watch()
    strange = folder / os.fsdecode(b"\xff.png")
    strange.write_bytes(deep.read_bytes())
    assert take(arrivals, 1) == {strange: ""}
    later = write_picture(folder / "deep" / "later.png", label=0, seed=2)
    assert take(arrivals, 1) == {later: ""}


def test_watch_pictures_looks_again_and_again_where_it_has_to(folder, watch, monkeypatch):
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    monkeypatch.setenv("WATCHFILES_POLL_DELAY_MS", "30")
    arrivals = watch()
    path = write_picture(folder / "new.png", label=0, seed=1)
    assert take(arrivals, 1) == {path: ""}


def test_watch_pictures_says_that_there_is_no_such_folder(folder, watch, tmp_path):
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(UserError, match=f"{name}: there is no such folder to watch; check the name"):
            watch(tmp_path / name)


@pytest.mark.parametrize("comes_back", [False, True])
def test_watch_pictures_says_that_the_folder_is_gone(folder, watch, comes_back):
    arrivals = watch()
    folder.rename(folder.parent / "elsewhere")
    if comes_back:
        folder.mkdir()
    with pytest.raises(UserError, match="watched: the folder is gone, so it is not watched any more"):
        next(arrivals)


def test_watch_pictures_says_why_it_cannot_watch(watch, monkeypatch):
    def fail(*paths, ignore_permission_denied, **options):
        assert ignore_permission_denied  # one locked folder below is no reason
        raise OSError('OS file watch limit reached. about ["/a"]')
        yield

    monkeypatch.setattr(watchfiles, "watch", fail)
    remedy = "try it with the environment variable WATCHFILES_FORCE_POLLING=true"
    with pytest.raises(UserError, match=f"watched: cannot be watched: OS file watch limit reached.*; {remedy}"):
        watch()


def test_watch_pictures_ends_with_ctrl_c(watch, monkeypatch):
    def interrupted(*paths, **options):
        yield set()
        raise KeyboardInterrupt

    monkeypatch.setattr(watchfiles, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(watch())

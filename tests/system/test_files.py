"""Writing files completely or not at all, flushing them, and locking folders."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from system import files
from system.errors import UserError
from system.files import (
    create_atomically,
    fsync_all,
    locked,
    new_folder,
    remove_partial_files,
    remove_unfinished_files,
    reserved,
    write_atomically,
)
from tests.helpers.files import contents
from tests.helpers.processes import running, with_modules

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find the file of a handle")


# ---- writing ----


def test_write_atomically_creates_the_folders_above_a_file(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomically(path, b"\x00one\r\n")
    assert path.read_bytes() == b"\x00one\r\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]  # no temporary file is left


def test_write_atomically_replaces_a_file_and_never_rewrites_it(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    inode = path.stat().st_ino
    write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert path.stat().st_ino != inode  # a process that has the old file open still reads all of it


def test_write_atomically_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    (tmp_path / ".c.bin.part").mkdir()  # in the place of the temporary file
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_write_atomically_names_the_final_file_in_an_error(tmp_path, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_fsync", full)
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "c.bin", b"new")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "c.bin"), None)


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_write_atomically_interrupted_keeps_only_the_old_file(tmp_path, error, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def interrupt(temporary: Path) -> None:
        assert temporary.read_bytes() == b"new"
        raise error

    monkeypatch.setattr(files, "_fsync", interrupt)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_hides_a_file_until_it_is_complete(tmp_path, monkeypatch):
    path, flushed = tmp_path / "a.json", []

    def record(what: Path) -> None:
        if what != tmp_path:
            assert what.name.startswith(".") and what.parent == tmp_path
            assert not path.exists()
        flushed.append(what)

    monkeypatch.setattr(files, "_fsync", record)
    write_atomically(path, b"new")
    assert len(flushed) == 2
    assert path.read_bytes() == b"new"


def test_write_atomically_replaces_the_partial_file_of_a_crash(tmp_path):
    (tmp_path / ".c.bin.part").write_bytes(b"a much longer partial file")
    write_atomically(tmp_path / "c.bin", b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("c.bin", b"new")]


def test_write_atomically_does_not_follow_a_link_at_the_temporary_name(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / ".a.json.part").symlink_to(precious)
    write_atomically(tmp_path / "a.json", b"new")
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert not (tmp_path / "a.json").is_symlink()


# ---- flushing ----


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, str]]:
    """The files and folders that are flushed and renamed, in order."""
    recorded = []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(handle):
        recorded.append(("fsync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def recording_replace(self, target):
        recorded.append(("rename", str(self)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    return recorded


@only_linux
def test_write_atomically_flushes_the_file_then_renames_then_the_folder(tmp_path, calls):
    write_atomically(tmp_path / "a.json", b"1")
    temporary = str(tmp_path / ".a.json.part")
    assert calls == [("fsync", temporary), ("rename", temporary), ("fsync", str(tmp_path))]


@only_linux
def test_write_atomically_flushes_the_folders_that_it_makes(tmp_path, calls):
    write_atomically(tmp_path / "new" / "deep" / "a.json", b"1")
    assert [path for call, path in calls if call == "fsync"] == [
        str(tmp_path / "new"),  # in which deep/ was made
        str(tmp_path),
        str(tmp_path / "new" / "deep" / ".a.json.part"),
        str(tmp_path / "new" / "deep"),
    ]


@pytest.fixture(params=[True, False], ids=["hard links", "none"])
def hard_links(request, monkeypatch):
    """A file system with and without hard links."""

    def refuse(path, target):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), os.fspath(target), None, os.fspath(path))

    if not request.param:
        monkeypatch.setattr(Path, "hardlink_to", refuse)


def test_create_atomically_writes_a_new_file(tmp_path, hard_links):
    create_atomically(tmp_path / "a", [b"on", b"e"])
    assert contents(tmp_path) == {"a": b"one"}
    assert (tmp_path / "a").stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_create_atomically_replaces_nothing(tmp_path, hard_links, kind):
    path = tmp_path / "a"
    make = {"file": path.touch, "folder": path.mkdir, "broken link": lambda: path.symlink_to("nowhere")}
    make[kind]()
    before = os.lstat(path)
    with pytest.raises(FileExistsError):
        create_atomically(path, [b"one"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert os.lstat(path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_create_atomically_interrupted_leaves_nothing(tmp_path, error):
    def chunks():
        yield b"half"
        raise error

    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OSError) as raised:
        create_atomically(tmp_path / "a", chunks())
    assert not list(tmp_path.iterdir())
    if error is not KeyboardInterrupt:
        assert raised.value.filename == str(tmp_path / "a")


def test_create_atomically_does_not_follow_a_link_at_the_temporary_name(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / f".{os.getpid()}.part").symlink_to("mine")
    create_atomically(tmp_path / "a", [b"one"])
    assert contents(tmp_path) == {"a": b"one", "mine": b"mine"}


@only_linux
def test_fsync_all_is_one_sync_on_linux_and_flushes_each_elsewhere(tmp_path, calls, monkeypatch):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        write_atomically(path, b"1", fsync=False)
    assert [call for call, _ in calls] == ["rename", "rename"]
    monkeypatch.setattr(os, "sync", lambda: calls.append(("sync", "all")))
    fsync_all(paths)
    assert calls[2:] == [("sync", "all")]
    monkeypatch.setattr(files.sys, "platform", "darwin")
    fsync_all(paths)
    assert calls[3:] == [("fsync", str(path)) for path in [*paths, tmp_path]]


def test_reserved_creates_a_file_that_stays_if_it_is_written(tmp_path):
    path = tmp_path / "deep" / "all.csv"
    with reserved(path):
        assert path.read_bytes() == b""
        write_atomically(path, b"content")
        remove_unfinished_files()
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, None])
def test_reserved_deletes_what_was_not_written(error, tmp_path):
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "new" / "deep" / "all.csv", tmp_path / "there" / "all.csv"):
        with contextlib.suppress(error or ()), reserved(path):
            if error:
                raise error
        assert sorted(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_reserved_deletes_what_could_not_be_written(tmp_path, monkeypatch):
    def full(_path, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, reserved(tmp_path / "all.csv"):
        patch.setattr(files, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(tmp_path / "all.csv", b"content")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["there", "there/all.csv"])
def test_reserved_leaves_alone_what_exists(name, tmp_path):
    (tmp_path / "there").write_bytes(b"")
    with pytest.raises(OSError), reserved(tmp_path / name):
        raise AssertionError("the work began")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_new_folder_gets_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "out"
    with new_folder(path) as part:
        (part / "file").write_bytes(b"content")
        assert part.parent == path.parent
        assert part.name.startswith(".")
        assert not path.exists()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "deep", path, path / "file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_new_folder_leaves_nothing_after_an_error(error, tmp_path):
    with pytest.raises(error), new_folder(tmp_path / "deep" / "out") as part:
        (part / "inner").mkdir()
        (part / "inner" / "file").write_bytes(b"content")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_new_folder_is_deleted_if_the_process_ends_at_once(tmp_path):
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out") as part:
        (part / "file").write_bytes(b"content")
        remove_unfinished_files()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_new_folder_leaves_alone_what_exists(kind, tmp_path):
    path = tmp_path / "out"
    {"file": path.touch, "folder": path.mkdir, "broken link": lambda: path.symlink_to("nowhere")}[kind]()
    with pytest.raises(FileExistsError, match="out"), new_folder(path):
        raise AssertionError("the work began")
    assert list(tmp_path.iterdir()) == [path]


def test_new_folder_names_a_file_as_it_would_have_been_named(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, new_folder(tmp_path / "out") as part:
        raise OSError(errno.ENOSPC, "No space left on device", str(part / "inner" / "file"))
    assert caught.value.filename == str(tmp_path / "out" / "inner" / "file")


def test_remove_unfinished_files_deletes_what_is_not_complete(tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"old")

    def ended(_path):
        remove_unfinished_files()  # as if a signal came now, and the process ended
        found.extend(path.name for path in tmp_path.iterdir())
        raise OSError

    found: list[str] = []
    with reserved(tmp_path / "all.csv"), pytest.raises(OSError):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "old"]
        monkeypatch.setattr(files, "_fsync", ended)
        write_atomically(tmp_path / "old", b"new")
    assert found == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_write_atomically_accepts_only_folders_that_cannot_be_flushed(tmp_path, monkeypatch, what, number):
    fsync = os.fsync

    def fail(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode) == (what == "folder"):
            raise OSError(number, "no")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    if what == "folder" and number != errno.EIO:  # such as network drives
        write_atomically(tmp_path / "a.json", b"1")
        assert (tmp_path / "a.json").read_bytes() == b"1"
    else:
        with pytest.raises(OSError) as caught:
            write_atomically(tmp_path / "a.json", b"1")
        assert caught.value.errno == number


def test_write_atomically_accepts_a_folder_that_is_made_meanwhile(tmp_path, monkeypatch):
    mkdir, path = Path.mkdir, tmp_path / "new" / "a.json"

    def slow(self, *arguments, **options):
        mkdir(path.parent, exist_ok=True)
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", slow)
    write_atomically(path, b"1")
    assert path.read_bytes() == b"1"


def test_remove_partial_files_ignores_what_is_deleted_meanwhile(tmp_path):
    (tmp_path / ".a.png.part").touch()
    remove_partial_files(tmp_path, is_ours=lambda name: (tmp_path / ".a.png.part").unlink() or True)
    assert list(tmp_path.iterdir()) == []


def test_remove_partial_files_deletes_only_those_of_this_toolkit(tmp_path):
    kept = [tmp_path / name for name in ("a.png.part", ".hidden", "deep/b.png", "deep/.notes.txt.part")]
    for path in [*kept, tmp_path / ".a.png.part", tmp_path / "deep" / ".b.png.part"]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_partial_files(tmp_path, is_ours=lambda name: name.endswith(".png"))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


# ---- locking ----


def test_locked_refuses_a_second_user_and_is_free_afterwards(tmp_path):
    folder = tmp_path / "new" / "checkpoints"
    refusal = "checkpoints: another run is using this folder; wait or stop it$"
    with locked(folder), pytest.raises(UserError, match=refusal), locked(folder):
        pass
    with locked(folder):
        pass


def test_locked_removes_new_folders_if_nothing_was_written(tmp_path):
    with locked(tmp_path / "new" / "deep"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "new" / "deep"):
        (tmp_path / "new" / "a.txt").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    (tmp_path / "old").mkdir()
    with locked(tmp_path / "old"):
        pass
    assert (tmp_path / "old").is_dir()
    with locked(tmp_path / "kept"):
        (tmp_path / "kept" / "a.txt").touch()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [".lock", "a.txt"]


HOLDER = """
import sys
from pathlib import Path
from system.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has locked tmp_path."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(sys.executable, "-c", HOLDER, tmp_path, env=with_modules(), **pipes) as process:
        assert process.stdout.readline() == "locked\n"
        yield process


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_locked_is_released_when_its_process_is_killed(tmp_path, holder):
    with pytest.raises(UserError), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_locked_with_wait_says_so_and_continues_when_it_is_free(tmp_path, holder):
    patient = HOLDER.replace("[1])", "[1]), wait=True")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(sys.executable, "-c", patient, tmp_path, env=with_modules(), **pipes) as waiting:
        assert waiting.stderr.readline().endswith("/: another run is using this folder; waiting\n")
        holder.send_signal(signal.SIGKILL)
        assert waiting.stdout.readline() == "locked\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_locked_with_wait_makes_a_folder_again_that_the_other_removed(tmp_path):
    folder = tmp_path / "new"
    patient = HOLDER.replace("[1])", "[1]), wait=True")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as processes:
        with locked(folder):
            waiting = processes.enter_context(
                running(sys.executable, "-c", patient, folder, env=with_modules(), **pipes)
            )
            assert waiting.stderr.readline().endswith("/: another run is using this folder; waiting\n")
        assert waiting.stdout.readline() == "locked\n"
        assert (folder / ".lock").exists()
        with pytest.raises(UserError), locked(folder):
            pass

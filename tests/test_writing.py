"""Files that are written whole or not at all, and folders that one run has to itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import files
from config import UserError
from files import flush_to_disk, locked, remove_leftovers, write_atomically


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_what_interrupts_writing_leaves_the_former_file_and_nothing_else(tmp_path, error, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"former")

    def interrupted(temporary: Path) -> None:
        assert temporary.read_bytes() == b"new"
        raise error

    monkeypatch.setattr(files, "_flush", interrupted)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_until_it_is_whole_a_file_has_another_name_that_listings_pass_over(tmp_path, monkeypatch):
    path, flushed = tmp_path / "a.json", []

    def noted(what: Path) -> None:
        if what != tmp_path:
            assert what.name.startswith(".") and what.parent == tmp_path
            assert not path.exists()
        flushed.append(what)

    monkeypatch.setattr(files, "_flush", noted)
    write_atomically(path, b"new")
    assert len(flushed) == 2
    assert path.read_bytes() == b"new"


def test_a_link_in_the_place_of_the_temporary_file_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / ".a.json.part").symlink_to(precious)
    write_atomically(tmp_path / "a.json", b"new")
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "a.json").read_bytes() == b"new"
    assert not (tmp_path / "a.json").is_symlink()


def order_of_calls(monkeypatch) -> list[tuple]:
    """What is flushed and renamed, in order, while it is done all the same."""
    calls = []
    flush, replace = os.fsync, Path.replace

    def flushing(handle):
        calls.append(("flush", str(Path(f"/proc/self/fd/{handle}").readlink())))
        flush(handle)

    def replacing_(self, target):
        calls.append(("rename", str(self)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", replacing_)
    return calls


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system which file a handle is of")
def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_afterwards(tmp_path, monkeypatch):
    calls = order_of_calls(monkeypatch)
    write_atomically(tmp_path / "a.json", b"1")
    temporary = str(tmp_path / ".a.json.part")
    assert calls == [("flush", temporary), ("rename", temporary), ("flush", str(tmp_path))]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system which file a handle is of")
def test_many_files_are_flushed_together_where_the_system_can_and_each_by_itself_elsewhere(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a", "b")]
    calls = order_of_calls(monkeypatch)
    for path in paths:
        write_atomically(path, b"1", flush=False)
    assert [call for call, _ in calls] == ["rename", "rename"]
    monkeypatch.setattr(os, "sync", lambda: calls.append(("sync", "all")))
    flush_to_disk(paths)
    assert calls[2:] == [("sync", "all")]
    monkeypatch.setattr(files.sys, "platform", "darwin")
    flush_to_disk(paths)
    assert calls[3:] == [("flush", str(path)) for path in [*paths, tmp_path]]


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a.png.part", ".hidden", "deep/b.png", "deep/.notes.txt.part")]
    for path in [*kept, tmp_path / ".a.png.part", tmp_path / "deep" / ".b.png.part"]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    remove_leftovers(tmp_path, is_ours=lambda name: name.endswith(".png"))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_locked_folder_is_refused_and_free_afterwards(tmp_path):
    folder = tmp_path / "new" / "checkpoints"
    with locked(folder), pytest.raises(UserError, match="checkpoints: another run is at work here"), locked(folder):
        pass
    with locked(folder):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has locked tmp_path."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_lock_dies_with_its_holder(tmp_path, holder):
    with pytest.raises(UserError), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        pass


def test_whoever_would_rather_wait_says_so_and_goes_on_when_the_holder_is_gone(tmp_path, holder):
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("[1])", "[1]), wait=True"), str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with waiting:
        assert "another run is at work here; waiting for its end" in waiting.stderr.readline()
        holder.send_signal(signal.SIGKILL)
        assert waiting.stdout.readline() == "locked\n"
        waiting.kill()

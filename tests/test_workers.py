"""Work in processes of their own: order, errors, crashes, hangs, and ends of all kinds."""

import io
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import working
from conftest import ROOT

import workers
from config import UserError
from workers import in_processes

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals and process groups of POSIX")


def results(function, items, **options) -> list:
    return list(in_processes(function, items, failed=working.failed, description="working", **options))


def end(processes: list) -> None:
    for process in processes:
        process.let_go()
        process.wait()


def wait_until(is_so, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_in_the_order_of_the_items():
    assert results(working.square, range(1000)) == [item * item for item in range(1000)]


def test_no_items_give_no_results():
    assert results(working.square, []) == []


def test_processes_are_few_are_not_this_one_and_are_kept(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    first = set(results(working.process, range(200)))
    assert os.getpid() not in first
    assert len(first) <= 2
    assert set(results(working.process, range(200))) <= first | {process._popen.pid for process in workers._free}


def test_one_item_needs_one_process(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 8)
    monkeypatch.setattr(workers, "_free", [])
    results(working.square, [3])
    assert len(workers._free) == 1
    end(workers._free)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (15, 15), (16, 8), (1000, 63)])
def test_few_items_are_shared_out_among_the_cores(count, expected, monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    portions = []

    class Counted(list):
        def __getitem__(self, places):
            portions.append(super().__getitem__(places))
            return portions[-1]

    assert results(str, Counted(range(count))) == [str(number) for number in range(count)]
    assert len(portions) == expected


def test_work_begins_at_once_and_only_so_many_items_are_under_way(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    touch = partial(working.touch, below=tmp_path)
    begun = in_processes(touch, range(1000), failed=working.failed, description="working")
    wait_until(lambda: len(list(tmp_path.iterdir())) == 4 * 16)  # two portions a core
    assert next(begun) == 0
    begun.close()
    assert len(list(tmp_path.iterdir())) <= 5 * 16  # and one more as the first was handed over


def test_what_is_begun_and_never_asked_for_is_dropped(tmp_path):
    in_processes(partial(working.touch, below=tmp_path), range(1000), failed=working.failed, description="working")
    assert len(list(tmp_path.iterdir())) <= 2 * os.cpu_count() * 16


def test_an_error_is_raised_with_its_traceback_and_the_rest_is_dropped():
    with pytest.raises(ValueError, match="^such an item\n") as caught:
        results(working.misbehave, [*range(100), "raise", *range(100)])
    assert "working.py" in caught.value.__notes__[0]
    assert results(working.square, range(3)) == [0, 1, 4]


def test_an_error_that_does_not_travel_is_raised_by_its_text():
    with pytest.raises(RuntimeError, match="RootedError: rootshere"):
        results(working.misbehave, ["raise what does not travel"])


@not_on_windows
@pytest.mark.parametrize("place", [0, 7, 99])
def test_a_crash_costs_one_item(place):
    items = list(range(100))
    items[place] = "crash"
    assert results(working.misbehave, items) == [
        "crash makes the decoder crash (signal 11)" if number == place else number for number in range(100)
    ]


@not_on_windows
def test_every_kind_of_end_is_told_apart():
    items = [1, "crash", "leave", 2, "be killed", "crash", 3]
    assert results(working.misbehave, items) == [
        1,
        "crash makes the decoder crash (signal 11)",
        "leave makes the decoder crash (exit code 7)",
        2,
        "be killed its decoder was killed (signal 9), perhaps for want of memory",
        "crash makes the decoder crash (signal 11)",
        3,
    ]


@not_on_windows
@pytest.mark.parametrize("hang", ["hang", "hang in C"])
def test_a_hang_costs_one_item(hang):
    assert results(working.misbehave, [0, hang, 2], seconds=0.3) == [
        0,
        f"{hang} keeps the decoder busy for more than 0.3 s",
        2,
    ]


@not_on_windows
@pytest.mark.parametrize("what", ["hang", "be killed"])
def test_what_goes_well_the_second_time_was_not_to_blame(tmp_path, what):
    assert results(working.misbehave_once, [(what, tmp_path / "tried")], seconds=0.3) == [what]


@not_on_windows
def test_a_process_that_was_stopped_does_not_hold_up_the_run(monkeypatch):
    monkeypatch.setattr(workers, "_SECONDS_MORE", 0.5)
    stopped = "be stopped its decoder was killed (signal 9), perhaps for want of memory"
    assert results(working.misbehave, [0, "be stopped", 2], seconds=5) == [0, stopped, 2]


def test_the_limit_is_of_each_item_and_not_of_a_portion(tmp_path):
    assert results(time.sleep, [0.1] * 12, seconds=0.5) == [None] * 12


def test_what_a_library_prints_is_neither_an_answer_nor_shown(capfd):
    assert results(working.misbehave, [1, "print", 2]) == [1, "print", 2]
    assert capfd.readouterr() == ("", "")


def test_a_process_that_cannot_begin_is_an_error():
    with pytest.raises(UserError, match=r"ends as it begins \(exit code 5\); is there memory enough\?"):
        results(working.Unloadable(), range(10))


def test_a_process_that_died_while_it_was_free_is_replaced(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 1)
    monkeypatch.setattr(workers, "_free", [])
    (pid,) = set(results(working.process, range(3)))
    workers._free[0].kill()
    workers._free[0].wait()
    (other,) = set(results(working.process, range(3)))
    assert other != pid
    end(workers._free)


def test_work_is_done_in_the_folder_that_its_caller_is_in(tmp_path, monkeypatch):
    results(working.folder, range(3))
    monkeypatch.chdir(tmp_path)
    assert set(results(working.folder, range(3))) == {os.getcwd()}  # noqa: PTH109


def test_two_may_work_at_a_time():
    one, two = (
        in_processes(working.square, range(500), failed=working.failed, description="working") for _ in range(2)
    )
    assert list(zip(one, two, strict=True)) == [(item * item, item * item) for item in range(500)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_has_processes_of_its_own():
    results(working.square, range(100))
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if not workers._free and results(working.square, range(10)) == [n * n for n in range(10)] else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert results(working.square, range(10)) == [item * item for item in range(10)]


def test_short_work_leaves_nothing_in_a_log(capsys):
    assert results(str, range(3)) == ["0", "1", "2"]
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("leave", [True, False])
def test_on_a_terminal_a_bar_is_shown_and_left_or_wiped_out(leave, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    results(str, range(30), leave=leave)
    said = terminal.getvalue()
    assert "working:   0%" in said and "img/s]" in said
    last = said.split("\r")[-1 if leave else -2]
    assert ("30/30" in last and last.endswith("\n")) if leave else not last.strip()


# ---- a run that ends ----

RUN = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from functools import partial
import workers, working

if __name__ == "__main__":
    touch = partial(working.touch, below=Path(sys.argv[3]), slow=int(sys.argv[4]))
    results = workers.in_processes(touch, range(40), failed=working.failed, description="working")
    try:
        for result in results:
            pids = [process._popen.pid for process in workers._free]
        print(*pids, flush=True)
        if sys.argv[5:]:
            sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def started(below: Path, *arguments: object) -> subprocess.Popen:
    """A run of its own, in a group of its own, as a terminal has it."""
    script = below / "run.py"
    script.write_text(RUN)
    (below / "touched").mkdir()
    command = [sys.executable, "-W", "error", script, ROOT, ROOT / "tests", below / "touched", *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes, text=True, start_new_session=True)


def test_the_end_of_a_run_is_quiet_and_ends_its_processes(tmp_path):
    with started(tmp_path, -1) as run:
        out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    pids = list(map(int, out.split()))
    assert pids
    wait_until(lambda: not any(map(is_there, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_end_soon_after_a_run_that_was_killed(tmp_path):
    with started(tmp_path, -1, "stay") as run:
        pids = list(map(int, run.stdout.readline().split()))
        assert pids and all(map(is_there, pids))
        run.kill()
        run.wait()
        wait_until(lambda: not any(map(is_there, pids)))


@not_on_windows
def test_ctrl_c_ends_a_run_in_spite_of_an_item_that_hangs(tmp_path):
    with started(tmp_path, 3) as run:
        wait_until(lambda: (tmp_path / "touched" / "3").exists())
        began = time.monotonic()
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (0, "interrupted\n", "")
    assert time.monotonic() - began < 10

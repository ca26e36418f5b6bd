"""Work in worker processes: order, errors, crashes, timeouts, and runs that end in all ways."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from system import pool
from system.errors import UserError
from system.pool import cancel_running_jobs, close_idle_workers, imap
from tests.helpers import jobs
from tests.helpers.pictures import ROOT
from tests.helpers.processes import running, wait_until
from tests.helpers.screens import Terminal, rendered

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals and process groups of POSIX")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find processes")


def results(function, items, **options) -> list:
    return list(imap(function, items, on_failure=jobs.failed, description="working", **options))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- results ----


def test_imap_keeps_the_order_of_the_items():
    assert results(jobs.square, range(1000)) == [item * item for item in range(1000)]


def test_imap_of_no_items_is_empty():
    assert results(jobs.square, []) == []


def test_imap_runs_in_other_processes_which_are_few_and_reused(monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    first = set(results(jobs.process_id, range(200)))
    assert os.getpid() not in first
    assert 1 <= len(first) <= 2
    assert set(results(jobs.process_id, range(200))) <= first | {worker._popen.pid for worker in pool._idle}


def test_imap_starts_one_worker_for_one_item(monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 8)
    monkeypatch.setattr(pool, "_idle", [])
    results(jobs.square, [3])
    assert len(pool._idle) == 1
    close_idle_workers()


@pytest.mark.parametrize(("count", "chunks"), [(1, 1), (15, 15), (16, 8), (1000, 63)])
def test_imap_spreads_few_items_over_all_cores(count, chunks, monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    slices = []

    class Recorded(list):
        def __getitem__(self, indices):
            slices.append(super().__getitem__(indices))
            return slices[-1]

    assert results(str, Recorded(range(count))) == [str(number) for number in range(count)]
    assert len(slices) == chunks


def test_imap_starts_at_once_and_limits_the_items_in_progress(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    touch = partial(jobs.touch, below=tmp_path)
    started = imap(touch, range(1000), on_failure=jobs.failed, description="working")
    wait_until(lambda: len(list(tmp_path.iterdir())) == 4 * 16)  # two chunks per core
    assert next(started) == 0
    started.close()
    assert len(list(tmp_path.iterdir())) <= 5 * 16  # one more was submitted when the first chunk was returned


def test_imap_that_is_never_iterated_drops_its_items(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    imap(partial(jobs.touch, below=tmp_path), range(1000), on_failure=jobs.failed, description="working")
    assert len(list(tmp_path.iterdir())) <= 4 * 16  # two chunks per core


def test_imap_runs_in_the_current_folder_of_its_caller(tmp_path, monkeypatch):
    results(jobs.folder, range(3))
    monkeypatch.chdir(tmp_path)
    assert set(results(jobs.folder, range(3))) == {os.getcwd()}  # noqa: PTH109


def test_imap_can_be_used_twice_at_the_same_time():
    one, two = (imap(jobs.square, range(500), on_failure=jobs.failed, description="working") for _ in range(2))
    assert list(zip(one, two, strict=True)) == [(item * item, item * item) for item in range(500)]


def test_imap_ignores_what_a_library_prints(capfd):
    assert results(jobs.misbehave, [1, "print", 2]) == [1, "print", 2]
    assert capfd.readouterr() == ("", "")


# ---- errors, crashes and timeouts ----


def test_imap_raises_an_error_with_its_traceback_and_drops_the_rest():
    with pytest.raises(ValueError, match="^such an item\n") as caught:
        results(jobs.misbehave, [*range(100), "raise", *range(100)])
    assert "jobs.py" in caught.value.__notes__[0]
    assert results(jobs.square, range(3)) == [0, 1, 4]


def test_imap_drops_what_is_not_under_way_at_an_error(monkeypatch, tmp_path):
    """Of four items, two are under way when the first one has failed; the last one is never begun."""
    monkeypatch.setattr(pool, "available_cores", lambda: 2)
    wait = pool.wait

    def go_on(futures, timeout):
        (tmp_path / "go on").touch()
        return wait(futures, timeout=60)

    monkeypatch.setattr(pool, "wait", go_on)
    with pytest.raises(ValueError, match="the first item"):
        results(partial(jobs.fail_or_wait, below=tmp_path), range(10), chunksize=1)
    assert {path.name for path in tmp_path.iterdir()} <= {"go on", "1", "2"}


def test_imap_does_not_end_a_worker_that_waits_for_work(monkeypatch):
    """Two clocks watch a worker, one here and one in its process. Neither goes on once the items are done."""
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    monkeypatch.setattr(pool, "_EXTRA_SECONDS", 0.5)
    close_idle_workers()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "_EXTRA_SECONDS", 30)
        (worker,) = set(results(jobs.process_id, range(3)))  # has loaded what it needs
    assert results(jobs.process_id, range(3), timeout=1.5) == [worker] * 3
    end = time.monotonic() + 2.5
    wait_until(lambda: time.monotonic() > end)
    assert results(jobs.process_id, range(3)) == [worker] * 3


def test_imap_raises_an_error_that_cannot_be_pickled_as_its_text():
    with pytest.raises(RuntimeError, match="UnpicklableError: twoparts"):
        results(jobs.misbehave, ["raise what cannot be pickled"])


@not_on_windows
@pytest.mark.parametrize("index", [0, 7, 99])
def test_imap_loses_one_item_to_a_crash(index):
    items = list(range(100))
    items[index] = "crash"
    assert results(jobs.misbehave, items) == [
        "crash crashed its process (signal 11)" if number == index else number for number in range(100)
    ]


@not_on_windows
def test_imap_gives_the_reason_of_each_failure():
    items = [1, "crash", "exit", 2, "be killed", "crash", 3]
    assert results(jobs.misbehave, items) == [
        1,
        "crash crashed its process (signal 11)",
        "exit crashed its process (exit code 7)",
        2,
        "be killed its process was killed (signal 9), possibly because memory ran out",
        "crash crashed its process (signal 11)",
        3,
    ]


@not_on_windows
@pytest.mark.parametrize("hang", ["hang", "hang in C"])
def test_imap_loses_one_item_to_a_hang(hang):
    assert results(jobs.misbehave, [0, hang, 2], timeout=1) == [0, f"{hang} took more than 1 s", 2]


@not_on_windows
@pytest.mark.parametrize("what", ["hang", "be killed"])
def test_imap_accepts_an_item_that_succeeds_the_second_time(tmp_path, what):
    assert results(jobs.misbehave_once, [(what, tmp_path / "tried")], timeout=1) == [what]


@not_on_windows
def test_imap_kills_a_worker_that_was_stopped(monkeypatch):
    monkeypatch.setattr(pool, "_idle", [])
    start = time.monotonic()
    results(jobs.square, [1])
    monkeypatch.setattr(pool, "_EXTRA_SECONDS", 1 + 10 * (time.monotonic() - start))  # enough to start a worker here
    stopped = "be stopped its process was killed (signal 9), possibly because memory ran out"
    assert results(jobs.misbehave, [0, "be stopped", 2], timeout=1) == [0, stopped, 2]


def test_imap_applies_its_timeout_to_each_item_and_not_to_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    naps, log = [0.7] * 6 + [0] * 34, tmp_path / "log"  # the first six are one chunk, and take 4.2 s
    assert results(partial(jobs.nap, log=log), naps, timeout=4) == [None] * 40
    assert log.read_text() == "z" * 40  # none was tried twice


def test_imap_refuses_workers_that_end_as_soon_as_they_start():
    with pytest.raises(
        UserError, match=r"^a worker process ends as soon as it starts \(exit code 5\); is there enough"
    ):
        results(jobs.Unloadable(), range(10))


def test_imap_replaces_a_worker_that_died_while_idle(monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    monkeypatch.setattr(pool, "_idle", [])
    (pid,) = set(results(jobs.process_id, range(3)))
    pool._idle[0].kill()
    pool._idle[0].wait()
    (other,) = set(results(jobs.process_id, range(3)))
    assert other != pid
    close_idle_workers()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_imap_in_a_forked_process_uses_workers_of_its_own():
    results(jobs.square, range(100))
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if not pool._idle and results(jobs.square, range(10)) == [n * n for n in range(10)] else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert results(jobs.square, range(10)) == [item * item for item in range(10)]


@only_linux
def test_close_idle_workers_ends_their_processes(monkeypatch):
    monkeypatch.setattr(pool, "_idle", [])
    results(jobs.square, range(100))
    pids = [worker._popen.pid for worker in pool._idle]
    assert pids and all(map(is_running, pids))
    close_idle_workers()
    assert pool._idle == []
    assert not any(map(is_running, pids))


# ---- progress ----


def test_imap_of_quick_work_leaves_nothing_in_a_log(capsys):
    assert results(str, range(3)) == ["0", "1", "2"]
    assert capsys.readouterr() == ("", "")


def test_imap_shows_a_bar_on_a_terminal_and_erases_it(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    results(str, range(30))
    assert "working" in screen.getvalue() and "0/30" in screen.getvalue()
    assert rendered(screen.getvalue()) == []


# ---- a run that ends ----

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from contextlib import closing
from pathlib import Path
from functools import partial
from system import pool
from tests.helpers import jobs

if __name__ == "__main__":
    touch = partial(jobs.touch, below=Path(sys.argv[2]), slow=int(sys.argv[3]))
    try:
        work = pool.imap(touch, range(40), on_failure=jobs.failed, description="working", timeout=3600)
        with closing(work) as results:
            for result in results:
                pids = [worker._popen.pid for worker in pool._idle]
        print(*pids, flush=True)
        if sys.argv[4:]:
            sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@contextlib.contextmanager
def start_run(below: Path, *arguments: object) -> Iterator[subprocess.Popen]:
    """Starts a process in a group of its own, as a terminal does. At the end of the block no process of it is left."""
    script = below / "run.py"
    script.write_text(RUN)
    (below / "touched").mkdir()
    command = [sys.executable, "-W", "error", script, ROOT, below / "touched", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(*command, **pipes, start_new_session=True) as run:
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


@only_linux
def test_workers_end_silently_with_their_run(tmp_path):
    with start_run(tmp_path, -1) as run:
        out, err = run.communicate()
        assert (run.returncode, err) == (0, "")
        pids = list(map(int, out.split()))
        assert pids
        wait_until(lambda: not any(map(is_running, pids)))


@only_linux
def test_workers_end_soon_after_their_run_is_killed(tmp_path):
    with start_run(tmp_path, -1, "stay") as run:
        pids = list(map(int, run.stdout.readline().split()))
        assert pids and all(map(is_running, pids))
        run.kill()
        run.wait()
        wait_until(lambda: not any(map(is_running, pids)))


@not_on_windows
def test_imap_ends_at_ctrl_c_even_if_an_item_hangs(tmp_path):
    with start_run(tmp_path, 3) as run:
        wait_until((tmp_path / "touched" / "3").exists, run)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate()  # if it waited for the item, this would take an hour
    assert (run.returncode, out, err) == (0, "interrupted\n", "")


def test_cancel_running_jobs_ends_work_whose_results_are_still_open(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    touch = partial(jobs.touch, below=tmp_path, slow=1)
    open_results = imap(touch, range(40), on_failure=jobs.failed, description="working", chunksize=1)
    assert next(open_results) == 0
    wait_until((tmp_path / "1").exists)
    cancel_running_jobs()
    with pytest.raises(pool.WorkerDied):
        list(open_results)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
    results(jobs.square, range(3))
    assert not pool._running  # nothing is kept of work that has ended


@not_on_windows
def test_workers_leave_signals_to_their_run(monkeypatch):
    monkeypatch.setattr(pool, "available_cores", lambda: 1)
    (worker,) = set(results(jobs.process_id, range(3)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker, number)
    assert set(results(jobs.process_id, range(3))) == {worker}


def test_workers_encode_names_as_their_run_does():
    assert results(jobs.file_system_encoding, range(1)) == [(sys.getfilesystemencoding(), sys.flags.utf8_mode)]

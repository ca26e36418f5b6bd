"""A pool of worker processes: if an item crashes or hangs its process, only that item fails.

Ours because other pools fall short: pebble loses a whole chunk at a crash; loky, joblib and concurrent.futures do not
say which item crashed and have no time limit for one; all import the main script again, and with it TensorFlow.
"""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from system.errors import UserError
from system.progress import progress

_CHUNKSIZE = 16  # items per message: sending each one alone takes as long as reading a picture
_TIMEOUT = 60.0  # seconds for one item
_TIMEOUT_EXIT_CODE = 1  # of a worker that ends itself because an item takes too long; set by faulthandler
_EXTRA_SECONDS = 30.0  # after this time a worker that does not respond at all is killed, such as a stopped one
_MAX_STARTS = 3  # of a worker that ends as soon as it is started
_SHUTDOWN_SECONDS = 1.0  # for the work in progress when the rest is cancelled; after that its workers are killed

Item = TypeVar("Item")
Result = TypeVar("Result")


def imap(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    on_failure: Callable[[Item, str], Result],
    description: str,
    chunksize: int = _CHUNKSIZE,
    timeout: float = _TIMEOUT,
) -> Iterator[Result]:
    """Returns an iterator over `function(item)`, in the order of the items, computed by one process per core.

    Work starts at once. The number of items in progress is limited, so memory does not grow with the number of items.
    An exception of the function is raised here. After it, after Ctrl-C, or when the iterator is closed, the items that
    have not been started are dropped.

    Args:
        function: a function of a module, or `functools.partial` of one. It should not write files, because after a kill
            of the run it may go on for the rest of an item.
        items: they and their results must be picklable.
        on_failure: called with an item that crashed its process or took too long, and the reason. Returns its result.
        description: shown with the progress, as in `progress.progress`.
        chunksize: the largest number of items per message.
        timeout: seconds for one item.

    Raises:
        UserError: worker processes cannot be started.
    """
    results = _results(function, items, on_failure, description, chunksize, timeout)
    next(results)  # starts the work
    return results


def start_worker(*modules: str) -> None:
    """Starts a worker process that imports modules, so that it is ready once there is work.

    A script calls it before its own imports, which take as long.
    """
    _idle.append(_Worker(modules))


def cancel_running_jobs() -> None:
    """Drops the work whose iterators are still open, so that no thread of theirs keeps the process from ending.

    An exception in the code that consumes an iterator does not close it: Python does, once the frame of that code is
    freed.
    """
    for job in list(_running):
        job.cancel()


def close_idle_workers() -> None:
    """Ends the worker processes that wait for more work, to free their memory."""
    for worker in _idle:
        worker.close()
        worker.wait()
    _idle.clear()


def available_cores() -> int:
    """Returns how many cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(function, items, on_failure, description, chunksize, timeout) -> Iterator[Any]:
    cores = available_cores()
    chunksize = min(chunksize, len(items) // (8 * cores) + 1)  # so that a few items are spread over all cores
    starts = iter(range(0, len(items), chunksize))
    job = _Job(pickle.dumps((os.getcwd(), timeout, function)), on_failure, timeout)  # noqa: PTH109 - a plain string
    threads = ThreadPoolExecutor(cores)  # each waits for one process

    def submit(count: int) -> Iterator[Any]:
        return (threads.submit(job.run, items[start : start + chunksize]) for start in islice(starts, count))

    pending: deque[Any] = deque()
    _running.add(job)
    try:
        pending.extend(submit(2 * cores))
        yield  # work has started
        with progress(len(items), description) as advance:
            while pending:
                results = pending[0].result()
                pending.popleft()
                pending.extend(submit(1))
                yield from results
                advance(len(results))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        try:
            wait([future for future in pending if not future.cancelled()], timeout=_SHUTDOWN_SECONDS)
        finally:
            job.cancel()
        threads.shutdown()


class WorkerDied(Exception):
    """A worker process ended without an answer."""


class WorkerNeverStarted(WorkerDied):
    """A worker process ended before it had received its function."""


class _Job:
    """What the worker processes do for one call of `imap`."""

    def __init__(self, task: bytes, on_failure: Callable[[Any, str], Any], timeout: float) -> None:
        self._task, self._on_failure, self._timeout = task, on_failure, timeout
        self._busy: set[_Worker] = set()
        self._cancelled = False

    def run(self, items: Sequence[Any], *, is_retry: bool = False, starts: int = 1) -> list[Any]:
        """Returns the results of some items. If the worker dies, each item is tried once more alone.

        So only the item that is at fault fails, and none fails because the machine was asleep or short of memory.
        """
        worker = _idle_or_new_worker()
        self._busy.add(worker)
        try:
            if self._cancelled:
                raise WorkerDied
            return worker.work(self._task, items, self._timeout * len(items) + _EXTRA_SECONDS)
        except WorkerDied as death:
            if self._cancelled:
                raise
            if isinstance(death, WorkerNeverStarted):
                if starts == _MAX_STARTS:
                    raise _cannot_start(worker.exit_code) from None
                starts += 1
            elif is_retry:
                return [self._on_failure(items[0], self._reason(worker.exit_code))]
            else:
                is_retry = True
        finally:
            self._busy.discard(worker)
            if worker.exit_code is None:
                _idle.append(worker)
        chunks = [[item] for item in items] if is_retry else [items]
        return [result for chunk in chunks for result in self.run(chunk, is_retry=is_retry, starts=starts)]

    def _reason(self, exit_code: int | None) -> str:
        if exit_code == _TIMEOUT_EXIT_CODE:
            return f"took more than {self._timeout:g} s"
        if exit_code == -9:  # sent by Linux when memory runs out, and by us to a worker that does not answer
            return "its process was killed (signal 9), possibly because memory ran out"
        if exit_code is not None and exit_code < 0:
            return f"crashed its process (signal {-exit_code})"
        return f"crashed its process (exit code {exit_code})"

    def cancel(self) -> None:
        """Kills the workers that are still busy with this job."""
        self._cancelled = True
        _running.discard(self)
        for worker in list(self._busy):
            worker.kill()


_running: set[_Job] = set()


def _cannot_start(exit_code: int | None) -> UserError:
    return UserError(f"a worker process ends as soon as it starts (exit code {exit_code}); is there enough memory?")


class _Worker:
    """One process that runs worker.py."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        # One thread in each, because there is a worker for every core. What decoders write to stderr is of no use.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
        self._popen = subprocess.Popen(
            # -P: its folder is not searched for modules; utf8: file names are encoded as in this process.
            [
                sys.executable,
                "-P",
                "-X",
                f"utf8={sys.flags.utf8_mode}",
                str(Path(__file__).absolute().with_name("worker.py")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads},
        )
        assert self._popen.stdin and self._popen.stdout
        self._requests, self._answers = self._popen.stdin, self._popen.stdout
        self._task = b""
        with contextlib.suppress(OSError):  # noticed when it does not answer
            paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - plain strings
            self._send((paths, list(modules)))

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self._popen.poll()

    def work(self, task: bytes, items: Sequence[Any], seconds: float) -> list[Any]:
        """Returns the results of some items. Raises what the function raises, or WorkerDied, within `seconds`."""
        if task != self._task:
            try:
                self._ask(("task", task), seconds)
            except WorkerDied:
                raise WorkerNeverStarted from None
            self._task = task
        return self._ask(("items", pickle.dumps(list(items))), seconds)

    def _send(self, message: Any) -> None:
        pickle.dump(message, self._requests)
        self._requests.flush()

    def _ask(self, message: tuple[str, bytes], seconds: float) -> Any:
        timer = threading.Timer(seconds, self.kill)
        timer.daemon = True
        timer.start()
        try:
            self._send(message)
            answer, error = pickle.load(self._answers)
        except BaseException as failure:  # half an answer may be in the pipe, so this worker cannot be used again
            self.close()
            self.wait()
            if isinstance(failure, OSError | EOFError | pickle.UnpicklingError):
                raise WorkerDied from None
            raise
        finally:
            timer.cancel()
        if error is not None:
            raise error
        return answer

    def kill(self) -> None:
        self._popen.kill()

    def close(self) -> None:
        """Closes its pipes, after which it ends by itself."""
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def wait(self) -> None:
        try:
            self._popen.wait(timeout=_SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def detach(self) -> None:
        """Lets it end by itself without waiting for it."""
        self.close()
        self._popen.returncode = 0  # otherwise Popen would warn about a process that is still running


_idle: list[_Worker] = []  # kept for the next job, because starting one takes 0.3 s


def _idle_or_new_worker() -> _Worker:
    with contextlib.suppress(IndexError):
        while True:
            worker = _idle.pop()
            if worker.exit_code is None:
                return worker
            worker.close()
    return _Worker()


def _detach_all() -> None:
    for worker in _idle:
        worker.detach()
    _idle.clear()


atexit.register(_detach_all)  # without waiting: each ends by itself within 0.05 s
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_detach_all)  # they belong to the parent

"""Work on pictures in processes of their own: a decoder that crashes or hangs takes one picture with it, not the run.

Run as a script, this file is such a process: through one pipe it is told a function and items, through another it
answers. It ends with the first pipe, and so with the run that began it, whichever way that ends.
"""

import atexit
import contextlib
import faulthandler
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

_TOGETHER = 16  # items handed over at a time, as handing over each by itself takes as long as reading it
_PIXELS = 2**22  # of the standardised pictures handed over at a time, at most
_SECONDS = 60.0  # that a single item may take
_TIME_IS_UP = 1  # faulthandler's exit code
_SECONDS_MORE = 30.0  # after which the run ends a process that does not even end itself, as when it has been stopped
_BEGINNINGS = 3  # how often a process is begun that ends at once
_SECONDS_TO_END = 1.0  # for what is under way when the rest is dropped; what takes longer is ended

Item, Result = TypeVar("Item"), TypeVar("Result")


# ---- in the run ----


def in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    failed: Callable[[Item, str], Result],
    description: str,
    leave: bool = True,
    together: int = _TOGETHER,
    seconds: float = _SECONDS,
) -> Iterator[Result]:
    """Calls a function with each item, in one process a core, and gives the results in the order of the items.

    Work begins at once, and only so many items are under way that memory does not grow with their number. Progress is
    shown as by `files.progress`. What the function raises is raised here; then, as after Ctrl-C or when no more results
    are asked for, whatever has not been begun is dropped.

    Args:
        function: of a module, or `functools.partial` of such a one; it should write no files, since it may outlive a
            run that was killed by so much as an item.
        items: these and their results travel between processes, so they can be pickled.
        failed: makes the result of an item that has crashed its process, or kept it busy for too long, and why.
        description: what the progress says.
        leave: whether a bar of progress stays on the terminal.
        together: at most so many items are handed over at a time.
        seconds: that a single item may take.
    """
    results = _results(function, items, failed, description, leave, together, seconds)
    next(results)
    return results


def portion(height: int, width: int) -> int:
    """How many pictures of a size are handed over at a time, so that they take little memory."""
    return max(1, min(_TOGETHER, _PIXELS // (height * width)))


def _cores() -> int:
    """How many may be used, which on a shared machine are not all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(function, items, failed, description, leave, together, seconds) -> Iterator[Any]:
    from files import progress  # here, as the processes can do without all that it brings along

    cores = _cores()
    together = min(together, len(items) // (8 * cores) + 1)  # of few items, every core gets its share
    starts = iter(range(0, len(items), together))
    work = _Work(pickle.dumps((os.getcwd(), seconds, function)), failed, seconds)  # noqa: PTH109 - a plain string
    pool = ThreadPoolExecutor(cores)  # each of its threads waits for a process

    def begin(count: int) -> Iterator[Any]:
        return (pool.submit(work.do, items[start : start + together]) for start in islice(starts, count))

    waiting = deque(begin(2 * cores))
    try:
        yield  # work has begun
        with progress(len(items), description, leave=leave) as advance:
            while waiting:
                results = waiting[0].result()
                waiting.popleft()
                waiting.extend(begin(1))
                yield from results
                advance(len(results))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        try:
            wait([future for future in waiting if not future.cancelled()], timeout=_SECONDS_TO_END)
        finally:
            work.end()
        pool.shutdown()


class _EndedError(Exception):
    """A process has ended without an answer."""


class _NotBegunError(_EndedError):
    """It has not even taken in what it is to do."""


class _Work:
    """What the processes do for one caller."""

    def __init__(self, task: bytes, failed: Callable[[Any, str], Any], seconds: float) -> None:
        self._task, self._failed, self._seconds = task, failed, seconds
        self._busy: set[_Process] = set()
        self._dropped = False

    def do(self, items: Sequence[Any], *, again: bool = False, beginnings: int = 1) -> list[Any]:
        """The results of some items; should the process end, once more of each by itself.

        So one alone is to blame, and none because the machine was put to sleep or another needed its memory.
        """
        process = _free_process()
        self._busy.add(process)
        try:
            if self._dropped:
                raise _EndedError
            return process.work(self._task, items, self._seconds * len(items) + _SECONDS_MORE)
        except _EndedError as ended:
            if self._dropped:
                raise
            if isinstance(ended, _NotBegunError):
                if beginnings == _BEGINNINGS:
                    raise _cannot_begin(process.exit_code) from None
                beginnings += 1
            elif again:
                return [self._failed(items[0], self._reason(process.exit_code))]
            else:
                again = True
        finally:
            self._busy.discard(process)
            if process.exit_code is None:
                _free.append(process)
        parts = [[item] for item in items] if again else [items]
        return [result for part in parts for result in self.do(part, again=again, beginnings=beginnings)]

    def _reason(self, code: int) -> str:
        if code == _TIME_IS_UP:
            return f"keeps the decoder busy for more than {self._seconds:g} s"
        if code == -9:  # what Linux does to processes when memory runs out, and we to one that does not answer
            return "its decoder was killed (signal 9), perhaps for want of memory"
        return f"makes the decoder crash ({f'signal {-code}' if code < 0 else f'exit code {code}'})"

    def end(self) -> None:
        """Ends the processes that are still at work for the caller."""
        self._dropped = True
        for process in list(self._busy):
            process.kill()


def _cannot_begin(code: int | None) -> Exception:
    from config import UserError  # here, as above

    return UserError(f"a process that decodes pictures ends as it begins (exit code {code}); is there memory enough?")


class _Process:
    """This file, run as a script."""

    def __init__(self) -> None:
        # One thread in each, as there is one for every core. What decoders write to stderr would only puzzle a user.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
        self._popen = subprocess.Popen(
            [sys.executable, str(Path(__file__).absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads},
        )
        self._task = b""
        script = Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve().stem
        with contextlib.suppress(OSError):  # found out when it does not answer
            self._send((list(map(os.path.abspath, sys.path)), script))

    @property
    def exit_code(self) -> int | None:
        """None while it is there."""
        return self._popen.poll()

    def work(self, task: bytes, items: Sequence[Any], seconds: float) -> list[Any]:
        """Raises what the function raises, and _EndedError, at the latest after some seconds."""
        if task != self._task:
            try:
                self._ask(("task", task), seconds)
            except _EndedError:
                raise _NotBegunError from None
            self._task = task
        return self._ask(("items", pickle.dumps(list(items))), seconds)

    def _send(self, message: Any) -> None:
        pickle.dump(message, self._popen.stdin)
        self._popen.stdin.flush()

    def _ask(self, message: tuple[str, bytes], seconds: float) -> Any:
        watch = threading.Timer(seconds, self.kill)
        watch.daemon = True
        watch.start()
        try:
            self._send(message)
            answer, error = pickle.load(self._popen.stdout)
        except BaseException as failure:  # half an answer may be in the pipe, so it can be asked nothing else
            self.let_go()
            self.wait()
            if isinstance(failure, OSError | EOFError | pickle.UnpicklingError):
                raise _EndedError from None
            raise
        finally:
            watch.cancel()
        if error is not None:
            raise error
        return answer

    def kill(self) -> None:
        self._popen.kill()

    def let_go(self) -> None:
        """Lets it end by itself, if it has not."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def wait(self) -> None:
        try:
            self._popen.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def forget(self) -> None:
        """Lets it end by itself, and takes no interest in when."""
        self.let_go()
        self._popen.returncode = 0  # else Popen would warn of it


_free: list[_Process] = []  # kept for the next work, as one takes 0.3 s to begin


def _free_process() -> _Process:
    with contextlib.suppress(IndexError):
        while True:
            process = _free.pop()
            if process.exit_code is None:
                return process
            process.let_go()
    return _Process()


def release() -> None:
    """Ends the processes that wait for more work, which takes memory."""
    for process in _free:
        process.let_go()
        process.wait()
    _free.clear()


def _forget_all() -> None:
    for process in _free:
        process.forget()
    _free.clear()


atexit.register(_forget_all)  # and waits for none of them, as they end by themselves, in a twentieth of a second
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)  # they are its parent's


# ---- in a process of its own ----


class _Unpickler(pickle.Unpickler):
    """Finds what a script has defined in the module of its name, as the main module is another one here."""

    def __init__(self, data: bytes, script: str) -> None:
        super().__init__(io.BytesIO(data))
        self._script = script

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self._script if module == "__main__" else module, name)


def _serve(requests: BinaryIO, answers: BinaryIO, nowhere: BinaryIO) -> None:
    """Answers with (answer, None) or (None, what was raised), until the pipe is closed."""
    sys.path[:], script = pickle.load(requests)
    seconds, function = 0.0, None
    while True:
        kind, data = pickle.load(requests)
        try:
            content, answer = _Unpickler(data, script).load(), None
            if kind == "task":
                folder, seconds, function = content
                os.chdir(folder)
            else:
                answer = []
                for item in content:
                    # Its watch goes off even while a decoder holds the interpreter's lock.
                    faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
                    answer.append(function(item))
                    faulthandler.cancel_dump_traceback_later()
            reply = pickle.dumps((answer, None))
        except Exception as error:
            faulthandler.cancel_dump_traceback_later()
            reply = pickle.dumps((None, _portable(error)))
        answers.write(reply)
        answers.flush()


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, or one like it, should it not survive the way."""
    error.add_note(f"in a process of its own:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the run decides
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with contextlib.suppress(EOFError, BrokenPipeError), Path(os.devnull).open("r+b", buffering=0) as nowhere:
        for stream in (0, 1):  # what a library prints is no answer
            os.dup2(nowhere.fileno(), stream)
        with requests, answers:
            _serve(requests, answers, nowhere)


if __name__ == "__main__":
    _main()

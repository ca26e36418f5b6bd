"""Showing progress and file names on a terminal, and going on without one."""

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from system.startup import owns_process

_SECONDS_BETWEEN_LINES = 30


@contextlib.contextmanager
def progress(total: int, description: str, *, leave: bool = True) -> Iterator[Callable[[int], object]]:
    """Shows the progress of work on many pictures. Yields a function to call with the number that were just finished.

    On a terminal it is a bar with the rate and the time left; it is erased at the end unless `leave` is set. Elsewhere
    it is one line every 30 seconds, so quick work leaves nothing in a log.
    """
    if is_terminal(sys.stderr):
        with tqdm(total=total, desc=description, unit="img", leave=leave) as bar:
            yield bar.update
        return
    done, start = 0, time.monotonic()
    due = start + _SECONDS_BETWEEN_LINES

    def advance(count: int) -> None:
        nonlocal done, due
        done += count
        now = time.monotonic()
        if now >= due:
            due = now + _SECONDS_BETWEEN_LINES
            rate = done / max(now - start, 1e-9)
            left = tqdm.format_interval((total - done) / max(rate, 1e-9))
            line = f"{description}: {done:,} of {total:,}, {rate:,.0f} img/s, {left} left"
            print(line, file=sys.stderr, flush=True)

    yield advance


def printable(name: str | os.PathLike[str]) -> str:
    """Returns a file name on one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in os.fspath(name))


def is_terminal(stream: Any) -> bool:
    """Returns whether a stream is shown on a terminal. It may be None or a simple object, as in notebooks and IDLE."""
    return bool(getattr(stream, "isatty", bool)())


# ---- output that cannot be written ----


class _Output(io.FileIO):
    """A standard stream that loses what it cannot write, so that work is not lost because of what is printed."""

    error: OSError | None = None  # of the first write that failed

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes


_stdout: _Output | None = None


def keep_running_without_output() -> None:
    """Lets printing go on when a pipe is closed, a terminal is gone, or the disk of a log is full.

    Letters that the encoding of a stream lacks are escaped.
    """
    global _stdout
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="backslashreplace")
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if type(raw) is io.FileIO and owns_process():  # not the console of Windows, which needs no bytes
            with contextlib.suppress(OSError):
                stream.flush()
            output = _Output(raw.fileno(), "wb", closefd=False)
            setattr(sys, name, _text_stream(output, like=stream))
            _stdout = output if name == "stdout" else _stdout


def _text_stream(output: _Output, like: io.TextIOWrapper) -> io.TextIOWrapper:
    unbuffered = isinstance(like.buffer, io.FileIO)  # with python -u
    return io.TextIOWrapper(
        output if unbuffered else io.BufferedWriter(output),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=like.line_buffering,
        write_through=unbuffered,
    )


def output_error() -> OSError | None:
    """Returns why a part of stdout could not be written, if so."""
    return _stdout.error if _stdout else None


def output_closed() -> bool:
    """Returns whether nobody reads stdout any more, as after `| head`."""
    error = output_error()
    return error is not None and error.errno in (errno.EPIPE, errno.EINVAL)  # Windows says EINVAL

"""Loading libraries quietly, but not if they fail.

What a library writes to file descriptor 2 as it ends the process (`abort()`, an illegal instruction, a crash) can only
be shown by another process. No package was found that does this.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

_BEGIN, _END = b"+", b"."

# Run by the other process. It reads until its writer closes the pipe, or dies. If there was a begin, no end and no
# signal, the text in file descriptor 1 is copied to stderr.
_WATCHER = """
import os, sys
told = b""
while part := os.read(0, 64):
    told += part
if told == b"+":
    os.lseek(1, 0, 0)
    while data := os.read(1, 65536):
        os.write(2, data)
    os.write(2, os.fsencode(sys.argv[1]) + b"\\n")
"""


@contextlib.contextmanager
def quiet_stderr(last_words: str) -> Iterator[None]:
    """Hides what is written to file descriptor 2, and shows all of it if an exception or a crash ends the block.

    After a signal that is handled in Python, such as Ctrl-C, nothing is shown. Where there is no stderr, no temporary
    folder or no second process, nothing is hidden.

    Args:
        last_words: a line that follows the text after a crash.
    """
    with contextlib.ExitStack() as stack:
        try:
            hidden = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            watcher = _start_watcher(hidden.fileno(), last_words)
        except OSError:
            watcher = None
        if watcher and watcher.stdin:
            stack.callback(watcher.communicate)
            pipe = watcher.stdin.fileno()
            stack.enter_context(_bytes_of_signals_to(pipe))
            _tell(pipe, _BEGIN)
            stack.callback(_tell, pipe, _END)
            stack.callback(os.dup2, stderr, 2)
            os.dup2(hidden.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            if watcher:
                _copy(hidden.fileno(), stderr)
            raise


def _tell(pipe: int, byte: bytes) -> None:
    with contextlib.suppress(OSError):  # the other process may have been ended
        os.write(pipe, byte)


def _start_watcher(hidden: int, last_words: str) -> subprocess.Popen[bytes]:
    """Returns a process that copies `hidden` to stderr if this process ends between begin and end, without a signal."""
    return subprocess.Popen(
        [sys.executable or "", "-I", "-S", "-c", _WATCHER, last_words],  # -S: without packages it starts in 10 ms
        stdin=subprocess.PIPE,
        stdout=hidden,
        start_new_session=True,  # else Ctrl-C would reach it too
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same for Windows
    )


@contextlib.contextmanager
def _bytes_of_signals_to(pipe: int) -> Iterator[None]:
    """Lets Python write a byte into a pipe for each signal that it handles; the handler may end the process."""
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():  # Python offers it nowhere else
        yield
        return
    os.set_blocking(pipe, False)
    previous = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)


def _copy(source: int, target: int) -> None:
    """Copies a whole file from one file descriptor to another."""
    os.lseek(source, 0, os.SEEK_SET)
    while data := os.read(source, 65536):
        os.write(target, data)

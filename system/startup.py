"""The first moments of a script, before the seconds in which its libraries are imported.

So that these moments are short, this module imports nothing that takes long: no pathlib, typing or contextlib.
"""

import os
import signal
import sys
from types import FrameType

# Those that ask a script to end: Ctrl-C, `kill`, and a terminal that was closed.
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

SIMPLE_TERMINALS = ("dumb", "unknown")  # values of TERM: what was written there cannot be erased
INSTALL = "activate the environment, or run pip install -r requirements.txt"  # if a library is missing

_LOADING = b"loading ..."
_stderr = 2  # a copy of its descriptor, since stderr is redirected while TensorFlow is imported
_owns_process = False


def start_script() -> None:
    """Prepares the process of a script, which calls this before its imports.

    From here on, Ctrl-C ends it with one line, and a terminal shows that it is loading. Closed standard streams are
    opened on devnull, so that no other file gets their numbers. If the locale cannot encode all file names, the script
    is started again in UTF-8 mode.

    In a process that is not the script's own, such as a notebook with `%run` or a debugger, nothing is changed.
    """
    global _owns_process, _stderr
    if not _is_main_program(sys._getframe(1)):
        return
    _owns_process = True
    sys.excepthook = _describe_failed_import
    for number in STOP_SIGNALS:
        handle_signal(number, lambda number, _: end_at_once(number))
    _open_closed_streams()
    _use_utf8_for_file_names()
    _stderr = os.dup(2)
    show_loading()


def owns_process() -> bool:
    """Returns whether the process runs a script and nothing else, so that it may be changed as a whole."""
    return _owns_process


def handle_signal(number: int, handler) -> None:
    """Sets the handler of a signal, unless the process was started with this signal ignored.

    `nohup` ignores SIGHUP; a shell script ignores SIGINT for what it starts in the background.
    """
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def end_at_once(number: int) -> None:
    """Ends the process because of a signal, with one line and without cleanup; even while libraries are imported."""
    try:
        os.write(_stderr, describe_stop(number, is_terminal=os.isatty(_stderr)).encode(errors="backslashreplace"))
    finally:
        os._exit(128 + number)


def _describe_failed_import(kind, error, traceback) -> None:
    """Shows one line if a library cannot be imported; replaced by `end_of_imports`."""
    if not isinstance(error, ImportError | MemoryError):
        sys.__excepthook__(kind, error, traceback)
        return
    reason = " ".join(str(error).split()) or kind.__name__
    remedy = "check `ulimit -v`, or install the requirements again: pip install -r requirements.txt"
    if isinstance(error, ModuleNotFoundError):
        remedy = INSTALL
    from system.terminal import wrapped  # here, because loading it takes 10 ms

    line = wrapped(f"{os.path.basename(sys.argv[0])}: {reason}; {remedy}", stream=sys.stderr)  # noqa: PTH119
    os.write(_stderr, f"{line}\n".encode(errors="backslashreplace"))
    os._exit(2)


def end_of_imports() -> None:
    """Ends the special treatment of errors while libraries are imported, and erases what the terminal shows."""
    if _owns_process:
        sys.excepthook = sys.__excepthook__
        hide_loading()


def show_loading() -> None:
    """Shows on a terminal that libraries are being imported."""
    if _is_on_terminal():
        os.write(_stderr, _LOADING + b"\r")


def hide_loading() -> None:
    """Erases what `show_loading` has shown."""
    if _is_on_terminal():
        os.write(_stderr, b" " * len(_LOADING) + b"\r")


def _is_on_terminal() -> bool:
    """Returns whether lines that are written to stderr can be overwritten, and nobody else writes there."""
    return os.isatty(1) and os.isatty(2) and os.environ.get("TERM") not in SIMPLE_TERMINALS


def describe_stop(number: int, *, is_terminal: bool) -> str:
    """Returns the line with which a script says that it was ended by a signal."""
    what = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    start = ""
    if is_terminal:  # there may be a progress bar, or the ^C of the terminal
        can_erase = os.name == "posix" and os.environ.get("TERM") not in SIMPLE_TERMINALS
        start = "\r\x1b[2K" if can_erase else "\n"
    return f"{start}{os.path.basename(sys.argv[0])}: {what}\n"  # noqa: PTH119 - pathlib takes 10 ms to load


def _is_main_program(frame: FrameType | None) -> bool:
    """Returns whether the frame of a module was started by Python itself, as in `python trainer.py`."""
    assert frame is not None
    callers = []
    while frame := frame.f_back:
        callers.append(frame.f_globals.get("__name__"))
    return set(callers) <= {"runpy"}  # `python -m trainer`


def _open_closed_streams() -> None:
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115, PTH123


def _use_utf8_for_file_names() -> None:
    """Starts the script again if names depend on the locale: every run is to see the same ones."""
    arguments = sys.orig_argv[1:]
    if sys.getfilesystemencoding() == "utf-8" or os.name != "posix" or arguments[:2] == ["-X", "utf8"]:
        return
    # What is printed is still encoded as the terminal expects it.
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *arguments])

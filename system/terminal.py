"""What a terminal can show: file names, lines that fit it, symbols; and going on without one."""

import codecs
import contextlib
import errno
import io
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from system.startup import SIMPLE_TERMINALS, owns_process

_LABEL_WIDTH = 11  # of the first column of what is printed about a run

# For terminals and logs whose encoding has no such symbols. All other characters that it lacks are escaped.
_ASCII = {"█": "#", "━": "-", "×": "x", "·": "-", "…": "...", "→": ">", "↓": "v", **dict.fromkeys("▏▎▍▌▋▊▉", "")}


def printable(name: str | os.PathLike[str]) -> str:
    """Returns a file name on one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in os.fspath(name))


def print_entry(label: str, text: str) -> None:
    """Prints a label and a text beside it. On a terminal, lines are broken between words."""
    line = f"{label:<{_LABEL_WIDTH - 1}} {text}"
    print(wrapped(line, indent=_LABEL_WIDTH), flush=True)


def wrapped(text: str, *, indent: int = 0, stream: Any = None) -> str:
    """Returns a text on lines that fit the terminal of a stream, or as it is where there is none.

    Args:
        text: without line breaks.
        indent: the number of spaces before all lines but the first.
        stream: stdout unless given.
    """
    if not is_terminal(stream or sys.stdout):
        return text
    width = max(shutil.get_terminal_size().columns, 2 * indent)
    line, *words = text.split(" ")
    lines = [line]
    for word in words:
        if columns(f"{lines[-1]} {word}") <= width or not lines[-1].strip():
            lines[-1] += f" {word}"
        elif word:
            lines.append(" " * indent + word)
    return "\n".join(line.rstrip() for line in lines)


def columns(text: str) -> int:
    """Returns how many columns of a terminal a text takes, as Chinese letters take two; `textwrap` counts letters."""
    if text.isascii():  # most are, and the other way takes long for thousands of names
        return len(text)
    widths = (1 + (unicodedata.east_asian_width(char) in "WF") for char in text if not _is_mark(char))
    return sum(widths)


def _is_mark(char: str) -> bool:
    """Returns whether a character is shown on the one before it, such as an accent."""
    return unicodedata.category(char) in ("Mn", "Me", "Cf")


def fitted(text: str, width: int) -> str:
    """Returns a text that takes so many columns: with spaces at its end, or cut and with "…"."""
    if columns(text) > width:
        while columns(text) >= width:
            text = text[:-1]
        text += "…"
    return text + " " * (width - columns(text))


def plural(count: int, noun: str) -> str:
    """Returns a number and a regular noun: 1 epoch, 12,000 epochs."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some_names(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names, and how many more there are: a, b, c and 9 more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(map(printable, names[:most]))}{more}"


def print_marked(line: str, mark: str) -> None:
    """Prints a line and a mark at its end, at once; on a terminal the mark is green, unless NO_COLOR is set."""
    print(colored((line, ""), (mark, "green"), stream=sys.stdout).rstrip(), flush=True)


def print_to_stderr(line: str, color: str = "") -> None:
    """Prints a line on stderr; on a terminal it is broken between words, and has its color, unless NO_COLOR is set."""
    print(colored((wrapped(line, stream=sys.stderr), color), stream=sys.stderr), file=sys.stderr, flush=True)


def colored(*parts: tuple[str, str], stream: Any) -> str:
    """Returns texts as one; each has its color if the stream is a terminal that shows colors.

    Args:
        parts: texts and their colors, by the names of rich; "" for the usual one.
        stream: on which it will be printed.
    """
    if not can_redraw(stream) or os.environ.get("NO_COLOR") or not any(color for _, color in parts):
        return "".join(text for text, _ in parts)
    from rich.console import Console  # here, because loading it takes 0.04 s
    from rich.text import Text

    # Not printed by rich, which would write over a progress bar on the same terminal.
    console = Console(file=stream)
    with console.capture() as capture:
        console.print(Text.assemble(*parts), soft_wrap=True, end="")
    return capture.get()


def can_redraw(stream: Any) -> bool:
    """Returns whether a line that was written can be replaced: on a terminal that is not a simple one."""
    return is_terminal(stream) and os.environ.get("TERM") not in SIMPLE_TERMINALS


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

    Symbols and letters that the encoding of a stream lacks are replaced and escaped.
    """
    global _stdout
    codecs.register_error("readable", _readable)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="readable")
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if type(raw) is io.FileIO and owns_process():  # not the console of Windows, which needs no bytes
            with contextlib.suppress(OSError):
                stream.flush()
            output = _Output(raw.fileno(), "wb", closefd=False)
            setattr(sys, name, _text_stream(output, like=stream))
            _stdout = output if name == "stdout" else _stdout


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Returns what is written for characters that an encoding lacks, and the index of the character after them."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    escaped = (_ASCII.get(char, char.encode("ascii", "backslashreplace").decode()) for char in lacking)
    return "".join(escaped), error.end


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

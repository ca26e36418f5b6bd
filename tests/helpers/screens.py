"""What is seen on a terminal, after all that was written to it."""

import io
import re
import sys

_PARTS = re.compile(r"\x1b\[(?P<number>\d*)(?P<command>[AKm])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def rendered(output: str) -> list[str]:
    """Returns the lines that are left on a terminal, without empty ones at the end.

    Fails for control sequences that nothing here writes: those that hide the cursor, for example.
    """
    lines, row, column, end = [""], 0, 0, 0
    for match in _PARTS.finditer(output):
        assert match.start() == end, ascii(output[end : match.start()])
        end = match.end()
        if match["text"]:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + match["text"] + line[column + len(match["text"]) :]
            column += len(match["text"])
        elif match["control"] == "\r":
            column = 0
        elif match["control"] == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif match["command"] == "A":
            row -= int(match["number"] or 1)
        elif match["command"] == "K":
            assert match["number"] == "2"
            lines[row] = ""
    assert end == len(output), ascii(output[end:])
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def show_terminal(monkeypatch, *names: str, columns: int = 80) -> Terminal:
    """Makes the standard streams of these names write to one terminal; returns it."""
    screen = Terminal()
    for name in names:
        monkeypatch.setattr(sys, name, screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen

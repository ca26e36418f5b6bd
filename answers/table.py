"""Answers as an aligned table for people."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from answers.output import Answer, Output
from config import UNKNOWN
from system.terminal import colored, columns, fitted, is_terminal, printable

_NO_SCORE = "-"
_UNLIKE = "like nothing seen"  # of an unknown picture
_MIN_PATH = 20  # columns of a terminal for the path, of which it gets half if it needs them
_MAX_PADDED = 60  # columns to which paths are filled with spaces; longer ones may stand out
_MAX_NAME = 22  # columns of a terminal for the name of a class
_NO_ROOM = "  …"  # for other classes
_NEAR_ZERO = 0.0005  # lower scores would be shown as 0.000


class Table(Output):
    """Prints a line for each picture: its path, its class, the score, and the next best classes with their scores.

    A terminal gets lines that fit it, in color: long names are cut, and `…` stands for classes without room. Elsewhere
    nothing is left out.
    """

    only_shown = True

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        names: Iterable[str | os.PathLike[str]],
        top: int,
        raw: bool,
        networks: int = 1,
    ) -> None:
        """Args:
        class_names: of the network.
        names: of the pictures, as far as they are known; the longest one sets the width of its column.
        top: the largest number of classes in a line.
        raw: whether to show the raw magnitudes instead of the scores.
        networks: how many answer together. A remark says how many agree, unless all do.
        """
        self._top, self._raw, self._networks = top, raw, networks
        self._room = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else sys.maxsize
        self._max_path = max(_MIN_PATH, self._room // 2)
        max_name = _MAX_NAME if is_terminal(sys.stdout) else sys.maxsize
        self._class_names = [_cut_end(printable(name), max_name) for name in class_names]
        widths = (columns(printable(name)) for name in names)
        self._path_width = min(self._max_path, _MAX_PADDED, max(widths, default=0))
        self._name_width = max(columns(name) for name in [*self._class_names, UNKNOWN])
        self._value_width = len("-12.345") if raw else len("0.123")

    def add(self, answers: Sequence[Answer]) -> None:
        """Prints answers at once, except for pictures that could not be read."""
        lines = [[*self.line(answer), ("\n", "")] for answer in answers if not answer.error]
        if lines:  # printed together, since a progress bar is drawn again below each text
            print(colored(*itertools.chain(*lines), stream=sys.stdout), end="", flush=True)

    def line(self, answer: Answer) -> list[tuple[str, str]]:
        """Returns the parts of the line of an answer, each with its color."""
        path = _cut_start(printable(answer.path), self._max_path)
        self._path_width = max(self._path_width, min(columns(path), _MAX_PADDED))  # if it was not known before
        values = answer.logits if self._raw else answer.scores
        best = np.argsort(-np.asarray(answer.logits), kind="stable")[: self._top].tolist()
        if answer.unknown:
            name, value, color, others = UNKNOWN, _NO_SCORE, "yellow", best
        else:
            name, value, color, others = self._class_names[best[0]], f"{values[best[0]]:.3f}", "green", best[1:]
        start = f"{path}{' ' * (self._path_width - columns(path))}  "
        best_class = f"{fitted(name, self._name_width)}  {value:>{self._value_width}}"
        remarks = ", ".join(filter(None, [_UNLIKE if answer.unknown else "", self._disagreement(answer)]))
        remark = f"  {remarks}" if remarks else ""
        shown = [index for index in others if self._raw or values[index] >= _NEAR_ZERO]
        cells = [self._cell(index, values[index]) for index in shown]
        if cells and not remark:
            cells[-1] = cells[-1].rstrip()
        rest = _joined(cells, room=self._room - columns(start + best_class + remark))
        if rest == _NO_ROOM:  # other classes matter more than straight columns
            start = f"{path}  "
            rest = _joined(cells, room=self._room - columns(start + best_class + remark))
        return [(start, ""), (best_class, color), (rest, "bright_black"), (remark, color)]

    def _disagreement(self, answer: Answer) -> str:
        agreeing = round(answer.agreement * self._networks)
        return "" if agreeing == self._networks else f"{agreeing} of {self._networks} networks agree"

    def _cell(self, index: int, value: float) -> str:
        """Returns a class and its value, as wide as for every other class."""
        width = self._name_width + 1 + self._value_width
        return "  " + fitted(f"{self._class_names[index]} {value:.3f}", width)


def _joined(cells: Sequence[str], *, room: int) -> str:
    """Returns cells side by side; if there is no room for all, those for which there is, and …"""
    if not cells or sum(map(columns, cells)) <= room:
        return "".join(cells)
    left = [cell for number, cell in enumerate(cells, 1) if sum(map(columns, cells[:number])) <= room - len(_NO_ROOM)]
    return "".join([*left, _NO_ROOM])


def _cut_end(text: str, width: int) -> str:
    return text if columns(text) <= width else fitted(text, width).rstrip()


def _cut_start(text: str, width: int) -> str:
    """Returns the end of a text that is too long, after …: of a path, that is what tells it from others."""
    if columns(text) <= width:
        return text
    while columns(text) >= width:
        text = text[1:]
    return f"…{text}"

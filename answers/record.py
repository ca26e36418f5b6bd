"""What is left to say, and to write, when all pictures are answered."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from answers.output import Answer
from answers.table import UNKNOWN
from pictures.listing import is_other_file
from pictures.report import note_lines, other_files_lines
from system.terminal import printable


class Record:
    """Counts answers, and collects what could not be read. It takes little memory, unless it keeps the answers."""

    def __init__(self, class_names: Sequence[str], *, limits: Mapping[Path, Path | None], keep: bool) -> None:
        """Args:
        class_names: of the network.
        limits: the folder in which a file was found; None, or nothing, for those that were named, which are missed.
        keep: whether the answers are needed at the end.
        """
        self._class_names, self._limits, self._keep = class_names, limits, keep
        self.answers: list[Answer] = []  # all of them, if they are kept
        self.counts: Counter[str] = Counter()  # by class
        self.unreadable: list[tuple[str, str]] = []  # path and reason
        self.notes: dict[str, list[str]] = defaultdict(list)  # paths by note
        self._others: list[str] = []  # files in folders that are no pictures

    def add(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            path = os.fspath(answer.path)
            if self._keep:
                self.answers.append(answer)
            if answer.note:
                self.notes[answer.note].append(path)
            if not answer.error:
                self.counts[UNKNOWN if answer.unknown else self._class_names[answer.predicted]] += 1
            elif self._limits.get(Path(answer.path)) and is_other_file(path, answer.error):
                self._others.append(path)
            else:
                self.unreadable.append((path, answer.error))

    def remarks(self) -> list[str]:
        """Returns lines about what an image does not show, and about files that are no pictures."""
        return note_lines(self.notes) + other_files_lines(self._others)

    def failures(self) -> list[str]:
        """Returns a line about each picture that could not be read."""
        return [f"{printable(path)}: {printable(reason)}" for path, reason in self.unreadable]

"""What is left to say, and to write, when all pictures are answered."""

import os
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

from answers.output import Answer
from answers.table import UNKNOWN
from pictures.listing import is_other_file
from pictures.report import note_lines, other_files_lines
from system.terminal import printable


class Record:
    """Counts answers, and collects what could not be read. It takes little memory, unless it keeps the answers."""

    def __init__(self, class_names: Sequence[str], *, named: Container[Path], keep: bool) -> None:
        """Args:
        class_names: of the network.
        named: the files that were given by name; others may be passed over if they are no pictures.
        keep: whether the answers are needed at the end.
        """
        self._class_names, self._named, self.keeps = class_names, named, keep
        self.answers: list[Answer] = []  # all of them, if they are kept
        self.counts: Counter[str] = Counter()  # by class
        self.failed = False  # whether there was a picture that could not be read
        self.unreadable: list[tuple[str, str]] = []  # path and reason
        self.notes: dict[str, list[str]] = defaultdict(list)  # paths by note
        self._others: list[str] = []  # files in folders that are no pictures

    def add(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            path = os.fspath(answer.path)
            if self.keeps:
                self.answers.append(answer)
            if answer.note:
                self.notes[answer.note].append(path)
            if not answer.error:
                self.counts[UNKNOWN if answer.unknown else self._class_names[answer.predicted]] += 1
            elif Path(path) not in self._named and is_other_file(path, answer.error):
                self._others.append(path)
            else:
                self.failed = True
                self.unreadable.append((path, answer.error))

    def pop_messages(self) -> tuple[list[str], list[str]]:
        """Returns lines about what came since the last call.

        Returns:
            what images do not show, and which files are no pictures; and which pictures could not be read.
        """
        remarks = note_lines(self.notes) + other_files_lines(self._others)
        failures = [f"{printable(path)}: {printable(reason)}" for path, reason in self.unreadable]
        for collected in (self.notes, self._others, self.unreadable):
            collected.clear()
        return remarks, failures

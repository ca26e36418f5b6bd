"""What predict.py reports besides the answers: how many of each class there are, and which pictures have problems."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

from answers.messages import Message, print_messages, print_on_terminal
from answers.output import Answer, Output
from config import UNKNOWN
from pictures.listing import is_other_file
from pictures.report import note_lines, other_files_lines
from system.errors import EXIT_PARTIAL_FAILURE
from system.terminal import plural, printable

_MAX_COUNTS = 5  # classes that are named


class Summary(Output):
    """Counts answers, and collects messages about pictures. It takes little memory."""

    only_shown = True

    def __init__(
        self, class_names: Sequence[str], *, named: Container[Path], start: float | None, at_once: bool = False
    ) -> None:
        """Args:
        class_names: of the network.
        named: the files that were given by name; others may be passed over if they are no pictures.
        start: when the work began, by `time.monotonic`; None: the counts are not printed.
        at_once: whether to print the messages after each batch and not at the end.
        """
        self._class_names, self._named, self._start, self._at_once = class_names, named, start, at_once
        self.counts: Counter[str] = Counter()  # by class
        self._notes: dict[str, list[str]] = defaultdict(list)  # paths by note
        self._others: list[str] = []  # files in folders that are no pictures
        self._failures: list[Message] = []

    def add(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            path = os.fspath(answer.path)
            for note in filter(None, answer.note.split("; ")):  # as the notes of a picture are joined
                self._notes[note].append(path)
            if not answer.error:
                self.counts[shown_class(answer, self._class_names)] += 1
            elif Path(path) not in self._named and is_other_file(path, answer.error):
                self._others.append(path)
            else:
                self._failures.append(failure(answer))
        if self._at_once:
            print_messages(self.pop_messages())

    def finish(self) -> list[Message]:
        """Prints the counts on a terminal, if there is more than one picture. Returns the messages that are left."""
        if self._start is not None and self.counts.total() > 1:
            print_on_terminal(format_summary(self.counts, time.monotonic() - self._start))
        return self.pop_messages()

    def pop_messages(self) -> list[Message]:
        """Returns the messages about the answers since the last call.

        They are: what images do not show, which files are no pictures, and which pictures could not be read.
        """
        remarks = map(Message, note_lines(self._notes) + other_files_lines(self._others))
        messages = [*remarks, *self._failures]
        for collected in (self._notes, self._others, self._failures):
            collected.clear()
        return messages


def failure(answer: Answer) -> Message:
    """Returns the message about a picture that could not be read."""
    name = os.fspath(answer.path)
    shown = printable(name) if name and name == name.strip() else repr(name)  # so that spaces are seen
    return Message(f"{shown}: {printable(answer.error)}", EXIT_PARTIAL_FAILURE)


def shown_class(answer: Answer, class_names: Sequence[str]) -> str:
    """Returns the predicted class, or "unknown"."""
    return UNKNOWN if answer.unknown else class_names[answer.predicted]


def format_summary(counts: Counter[str], seconds: float) -> str:
    """Returns a line such as `10 pictures: 5 batman, 4 superman, 1 unknown · 1.3 s`."""
    return f"{plural(counts.total(), 'picture')}: {format_counts(counts)} · {seconds:.1f} s"


def format_counts(counts: Counter[str]) -> str:
    """Returns the most frequent classes with their counts: `5 batman, 4 superman, 1 unknown and 3 other classes`.

    `counts` are the numbers of pictures of each class, and of unknown ones.
    """
    classes = [(name, count) for name, count in counts.most_common() if name != UNKNOWN]
    unknown = [(UNKNOWN, counts[UNKNOWN])] if counts[UNKNOWN] else []
    named = [f"{count:,} {printable(name)}" for name, count in [*classes[:_MAX_COUNTS], *unknown]]
    left = len(classes) - _MAX_COUNTS
    others = f" and {left:,} other class{'es' if left > 1 else ''}" if left > 0 else ""
    return f"{', '.join(named)}{others}"

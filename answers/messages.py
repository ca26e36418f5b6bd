"""What predict.py prints on stderr about pictures and files: remarks, problems, and lines for terminals only."""

import sys
from collections.abc import Iterable
from typing import NamedTuple

from system.errors import EXIT_PARTIAL_FAILURE, EXIT_SUCCESS
from system.output_folder import OutputFolder
from system.terminal import is_terminal, output_closed, print_to_stderr


class Message(NamedTuple):
    """A line about a picture or a file."""

    text: str
    exit_code: int = EXIT_SUCCESS  # that it leads to; EXIT_SUCCESS for a remark


def print_messages(messages: Iterable[Message]) -> int:
    """Prints messages, the most serious last and problems in red. Returns the exit code: the highest of them."""
    code = EXIT_SUCCESS
    for text, code in sorted(messages, key=lambda message: message.exit_code):
        print_to_stderr(f"predict.py: {text}", "red" if code else "")
    return code


def print_on_terminal(line: str) -> None:
    """Prints a line if stderr is a terminal: not in the log of another program, and not if the output was cut short."""
    if is_terminal(sys.stderr) and not output_closed():
        print_to_stderr(line)


def finish_folder(folder: OutputFolder) -> list[Message]:
    """Prints on a terminal what was added to a folder. Returns a message for each file that could not be added."""
    print_on_terminal(folder.describe("picture"))
    return [Message(problem, EXIT_PARTIAL_FAILURE) for problem in folder.problems]

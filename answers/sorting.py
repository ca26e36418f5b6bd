"""Copying pictures into one folder per predicted class."""

from collections.abc import Sequence
from pathlib import Path, PurePath, PureWindowsPath

from answers.messages import Message, finish_folder
from answers.output import Answer, Output
from system.errors import UserError
from system.output_folder import OutputFolder
from system.terminal import printable

UNSURE = "unsure"  # folder of the pictures that are unknown, or whose score is too low


class Sorter(Output):
    """Copies pictures to `folder/<class>/` or `folder/unsure/`. Names that are taken: see `OutputFolder`."""

    def __init__(self, folder: Path, class_names: Sequence[str], least_score: float) -> None:
        """Creates the folder.

        Args:
            folder: where the folders of the classes are, or will be.
            class_names: of the network.
            least_score: of the predicted class, 0..1; pictures with a lower one go to unsure/.

        Raises:
            UserError: it cannot be created, or a class cannot have a folder of its own in it.
        """
        for name in class_names:
            if name.casefold() == UNSURE:
                remedy = f"rename the class {printable(name)} and train again"
                raise UserError(f"--sort: the folder {UNSURE} is for pictures of no sure class; {remedy}")
            if not is_folder_name(name):  # it could lead out of the folder; the network may be a stranger's
                raise UserError(f"--sort: {printable(name)}: no folder can have this name here; rename that class")
        self.files = OutputFolder(folder)
        self._class_names = class_names
        self._least_score = least_score

    def add(self, answers: Sequence[Answer]) -> None:
        """Copies the pictures of some answers, except for those that could not be read.

        Raises:
            UserError: nothing can be written, since the disk is full, for example.
        """
        for answer in answers:
            if not answer.error:
                path = Path(answer.path)
                self.files.add_copy(str(Path(self.folder_of(answer), path.name)), path)

    def finish(self) -> list[Message]:
        return finish_folder(self.files)

    def folder_of(self, answer: Answer) -> str:
        """Returns the name of the folder that a picture belongs to."""
        is_sure = not answer.unknown and answer.scores[answer.predicted] >= self._least_score
        return self._class_names[answer.predicted] if is_sure else UNSURE


def is_folder_name(name: str, *, system: type[PurePath] = PurePath) -> bool:
    """Returns whether a name is that of a folder directly inside another one, by the rules of an operating system.

    `a\\..\\b`, for example, is an ordinary name on Linux, and a path on Windows, which also ignores dots at the end.
    """
    path = system(name)
    return path.name == name and name != ".." and not (isinstance(path, PureWindowsPath) and name.rstrip(". ") != name)

"""Pictures whose class is doubtful, for people to look at: a table, a sheet of pictures, and lines on the terminal."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from answers.evaluation import Evaluation
from answers.suspects import BOTH, MISLABELED, NEITHER, Suspect, find_suspects, suspect_row
from reports.gallery import ImageOf
from reports.sheets import COLUMNS, Tile, drawable, drawable_class, titled_sheets
from system.files import write_atomically
from system.terminal import print_entry, printable

SUSPECTS, SUSPECTS_SHEET = "suspects.csv", "suspects.png"
HEAD = ("picture", "kind", "label", "score_of_label", "other", "score_of_other")
TITLES = {MISLABELED: "probably mislabeled", BOTH: "may show two classes", NEITHER: "may show none"}
_ROWS = 6  # of pictures of each kind in the sheet, at most
_MAX_NAMED = 3  # on the terminal
_NOTHING = np.full((1, 1, 3), 255, np.uint8)  # where there is no picture


def write_suspects(folder: Path, evaluation: Evaluation, image_of: ImageOf) -> None:
    """Writes `suspects.csv` and, if there are any, `suspects.png`. A sheet of an earlier run does not remain.

    Args:
        folder: of the checkpoints.
        evaluation: the predictions of networks that were not trained on these pictures.
        image_of: returns the image of an evaluated picture; only those that are shown are used.

    Raises:
        OSError: a file cannot be written.
    """
    suspects = find_suspects(evaluation)
    if suspects:
        write_atomically(folder / SUSPECTS_SHEET, _png(suspects_sheet(evaluation, suspects, image_of, rows=_ROWS)))
    else:
        (folder / SUSPECTS_SHEET).unlink(missing_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEAD)  # with its own line end: only then are names that contain one quoted
    writer.writeheader()
    writer.writerows(suspect_row(evaluation, suspect) for suspect in suspects)
    write_atomically(folder / SUSPECTS, text.getvalue().encode("utf-8", errors="surrogateescape"))


def suspects_sheet(evaluation: Evaluation, suspects: Sequence[Suspect], image_of: ImageOf, *, rows: int) -> np.ndarray:
    """Returns the first suspects of each kind with their label and the other class: uint8 (height, 350, 3).

    Args:
        evaluation: of all pictures.
        suspects: as from `find_suspects`; at least one.
        image_of: returns the image of an evaluated picture.
        rows: of pictures of each kind, at most.
    """
    parts = {}
    for kind, own in _by_kind(suspects):
        shown = own[: rows * COLUMNS]
        title = f"{TITLES[kind]}: {f'{len(shown)} of ' if len(shown) < len(own) else ''}{len(own):,}"
        parts[title] = [_tile(evaluation, suspect, image_of) for suspect in shown]
    return titled_sheets(parts)


def print_suspects(folder: Path, evaluation: Evaluation) -> None:
    """Prints at most four lines: how many there are of each kind, and the first that are probably mislabeled."""
    suspects = find_suspects(evaluation)
    if not suspects:
        return
    counts = ", ".join(f"{len(own):,} {TITLES[kind]}" for kind, own in _by_kind(suspects))
    print_entry("suspects", f"{printable(folder / SUSPECTS_SHEET)}: {counts}")
    for suspect in [suspect for suspect in suspects if suspect.kind == MISLABELED][:_MAX_NAMED]:
        row = suspect_row(evaluation, suspect)
        label, other = printable(row["label"]), printable(row["other"])
        scores = f"{row['score_of_other']:.3f} against {row['score_of_label']:.3f}"
        print_entry("", f"{printable(row['picture'])}  is {label}, probably {other}: {scores}")


def _by_kind(suspects: Sequence[Suspect]) -> Iterator[tuple[str, list[Suspect]]]:
    """Yields each kind of which there are some."""
    for kind in TITLES:
        if own := [suspect for suspect in suspects if suspect.kind == kind]:
            yield kind, own


def _tile(evaluation: Evaluation, suspect: Suspect, image_of: ImageOf) -> Tile:
    index, names, scores = suspect.index, evaluation.class_names, evaluation.predictions.scores
    image = image_of(index)
    label = evaluation.labels[index]
    lines = [f"{drawable_class(one, names)} {scores[index, one]:.2f}" for one in (label, suspect.other)]
    name = drawable(Path(evaluation.paths[index]).stem, "")
    return Tile(_NOTHING if image is None else image, [f"is {lines[0]}", f"or {lines[1]}", name])


def _png(image: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()

"""What the scripts say about the pictures of a run. The manifest has every detail; the terminal has what matters."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pictures.checks import Finding
from pictures.manifest import MANIFEST, Picture
from pictures.split import number_of_folds
from pictures.summary import ClassCounts, count_classes, notes, unused_files
from system.terminal import fitted, plural, print_entry, printable, some_names, wrapped

_MAX_LINES = 10  # for files with the same reason; if there are more, they share one line
_MAX_NAMED = 3  # in a line, by `some_names`
_MAX_CLASSES, _SOME_CLASSES = 6, 3  # that are named: all of six, and of more, the first three


def print_table(pictures: Sequence[Picture]) -> None:
    """Prints the numbers of pictures per class."""
    print(f"{'class':<20} {'kept':>7} {'train':>7} {'valid.':>7} {'copies':>7} {'skipped':>7} {'excluded':>8}")
    for name, count in count_classes(pictures).items():
        print(
            f"{fitted(printable(name), 20)} {count.used:>7} {count.train:>7} {count.validation:>7} "
            f"{count.copies:>7} {count.skipped:>7} {count.excluded:>8}"
        )


def print_totals(pictures: Sequence[Picture], data: Path, changes: str = "") -> None:
    """Prints two lines: how many pictures of which classes there are, and what they are used for.

    `changes` are those since the last run, as from `describe_changes`.
    """
    classes = {name: count for name, count in count_classes(pictures).items() if count.used}
    names = [f"{printable(name)} {count.used:,}" for name, count in classes.items()]
    shown, left = (names, 0) if len(names) <= _MAX_CLASSES else (names[:_SOME_CLASSES], len(names) - _SOME_CLASSES)
    total = ClassCounts(*map(sum, zip(*count_classes(pictures).values(), strict=True)))
    print_entry(
        f"{printable(data)}/",
        f"{plural(total.used, 'picture')}, {len(names):,} classes: {', '.join(shown)}"
        f"{f' and {left:,} more' if left else ''}{changes and f' ({changes})'}",
    )
    copies = "1 copy" if total.copies == 1 else f"{total.copies:,} copies"
    excluded = f", {total.excluded:,} excluded" if total.excluded else ""
    folds = f" in {count} folds" if (count := number_of_folds(pictures)) else ""
    uses = f"{total.train:,} to train, {total.validation:,} to validate{folds}"
    print_entry("", f"{uses}, {copies}, {total.skipped:,} skipped{excluded}")


def describe_changes(pictures: Sequence[Picture], previous: Sequence[Picture]) -> str:
    """Returns how many pictures are new, changed and removed since the last run."""
    current, before = ({picture.key: picture for picture in rows} for rows in (pictures, previous))
    new, removed = len(current.keys() - before.keys()), len(before.keys() - current.keys())
    changed = sum(
        (current[key].sha256, current[key].shape) != (before[key].sha256, before[key].shape)
        for key in current.keys() & before.keys()
    )
    counts = {"new": new, "changed": changed, "removed": removed}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "unchanged"


def print_copies(pictures: Sequence[Picture]) -> None:
    """Prints how many of the user's own pictures are taken for copies, so that none is missed without a word."""
    if copies := [picture for picture in pictures if picture.is_copy]:
        photos = len({picture.source for picture in copies})
        names = some_names([picture.path for picture in copies])
        print(wrapped(f"taken for copies of {photos} photos, by their names: {names}"))


def print_reasons(pictures: Sequence[Picture], statuses: Collection[str]) -> None:
    """Prints why pictures of these statuses are not used, and what the images of the others do not show.

    Each is named, unless more than ten have the same reason.
    """
    for (status, reason), paths in unused_files(pictures, statuses).items():
        if len(paths) > _MAX_LINES:
            print(
                wrapped(
                    f"{status} {len(paths)} files: {printable(reason)}: {some_names(paths)} (all are in {MANIFEST})"
                )
            )
            continue
        for path in paths:
            print(wrapped(f"{status} {printable(path)}: {printable(reason)}"))
    for line in note_lines(notes(pictures)):
        print(wrapped(line))


def note_lines(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns a line for each note, with a few of the pictures that have it."""
    return [
        f"{printable(paths[0])}: {printable(note)}"
        if len(paths) == 1
        else f"{len(paths)} pictures: {printable(note)}: {some_names(paths)}"
        for note, paths in notes.items()
    ]


def finding_lines(findings: Sequence[Finding], *, in_manifest: bool = True) -> list[str]:
    """Returns a line for each finding, with the three worst of its pictures, and where all are listed."""
    lines = note_lines({finding.text: finding.names for finding in findings})
    return [
        f"{line} (column remarks of {MANIFEST})" if in_manifest and len(finding.names) > _MAX_NAMED else line
        for line, finding in zip(lines, findings, strict=True)
    ]


def other_files_lines(paths: Sequence[str]) -> list[str]:
    """Returns a line about files that are no pictures, if there are any."""
    if not paths:
        return []
    count = "1 file that is no picture" if len(paths) == 1 else f"{len(paths)} files that are no pictures"
    return [f"passed over {count}: {some_names(paths)}"]

"""The manifest in numbers."""

from pictures.manifest import EXCLUDED, KEPT, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.summary import count_classes, notes, unused_files


def row(path: str, *, source: str = "", **values: str) -> Picture:
    return Picture(class_name=path.split("/")[0], source=source or path, path=path, **values)


ROWS = [
    row("bee/1.png", status=KEPT, split=TRAIN),
    row("ant/1.png", status=KEPT, split=TRAIN, note="only the first frame"),
    row("ant/1_copy.png", source="ant/1.png", status=KEPT, split=TRAIN),
    row("ant/2.png", status=KEPT, split=VALIDATION, note="only the first frame"),
    row("ant/3.png", status=SKIPPED, reason="the file is empty", note="not said, since it is not used"),
    row("ant/4.png", status=EXCLUDED, reason="shows the same"),
    row("bee/5.png", status=SKIPPED, reason="the file is empty"),
]


def test_count_classes_counts_what_each_file_is_used_for():
    counts = count_classes(ROWS)
    assert list(counts) == ["ant", "bee"]
    assert counts["ant"] == (3, 2, 1, 1, 1, 1)  # used, train, validation, copies, skipped, excluded
    assert counts["bee"] == (1, 1, 0, 0, 1, 0)


def test_count_classes_counts_pictures_of_folds_for_both_uses():
    rows = [
        row("ant/1.png", status=KEPT, split="fold 1", group="ant/1.png", photo="ant/1.png"),
        row("ant/1_copy.png", source="ant/1.png", status=KEPT, split="fold 1", group="ant/1.png", photo="ant/1.png"),
        row("ant/2.png", status=KEPT, split="fold 2", group="ant/2.png", photo="ant/2.png"),
        row("ant/3.png", status=KEPT, split=TRAIN, group="both", photo="ant/3.png"),
    ]
    assert count_classes(rows) == {"ant": (4, 4, 2, 1, 0, 0)}


def test_count_classes_has_a_class_of_which_nothing_is_used():
    assert count_classes(ROWS[-1:]) == {"bee": (0, 0, 0, 0, 1, 0)}


def test_unused_files_are_by_status_and_reason():
    assert unused_files(ROWS, (SKIPPED, EXCLUDED)) == {
        (SKIPPED, "the file is empty"): ["ant/3.png", "bee/5.png"],
        (EXCLUDED, "shows the same"): ["ant/4.png"],
    }
    assert list(unused_files(ROWS, (EXCLUDED,))) == [(EXCLUDED, "shows the same")]


def test_notes_are_those_of_kept_pictures():
    assert notes(ROWS) == {"only the first frame": ["ant/1.png", "ant/2.png"]}

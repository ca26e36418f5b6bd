"""The table and the sheet of pictures whose class is doubtful, and what the terminal says of them."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from answers.suspects import find_suspects
from reports.suspects import print_suspects, suspects_sheet, write_suspects
from tests.helpers.evaluations import evaluation_of
from tests.helpers.reports import image_of

SURE = [("a", "ant", (0.9, 0.1)), ("b", "ant", (0.9, 0.1)), ("c", "bee", (0.1, 0.9)), ("d", "bee", (0.1, 0.9))]
WRONG = ("rawdata/ant/x.png", "ant", (0.0625, 0.9375))


def rows_of(folder: Path) -> list[dict]:
    with (folder / "suspects.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_write_suspects_makes_a_table_and_a_sheet(tmp_path):
    write_suspects(tmp_path, evaluation_of([*SURE, WRONG], unknown=["b"]), image_of)
    wrong, none = rows_of(tmp_path)
    assert wrong == {
        "picture": "rawdata/ant/x.png",
        "kind": "mislabeled",
        "label": "ant",
        "score_of_label": "0.0625",
        "other": "bee",
        "score_of_other": "0.9375",
    }
    assert (none["picture"], none["kind"]) == ("b", "neither")
    with Image.open(tmp_path / "suspects.png") as sheet:
        assert sheet.size == (350, 2 * (24 + 3 + 84 + 3 * 14 + 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["suspects.csv", "suspects.png"]


def test_write_suspects_without_any_leaves_only_the_head(tmp_path):
    write_suspects(tmp_path, evaluation_of([*SURE, WRONG]), image_of)
    write_suspects(tmp_path, evaluation_of(SURE), image_of)
    assert (tmp_path / "suspects.csv").read_bytes() == b"picture,kind,label,score_of_label,other,score_of_other\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["suspects.csv"]  # the sheet of before is gone


def test_write_suspects_keeps_every_name(tmp_path):
    names = ["one\nline.png", 'a "b", c.png', "\udcff.png"]
    write_suspects(tmp_path, evaluation_of([*SURE, *((name, *WRONG[1:]) for name in names)]), image_of)
    assert [row["picture"] for row in rows_of(tmp_path)] == names


@pytest.mark.parametrize(("count", "title", "rows"), [(4, "4", 1), (5, "4 of 5", 1)])
def test_suspects_sheet_shows_the_first_of_each_kind(monkeypatch, count, title, rows):
    parts = {}
    monkeypatch.setattr("reports.suspects.titled_sheets", parts.update)
    wrong = [(f"rawdata/ant/{number}.png", "ant", (0.0625 + number / 1000, 0.9375)) for number in range(count)]
    evaluation = evaluation_of([*wrong, *SURE, *SURE], unknown=["d"])
    suspects_sheet(evaluation, find_suspects(evaluation), image_of, rows=rows)
    tiles = parts[f"probably mislabeled: {title}"]
    assert [tile.caption for tile in tiles[:2]] == [["is ant 0.06", "or bee 0.94", str(number)] for number in (0, 1)]
    assert len(tiles) == 4
    assert (tiles[3].image == image_of(3)).all()
    assert list(parts) == [f"probably mislabeled: {title}", "may show none: 2"]


def test_suspects_sheet_leaves_a_gap_where_a_picture_cannot_be_read():
    evaluation = evaluation_of([*SURE, WRONG])
    image = suspects_sheet(evaluation, find_suspects(evaluation), lambda _: None, rows=1)
    assert image.dtype == np.uint8
    assert (image[24 + 3 : 24 + 3 + 84] == 255).all()


def test_print_suspects_names_the_first_mislabeled_ones(capsys):
    wrong = [(f"{number}\n.png", "ant", (0.0625, 0.9375)) for number in range(4)]
    print_suspects(Path("checkpoints"), evaluation_of([*wrong, *SURE, *SURE], unknown=["d"]))
    assert capsys.readouterr().out.splitlines() == [
        f"suspects   {Path('checkpoints/suspects.png')}: 4 probably mislabeled, 2 may show none",
        *(f"           {number}\\n.png  is ant, probably bee: 0.938 against 0.062" for number in range(3)),
    ]


def test_print_suspects_is_silent_if_there_are_none(capsys):
    print_suspects(Path("checkpoints"), evaluation_of(SURE))
    assert capsys.readouterr().out == ""

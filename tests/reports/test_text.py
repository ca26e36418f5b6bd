"""The report of an evaluation as text."""

import numpy as np
import pytest
from rich.cells import cell_len

from answers.evaluation import accuracy_interval
from reports.text import format_report
from tests.helpers.evaluations import FIVE, report_on


def test_format_report_of_two_classes():
    low, high = (100 * limit for limit in accuracy_interval(3, 5))
    assert format_report(report_on(FIVE, unknown={"2.png"})).splitlines() == [
        f"accuracy            60.0 %  3 of 5 pictures; 95 % interval {low:.1f} to {high:.1f} %",
        "balanced accuracy   58.3 %  mean recall: all classes count equally",
        "calibration error   34.0 %  mean difference between score and fraction correct",
        "called unknown      20.0 %  1 of 5 pictures",
        "",
        "class  precision  recall     F1  pictures",
        "ant        0.667   0.667  0.667         3  █████████████▍",
        "bee        0.500   0.500  0.500         2  ██████████",
        "",
        "true ↓  predicted →  ant  bee",
        "ant                    2    1",
        "bee                    1    1",
        "",
        "mistakes, highest score first:",
        "5.png  is bee, predicted ant with 0.950",
        "3.png  is ant, predicted bee with 0.750",
    ]


def test_format_report_leaves_out_a_balanced_accuracy_that_is_the_same():
    answers = [(f"{number}.png", ("ant", "bee")[number % 2], (0.9, 0.1)) for number in range(8)]
    assert "balanced" not in format_report(report_on(answers))
    assert "balanced accuracy   50.0 %" in format_report(report_on(answers[:7]))


def test_format_report_shows_missing_values_as_dashes():
    lines = format_report(report_on([("1.png", "ant", (0.9, 0.1))])).splitlines()
    assert "accuracy           100.0 %  1 of 1 picture; " in lines[0]
    assert "ant        1.000   1.000  1.000         1  ████████████████████" in lines
    assert "bee            -       -      -         0" in lines
    assert not any("mistakes" in line for line in lines)


def test_format_report_names_as_many_mistakes_as_are_wanted():
    text = format_report(report_on(FIVE), max_mistakes=1)
    assert text.endswith("\n\nthe worst of 2 mistakes:\n5.png  is bee, predicted ant with 0.950")


@pytest.mark.parametrize(("length", "lines"), [(46, 1), (47, 2)])
def test_format_report_breaks_a_mistake_that_is_wider_than_80_columns(length, lines):
    name = "x" * (length - 4) + ".png"
    text = format_report(report_on([(name, "ant", (0.1, 0.9)), ("2.png", "bee", (0.1, 0.9))]))
    what = "is ant, predicted bee with 0.900"
    expected = [f"{name}  {what}"] if lines == 1 else [name, f"    {what}"]
    assert text.splitlines()[-lines:] == expected


def test_format_report_names_ten_mistakes_of_more():
    text = format_report(report_on([(f"{number}.png", "ant", (0.1, 0.9)) for number in range(11)]))
    assert text.split("\n\n")[-1].splitlines() == [
        "the 10 worst of 11 mistakes:",
        *(f"{number}.png  is ant, predicted bee with 0.900" for number in range(10)),
    ]


def test_format_report_shows_the_classes_with_the_lowest_recall():
    report = many(4, {(1, 0): 1, (3, 0): 3})
    table = format_report(report, max_classes=2).split("\n\n")[1].splitlines()
    assert [line.split()[1] for line in table[1:3]] == ["03", "01"]
    assert table[3:] == ["and 2 more classes, whose recall is not lower"]
    assert "more classes" not in format_report(report, max_classes=4)
    assert "more classes" not in format_report(report)


def test_format_report_aligns_letters_that_are_two_columns_wide():
    names = ("猫", "a name that is much longer than others")
    lines = format_report(report_on([("1.png", "猫", (0.9, 0.1)), ("2.png", names[1], (0.1, 0.9))], names)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("class "))
    assert [cell_len(line.partition(" 1.000")[0]) for line in lines[start + 1 : start + 3]] == [27, 27]
    assert lines[start + 2].startswith("a name that is much l…  ")
    assert max(map(cell_len, lines)) <= 80


def many(classes: int, mistakes: dict[tuple[int, int], int]) -> dict:
    """Returns the report on a correct prediction of each class, and on mistakes {(true, predicted): how many}."""
    names = [f"class {number:02d}" for number in range(classes)]
    pairs = [(label, label) for label in range(classes)]
    pairs += [pair for pair, count in mistakes.items() for _ in range(count)]
    return report_on([("a.png", names[true], np.eye(classes)[predicted]) for true, predicted in pairs], names)


def test_format_report_shows_the_whole_matrix_of_up_to_twelve_classes():
    lines = format_report(many(12, {(3, 11): 5})).splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("true ↓  predicted →"))
    assert lines[head].split()[4:] == ["cl…"] * 12  # so many letters are left of 80 columns
    assert max(map(len, lines)) <= 80
    row = lines[head + 1 + 3]
    assert row.startswith("class 03 ")
    assert row.split()[2:] == ["0"] * 3 + ["1"] + ["0"] * 7 + ["5"]
    assert "frequent" not in "\n".join(lines)


def test_format_report_of_more_classes_lists_frequent_confusions():
    lines = format_report(many(13, {(0, 12): 2, (12, 0): 7, (5, 6): 3})).splitlines()
    start = lines.index("most frequent confusions:")
    assert lines[start + 1 : start + 5] == [
        "    7 × class 12 predicted as class 00",
        "    3 × class 05 predicted as class 06",
        "    2 × class 00 predicted as class 12",
        "",
    ]
    assert "true ↓" not in "\n".join(lines)


def test_format_report_lists_at_most_ten_confusions():
    lines = format_report(many(13, {(0, number): number for number in range(1, 13)})).splitlines()
    start = lines.index("most frequent confusions:")
    assert lines[start + 1 : lines.index("", start)] == [
        f"{number:>5} × class 00 predicted as class {number:02d}" for number in range(12, 2, -1)
    ]


def test_format_report_lists_equal_confusions_in_the_order_of_the_classes():
    lines = format_report(many(20, {(number, 0): 2 for number in range(1, 20)})).splitlines()
    start = lines.index("most frequent confusions:")
    assert lines[start + 1 : lines.index("", start)] == [
        f"    2 × class {number:02d} predicted as class 00" for number in range(1, 11)
    ]


def test_format_report_of_long_names_fits_80_columns():
    names = [f"{number:02d}{'x' * 60}" for number in range(13)]
    lines = format_report(report_on([("1.png", names[3], np.eye(13)[4])], names)).splitlines()
    short = [f"{number}{'x' * 19}…" for number in ("03", "04")]
    assert f"    1 × {short[0]} predicted as {short[1]}" in lines
    assert lines[-1] == f"1.png  is {short[0]}, predicted {short[1]} with 1.000"
    assert max(map(cell_len, lines)) <= 80


def test_format_report_of_many_classes_without_mistakes_has_no_title():
    text = format_report(many(13, {}))
    assert "13 of 13 pictures" in text
    assert not text.rstrip().endswith("most frequent confusions:")  # a title with nothing below it


@pytest.mark.parametrize("classes", [2, 13])
def test_format_report_escapes_control_characters_in_names(classes):
    names = [f"b\x1b[2J\n{number:02d}" for number in range(classes)]
    wrong = np.eye(classes)[1]
    text = format_report(report_on([("a\x1b[31m\r.png", names[0], wrong)], names))
    assert all(line.isprintable() for line in text.splitlines())
    assert r"a\x1b[31m\r.png  is b\x1b[2J\n00, predicted b\x1b[2J\n01 with 1.000" in text.splitlines()
    assert any(line.startswith(r"b\x1b[2J\n00 ") for line in text.splitlines())

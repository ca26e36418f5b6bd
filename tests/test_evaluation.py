"""The figures of a report, from hand-made answers with known results, and the report as text."""

import json

import numpy as np
import pytest

from evaluation import accuracy_interval, as_text, calibration_error, class_figures, confusion_matrix, evaluate


def report_on(answers: list[tuple], class_names=("ant", "bee"), unknown=()) -> dict:
    """The report on answers (picture, true class, scores); `unknown` are the pictures called so besides."""
    return evaluate(
        pictures=[name for name, *_ in answers],
        labels=np.array([class_names.index(true) for _, true, _ in answers]),
        named=np.array([np.argmax(scores) for *_, scores in answers]),
        scores=np.array([max(scores) for *_, scores in answers], float),
        unknown=np.array([name in unknown for name, *_ in answers]),
        class_names=class_names,
    )


FIVE = [
    ("1.png", "ant", (0.9, 0.1)),
    ("2.png", "ant", (0.8, 0.3)),
    ("3.png", "ant", (0.35, 0.75)),
    ("4.png", "bee", (0.2, 0.9)),
    ("5.png", "bee", (0.95, 0.1)),
]


def test_accuracy_is_the_share_of_right_answers():
    report = report_on(FIVE)
    assert (report["pictures"], report["right"], report["accuracy"]) == (5, 3, 0.6)


def test_mean_recall_counts_every_class_alike_and_leaves_out_those_without_pictures():
    assert report_on(FIVE)["mean_recall"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    names = ("ant", "bee", "wasp")
    answers = [(name, true, (*scores, 0)) for name, true, scores in FIVE]
    assert report_on(answers, names)["mean_recall"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    answers.append(("6.png", "wasp", (1, 0, 0)))
    assert report_on(answers, names)["mean_recall"] == pytest.approx((2 / 3 + 1 / 2) / 3)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By hand: without any right answer the upper end is z² / (n + z²), where z = 1.959964.
        (0, 10, 0, 0.2775),
        (10, 10, 0.7225, 1),
        (1, 1, 0.2065, 1),
    ],
)
def test_the_interval_of_an_accuracy_is_that_of_wilson(right, count, low, high):
    assert accuracy_interval(right, count) == pytest.approx([low, high], abs=0.00005)


def test_the_interval_in_a_report_is_that_of_its_own_answers():
    assert report_on(FIVE)["accuracy_interval_95"] == accuracy_interval(3, 5)
    assert report_on(FIVE[:2])["accuracy_interval_95"] == pytest.approx([0.3424, 1], abs=0.00005)


def test_rows_of_the_confusion_matrix_are_true_classes_and_columns_are_named_ones():
    labels, named = np.array([0, 0, 0, 1, 2, 2], np.int32), np.array([0, 1, 1, 1, 0, 2])
    assert confusion_matrix(labels, named, classes=4).tolist() == [
        [1, 2, 0, 0],
        [0, 1, 0, 0],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert report_on(FIVE)["confusion_matrix"] == [[2, 1], [1, 1]]


def test_precision_recall_and_f1_are_counted_class_by_class():
    figures = class_figures(np.array([[5, 1], [2, 3]]))
    assert figures[0] == pytest.approx({"precision": 5 / 7, "recall": 5 / 6, "f1": 10 / 13, "count": 6})
    assert figures[1] == pytest.approx({"precision": 3 / 4, "recall": 3 / 5, "f1": 6 / 9, "count": 5})


def test_where_there_is_nothing_to_divide_by_there_is_no_figure():
    never_named, never_shown, neither = class_figures(np.array([[0, 4, 0], [0, 0, 0], [0, 0, 0]]))
    assert never_named == {"precision": None, "recall": 0, "f1": 0, "count": 4}
    assert never_shown == {"precision": 0, "recall": None, "f1": 0, "count": 0}
    assert neither == {"precision": None, "recall": None, "f1": None, "count": 0}


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [
        ([1, 1, 1], [1, 1, 1], 0),
        ([1, 1, 1], [0, 0, 0], 1),
        ([0, 0], [0, 0], 0),
        ([0.75] * 4, [1, 1, 1, 0], 0),  # as sure as it is right
        ([0.75] * 4, [1, 0, 0, 0], 0.5),  # surer than it is right by a half
        ([0.25] * 4, [1, 1, 1, 0], 0.5),  # and less sure
        ([0.8125, 0.875], [0, 1], 0.34375),  # in one bin: 0.84375 against 1/2
        ([0.8125, 0.9375], [0, 1], (0.8125 + 0.0625) / 2),  # in two bins: each against its own answer
        ([0.5, 0.5625], [0, 1], 0.03125),  # a bin holds its lower edge …
        ([0.5, 0.4375], [0, 1], (0.5 + 0.5625) / 2),  # … and not its upper one
        ([0.9375, 1], [1, 0], 0.46875),  # but the last one holds 1
        ([0, 0.0625], [1, 0], 0.46875),
        ([0.25, 0.75, 0.75, 0.75], [1, 1, 1, 1], (0.75 + 3 * 0.25) / 4),  # bins count by their answers
    ],
)
def test_the_calibration_error_is_the_mean_gap_between_score_and_share_of_right_answers(confidence, right, error):
    found = calibration_error(np.array(confidence, float), np.array(right, bool))
    assert found == pytest.approx(error)


def test_the_calibration_error_of_a_report_is_about_the_class_that_is_named():
    # 0.9 right, 0.8 right, 0.75 wrong, 0.9 right, 0.95 wrong; the bins are those from 0.9, 0.8 and 0.7
    expected = (abs(0.9 + 0.9 + 0.95 - 2) + (1 - 0.8) + 0.75) / 5
    assert report_on(FIVE)["calibration_error"] == pytest.approx(expected)


def test_unknown_pictures_are_counted_and_change_no_other_figure():
    with_some = report_on(FIVE, unknown={"1.png", "3.png", "5.png"})
    assert with_some.pop("unknown") == 3
    without = report_on(FIVE)
    assert without.pop("unknown") == 0
    assert with_some == without


def test_the_worst_mistakes_come_first_with_picture_class_and_name():
    assert report_on(FIVE)["worst_mistakes"] == [
        {"picture": "5.png", "class": "bee", "named": "ant", "score": 0.95},
        {"picture": "3.png", "class": "ant", "named": "bee", "score": 0.75},
    ]


@pytest.mark.parametrize(("mistakes", "shown"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_at_most_ten_mistakes_are_named_and_those_are_the_surest(mistakes, shown):
    wrong = [(f"{number}.png", "bee", (0.5 + number / 100, 0.1)) for number in range(mistakes)]
    report = report_on([*wrong, ("right.png", "ant", (1, 0))])
    surest = [f"{number}.png" for number in reversed(range(mistakes))][:shown]
    assert [mistake["picture"] for mistake in report["worst_mistakes"]] == surest


def test_equally_sure_mistakes_stay_in_the_order_of_the_pictures():
    answers = [(name, "bee", (0.7, 0.1)) for name in ("c.png", "a.png", "b.png")]
    assert [mistake["picture"] for mistake in report_on(answers)["worst_mistakes"]] == ["c.png", "a.png", "b.png"]


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(
            pictures=[],
            labels=np.array([], int),
            named=np.array([], int),
            scores=np.array([], float),
            unknown=np.array([], bool),
            class_names=["ant", "bee"],
        )


def test_a_report_is_plain_json():
    answers = [(name, true, (*scores, 0)) for name, true, scores in FIVE]  # there is no wasp: figures that are None
    report = report_on(answers, ("ant", "bee", "wasp"), unknown={"1.png"})
    assert report["classes"]["wasp"]["recall"] is None
    assert json.loads(json.dumps(report, allow_nan=False)) == report


# ---- as text ----


def test_a_report_of_two_classes_as_text():
    names = ("ant", "bee")
    low, high = accuracy_interval(3, 5)
    assert as_text(report_on(FIVE, names, unknown={"2.png"})).splitlines() == [
        f"accuracy 0.6000: 3 of 5 right, 95 % interval {low:.3f} to {high:.3f}",
        "mean recall 0.5833: the accuracy if every class counts alike",
        "calibration error 0.340: how far scores are from the share of right answers",
        "called unknown: 1 of 5 (20.0%)",
        "",
        "class                precision    recall        F1     count",
        "ant                      0.667     0.667     0.667         3",
        "bee                      0.500     0.500     0.500         2",
        "",
        "is ↓   named →           ant     bee",
        "ant                        2       1",
        "bee                        1       1",
        "",
        "worst mistakes, the surest first:",
        "5.png  is bee, named ant with 0.950",
        "3.png  is ant, named bee with 0.750",
    ]


def test_figures_that_are_not_there_are_dashes_in_the_text():
    text = as_text(report_on([("1.png", "ant", (0.9, 0.1))]))
    assert "ant                      1.000     1.000     1.000         1" in text.splitlines()
    assert "bee                          -         -         -         0" in text.splitlines()
    assert "mistakes" not in text


def many(classes: int, mistakes: dict[tuple[int, int], int]) -> dict:
    """A right answer for each of many classes, and a number of mistakes for pairs of a true and a named class."""
    names = [f"class {number:02d}" for number in range(classes)]
    pairs = [(place, place) for place in range(classes)]
    pairs += [pair for pair, count in mistakes.items() for _ in range(count)]
    return report_on([("a.png", names[true], np.eye(classes)[named]) for true, named in pairs], names)


def test_up_to_twelve_classes_have_the_whole_matrix():
    lines = as_text(many(12, {(3, 11): 5})).splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("is ↓   named →"))
    assert lines[head].endswith(" ".join(f"class {number:02d}" for number in range(12)))
    row = lines[head + 1 + 3]
    assert row.startswith("class 03 ")
    assert row.split()[2:] == ["0"] * 3 + ["1"] + ["0"] * 7 + ["5"]
    assert "frequent" not in "\n".join(lines)


def test_more_than_twelve_classes_have_their_most_frequent_confusions():
    lines = as_text(many(13, {(0, 12): 2, (12, 0): 7, (5, 6): 3})).splitlines()
    place = lines.index("most frequent confusions:")
    assert lines[place + 1 : place + 5] == [
        "    7 × class 12 named class 00",
        "    3 × class 05 named class 06",
        "    2 × class 00 named class 12",
        "",
    ]
    assert "is ↓" not in "\n".join(lines)


def test_at_most_ten_confusions_are_listed_the_most_frequent_ones():
    lines = as_text(many(13, {(0, number): number for number in range(1, 13)})).splitlines()
    place = lines.index("most frequent confusions:")
    assert lines[place + 1 : lines.index("", place)] == [
        f"{number:>5} × class 00 named class {number:02d}" for number in range(12, 2, -1)
    ]


def test_many_classes_without_a_mistake_are_said_to_have_none():
    text = as_text(many(13, {}))
    assert "accuracy 1.0000: 13 of 13 right" in text
    assert not text.rstrip().endswith("most frequent confusions:")  # a heading with nothing below it


@pytest.mark.parametrize("classes", [2, 13])
def test_strange_names_reach_no_terminal(classes):
    names = [f"b\x1b[2J\n{number:02d}" for number in range(classes)]
    wrong = np.eye(classes)[1]
    text = as_text(report_on([("a\x1b[31m\r.png", names[0], wrong)], names))
    assert all(line.isprintable() for line in text.splitlines())
    assert r"a\x1b[31m\r.png  is b\x1b[2J\n00, named b\x1b[2J\n01 with 1.000" in text.splitlines()
    assert any(line.startswith(r"b\x1b[2J\n00 ") for line in text.splitlines())

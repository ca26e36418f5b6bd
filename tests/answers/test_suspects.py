"""Pictures whose class is doubtful, from scores by hand."""

import pytest

from answers.suspects import find_suspects, suspect_row
from tests.helpers.evaluations import evaluation_of


def found(answers, class_names=("ant", "bee"), unknown=()) -> list[tuple[str, str, str]]:
    """Returns path, kind and other class of each suspect."""
    evaluation = evaluation_of(answers, class_names, unknown)
    return [
        (evaluation.paths[suspect.index], suspect.kind, class_names[suspect.other])
        for suspect in find_suspects(evaluation)
    ]


SURE = [("a", "ant", (0.9, 0.1)), ("b", "ant", (0.9, 0.1)), ("c", "bee", (0.1, 0.9)), ("d", "bee", (0.1, 0.9))]


def test_suspects_of_sure_pictures_are_none():
    assert found(SURE) == []


def test_suspects_are_mislabeled_if_they_are_label_errors():
    assert found([*SURE, ("x", "ant", (0.05, 0.95))]) == [("x", "mislabeled", "bee")]


@pytest.mark.parametrize("unknown", [(), ("x",)])
def test_suspects_are_mislabeled_whether_unknown_or_not(unknown):
    assert found([*SURE, ("x", "ant", (0.05, 0.95))], unknown=unknown) == [("x", "mislabeled", "bee")]


@pytest.mark.parametrize(("other", "expected"), [(0.8125, [("x", "both", "bee")]), (0.81, [])])
def test_suspects_show_both_if_another_class_has_its_mean_score_too(other, expected):
    # The mean scores are 0.9, and (0.875 + 0.75) / 2 = 0.8125 of class bee.
    assert (
        found([*SURE[:2], ("c", "bee", (0.1, 0.875)), ("d", "bee", (0.1, 0.75)), ("x", "ant", (0.9, other))])
        == expected
    )


@pytest.mark.parametrize(("own", "expected"), [(0.85, [("x", "both", "bee")]), (0.75, [])])
def test_suspects_show_both_only_if_their_label_has_its_mean_score(own, expected):
    # The mean scores are 0.8 + own / 3, where the others have 0.7 and 0.9, and 0.7 of class bee.
    answers = [("a", "ant", (0.7, 0.1)), ("b", "ant", (0.9, 0.1)), ("c", "bee", (0.1, 0.7)), ("x", "ant", (own, 0.7))]
    assert found(answers) == expected


@pytest.mark.parametrize(("score", "expected"), [(0.4, [("x", "both", "bee")]), (0.39, [])])
def test_suspects_show_both_only_if_both_are_likely(score, expected):
    # The mean scores are below 0.4.
    answers = [("a", "ant", (0.3, 0.1)), ("b", "bee", (0.1, 0.3)), ("x", "ant", (0.45, score))]
    assert found(answers) == expected


def test_suspects_that_show_both_are_not_unknown():
    answers = [*SURE, ("x", "ant", (0.9, 0.9))]
    assert found(answers) == [("x", "both", "bee")]
    assert found(answers, unknown=["x"]) == [("x", "neither", "bee")]


def test_suspects_are_ordered_by_kind_and_then_by_suspicion():
    names = ("ant", "bee", "cow")
    answers = [
        ("none 2", "cow", (0.3, 0.2, 0.3)),
        ("none 1", "cow", (0.2, 0.3, 0.1)),
        ("both 2", "ant", (0.9, 0.1, 0.6)),
        ("both 1", "ant", (0.8, 0.1, 0.7)),
        ("wrong 2", "bee", (0.8, 0.1, 0.1)),
        ("wrong 1", "bee", (0.9, 0.05, 0.1)),
        *((f"ant {number}", "ant", (0.7, 0.1, 0.1)) for number in range(9)),
        *((f"bee {number}", "bee", (0.1, 0.9, 0.1)) for number in range(9)),
    ]
    assert found(answers, names, unknown=["none 1", "none 2"]) == [
        ("wrong 1", "mislabeled", "ant"),
        ("wrong 2", "mislabeled", "ant"),
        ("both 1", "both", "cow"),
        ("both 2", "both", "cow"),
        ("none 1", "neither", "bee"),
        ("none 2", "neither", "ant"),
    ]


def test_suspect_row_has_the_scores_of_the_label_and_of_the_other_class():
    evaluation = evaluation_of([*SURE, ("x", "ant", (0.0625, 0.9375))])
    (suspect,) = find_suspects(evaluation)
    assert suspect_row(evaluation, suspect) == {
        "picture": "x",
        "kind": "mislabeled",
        "label": "ant",
        "score_of_label": 0.0625,
        "other": "bee",
        "score_of_other": 0.9375,
    }

"""The learning curve: what it says, and when it says that it does not know."""

import numpy as np
import pytest

from reports.learning_curve import Point, curve_contents, format_curve


def correct(count: int, of: int = 200) -> np.ndarray:
    return np.arange(of) < count


@pytest.mark.parametrize(
    ("counts", "conclusion"),
    [
        ((120, 130, 160), "more pictures would probably help."),
        ((120, 158, 160), "more pictures would perhaps help."),
        ((120, 160, 160), "more like them would hardly help."),
        ((160, 159, 158), "more like them would hardly help."),
    ],
)
def test_conclusion_says_whether_more_pictures_would_help(counts, conclusion):
    points = [Point(pictures, correct(count)) for pictures, count in zip((25, 50, 100), counts, strict=True)]
    assert curve_contents(points)["conclusion"].endswith(conclusion)


def test_conclusion_says_if_it_may_be_chance():
    points = [Point(4, correct(2, 4)), Point(8, correct(3, 4)), Point(16, correct(4, 4))]
    assert curve_contents(points)["conclusion"] == (
        "All differences may be chance: this does not tell whether more pictures would help."
    )


def test_format_curve_has_a_row_for_each_network():
    points = [Point(250, correct(120)), Point(500, correct(130)), Point(1000, correct(160))]
    assert format_curve(curve_contents(points)) == (
        "Learning curve, on the same 200 validation pictures:\n"
        "\n"
        "training pictures  accuracy  95 % interval\n"
        "              250    60.0 %  53.1 to 66.5 %\n"
        "              500    65.0 %  58.2 to 71.3 %\n"
        "            1,000    80.0 %  73.9 to 85.0 %\n"
        "\n"
        "The second half of the pictures made it more accurate:\n"
        "more pictures would probably help.\n"
    )

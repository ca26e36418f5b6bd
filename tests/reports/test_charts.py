"""Axes with round numbers, and what is drawn where."""

import math

import numpy as np
import pytest

from reports.charts import HEIGHT, WIDTH, epoch_charts, number_text, precision_recall_chart, reliability_chart
from tests.helpers.checkpoints import metrics


def history(costs: list[float], accuracies: list[float] | None = None) -> list[dict[str, float]]:
    """Returns epochs in which the training cost is half of the validation cost."""
    accuracies = accuracies or [0.75] * len(costs)
    pairs = zip(costs, accuracies, strict=True)
    return [{**metrics(accuracy, cost), "loss": cost / 2, "accuracy": accuracy} for cost, accuracy in pairs]


def labels(ticks) -> list[str]:
    return [tick.label for tick in ticks]


def points(line) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.points.split()]


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (0.2, 0.2, "0.2"),
        (0.6000000000000001, 0.2, "0.6"),
        (1.0, 0.5, "1.0"),
        (0, 0.5, "0"),
        (15, 5, "15"),
        (0.0015, 0.0005, "0.0015"),
        (1_500_000, 500_000, "1,500,000"),
        (0.001, 0.001, "0.001"),
        (8e-6, 2e-6, "8e-6"),
        (1.5e-5, 5e-6, "1.5e-5"),
    ],
)
def test_number_text_has_the_decimals_of_the_step(value, step, text):
    assert number_text(value, step) == text


@pytest.mark.parametrize(
    ("costs", "ticks"),
    [
        ([0.7, 0.3], ["0", "0.2", "0.4", "0.6", "0.8"]),
        ([0.001, 0.0008], ["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010"]),
        ([50, 40], ["0", "10", "20", "30", "40", "50"]),
        ([0, 0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([50, 0.002], ["0.001", "0.01", "0.1", "1", "10", "100"]),  # half of it is the training cost
        ([50, 2.1], ["0", "10", "20", "30", "40", "50"]),
        ([50, 1.9], ["0.1", "1", "10", "100"]),
    ],
)
def test_cost_axis_has_round_ticks_and_is_logarithmic_if_need_be(costs, ticks):
    assert labels(epoch_charts(history(costs), epoch=1)[1].y_ticks) == ticks


@pytest.mark.parametrize(
    ("accuracies", "ticks"),
    [
        ([0.5, 0.9], ["50 %", "60 %", "70 %", "80 %", "90 %", "100 %"]),
        ([0, 1], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        ([1, 1], ["90 %", "92 %", "94 %", "96 %", "98 %", "100 %"]),
    ],
)
def test_accuracy_axis_ends_at_100_percent(accuracies, ticks):
    assert labels(epoch_charts(history([1, 1], accuracies), epoch=1)[0].y_ticks) == ticks


@pytest.mark.parametrize(
    ("count", "ticks"),
    [
        (1, ["1"]),
        (2, ["1", "2"]),
        (8, ["1", "2", "3", "4", "5", "6", "7", "8"]),
        (9, ["2", "4", "6", "8"]),
        (23, ["1", "5", "10", "15", "20"]),
        (300, ["1", "100", "200", "300"]),
    ],
)
def test_epoch_axis_has_whole_numbers(count, ticks):
    assert labels(epoch_charts(history([1] * count), epoch=1)[0].x_ticks) == ticks


def test_epoch_charts_draw_both_sides_and_mark_an_epoch():
    accuracy, cost, recall = epoch_charts(history([0.8, 0.4, 0.6], [0.5, 1, 0.75]), epoch=2)
    assert [chart.title for chart in (accuracy, cost)] == ["Accuracy", "Cost"]
    assert [line.kind for line in cost.lines] == ["training", "validation"]
    middle, height = (cost.left + cost.right) / 2, cost.bottom - cost.top
    expected = [(cost.left, cost.top), (middle, cost.top + height / 2), (cost.right, cost.top + height / 4)]
    for found, wanted in zip(points(cost.lines[1]), expected, strict=True):
        assert found == pytest.approx(wanted, abs=0.06)  # they are rounded
    assert cost.marked == pytest.approx(middle, abs=0.06)
    assert [(dot.kind, dot.y) for dot in cost.dots] == [
        ("training", pytest.approx(cost.top + 0.75 * height, abs=0.06)),
        ("validation", pytest.approx(cost.top + 0.5 * height, abs=0.06)),
    ]
    assert [line.kind for line in recall.lines] == ["validation"]
    (band,) = recall.areas
    assert (band.kind, len(points(band))) == ("band", 6)  # there and back


def test_epoch_charts_of_one_epoch_have_a_dot_in_the_middle():
    for chart in epoch_charts(history([0.5]), epoch=1):
        assert chart.dots[0].x == chart.marked == pytest.approx((chart.left + chart.right) / 2, abs=0.06)


def test_epoch_charts_of_a_long_run_have_few_points_and_its_end():
    chart = epoch_charts(history([1 + math.sin(number) for number in range(5000)]), epoch=5000)[1]
    assert len(points(chart.lines[1])) == 600
    assert points(chart.lines[1])[-1][0] == chart.right


@pytest.mark.parametrize("costs", [[1e-6, 1e-5], [0.001, 50], [1e6, 1e5], [123456, 1]])
def test_charts_have_all_lines_inside_and_room_for_the_ticks(costs):
    for chart in epoch_charts(history(costs, [0.1, 1]), epoch=2):
        assert (chart.width, chart.height) == (WIDTH, HEIGHT)
        assert max(len(tick.label) for tick in chart.y_ticks) * 6 < chart.left - 6
        for x, y in (point for line in (*chart.lines, *chart.areas) for point in points(line)):
            assert chart.left <= x <= chart.right
            assert chart.top <= y <= chart.bottom


def test_reliability_chart_has_a_dot_with_an_interval_for_each_bin():
    chart = reliability_chart([(0.5, 0.75, 0.25, 1, 9), (1, 1, 0.5, 1, 16)])
    width, height = chart.right - chart.left, chart.bottom - chart.top
    first, last = chart.dots
    assert (first.x, first.y) == pytest.approx((chart.left + width / 2, chart.bottom - 0.75 * height), abs=0.06)
    assert (first.low, first.high) == pytest.approx((chart.bottom - 0.25 * height, chart.top), abs=0.06)
    assert (last.x, last.y) == (chart.right, chart.top)
    assert (first.radius, last.radius) == pytest.approx((2.5 + 5.5 * 0.6, 2.5 + 5.5 * 0.8))
    (ideal,) = chart.lines
    assert points(ideal) == [(chart.left, chart.bottom), (chart.right, chart.top)]


def test_precision_recall_chart_has_steps():
    chart = precision_recall_chart("ant", np.array([1, 0.5, 0]), np.array([0.5, 1, 1]))
    middle = (chart.left + chart.right) / 2, (chart.top + chart.bottom) / 2
    expected = [(chart.right, middle[1]), (middle[0], middle[1]), (middle[0], chart.top), (chart.left, chart.top)]
    for found, wanted in zip(points(chart.lines[0]), expected, strict=True):
        assert found == pytest.approx(wanted, abs=0.06)

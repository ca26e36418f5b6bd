"""Charts as lines and ticks in pixels, which the template draws as SVG.

Matplotlib was considered: it adds 30 MB, depends on the fonts and the settings of the user, and its pictures cannot
follow the colors of a page that is light or dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 340, 220  # of a chart; about what a phone shows without scaling
_SMALL = 200, 150  # of one of many
_CHARACTER = 6.2  # width of a digit of a tick
_MARGIN = 10  # above: half a tick
_BELOW = 36  # the x axis: its ticks and its title
_TICKS = 5  # about how many an axis has
_MAX_POINTS = 600  # of a line: more than it has pixels
_LOG_RATIO = 50  # of the largest to the smallest cost from which on the axis is logarithmic


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float  # pixels
    label: str


class Line(NamedTuple):
    """A line of a chart, or an area."""

    kind: str  # the class in the style sheet
    points: str  # of a polyline or polygon of SVG


class Dot(NamedTuple):
    """A point of a chart, with its 95 % interval if it has one."""

    kind: str
    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    radius: float = 3.5


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in pixels, from the upper left corner."""

    title: str
    x_title: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    areas: Sequence[Line] = ()
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    marked: float = math.nan  # x of a vertical line


class _Axis:
    """One axis: from values to pixels."""

    def __init__(self, low: float, high: float, ticks: Sequence[float], *, label: Callable[[float], str], log=False):
        self.ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        self.labels = [label(tick) for tick in self.ticks]
        self._transform = np.log10 if log else np.asarray
        self._low, self._high = (float(self._transform(value)) for value in (low, high))

    def place(self, values: np.ndarray | float, start: float, end: float) -> np.ndarray:
        """Returns where values are between two pixels."""
        return start + (self._transform(values) - self._low) / (self._high - self._low) * (end - start)


# ---- axes ----


def step_of_ticks(width: float) -> float:
    """Returns 1, 2 or 5 times a power of ten, such that an axis of this width has about five ticks."""
    power = 10 ** math.floor(math.log10(width / _TICKS))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width / _TICKS * 0.999)


def number_text(value: float, step: float) -> str:
    """Returns a tick with as many decimals as its step has."""
    if not value:
        return "0"
    if step < 1e-4:
        digits, _, exponent = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [number * step for number in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _percent_axis(low: float) -> _Axis:
    """Returns an axis of fractions, up to 1."""
    low = min(low, 0.9)
    step = step_of_ticks(1 - low)
    low = math.floor(low / step + 1e-9) * step
    return _Axis(low, 1, _multiples(low, 1, step), label=lambda tick: f"{number_text(100 * tick, 100 * step)} %")


def _epoch_axis(count: int) -> _Axis:
    step = 1 if count <= 8 else max(1, step_of_ticks(count))
    ticks = [tick for tick in _multiples(0, count, step) if tick >= 1]
    first = [1.0] if step >= 5 else []
    margin = 0.5 if count == 1 else 0
    return _Axis(1 - margin, count + margin, [*first, *ticks], label=lambda tick: f"{tick:,.0f}")


def _cost_axis(values: np.ndarray) -> _Axis:
    """Returns an axis from 0, or a logarithmic one if the cost has changed by orders of magnitude."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > _LOG_RATIO:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [10.0**power for power in powers]
        every = -(-len(ticks) // (_TICKS + 2))
        return _Axis(ticks[0], ticks[-1], ticks[::every], label=lambda tick: number_text(tick, tick), log=True)
    step = step_of_ticks(high or 1)
    ticks = _multiples(0, high or 1, step)
    return _Axis(0, ticks[-1], ticks, label=lambda tick: number_text(tick, step))


# ---- charts ----


class _Canvas:
    """The area between two axes."""

    def __init__(self, x: _Axis, y: _Axis, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        self.width, self.height = size
        self._x, self._y = x, y
        self.left = 8 + _CHARACTER * max(map(len, y.labels))
        self.right, self.top, self.bottom = self.width - 18, _MARGIN, self.height - _BELOW

    def points(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns where values are, in pixels: float (count, 2), x and y."""
        across = self._x.place(np.asarray(x, float), self.left, self.right)
        down = self._y.place(np.asarray(y, float), self.bottom, self.top)
        return np.stack([across, down], axis=1).round(1)

    def line(self, kind: str, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Line:
        points = self.points(x, y)
        points = points[np.append(True, (points[1:] != points[:-1]).any(axis=1))]  # many may be the same pixel
        chosen = np.linspace(0, len(points) - 1, min(len(points), _MAX_POINTS)).astype(int)
        return Line(kind, " ".join(f"{a:g},{b:g}" for a, b in points[chosen].tolist()))

    def chart(self, title: str, x_title: str, **parts) -> Chart:
        across = self._x.place(np.array(self._x.ticks), self.left, self.right)
        down = self._y.place(np.array(self._y.ticks), self.bottom, self.top)
        return Chart(
            title=title,
            x_title=x_title,
            width=self.width,
            height=self.height,
            left=round(self.left, 1),
            right=self.right,
            top=self.top,
            bottom=self.bottom,
            x_ticks=[Tick(round(float(at), 1), label) for at, label in zip(across, self._x.labels, strict=True)],
            y_ticks=[Tick(round(float(at), 1), label) for at, label in zip(down, self._y.labels, strict=True)],
            **parts,
        )


def epoch_charts(history: Sequence[dict[str, float]], *, epoch: int) -> list[Chart]:
    """Returns the charts of cost, accuracy and recall over the epochs, in which one epoch is marked, from 1."""
    values = {name: np.array([metrics[name] for metrics in history]) for name in history[0]}
    epochs = range(1, len(history) + 1)
    x = _epoch_axis(len(history))

    def chart(title: str, y: _Axis, kinds: dict[str, str], band: tuple[str, str] | None = None) -> Chart:
        canvas = _Canvas(x, y)
        areas = []
        if band:
            low, high = (values[name] for name in band)
            areas = [canvas.line("band", [*epochs, *epochs[::-1]], [*low, *high[::-1]])]
        lines = [canvas.line(kind, epochs, values[name]) for name, kind in kinds.items()]
        best = {kind: canvas.points([epoch], [values[name][epoch - 1]])[0].tolist() for name, kind in kinds.items()}
        dots = [Dot(kind, *place) for kind, place in best.items()]
        return canvas.chart(title, "epoch", areas=areas, lines=lines, dots=dots, marked=dots[0].x)

    losses, accuracies = ("loss", "val_loss"), ("accuracy", "val_accuracy")
    recalls = ("val_recall_worst", "val_recall_best")
    sides = ("training", "validation")
    return [
        chart(
            "Accuracy",
            _percent_axis(min(values[name].min() for name in accuracies)),
            dict(zip(accuracies, sides, strict=True)),
        ),
        chart(
            "Cost",
            _cost_axis(np.concatenate([values[name] for name in losses])),
            dict(zip(losses, sides, strict=True)),
        ),
        chart(
            "Recall of the classes (validation)",
            _percent_axis(values["val_recall_worst"].min()),
            {"val_recall_mean": "validation"},
            recalls,
        ),
    ]


def reliability_chart(bins: Sequence[tuple[float, float, float, float, int]]) -> Chart:
    """Returns a reliability diagram, in which the area of a dot shows its number of predictions.

    Args:
        bins: mean score, fraction of correct predictions and the ends of its 95 % interval, 0..1, and the number of
            predictions of each bin.
    """
    canvas = _Canvas(_percent_axis(0), _percent_axis(0), size=(WIDTH, 300))
    mean, correct, low, high, counts = (np.array(part) for part in zip(*bins, strict=True))
    radii = np.round(2.5 + 5.5 * np.sqrt(counts / counts.sum()), 1).tolist()
    ends = (canvas.points(mean, part).tolist() for part in (correct, low, high))
    dots = [
        Dot("validation", x, y, below, above, radius)
        for (x, y), (_, below), (_, above), radius in zip(*ends, radii, strict=True)
    ]
    lines = [canvas.line("ideal", [0, 1], [0, 1])]
    return canvas.chart("Correct predictions", "score", lines=lines, dots=dots)


def precision_recall_chart(title: str, recall: np.ndarray, precision: np.ndarray) -> Chart:
    """Returns the chart of a precision-recall curve. Between two thresholds the precision is that of the lower one."""
    canvas = _Canvas(_fractions(), _fractions(), size=_SMALL)
    steps = np.repeat(recall, 2)[1:], np.repeat(precision, 2)[:-1]
    return canvas.chart(title, "recall", lines=[canvas.line("validation", *steps)])


def _fractions() -> _Axis:
    return _Axis(0, 1, (0, 0.5, 1), label=lambda tick: f"{tick:.0%}".replace("%", " %"))

"""Measuring times, and comparing them between ways of doing the same."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """One measurement of one way of doing something."""

    seconds: float
    count: int = 1  # how much was done in that time: pictures, or one start
    work: Any = None  # what was done; must be equal for all ways that are compared
    peak: int = 0  # the most memory that a process used, in bytes; 0 if it was not measured

    @property
    def rate(self) -> float:
        return self.count / self.seconds


def timed(function: Callable[[], object], count: int = 1, work: Any = None) -> Measurement:
    start = time.perf_counter()
    function()
    return Measurement(time.perf_counter() - start, count, work)


def alternate(ways: dict[str, Callable[[], Measurement]], rounds: int) -> dict[str, list[Measurement]]:
    """Measures all ways in turn, several times.

    Raises:
        RuntimeError: they did not do the same work.
    """
    measurements: dict[str, list[Measurement]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, measure in ways.items():
            latest = measure()
            measurements[name].append(latest)
            figures = f"{latest.seconds:.2f} s, {latest.rate:,.1f} per second"
            print(f"  round {number + 1}, {name}: {figures}", file=sys.stderr, flush=True)
    works = {name: {measurement.work for measurement in own} for name, own in measurements.items()}
    require(len(set.union(*works.values())) == 1, f"not the same work: {works}")
    return measurements


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RuntimeError(message)


def median_rate(measurements: Sequence[Measurement]) -> float:
    return statistics.median(measurement.rate for measurement in measurements)


def speedup(ours: Sequence[Measurement], others: Sequence[Measurement]) -> float:
    """Returns the median over the rounds of how many times faster ours is, or which fraction of a limit it reaches."""
    return statistics.median(one.rate / other.rate for one, other in zip(ours, others, strict=True))


def format_rate(measurements: Sequence[Measurement]) -> str:
    return f"{median_rate(measurements):,.0f} img/s"


def format_seconds(measurements: Sequence[Measurement]) -> str:
    return f"{statistics.median(measurement.seconds for measurement in measurements):.2f} s"


def format_peak(measurement: Measurement) -> str:
    return f"{measurement.peak / 1e6:,.0f} MB"

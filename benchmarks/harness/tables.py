"""Results as Markdown tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One row of the table of speeds; the remark is printed below it."""

    name: str
    ours: str
    other: str = "-"
    ratio: str = "-"
    limit: str = "-"
    fraction: str = "-"
    remark: str = ""


def format_row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def format_header(*names: str) -> str:
    """Returns the first two lines of a table."""
    return f"{format_row(*names)}\n|{'---|' * len(names)}"


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Returns the mean of values and, if there are several, their sample standard deviation: 0.812 ± 0.013."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean

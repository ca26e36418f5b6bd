"""Limits of settings, checked whenever a dataclass that declares them is built.

pydantic was considered: it would add 11 MB and its own error texts for what these 70 lines do.
"""

import math
import os
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from system.errors import UserError
from system.terminal import printable

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)/")  # pathlib makes one slash of two; one letter is a drive of Windows


class Between(NamedTuple):
    """Limits of a number, both included."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{_plain(self.low)} to {_plain(self.high)}"


class OneOf(tuple):
    """The only values that a setting may have."""

    def contains(self, value: Any) -> bool:
        return value in self

    def __str__(self) -> str:
        return " or ".join(map(str, self))


class LocalPath:
    """Marks a setting that names a file or folder of this machine: `~` is expanded, and a URL is refused."""


def local_path(name: str, *, setting: str) -> str:
    """Returns the name of a file or folder with `~` expanded.

    Raises:
        UserError: it is a URL, or nobody has such a home folder.
    """
    if (url := _URL.match(name)) and not os.path.isdir(url[1]):  # noqa: PTH112 - a folder may have such a name
        raise UserError(
            f"{setting} {printable(name)}: is a URL; only files and folders of this machine can be used: copy it here"
        )
    path = os.path.expanduser(name)  # noqa: PTH111 - pathlib raises where there is no home folder
    if path.startswith("~") and (path[1:2] in ("", "/", os.sep) or not os.path.lexists(path)):
        raise UserError(
            f"{setting} {printable(name)}: no such home folder; write the whole path, or ./{printable(name)}"
        )
    return path


def _plain(number: float) -> str:
    """Returns a number without an exponent: 0.00000001 instead of 1e-08."""
    return f"{Decimal(str(number)).normalize():f}"


def read_hint(hint: Any) -> tuple[Any, Between | OneOf | LocalPath | None]:
    """Returns the type of an annotated field and its limits, if it has any."""
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *extras = get_args(hint)
    return kind, next((extra for extra in extras if isinstance(extra, Between | OneOf | LocalPath)), None)


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Base class of dataclasses that refuse values of the wrong type or outside their limits, and expand `~` in paths.

    Raises:
        UserError: when it is built with such a value.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            kind, limits = read_hint(hint)
            value = getattr(self, name)
            if kind in (int, float, bool, str):
                matches = type(value) is kind or (kind is float and type(value) is int)
                if not matches:
                    raise UserError(f"--{name} {value!r}: must be of type {kind.__name__}")
            if isinstance(limits, LocalPath):
                object.__setattr__(self, name, local_path(value, setting=f"--{name}"))
            elif limits is not None and not limits.contains(value):
                between = "from " if isinstance(limits, Between) else ""
                raise UserError(f"--{name} {value}: must be {between}{limits}")

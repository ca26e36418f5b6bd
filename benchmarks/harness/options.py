"""Options that several benchmarks have."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from system.errors import UserError
from system.validation import Between

Size = Annotated[float, Between(0.001, 100)]


def select(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """Returns the experiments to run: those that are named, or all if none is. Raises UserError for unknown names."""
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{' '.join(unknown)}: no such experiment; choose from {' '.join(known)}")
    return list(names) or known

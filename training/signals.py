"""Signals that end a training run."""

import contextlib
import signal
from collections.abc import Iterator

from system.startup import STOP_SIGNALS, handle_signal
from training.callbacks import SaveCheckpoints


@contextlib.contextmanager
def signals_to(saving: SaveCheckpoints) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP asks the callback to save and stop; the second acts at once, as usual.

    Those that this process was started to ignore stay ignored.
    """

    def save_and_stop(number: int, _frame: object) -> None:
        saving.stop_signal = number
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        handle_signal(number, save_and_stop)
    try:
        yield
    finally:
        restore()

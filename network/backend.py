"""TensorFlow and its Keras, loaded without the messages that their libraries print. Import both from here.

The libraries write a dozen lines about processors and missing GPU drivers before they read any setting, so stderr
itself is redirected while they load. A Python exception is shown as always.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards everything written to file descriptor 2, and limits TensorFlow's later messages to fatal ones."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with Path(os.devnull).open("wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


with quiet_stderr():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]

"""TensorFlow and its Keras. Import both from here: they are loaded quietly, and always with the same settings.

Their libraries write a dozen lines about processors and missing GPU drivers before they read any setting, so stderr
itself is redirected while they load. Keras's own settings, in files and environment variables, would change what a
network is; the toolkit has its own in `config.py`.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from system.errors import EXIT_USER_ERROR
from system.progress import status
from system.quiet import quiet_stderr
from system.startup import INSTALL
from system.terminal import printable, wrapped

# The beginnings of the names of environment variables that are read during the import and change results, such as
# KERAS_BACKEND and KERAS_MAX_EPOCHS, or make the training fail. Those that choose a device, a number of threads or a
# kernel (CUDA_VISIBLE_DEVICES, TF_DETERMINISTIC_OPS, TF_ENABLE_ONEDNN_OPTS, XLA_FLAGS) are the user's choice.
_IGNORED_VARIABLES = ("KERAS_", "TF_USE_LEGACY_KERAS", "TF_FUNCTION_JIT_COMPILE_DEFAULT", "TF_JIT_COMPILE_REWRITE")

_REMEDY = "install it again with: pip install --force-reinstall -r requirements.txt"
_OUT_OF_MEMORY = ("failed to map segment", "annot allocate memory")  # in messages of the loader of libraries
_LAST_WORDS = (
    "TensorFlow was being loaded when this process ended. If nobody stopped it, the memory is not enough (check "
    f"`ulimit -v`), or its installation or this processor does not suit it (it needs AVX, and 64 bits); {_REMEDY}"
)


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Hides the environment variables that change what Keras computes. Afterwards they are as before."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_IGNORED_VARIABLES)}
    ours = {
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": __file__,  # no folder, so Keras reads and writes no keras.json, wherever the home folder is
    }
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(hidden)


def reason_of(error: Exception) -> str:
    """Returns one line about a failed import. TensorFlow's own messages begin with the traceback of the cause."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return printable(lines[0] if lines else type(error).__name__)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # after the import too: only what ends the process
# TensorFlow uses oneDNN by default if the processor has AVX512 instructions for neural networks. On one that has AVX2
# and not these, most desktop computers, it trains twice as fast with oneDNN too.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
try:
    with status("loading TensorFlow ..."), quiet_stderr(_LAST_WORDS), own_settings():
        import keras
        import tensorflow as tf
except Exception as error:
    # The scripts import this before they can catch anything, and nothing works without it.
    script, reason = Path(sys.argv[0]).name, reason_of(error)
    out_of_memory = isinstance(error, MemoryError) or any(text in reason for text in _OUT_OF_MEMORY)
    remedy = "give it more memory: check `ulimit -v`" if out_of_memory else _REMEDY
    if isinstance(error, ModuleNotFoundError) and error.name in ("keras", "tensorflow"):
        remedy = INSTALL
    print(wrapped(f"{script}: TensorFlow cannot be loaded ({reason}); {remedy}", stream=sys.stderr), file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)

# Keras may have been imported before, as in a notebook, and its settings changed.
keras.config.set_floatx("float32")  # type of weights and losses
keras.config.set_epsilon(1e-7)  # of the optimizer and of losses
keras.config.set_image_data_format("channels_last")  # (batch, height, width, channels)
keras.config.set_max_epochs(None)  # no early end
keras.config.set_max_steps_per_epoch(None)

__all__ = ["keras", "tf"]

"""What a reader needs to repeat a run: its settings, its command, and the versions of the libraries."""

import platform
import shlex
import sys
from dataclasses import fields
from typing import Any, NamedTuple

from system.validation import Validated

# The modules of libraries. Not their packages, which have other names elsewhere: opencv-python, tensorflow-cpu.
_LIBRARIES = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "litert": "ai_edge_litert",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv": "cv2",
}


class Setting(NamedTuple):
    """A setting with another value than in `config.py`."""

    name: str
    value: Any
    default: Any


def changed_settings(config: Validated) -> list[Setting]:
    """Returns the settings of a run that differ from their defaults, in the order of `config.py`."""
    settings = (Setting(field.name, getattr(config, field.name), field.default) for field in fields(config))
    return [setting for setting in settings if setting.value != setting.default]


def command_of(config: Validated, script: str = "trainer.py") -> str:
    """Returns the command that runs a script with these settings."""
    options = (
        f"--{name}" if default is False else f"--{name} {shlex.quote(str(value))}"  # a flag is off unless it is given
        for name, value, default in changed_settings(config)
    )
    return " ".join([f"python {script}", *options])


def versions() -> dict[str, str]:
    """Returns the version of Python and of each library that has a part in the result: of those that are loaded."""
    loaded = {name: sys.modules[module] for name, module in _LIBRARIES.items() if module in sys.modules}
    return {"python": platform.python_version(), **{name: library.__version__ for name, library in loaded.items()}}

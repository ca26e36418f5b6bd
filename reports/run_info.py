"""What a reader needs to repeat a run: its settings and its command."""

import shlex
from dataclasses import fields
from typing import Any, NamedTuple

from system.validation import Validated


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

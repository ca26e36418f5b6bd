"""How a script runs and ends: its exit code, one line for what a user can fix, and signals."""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from system.command_line import ConfigT, read_command_line
from system.errors import (
    EXIT_OUTPUT_CLOSED,
    EXIT_PARTIAL_FAILURE,
    EXIT_SUCCESS,
    EXIT_USER_ERROR,
    UserError,
    describe_os_error,
)
from system.files import remove_unfinished_files
from system.pool import cancel_running_jobs
from system.startup import (
    INSTALL,
    STOP_SIGNALS,
    describe_stop,
    end_at_once,
    end_of_imports,
    handle_signal,
    hide_loading,
    owns_process,
    show_loading,
)
from system.terminal import is_terminal, keep_running_without_output, output_closed, output_error, wrapped

_received = 0  # the number of the signal that asked for the end


class Interrupted(KeyboardInterrupt):
    """Raised by the first signal that asks a script to end, so that it cleans up."""


def run_script(main: Callable[[ConfigT], int], config_class: type[ConfigT], description: str | None) -> NoReturn:
    """Runs a script: command line → config → `main(config)` → exit code.

    A problem that the user can fix ends in one line on stderr and exit code 2; so does an error of the operating
    system, such as a full disk. A signal ends in one line and 128 + its number: 130 for Ctrl-C. If nobody reads the
    output any more, `main` runs on all the same, and the exit code is 141. Anything else is a bug of ours and keeps its
    traceback.
    """
    script = Path(sys.argv[0]).name
    code, problem, interrupted = EXIT_USER_ERROR, "", False
    end_of_imports()
    try:
        try:
            _raise_on_signals()
            keep_running_without_output()
            _check_current_folder()
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about oddities of files that can be read all the same
            code = main(_read_command_line(config_class, description))
        except UserError as error:
            code, problem = error.exit_code, f"{script}: {error}"
        except OSError as error:
            problem = f"{script}: {describe_os_error(error)}"
        except ModuleNotFoundError as error:
            if _is_ours(error.name or ""):
                raise
            problem = f"{script}: {error}; {INSTALL}"
        except MemoryError:
            problem = f"{script}: {describe_memory_error(config_class)}"
        problem = problem and f"{wrapped(problem, stream=sys.stderr)}\n"
        if problem and _received:  # a library turned the interruption into an error
            raise Interrupted
        _ignore_signals()
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt) or (_received and isinstance(error, Exception))):
            raise
        _ignore_signals()
        interrupted, number = True, _received or signal.SIGINT
        code, problem = 128 + number, describe_stop(number, is_terminal=is_terminal(sys.stderr))
    cancel_running_jobs()
    code, problem = _check_output(script, code, problem)
    print(problem, end="", file=sys.stderr, flush=True)
    if interrupted and owns_process():
        remove_unfinished_files()
        os._exit(code)  # libraries may have threads that are still busy, and would be waited for
    sys.exit(code)


def check_command_line(config_class: type[ConfigT], description: str | None) -> None:
    """Ends the script if its command line has a mistake or asks for help, before imports that take seconds.

    What follows is left to `run_script`, which reads the command line again.
    """
    if not owns_process():
        return
    hide_loading()
    keep_running_without_output()
    try:
        _read_command_line(config_class, description)
    except UserError:
        run_script(lambda _: EXIT_SUCCESS, config_class, description)  # which shows the mistake
    show_loading()


def _read_command_line(config_class: type[ConfigT], description: str | None) -> ConfigT:
    return read_command_line(config_class, (description or "").strip().partition("\n")[0])


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder does not exist any more; change to another one with cd") from None


def _is_ours(module: str) -> bool:
    """Returns whether a module is one of this project, so that installing the requirements does not help."""
    name = module.partition(".")[0]
    return any((Path(__file__).parents[1] / file).exists() for file in (f"{name}.py", f"{name}/__init__.py"))


def describe_memory_error(config_class: type[ConfigT]) -> str:
    """Returns one line about too little memory, with the settings of a script that reduce its need."""
    names = {field.name for field in fields(config_class)}
    settings = [f"--{name}" for name in ("height", "width", "batch_size", "memory_gib") if name in names]
    smaller = f"use a smaller {' or '.join(settings)}, or " if settings else ""
    return f"the memory is not enough; {smaller}end other programs and run the same command again"


def _check_output(script: str, code: int, problem: str) -> tuple[int, str]:
    """Returns the exit code and the message of a script, now that its last output is written, or lost."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stdout.flush()
    if problem or code not in (EXIT_SUCCESS, EXIT_PARTIAL_FAILURE):
        return code, problem
    if output_closed():
        return EXIT_OUTPUT_CLOSED, f"{script}: the output was closed before its end\n"
    if error := output_error():
        return EXIT_USER_ERROR, f"{script}: the output is incomplete: {error.strerror}\n"
    return code, ""


def _raise_on_signals() -> None:
    global _received
    _received = 0
    if owns_process():
        sys.unraisablehook = _end_if_interrupted
        for number in STOP_SIGNALS:
            handle_signal(number, _handle)


def _handle(number: int, _frame: object) -> None:
    """Asks for the end with an exception, which cleans up. A second signal does not wait for that."""
    global _received
    if _received:
        remove_unfinished_files()
        end_at_once(_received)
    _received = number
    raise Interrupted


def _end_if_interrupted(unraisable) -> None:
    """Ends the process if an interruption came in a place where Python cannot raise it, such as `__del__`."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        remove_unfinished_files()
        end_at_once(_received or signal.SIGINT)
    sys.__unraisablehook__(unraisable)


def _ignore_signals() -> None:
    """Ignores what asks for the end of a script that ends anyway, also while Python shuts down."""
    if owns_process():
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

"""The main program of a worker process of pool.py, which starts this file by its path.

It receives a function and items through stdin and answers through stdout, both as pickles. It ends when stdin is
closed, and so with the run that started it, however that run ends.
"""

import contextlib
import faulthandler
import importlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def serve(requests: BinaryIO, answers: BinaryIO, devnull: BinaryIO) -> None:
    """Answers each request with (answer, None) or (None, exception). Raises EOFError when the pipe is closed."""
    sys.path[:], modules = pickle.load(requests)
    for module in modules:
        with contextlib.suppress(Exception):  # it comes again with the function that needs the module
            importlib.import_module(module)
    timeout = 0.0
    function: Callable[[Any], Any]
    while True:
        kind, data = pickle.load(requests)
        try:
            content, answer = pickle.loads(data), None
            if kind == "task":
                folder, timeout, function = content
                os.chdir(folder)
            else:
                answer = []
                for item in content:
                    # Its timer works even while a decoder holds the GIL.
                    faulthandler.dump_traceback_later(timeout, exit=True, file=devnull)
                    answer.append(function(item))
                    faulthandler.cancel_dump_traceback_later()
            reply = pickle.dumps((answer, None))
        except Exception as error:
            faulthandler.cancel_dump_traceback_later()
            reply = pickle.dumps((None, _picklable(error)))
        answers.write(reply)
        answers.flush()


def _picklable(error: Exception) -> Exception:
    """Returns the error with its traceback as a note, or a RuntimeError with it if the error cannot be pickled."""
    error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # they may reach this process too, but the run decides what to do
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with contextlib.suppress(EOFError, BrokenPipeError), Path(os.devnull).open("r+b", buffering=0) as devnull:
        for stream in (0, 1):  # so that what a library prints is not taken for an answer
            os.dup2(devnull.fileno(), stream)
        with requests, answers:
            serve(requests, answers, devnull)


if __name__ == "__main__":
    main()

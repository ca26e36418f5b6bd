"""Functions for worker processes, which import this module by its name.

The libraries for pictures are imported where they are needed, so that the workers of most tests start at once.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path


def square(item: int) -> int:
    return item * item


def failed(item, reason: str) -> str:
    return f"{item} {reason}"


def process_id(item) -> int:
    return os.getpid()


def file_system_encoding(item) -> tuple[str, int]:
    return sys.getfilesystemencoding(), sys.flags.utf8_mode


def folder(item) -> str:
    return os.getcwd()  # noqa: PTH109


def touch(item: int, *, below: Path, slow: int = -1) -> int:
    """Writes the id of its process to a file with the name of the item; the item `slow` then takes an hour."""
    (below / str(item)).write_text(str(os.getpid()))
    if item == slow:
        time.sleep(3600)
    return item


def fail_or_wait(item: int, *, below: Path) -> None:
    """Fails for the first item. The others create a file with their name, and wait for a file `go on`."""
    if item == 0:
        raise ValueError("the first item")
    (below / str(item)).touch()
    while not (below / "go on").exists():
        time.sleep(0.01)


def nap(seconds: float, *, log: Path) -> None:
    """Adds a letter to a file, and sleeps."""
    with log.open("a") as file:
        file.write("z")
    time.sleep(seconds)


def misbehave(item: str | int):
    """Does what the item says, or returns an item that says nothing."""
    if item == "crash":
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(7)
    if item == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "be stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if item == "hang":
        time.sleep(60)
    if item == "hang in C":
        ctypes.PyDLL(None).usleep(30_000_000)  # keeps the lock of the interpreter
    if item == "print":
        print("printed")
        os.write(1, b"written from C\n" * 100_000)
        sys.stderr.write("complained")
    if item == "raise":
        raise ValueError("such an item")
    if item == "raise what cannot be pickled":
        raise UnpicklableError("two", "parts")
    return item


def misbehave_once(item: tuple[str, Path]):
    """Does what the first part says, but returns it if the file of the second part exists, as in a second attempt."""
    what, tried = item
    if not tried.exists():
        tried.touch()
        return misbehave(what)
    return what


class UnpicklableError(Exception):
    def __init__(self, one, two):
        super().__init__(one + two)


class Unloadable:
    """A function that ends the process that unpickles it."""

    def __call__(self, item):
        return item

    def __reduce__(self):
        return os._exit, (5,)


def standardize_or_crash(picture, **options):
    """Replaces `standardize` where a test needs a picture that crashes its decoder: ant03.jpg."""
    from pictures.standardize import standardize

    if picture.path.endswith("ant03.jpg"):
        misbehave("crash")
    return standardize(picture, **options)


def add_hashes_or_crash(picture, **options):
    """Replaces `add_hashes` in the same way."""
    from pictures.standardize import add_hashes

    if picture.path.endswith("ant03.jpg"):
        misbehave("crash")
    return add_hashes(picture, **options)


def make_copies_or_crash(task, **options):
    """Replaces `make_copies` where a test needs a source that crashes a transform: ant01.jpg."""
    from pictures.copies import make_copies

    if task.picture.source == "ant/ant01.jpg":
        misbehave("crash")
    return make_copies(task, **options)


def crash_on_bad(item, **options):
    """Replaces `try_read_picture` where a test needs a picture that crashes its decoder: bad.png."""
    from pictures.folders import try_read_picture

    if item[0].name == "bad.png":
        misbehave("crash")
    return try_read_picture(item, **options)

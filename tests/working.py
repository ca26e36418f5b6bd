"""Work for the processes of workers.py, which import it by its name."""

import ctypes
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import augment
import listing
import preprocessing


def square(item: int) -> int:
    return item * item


def failed(item, reason: str) -> str:
    return f"{item} {reason}"


def process(item) -> int:
    return os.getpid()


def folder(item) -> str:
    return os.getcwd()  # noqa: PTH109


def touch(item: int, *, below: Path, slow: int = -1) -> int:
    (below / str(item)).touch()
    if item == slow:
        time.sleep(60)
    return item


def misbehave_once(item: tuple[str, Path]):
    """Does what it is called, and when it is tried again gives its name."""
    what, tried = item
    if not tried.exists():
        tried.touch()
        return misbehave(what)
    return what


def misbehave(item: str | int):
    """Does what it is called; else gives it back."""
    if item == "crash":
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "leave":
        os._exit(7)
    if item == "be killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "be stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if item == "hang":
        time.sleep(60)
    if item == "hang in C":
        ctypes.PyDLL(None).usleep(30_000_000)  # which does not let go of the interpreter's lock
    if item == "print":
        print("printed")
        os.write(1, b"written from C\n" * 100_000)
        sys.stderr.write("complained")
    if item == "raise":
        raise ValueError("such an item")
    if item == "raise what does not travel":
        raise RootedError("roots", "here")
    return item


def crash_on_ant03(item, *, decoding):
    """In place of preprocessing's work on a picture."""
    if item[0].origin.endswith("ant03.jpg"):
        misbehave("crash")
    return preprocessing._made(item, decoding=decoding)


def crash_on_ant03_too(picture, *, decoding):
    """In place of its work on a picture of a folder that is ready-made."""
    if picture.origin.endswith("ant03.jpg"):
        misbehave("crash")
    return preprocessing._with_hashes(picture, decoding=decoding)


def crash_on_first_copies(task, *, config):
    """In place of augment.py's work."""
    if task.picture.source == "ant/ant01.jpg":
        misbehave("crash")
    return augment.make_copies(task, config)


def crash_on_bad(item, **decoding):
    """In place of predict.py's reading."""
    if item[0].name == "bad.png":
        misbehave("crash")
    return listing.read_picture(item, **decoding)


class RootedError(Exception):
    def __init__(self, one, two):
        super().__init__(one + two)


class Unloadable:
    """Ends the process that takes it out of its box."""

    def __call__(self, item):
        return item

    def __reduce__(self):
        return os._exit, (5,)

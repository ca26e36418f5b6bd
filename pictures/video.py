"""Frames of videos and cameras as images that a network reads.

OpenCV decodes them, with the FFmpeg that it brings along; PyAV would be a second copy of FFmpeg. Frames are decoded in
this process, without the checks that pictures undergo.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from config import ImageConfig
from pictures import formats, heif
from pictures.arrays import picture_from_array
from pictures.decoding import ImageTooLarge, LoadedPicture, UnreadableImage
from system.errors import UserError
from system.progress import format_seconds
from system.terminal import plural

Frame = tuple[float, LoadedPicture]  # with its time in seconds

_NOT_DECODED = "cannot be decoded: the video is damaged, or of a format that is not read"
_HEAD = 4096  # bytes that tell the format of a file
_MAX_FAILURES = 500  # frames in a row that cannot be decoded, after which a video is given up
# At the end of a video before it is called incomplete: sound may be longer, and the last frame is shown for a time.
_MISSING_SECONDS, _MISSING_FRAMES = 1.0, 1.5
_CAMERA_SECONDS = 10.0  # without a new frame before a camera is given up; some need seconds to start
_MAX_CAMERA = 99


def is_video(path: Path) -> bool:
    """Returns whether a file is a video by its content, whatever its name: MP4, MOV, AVI, MKV, WebM and others."""
    try:
        if not path.is_file():  # reading a pipe could wait forever
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False
    return formats.is_video(head) and not heif.is_heif(head) and not heif.is_avif(head)


def camera_number(name: str) -> int | None:
    """Returns the number of a camera, such as 0 for "0"; or None if it is no small number, or a file has that name."""
    if not (name.isascii() and name.isdecimal()) or int(name) > _MAX_CAMERA or Path(name).exists():
        return None
    return int(name)


def video_frames(path: Path, config: ImageConfig, *, max_pixels: int) -> Iterator[Frame]:
    """Yields the frames of a video, each with its time since the beginning, upright as the video says.

    Args:
        path: the file.
        config: the size and the color format of the images, which are made as those of pictures are.
        max_pixels: a video with larger frames is not decoded.

    Raises:
        ImageTooLarge: its frames have more than `max_pixels`.
        UnreadableImage: it is damaged, of a format that is not read, or has no frames. If only a part is damaged, it is
            raised after all frames that can be read.
    """
    capture = _open_video(path)
    try:
        width, height = (round(capture.get(size)) for size in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > max_pixels:
            limit = f"--max_megapixels {max_pixels / 10**6:g}"
            raise ImageTooLarge(f"has frames of {width} × {height} pixels, more than {limit}")
        rate = max(capture.get(cv2.CAP_PROP_FPS), 1e-3)
        duration = capture.get(cv2.CAP_PROP_FRAME_COUNT) / rate
        last, lost, lost_in_a_row = None, 0, 0
        for seconds, frame in _decoded(capture):
            if frame is None:
                lost_in_a_row += 1  # or it is the end
                continue
            last, lost, lost_in_a_row = seconds, lost + lost_in_a_row, 0
            yield seconds, _standard(frame, config)
    finally:
        capture.release()
    if last is None:
        raise UnreadableImage("has no frames that can be decoded: the video is damaged, or its codec is not known")
    if duration - last > max(_MISSING_SECONDS, _MISSING_FRAMES / rate):
        times = f"{format_seconds(last)} of {format_seconds(duration)}"
        raise UnreadableImage(f"has no frames that can be decoded after {times}: the video is damaged")
    if lost:
        raise UnreadableImage(f"has {plural(lost, 'frame')} that cannot be decoded: the video is damaged")


def _open_video(path: Path) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg would write to stderr; read at its first use
    if not is_video(path):  # FFmpeg may take the name of a missing file as a pattern
        raise UnreadableImage(_NOT_DECODED)
    try:
        name = os.fspath(path.absolute())  # since "http:" and the like would be an address
        name.encode()
    except UnicodeEncodeError:  # would crash OpenCV
        raise UnreadableImage("has a name that is not UTF-8, which videos need: rename it") from None
    with _silent_opencv():
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UnreadableImage(_NOT_DECODED)
    return capture


def _decoded(capture: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray | None]]:
    """Yields time and pixels (BGR) of each frame, and None for one that cannot be decoded, or does not exist."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # of some formats, an estimate
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    failures, seconds = 0, 0.0
    for index in itertools.count():
        is_read, frame = capture.read()
        if is_read:
            position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = max(seconds, position if position > 0 else index / rate)  # some videos have no times
        failures = 0 if is_read else failures + 1
        if failures and (index >= count or failures == _MAX_FAILURES):
            return
        yield seconds, frame if is_read else None


def camera_frames(number: int, config: ImageConfig) -> Iterator[Frame]:
    """Yields the newest frame of a camera each time, with its time since the first one; it ends when it is closed.

    A thread reads the camera and drops the frames for which there is no time, so that what is yielded is never old.

    Args:
        number: of the camera; the first one is 0.
        config: the size and the color format of the images, which are made as those of pictures are.

    Raises:
        UserError: there is no such camera, another program uses it, or it stops.
    """
    with _silent_opencv():
        capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise UserError(
            f"camera {number}: there is no such camera, or it may not be used; plug it in, close other programs that "
            "show it, and allow the terminal to use it"
        )
    reader = _CameraReader(capture)
    try:
        start = None
        while (newest := reader.next_frame()) is not None:
            taken, frame = newest
            start = taken if start is None else start
            yield taken - start, _standard(frame, config)
        raise UserError(f"camera {number}: it gives no more frames; was it unplugged, or taken by another program?")
    finally:
        reader.stop()


class _CameraReader:
    """A thread that reads a camera all the time and keeps the newest frame."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)  # a camera may never answer
        self._thread.start()

    def next_frame(self) -> tuple[float, np.ndarray] | None:
        """Returns the newest frame that was not returned before, with its time; or None if the camera has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, _CAMERA_SECONDS)
            newest, self._newest = self._newest, None
        return newest

    def stop(self) -> None:
        with self._changed:
            self._ended = True
        self._thread.join(timeout=1)

    def _read(self) -> None:
        while not self._ended:
            is_read, frame = self._capture.read()
            with self._changed:
                self._ended = self._ended or not is_read
                if is_read:
                    self._newest = time.monotonic(), frame
                self._changed.notify()
        self._capture.release()


def _standard(frame: np.ndarray, config: ImageConfig) -> LoadedPicture:
    return picture_from_array(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), config)


@contextlib.contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keeps OpenCV from writing to stderr what is said in one line."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)

"""Answers about the frames of a video or a camera, and what the terminal shows of them."""

import contextlib
import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from answers.engine import Engine
from answers.messages import print_on_terminal
from answers.output import Answer
from answers.sources import predict_pictures
from answers.summary import format_counts, shown_class
from config import UNKNOWN
from pictures.decoding import UnreadableImage
from pictures.video import Frame, camera_frames, video_frames
from system.progress import format_seconds, live_line
from system.terminal import columns, fitted, plural, printable

_WINDOW = 0.5  # seconds whose frames decide together what the answer is
_MAX_FRAMES = 500  # in a window, if the times in a video are wrong
_FRAMES_PER_BATCH = 16  # of a video: computing them together is faster


def predict_frames(
    engine: Engine, source: Path | int, *, max_pixels: int, print_changes: bool = True
) -> Iterator[Answer]:
    """Yields the answer for each frame of a video or a camera, and shows on the terminal what is seen.

    The path of a frame is `clip.mp4#t=3.200`, with its time in seconds, as addresses of web pages have it (W3C Media
    Fragments). A camera is called `camera 0`; it goes on until the iterator is closed. A line is printed whenever the
    steady answer changes (see `SteadyAnswer`), and at the end, however it comes, there is a summary on stderr.

    If a video, or a part of it, cannot be decoded, the last answer has the path of the video and the error.

    Args:
        engine: the network.
        source: a video file, or the number of a camera.
        max_pixels: a video with larger frames is not decoded.
        print_changes: whether to print those lines to stdout.

    Raises:
        UserError: there is no such camera, or it was unplugged.
        OSError: the disk fails.
    """
    config = engine.model_config
    if isinstance(source, int):
        name, frames = f"camera {source}", camera_frames(source, config)
        batches = ([frame] for frame in frames)  # at once
    else:
        name, frames = os.fspath(source), video_frames(source, config, max_pixels=max_pixels)
        batches = _batches(frames)
    error = ""
    with contextlib.closing(frames), live_line() as show_status:
        display = _Display(name, config.class_names, show_status, print_changes=print_changes)
        try:
            for batch in batches:
                answers = predict_pictures(engine, [(f"{name}#t={seconds:.3f}", frame) for seconds, frame in batch])
                for (seconds, _), answer in zip(batch, answers, strict=True):
                    display.show(seconds, answer)
                    yield answer
        except UnreadableImage as reason:
            error = str(reason)
        finally:
            display.print_summary()
    if error:
        yield Answer(path=name, error=error)


def _batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Yields frames, several at a time. An error is raised after the frames before it."""
    error = None
    while error is None:
        batch: list[Frame] = []
        try:
            batch.extend(itertools.islice(frames, _FRAMES_PER_BATCH))
        except UnreadableImage as reason:
            error = reason
        if not batch:
            break
        yield batch
    if error:
        raise error


class SteadyAnswer:
    """What the frames of the last half second say together, so that a single frame changes nothing.

    The class changes once another one has more than half of these frames. The score is the mean score of the class in
    the frames that have it.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._frames: deque[tuple[float, str, float]] = deque(maxlen=_MAX_FRAMES)
        self.name = ""  # the class, or "unknown"
        self.score = 0.0  # of the class

    def add(self, seconds: float, answer: Answer) -> bool:
        """Adds a frame. Returns whether the class has changed, as it does with the first frame."""
        name = shown_class(answer, self._class_names)
        self._frames.append((seconds, name, float(answer.scores[answer.predicted])))
        while self._frames[0][0] < seconds - _WINDOW:
            self._frames.popleft()
        most, count = Counter(name for _, name, _ in self._frames).most_common(1)[0]
        has_changed = most != self.name and count > len(self._frames) / 2
        if has_changed:
            self.name = most
        scores = [score for _, name, score in self._frames if name == self.name]
        if scores:  # else the old class keeps its score
            self.score = sum(scores) / len(scores)
        return has_changed


class _Display:
    """What the terminal shows of a video: a line for each change, a status line, and a summary at the end."""

    def __init__(
        self, name: str, class_names: Sequence[str], show_status: Callable[[str], None], *, print_changes: bool
    ) -> None:
        self._name, self._class_names = printable(name), class_names
        self._show_status, self._print_changes = show_status, print_changes
        self._width = max(columns(printable(name)) for name in (*class_names, UNKNOWN))
        self._steady = SteadyAnswer(class_names)
        self._counts: Counter[str] = Counter()
        self._start = time.monotonic()

    def show(self, seconds: float, answer: Answer) -> None:
        """Shows the answer for a frame."""
        self._counts[shown_class(answer, self._class_names)] += 1
        has_changed = self._steady.add(seconds, answer)
        score = "    -" if self._steady.name == UNKNOWN else f"{self._steady.score:.3f}"
        shown = f"{fitted(printable(self._steady.name), self._width)}  {score}"
        if has_changed and self._print_changes:
            self._show_status("")
            print(f"{self._name}  {format_time(seconds)}  {shown}", flush=True)
        self._show_status(f"{self._name}  {format_time(seconds)}  {shown}  {self._rate:,.0f} frames/s")

    def print_summary(self) -> None:
        """Prints the number of frames, the rate, and how often each class was seen; nothing if there was no frame."""
        self._show_status("")
        if count := self._counts.total():
            pace = f"{plural(count, 'frame')}, {self._rate:,.0f} frames/s"
            print_on_terminal(f"{self._name}: {pace}: {format_counts(self._counts)}")

    @property
    def _rate(self) -> float:
        return self._counts.total() / max(time.monotonic() - self._start, 1e-9)


def format_time(seconds: float) -> str:
    """Returns a time in a video as 0:07.3, 12:34.0 or 1:02:03.5: the tenth of a second that has begun."""
    tenths = int(seconds * 10 + 1e-6)
    return f"{format_seconds(tenths // 10)}.{tenths % 10}"

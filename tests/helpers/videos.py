"""Short videos."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def block(color: Sequence[int] | int, size: tuple[int, int] = (48, 32)) -> np.ndarray:
    """Returns an image (RGB) of one color, of (width, height)."""
    return np.full((size[1], size[0], 3), color, np.uint8)


def write_video(path: Path, frames: Iterable[np.ndarray], *, rate: float = 10) -> Path:
    """Writes images (RGB) of the same size as a video, whose format follows from the name of the file."""
    writer = None
    for frame in frames:
        if writer is None:
            codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, rate, (frame.shape[1], frame.shape[0]))
            assert writer.isOpened()
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


def turned_by_metadata(path: Path) -> Path:
    """Changes an MP4 so that it is shown turned by 90° clockwise, as phones do when they are held upright."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # after version, times, track, duration, layer and volume
    fixed = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, signed=True) for value in fixed)
    path.write_bytes(data)
    return path

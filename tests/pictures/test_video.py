"""Frames of videos and cameras."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from config import ImageConfig
from pictures import video
from pictures.arrays import picture_from_array
from pictures.decoding import ImageTooLarge, UnreadableImage
from pictures.video import camera_frames, camera_number, is_video, video_frames
from system.errors import UserError
from tests.helpers.mutations import file_of, scene
from tests.helpers.processes import with_modules
from tests.helpers.videos import BLUE, GREEN, RED, block, turned_by_metadata, write_video

CONFIG = ImageConfig(height=16, width=16)
MAX_PIXELS = 10**6


def frames_of(path, config=CONFIG, max_pixels=MAX_PIXELS):
    return list(video_frames(path, config, max_pixels=max_pixels))


def read_until_error(path):
    """Returns the number of frames and the error after them."""
    count = 0
    with pytest.raises(UnreadableImage) as error:
        for _ in video_frames(path, CONFIG, max_pixels=MAX_PIXELS):
            count += 1
    assert str(error.value).isprintable()
    return count, str(error.value)


def is_near(image, color):
    return np.abs(image.astype(int) - np.array(color)).max() < 16


# ---- videos ----


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_frames_have_their_times_and_colors(tmp_path, suffix):
    path = write_video(tmp_path / f"clip{suffix}", map(block, (RED, GREEN, BLUE)), rate=10)
    frames = frames_of(path)
    assert [round(seconds, 3) for seconds, _ in frames] == [0, 0.1, 0.2]
    assert all(picture.image.shape == (16, 16, 3) and picture.image.dtype == np.uint8 for _, picture in frames)
    assert all(is_near(picture.image, color) for (_, picture), color in zip(frames, (RED, GREEN, BLUE), strict=True))


def test_video_frames_are_made_as_pictures_are(tmp_path):
    path = write_video(tmp_path / "clip.avi", [scene(48, 64)])
    capture = cv2.VideoCapture(str(path))
    pixels = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    capture.release()
    for channels in (1, 3):
        config = ImageConfig(height=16, width=24, color_channels=channels)
        ((_, picture),) = frames_of(path, config)
        assert np.array_equal(picture.image, picture_from_array(pixels, config).image)


def test_video_frames_are_upright(tmp_path):
    left_red = np.hstack([block(RED, (32, 32)), block(BLUE, (32, 32))])
    path = write_video(tmp_path / "clip.mp4", [left_red] * 3)
    assert is_near(frames_of(path)[0][1].image[:, :7], RED)
    turned_by_metadata(path)
    image = frames_of(path)[0][1].image
    assert is_near(image[:7], RED)
    assert is_near(image[9:], BLUE)


def test_video_frames_says_when_nothing_can_be_decoded(tmp_path):
    whole = write_video(tmp_path / "clip.mp4", [block(RED)] * 20).read_bytes()
    path = tmp_path / "part.mp4"
    path.write_bytes(whole[: len(whole) // 2])  # the table of its frames is at the end
    assert read_until_error(path) == (0, "cannot be decoded: the video is damaged, or of a format that is not read")


def test_video_frames_yields_what_comes_before_the_damage(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(20 * n) for n in range(12)] * 5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    count, reason = read_until_error(path)
    assert 10 < count < 40
    assert (
        reason == f"has no frames that can be decoded after 0:0{round((count - 1) / 10)} of 0:06: the video is damaged"
    )


def test_video_frames_of_a_slow_video_are_complete(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(RED), block(GREEN)], rate=0.5)
    assert len(frames_of(path)) == 2  # the last one begins 2 seconds before the end


def test_video_frames_goes_on_after_damage(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [block(5 * n) for n in range(50)], rate=25)
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(1).bytes(len(data) // 4)
    data[len(data) // 4 : len(data) // 4 + len(noise)] = noise
    path.write_bytes(data)
    count, reason = read_until_error(path)
    assert 20 < count < 50
    assert reason == f"has {50 - count} frames that cannot be decoded: the video is damaged"


def test_video_frames_says_that_there_are_none(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(RED)] * 3)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    reason = "has no frames that can be decoded: the video is damaged, or its codec is not known"
    assert read_until_error(path) == (0, reason)


def test_video_frames_prints_nothing_about_damage(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(20 * n) for n in range(12)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    # In a process of its own, since FFmpeg is told to be silent when it is used first.
    code = """
from pathlib import Path
from config import ImageConfig
from pictures.video import UnreadableImage, video_frames
for name in ("clip.avi", "part.mp4"):
    try:
        list(video_frames(Path(name), ImageConfig(), max_pixels=10**6))
    except UnreadableImage:
        print(name)
"""
    whole = write_video(tmp_path / "clip.mp4", [block(RED)] * 20).read_bytes()
    (tmp_path / "part.mp4").write_bytes(whole[: len(whole) // 2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=with_modules(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("clip.avi\npart.mp4\n", "")


def test_video_frames_refuses_large_frames_before_it_decodes_them(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(RED, (48, 32))])
    assert len(frames_of(path, max_pixels=48 * 32)) == 1
    with pytest.raises(ImageTooLarge, match=r"has frames of 48 × 32 pixels, more than --max_megapixels 0.001535"):
        frames_of(path, max_pixels=48 * 32 - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_video_frames_refuses_a_name_that_would_crash_opencv(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(RED)]).rename(tmp_path / os.fsdecode(b"clip\xff.avi"))
    assert read_until_error(path) == (0, "has a name that is not UTF-8, which videos need: rename it")


def test_video_frames_reads_no_other_file_and_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip1.png", "clip2.png"):
        (tmp_path / name).write_bytes(file_of(scene()))
    for name in ("clip%d.png", "http://localhost/clip.mp4", "nothing.mp4"):
        assert read_until_error(Path(name))[0] == 0


# ---- which files are videos ----


def test_is_video_goes_by_the_content(tmp_path):
    for suffix in (".mp4", ".avi", ".mkv"):
        written = write_video(tmp_path / f"clip{suffix}", [block(RED)])
        assert is_video(written.rename(tmp_path / f"{suffix[1:]}.jpg"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF"])
def test_is_video_does_not_take_a_picture_for_one(tmp_path, kind):
    (tmp_path / "picture.mp4").write_bytes(file_of(scene(), kind))
    assert not is_video(tmp_path / "picture.mp4")


def test_is_video_knows_files_that_start_like_one(tmp_path):
    starts = {b"heic": False, b"avis": False, b"crx ": False, b"M4A ": False, b"isom": True, b"qt  ": True}
    for brand, expected in starts.items():
        (tmp_path / "file").write_bytes(b"\0\0\0\x10ftyp" + brand + bytes(40))
        assert is_video(tmp_path / "file") == expected, brand


def test_is_video_is_false_for_what_is_no_file(tmp_path):
    assert not is_video(tmp_path)
    assert not is_video(tmp_path / "missing.mp4")
    assert not is_video(tmp_path / "a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert not is_video(tmp_path / "pipe")


# ---- cameras ----


def test_camera_number_is_a_small_number_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [camera_number(name) for name in ("0", "12", "99")] == [0, 12, 99]
    assert [camera_number(name) for name in ("100", "-1", "1.0", "a", "", "²", "٣")] == [None] * 7
    (tmp_path / "0").mkdir()
    assert camera_number("0") is None


class Camera:
    """Stands in for cv2.VideoCapture: frame 1, and after `go_on` frames 2 to 5; after `unplug` no more."""

    def __init__(self, number):
        self.number = number
        self.count = 0
        self.is_released = threading.Event()
        self.go_on, self.is_idle, self.unplug = threading.Event(), threading.Event(), threading.Event()
        Camera.last = self

    def isOpened(self):  # noqa: N802 - a name of OpenCV
        return self.number == 0

    def read(self):
        if self.count == 1:
            assert self.go_on.wait(10)
        if self.count == 5:
            self.is_idle.set()
            assert self.unplug.wait(10)
            return False, None
        self.count += 1
        return True, np.full((8, 8, 3), 10 * self.count, np.uint8)

    def release(self):
        self.is_released.set()


def test_camera_frames_gives_the_newest_frame_until_the_camera_is_gone(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = camera_frames(0, CONFIG)
    seconds, picture = next(frames)
    assert (seconds, picture.image[0, 0, 0]) == (0, 10)
    camera = Camera.last
    camera.go_on.set()
    assert camera.is_idle.wait(10)
    seconds, picture = next(frames)
    assert seconds > 0
    assert picture.image[0, 0, 0] == 50  # 2 to 4 are dropped
    camera.unplug.set()
    with pytest.raises(UserError, match="camera 0: it gives no more frames; was it unplugged"):
        next(frames)
    assert camera.is_released.wait(10)


def test_camera_frames_releases_the_camera_when_it_is_closed(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = camera_frames(0, CONFIG)
    next(frames)
    Camera.last.go_on.set()
    Camera.last.unplug.set()
    frames.close()
    assert Camera.last.is_released.wait(10)


def test_camera_frames_gives_up_a_camera_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(video, "_CAMERA_SECONDS", 0.01)
    frames = camera_frames(0, CONFIG)
    next(frames)
    with pytest.raises(UserError, match="camera 0: it gives no more frames"):
        next(frames)
    Camera.last.go_on.set()
    Camera.last.unplug.set()


def test_camera_frames_says_that_there_is_no_camera(capfd):
    with pytest.raises(UserError, match="camera 98: there is no such camera"):
        next(camera_frames(98, CONFIG))
    assert capfd.readouterr() == ("", "")

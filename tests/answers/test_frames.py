"""Answers about the frames of videos and cameras."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from answers import frames, summary
from answers.frames import SteadyAnswer, format_time, predict_frames
from answers.output import Answer
from answers.predictions import Predictions
from pictures.arrays import picture_from_array
from system import progress
from tests.helpers.screens import rendered, show_terminal
from tests.helpers.videos import block, write_video

NAMES = ["dark", "light"]
DARK, GRAY, LIGHT = block(0), block(128), block(255)


class BrightnessEngine:
    """Answers by the mean of an image: its score is that of "light", and what is gray is unknown."""

    model_config = SimpleNamespace(shape=(16, 16, 3), color_channels=3, class_names=NAMES)

    def predict(self, images: np.ndarray) -> Predictions:
        assert images.dtype == np.uint8
        assert images.shape[1:] == (16, 16, 3)
        light = images.mean(axis=(1, 2, 3), dtype=np.float32) / 255
        scores = np.stack([1 - light, light], axis=1)
        return Predictions(scores.argmax(axis=1), scores - 0.5, scores, (light > 0.3) & (light < 0.7))


def answers_of(path, **options) -> list[Answer]:
    return list(predict_frames(BrightnessEngine(), path, max_pixels=10**6, **options))


# ---- what is said about several frames ----


def steady(*frames: tuple[float, str, float]) -> list[tuple[bool, str, float]]:
    """Returns what is said after each frame: whether it has changed, the class, its score."""
    answer, said = SteadyAnswer(NAMES), []
    for seconds, name, score in frames:
        predicted = 0 if name == "unknown" else NAMES.index(name)
        scores = np.full(2, 0.01)
        scores[predicted] = score
        frame = Answer(path="", predicted=predicted, scores=scores, unknown=name == "unknown")
        said.append((answer.add(seconds, frame), answer.name, round(answer.score, 6)))
    return said


def test_steady_answer_is_at_first_that_of_the_first_frame():
    assert steady((0, "light", 0.75)) == [(True, "light", 0.75)]
    assert steady((0, "unknown", 0.75)) == [(True, "unknown", 0.75)]


def test_steady_answer_does_not_change_with_half_of_the_frames():
    frames = [(0, "dark", 0.5), (0.1, "light", 0.5), (0.2, "dark", 0.5), (0.3, "light", 0.5)]
    assert [changed for changed, _, _ in steady(*frames)] == [True, False, False, False]


def test_steady_answer_changes_with_more_than_half_of_the_frames():
    frames = [(0, "dark", 0.5), (0.1, "light", 0.6), (0.2, "light", 0.8)]
    assert steady(*frames) == [(True, "dark", 0.5), (False, "dark", 0.5), (True, "light", 0.7)]


def test_steady_answer_is_about_the_last_half_second():
    before = [(0, "dark", 0.5), (0.01, "dark", 0.5), (0.02, "dark", 0.5)]
    assert steady(*before, (0.49, "light", 0.9), (0.5, "light", 0.9))[-1] == (False, "dark", 0.5)
    assert steady(*before, (0.49, "light", 0.9), (0.52, "light", 0.9))[-1] == (True, "light", 0.9)


def test_steady_answer_keeps_its_score_while_its_class_is_not_seen():
    frames = [(0, "dark", 0.9), (1, "light", 0.5), (1.1, "unknown", 0.5), (5, "light", 0.5)]
    assert steady(*frames)[2] == (False, "light", 0.5)
    names = [*NAMES, "third"]
    answer = SteadyAnswer(names)
    for seconds, predicted in ((0, 0), (0.3, 0), (0.6, 1), (0.85, 2)):
        answer.add(seconds, Answer(path="", predicted=predicted, scores=[0.4, 0.3, 0.2]))
    assert (answer.name, answer.score) == ("dark", 0.4)


def test_format_time_has_tenths_that_have_begun():
    times = {0: "0:00.0", 0.06: "0:00.0", 0.3: "0:00.3", 3.999: "0:03.9", 62: "1:02.0", 3723.45: "1:02:03.4"}
    assert {seconds: format_time(seconds) for seconds in times} == times


# ---- videos ----


def test_predict_frames_has_an_answer_for_each_frame_with_its_time(tmp_path):
    path = write_video(tmp_path / "clip.avi", [DARK] * 20 + [GRAY, LIGHT], rate=10)
    answers = answers_of(path)
    assert [str(answer.path) for answer in answers[::7]] == [
        f"{path}#t={time}" for time in ("0.000", "0.700", "1.400", "2.100")
    ]
    assert [answer.predicted for answer in answers[:20]] == [0] * 20
    assert [answer.unknown for answer in answers[-3:]] == [False, True, False]
    assert answers[-1].predicted == 1
    assert answers[-1].scores[1] == pytest.approx(1, abs=0.02)


def test_predict_frames_prints_changes_but_no_flicker(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flicker = [DARK] * 10 + [LIGHT] + [DARK] * 9
    screen = show_terminal(monkeypatch, "stderr")
    write_video(tmp_path / "clip.avi", flicker + [LIGHT] * 10 + [GRAY] * 10, rate=8)
    assert len(answers_of(Path("clip.avi"))) == 40
    (summary_line,) = rendered(screen.getvalue())
    assert re.fullmatch(r"clip\.avi: 40 frames, [\d,]+ frames/s: 19 dark, 11 light, 10 unknown", summary_line)
    out = capsys.readouterr().out
    assert re.sub(r"[01]\.\d{3}", "score", out).splitlines() == [
        "clip.avi  0:00.0  dark     score",
        "clip.avi  0:02.7  light    score",
        "clip.avi  0:04.0  unknown      -",
    ]


def test_predict_frames_leaves_stdout_to_others(tmp_path, capsys):
    path = write_video(tmp_path / "clip.avi", [DARK] * 3)
    answers_of(path, print_changes=False)
    assert capsys.readouterr() == ("", "")  # the summary is for terminals


def test_predict_frames_ends_with_the_error_of_a_damaged_video(tmp_path):
    path = write_video(tmp_path / "clip.avi", [block(20 * n) for n in range(12)] * 5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *answers, last = answers_of(path)
    assert len(answers) > 10
    assert not any(answer.error for answer in answers)
    assert str(last.path) == str(path)
    assert last.error.startswith("has no frames that can be decoded after 0:0")


def test_predict_frames_of_what_is_no_video_is_an_error(tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    (answer,) = answers_of(tmp_path / "clip.mp4")
    assert answer.error == "cannot be decoded: the video is damaged, or of a format that is not read"
    assert capsys.readouterr() == ("", "")


def test_predict_frames_escapes_names_and_counts_few_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(summary, "_MAX_COUNTS", 1)
    monkeypatch.setattr(BrightnessEngine.model_config, "class_names", ["d\x1b[2J", "light"])
    screen = show_terminal(monkeypatch, "stderr", columns=300)
    path = write_video(tmp_path / "clip.avi", [DARK, DARK, LIGHT])
    answers_of(path.rename(tmp_path / "a\nb.avi"))
    assert capsys.readouterr().out == rf"{tmp_path}/a\nb.avi  0:00.0  d\x1b[2J  1.000" + "\n"
    assert rendered(screen.getvalue())[0].endswith(r": 2 d\x1b[2J and 1 other class")


# ---- cameras ----


def frames_of_camera(number, config):
    for count in range(1000):
        yield count / 10, picture_from_array(LIGHT, config)


def test_predict_frames_of_a_camera_go_on_until_they_are_closed(monkeypatch, capsys):
    monkeypatch.setattr(frames, "camera_frames", frames_of_camera)
    answers = predict_frames(BrightnessEngine(), 0, max_pixels=1)
    first = next(answers)
    screen = show_terminal(monkeypatch, "stderr")
    assert (first.path, first.predicted) == ("camera 0#t=0.000", 1)
    next(answers)
    answers.close()
    assert capsys.readouterr().out == "camera 0  0:00.0  light    1.000\n"
    assert re.fullmatch(r"camera 0: 2 frames, [\d,]+ frames/s: 2 light\n", screen.getvalue())


def test_predict_frames_shows_what_is_seen_on_a_terminal(monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_TEXTS", 0)
    monkeypatch.setattr(frames, "camera_frames", frames_of_camera)
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    answers = predict_frames(BrightnessEngine(), 0, max_pixels=1)
    for _ in range(13):
        next(answers)
    line, status = rendered(screen.getvalue())
    assert line == "camera 0  0:00.0  light    1.000"
    assert re.fullmatch(r"camera 0  0:01\.2  light    1\.000  [\d,]+ frames/s", status)
    answers.close()
    assert rendered(screen.getvalue())[1].startswith("camera 0: 13 frames, ")
    assert sys.stdout is screen

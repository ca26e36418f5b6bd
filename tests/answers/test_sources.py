"""From pictures to answers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from answers.predictions import Outputs, predictions_of
from answers.sources import predict_pictures
from pictures.decoding import LoadedPicture


class Network(SimpleNamespace):
    """A network whose scores are the first two values of an image in hundredths, and its distance the third one."""

    def predict(self, images):
        values = images.reshape(len(images), -1).astype(np.float32)
        return predictions_of(Outputs(values[:, :2] * 10, values[:, :2] / 100, values[:, 2]), max_distance=5)


def loaded(*values: int, note: str = "") -> LoadedPicture:
    return LoadedPicture(np.array(values, np.uint8).reshape(1, 1, 3), 1, note)


def test_predict_pictures_gives_an_answer_to_each_in_order():
    one, two = loaded(90, 10, 5), loaded(20, 80, 0, note="12-bit levels")
    batch = predict_pictures(Network(), [(Path("1"), one), ("2", "the file is empty"), ("3", two)])
    assert [(answer.path, answer.error, answer.note) for answer in batch] == [
        (Path("1"), "", ""),
        ("2", "the file is empty", ""),
        ("3", "", "12-bit levels"),
    ]
    first, failed, third = batch
    assert first.image is one.image and failed.image is None
    assert (first.predicted, third.predicted) == (0, 1)
    np.testing.assert_array_equal(first.logits, [900, 100])
    np.testing.assert_array_equal(third.scores, np.array([0.2, 0.8], np.float32))


def test_predict_pictures_says_which_pictures_are_unknown():
    batch = predict_pictures(Network(), [("far", loaded(90, 0, 6)), ("unsure", loaded(49, 50, 5))])
    assert [answer.unknown for answer in batch] == [True, False]


def test_predict_pictures_does_not_run_the_network_on_nothing():
    batch = predict_pictures(Network(predict=None), [("1", "is damaged")])
    assert [answer.error for answer in batch] == ["is damaged"]

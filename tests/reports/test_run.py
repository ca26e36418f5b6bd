"""A run as reports see it: its pictures, their images, and originals among them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.reports import predictions, run_in


def test_image_of_a_picture_is_that_of_its_sample(tmp_path):
    run = run_in(tmp_path)
    assert (run.image_of(run.training[4]) == run.train.images[4]).all()
    assert (run.image_of(run.validating[5]) == run.validation.images[5]).all()
    assert (run.validation_image(5) == run.validation.images[5]).all()


@pytest.mark.parametrize(
    ("sources", "shown"),
    [
        (["0", "1"], [0, 1]),
        (["0", "0"], [0]),  # the second is a copy of the first
        (["1", "1"], [1]),
        (["gone", "gone"], [0]),  # the first of the copies stands for a source that is not there
        (["gone", "other"], [0, 1]),
        (["0", "gone"], [0, 1]),
    ],
)
def test_typical_images_are_copies_only_if_their_source_is_not_there(tmp_path, sources, shown):
    run = run_in(tmp_path, per_class=1)
    training = [
        replace(picture, path=f"rawdata/ant/{number}.png", source=f"ant/{source}.png")
        for number, (picture, source) in enumerate(zip(run.training, sources, strict=True))
    ]
    assert (replace(run, training=training).typical_images(9) == run.train.images[shown]).all()


@pytest.mark.parametrize(("count", "shown"), [(10, range(10)), (3, [0, 4, 9]), (1, [0])])
def test_typical_images_are_spread_evenly_if_there_are_many(tmp_path, count, shown):
    run = run_in(tmp_path, per_class=5)
    assert (run.typical_images(count) == run.train.images[list(shown)]).all()


def test_evaluation_has_the_validation_pictures(tmp_path):
    evaluation = run_in(tmp_path, per_class=1).evaluation(predictions([0, 0], classes=2))
    assert evaluation.paths == ["rawdata/ant/validation0.png", "rawdata/bee/validation1.png"]
    assert np.array_equal(evaluation.confusion_matrix, [[1, 0], [1, 0]])


def test_epochs_in_steps_of_a_run_with_three_steps_per_epoch(tmp_path):
    run = run_in(tmp_path, per_class=3, batch_size=2)  # 6 training pictures
    assert [run.epochs_in(steps) for steps in (0, 2, 3, 6)] == [0, 0, 1, 2]

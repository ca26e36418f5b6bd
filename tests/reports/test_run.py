"""A run as reports see it: its pictures, their images, and originals among them."""

from dataclasses import replace

import numpy as np

from tests.helpers.reports import predictions, run_in


def test_image_of_a_picture_is_that_of_its_sample(tmp_path):
    run = run_in(tmp_path)
    assert (run.image_of(run.training[4]) == run.train.images[4]).all()
    assert (run.image_of(run.validating[5]) == run.validation.images[5]).all()


def test_typical_images_are_spread_over_the_originals(tmp_path):
    run = run_in(tmp_path, per_class=5)
    copy = replace(run.training[0], path="augmented/ant/copy0.png")
    run = replace(run, training=[copy, *run.training[1:]])  # the original of it is not there
    assert (run.typical_images(3) == run.train.images[[0, 4, 9]]).all()
    assert len(run.typical_images(100)) == 10


def test_typical_images_leave_out_copies_of_what_is_there(tmp_path):
    run = run_in(tmp_path, per_class=2)
    copy = replace(run.training[1], path="augmented/ant/copy.png", source=run.training[0].source)
    run = replace(run, training=[run.training[0], copy, *run.training[2:]])
    assert (run.typical_images(4) == run.train.images[[0, 2, 3]]).all()


def test_evaluation_has_the_validation_pictures(tmp_path):
    evaluation = run_in(tmp_path, per_class=1).evaluation(predictions([0, 0], classes=2))
    assert evaluation.paths == ["rawdata/ant/validation0.png", "rawdata/bee/validation1.png"]
    assert np.array_equal(evaluation.confusion_matrix, [[1, 0], [1, 0]])

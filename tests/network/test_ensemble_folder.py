"""The folder of an ensemble, and the calibration in it."""

import json
import math

import pytest

from network.ensemble_folder import ENSEMBLE, EnsembleCalibration, read_calibration, source_of, write_calibration

CALIBRATION = EnsembleCalibration(slope=1.5, intercept=-0.25, max_distance=9.0)


@pytest.mark.parametrize("calibration", [CALIBRATION, CALIBRATION._replace(max_distance=math.inf)])
def test_calibration_is_read_as_it_was_written(tmp_path, calibration):
    write_calibration(tmp_path, calibration, source="ab")
    assert read_calibration(tmp_path, source="ab") == calibration


def test_calibration_of_other_members_is_not_used(tmp_path):
    assert read_calibration(tmp_path, source="ab") is None
    write_calibration(tmp_path, CALIBRATION, source="ab")
    assert read_calibration(tmp_path, source="cd") is None


@pytest.mark.parametrize(
    "changes", [{"slope": 0}, {"slope": "a"}, {"intercept": None}, {"max_distance": -1}, {"version": 2}]
)
def test_calibration_with_impossible_values_is_not_used(tmp_path, changes):
    write_calibration(tmp_path, CALIBRATION, source="ab")
    path = tmp_path / ENSEMBLE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert read_calibration(tmp_path, source="ab") is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"{}"])
def test_damaged_calibration_is_not_used(tmp_path, content):
    (tmp_path / ENSEMBLE).write_bytes(content)
    assert read_calibration(tmp_path, source="ab") is None


def test_source_depends_on_each_member_and_on_their_order():
    assert len({source_of(checksums) for checksums in (["a", "b"], ["b", "a"], ["a", "a"], ["a"])}) == 4

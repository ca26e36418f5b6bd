"""The data of the projector: one line and one thumbnail per validation picture."""

import numpy as np
import pytest
from PIL import Image

from reports import projector
from reports.projector import write_projector
from tests.helpers.reports import network_of, predictions, run_in


def write(folder, run, predicted: list[int]) -> None:
    folder.mkdir(exist_ok=True)
    write_projector(folder, run, network_of(run), run.evaluation(predictions(predicted, classes=2)))


def test_projector_has_features_classes_and_thumbnails(tmp_path):
    run = run_in(tmp_path / "bats", per_class=2)
    write(tmp_path, run, [0, 1, 1, 1])
    assert (tmp_path / "pictures.tsv").read_text().splitlines() == [
        "class\tpredicted\tcorrect\tfile",
        "ant\tant\tyes\trawdata/ant/validation0.png",
        "ant\tbee\tno\trawdata/ant/validation1.png",
        "bee\tbee\tyes\trawdata/bee/validation2.png",
        "bee\tbee\tyes\trawdata/bee/validation3.png",
    ]
    features = np.loadtxt(tmp_path / "features.tsv", delimiter="\t")
    assert features.shape == (4, 1024)
    assert (features >= 0).all()
    assert len({tuple(row) for row in features}) == 4
    with Image.open(tmp_path / "thumbnails.jpg") as thumbnails:
        assert thumbnails.size == (128, 128)
    text = (tmp_path / "projector_config.pbtxt").read_text()
    assert all(f'"{name}"' in text for name in ("features.tsv", "pictures.tsv", "thumbnails.jpg"))


def test_projector_replaces_tabs_and_newlines_in_names(tmp_path):
    run = run_in(tmp_path / "bats", class_names=("a\tb", "c\nd"), per_class=1)
    write(tmp_path, run, [0, 1])
    lines = (tmp_path / "pictures.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == ["a\\tb", "c\\nd"]


@pytest.mark.parametrize(("limit", "files"), [(4, [0, 1, 2, 3]), (3, [0, 1, 3])])
def test_projector_takes_pictures_evenly_if_there_are_too_many(tmp_path, monkeypatch, limit, files):
    monkeypatch.setattr(projector, "_MAX_PICTURES", limit)
    write(tmp_path, run_in(tmp_path / "bats", per_class=2), [0, 0, 1, 1])
    lines = (tmp_path / "pictures.tsv").read_text().splitlines()[1:]
    assert [int(line.rpartition("validation")[2].partition(".")[0]) for line in lines] == files

"""Writing the files of a report."""

import dataclasses
import json

import numpy as np

from reports.report_files import write_folder_report, write_run_report
from tests.helpers.checkpoints import metrics
from tests.helpers.evaluations import evaluation_of
from tests.helpers.pages import Page
from tests.helpers.reports import contents_of, image_of, network_of, predictions, run_in


class CountedImages:
    """Images that remember which of them were used, in place of an array."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images
        self.used: list[int] = []

    def __getitem__(self, index: slice) -> np.ndarray:
        self.used += np.arange(len(self._images))[index].tolist()
        return self._images[index]


def test_write_run_report_uses_only_the_images_that_it_shows(tmp_path):
    run = run_in(tmp_path, per_class=3, batch_size=2)  # 6 training pictures: an epoch has 3 steps
    training, validation = CountedImages(run.train.images), CountedImages(run.validation.images)
    run = dataclasses.replace(
        run, train=run.train._replace(images=training), validation=run.validation._replace(images=validation)
    )
    network = network_of(run)
    network.step, network.source = 6, "ab12"
    evaluation = run.evaluation(predictions([0, 1, 0, 1, 1, 1], classes=2))
    history = [metrics(0.5), metrics(0.75)]
    write_run_report(tmp_path, run, evaluation, network=network, history=history)
    contents = json.loads((tmp_path / "report.json").read_text())
    assert (contents["epoch"], contents["best_epoch"], contents["history"]) == (2, 2, history)
    assert (contents["source"], contents["report"]["correct"]) == ("ab12", 5)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "5 of 6 correct" in page.text
    assert "rawdata/ant/validation1.png" in page.text
    assert (training.used, set(validation.used)) == ([], {1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_write_folder_report_writes_one_file(tmp_path):
    evaluation = evaluation_of([("1.png", "ant", (0.9, 0.1)), ("2.png", "bee", (0.8, 0.2))])
    network = network_of(run_in(tmp_path))
    path = tmp_path / "deep" / "page.html"
    write_folder_report(path, contents_of(evaluation), evaluation, heat_maps=network.heat_maps, image_of=image_of)
    assert "1 of 2 correct" in Page(path.read_text(encoding="utf-8")).text
    assert [found.name for found in path.parent.iterdir()] == ["page.html"]

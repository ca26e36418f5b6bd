"""What `tensorboard --logdir checkpoints` shows after a run."""

import pytest

from tests.helpers.tensorboard import serving


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """Returns a TensorBoard that shows a run of 10 epochs."""
    with serving(trained, log=tmp_path_factory.mktemp("served") / "tensorboard.log") as served:
        yield served


def test_page_is_served(served):
    assert b"<title>TensorBoard</title>" in served.get("/")


def test_curves_of_train_and_validation_have_the_same_tags(served):
    tags = served.json("/data/plugin/scalars/tags")
    assert {run: set(found) for run, found in tags.items()} == {
        "train": {"cost", "accuracy", "images_per_second", "learning_rate"},
        "validation": {
            *("cost", "accuracy", "accuracy/best", "recall/mean", "recall/worst", "recall/best", "unknown"),
        },
    }


@pytest.mark.parametrize("run", ["train", "validation"])
@pytest.mark.parametrize("tag", ["cost", "accuracy"])
def test_curve_has_one_point_per_epoch(served, run, tag):
    points = served.json(f"/data/plugin/scalars/scalars?run={run}&tag={tag}")
    assert [step for _, step, _ in points] == list(range(1, 11))
    assert all(value >= 0 for _, _, value in points)


def test_graph_is_that_of_the_network(served):
    assert served.json("/data/plugin/graphs/info")["train"]["run_graph"]
    assert "block_1/conv_1/convolution" in served.get("/data/plugin/graphs/graph?run=train").decode()

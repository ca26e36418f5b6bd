"""What `tensorboard --logdir checkpoints` shows after a run."""

import re

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
        "train": {"cost", "accuracy", "learning_rate"},
        "validation": {"cost", "accuracy"},
    }


@pytest.mark.parametrize(
    ("run", "tag"),
    [
        ("train", "cost"),
        ("train", "accuracy"),
        ("train", "learning_rate"),
        ("validation", "cost"),
        ("validation", "accuracy"),
    ],
)
def test_curve_has_one_point_per_epoch(served, run, tag):
    points = served.json(f"/data/plugin/scalars/scalars?run={run}&tag={tag}")
    assert [step for _, step, _ in points] == list(range(1, 11))
    assert all(value >= 0 for _, _, value in points)


def test_graph_has_the_names_and_dimensions_of_the_layers(served):
    info = served.json("/data/plugin/graphs/info")
    assert info["train"]["run_graph"]
    text = served.get("/data/plugin/graphs/graph?run=train").decode()
    nodes = {re.search(r'name: "(.*?)"', node)[1]: node for node in text.split("\nnode {") if 'name: "' in node}
    for layer in (
        "conv_1",
        "pooling_1",
        "activation_1",
        "conv_2",
        "conv_3",
        "flattening",
        "fully_connected_1",
        "logits",
    ):
        assert any(f"{layer}/" in name for name in nodes), layer
    (dense,) = (node for name, node in nodes.items() if name.endswith("fully_connected_1/MatMul"))
    assert "_output_shapes" in dense
    assert re.search(r"size: -1\s.*?size: 1024", dense, re.DOTALL)

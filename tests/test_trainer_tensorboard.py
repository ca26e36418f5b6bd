"""What `tensorboard --logdir checkpoints` shows after a run."""

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.processes import running, wait_until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    """Returns a function that gets a page from a TensorBoard that shows a run of 10 epochs."""
    port = free_port()
    program = Path(sys.executable).with_name("tensorboard")  # as a user starts it
    options = ["--logdir", str(trained), "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("served") / "tensorboard.log"

    def get(page: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}") as response:
            return response.read()

    with log.open("wb") as output, running(program, *options, stdout=output, stderr=output) as server:
        wait_until(lambda: runs(get) == ["train", "validation"], server)
        yield get


def runs(get) -> list[str]:
    """Returns the runs that it has found so far; none while it is starting."""
    try:
        return sorted(json.loads(get("/data/runs")))
    except urllib.error.URLError:
        return []


def test_page_is_served(served):
    assert b"<title>TensorBoard</title>" in served("/")


def test_curves_of_train_and_validation_have_the_same_tags(served):
    tags = json.loads(served("/data/plugin/scalars/tags"))
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
    points = json.loads(served(f"/data/plugin/scalars/scalars?run={run}&tag={tag}"))
    assert [step for _, step, _ in points] == list(range(1, 11))
    assert all(value >= 0 for _, _, value in points)


def test_graph_has_the_names_and_dimensions_of_the_layers(served):
    info = json.loads(served("/data/plugin/graphs/info"))
    assert info["train"]["run_graph"]
    text = served("/data/plugin/graphs/graph?run=train").decode()
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

"""What `tensorboard --logdir checkpoints` serves after a run."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import write_picture

import trainer
from config import TrainConfig

EPOCHS = 3


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A function that gets a page of a TensorBoard that watches a run of 3 epochs, resumed after 2."""
    folder = tmp_path_factory.mktemp("served")
    for label, name in enumerate(("ant", "bee")):
        for number in range(6):
            write_picture(folder / "rawdata" / name / f"{number}.png", label=label, seed=number)
    names = ("augmented", "data_path", "model_save_name")
    folders = {"raw_data": str(folder / "rawdata"), **{name: str(folder / name) for name in names}}
    for epochs in (2, EPOCHS):
        trainer.main(TrainConfig(height=16, width=16, epochs=epochs, **folders))

    port = free_port()
    program = Path(sys.executable).with_name("tensorboard")  # as typed
    options = ["--logdir", folders["model_save_name"], "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "tensorboard.log"

    def get(page: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=30) as answer:
            return answer.read()

    with log.open("wb") as output, subprocess.Popen([program, *options], stdout=output, stderr=output) as server:
        try:
            deadline = time.monotonic() + 120
            while runs(get, server, log) != ["train", "validation"]:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield get
        finally:
            server.terminate()


def runs(get, server: subprocess.Popen, log: Path) -> list[str]:
    """What it has found so far; nothing while it is starting."""
    assert server.poll() is None, log.read_text()
    try:
        return sorted(json.loads(get("/data/runs")))
    except urllib.error.URLError:
        return []


def test_the_page_is_served(served):
    assert b"<title>TensorBoard</title>" in served("/")


def test_train_and_validation_share_the_names_of_their_curves(served):
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
def test_a_curve_has_one_point_an_epoch(served, run, tag):
    points = json.loads(served(f"/data/plugin/scalars/scalars?run={run}&tag={tag}"))
    assert [step for _, step, _ in points] == [1, 2, 3]
    assert all(value >= 0 for _, _, value in points)


def test_the_graph_shows_the_layers_by_name_with_their_dimensions(served):
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

"""What TensorBoard is given: every epoch once, and the graph with the names of the layers."""

import re
from pathlib import Path

import pytest

from model import generate_model
from network.backend import keras
from reports.graph import graph_of
from reports.tensorboard import TensorBoard
from tests.helpers.checkpoints import model_config
from tests.helpers.runs import read_events, scalars


def network() -> keras.Model:
    return generate_model(model_config(width=24, color_channels=1, class_names=["ant", "bee", "wasp"]))


def metrics(epoch: int) -> dict[str, float]:
    return {
        "loss": 8 / epoch,
        "accuracy": epoch / 16,
        "val_loss": 4 / epoch,
        "val_accuracy": epoch / 32,
        "learning_rate": 0.5**epoch,
        "images_per_second": 400,
    }


def write(folder: Path, *, before: int, after: int) -> None:
    """Writes the logs of a run that is resumed after the epoch `before`, and ends after the epoch `after`."""
    history = [metrics(epoch + 1) for epoch in range(before)]
    tensorboard = TensorBoard(folder, history)
    tensorboard.set_model(network())
    tensorboard.on_train_begin()
    for epoch in range(before, after):
        tensorboard.on_epoch_end(epoch, metrics(epoch + 1))
    tensorboard.close()


def assert_three_epochs(folder: Path) -> None:
    train, validation = folder / "train", folder / "validation"
    assert scalars(train, "cost") == [(1, 8), (2, 4), (3, pytest.approx(8 / 3))]
    assert scalars(train, "accuracy") == [(1, 1 / 16), (2, 2 / 16), (3, 3 / 16)]
    assert scalars(train, "learning_rate") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert scalars(validation, "cost") == [(1, 4), (2, 2), (3, pytest.approx(4 / 3))]
    assert scalars(validation, "accuracy") == [(1, 1 / 32), (2, 2 / 32), (3, 3 / 32)]
    assert set(read_events(train).Tags()["tensors"]) == {"cost", "accuracy", "learning_rate"}
    assert set(read_events(validation).Tags()["tensors"]) == {"cost", "accuracy"}
    assert read_events(train).Tags()["graph"]


def test_scalars_show_every_epoch_once_counted_from_one(tmp_path):
    write(tmp_path, before=0, after=3)
    assert_three_epochs(tmp_path)


def test_scalars_of_a_resumed_run_show_every_epoch_once(tmp_path):
    write(tmp_path, before=0, after=2)
    write(tmp_path, before=2, after=3)
    assert_three_epochs(tmp_path)


def test_scalars_show_no_epoch_twice_after_an_older_checkpoint(tmp_path):
    write(tmp_path, before=0, after=3)
    write(tmp_path, before=1, after=3)
    assert_three_epochs(tmp_path)


def test_lost_files_are_written_again_from_the_history(tmp_path):
    write(tmp_path, before=3, after=3)
    assert_three_epochs(tmp_path)


def test_second_fit_of_the_same_run_starts_no_second_file(tmp_path):
    tensorboard = TensorBoard(tmp_path, [])
    tensorboard.set_model(network())
    for epoch in range(3):
        tensorboard.on_train_begin()
        tensorboard.on_epoch_end(epoch, metrics(epoch + 1))
    tensorboard.close()
    assert_three_epochs(tmp_path)


def test_epoch_is_shown_as_soon_as_it_has_ended(tmp_path):
    tensorboard = TensorBoard(tmp_path, [])
    tensorboard.set_model(network())
    tensorboard.on_train_begin()
    tensorboard.on_epoch_end(0, metrics(1))
    assert scalars(tmp_path / "validation", "cost") == [(1, 4)]
    tensorboard.close()


def test_files_of_the_user_are_kept(tmp_path):
    notes = tmp_path / "train" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    write(tmp_path, before=0, after=1)
    assert notes.read_text() == "mine"


def test_graph_has_the_names_and_dimensions_of_the_layers():
    model = network()
    nodes = {node.name: node for node in graph_of(model).node}
    scopes = {name.split("/")[0] for name in nodes}  # at the top level, so that the page shows them at once
    without_operations = {"images", "dropout_1", "dropout_2"}  # dropout does nothing outside training
    assert {layer.name for layer in model.layers} - without_operations <= scopes
    assert not [name for name in nodes if re.search(r"(conv_\d|pooling_\d|activation_\d|logits)_\d+/", name)]

    def dimensions(ending: str) -> set[tuple[int, ...]]:
        found = [node for name, node in nodes.items() if name.endswith(ending)]
        assert found
        return {tuple(d.size for d in node.attr["_output_shapes"].list.shape[0].dim) for node in found}

    assert dimensions("conv_1/convolution") == {(-1, 16, 24, 16)}
    assert dimensions("pooling_1/MaxPool2d") == {(-1, 8, 12, 16)}
    assert dimensions("activation_3/Relu") == {(-1, 2, 3, 64)}
    assert dimensions("logits/MatMul") == {(-1, 3)}


def test_graph_is_consistent_after_its_nodes_were_renamed():
    definition = graph_of(network())
    names = {node.name for node in definition.node}
    assert len(names) == len(definition.node)
    sources = {source.removeprefix("^").split(":")[0] for node in definition.node for source in node.input}
    assert sources <= names

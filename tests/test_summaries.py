"""What TensorBoard is given: every epoch once, and the graph under the names of its layers."""

import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import generate_model
from summaries import Summaries, graph_of


def network() -> keras.Model:
    return generate_model(
        height=16,
        width=24,
        color_channels=1,
        classes=3,
        scale_input=True,
        batch_normalization=True,
        dropout=0.5,
        random_mirror=True,
    )


def figures(epoch: int) -> dict[str, float]:
    return {
        "cost": 8 / epoch,
        "accuracy": epoch / 16,
        "val_cost": 4 / epoch,
        "val_accuracy": epoch / 32,
        "learning_rate": 0.5**epoch,
        "images_per_second": 400,
    }


def write(folder: Path, *, before: int, after: int) -> None:
    """A run that goes on after some epochs and lasts until others."""
    history = [figures(epoch + 1) for epoch in range(before)]
    summaries = Summaries(folder, history)
    summaries.set_model(network())
    summaries.on_train_begin()
    for epoch in range(before, after):
        summaries.on_epoch_end(epoch, figures(epoch + 1))
    summaries.close()


def read(folder: Path) -> EventAccumulator:
    """The only event file of a folder."""
    (path,) = folder.iterdir()
    return EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, tf.make_ndarray(event.tensor_proto).item()) for event in read(folder).Tensors(tag)]


def check_three_epochs(folder: Path) -> None:
    train, validation = folder / "train", folder / "validation"
    assert curve(train, "cost") == [(1, 8), (2, 4), (3, pytest.approx(8 / 3))]
    assert curve(train, "accuracy") == [(1, 1 / 16), (2, 2 / 16), (3, 3 / 16)]
    assert curve(train, "learning_rate") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert curve(validation, "cost") == [(1, 4), (2, 2), (3, pytest.approx(4 / 3))]
    assert curve(validation, "accuracy") == [(1, 1 / 32), (2, 2 / 32), (3, 3 / 32)]
    assert set(read(train).Tags()["tensors"]) == {"cost", "accuracy", "learning_rate"}
    assert set(read(validation).Tags()["tensors"]) == {"cost", "accuracy"}
    assert read(train).Tags()["graph"]


def test_every_epoch_is_shown_once_counted_from_one(tmp_path):
    write(tmp_path, before=0, after=3)
    check_three_epochs(tmp_path)


def test_a_resumed_run_shows_every_epoch_once(tmp_path):
    write(tmp_path, before=0, after=2)
    write(tmp_path, before=2, after=3)
    check_three_epochs(tmp_path)


def test_a_run_that_falls_back_to_an_older_checkpoint_shows_no_epoch_twice(tmp_path):
    write(tmp_path, before=0, after=3)
    write(tmp_path, before=1, after=3)
    check_three_epochs(tmp_path)


def test_summaries_that_were_lost_come_back_from_the_history(tmp_path):
    write(tmp_path, before=3, after=3)
    check_three_epochs(tmp_path)


def test_a_second_fit_of_the_same_run_begins_no_second_file(tmp_path):
    summaries = Summaries(tmp_path, [])
    summaries.set_model(network())
    for epoch in range(3):
        summaries.on_train_begin()
        summaries.on_epoch_end(epoch, figures(epoch + 1))
    summaries.close()
    check_three_epochs(tmp_path)


def test_an_epoch_can_be_watched_as_soon_as_it_is_over(tmp_path):
    summaries = Summaries(tmp_path, [])
    summaries.set_model(network())
    summaries.on_train_begin()
    summaries.on_epoch_end(0, figures(1))
    assert curve(tmp_path / "validation", "cost") == [(1, 4)]
    summaries.close()


def test_files_of_others_are_left_alone(tmp_path):
    notes = tmp_path / "train" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    write(tmp_path, before=0, after=1)
    assert notes.read_text() == "mine"


def test_the_graph_carries_the_names_of_the_layers_and_their_dimensions():
    model = network()
    nodes = {node.name: node for node in graph_of(model).node}
    scopes = {name.split("/")[0] for name in nodes}  # at top level, so that the page shows them at first sight
    idle = {"images", "dropout_1", "dropout_2"}  # dropout does nothing outside training
    assert {layer.name for layer in model.layers} - idle <= scopes
    assert not [name for name in nodes if re.search(r"(conv_\d|pooling_\d|activation_\d|logits)_\d+/", name)]

    def dimensions(ending: str) -> set[tuple[int, ...]]:
        found = [node for name, node in nodes.items() if name.endswith(ending)]
        assert found
        return {tuple(d.size for d in node.attr["_output_shapes"].list.shape[0].dim) for node in found}

    assert dimensions("conv_1/convolution") == {(-1, 16, 24, 16)}
    assert dimensions("pooling_1/MaxPool2d") == {(-1, 8, 12, 16)}
    assert dimensions("activation_3/Relu") == {(-1, 2, 3, 64)}
    assert dimensions("logits/MatMul") == {(-1, 3)}


def test_the_graph_is_whole_after_its_nodes_were_renamed():
    definition = graph_of(network())
    names = {node.name for node in definition.node}
    assert len(names) == len(definition.node)
    sources = {source.removeprefix("^").split(":")[0] for node in definition.node for source in node.input}
    assert sources <= names

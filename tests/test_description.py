"""What a network was made for: written, read, refused."""

import json

import pytest
from saving import DESCRIPTION, FIELDS

from checkpoint import load_classifier
from config import UserError
from description import Description, read_description, refuse_others


def test_a_description_is_read_as_it_was_written(tmp_path):
    (tmp_path / "model.json").write_bytes(DESCRIPTION.as_json())
    assert read_description(tmp_path) == DESCRIPTION


def test_a_description_rebuilds_the_network(tmp_path):
    changed = Description(**{**FIELDS, "height": 17, "width": 31, "color_channels": 1, "class_names": ["a", "b", "c"]})
    model = changed.network()
    assert (model.input_shape, model.output_shape) == ((None, 17, 31, 1), (None, 3))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * 5_000_000,
        {"seed": None},
        {"seed": "1"},
        {"seed": True},
        {"scale_input": 1},
        {"dropout": "0.5"},
        {"dropout": 0.96},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"height": 15},
        {"height": 4097},
        {"width": 15},
        {"width": 4097},
        {"width": 16.0},
        {"color_channels": 2},
        {"class_names": "ant"},
        {"class_names": ["ant"]},
        {"class_names": ["bee", "ant"]},
        {"class_names": ["ant", "ant"]},
        {"class_names": ["ant", 1]},
        {"class_names": [f"{number:04d}" for number in range(1001)]},
        {"loss": "hinge"},
        {"loss": None},
        {"random_mirror": 1},
        {"pictures": 1},
        {"module": "os"},
        {"class_names": ["\ud800", "a"]},
        {"class_names": ["", "a"]},
        {"class_names": ["../a", "b"]},
        {"class_names": ["a", "b\0"]},
        {"seed": -1},
        {"seed": 2**31},
        {"batch_size": 0},
        {"batch_size": 65537},
        {"validation_split": 0.009},
        {"validation_split": 0.91},
        {"validation_split": float("inf")},
    ],
    ids=lambda content: str(content)[:10],
)
def test_a_damaged_description_is_refused_in_one_line_that_names_it(tmp_path, content):
    text = content if isinstance(content, bytes) else json.dumps({**FIELDS, **content}).encode()
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(UserError, match="damaged") as refused:
        read_description(tmp_path)
    assert str(tmp_path / "model.json") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", FIELDS)
def test_a_description_without_one_of_its_fields_is_refused(tmp_path, missing):
    (tmp_path / "model.json").write_text(json.dumps({name: FIELDS[name] for name in FIELDS if name != missing}))
    with pytest.raises(UserError, match=f"damaged.*{missing}"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"height": 4096, "width": 4096},
        {"dropout": 0},
        {"dropout": 0.95},
        {"color_channels": 1},
        {"loss": "sigmoid"},
        {"class_names": [f"{number:04d}" for number in range(1000)]},
    ],
    ids=lambda content: str(content)[:30],
)
def test_a_description_at_the_limits_is_accepted(tmp_path, content):
    (tmp_path / "model.json").write_text(json.dumps({**FIELDS, **content}))
    assert read_description(tmp_path) == Description(**{**FIELDS, **content})


def test_a_folder_without_a_description_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match=r"no trained network here; run trainer\.py"):
        load_classifier(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "both"),
    [
        ({"height": 32}, "--height 16, not 32"),
        ({"seed": 2}, "--seed 1, not 2"),
        ({"dropout": 0.25}, "--dropout 0.5, not 0.25"),
        ({"loss": "sigmoid"}, "--loss softmax, not sigmoid"),
        ({"random_mirror": False}, "--random_mirror True, not False"),
        ({"balance_classes": False}, "--balance_classes True, not False"),
        ({"class_names": ["ant", "wasp"]}, "the classes ant, bee, not ant, wasp"),
        ({"pictures": "ffff"}, "other pictures"),
    ],
    ids=["height", "seed", "dropout", "loss", "mirror", "balance", "classes", "pictures"],
)
def test_going_on_with_something_else_is_refused_with_both_values(tmp_path, change, both):
    with pytest.raises(UserError) as refused:
        refuse_others(tmp_path, DESCRIPTION, Description(**{**FIELDS, **change}))
    assert both in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "--model_save_name" in str(refused.value)


def test_going_on_with_the_same_is_not_refused(tmp_path):
    refuse_others(tmp_path, DESCRIPTION, Description(**FIELDS))

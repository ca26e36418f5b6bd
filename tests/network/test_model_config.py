"""The config of a network: written, read, refused."""

import json
from pathlib import Path

import pytest

from config import TrainConfig
from network.model_config import VERSION, ModelConfig, read_model_config, require_same
from system.errors import UserError
from tests.helpers.checkpoints import FIELDS, MODEL_CONFIG, model_config


def test_read_model_config_returns_what_was_written(tmp_path):
    (tmp_path / "model.json").write_bytes(MODEL_CONFIG.to_json())
    assert read_model_config(tmp_path) == MODEL_CONFIG


def test_of_run_takes_shared_settings_from_the_config_of_the_run():
    config = TrainConfig(height=17, width=31, color_channels=1, seed=7, loss="sigmoid", dropout=0.25)
    found = ModelConfig.of_run(config, class_names=["ant", "bee"], pictures="0123abcd")
    assert found == model_config(height=17, width=31, color_channels=1, seed=7, loss="sigmoid", dropout=0.25)


@pytest.mark.parametrize("change", [{"height": 15}, {"class_names": ["ant"]}, {"dropout": 1.0}, {"scale_input": 1}])
def test_model_config_cannot_be_built_with_wrong_values(change):
    with pytest.raises(UserError, match=next(iter(change))):
        model_config(**change)


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
        {"version": "2"},
        {"version": None},
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
def test_read_model_config_names_a_damaged_file_in_one_line(tmp_path, content):
    text = content if isinstance(content, bytes) else json.dumps({"version": VERSION, **FIELDS, **content}).encode()
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(UserError, match="damaged") as refused:
        read_model_config(tmp_path)
    assert str(tmp_path / "model.json") in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("missing", FIELDS)
def test_read_model_config_names_a_missing_field(tmp_path, missing):
    (tmp_path / "model.json").write_text(
        json.dumps({"version": VERSION, **{name: FIELDS[name] for name in FIELDS if name != missing}})
    )
    with pytest.raises(UserError, match=f"damaged.*{missing}"):
        read_model_config(tmp_path)


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
def test_read_model_config_accepts_values_at_the_limits(tmp_path, content):
    (tmp_path / "model.json").write_text(json.dumps({"version": VERSION, **FIELDS, **content}))
    assert read_model_config(tmp_path) == model_config(**content)


@pytest.mark.parametrize("content", [FIELDS, {**FIELDS, "version": 3}, {"version": 1}], ids=["1", "3", "only 1"])
def test_read_model_config_refuses_another_version_in_one_line(tmp_path, content):
    (tmp_path / "model.json").write_text(json.dumps(content))  # the first version wrote no number
    with pytest.raises(UserError) as refused:
        read_model_config(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / 'model.json'}: was saved by another version of this toolkit; "
        "train to a new folder with --model_save_name"
    )


def test_read_model_config_without_a_network_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError) as refused:
        read_model_config(tmp_path / "nowhere")
    expected = "no trained network here; run trainer.py first, or name a folder with --model_save_name"
    assert str(refused.value) == f"{tmp_path / 'nowhere'}: {expected}"


def test_read_model_config_names_neighboring_folders_with_a_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in reversed(range(7)):
        path = tmp_path / f"net{number}"
        path.mkdir()
        if number != 1:
            (path / "model.json").write_bytes(MODEL_CONFIG.to_json())
    with pytest.raises(UserError) as refused:
        read_model_config(Path("checkpoints"))
    folders = " or ".join(f"--model_save_name net{number}" for number in (0, 2, 3, 4, 5))
    assert str(refused.value) == f"checkpoints: no trained network here; try {folders}"
    with pytest.raises(UserError) as refused:
        read_model_config(tmp_path / "checkpoints")
    assert f"; try --model_save_name {tmp_path / 'net0'} or " in str(refused.value)


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
        ({"pictures": "ffff"}, "different pictures"),
    ],
    ids=["height", "seed", "dropout", "loss", "mirror", "balance", "classes", "pictures"],
)
def test_require_same_names_both_values(tmp_path, change, both):
    with pytest.raises(UserError) as refused:
        require_same(tmp_path, MODEL_CONFIG, model_config(**change))
    assert both in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "--model_save_name" in str(refused.value)


def test_require_same_accepts_equal_configs(tmp_path):
    require_same(tmp_path, MODEL_CONFIG, model_config())

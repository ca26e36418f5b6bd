"""The config of a network: written, read, refused."""

import dataclasses
import json
from pathlib import Path

import pytest

from config import TrainConfig
from network.model_config import VERSION, ModelConfig, changed_settings, read_model_config, require_same
from system.errors import UserError
from tests.helpers.checkpoints import FIELDS, MODEL_CONFIG, model_config


def test_read_model_config_returns_what_was_written(tmp_path):
    (tmp_path / "model.json").write_bytes(MODEL_CONFIG.to_json())
    assert read_model_config(tmp_path) == MODEL_CONFIG


def test_of_run_takes_shared_settings_from_the_config_of_the_run():
    config = TrainConfig(height=17, width=31, color_channels=1, seed=7, loss="sigmoid", dropout=0.25)
    found = ModelConfig.of_run(config, class_names=["ant", "bee"], pictures="0123abcd")
    assert found == model_config(height=17, width=31, color_channels=1, seed=7, loss="sigmoid", dropout=0.25)


def test_of_run_remembers_or_leaves_out_each_setting_of_a_run():
    remembered = {field.name for field in dataclasses.fields(ModelConfig)} - {"class_names", "pictures", "replicas"}
    left_out = {"raw_data", "augmented", "data_path", "model_save_name"}
    left_out |= {
        "max_megapixels",
        "memory_gib",
        "save_seconds",
        "max_to_keep",
        "summary",
        "tensorboard",
        "learning_curve",
        "devices",
        "workers",
        "worker",
    }
    assert remembered | left_out == {field.name for field in dataclasses.fields(TrainConfig)}
    assert not remembered & left_out


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
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        b"[" * 100_000,
        pytest.param(b" " * 5_000_000 + MODEL_CONFIG.to_json(), id="too large"),
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
        {"class_names": ["a", "\ud800"]},
        {"epochs": 0},
        {"precision": "float16"},
        {"learning_rate": float("inf")},
        b"3",
        b'"version"',
        {"class_names": ["", "a"]},
        {"class_names": ["../a", "b"]},
        {"class_names": ["a", "b\0"]},
        {"class_names": [".", "a"]},
        {"class_names": ["..", "a"]},
        {"class_names": [".hidden", "a"]},
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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "it is not a JSON object"),
        ("[" * 100_000, "maximum recursion depth exceeded.*"),
        (json.dumps(FIELDS | {"version": VERSION, "a": 1, "b": 2}), "unknown or missing entries: a, b"),
        (
            json.dumps(FIELDS | {"version": VERSION, "class_names": ["b", "a"]}),
            "class_names: must be a sorted list of different names",
        ),
        (
            json.dumps(FIELDS | {"version": VERSION, "class_names": ["a", "b/c"]}),
            "class_names: 'b/c' cannot be the name of a class folder",
        ),
        (
            json.dumps(FIELDS | {"version": VERSION, "class_names": ["a"]}),
            "class_names: there are 1 classes; must be 2 to 1000",
        ),
    ],
    ids=["a list", "deep", "entries", "order", "a folder", "one"],
)
def test_read_model_config_says_what_is_damaged(tmp_path, content, reason):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(UserError, match=rf"damaged \({reason}\); run the same trainer.py command to restore it$"):
        read_model_config(tmp_path)


def test_to_json_has_one_setting_on_each_line():
    assert MODEL_CONFIG.to_json().splitlines()[:3] == [b"{", f' "version": {VERSION},'.encode(), b' "height": 16,']


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


@pytest.mark.parametrize(
    "content",
    [
        FIELDS,  # the first version wrote no number
        {**FIELDS, "version": VERSION - 1},
        {**FIELDS, "version": VERSION + 1},
        {"version": 1},
        {"version": "3.1", "classes": ["ant", "bee"]},
        {"version": {"major": 4}},
        {"version": None},
        {"labels": ["ant", "bee"], "image_size": [16, 16]},
        {},
    ],
    ids=lambda content: str(content)[-30:],
)
def test_read_model_config_refuses_another_version_in_one_line(tmp_path, content):
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as refused:
        read_model_config(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / 'model.json'}: was saved by another version of this toolkit; "
        "train to a new folder with --model_save_name"
    )


def test_class_names_may_be_any_names_of_folders(tmp_path):
    names = sorted(["猫", "ñandú", "a\\b", "A: good", "\udcff", "🦊"])  # \udcff: a byte that is not UTF-8
    config = model_config(class_names=names)
    (tmp_path / "model.json").write_bytes(config.to_json())
    assert read_model_config(tmp_path) == config


@pytest.mark.parametrize("name", ["猫", "\udcff"], ids=["a letter", "a byte"])
def test_class_names_do_not_depend_on_the_encoding_of_file_names(tmp_path, monkeypatch, name):
    monkeypatch.setattr("os.fsencode", lambda name: name.encode("iso8859-1", "surrogateescape"))
    (tmp_path / "model.json").write_bytes(model_config(class_names=["a", name]).to_json())
    assert read_model_config(tmp_path).class_names == ["a", name]


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


def test_read_model_config_names_model_files_in_the_folder_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("mail", "ants [1].tflite"), Path("net", "model.json")):
        path.parent.mkdir()
        path.touch()
    with pytest.raises(UserError) as refused:
        read_model_config(Path("mail"))
    assert str(refused.value).endswith("; try --model_save_name 'mail/ants [1].tflite' or --model_save_name net")


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
    assert str(refused.value) == (
        f"{tmp_path}: was trained with {both}; train to a new folder with --model_save_name, or move this one away"
    )


def test_require_same_accepts_equal_configs(tmp_path):
    require_same(tmp_path, MODEL_CONFIG, model_config())


def test_require_same_compares_the_settings_of_a_run_before_its_pictures(tmp_path):
    saved = ModelConfig.of_run(TrainConfig(seed=3), class_names=["ant", "bee"], pictures="0123")
    require_same(tmp_path, saved, TrainConfig(seed=3, epochs=7, raw_data="elsewhere"))
    with pytest.raises(UserError, match="--seed 3, not 1"):
        require_same(tmp_path, saved, TrainConfig())
    other = ModelConfig.of_run(TrainConfig(seed=3, validation_split=0.5), class_names=["ant", "bee"], pictures="ffff")
    with pytest.raises(UserError, match=r"--validation_split 0\.2, not 0\.5"):
        require_same(tmp_path, saved, other)


CHANGES = {
    "epochs": 301,
    "patience": 29,
    "learning_rate": 0.01,
    "learning_rate_decay": 0,
    "weight_decay": 0,
    "mixup": 0,
    "adapt_regularization": False,
    "random_shift": 0,
    "random_rotation": 9.5,
    "random_zoom": 0.2,
    "random_contrast": 0.3,
    "average_weights": False,
    "precision": "float32",
    "unknown_rate": 0.1,
    "replicas": 2,
}


@pytest.mark.parametrize(("name", "value"), CHANGES.items(), ids=CHANGES)
def test_changed_settings_names_both_values_of_each(tmp_path, name, value):
    wanted = model_config(**{name: value})
    assert wanted == MODEL_CONFIG
    require_same(tmp_path, MODEL_CONFIG, wanted)
    assert changed_settings(MODEL_CONFIG, wanted) == f"{name} {value} (was {FIELDS[name]})"


def test_changed_settings_are_one_line_and_none_if_nothing_changed():
    wanted = model_config(learning_rate=0.01, epochs=50)
    assert changed_settings(MODEL_CONFIG, wanted) == "epochs 50 (was 300), learning_rate 0.01 (was 0.001)"
    assert changed_settings(MODEL_CONFIG, model_config()) == ""
    assert changed_settings(wanted, wanted) == ""


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - CHANGES.keys()))
def test_model_configs_differ_in_what_must_not_change(tmp_path, name):
    other = {
        "height": 17,
        "width": 17,
        "color_channels": 1,
        "class_names": ["ant", "wasp"],
        "loss": "sigmoid",
        "dropout": 0.25,
        "batch_size": 11,
        "seed": 2,
        "validation_split": 0.25,
        "folds": 2,
        "pictures": "ffff",
    }
    wanted = model_config(**{name: other.get(name, False)})
    assert wanted != MODEL_CONFIG
    assert changed_settings(MODEL_CONFIG, wanted) == ""
    with pytest.raises(UserError, match=name if name not in ("class_names", "pictures") else "classes|pictures"):
        require_same(tmp_path, MODEL_CONFIG, wanted)

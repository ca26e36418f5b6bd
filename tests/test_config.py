"""Settings: names, defaults, limits, folders, and what follows from them."""

import dataclasses
import os
import re

import pytest

from config import AugmentConfig, DecodingConfig, ImageConfig, PictureConfig, PredictConfig, TrainConfig
from system.command_line import read_command_line, read_comments
from system.errors import UserError
from tests.helpers.files import needs_any_letter

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="links and names of POSIX")
PATH_NAMES = ["raw_data", "augmented", "data_path", "model_save_name", "evaluate", "json", "csv"]
ALL_CONFIGS = [PictureConfig, AugmentConfig, TrainConfig, PredictConfig]


def test_names_and_defaults_are_those_of_the_original():
    config = TrainConfig()
    assert (config.raw_data, config.data_path, config.model_save_name) == ("rawdata", "data", "checkpoints")
    assert (config.height, config.width, config.color_channels) == (100, 100, 3)
    assert (config.epochs, config.batch_size, config.max_to_keep) == (300, 10, 4)
    assert config.learning_rate == 0.001  # Adam's default
    assert (AugmentConfig().sample, AugmentConfig().mirror) == (3500, 0.5)


LIMITS = [  # the lowest and the highest value of a setting, and the nearest ones outside
    (PictureConfig, "height", 16, 4096, 15, 4097),
    (PictureConfig, "width", 16, 4096, 15, 4097),
    (PictureConfig, "color_channels", 1, 3, 0, 4),
    (PictureConfig, "validation_split", 0.01, 0.9, 0.0099, 0.901),
    (PictureConfig, "folds", 1, 20, 0, 21),
    (PictureConfig, "seed", 0, 2147483647, -1, 2147483648),
    (AugmentConfig, "sample", 1, 1_000_000, 0, 1_000_001),
    (AugmentConfig, "mirror", 0, 1, -0.01, 1.01),
    (TrainConfig, "epochs", 1, 1_000_000, 0, 1_000_001),
    (TrainConfig, "batch_size", 1, 65536, 0, 65537),
    (TrainConfig, "learning_rate", 1e-8, 10, 0, 10.1),
    (TrainConfig, "patience", 1, 1_000_000, 0, 1_000_001),
    (TrainConfig, "learning_rate_decay", 0, 0.9, -0.01, 0.91),
    (TrainConfig, "weight_decay", 0, 100, -0.01, 101),
    (TrainConfig, "mixup", 0, 1, -0.01, 1.01),
    (TrainConfig, "dropout", 0, 0.95, -0.01, 0.96),
    (TrainConfig, "random_shift", 0, 0.9, -0.01, 0.91),
    (TrainConfig, "random_rotation", 0, 180, -1, 181),
    (TrainConfig, "random_zoom", 0, 0.9, -0.01, 0.91),
    (TrainConfig, "random_contrast", 0, 0.9, -0.01, 0.91),
    (PredictConfig, "max_megapixels", 0.001, 10_000, 0.0009, 10_001),
    (PredictConfig, "top", 1, 1_000_000, 0, 1_000_001),
    (PredictConfig, "least_score", 0, 1, -0.01, 1.01),
    (TrainConfig, "unknown_rate", 0, 0.5, -0.01, 0.51),
    (TrainConfig, "devices", 0, 64, -1, 65),
    (TrainConfig, "worker", 0, 999, -1, 1000),
    (TrainConfig, "memory_gib", 0, 1_000_000, -0.1, 1_000_001),
    (TrainConfig, "save_seconds", 0, 86400, -1, 86401),
    (TrainConfig, "max_to_keep", 1, 1_000_000, 0, 1_000_001),
]


@pytest.mark.parametrize(("config_class", "name", "low", "high", "below", "above"), LIMITS)
def test_a_number_may_reach_but_not_exceed_its_limits(config_class, name, low, high, below, above):
    assert getattr(config_class(**{name: low}), name) == low
    assert getattr(config_class(**{name: high}), name) == high
    for wrong in (below, above):
        with pytest.raises(UserError, match=rf"^--{name} {re.escape(str(wrong))}: must be "):
            config_class(**{name: wrong})


def test_limits_are_tested_for_every_number():
    numbers = {
        field.name
        for config_class in ALL_CONFIGS
        for field in dataclasses.fields(config_class)
        if type(field.default) in (int, float)  # bool is a different type
    }
    assert numbers == {name for _, name, *_ in LIMITS}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_must_be_finite(value):
    with pytest.raises(UserError, match="^--learning_rate"):
        TrainConfig(learning_rate=value)


def test_color_channels_are_1_or_3_and_not_2():
    with pytest.raises(UserError, match="^--color_channels 2: must be 1 or 3$"):
        PictureConfig(color_channels=2)


def test_precision_has_three_choices():
    names = ["auto", "float32", "bfloat16"]
    assert [TrainConfig(precision=name).precision for name in names] == names
    with pytest.raises(UserError, match="^--precision float16: must be auto or float32 or bfloat16$"):
        TrainConfig(precision="float16")


def test_loss_has_two_choices():
    assert [TrainConfig(loss=name).loss for name in ("softmax", "sigmoid")] == ["softmax", "sigmoid"]
    with pytest.raises(UserError, match="^--loss hinge: must be softmax or sigmoid$"):
        TrainConfig(loss="hinge")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("height", "100", "int"),
        ("height", 100.0, "int"),
        ("learning_rate", "0.1", "float"),
        ("raw_data", 5, "str"),
        ("balance_classes", 1, "bool"),
        ("average_weights", 0, "bool"),
        ("loss", 1, "str"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, kind):
    with pytest.raises(UserError, match=rf"^--{name} .*: must be of type {kind}$"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("config_class", ALL_CONFIGS)
def test_a_config_is_frozen(config_class):
    config = config_class()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config_class)[0].name, "other")


# ---- what follows from the settings ----


def test_shape_is_height_width_channels():
    assert ImageConfig(height=20, width=30, color_channels=1).shape == (20, 30, 1)


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(16, 16, 16), (512, 512, 16), (1024, 512, 8), (2048, 2048, 1), (2049, 2049, 1), (4096, 4096, 1)],
)
def test_images_per_chunk_falls_with_the_size_of_an_image(height, width, count):
    assert ImageConfig(height=height, width=width).images_per_chunk == count


def test_max_pixels_always_allows_the_images_that_are_stored():
    assert DecodingConfig(max_megapixels=0.004).max_pixels == 4000
    assert PictureConfig(max_megapixels=0.004, height=50, width=60).max_pixels == 4000
    assert PictureConfig(max_megapixels=0.004, height=80, width=60).max_pixels == 4800


# ---- folders ----


@pytest.mark.parametrize(
    ("config_class", "folders", "message"),
    [
        (PictureConfig, {"raw_data": "data"}, "^--raw_data data: must not be --data_path .data. or lie inside it$"),
        (PictureConfig, {"augmented": "rawdata"}, "must not be --"),
        (PictureConfig, {"raw_data": "pictures", "data_path": "pictures/data"}, "must not be --"),
        (PictureConfig, {"data_path": "pictures", "raw_data": "pictures/mine/raw"}, "must not be --"),
        (PictureConfig, {"augmented": "./x/../rawdata/"}, "must not be --"),  # the same folder, spelled differently
        (TrainConfig, {"model_save_name": "data"}, "must not be --"),
        (TrainConfig, {"model_save_name": "rawdata/checkpoints"}, "must not be --"),
        (PictureConfig, {"raw_data": "."}, "must not be --"),  # all others would lie inside it
        (PictureConfig, {"raw_data": ""}, "^--raw_data '': must be the name of a folder$"),
        (PredictConfig, {"model_save_name": ""}, "^--model_save_name '': must be the name of a folder$"),
    ],
)
def test_folders_must_not_be_equal_or_inside_each_other(config_class, folders, message):
    with pytest.raises(UserError, match=message):
        config_class(**folders)


def test_folders_may_have_similar_names():
    config = TrainConfig(raw_data="data_raw", data_path="data", augmented="data_augmented", model_save_name="da")
    assert config.data_path == "data"


def test_folders_must_not_be_links_to_each_other(tmp_path):
    (tmp_path / "rawdata").mkdir()
    try:
        (tmp_path / "data").symlink_to("rawdata", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    with pytest.raises(UserError, match="must not be --"):
        PictureConfig(raw_data=str(tmp_path / "rawdata"), data_path=str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["runs*", "run?", "run[1]"])
def test_model_save_name_of_a_run_must_not_be_a_pattern(name):
    with pytest.raises(UserError, match=r"must not contain \* \? \[ \], which TensorFlow reads as a pattern$"):
        TrainConfig(model_save_name=name)
    assert TrainConfig(model_save_name="runs XYZ 1").model_save_name == "runs XYZ 1"
    assert PredictConfig(model_save_name=name).model_save_name == name  # TensorFlow does not read it


PATHS = [(config_class, name) for config_class in ALL_CONFIGS for name in PATH_NAMES if hasattr(config_class, name)]


@pytest.mark.parametrize(("config_class", "name"), PATHS)
def test_every_path_has_its_home_folder_expanded_and_no_url(config_class, name, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert getattr(config_class(**{name: "~/nets/a"}), name) == f"{tmp_path}/nets/a"
    with pytest.raises(UserError, match=rf"^--{name} gs://bucket/run: is a URL; only files and folders of this"):
        config_class(**{name: "gs://bucket/run"})


def test_every_path_is_tested():
    assert len(PATHS) == 3 + 3 + 4 + 4
    texts = {field.name for config in ALL_CONFIGS for field in dataclasses.fields(config) if field.type is str}
    assert texts == {"workers"}  # any other text that is no path would not be known to the test above


def test_pictures_have_their_home_folder_expanded_and_no_url(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert PredictConfig(images=("a.jpg", "~/b.jpg")).images == ("a.jpg", f"{tmp_path}/b.jpg")
    with pytest.raises(UserError, match="^picture https://example.org/a.jpg: is a URL"):
        PredictConfig(images=("a.jpg", "https://example.org/a.jpg"))


@not_on_windows
@needs_any_letter
def test_model_save_name_of_a_run_must_be_utf8():
    with pytest.raises(UserError, match=r"^--model_save_name caf\\udce9: must be UTF-8, in which TensorFlow writes"):
        TrainConfig(model_save_name=os.fsdecode(b"caf\xe9"))
    assert TrainConfig(model_save_name="猫").model_save_name == "猫"
    assert PredictConfig(model_save_name=os.fsdecode(b"caf\xe9"))  # TensorFlow is not used
    assert PictureConfig(raw_data=os.fsdecode(b"caf\xe9")).raw_data == os.fsdecode(b"caf\xe9")  # TensorFlow is not used


@not_on_windows
def test_a_folder_may_be_a_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert PictureConfig(raw_data=str(tmp_path / "loop")).raw_data == str(tmp_path / "loop")


# ---- help ----


@pytest.mark.parametrize("config_class", ALL_CONFIGS)
def test_every_setting_has_a_group_and_a_sentence(config_class):
    comments = read_comments(config_class)
    assert comments.keys() == {field.name for field in dataclasses.fields(config_class)}
    for name, (group, text) in comments.items():
        assert group != "Other", name
        assert re.fullmatch(r"[\w0-9].{15,}\.", text), f"no sentence beside {name}: {text}"


@pytest.mark.parametrize(
    ("config_class", "line"),
    [
        (
            PictureConfig,
            "--validation_split X Fraction of the photos of each class held out for validation. "
            "(0.01 to 0.9; default 0.2)",
        ),
        (PictureConfig, "--color_channels 1|3 3 for color (RGB), 1 for gray. (default 3)"),
        (
            AugmentConfig,
            "--mirror X Probability of mirroring a copy left-right. Set it to 0 if left and right matter. "
            "(0 to 1; default 0.5)",
        ),
        (
            TrainConfig,
            "--patience N The learning rate falls after this many epochs without a lower validation cost. "
            "(1 to 1000000; default 30)",
        ),
        (
            TrainConfig,
            "--loss softmax|sigmoid softmax: classes compete; sigmoid: each class is judged independently. "
            "(default softmax)",
        ),
        (
            PredictConfig,
            "--raw Show the raw magnitudes instead of the scores. --model_save_name TEXT Folder of the checkpoints, or "
            "a model file (.tflite). (default checkpoints)",
        ),
        (TrainConfig, "--model_save_name TEXT Folder of the checkpoints and of the TensorBoard logs."),
        (
            PredictConfig,
            "Often needed: images Pictures, videos, folders, patterns such as *.jpg, or a camera such as 0; -: stdin.",
        ),
    ],
)
def test_help_shows_comments_limits_choices_and_defaults(config_class, line, capsys):
    with pytest.raises(SystemExit) as stop:
        read_command_line(config_class, "What it does.", ["--help"])
    assert stop.value.code == 0
    assert line in " ".join(capsys.readouterr().out.split())


def test_help_is_grouped(capsys):
    with pytest.raises(SystemExit):
        read_command_line(TrainConfig, "What it does.", ["--help"])
    assert re.findall(r"^(\S.*):$", capsys.readouterr().out, re.MULTILINE) == [
        "options",
        "Often needed",
        "Network",
        "Random transforms",
        "Stopping and saving",
        "Device and memory",
        "Additions to the original (False or 0 switches one off)",
        "Pictures",
    ]


def test_learning_curve_and_folds_are_not_combined():
    assert TrainConfig(learning_curve=True).folds == 1
    with pytest.raises(UserError, match="--learning_curve with --folds 5: would train 15 networks; use one of the two"):
        TrainConfig(learning_curve=True, folds=5)

"""Settings: names, defaults, limits, the command line, and how a script ends."""

import dataclasses
import re
import sys

import pytest

from config import AugmentConfig, PictureConfig, PredictConfig, TrainConfig, UserError, read_command_line, run

ALL_CONFIGS = [PictureConfig, AugmentConfig, TrainConfig, PredictConfig]


def test_names_and_defaults_are_the_original_ones():
    config = TrainConfig()
    assert (config.raw_data, config.data_path, config.model_save_name) == ("rawdata", "data", "checkpoints")
    assert (config.height, config.width, config.color_channels) == (100, 100, 3)
    assert (config.epochs, config.batch_size, config.max_to_keep) == (300, 10, 4)
    assert config.learning_rate == 0.001  # Adam's default


def test_transforms_have_the_original_probabilities_and_strengths():
    config = AugmentConfig()
    assert (config.mirror, config.black_and_white) == (0.5, 0.1)
    assert (config.gaussian_distortion, config.gaussian_distortion_magnitude) == (0.4, 6)
    assert (config.gaussian_distortion_columns, config.gaussian_distortion_rows) == (7, 6)
    assert (config.rotate, config.rotate_degrees) == (0.3, 10)
    assert (config.skew, config.skew_magnitude) == (0.4, 0.5)
    assert (config.skew_tilt, config.skew_tilt_magnitude) == (0.6, 0.8)
    assert (config.skew_left_right, config.skew_left_right_magnitude) == (0.5, 0.8)
    assert config.sample == 3500


LIMITS = [  # a setting's lowest and highest value, and the nearest ones outside
    (PictureConfig, "height", 16, 4096, 15, 4097),
    (PictureConfig, "width", 16, 4096, 15, 4097),
    (PictureConfig, "color_channels", 1, 3, 0, 4),
    (PictureConfig, "validation_split", 0.01, 0.9, 0.0099, 0.901),
    (PictureConfig, "near_duplicate_bits", 0, 16, -1, 17),
    (PictureConfig, "seed", 0, 2147483647, -1, 2147483648),
    (AugmentConfig, "sample", 1, 1_000_000, 0, 1_000_001),
    (AugmentConfig, "mirror", 0, 1, -0.01, 1.01),
    (AugmentConfig, "black_and_white", 0, 1, -0.01, 1.01),
    (AugmentConfig, "black_and_white_threshold", 1, 255, 0, 256),
    (AugmentConfig, "gaussian_distortion", 0, 1, -0.01, 1.01),
    (AugmentConfig, "gaussian_distortion_columns", 2, 16, 1, 17),
    (AugmentConfig, "gaussian_distortion_rows", 2, 16, 1, 17),
    (AugmentConfig, "gaussian_distortion_magnitude", 1, 100, 0, 101),
    (AugmentConfig, "rotate", 0, 1, -0.01, 1.01),
    (AugmentConfig, "rotate_degrees", 1, 15, 0, 16),
    (AugmentConfig, "skew", 0, 1, -0.01, 1.01),
    (AugmentConfig, "skew_magnitude", 0.01, 1, 0, 1.01),
    (AugmentConfig, "skew_tilt", 0, 1, -0.01, 1.01),
    (AugmentConfig, "skew_tilt_magnitude", 0.01, 1, 0, 1.01),
    (AugmentConfig, "skew_left_right", 0, 1, -0.01, 1.01),
    (AugmentConfig, "skew_left_right_magnitude", 0.01, 1, 0, 1.01),
    (TrainConfig, "epochs", 1, 1_000_000, 0, 1_000_001),
    (TrainConfig, "batch_size", 1, 65536, 0, 65537),
    (TrainConfig, "learning_rate", 1e-8, 10, 0, 10.1),
    (TrainConfig, "patience", 1, 1_000_000, 0, 1_000_001),
    (TrainConfig, "dropout", 0, 0.95, -0.01, 0.96),
    (TrainConfig, "random_shift", 0, 0.9, -0.01, 0.91),
    (TrainConfig, "random_rotation", 0, 180, -1, 181),
    (TrainConfig, "random_zoom", 0, 0.9, -0.01, 0.91),
    (TrainConfig, "random_contrast", 0, 0.9, -0.01, 0.91),
    (PredictConfig, "max_megapixels", 0.001, 10_000, 0.0009, 10_001),
    (TrainConfig, "unknown_rate", 0, 0.5, -0.01, 0.51),
    (TrainConfig, "memory_gib", 0, 1_000_000, -0.1, 1_000_001),
    (TrainConfig, "save_seconds", 0, 86400, -1, 86401),
    (TrainConfig, "max_to_keep", 1, 1_000_000, 0, 1_000_001),
]


@pytest.mark.parametrize(("kind", "name", "low", "high", "below", "above"), LIMITS)
def test_a_number_may_reach_its_limits_and_not_pass_them(kind, name, low, high, below, above):
    assert getattr(kind(**{name: low}), name) == low
    assert getattr(kind(**{name: high}), name) == high
    for wrong in (below, above):
        with pytest.raises(UserError, match=rf"^--{name} {re.escape(str(wrong))}: must be "):
            kind(**{name: wrong})


def test_every_number_has_its_limits_tested():
    numbers = {
        field.name
        for kind in ALL_CONFIGS
        for field in dataclasses.fields(kind)
        if type(field.default) in (int, float)  # bool is another type
    }
    assert numbers == {name for _, name, *_ in LIMITS}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_must_be_finite(value):
    with pytest.raises(UserError, match="--learning_rate"):
        TrainConfig(learning_rate=value)


def test_two_channels_are_refused_between_one_and_three():
    with pytest.raises(UserError, match="--color_channels 2: must be 1 or 3"):
        PictureConfig(color_channels=2)


@pytest.mark.parametrize("kind", [TrainConfig, PredictConfig])
def test_the_precision_is_one_of_three(kind):
    names = ["auto", "float32", "bfloat16"]
    assert [kind(precision=name).precision for name in names] == names
    with pytest.raises(UserError, match="^--precision float16: must be auto or float32 or bfloat16$"):
        kind(precision="float16")


def test_the_loss_is_one_of_two():
    assert [TrainConfig(loss=name).loss for name in ("softmax", "sigmoid")] == ["softmax", "sigmoid"]
    with pytest.raises(UserError, match="^--loss hinge: must be softmax or sigmoid$"):
        TrainConfig(loss="hinge")


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("height", "100", "int"),
        ("height", 100.0, "int"),
        ("height", True, "int"),
        ("learning_rate", "0.1", "float"),
        ("learning_rate", True, "float"),
        ("raw_data", 5, "str"),
        ("raw_data", None, "str"),
        ("balance_classes", 1, "bool"),
        ("average_weights", 0, "bool"),
        ("loss", 1, "str"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, kind):
    with pytest.raises(UserError, match=rf"^--{name} .*must be of type {kind}$"):
        TrainConfig(**{name: value})


def test_a_whole_number_will_do_for_a_fraction():
    assert TrainConfig(learning_rate=1).learning_rate == 1


@pytest.mark.parametrize("kind", ALL_CONFIGS)
def test_a_config_cannot_be_changed(kind):
    config = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(kind)[0].name, "other")


@pytest.mark.parametrize(
    ("kind", "folders"),
    [
        (PictureConfig, {"raw_data": "data"}),
        (PictureConfig, {"augmented": "rawdata"}),
        (PictureConfig, {"raw_data": "pictures", "data_path": "pictures/data"}),
        (PictureConfig, {"data_path": "pictures", "raw_data": "pictures/mine/raw"}),
        (PictureConfig, {"augmented": "./x/../rawdata/"}),  # the same folder, written in another way
        (TrainConfig, {"model_save_name": "data"}),
        (TrainConfig, {"model_save_name": "rawdata/checkpoints"}),
        (PictureConfig, {"raw_data": "."}),  # everything else would lie inside it
        (PictureConfig, {"raw_data": ""}),
    ],
)
def test_folders_that_are_equal_or_inside_one_another_are_refused(kind, folders):
    with pytest.raises(UserError, match="must not be --|must name a folder"):
        kind(**folders)


def test_folders_side_by_side_are_fine_however_alike_their_names():
    config = TrainConfig(raw_data="data_raw", data_path="data", augmented="data_augmented", model_save_name="da")
    assert config.data_path == "data"


def test_a_link_to_another_of_the_folders_is_refused(tmp_path):
    (tmp_path / "rawdata").mkdir()
    try:
        (tmp_path / "data").symlink_to("rawdata", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    with pytest.raises(UserError, match="must not be --"):
        PictureConfig(raw_data=str(tmp_path / "rawdata"), data_path=str(tmp_path / "data"))


@pytest.mark.parametrize("option", ["--raw_data", "--raw-data"])
def test_a_setting_is_given_with_underscores_or_dashes(option):
    assert read_command_line(PictureConfig, "", [option, "pictures"]).raw_data == "pictures"


def test_settings_come_from_the_command_line_with_their_types():
    config = read_command_line(TrainConfig, "", ["--height=64", "--dropout", "0.25", "--balance_classes", "False"])
    assert (config.height, config.dropout, config.balance_classes, config.width) == (64, 0.25, False, 100)
    asked = read_command_line(PredictConfig, "", ["a.jpg", "b c.png", "--raw"])
    assert (asked.images, asked.raw) == (("a.jpg", "b c.png"), True)
    assert (asked.evaluate, asked.json, asked.csv) == ("", "", "")
    asked = read_command_line(PredictConfig, "", ["--evaluate", "seen", "--json", "a.json", "--csv=b.csv"])
    assert (asked.images, asked.evaluate, asked.json, asked.csv) == ((), "seen", "a.json", "b.csv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--heigth 5", ["--heigth", "perhaps you meant --height?"]),
        ("--batch-sise 5", ["--batch-sise", "perhaps you meant --batch_size?"]),
        ("--height abc", ["--height", "'abc' is not a whole number"]),
        ("--height 1.5", ["--height", "'1.5' is not a whole number"]),
        ("--dropout much", ["--dropout", "'much' is not a number"]),
        ("--balance_classes maybe", ["--balance_classes", "maybe", "True"]),
        ("--height", ["--height", "Missing value"]),
        ("--height 0", ["--height 0: must be from 16 to 4096"]),
        ("--loss hinge", ["--loss hinge: must be softmax or sigmoid"]),
        ("pictures", ["pictures"]),  # trainer.py takes no names of files
        ("--mirror 0.5", ["--mirror"]),  # a setting of another script
        ("--raw_data data", ["--raw_data data", "--data_path"]),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(arguments, says):
    with pytest.raises(UserError) as refusal:
        read_command_line(TrainConfig, "", arguments.split())
    message = str(refusal.value)
    assert all(part in message for part in says), message
    assert "\n" not in message and "│" not in message
    assert message.endswith("(--help lists every setting)")


def help_of(kind, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        read_command_line(kind, "What it does.", ["--help"])
    assert stop.value.code == 0
    _, text = capsys.readouterr().out.split("\n\n", 1)  # after the line of usage
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())  # without frames and line breaks


@pytest.mark.parametrize("kind", ALL_CONFIGS)
def test_help_carries_the_comment_beside_every_setting(kind, capsys):
    text = help_of(kind, capsys)
    assert text.startswith("What it does. ")
    for field in dataclasses.fields(kind):
        option = r"\[STR \[STR \.\.\.\]\]\]" if field.name == "images" else f"--{field.name}"
        beside = re.search(rf"{option} (?:INT|FLOAT|STR|{{True,False}})? ?(.*?) ?\(default: ", text)
        assert re.fullmatch(r"[A-Z0-9].{15,}\.", beside[1]), f"no sentence beside {field.name}: {beside[1]}"


@pytest.mark.parametrize(
    ("kind", "comment"),
    [
        (PictureConfig, "Share of each class's photographs kept back to validate."),
        (AugmentConfig, "Probability of mirroring left-right. Set it to 0 where pictures carry letters."),
        (TrainConfig, "Stop after so many epochs without a better validation accuracy."),
        (TrainConfig, "Share of ordinary pictures that may be called unknown."),
        (PredictConfig, "Show the raw magnitudes instead of the scores; given without a value."),
    ],
)
def test_help_quotes_the_comment_word_for_word(kind, comment, capsys):
    assert comment in help_of(kind, capsys)


def outcome(main, monkeypatch, *arguments, description="A tool.\n\nWith a story.") -> int:
    monkeypatch.setattr(sys, "argv", ["some/folder/tool.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run(main, PictureConfig, description)
    return stop.value.code


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize("code", [0, 1])
def test_a_script_ends_with_the_code_that_its_main_returns(code, monkeypatch):
    seen = []
    assert outcome(lambda config: seen.append(config.height) or code, monkeypatch, "--height", "32") == code
    assert seen == [32]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("here: mend it so"), "tool.py: here: mend it so\n"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "tool.py: 'a.jpg': No such file\n"),
        (
            PermissionError(13, "Permission denied", "x"),
            "tool.py: 'x': Permission denied; give yourself the right to it and run the same command again\n",
        ),
        (
            OSError(28, "No space left on device", "a\nb"),
            "tool.py: 'a\\nb': No space left on device; free some space on that disk and run the same command again\n",
        ),
        (OSError("no number"), "tool.py: no number\n"),
    ],
)
def test_what_a_user_can_mend_ends_in_one_line_and_code_2(error, line, monkeypatch, capsys):
    assert outcome(raising(error), monkeypatch) == 2
    assert capsys.readouterr() == ("", line)


def test_a_wrong_command_line_ends_a_script_before_it_works(monkeypatch, capsys):
    assert outcome(raising(AssertionError("it began")), monkeypatch, "--height", "0") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_interrupting_ends_with_code_130(monkeypatch, capsys):
    assert outcome(raising(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr().err == "\ntool.py: interrupted\n"


@pytest.mark.parametrize("error", [ValueError("no word for users"), ZeroDivisionError(), KeyError("x")])
def test_a_defect_of_ours_keeps_its_traceback(error, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(type(error)):
        run(raising(error), PictureConfig, "A tool.")


def test_help_shows_the_first_line_of_the_description_only(monkeypatch, capsys):
    assert outcome(raising(AssertionError("it began")), monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "A tool." in text and "With a story." not in text


def test_a_script_runs_without_a_docstring(monkeypatch):
    # `python -OO` strips docstrings, so a script's __doc__ is None there.
    assert outcome(lambda config: 0, monkeypatch, description=None) == 0


@pytest.mark.parametrize("name", ["preprocessing.py", "augment.py"])
def test_scripts_refuse_a_misspelt_setting_before_any_work(name, script, tmp_path):
    done = script(name, "--raw_dta", "pictures")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{name}: ") and done.stderr.count("\n") == 1
    assert "--raw_dta" in done.stderr and "perhaps you meant --raw_data?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_misspelt_names_are_answered_with_the_two_that_were_meant():
    with pytest.raises(UserError) as refused:
        read_command_line(TrainConfig, "", ["--heigth", "20", "--widht", "30"])
    assert str(refused.value) == (
        "Unrecognized options: --heigth, 20, --widht, 30 - perhaps you meant --height and --width? "
        "(--help lists every setting)"
    )


def test_a_long_wrong_value_is_shown_whole():
    with pytest.raises(UserError, match=f"'{'a' * 150}' is not a whole number"):
        read_command_line(TrainConfig, "", ["--height", "a" * 150])


@pytest.mark.parametrize("name", ["runs*", "run?", "run[1]"])
def test_a_folder_of_checkpoints_that_tensorflow_would_take_for_a_pattern_is_refused(name):
    with pytest.raises(UserError, match="pattern"):
        TrainConfig(model_save_name=name)

"""From the command line to a config, and `--help`."""

import sys
from dataclasses import dataclass
from typing import Annotated

import pytest

from config import PictureConfig, PredictConfig, TrainConfig
from system.command_line import read_command_line, read_comments
from system.errors import UserError
from system.validation import Between, OneOf, Validated

SEE_HELP = "(--help lists every setting)"


@dataclass(frozen=True, kw_only=True)
class BaseSettings(Validated):
    # Shared
    width: Annotated[int, Between(1, 99)] = 7  # Width of the page.
    folder: str = ""  # Folder that nobody needs.


@dataclass(frozen=True, kw_only=True)
class Settings(BaseSettings):
    """A docstring with a colon: and a comment  # inside."""

    files: tuple[str, ...] = ()  # Files to read.
    # Colors
    paint: Annotated[str, OneOf(("red", "green"))] = "red"  # Color of 100 % of the page.
    quick: bool = False  # Skip the slow part.
    rate: float = 0.5  # Any number.
    # Shared
    depth: int = 1  # Depth of the folders.
    bare: int = 0

    def not_a_setting(self):
        width: int = 3  # Not a comment of a setting.
        return width


# ---- reading ----


@pytest.mark.parametrize("option", ["--raw_data", "--raw-data"])
def test_read_command_line_takes_underscores_and_dashes(option):
    assert read_command_line(PictureConfig, "", [option, "pictures"]).raw_data == "pictures"
    assert read_command_line(PictureConfig, "", [f"{option}=pic-tures"]).raw_data == "pic-tures"


def test_read_command_line_gives_each_setting_its_type():
    config = read_command_line(TrainConfig, "", ["--height=64", "--dropout", "0.25", "--balance_classes", "False"])
    assert (config.height, config.dropout, config.balance_classes, config.width) == (64, 0.25, False, 100)
    config = read_command_line(TrainConfig, "", ["--balance_classes", "true", "--learning_rate", "1"])
    assert (config.balance_classes, config.learning_rate) == (True, 1.0)


def test_read_command_line_takes_file_names_and_flags_in_any_order():
    config = read_command_line(PredictConfig, "", ["a.jpg", "b c.png", "--raw"])
    assert (config.images, config.raw) == (("a.jpg", "b c.png"), True)
    assert (config.evaluate, config.json, config.csv) == ("", "", "")
    config = read_command_line(PredictConfig, "", ["a.jpg", "--raw", "b-c.jpg", "--json=a.json", "d--e.jpg"])
    assert (config.images, config.raw, config.json) == (("a.jpg", "b-c.jpg", "d--e.jpg"), True, "a.json")
    config = read_command_line(PredictConfig, "", ["--evaluate", "seen", "--json", "a.json", "--csv=b.csv"])
    assert (config.images, config.evaluate, config.json, config.csv) == ((), "seen", "a.json", "b.csv")


def test_read_command_line_takes_what_follows_two_dashes_as_file_names():
    config = read_command_line(PredictConfig, "", ["a.jpg", "--raw", "--", "-1.jpg", "--model-save-name"])
    assert (config.images, config.raw) == (("a.jpg", "-1.jpg", "--model-save-name"), True)
    with pytest.raises(UserError, match="^'a.jpg': unexpected argument"):
        read_command_line(TrainConfig, "", ["--height", "20", "--", "a.jpg"])


def test_read_command_line_reads_that_of_the_process_by_default(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py", "--width", "5"])
    assert (read_command_line(BaseSettings, "").width, read_command_line(BaseSettings, "", []).width) == (5, 7)


def test_read_command_line_does_not_suggest_a_positional_argument():
    with pytest.raises(UserError, match=r"^--images: no such setting .--help lists every setting"):
        read_command_line(PredictConfig, "", ["--images", "a.jpg"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--heigth 5", "--heigth 5: no such setting; did you mean --height?"),
        ("--heigth --widht 5", "--heigth: no such setting; did you mean --height?"),
        ("--heigth=5", "--heigth 5: no such setting; did you mean --height?"),
        ("--batch-sise 5", "--batch-sise 5: no such setting; did you mean --batch_size?"),
        ("--hei 5", "--hei 5: no such setting; did you mean --height?"),  # not an abbreviation
        ("--heigth 20 --widht 30", "--heigth 20: no such setting; did you mean --height?"),
        ("--mirror 0.5", "--mirror 0.5: no such setting; did you mean --random_mirror?"),  # of another script
        ("--height abc", f"--height: 'abc' is not a whole number {SEE_HELP}"),
        ("--height 1.5", f"--height: '1.5' is not a whole number {SEE_HELP}"),
        (f"--height {'a' * 150}", f"--height: '{'a' * 150}' is not a whole number {SEE_HELP}"),
        ("--dropout much", f"--dropout: 'much' is not a number {SEE_HELP}"),
        ("--balance_classes maybe", f"--balance_classes: 'maybe' is neither True nor False {SEE_HELP}"),
        ("--height", f"--height: expected one argument {SEE_HELP}"),
        ("--height 0", "--height 0: must be from 16 to 4096"),
        ("--loss hinge", "--loss hinge: must be softmax or sigmoid"),
        ("pictures", f"'pictures': unexpected argument {SEE_HELP}"),  # trainer.py takes no file names
        ("--raw_data data", "--raw_data data: must not be --data_path (data) or lie inside it"),
    ],
)
def test_read_command_line_refuses_a_mistake_in_one_line(arguments, message):
    with pytest.raises(UserError) as refusal:
        read_command_line(TrainConfig, "", arguments.split())
    assert str(refusal.value) == message


def test_read_command_line_refers_to_help_if_no_setting_is_similar():
    with pytest.raises(UserError, match=r"^--qqq 5: no such setting .--help lists every setting"):
        read_command_line(TrainConfig, "", ["--qqq", "5"])


# ---- help ----


def test_read_comments_gives_the_group_and_the_text_of_each_setting():
    assert list(read_comments(Settings).items()) == [
        ("files", ("Other", "Files to read.")),
        ("paint", ("Colors", "Color of 100 % of the page.")),
        ("quick", ("Colors", "Skip the slow part.")),
        ("rate", ("Colors", "Any number.")),
        ("depth", ("Shared", "Depth of the folders.")),
        ("width", ("Shared", "Width of the page.")),
        ("folder", ("Shared", "Folder that nobody needs.")),
        ("bare", ("Other", "")),
    ]


def test_help_shows_groups_limits_choices_and_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["some/folder/tool.py"])
    with pytest.raises(SystemExit) as stop:
        read_command_line(Settings, "What it does.", ["--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        "usage: tool.py [--setting value ...] [files ...]",
        "",
        "What it does.",
        "",
        "options:",
        "  -h, --help         show this help message and exit",
        "",
        "Other:",
        "  files              Files to read.",
        "  --bare N           (default 0)",
        "",
        "Colors:",
        "  --paint red|green  Color of 100 % of the page. (default red)",
        "  --quick            Skip the slow part.",
        "  --rate X           Any number. (default 0.5)",
        "",
        "Shared:",
        "  --depth N          Depth of the folders. (default 1)",
        "  --width N          Width of the page. (1 to 99; default 7)",
        "  --folder TEXT      Folder that nobody needs.",
    ]


@pytest.mark.parametrize("name", ["preprocessing.py", "augment.py"])
def test_scripts_refuse_a_misspelled_setting_before_any_work(name, script, tmp_path):
    done = script(name, "--raw_dta", "pictures")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: --raw_dta pictures: no such setting; did you mean --raw_data?\n"
    assert list(tmp_path.iterdir()) == []

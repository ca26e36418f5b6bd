"""From the command line to a config, `--help`, and how a script ends."""

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest

from config import PictureConfig, PredictConfig, TrainConfig
from system.command_line import describe_memory_error, read_command_line, read_comments, run_script
from system.errors import UserError
from system.validation import Between, OneOf, Validated
from tests.helpers.pictures import ROOT

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
        read_command_line(TrainConfig, "", ["--", "a.jpg"])


def test_read_command_line_does_not_suggest_a_positional_argument():
    with pytest.raises(UserError, match=r"^--images: no such setting .--help lists every setting"):
        read_command_line(PredictConfig, "", ["--images", "a.jpg"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--heigth 5", "--heigth 5: no such setting; did you mean --height?"),
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


# ---- scripts ----


def run(main, monkeypatch, *arguments, description="A tool.\n\nWith a story.") -> int:
    """Runs a script and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["some/folder/tool.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_script(main, PictureConfig, description)
    return stop.value.code


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize("code", [0, 1])
def test_run_script_ends_with_the_code_that_main_returns(code, monkeypatch):
    heights = []
    assert run(lambda config: heights.append(config.height) or code, monkeypatch, "--height", "32") == code
    assert heights == [32]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("here: fix it like this"), "tool.py: here: fix it like this\n"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "tool.py: 'a.jpg': No such file\n"),
        (
            OSError(28, "No space left on device", "a\nb"),
            "tool.py: 'a\\nb': No space left on device; free some space on that disk and run the same command again\n",
        ),
        (
            MemoryError("Unable to allocate 5.00 TiB"),
            "tool.py: the memory is not enough; use a smaller --height or --width, or end other programs and run the "
            "same command again\n",
        ),
    ],
)
def test_run_script_ends_in_one_line_and_code_2_if_a_user_can_fix_it(error, line, monkeypatch, capsys):
    assert run(raising(error), monkeypatch) == 2
    assert capsys.readouterr() == ("", line)


def test_describe_memory_error_names_the_settings_of_the_script():
    assert describe_memory_error(TrainConfig) == (
        "the memory is not enough; use a smaller --height or --width or --batch_size or --memory_gib, or end other "
        "programs and run the same command again"
    )
    assert describe_memory_error(PredictConfig) == (
        "the memory is not enough; end other programs and run the same command again"
    )


def test_run_script_refuses_a_wrong_command_line_before_any_work(monkeypatch, capsys):
    assert run(raising(AssertionError("it started")), monkeypatch, "--height", "0") == 2
    assert capsys.readouterr().err == "tool.py: --height 0: must be from 16 to 4096\n"


def test_run_script_ends_with_code_130_when_interrupted(monkeypatch, capsys):
    assert run(raising(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr().err == "\ntool.py: interrupted\n"


@pytest.mark.parametrize("error", [ValueError("not for users"), ZeroDivisionError(), KeyError("x")])
def test_run_script_keeps_the_traceback_of_a_bug(error, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(type(error)):
        run_script(raising(error), PictureConfig, "A tool.")


def test_run_script_shows_the_first_line_of_the_description_only(monkeypatch, capsys):
    assert run(raising(AssertionError("it started")), monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "A tool." in text and "With a story." not in text


def test_run_script_works_without_a_docstring(monkeypatch):
    # `python -OO` removes docstrings, so a script's __doc__ is None there.
    assert run(lambda config: 0, monkeypatch, description=None) == 0


TOOL = """
from config import PictureConfig
from system.command_line import run_script

run_script(lambda config: print("caf\u00e9") or 0, PictureConfig, None)
"""


def test_run_script_escapes_letters_that_the_terminal_lacks(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(TOOL, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, tool], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9\n", "")


@pytest.mark.parametrize("name", ["preprocessing.py", "augment.py"])
def test_scripts_refuse_a_misspelled_setting_before_any_work(name, script, tmp_path):
    done = script(name, "--raw_dta", "pictures")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name}: --raw_dta pictures: no such setting; did you mean --raw_data?\n"
    assert list(tmp_path.iterdir()) == []

"""What README.md, CONTRIBUTING.md and docs/ say is what there is, and their commands work."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import config
from system.command_line import read_command_line
from tests.helpers.pictures import ROOT, write_picture

PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PATHS[0].read_text(encoding="utf-8")
CONFIGS = {
    "preprocessing": config.PictureConfig,
    "augment": config.AugmentConfig,
    "trainer": config.TrainConfig,
    "predict": config.PredictConfig,
}
PACKAGES = ("pictures", "network", "training", "answers", "reports", "system")
# Of every script, TensorBoard, pytest, mutmut (--max-children) and Slurm.
OPTIONS_OF_OTHERS = {"help", "logdir", "cov", "max", "nodes", "ntasks", "cpus", "gpus"}
MESSAGES_OF_OTHERS = (
    "No space left on device",
    "No matching distribution found for tensorflow",
    "Unknown flag in TF_XLA_FLAGS",
)

each_document = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


def blocks(path: Path, language: str) -> list[list[str]]:
    """Returns the lines of each code block of a language."""
    text = path.read_text(encoding="utf-8")
    return [block.splitlines() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands(path: Path) -> list[tuple[str, list[str]]]:
    """Returns the commands that run a script, in blocks of code and in sentences: (script, arguments).

    Variables of a shell have the value 0.
    """
    scripts = "|".join(CONFIGS)
    text = path.read_text(encoding="utf-8")
    found = re.findall(rf"python(?:3|\.exe)? ({scripts})\.py\b([^`#&;|}}\n]*)", text)
    return [(script, shlex.split(re.sub(r"\$\w+", "0", arguments))) for script, arguments in found]


def links(path: Path) -> list[str]:
    """Returns the targets of links and pictures in this repository."""
    targets = re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def options(path: Path) -> set[str]:
    return set(re.findall(r"(?<![\w-])--([a-z]\w*)", path.read_text(encoding="utf-8")))


def files_in_commands(path: Path) -> list[str]:
    """Returns the benchmarks, the requirements and the test files that commands name."""
    text = path.read_text(encoding="utf-8")
    modules = [f"benchmarks/{name}.py" for name in re.findall(r"python\s+-m benchmarks\.(\w+)", text)]
    names = re.findall(r"-r (requirements[\w-]*\.txt)|pytest[^\n`]* (tests/[\w/.]+)", text)
    return modules + [requirements or tests for requirements, tests in names]


@each_document
def test_relative_links_and_pictures_exist(path):
    assert [target for target in links(path) if not (path.parent / target.partition("#")[0]).exists()] == []


@each_document
def test_settings_that_are_mentioned_exist(path):
    names = {field.name for kind in CONFIGS.values() for field in dataclasses.fields(kind)}
    assert options(path) - names - OPTIONS_OF_OTHERS == set()


@each_document
def test_commands_of_the_scripts_are_accepted(path):
    for script, arguments in commands(path):
        if "--help" not in arguments:
            read_command_line(CONFIGS[script], "", arguments)


@each_document
def test_benchmarks_and_files_in_commands_exist(path):
    assert [name for name in files_in_commands(path) if not (ROOT / name).is_file()] == []


def test_links_settings_and_commands_are_found_in_the_documents():
    """Otherwise the tests above would pass whatever the documents say."""
    readme, contributing = PATHS[:2]
    assert {"how-it-works.md", "tensorboard.md", "report.md", "troubleshooting.md", "code.md"} <= {
        path.name for path in PATHS[2:]
    }
    assert {"docs/predictions.png", "docs/code.md", "CONTRIBUTING.md"} <= set(links(readme))
    assert {"model_save_name", "evaluate", "help"} <= options(readme)
    assert ("predict", ["--model_save_name", "checkpoints-catdog", "picture.jpg"]) in commands(readme)
    assert {script for script, _ in commands(readme)} >= {"augment", "trainer", "predict"}
    assert {"requirements.txt", "requirements-cuda.txt", "requirements-test.txt"} <= set(files_in_commands(readme))
    assert {"benchmarks/speed.py", "tests/pictures/test_decoding.py"} <= set(files_in_commands(contributing))


def test_continuous_integration_runs_the_test_command_and_the_linters():
    (test_command,) = (line for block in blocks(PATHS[0], "sh") for line in block if "pytest" in line)
    steps = [line for line in (ROOT / ".ci/run").read_text().splitlines() if not line.startswith(("#", "set ", "cd "))]
    tools = [".venv/bin/ruff check", ".venv/bin/ruff format --check", ".venv/bin/mypy", ".venv/bin/tach check"]
    assert steps == [".ci/install_browser", test_command, *tools]


def test_powershell_has_the_same_steps_as_the_shell():
    install = next(line for block in blocks(PATHS[0], "sh") for line in block if "-m venv" in line)
    translated = install.replace("python3", "py").replace("/bin/", "\\Scripts\\").split(" && ")
    create, requirements, train = translated
    assert blocks(PATHS[0], "powershell") == [[f"{create}; {requirements}; if ($?) {{ {train} }}"]]


def test_every_module_has_a_row_in_the_map_of_the_code():
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs/code.md").read_text(encoding="utf-8"), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(\w+\.py)`", row)}
    modules = {path.name for folder in ("", *PACKAGES) for path in (ROOT / folder).glob("*.py")}
    assert described == modules - {"__init__.py"}


def test_messages_in_troubleshooting_are_those_of_the_code():
    sources = [*ROOT.glob("*.py"), *(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message that is written on two lines
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`(.*?)`", row)]
    starts = [
        " ".join(part.split()[:3])  # what follows may be the value of a field
        for message in messages
        if message not in MESSAGES_OF_OTHERS
        for part in message.split("…")
        if len(part.split()) >= 3
    ]
    assert len(starts) > 8
    assert [start for start in starts if start not in code] == []


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a Unix shell")
def test_commands_for_your_own_pictures_work(tmp_path):
    """Runs the block of README.md in a copy of the project, with pictures in a home folder, in one short epoch."""
    (lines,) = (block for block in blocks(PATHS[0], "sh") if block[0].startswith("mv rawdata"))
    assert [line.split()[0] for line in lines] == ["mv", "mkdir", "cp", "cp", "python", "python"]
    project, home = tmp_path / "project", tmp_path / "home"
    (project / "rawdata").mkdir(parents=True)
    for path in ROOT.glob("*.py"):
        shutil.copy(path, project)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, project / package)
    for number in range(4):
        write_picture(home / "Pictures/cats" / f"{number}.jpg", label=0, seed=number)
        write_picture(home / "Pictures/dogs" / f"{number}.jpg", label=1, seed=number)
    write_picture(project / "picture.jpg", label=0, seed=9)
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\n[ "$1" = trainer.py ] && set -- "$@" --epochs 1 --height 16 --width 16\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    environment = {**os.environ, "HOME": str(home), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    process = subprocess.run(
        ["bash", "-c", "set -e\n" + "\n".join(lines)], cwd=project, env=environment, capture_output=True, text=True
    )

    assert process.returncode == 0, process.stderr
    assert re.search(r"^picture\.jpg  (cat|dog|unknown)  +([01]\.\d{3}|-)", process.stdout, re.MULTILINE)
    assert (project / "checkpoints-catdog" / "best").is_dir()
    assert (project / "checkpoints-catdog" / "report.html").is_file()


def test_tensorboard_is_only_ever_opened_to_this_machine():
    texts = [path.read_text(encoding="utf-8") for path in [*PATHS, *ROOT.glob("*.py")]]
    assert sum("tensorboard --logdir" in text for text in texts) >= 3
    assert not any(option in text for text in texts for option in ("--bind_all", "--host"))

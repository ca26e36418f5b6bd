"""What the README says is what there is, and its commands are run."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, write_picture

import config

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = {
    "preprocessing": config.PictureConfig,
    "augment": config.AugmentConfig,
    "trainer": config.TrainConfig,
    "predict": config.PredictConfig,
}


def commands(language: str) -> list[str]:
    return [line for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def test_continuous_integration_runs_the_test_command_and_the_linter():
    test_command = next(line for line in commands("sh") if "pytest" in line)
    steps = [line for line in (ROOT / ".ci/run").read_text().splitlines() if not line.startswith(("#", "set ", "cd "))]
    assert steps == [test_command, ".venv/bin/ruff check", ".venv/bin/ruff format --check"]


def test_powershell_runs_the_same_steps():
    plain = [line for line in commands("sh") if "-m venv" in line]
    translated = [line.replace("python3", "py").replace("/bin/", "\\Scripts\\").split(" && ") for line in plain]
    assert commands("powershell") == [f"{make}; {install}; if ($?) {{ {act} }}" for make, install, act in translated]


def test_the_table_has_every_setting_with_its_default_its_scripts_and_its_comment():
    comments = dict(re.findall(r"^    (\w+): [^#\n]+  # (.+)$", (ROOT / "config.py").read_text(), re.MULTILINE))
    defaults = {field.name: field.default for kind in CONFIGS.values() for field in dataclasses.fields(kind)}
    del defaults["images"]  # what predict.py is asked about, not a setting
    for name, default in defaults.items():
        users = [
            script for script, kind in CONFIGS.items() if name in {field.name for field in dataclasses.fields(kind)}
        ]
        assert f"| `{name}` | {default} | {', '.join(users)} | {comments[name]} |" in README
    assert README.count("\n| `") - len(re.findall(r"\n\| `[^`]*[ .]", README)) == len(defaults)


def test_every_file_has_a_place_in_the_tour():
    tour = README[README.index("How the code is laid out") :]
    assert set(re.findall(r"^\| `(\w+\.py)`", tour, re.MULTILINE)) == {path.name for path in ROOT.glob("*.py")}


def test_every_picture_and_file_it_names_is_there():
    for name in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file()


@pytest.mark.skipif(os.name == "nt", reason="the commands are for a Unix shell")
def test_your_own_pictures_in_five_lines(tmp_path):
    """Runs the block as it stands, in a copy of the project, with eight pictures in a home folder."""
    lines = [line for line in commands("sh") if "requirements" not in line and "tensorboard" not in line]
    assert [line.split()[0] for line in lines] == ["mv", "mkdir", "cp", "cp", "python", "python"]
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    for path in [*ROOT.glob("*.py"), ROOT / "rawdata"]:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, project / path.name)
    for number in range(4):
        write_picture(home / "Pictures/cats" / f"{number}.jpg", label=0, seed=number)
        write_picture(home / "Pictures/dogs" / f"{number}.jpg", label=1, seed=number)
    write_picture(project / "picture.jpg", label=0, seed=9)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin/python").chmod(0o755)

    environment = {**os.environ, "HOME": str(home), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    script = "set -e\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], cwd=project, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^picture\.jpg  (cat|dog)  cat [01]\.\d{3}  dog [01]\.\d{3}$", done.stdout, re.MULTILINE)
    assert Path(project, "checkpoints-catdog", "best").is_dir()


def test_tensorboard_is_only_ever_opened_to_this_machine():
    instructions = [README, *(path.read_text(encoding="utf-8") for path in ROOT.glob("*.py"))]
    assert sum("tensorboard --logdir" in text for text in instructions) >= 2
    assert not any(option in text for text in instructions for option in ("--bind_all", "--host"))

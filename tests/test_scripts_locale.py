"""Scripts in locales that cannot encode the names of files."""

import os
import subprocess
import sys

import pytest

from tests.helpers.pictures import ROOT, write_picture

LATIN = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}  # a locale that knows ASCII only


@pytest.mark.skipif(os.name == "nt", reason="locales of POSIX")
def test_names_are_the_same_in_every_locale(tmp_path):
    for number in range(4):
        write_picture(tmp_path / "rawdata" / "猫" / f"{number}.png", label=0, seed=number)
        write_picture(tmp_path / "rawdata" / "café" / f"ü{number}.png", label=1, seed=number)
    size = "--height", "30", "--width", "40"  # that of the pictures, so that no line says that they are enlarged
    shown = []
    for environment in (LATIN, {"PYTHONUTF8": "1"}, LATIN):
        done = subprocess.run(
            [sys.executable, ROOT / "preprocessing.py", "--data_path", "Ausgabe für alle", *size],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            timeout=300,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        shown.append(done.stdout.decode().splitlines())
    assert [row.split()[0] for row in shown[0][-2:]] == ["caf\\xe9", "\\u732b"]
    assert [row.split()[0] for row in shown[1][-2:]] == ["café", "猫"]
    assert [lines[0].partition("(")[2] for lines in shown] == ["8 new)", "unchanged)", "unchanged)"]
    assert {path.name for path in (tmp_path / "Ausgabe für alle").iterdir() if path.is_dir()} == {"café", "猫"}

"""Ctrl-C in each script: one line and exit code 130, whatever it is doing."""

import os
import signal
import sys

import pytest

from tests.helpers.pictures import write_classes
from tests.helpers.processes import wait_until
from tests.helpers.signals import handles, has_loaded, interrupt, start

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SCRIPTS = ["preprocessing.py", "augment.py", "trainer.py", "predict.py"]
SMALL = ("--height", 16, "--width", 16)


def assert_says_one_line(ended: tuple[int, str, str], script: str) -> None:
    code, _, err = ended
    assert (code, err) == (130, f"{script}: interrupted\n")


@only_linux
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_interrupted_at_its_start_says_one_line(script, tmp_path):
    process = start(script, cwd=tmp_path)
    wait_until(lambda: handles(process, signal.SIGHUP), process)  # the last one that is set
    assert_says_one_line(interrupt(process), script)
    assert list(tmp_path.iterdir()) == []


@only_linux
@pytest.mark.parametrize(
    ("script", "library"),
    [
        ("preprocessing.py", "_multiarray_umath"),
        ("augment.py", "_multiarray_umath"),
        ("trainer.py", "_pywrap_tensorflow"),
        ("predict.py", "_pywrap_litert"),
    ],
)
def test_script_interrupted_during_its_imports_says_one_line(script, library, tmp_path):
    process = start(script, cwd=tmp_path)
    wait_until(lambda: has_loaded(process, library), process)
    assert_says_one_line(interrupt(process), script)
    assert list(tmp_path.iterdir()) == []


@not_on_windows
@pytest.mark.parametrize(
    ("script", "made"),
    [
        ("preprocessing.py", "data/.lock"),
        ("preprocessing.py", "data/*/*.png"),
        ("augment.py", "data/*/*.png"),
        ("augment.py", "augmented/*/*.jpg"),
        ("trainer.py", "data/*/*.png"),
    ],
)
def test_script_interrupted_during_its_work_says_one_line(script, made, tmp_path):
    write_classes(tmp_path / "rawdata", 150, 150)
    process = start(script, *SMALL, cwd=tmp_path)
    wait_until(lambda: any(tmp_path.glob(made)), process)
    assert_says_one_line(interrupt(process), script)
    assert not list(tmp_path.rglob("*.part"))


@not_on_windows
@pytest.mark.parametrize("line", ["data/ ", "device ", "network "])
def test_trainer_interrupted_before_its_first_step_says_one_line(line, tmp_path):
    write_classes(tmp_path / "rawdata", 6, 6)
    process = start("trainer.py", *SMALL, cwd=tmp_path)
    while not (shown := process.stdout.readline()).startswith(line):
        assert shown, process.communicate()
    assert_says_one_line(interrupt(process), "trainer.py")

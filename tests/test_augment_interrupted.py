"""augment.py interrupted at any change of a file: run again, it makes what an uninterrupted run makes."""

import os
import shutil
from pathlib import Path

import pytest

import augment
from config import AugmentConfig
from tests.helpers.kill import contents, killed, restore
from tests.helpers.pictures import write_picture
from tests.helpers.processes import kill_script

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def test_main_killed_at_any_change_is_completed_by_another_run(rawdata, settings_for, tmp_path):
    for path in sorted(rawdata.rglob("*.*"))[2:-4]:
        path.unlink()
    write_picture(rawdata / "ant" / "more.png", label=0, seed=40)
    write_picture(rawdata / "bee" / "more.png", label=1, seed=41)
    config = settings_for(AugmentConfig, sample=3)
    other_seed = settings_for(AugmentConfig, sample=5, seed=2)
    fewer = settings_for(AugmentConfig, sample=2, seed=2)
    folder = Path(config.augmented)
    augment.main(config)
    (folder / "ant" / ".mine.part").write_bytes(b"mine")  # not the name of a copy
    shutil.copytree(folder, tmp_path / "state")
    augment.main(fewer)
    expected = contents(folder)
    assert expected["ant/.mine.part"] == b"mine"
    assert sum(name.endswith(".jpg") for name in expected) == 4
    after, was_killed = 0, True
    while was_killed:
        restore(folder, tmp_path / "state")
        with killed(folder, after=after) as kill:
            augment.main(other_seed)
        was_killed = kill.happened
        augment.main(fewer)
        assert contents(folder) == expected, f"after {after} changes"
        after += 1
    assert after > 10


@not_on_windows
def test_augment_killed_is_completed_by_another_run(rawdata, script, tmp_path):
    arguments = ("--sample", 40, "--height", 16, "--width", 16)
    kill_script("augment.py", *arguments, suffix=".jpg", count=20, cwd=tmp_path)
    for folder in ("augmented", "clean"):
        assert script("augment.py", *arguments, "--augmented", folder).returncode == 0
    assert len(contents(tmp_path / "augmented")) == 82  # with the two folders
    assert contents(tmp_path / "augmented") == contents(tmp_path / "clean")

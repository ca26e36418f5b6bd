"""What augment.py writes: how many copies of which pictures, and the same bytes for the same seed."""

import io
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import working
from conftest import write_picture
from PIL import Image

import augment
import workers
from augment import plan, reduced
from config import AugmentConfig, PictureConfig
from manifest import TRAIN, VALIDATION, Picture, source_of
from preprocessing import preprocess

# Augmentor's perspective uses a class of NumPy's that is out of fashion.
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

NONE = dict.fromkeys(
    ["mirror", "black_and_white", "gaussian_distortion", "rotate", "skew", "skew_tilt", "skew_left_right"], 0
)

# ---- which copies are made ----


def picture(name: str, split: str = TRAIN, folder: str = "rawdata") -> Picture:
    class_name = name.split("/")[0]
    source = source_of(name)[0]
    return Picture(class_name=class_name, source=source, split=split, sha256="ab" * 32, origin=f"{folder}/{name}")


@pytest.mark.parametrize(("sample", "counts"), [(3, [1, 1, 1]), (10, [4, 3, 3]), (11, [4, 4, 3]), (2, [1, 1, 0])])
def test_copies_are_spread_evenly(sample, counts):
    tasks = plan([picture(f"ant/{name}.jpg") for name in "cab"], sample)
    assert [len(task.numbers) for task in tasks] == counts
    assert [task.picture.source for task in tasks] == ["ant/a.jpg", "ant/b.jpg", "ant/c.jpg"]


def test_every_class_gets_its_own_sample_and_only_training_sources_are_copied():
    pictures = [
        picture("ant/a.jpg"),
        picture("ant/b.jpg", VALIDATION),
        picture("ant/a.jpg_augmented_abababab_0000.jpg", folder="augmented"),
        picture("bee/a.jpg"),
        picture("bee/b.jpg"),
        picture("bee/c.jpg", ""),
    ]
    tasks = plan(pictures, 7)
    assert [(task.picture.source, len(task.numbers)) for task in tasks] == [
        ("ant/a.jpg", 7),
        ("bee/a.jpg", 4),
        ("bee/b.jpg", 3),
    ]
    assert tasks[2].names()[-1] == "bee/b.jpg_augmented_abababab_0002.jpg"
    assert [len(task.names()) for task in tasks] == [7, 4, 3]


# ---- the whole script ----


def contents(folder: str | Path) -> dict[str, bytes]:
    folder = Path(folder)
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


def copies_for(config: AugmentConfig) -> dict[str, bytes]:
    assert augment.main(config) == 0
    return contents(config.augmented)


def test_copies_without_transforms_show_their_sources(settings_for, rawdata):
    made = copies_for(settings_for(AugmentConfig, **NONE, sample=12))
    for name, data in made.items():
        source = (rawdata / source_of(name)[0]).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            expected = np.asarray(reduced(source, height=16, width=16, max_megapixels=200)).astype(int)
            assert np.abs(np.asarray(image) - expected).mean() < 5  # what JPEG takes away


def test_only_training_sources_are_copied_evenly_and_to_the_exact_number(settings_for, rawdata):
    config = settings_for(AugmentConfig, sample=25)
    before = contents(rawdata)
    made = copies_for(config)
    assert contents(rawdata) == before
    counts = Counter(source_of(name)[0] for name in made)
    kept = preprocess(settings_for(PictureConfig))
    training = {p.source for p in kept if p.split == TRAIN and not p.is_copy}
    assert set(counts) == training
    # Of 12 ants 10 train, of 8 bees 6 do.
    assert sorted(n for source, n in counts.items() if source.startswith("ant/")) == [2] * 5 + [3] * 5
    assert sorted(n for source, n in counts.items() if source.startswith("bee/")) == [4] * 5 + [5]
    assert Counter(p.split for p in kept if p.is_copy) == {TRAIN: 50}  # all of them are taken in


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(settings_for, rawdata, monkeypatch):
    results = []
    for processes in (1, 3):
        monkeypatch.setattr(workers, "_cores", lambda count=processes: count)
        config = settings_for(AugmentConfig, sample=15)
        results.append(copies_for(config))
        shutil.rmtree(config.augmented)
    assert len(results[0]) == 30
    assert results[0] == results[1]


def test_another_seed_gives_other_copies(settings_for, rawdata):
    one = copies_for(settings_for(AugmentConfig, sample=15))
    other = copies_for(settings_for(AugmentConfig, sample=15, seed=2))
    assert not set(one.values()) & set(other.values())


def test_more_copies_only_add_files(settings_for, rawdata):
    few = copies_for(settings_for(AugmentConfig, sample=11))
    many = copies_for(settings_for(AugmentConfig, sample=26))
    assert len(many) == 52
    assert {name: many[name] for name in few} == few


def test_running_again_replaces_its_own_output_and_never_copies_copies(settings_for, rawdata, capsys):
    first = copies_for(settings_for(AugmentConfig, sample=20))
    capsys.readouterr()
    assert copies_for(settings_for(AugmentConfig, sample=20)) == first
    assert "removed" not in capsys.readouterr().out
    changed_source = min(first).split("_augmented_")[0]  # an ant, which has 2 copies
    write_picture(rawdata / changed_source, label=0, seed=500)
    moved_on = (rawdata / changed_source).stat().st_mtime_ns + 10**10
    os.utime(rawdata / changed_source, ns=(moved_on, moved_on))
    third = copies_for(settings_for(AugmentConfig, sample=20))
    assert "2 of a former run removed" in capsys.readouterr().out
    assert {name.split("_augmented_")[0] for name in first.keys() ^ third.keys()} == {changed_source}
    fewer = copies_for(settings_for(AugmentConfig, sample=3))
    assert len(fewer) == 6
    assert all(name.count("_augmented_") == 1 for name in [*third, *fewer])


def test_foreign_files_in_the_folder_of_copies_stay(settings_for, rawdata):
    config = settings_for(AugmentConfig, sample=4)
    uuid = "123e4567-e89b-12d3-a456-426614174000"
    foreign = {"ant/mine.jpg", "bee/notes.txt", f"ant/ant_original_ant00.jpg_{uuid}.jpg", "bee/.hidden", "readme.md"}
    for name in foreign:
        path = Path(config.augmented, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    made = copies_for(config)
    assert {name for name, data in made.items() if data == b"mine"} == foreign
    assert len(made) == 8 + len(foreign)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_picture_that_crashes_a_transform_is_named_and_goes_without_copies(
    settings_for, rawdata, monkeypatch, capsys
):
    config = settings_for(AugmentConfig, sample=80)
    copies_for(config)
    monkeypatch.setattr(augment, "make_copies", working.crash_on_first_copies)
    made = copies_for(config)
    assert sum(name.startswith("ant/") for name in made) == 72  # of the other 9 training ants
    assert sum(name.startswith("bee/") for name in made) == 80
    said = capsys.readouterr().out
    assert "skipped " in said and "ant/ant01.jpg: makes the decoder crash (signal 11)" in said
    assert "152 copies of 15 training pictures, 8 of a former run removed" in said


def test_the_parts_that_are_made_at_a_time_are_all_of_a_task():
    task = augment.Task(picture("ant/a.jpg"), range(70))
    parts = list(task.parts(32))
    assert [len(part.numbers) for part in parts] == [32, 32, 6]
    assert [name for part in parts for name in part.names()] == task.names()


def test_the_script_makes_copies_that_preprocessing_takes_in(rawdata, script, tmp_path):
    size = ("--height", 16, "--width", 16)
    done = script("augment.py", "--sample", 10, *size)
    assert (done.returncode, done.stderr) == (0, "")
    assert "augmented/: 20 copies of 16 training pictures" in done.stdout
    done = script("preprocessing.py", *size)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data/: 40 pictures; 20 new, 0 changed, 0 gone" in done.stdout
    table = [line.split() for line in done.stdout.splitlines()[1:3]]
    assert table == [["ant", "22", "20", "2", "10", "0", "0"], ["bee", "18", "16", "2", "10", "0", "0"]]


def test_the_script_names_a_missing_folder_in_one_line(script):
    done = script("augment.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"augment\.py: rawdata: no such folder; make it and .*\n", done.stderr)

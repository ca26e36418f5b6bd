"""augment.py: the transforms of the original, how many copies it writes, and the same bytes for the same seed."""

import io
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from Augmentor.Operations import BlackAndWhite, Flip, RotateRange, Skew
from PIL import Image

import augment
from augment import transforms
from config import AugmentConfig, PictureConfig
from pictures.copies import load_reduced, transform
from pictures.copy_names import source_of
from pictures.distortion import GaussianDistortion
from pictures.manifest import TRAIN
from preprocessing import preprocess
from system import pool
from tests.helpers import jobs
from tests.helpers.files import contents
from tests.helpers.pictures import write_picture

# Augmentor's perspective uses a class of NumPy that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


# ---- the transforms ----

NAMES = ["mirror", "black and white", "distortion", "rotation", "skew", "tilt", "left-right tilt"]


def always(*names: str) -> list:
    """Returns the transforms of augment.py, of which the named ones are always performed and the others never."""
    operations = transforms(AugmentConfig())
    for name, operation in zip(NAMES, operations, strict=True):
        operation.probability = float(name in names)
    return operations


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_transforms_have_the_probabilities_and_strengths_of_the_original():
    operations = transforms(AugmentConfig())
    assert [(type(operation), operation.probability) for operation in operations] == [
        (Flip, 0.5),
        (BlackAndWhite, 0.1),
        (GaussianDistortion, 0.4),
        (RotateRange, 0.3),
        (Skew, 0.4),
        (Skew, 0.6),
        (Skew, 0.5),
    ]
    mirror, black_and_white, distortion, rotation, *skews = operations
    assert mirror.top_bottom_left_right == "LEFT_RIGHT"
    assert black_and_white.threshold == 128
    assert (distortion._columns, distortion._rows, distortion._magnitude) == (7, 6, 6)
    assert (rotation.max_left_rotation, rotation.max_right_rotation) == (-10, 10)
    assert [(skew.skew_type, skew.magnitude) for skew in skews] == [
        ("RANDOM", 0.5),
        ("TILT", 0.8),
        ("TILT_LEFT_RIGHT", 0.8),
    ]


def test_transforms_mirror_with_the_probability_of_the_setting():
    assert [transforms(AugmentConfig(mirror=value))[0].probability for value in (0, 0.25, 1)] == [0, 0.25, 1]


@pytest.mark.parametrize("name", NAMES)
def test_each_transform_changes_a_picture_and_keeps_its_size(name):
    image = noise(60, 80)
    before = np.asarray(image).copy()
    results = [np.asarray(transform(image, always(name), seed=str(seed))) for seed in range(10)]
    assert all(result.shape == before.shape and result.dtype == np.uint8 for result in results)
    assert sum(not np.array_equal(result, before) for result in results) >= 8  # a rotation by 0 degrees changes nothing


def test_mirror_swaps_left_and_right():
    image = noise(30, 40)
    assert np.array_equal(np.asarray(transform(image, always("mirror"), seed="1")), np.fliplr(np.asarray(image)))


def test_black_and_white_has_no_other_levels():
    levels = [0, 1, 127, 128, 254, 255]
    image = Image.fromarray(np.array([[[level] * 3 for level in levels]], np.uint8))
    result = np.asarray(transform(image, always("black and white"), seed="1"))
    assert result.tolist() == [[[0] * 3] * 3 + [[255] * 3] * 3]


def slope(pixels: np.ndarray) -> float:
    """Returns the degrees by which the edge between a dark upper and a bright lower half is rotated, clockwise."""
    height, width = pixels.shape[:2]
    dark = (pixels[..., 0] < 128).sum(axis=0)  # rows above the edge, in each column
    middle = slice(width // 4, -width // 4)
    return np.degrees(np.arctan(np.polyfit(np.arange(width)[middle], dark[middle], 1)[0]))


def test_rotation_goes_to_both_sides_by_up_to_10_degrees():
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[100:] = 255
    image, operations = Image.fromarray(pixels), always("rotation")
    angles = [slope(np.asarray(transform(image, operations, seed=str(seed)))) for seed in range(150)]
    # Augmentor crops and stretches, so the angles are approximate.
    assert 8 < max(angles) < 11
    assert -11 < min(angles) < -8


def test_left_right_tilt_keeps_top_and_bottom_alike_and_tilt_does_not():
    half = np.asarray(noise(4, 10).resize((100, 40), Image.Resampling.BICUBIC))
    image = Image.fromarray(np.concatenate([half, half[::-1]]))

    def asymmetry(name: str) -> list[float]:
        results = [np.asarray(transform(image, always(name), seed=str(seed))).astype(int) for seed in range(20)]
        return [np.abs(result - result[::-1]).mean() for result in results]

    assert max(asymmetry("left-right tilt")) < 5
    assert max(asymmetry("tilt")) > 15


def test_transforms_never_turn_a_picture_upside_down():
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:20, :, 0] = 255  # red above
    pixels[20:, :, 2] = 255  # blue below
    image, operations = Image.fromarray(pixels), always(*set(NAMES) - {"black and white"})
    rows = np.arange(40)
    for seed in range(25):
        result = np.asarray(transform(image, operations, seed=str(seed))).astype(float)
        red, blue = result[..., 0].sum(axis=1), result[..., 2].sum(axis=1)
        assert (red @ rows) / red.sum() < (blue @ rows) / blue.sum()


def test_transforms_all_at_once_keep_size_and_mode():
    result = transform(noise(60, 80), always(*NAMES), seed="1")
    assert (result.size, result.mode) == ((80, 60), "RGB")
    assert 0.1 < np.asarray(result).mean() / 255 < 0.9  # neither black nor white


# ---- the script ----


def copies_for(config: AugmentConfig) -> dict[str, bytes]:
    assert augment.main(config) == 0
    return contents(config.augmented)


def test_main_without_transforms_writes_the_sources_themselves(settings_for, rawdata, monkeypatch):
    monkeypatch.setattr(augment, "transforms", lambda config: [])
    config = settings_for(AugmentConfig, sample=12)
    copies = copies_for(config)
    assert len(copies) == 24
    for name, data in copies.items():
        source = (rawdata / source_of(name)[0]).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            expected = np.asarray(load_reduced(source, config, max_pixels=10**6)).astype(int)
            assert np.abs(np.asarray(image) - expected).mean() < 5  # lost by the JPEG format


def test_main_copies_training_sources_only_and_evenly(settings_for, rawdata):
    before = contents(rawdata)
    copies = copies_for(settings_for(AugmentConfig, sample=25))
    assert contents(rawdata) == before
    counts = Counter(source_of(name)[0] for name in copies)
    kept = preprocess(settings_for(PictureConfig))
    assert set(counts) == {picture.source for picture in kept if picture.split == TRAIN and not picture.is_copy}
    # 10 of 12 ants and 6 of 8 bees train.
    assert sorted(n for source, n in counts.items() if source.startswith("ant/")) == [2] * 5 + [3] * 5
    assert sorted(n for source, n in counts.items() if source.startswith("bee/")) == [4] * 5 + [5]
    assert Counter(picture.split for picture in kept if picture.is_copy) == {TRAIN: 50}  # all of them are used


def test_main_gives_the_same_bytes_in_any_number_of_processes(settings_for, rawdata, monkeypatch):
    results = []
    for cores in (1, 3):
        monkeypatch.setattr(pool, "available_cores", lambda count=cores: count)
        config = settings_for(AugmentConfig, sample=15)
        results.append(copies_for(config))
        shutil.rmtree(config.augmented)
    assert len(results[0]) == 30
    assert results[0] == results[1]


def test_main_gives_other_copies_for_another_seed(settings_for, rawdata):
    one = copies_for(settings_for(AugmentConfig, sample=15))
    other = copies_for(settings_for(AugmentConfig, sample=15, seed=2))
    assert len(one) == len(other) == 30
    assert not set(one.values()) & set(other.values())


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
def test_main_copies_pictures_with_names_that_are_not_utf8(settings_for, rawdata):
    rawdata.joinpath("bee").rename(rawdata / os.fsdecode(b"b\xe9e"))
    config = settings_for(AugmentConfig, sample=20)
    assert augment.main(config) == 0
    assert len(list(Path(config.augmented, os.fsdecode(b"b\xe9e")).iterdir())) == 20


def test_main_only_adds_files_for_a_larger_sample(settings_for, rawdata):
    few = copies_for(settings_for(AugmentConfig, sample=11))
    many = copies_for(settings_for(AugmentConfig, sample=26))
    assert (len(few), len(many)) == (22, 52)
    assert {name: many[name] for name in few} == few


def test_main_again_replaces_its_copies_and_never_copies_copies(settings_for, rawdata, capsys):
    first = copies_for(settings_for(AugmentConfig, sample=20))
    capsys.readouterr()
    assert copies_for(settings_for(AugmentConfig, sample=20)) == first
    assert "earlier run" not in capsys.readouterr().out
    changed_source = min(first).split("_augmented_")[0]  # an ant, which has 2 copies
    write_picture(rawdata / changed_source, label=0, seed=500)
    modified = (rawdata / changed_source).stat().st_mtime_ns + 10**10
    os.utime(rawdata / changed_source, ns=(modified, modified))
    third = copies_for(settings_for(AugmentConfig, sample=20))
    assert "; 2 of an earlier run removed\n" in capsys.readouterr().out
    assert {name.split("_augmented_")[0] for name in first.keys() ^ third.keys()} == {changed_source}
    fewer = copies_for(settings_for(AugmentConfig, sample=3))
    assert len(fewer) == 6
    assert all(name.count("_augmented_") == 1 for name in [*third, *fewer])


def test_main_flushes_every_copy_before_old_ones_are_deleted(settings_for, rawdata, monkeypatch):
    copies_for(settings_for(AugmentConfig, sample=40))
    config = settings_for(AugmentConfig, sample=20)
    flushed = []

    def record(paths):
        assert len(contents(config.augmented)) == 80
        flushed.extend(path.relative_to(config.augmented).as_posix() for path in paths)

    monkeypatch.setattr(augment, "fsync_all", record)
    copies = copies_for(config)
    assert len(copies) == 40
    assert sorted(flushed) == sorted(copies)


def test_main_does_not_touch_other_files_in_the_folder_of_copies(settings_for, rawdata):
    config = settings_for(AugmentConfig, sample=4)
    uuid = "123e4567-e89b-12d3-a456-426614174000"
    others = {"ant/mine.jpg", "bee/notes.txt", f"ant/ant_original_ant00.jpg_{uuid}.jpg", "bee/.hidden", "readme.md"}
    for name in others:
        path = Path(config.augmented, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    found = copies_for(config)
    assert {name for name, data in found.items() if data == b"mine"} == others
    assert len(found) == 8 + len(others)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_main_names_a_picture_that_crashes_a_transform(settings_for, rawdata, monkeypatch, capsys):
    config = settings_for(AugmentConfig, sample=80)
    copies_for(config)
    monkeypatch.setattr(augment, "make_copies", jobs.make_copies_or_crash)
    copies = copies_for(config)
    assert sum(name.startswith("ant/") for name in copies) == 72  # of the other 9 training ants
    assert sum(name.startswith("bee/") for name in copies) == 80
    output = capsys.readouterr().out
    assert "skipped " in output and "ant/ant01.jpg: crashed its process (signal 11)" in output
    assert "152 copies of 15 pictures to train on; 8 of an earlier run removed" in output
    folders = f"--raw_data {config.raw_data} --augmented {config.augmented} --data_path {config.data_path}"
    assert f"python trainer.py --model_save_name checkpoints-augmented {folders}\n" in output


def test_augment_makes_copies_that_preprocessing_uses(rawdata, script):
    size = ("--height", 16, "--width", 16)
    done = script("augment.py", "--sample", 10, *size)
    assert (done.returncode, done.stderr) == (0, "")
    assert "augmented/ 20 copies of 16 pictures to train on\n" in done.stdout
    assert "python trainer.py --model_save_name checkpoints-augmented\n" in done.stdout
    done = script("preprocessing.py", *size)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data/      40 pictures, 2 classes: ant 22, bee 18 (20 new)" in done.stdout
    table = [line.split() for line in done.stdout.splitlines()[-2:]]
    assert table == [["ant", "22", "20", "2", "10", "0", "0"], ["bee", "18", "16", "2", "10", "0", "0"]]


def test_augment_names_a_missing_folder_in_one_line(script):
    done = script("augment.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"augment\.py: rawdata: no such folder; create it and .*\n", done.stderr)

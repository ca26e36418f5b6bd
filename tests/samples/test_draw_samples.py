"""The sample pictures: each depends on its number alone, and those in the repository are the ones it draws."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures.decoding import decode_image
from samples import draw_samples
from tests.helpers.pictures import ROOT


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Draws all pictures, once for all tests because it takes seconds."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_samples.main(folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pixels_of(path: Path) -> np.ndarray:
    return decode_image(path.read_bytes(), mode="RGB", min_side=600, max_pixels=10**6).astype(int)


def drawing(label: int, number: int) -> bytes:
    sign = (draw_samples.bat, draw_samples.letter)[label]
    return draw_samples.picture(sign, np.random.default_rng([label, number])).tobytes()


def test_picture_depends_on_its_number_alone():
    first = drawing(0, 1)
    other = drawing(0, 2)
    assert drawing(0, 1) == first  # although others were drawn in between
    assert len({first, other, drawing(1, 1)}) == 3


def test_main_draws_all_pictures(drawn):
    training, unseen = draw_samples.TRAINING, draw_samples.UNSEEN
    assert 100 <= len(training) <= 150 and len(unseen) == 5 and not set(training) & set(unseen)
    for name in ("batman", "superman"):
        own = [Path(path).stem for path in names(drawn / "rawdata" / name)]
        assert own == [f"{name}_{number:03d}" for number in training]
    # The unseen pictures have numbers of their own, so none of them is used for training.
    expected = [f"{name}_{number:03d}" for name in ("batman", "superman") for number in unseen]
    assert [Path(path).stem for path in names(drawn / "samples" / "unseen")] == expected
    assert len(names(drawn)) == 2 * (len(training) + len(unseen))


def test_main_draws_less_than_3_megabytes(drawn):
    assert 1_000_000 < sum(path.stat().st_size for path in drawn.rglob("*") if path.is_file()) < 3_000_000


def test_main_draws_both_formats_and_many_sizes(drawn):
    kinds, sizes = {"JPEG": 0, "PNG": 0}, set()
    for path in drawn.rglob("*.*"):
        with Image.open(path) as image:
            kinds[image.format] += 1
            sizes.add(image.size)
            assert image.mode == "RGB"
            assert {"JPEG": ".jpg", "PNG": ".png"}[image.format] == path.suffix
            assert min(image.size) >= 60 and max(image.size) <= 320
    assert min(kinds.values()) >= 20  # a tenth of them
    assert len(sizes) > 150


def test_main_draws_no_blank_and_no_two_similar_pictures(drawn):
    small = [Image.fromarray(pixels_of(path).astype(np.uint8)).resize((8, 8)) for path in sorted(drawn.rglob("*.*"))]
    flat = np.stack([np.asarray(image, float).ravel() for image in small])
    assert flat.std(axis=1).min() > 2
    gap = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert (gap + 255 * np.eye(len(flat))).min() > 2


def test_mean_color_does_not_separate_the_classes(drawn):
    # The usual colors of the emblems may help, but must not be enough.
    means, labels = [], []
    for label, name in enumerate(("batman", "superman")):
        for path in (drawn / "rawdata" / name).iterdir():
            means.append(pixels_of(path).mean(axis=(0, 1)))
            labels.append(label)
    for values in (*np.transpose(means), np.mean(means, axis=1)):
        accuracy = np.mean((values > values[:, None]) == np.array(labels), axis=1)
        assert accuracy.min() > 0.25 and accuracy.max() < 0.75


@pytest.mark.parametrize("folder", ["rawdata/batman", "rawdata/superman", "samples/unseen"])
def test_the_repository_has_the_pictures_that_main_draws(folder, drawn):
    own = names(ROOT / folder)
    assert own and own == names(drawn / folder)
    for name in own:
        ours, fresh = pixels_of(ROOT / folder / name), pixels_of(drawn / folder / name)
        assert ours.shape == fresh.shape
        # Other versions of Pillow and its JPEG library round differently.
        assert np.abs(ours - fresh).mean() < 2, f"{name}: draw it again with `python samples/draw_samples.py`"


def test_encode_reduces_a_small_picture_in_its_own_proportions():
    data, suffix = draw_samples.encode(Image.new("RGB", (200, 100), (10, 20, 30)), 20)
    assert suffix == "png"
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (110, 55)
        assert image.getpixel((50, 25)) == (10, 20, 30)

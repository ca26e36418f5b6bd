"""The sample pictures: each follows from its number alone, and those in the repository are the script's."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import draw_samples
from pictures import decode_image


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A folder with all pictures, drawn once for all tests, as that takes seconds."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_samples.main(folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pixels_of(path: Path) -> np.ndarray:
    return decode_image(path.read_bytes(), mode="RGB", least=600, max_megapixels=1).astype(int)


def drawing(label: int, number: int) -> bytes:
    sign = (draw_samples.bat, draw_samples.letter)[label]
    return draw_samples.picture(sign, np.random.default_rng([label, number])).tobytes()


def test_the_same_number_gives_the_same_picture_and_others_give_others():
    first = drawing(0, 1)
    other = drawing(0, 2)
    assert drawing(0, 1) == first  # whatever was drawn in between
    assert len({first, other, drawing(1, 1)}) == 3


def test_all_pictures_are_drawn(drawn):
    shipped, test = draw_samples.SHIPPED, draw_samples.TEST
    assert 100 <= len(shipped) <= 150 and len(test) == 5 and not set(shipped) & set(test)
    for name in ("batman", "superman"):
        own = [Path(path).stem for path in names(drawn / "rawdata" / name)]
        assert own == [f"{name}_{number:03d}" for number in shipped]
    # The test pictures have numbers of their own, so none of them is among the shipped ones.
    tests = [f"{name}_{number:03d}" for name in ("batman", "superman") for number in test]
    assert [Path(path).stem for path in names(drawn / "testpictures")] == tests
    assert len(names(drawn)) == 2 * (len(shipped) + len(test))


def test_they_weigh_less_than_3_megabytes(drawn):
    assert sum(path.stat().st_size for path in drawn.rglob("*") if path.is_file()) < 3_000_000


def test_they_are_of_both_formats_and_of_many_sizes(drawn):
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


def test_no_picture_is_blank_and_no_two_are_alike(drawn):
    small = [Image.fromarray(pixels_of(path).astype(np.uint8)).resize((8, 8)) for path in sorted(drawn.rglob("*.*"))]
    flat = np.stack([np.asarray(image, float).ravel() for image in small])
    assert flat.std(axis=1).min() > 2
    gap = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert (gap + 255 * np.eye(len(flat))).min() > 2


def test_no_threshold_on_the_mean_colour_tells_the_classes_apart(drawn):
    # The known colours of the emblems may be a hint; who has not seen an emblem must not pass by them.
    means, labels = [], []
    for label, name in enumerate(("batman", "superman")):
        for path in (drawn / "rawdata" / name).iterdir():
            means.append(pixels_of(path).mean(axis=(0, 1)))
            labels.append(label)
    for values in (*np.transpose(means), np.mean(means, axis=1)):
        right = np.mean((values > values[:, None]) == np.array(labels), axis=1)
        assert right.min() > 0.25 and right.max() < 0.75


@pytest.mark.parametrize("folder", ["rawdata/batman", "rawdata/superman", "testpictures"])
def test_the_repository_holds_the_pictures_that_the_script_draws(folder, drawn):
    assert names(ROOT / folder) == names(drawn / folder)
    for name in names(drawn / folder):
        ours, fresh = pixels_of(ROOT / folder / name), pixels_of(drawn / folder / name)
        assert ours.shape == fresh.shape
        # Other versions of Pillow and its JPEG library round a little differently.
        assert np.abs(ours - fresh).mean() < 2, f"{name}: draw it again with `python draw_samples.py`"


def test_a_small_picture_shrinks_in_its_own_proportions():
    data, ending = draw_samples.encoded(Image.new("RGB", (200, 100), (10, 20, 30)), 20)
    assert ending == "png"
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (110, 55)
        assert image.getpixel((50, 25)) == (10, 20, 30)

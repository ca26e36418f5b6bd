"""Copies of training pictures: how many of which, the size they are made at, and performing transforms at random."""

import io
from collections import Counter

import numpy as np
import pytest
from Augmentor.Operations import BlackAndWhite, Flip, RotateRange, Skew
from PIL import Image

from augment import transforms
from config import AugmentConfig, ImageConfig
from pictures.copies import CopyTask, load_reduced, make_copies, plan, transform
from pictures.copy_names import source_of
from pictures.distortion import GaussianDistortion
from pictures.manifest import TRAIN, VALIDATION, Picture
from tests.helpers.mutations import file_of
from tests.helpers.pictures import write_picture

# Augmentor's perspective uses a class of NumPy that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


def noise(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def all_operations() -> list:
    """Returns one operation of each kind, all of which are always performed."""
    return [
        Flip(probability=1, top_bottom_left_right="LEFT_RIGHT"),
        GaussianDistortion(probability=1, grid_width=7, grid_height=6, magnitude=6),
        RotateRange(probability=1, max_left_rotation=10, max_right_rotation=10),
        Skew(probability=1, skew_type="RANDOM", magnitude=0.5),
    ]


# ---- which copies are made ----


def picture(name: str, split: str = TRAIN, folder: str = "rawdata") -> Picture:
    class_name, source = name.split("/")[0], source_of(name)[0]
    return Picture(class_name=class_name, source=source, split=split, sha256="ab" * 32, path=f"{folder}/{name}")


@pytest.mark.parametrize(("sample", "counts"), [(3, [1, 1, 1]), (10, [4, 3, 3]), (11, [4, 4, 3]), (2, [1, 1])])
def test_plan_spreads_copies_evenly(sample, counts):
    tasks = plan([picture(f"ant/{name}.jpg") for name in "cab"], sample)
    assert [len(task.indices) for task in tasks] == counts
    assert [task.picture.source for task in tasks] == ["ant/a.jpg", "ant/b.jpg", "ant/c.jpg"][: len(counts)]


def test_plan_makes_a_sample_of_each_class_from_training_sources_only():
    pictures = [
        picture("ant/a.jpg"),
        picture("ant/b.jpg", VALIDATION),
        picture("ant/a.jpg_augmented_abababab_0000.jpg", folder="augmented"),
        picture("bee/a.jpg"),
        picture("bee/b.jpg"),
        picture("bee/c.jpg", ""),
    ]
    tasks = plan(pictures, 7)
    assert [(task.picture.source, len(task.indices)) for task in tasks] == [
        ("ant/a.jpg", 7),
        ("bee/a.jpg", 4),
        ("bee/b.jpg", 3),
    ]
    assert tasks[2].names()[-1] == "bee/b.jpg_augmented_abababab_0002.jpg"
    assert [len(task.names()) for task in tasks] == [7, 4, 3]


def test_chunks_of_a_task_have_all_of_its_copies():
    task = CopyTask(picture("ant/a.jpg"), range(70))
    chunks = list(task.chunks(32))
    assert [len(chunk.indices) for chunk in chunks] == [32, 32, 6]
    assert [name for chunk in chunks for name in chunk.names()] == task.names()


# ---- the size they are made at ----


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1000, 800), (250, 200)),  # no side below twice 100
        ((800, 1000), (200, 250)),
        ((300, 300), (200, 200)),
        ((150, 90), (150, 90)),  # never enlarged
        ((200, 400), (200, 400)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_load_reduced_keeps_proportions_and_about_twice_the_final_size(size, expected, kind):
    data = file_of(Image.new("RGB", size, (200, 100, 50)), kind)
    image = load_reduced(data, ImageConfig(height=100, width=100), max_pixels=10**6)
    assert (image.size, image.mode) == (expected, "RGB")
    assert np.abs(np.asarray(image).astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("size", [(3, 3), (1, 40), (40, 1), (30, 240), (240, 30)])
def test_make_copies_accepts_tiny_and_narrow_pictures(size, settings_for, tmp_path):
    config = settings_for(AugmentConfig)
    path = write_picture(tmp_path / "rawdata" / "ant" / "odd.png", label=2, seed=1, size=size)
    odd = Picture(class_name="ant", source="ant/odd.png", sha256="0" * 64, path=path.as_posix())
    operations = transforms(config)
    for operation in operations:
        operation.probability = 1
    copies = make_copies(CopyTask(odd, range(20)), config=config, operations=operations)
    assert len(copies) == 20
    assert len({Image.open(io.BytesIO(copy)).size for copy in copies}) == 1


def test_load_reduced_averages_areas_and_converts_to_color():
    stripes = np.tile(np.array([0, 30, 60, 90, 120, 240], np.uint8), (600, 100))  # six columns become one
    image = load_reduced(file_of(stripes), ImageConfig(height=50, width=50), max_pixels=10**6)
    assert (image.size, image.mode) == ((100, 100), "RGB")
    assert set(np.asarray(image).ravel()) == {540 // 6}


def test_make_copies_gives_jpegs_of_quality_95_with_all_colors(settings_for, tmp_path):
    config = settings_for(AugmentConfig, seed=7)
    path = write_picture(tmp_path / "rawdata" / "ant" / "a.png", label=0, seed=1)
    task = CopyTask(Picture(class_name="ant", source="ant/a.png", sha256="0" * 64, path=str(path)), range(3))
    copies = make_copies(task, config=config, operations=all_operations())
    image = load_reduced(path.read_bytes(), config, max_pixels=10**6)
    wanted = [transform(image, all_operations(), seed=f"7/{name}") for name in task.names()]
    assert copies == [file_of(copy, "JPEG", quality=95, subsampling=0) for copy in wanted]
    assert len(set(copies)) == 3


def test_make_copies_gives_the_reason_why_a_picture_cannot_be_read(settings_for, tmp_path):
    bad = Picture(class_name="ant", source="ant/a.png", sha256="0" * 64, path=str(tmp_path / "a.png"))
    config = settings_for(AugmentConfig)
    assert make_copies(CopyTask(bad, range(2)), config=config, operations=[]) == "No such file or directory"
    (tmp_path / "a.png").write_bytes(b"")
    assert make_copies(CopyTask(bad, range(2)), config=config, operations=[]) == "the file is empty"


# ---- performing transforms at random ----


def test_transform_without_operations_keeps_every_pixel():
    image = noise(30, 40)
    operations = [Flip(probability=0, top_bottom_left_right="LEFT_RIGHT")]
    for seed in range(50):
        assert np.array_equal(np.asarray(transform(image, operations, seed=str(seed))), np.asarray(image))


def test_transform_with_all_operations_keeps_size_and_mode():
    image = noise(60, 80)
    before = np.asarray(image).copy()
    result = transform(image, all_operations(), seed="1")
    assert (result.size, result.mode) == ((80, 60), "RGB")
    assert 0.1 < np.asarray(result).mean() / 255 < 0.9  # neither black nor white
    assert np.array_equal(np.asarray(image), before)  # the image itself is not changed


@pytest.mark.parametrize(("probability", "low", "high"), [(0.1, 146, 254), (0.5, 910, 1090), (0.95, 1861, 1939)])
def test_transform_uses_the_exact_probability(probability, low, high):
    # 4 standard deviations around the mean of 2,000 attempts. Augmentor itself rounds to one decimal: it would mirror
    # 300 times at 0.1, and always at 0.95.
    image = Image.fromarray(np.array([[[0] * 3, [255] * 3]], np.uint8))
    operations = [Flip(probability=probability, top_bottom_left_right="LEFT_RIGHT")]
    mirrored = sum(transform(image, operations, seed=str(seed)).getpixel((0, 0)) == (255,) * 3 for seed in range(2000))
    assert low <= mirrored <= high


def test_transform_decides_about_each_operation_separately():
    performed = Counter()

    class Recorded:
        def __init__(self, index: int, probability: float) -> None:
            self.index, self.probability = index, probability

        def perform_operation(self, images):
            performed[self.index] += 1
            return images

    probabilities = [0.5, 0.1, 0.4, 0.3, 0.4, 0.6, 0.5]
    operations = [Recorded(index, probability) for index, probability in enumerate(probabilities)]
    for seed in range(1000):
        transform(Image.new("RGB", (1, 1)), operations, seed=str(seed))
    for index, expected in enumerate(probabilities):
        assert abs(performed[index] / 1000 - expected) < 4 * (expected * (1 - expected) / 1000) ** 0.5


def test_transform_decides_independently_of_the_other_operations():
    # An image that is only black and white tells whether the second operation was performed, mirrored or not.
    image = noise(30, 40)

    def performed(mirror: float) -> list[bool]:
        operations = [
            Flip(probability=mirror, top_bottom_left_right="LEFT_RIGHT"),
            BlackAndWhite(probability=0.5, threshold=128),
        ]
        results = (np.asarray(transform(image, operations, seed=str(seed))) for seed in range(60))
        return [set(np.unique(result)) == {0, 255} for result in results]

    assert performed(0) == performed(0.5) == performed(1)


def test_transform_depends_on_its_seed_alone():
    image, operations = noise(60, 80), all_operations()
    one = transform(image, operations, seed="1/ant")
    transform(image, operations, seed="2/ant")  # draws other random numbers in between
    assert transform(image, operations, seed="1/ant").tobytes() == one.tobytes()
    assert len({transform(image, operations, seed=str(seed)).tobytes() for seed in range(8)}) == 8

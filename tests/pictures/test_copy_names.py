"""The names that tell which photo a file shows."""

import hashlib
import os

import pytest

from pictures.copy_names import copy_name, short_name, short_source, source_of, sources_among, with_sources
from pictures.manifest import Picture

SHA256 = "0123456789abcdef" * 4
UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("name", "source", "digits"),
    [
        ("ant/a.jpg", "ant/a.jpg", ""),
        ("ant/deep/er/a.jpg", "ant/deep/er/a.jpg", ""),
        ("ant/a.jpg_augmented_0123abcd_0007.jpg", "ant/a.jpg", "0123abcd"),
        ("ant/deep/a.b.png_augmented_0123abcd_12345.jpg", "ant/deep/a.b.png", "0123abcd"),
        (f"ant/ant_original_a.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # as Augmentor names them
        (f"ant/my_ants_original_a b.JPG_{UUID}.JPEG", "ant/a b.JPG", ""),
        (f"ant/output/ant_original_a.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # where Augmentor puts them
        (f"ant/deep/output/deep_original_a.jpg_{UUID}.jpg", "ant/deep/a.jpg", ""),
        (f"ant/output/ant_original_ant_original_a.jpg_{UUID}.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # a copy of a copy
        (f"ant/ant_original_a.jpg_{UUID}.jpg_augmented_0123abcd_0007.jpg", "ant/a.jpg", "0123abcd"),
        ("ant/output/a.jpg", "ant/output/a.jpg", ""),
        ("ant/a_jpg_augmented_0123abcd_0007.jpg", "ant/a_jpg", "0123abcd"),
        ("ant/output/a.jpg_augmented_0123abcd_0007.jpg", "ant/output/a.jpg", "0123abcd"),
        # Not names of copies, although similar:
        ("ant/augmented_0123abcd_0007.jpg", "ant/augmented_0123abcd_0007.jpg", ""),
        ("ant/a_augmented_0123abcd_0007.png", "ant/a_augmented_0123abcd_0007.png", ""),
        ("ant/a_augmented_0123ABCD_0007.jpg", "ant/a_augmented_0123ABCD_0007.jpg", ""),
        ("ant/a_augmented_0123abc_0007.jpg", "ant/a_augmented_0123abc_0007.jpg", ""),
        ("ant/the_original_a.jpg", "ant/the_original_a.jpg", ""),
        (f"ant/a_{UUID}.jpg", f"ant/a_{UUID}.jpg", ""),
        ("ant_original_x/a.jpg", "ant_original_x/a.jpg", ""),
    ],
)
def test_source_of_finds_the_source_in_the_name_of_a_copy(name, source, digits):
    assert source_of(name) == (source, digits)


@pytest.mark.parametrize("source", ["ant/a.jpg", "ant/a\nb.png", "ant/sub/x_augmented_y.jpg", "ant/ä,\"'.jpg"])
def test_source_of_is_the_inverse_of_copy_name(source):
    assert source_of(copy_name(source, SHA256, 12345)) == (source, "01234567")


def test_copy_name_has_four_digits_so_that_copies_sort():
    assert copy_name("ant/a.jpg", SHA256, 7) == "ant/a.jpg_augmented_01234567_0007.jpg"


ROBOFLOW = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (f"ant/IMG_0001_jpg.rf.{ROBOFLOW}.jpg", "ant/IMG_0001.jpg"),
        (f"ant/my-ant_PNG.rf.{ROBOFLOW}.jpg", "ant/my-ant.PNG"),
        ("ant/IMG_0001_jpg.rf.9sXbGk2vPqRtYwZa3LmN.jpg", "ant/IMG_0001.jpg"),  # newer
        (f"ant/deep/a_jpeg.rf.{ROBOFLOW}.jpg", "ant/deep/a.jpeg"),
        (f"ant/a.rf.{ROBOFLOW}.jpg", "ant/a"),  # without the suffix of the source
        (f"ant/a_jpg.rf.{ROBOFLOW}.jpg.png", "ant/a.jpg.png"),  # in data/
        ("ant/a_jpg.rf.0123.jpg", "ant/a_jpg.rf.0123.jpg"),
        (f"ant/a_jpg_rf_{ROBOFLOW}.jpg", f"ant/a_jpg_rf_{ROBOFLOW}.jpg"),
    ],
)
def test_source_of_knows_the_names_of_roboflow(name, source):
    assert source_of(name) == (source, "")


# ---- names among others ----


@pytest.mark.parametrize(
    "copy",
    [
        "cat1_aug.jpg",
        "cat1_aug_3.jpg",
        "cat1_aug3.png",
        "cat1_augmented_2.jpg",
        "cat1-flip.jpg",
        "cat1_hflip.jpg",
        "cat1_flip_lr.jpg",
        "cat1_horizontal_flip.jpg",
        "cat1_HorizontalFlip.jpg",
        "cat1_mirrored.jpg",
        "cat1_rot90.png",
        "cat1_rotated_-15.jpg",
        "cat1_rot_90deg.jpg",
        "cat1_RandomRotate90.jpg",
        "cat1_crop_10_20.jpg",
        "cat1_gaussian_noise.jpg",
        "cat1_bright_1.2.jpg",
        "cat1_flip_rot90_3.jpg",
        "cat1_RandomBrightnessContrast.jpg",
        "cat1_copy.jpg",
        "cat1 - Copy.jpg",
        "cat1-copy 2.jpg",
        "Copy of cat1.jpg",
        "aug_3_cat1.jpg",
        "flipped_cat1.jpg",
        "cat1.jpg_flip.jpg",
        "cat1_0_7315.png",  # Keras, with the name of the source as prefix
        "more/cat1_flip.jpg",  # in a sub-folder
    ],
)
def test_sources_among_finds_a_copy_beside_its_source(copy):
    names = [f"ant/{copy}", "ant/cat1.jpg", "ant/cat2.jpg", "bee/cat1.jpg", "bee/IMG_1.jpg"]
    assert sources_among(names) == {f"ant/{copy}": "ant/cat1.jpg"}
    assert sources_among([f"ant/{copy}", "ant/cat2.jpg", "bee/cat1.jpg"]) == {}


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_0001.jpg", "IMG_0002.jpg", "IMG.jpg"],
        ["IMG_2.jpg", "IMG_2_1.jpg", "IMG_2_2.jpg"],
        ["photo.jpg", "photo_2024_1234.png", "photo_2024_5678.png", "photo_2023_7.png"],
        ["DSC.jpg", "DSC (1).jpg", "DSC (2).jpg"],  # downloads of one name
        ["cat_flip.jpg", "dog_flip.jpg"],
        ["cat_aug_1.jpg", "cat_aug_2.jpg", "cat_aug_3.jpg"],  # the name of the class
        ["cat.jpg", "cats_flip.jpg", "cat_flipper.jpg", "catflip.jpg", "cat_flip_b.jpg"],
        [f"cat_0_{number}.jpg" for number in (7315, 482, 9120, 33)],  # Keras, but of which sources?
        [f"video_{video}_{frame}.jpg" for video in range(3) for frame in range(40)],
        [f"video_{video}_{30 * frame}.jpg" for video in range(3) for frame in range(40)],
        [f"page_{page}_{1000 + 7 * page}.jpg" for page in range(10)],
        [f"shot_2023_{number}.jpg" for number in (7315, 482)] + [f"shot_2024_{number}.jpg" for number in (9120, 33)],
        ["2023_dark_1.jpg", "2023_dark_2.jpg", "2024_dark_1.jpg", "2024_dark_2.jpg"],
        ["flip.jpg", "rot90.jpg", "aug.jpg", "copy.jpg", "_flip.jpg"],
    ],
    ids=lambda names: names[0],
)
def test_sources_among_leaves_ordinary_names_alone(names):
    assert sources_among([f"ant/{name}" for name in names]) == {}


def test_sources_among_finds_the_names_of_keras():
    names = [f"ant/aug_{index}_{number}.png" for index in range(3) for number in (7315 + index, 482 * (index + 1))]
    assert sources_among(names) == {name: f"{name.rpartition('_')[0]}.png" for name in names}


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({0: [7315, 482], 1: [9120]}, True),
        ({0: [7315, 482], 2: [9120]}, True),
        ({0: [7315], 1: [482], 2: [9120]}, False),  # too few copies of each
        ({1: [7315, 482], 2: [9120, 33]}, False),  # the first is missing
        ({0: [7315, 482], 4: [9120, 33]}, False),  # too many are missing
        ({0: [0, 13], 1: [27, 41]}, True),
        ({0: [0, 13], 1: [27, 40]}, False),  # dense, as those of pages
        ({0: [5001, 5003], 1: [5002, 5006]}, False),
        ({0: [7, 1007], 1: [507, 2032]}, False),  # multiples of 25, as those of frames
    ],
)
def test_sources_among_takes_sparse_numbers_for_those_of_keras(numbers, found):
    names = [f"ant/x_{index}_{number}.png" for index in numbers for number in numbers[index]]
    assert sources_among(names) == ({name: f"{name.rpartition('_')[0]}.png" for name in names} if found else {})


def test_sources_among_looks_at_each_prefix_of_keras():
    copies = ["ant/x_0_7315.png", "ant/x_0_482.png", "ant/x_1_9120.png"]
    others = ["ant/y_5_2741.png", "ant/y_5_33.png", "ant/y_6_5188.png"]  # without the first
    assert sources_among(copies + others) == {name: f"{name.rpartition('_')[0]}.png" for name in copies}


def test_sources_among_finds_copies_that_share_a_stem_without_source():
    names = ["ant/a_aug_0.jpg", "ant/a_aug_1.jpg", "ant/b_flip.jpg", "ant/b_rot90.jpg", "ant/c_aug_0.jpg"]
    assert sources_among(names) == {
        "ant/a_aug_0.jpg": "ant/a.jpg",
        "ant/a_aug_1.jpg": "ant/a.jpg",
        "ant/b_flip.jpg": "ant/b.jpg",
        "ant/b_rot90.jpg": "ant/b.jpg",
    }


def test_sources_among_finds_copies_by_one_unusual_word():
    for changes in (["dark_flip", "bright_flip"], ["aug", "dark"]):
        names = [f"ant/{stem}_{change}.jpg" for stem in "ab" for change in changes]
        assert sources_among(names) == {name: f"{name[:5]}.jpg" for name in names}


def test_sources_among_prefers_a_source_in_the_same_folder_and_takes_one_above():
    names = ["ant/x/a.jpg", "ant/x/y/a.jpg", "ant/x/y/a_flip.jpg", "ant/x/b.jpg", "ant/x/y/b_flip.jpg"]
    assert sources_among([*names, "ant/c.jpg", "ant/x/y/c_flip.jpg", "ant/notes"]) == {
        "ant/x/y/a_flip.jpg": "ant/x/y/a.jpg",
        "ant/x/y/b_flip.jpg": "ant/x/b.jpg",
    }


def test_sources_among_follows_copies_of_copies():
    names = ["ant/a.jpg", "ant/a_flip.jpg", "ant/a_flip_rot90.jpg"]
    assert sources_among(names) == {"ant/a_flip.jpg": "ant/a.jpg", "ant/a_flip_rot90.jpg": "ant/a.jpg"}


def test_sources_among_takes_a_source_of_most_pictures_for_the_name_of_the_class():
    def copies(count):
        return [f"ant/cat_aug_{number}.jpg" for number in range(count)]

    assert len(sources_among(["ant/cat.jpg", *copies(20)])) == 20
    assert sources_among(["ant/cat.jpg", *copies(21)]) == {}
    others = [f"ant/IMG_{number}.jpg" for number in range(19)]
    assert len(sources_among(["ant/cat.jpg", *copies(21), *others, "ant/dog.jpg"])) == 21  # half of 42
    other_class = [name.replace("ant/", "bee/") for name in others]
    assert sources_among(["ant/cat.jpg", *copies(21), *other_class, "bee/dog.jpg"]) == {}


def test_sources_among_takes_no_time_for_long_names():
    names = ["ant/x_flip_" + "1" * 200 + "z.jpg", "ant/" + "flip_" * 48 + ".jpg", "ant/x.jpg"]
    assert sources_among(names) == {}


def test_with_sources_looks_at_other_pictures_too():
    def picture(folder, name):
        return Picture(class_name="ant", source=f"ant/{name}", path=f"{folder}/ant/{name}")

    copies = [picture("augmented", "a_flip.jpg"), picture("augmented", "b_flip.jpg")]
    flipped, other = with_sources(copies, [picture("rawdata", "a.jpg")])
    assert (flipped.source, flipped.is_copy) == ("ant/a.jpg", True)
    assert other == copies[1]


# ---- long names ----


def test_short_name_is_the_name_if_it_fits():
    assert short_name("a" * 20, 20) == "a" * 20


@pytest.mark.parametrize("suffix", [".jpg", "", ".a-long-suffix"])
def test_short_name_keeps_the_beginning_and_a_short_suffix(suffix):
    name = "猫" * 85 + suffix  # three bytes each
    shorter = short_name(name, 100)
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = suffix if suffix == ".jpg" else ""
    assert shorter == "猫" * ((100 - 9 - len(kept)) // 3) + "~" + digits + kept
    assert 98 <= len(shorter.encode()) <= 100


@pytest.mark.parametrize(("suffix", "kept"), [(".1234567", ".1234567"), (".12345678", "")])
def test_short_name_keeps_a_suffix_of_up_to_eight_bytes(suffix, kept):
    name = "a" * 100 + suffix
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    assert short_name(name, 50) == "a" * (50 - 9 - len(kept)) + "~" + digits + kept


@pytest.mark.parametrize("letter", ["é", "\u0441", "猫", "🦊"])
def test_short_name_never_splits_a_letter(letter):
    for max_bytes in range(20, 40):
        shorter = short_name(letter * 50, max_bytes)
        assert max_bytes - 4 < len(shorter.encode()) <= max_bytes  # encode() fails for a part of a letter
        assert shorter.partition("~")[0].strip(letter) == ""


def test_short_source_keeps_its_folders():
    last = "a" * 250
    source = f"ant/{'b' * 200}/{last}"
    assert short_source(source) == f"ant/{'b' * 200}/{short_name(last, 214)}"
    assert short_source(f"ant/{'b' * 200}/a.jpg") == f"ant/{'b' * 200}/a.jpg"


def test_short_name_tells_names_of_one_beginning_apart():
    assert short_name("猫" * 80 + "a.jpg", 100) != short_name("猫" * 80 + "b.jpg", 100)


def test_short_name_takes_bytes_that_are_not_utf_8():
    assert os.fsencode(short_name(os.fsdecode(b"\xe9" * 255), 100)).startswith(b"\xe9" * 91 + b"~")


@pytest.mark.parametrize("name", ["猫" * 85, "猫" * 83 + "ab.jpg", "a" * 251 + ".png"])
@pytest.mark.parametrize("index", [0, 999_999])
def test_copy_name_of_a_long_name_fits(name, index):
    assert len(name.encode()) == 255
    copy = copy_name(f"ant/{name}", SHA256, index)
    written = copy.removeprefix("ant/") + ".png"
    assert len(written.encode()) <= 249  # with "." before and ".part" behind it, 255
    assert source_of(copy) == (short_source(f"ant/{name}"), "01234567")


def test_copy_name_of_the_longest_names_of_earlier_versions_is_the_same():
    assert copy_name("ant/" + "a" * 170, SHA256, 1) == "ant/" + "a" * 170 + "_augmented_01234567_0001.jpg"

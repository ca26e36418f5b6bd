"""The names that tell which photo a file shows."""

import pytest

from pictures.copy_names import copy_name, source_of

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

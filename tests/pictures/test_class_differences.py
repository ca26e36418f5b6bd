"""Traits in which classes differ: from both sides of the limits, and quiet by chance."""

import numpy as np
import pytest

from pictures.class_differences import class_difference_lines
from pictures.manifest import EXCLUDED, KEPT, Picture

END = ", so a network may learn it instead of the content"


def rows(name: str, count: int, **values) -> list[Picture]:
    """Returns pictures of a class; a value that is a list has one entry for each of them."""
    usual = {"pixels": 10**6, "width": 1000, "height": 1000, "brightness": 100, "sharpness": 0.4, "format": "JPEG"}
    values = {**usual, "colorfulness": 30.0, **values}
    return [
        Picture(
            class_name=name,
            path=f"rawdata/{name}/{number}",
            **{"source": f"{name}/{number}", "status": KEPT}
            | {key: value[number] if isinstance(value, list) else value for key, value in values.items()},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("trait", "shown"),
    [
        ({"pixels": 480_000}, "size: ant 0.48, bee 1.00 megapixels (medians)"),
        ({"width": 1500}, "proportions: ant 1.50, bee 1.00 times as wide as high (medians)"),
        ({"brightness": 40.4}, "brightness: ant 40, bee 100 of 255 (medians)"),
        ({"sharpness": 0.1}, "sharpness: ant 0.10, bee 0.40 (medians)"),
        ({"format": "PNG"}, "format: ant 100 % PNG, bee 0 %"),
        ({"camera": "Canon EOS\t5D"}, "camera: ant 100 % Canon EOS\\t5D, bee 0 %"),
        ({"colorfulness": 1.9}, "color: ant 100 % black and white, bee 0 %"),
    ],
)
def test_class_difference_lines_name_each_trait(trait, shown):
    lines = class_difference_lines(rows("ant", 30, **trait) + rows("bee", 30))
    assert lines == [f"classes differ in {shown}; that alone tells up to 100 % right{END}"]


def test_class_difference_lines_are_none_for_equal_classes():
    assert class_difference_lines(rows("ant", 30) + rows("bee", 30)) == []
    assert class_difference_lines(rows("ant", 30)) == class_difference_lines([]) == []


@pytest.mark.parametrize(("count", "has_line"), [(59, False), (60, True)])
def test_class_difference_lines_count_from_six_in_ten(count, has_line):
    formats = ["PNG"] * count + ["JPEG"] * (100 - count)
    lines = class_difference_lines(rows("ant", 100, format=formats) + rows("bee", 100))
    assert (
        lines == [f"classes differ in format: ant 60 % PNG, bee 0 %; that alone tells up to 80 % right{END}"] * has_line
    )


@pytest.mark.parametrize(("count", "has_line"), [(59, False), (60, True)])
def test_class_difference_lines_count_from_six_in_ten_values(count, has_line):
    dark = rows("ant", 100, brightness=[40] * count + [100] * (100 - count))
    assert len(class_difference_lines(dark + rows("bee", 100))) == has_line


@pytest.mark.parametrize(("count", "has_line"), [(14, False), (15, True)])
def test_class_difference_lines_need_more_for_few_pictures(count, has_line):
    # 2 classes, 2 formats, 7 traits: the square root of ln(2 × 28 / 0.001) / 2 × 40 / 400 is 0.739.
    formats = ["PNG"] * count + ["JPEG"] * (20 - count)
    assert len(class_difference_lines(rows("ant", 20, format=formats) + rows("bee", 20))) == has_line


def test_class_difference_lines_are_none_for_very_few_pictures():
    assert class_difference_lines(rows("ant", 8, format="PNG", brightness=1.0) + rows("bee", 8)) == []


def test_class_difference_lines_are_quiet_by_chance():
    rng = np.random.default_rng(1)
    for count in (5, 10, 20, 40):
        for _ in range(10):
            pictures = [
                picture
                for name in ("ant", "bee", "cow", "dog")
                for picture in rows(
                    name,
                    count,
                    pixels=rng.integers(1, 10**7, count).tolist(),
                    brightness=rng.uniform(0, 255, count).tolist(),
                    format=rng.choice(["PNG", "JPEG"], count).tolist(),
                    camera=[str(number) for number in rng.integers(0, 20, count)],
                )
            ]
            assert class_difference_lines(pictures) == []


def test_class_difference_lines_name_three_of_many_classes():
    pictures = [picture for name in "abcdefgh" for picture in rows(name, 100, brightness=100.0)]
    for number, name in enumerate("ijklm"):
        pictures += rows(name, 100, brightness=10.0 + number)
    (line,) = class_difference_lines(pictures)
    assert line == (
        "classes differ in brightness: i 10, the others 100; j 11, the others 100; k 12, the others 100 of 255 "
        f"(medians), and 2 more; that alone tells up to 100 % right{END}"
    )


def test_class_difference_lines_find_a_class_between_the_others():
    pictures = rows("ant", 100, brightness=[50.0, 150.0] * 50) + rows("bee", 100, brightness=100.0)
    assert class_difference_lines(pictures) == []  # no limit tells more than half of them apart
    pictures = rows("ant", 100, brightness=[50.0] * 70 + [150.0] * 30) + rows("bee", 100, brightness=100.0)
    assert len(class_difference_lines(pictures)) == 1


def test_class_difference_lines_leave_out_what_is_not_used():
    excluded = rows("ant", 30, format="PNG", status=EXCLUDED)
    copies = rows("ant", 30, format="PNG", source="ant/x")
    unmeasured = rows("ant", 30, format="", width=0)
    assert class_difference_lines(rows("ant", 30) + rows("bee", 30) + copies + excluded + unmeasured) == []

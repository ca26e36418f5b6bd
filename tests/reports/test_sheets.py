"""Sheets of pictures with captions, and the confusion matrix as a picture."""

import numpy as np
import pytest

from reports.sheets import WIDTH, Tile, confusion_image, drawable, drawable_class, sheet, thumbnails, titled_sheets

RED, BLUE = np.array([203, 24, 29]), np.array([33, 113, 181])


def plain(value: int, channels: int = 3) -> np.ndarray:
    return np.full((20, 20, channels), value, np.uint8)


def test_titled_sheets_are_below_each_other():
    image = titled_sheets({"first": [Tile(plain(70))], "second": [Tile(plain(90))] * 5})
    assert image.shape == ((24 + 3 + 84 + 3) + (24 + 3 + 2 * 87), WIDTH, 3)
    assert image[24 + 3 + 42, 1 + 42, 0] == 70
    assert image[114 + 24 + 3 + 42, 1 + 42, 0] == 90
    for top in (0, 114):
        assert (image[top : top + 24] < 128).any()  # the title


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_sheet_has_four_pictures_in_a_row(count, rows):
    image = sheet([Tile(plain(100), ["one line"])] * count)
    assert image.shape == (rows * (3 + 84 + 14) + 3, WIDTH, 3)
    assert image.dtype == np.uint8
    starts = (image == 100).all(axis=2).any(axis=1)
    assert starts.sum() == 84 * rows


def test_sheet_shows_the_pictures_in_order():
    image = sheet([Tile(plain(10 * number)) for number in range(1, 6)])
    middles = [image[3 + 42, 1 + 42 + 87 * column, 0] for column in range(4)]
    assert middles == [10, 20, 30, 40]
    assert image[3 + 87 + 42, 1 + 42, 0] == 50


def test_sheet_shows_gray_pictures():
    assert sheet([Tile(plain(70, channels=1))])[48, 46].tolist() == [70, 70, 70]


def test_sheet_keeps_the_proportions_of_a_picture():
    image = sheet([Tile(np.full((20, 40, 3), 70, np.uint8))])  # 42 of 84 rows
    shown = (image == 70).all(axis=2)
    assert (shown.any(axis=1).sum(), shown.any(axis=0).sum()) == (42, 84)
    assert shown[3 + 42, 1 + 42]


def test_sheet_writes_wrong_captions_in_red():
    def caption(is_wrong: bool) -> np.ndarray:
        return sheet([Tile(plain(255), ["batman"], is_wrong)])[87:].reshape(-1, 3)

    def nearest(color: np.ndarray, pixels: np.ndarray) -> int:
        return int(np.abs(pixels.astype(int) - color).sum(axis=1).min())

    assert nearest(RED, caption(True)) == 0
    assert nearest(RED, caption(False)) > 50


def test_sheet_shortens_a_caption_that_is_too_wide():
    one = sheet([Tile(plain(255), ["w" * 100]), Tile(plain(255))])
    assert (one[:, 87:] == 255).all()  # it does not reach the next picture
    assert (one[:, :87] < 128).any()


def test_sheet_without_pictures_says_so():
    assert (sheet([]) < 128).any()


def test_thumbnails_fill_a_square_row_by_row():
    image = thumbnails([plain(10 * number) for number in range(1, 6)], side=8)
    assert image.shape == (24, 24, 3)
    assert image[4::8, 4::8, 0].tolist() == [[10, 20, 30], [40, 50, 255], [255, 255, 255]]


@pytest.mark.parametrize("count", [2, 7, 12, 13, 20])
def test_confusion_image_has_the_width_of_a_card(count):
    matrix = np.eye(count, dtype=int) * 999
    image = confusion_image(matrix, [f"a rather long name {number}" for number in range(count)])
    assert image.shape[1] == WIDTH
    assert image.shape[0] <= WIDTH + 40


def test_confusion_image_is_blue_where_right_and_red_where_wrong():
    image = confusion_image(np.array([[10, 0], [10, 0]]), ["a", "b"])
    colors = {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
    assert tuple(BLUE.tolist()) in colors
    assert tuple(RED.tolist()) in colors
    only_right = confusion_image(np.array([[10, 0], [0, 10]]), ["a", "b"])
    assert tuple(RED.tolist()) not in {tuple(pixel) for pixel in only_right.reshape(-1, 3).tolist()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("bat man-1", "bat man-1"), ("café", "cafe"), ("Ångström", "Angstrom"), ("犬", "?"), ("a\tb", "?"), ("", "")],
)
def test_drawable_has_ascii_letters_only(text, shown):
    assert drawable(text, "?") == shown


def test_drawable_class_of_another_script_is_its_number():
    assert [drawable_class(label, ["café", "犬"]) for label in (0, 1)] == ["cafe", "#2"]

"""Pictures that are worth a look: each limit from both sides."""

import pytest

from config import ImageConfig
from pictures.checks import Finding, check_pictures, with_remarks
from pictures.decoding import BLANK
from pictures.manifest import EXCLUDED, KEPT, Picture

CONFIG = ImageConfig(height=100, width=100)
USUAL = {"width": 100, "height": 100, "shadows": 30, "highlights": 230, "contrast": 50, "sharpness": 2}


def row(name: str, **values) -> Picture:
    names = dict.fromkeys(("source", "path", "sha256", "photo", "group"), name)
    settings = {"class_name": name.split("/")[0], "status": KEPT, **names}
    return Picture(**{**settings, **USUAL, **values})


def remarks_of(picture: Picture, others: list[Picture] | None = None, config: ImageConfig = CONFIG) -> str:
    others = [row(f"ant/{number}") for number in range(9)] if others is None else others
    pictures = [*others, picture]
    *rest, found = with_remarks(pictures, check_pictures(pictures, config))
    assert [other.remarks for other in rest] == [""] * len(rest)
    return found.remarks


@pytest.mark.parametrize(
    ("values", "remarks"),
    [
        ({}, ""),
        ({"contrast": 1.9}, "blank"),
        ({"contrast": 2.0}, ""),
        ({"highlights": 81}, "dark"),
        ({"highlights": 82}, ""),
        ({"shadows": 243, "contrast": 19.9}, "bright"),
        ({"shadows": 242, "contrast": 19.9}, ""),
        ({"shadows": 243, "contrast": 20}, ""),  # a small thing on white
        ({"sharpness": 0.749}, "blurred"),
        ({"sharpness": 0.75}, ""),
        ({"sharpness": 0.479, "height": 80}, "blurred"),  # enlarged by 1.25: 0.75 / 1.5625 is 0.48
        ({"sharpness": 0.481, "height": 80}, ""),
        ({"sharpness": 0}, "blurred"),
        ({"height": 50}, "small"),
        ({"width": 50}, "small"),
        ({"height": 51}, ""),
        ({"width": 286}, "long"),  # CleanVision's limit is 1 : 2.857
        ({"width": 285}, ""),
        ({"height": 286}, "long"),
        ({"height": 285}, ""),
        ({"width": 2000, "height": 50}, "long"),  # enlarged too, but that is not its problem
        ({"width": 8, "height": 8, "sharpness": 0}, "small"),  # enlarging blurs
        ({"highlights": 5, "contrast": 1, "sharpness": 0}, "blank"),  # which says it all
        ({"highlights": 80, "sharpness": 0.5}, "dark; blurred"),
    ],
)
def test_check_pictures_finds_what_is_unusual(values, remarks):
    assert remarks_of(row("bee/1", **values)) == remarks


def test_check_pictures_takes_proportions_from_the_size_of_the_images():
    config = ImageConfig(height=100, width=300)
    others = [row(f"ant/{number}", width=300) for number in range(9)]
    assert remarks_of(row("bee/1", width=600, height=200), others, config) == ""
    assert remarks_of(row("bee/1", width=600, height=601), others, config) == "long"


@pytest.mark.parametrize(("highlights", "remarks"), [(32, "dark"), (33, "")])
def test_check_pictures_compares_with_the_other_pictures(highlights, remarks):
    # Of a set of pictures taken at night. Their median is 70, the median deviation 10: the limit is 70 - 37.07.
    others = [row(f"ant/{number}", highlights=level) for number, level in enumerate((60, 60, 70, 70, 70, 80, 80, 90))]
    assert remarks_of(row("bee/1", highlights=highlights), others) == remarks


def test_check_pictures_is_calm_about_sets_that_are_all_alike():
    for values in ({"highlights": 40}, {"shadows": 250, "contrast": 10}, {"sharpness": 0.5}):
        assert check_pictures([row(f"ant/{number}", **values) for number in range(9)], CONFIG) == []


@pytest.mark.parametrize(("count", "end"), [(5, ""), (6, "; a smaller --height and --width would do")])
def test_check_pictures_suggests_a_size_if_most_are_small(count, end):
    rows = [row(f"ant/{number}", width=32, height=32 if number < count else 100) for number in range(count)]
    (finding,) = check_pictures([*rows, *(row(f"bee/{number}") for number in range(5))], CONFIG)
    assert finding.text == f"enlarged 2 times or more, to 100 × 100{end}"
    assert finding.names[0] == "ant/0 (32 × 32)"


@pytest.mark.parametrize(("count", "end"), [(5, ""), (6, "; another --height or --width would suit them")])
def test_check_pictures_suggests_proportions_if_most_are_long(count, end):
    rows = [row(f"ant/{number}", width=400) for number in range(count)]
    (finding,) = check_pictures([*rows, *(row(f"bee/{number}") for number in range(5))], CONFIG)
    assert finding.text == f"stretched out of proportion, to 100 × 100{end}"


def test_check_pictures_names_the_worst_first():
    levels = {"ant/a": 70, "ant/b": 10, "ant/c": 40}
    rows = [row(name, highlights=level) for name, level in levels.items()] + [row(f"bee/{n}") for n in range(9)]
    (finding,) = check_pictures(rows, CONFIG)
    assert finding.names == ["ant/b", "ant/c", "ant/a"]
    assert [picture.path for picture in finding.pictures] == finding.names


def test_check_pictures_leaves_out_what_is_not_used_or_noted_already():
    dark = {"highlights": 10, "contrast": 1}
    rows = [
        row("bee/copy", source="bee/1", **dark),
        row("bee/excluded", status=EXCLUDED, **dark),
        row("bee/unreadable", width=0, height=0, **dark),
        row("bee/noted", note=BLANK, **dark),
    ]
    assert check_pictures([*(row(f"ant/{number}") for number in range(9)), *rows], CONFIG) == []
    assert check_pictures(rows, CONFIG) == check_pictures([], CONFIG) == []


def test_check_pictures_finds_repetitions_in_a_class():
    rows = [
        row("ant/a", photo="ant/a", sha256="1"),
        row("ant/b", photo="ant/a", sha256="1"),
        row("ant/c", photo="ant/a", sha256="2"),
        row("bee/a", photo="ant/a", sha256="1"),  # of another class: probably mislabeled, which is said elsewhere
        row("bee/b", photo="bee/b"),
    ]
    (finding,) = check_pictures(rows, CONFIG)
    assert finding == Finding(
        remark="repeated",
        text="the same as another one of its class (1 equal file)",
        pictures=rows[1:3],
        names=["ant/b (like ant/a)", "ant/c (like ant/a)"],
    )
    (finding,) = check_pictures(rows[2:3] + rows[:1], CONFIG)
    assert finding.text == "the same as another one of its class"


def test_check_pictures_finds_series_of_several_classes():
    rows = [
        row("ant/a", group="ant/a", photo="ant/a"),
        row("ant/b", group="ant/a", photo="ant/b"),
        row("bee/a", group="ant/a", photo="bee/a"),
        row("ant/c", group="ant/c", photo="ant/c"),  # the same photo: probably mislabeled
        row("bee/c", group="ant/c", photo="ant/c"),
        row("ant/d", group="ant/d", photo="ant/d"),  # a series of one class
        row("ant/e", group="ant/d", photo="ant/e"),
    ]
    (finding,) = check_pictures(rows, CONFIG)
    assert finding.remark == "like another class"
    assert finding.names == ["ant/a (like bee/a)", "ant/b (like bee/a)", "bee/a (like ant/a)"]


def test_with_remarks_replaces_those_of_the_last_run():
    old, dark = row("ant/a", remarks="blurred"), row("ant/b")
    assert with_remarks([old, dark], [Finding("dark", "very dark", [dark], ["ant/b"])]) == [
        row("ant/a"),
        row("ant/b", remarks="dark"),
    ]

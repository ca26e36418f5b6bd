"""Which pictures a report shows."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pictures.manifest import KEPT, TRAIN, Picture
from reports.gallery import (
    confusions,
    data_uri,
    duplicates,
    in_several_classes,
    most_suspicious,
    worst_mistakes,
)
from tests.helpers.evaluations import evaluation_of
from tests.helpers.reports import image_of, network_for, no_heat_maps


def decode(uri: str) -> Image.Image:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("shape", "size"), [((100, 50), (50, 100)), ((101, 202), (100, 50)), ((16, 16), (16, 16))])
def test_data_uri_is_a_webp_image_of_limited_size(channels, shape, size):
    image = np.full((*shape, channels), 200, np.uint8)
    image[:, : shape[1] // 2] = 50
    shown = decode(data_uri(image, 100))
    assert (shown.format, shown.size) == ("WEBP", size)
    left, right = (shown.convert("L").getpixel((x, size[1] // 2)) for x in (2, size[0] - 3))
    assert (left, right) == (pytest.approx(50, abs=4), pytest.approx(200, abs=4))


def mistakes(count: int) -> list[tuple]:
    """Returns answers of which so many are wrong, the last one with the highest score."""
    wrong = [(f"{number}.png", "bee", (0.5 + number / 100, 0.1)) for number in range(count)]
    return [*wrong, ("correct.png", "ant", (0.99, 0.05))]


@pytest.mark.parametrize("channels", [1, 3])
def test_worst_mistakes_have_a_heat_map_for_each_of_two_classes(channels):
    network = network_for(color_channels=channels)
    evaluation = evaluation_of(mistakes(2), unknown={"1.png"})
    first, second = worst_mistakes(evaluation, network.heat_maps, lambda index: image_of(index, channels))
    assert (first["path"], second["path"]) == ("1.png", "0.png")
    assert (first["true"], first["predicted"]) == ("bee", "ant")
    assert (first["true_score"], first["score"]) == (0.1, 0.51)
    assert (first["unknown"], second["unknown"]) == (True, False)
    for item in (first, second):
        assert [decode(uri).size for uri in (item["image"], *item["maps"])] == [(16, 16)] * 3
        assert len(item["maps"]) == 2
    assert first["image"] == data_uri(image_of(1, channels), 100)


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (12, 12), (13, 12)])
def test_worst_mistakes_are_at_most_twelve_and_no_other_image_is_loaded(count, shown):
    loaded = []

    def load(index: int) -> np.ndarray:
        loaded.append(index)
        return image_of(index)

    found = worst_mistakes(evaluation_of(mistakes(count)), network_for().heat_maps, load)
    assert len(found) == shown
    assert sorted(loaded) == list(range(count))[count - shown :]


def test_worst_mistakes_without_an_image_keep_their_text():
    found = worst_mistakes(
        evaluation_of(mistakes(3)), network_for().heat_maps, lambda index: None if index == 1 else image_of(index)
    )
    assert [(item["path"], bool(item["image"]), len(item["maps"])) for item in found] == [
        ("2.png", True, 2),
        ("1.png", False, 0),
        ("0.png", True, 2),
    ]
    (only,) = worst_mistakes(evaluation_of(mistakes(1)), network_for().heat_maps, lambda _: None)
    assert (only["image"], only["maps"]) == ("", [])


def test_worst_mistakes_of_a_network_without_heat_maps_keep_their_images():
    (found,) = worst_mistakes(evaluation_of(mistakes(1)), no_heat_maps, image_of)
    assert (found["image"], found["maps"]) == (data_uri(image_of(0), 160), [])


@pytest.mark.parametrize(("count", "shown"), [(23, 23), (25, 24)])
def test_probable_label_errors_are_at_most_24(count, shown):
    wrong = [(f"{number}.png", "bee", (0.9, 0.1)) for number in range(count)]
    found = most_suspicious(evaluation_of([*wrong, ("a.png", "ant", (0.8, 0.1))]), image_of)["mislabeled"]
    assert [item["picture"] for item in found] == [f"{number}.png" for number in range(shown)]
    assert found[1]["image"] == data_uri(image_of(1), 100)


def test_confusions_show_the_worst_mistake_beside_the_best_picture_of_the_other_class():
    names = ("ant", "bee", "cow")
    answers = [
        ("0", "ant", (0.3, 0.6, 0.1)),
        ("1", "ant", (0.2, 0.8, 0.1)),
        ("2", "ant", (0.9, 0.1, 0.1)),
        ("3", "bee", (0.1, 0.7, 0.1)),
        ("4", "bee", (0.1, 0.9, 0.1)),
        ("5", "bee", (0.1, 0.2, 0.6)),
    ]
    first, second = confusions(evaluation_of(answers, names), image_of)
    assert first == {
        "true": "ant",
        "predicted": "bee",
        "count": 2,
        "support": 3,
        "image": data_uri(image_of(1), 100),
        "typical": data_uri(image_of(4), 100),
    }
    assert (second["true"], second["predicted"], second["typical"]) == ("bee", "cow", "")
    assert confusions(evaluation_of([("0", "ant", (1, 0, 0))], names), image_of) == []


def picture(path: str, photo: str) -> Picture:
    name = path.split("/")[0]
    return Picture(class_name=name, source=path, photo=photo, path=path, status=KEPT, split=TRAIN)


def test_groups_of_the_same_photo_show_a_few_pictures_of_every_class():
    pictures = [
        *(picture(f"ant/{number}.png", "one") for number in range(5)),
        picture("bee/1.png", "one"),
        *(picture(f"bee/2{number}.png", "two") for number in range(2)),
        *(picture(f"bee/3{number}.png", "three") for number in range(3)),
        picture("bee/4.png", "four"),
    ]
    shown = []

    def pixels_of(found: Picture) -> np.ndarray:
        shown.append(found.path)
        return image_of(0)

    (mixed,) = in_several_classes(pictures, pixels_of)
    assert [(item["path"], item["true"]) for item in mixed["pictures"]] == [
        ("ant/0.png", "ant"),
        ("ant/1.png", "ant"),
        ("ant/2.png", "ant"),
        ("bee/1.png", "bee"),
    ]
    assert mixed["more"] == 2
    assert shown == [item["path"] for item in mixed["pictures"]]
    larger, smaller = duplicates(pictures, pixels_of)
    assert [item["path"] for item in larger["pictures"]] == ["bee/30.png", "bee/31.png", "bee/32.png"]
    assert [item["path"] for item in smaller["pictures"]] == ["bee/20.png", "bee/21.png"]
    assert (larger["more"], smaller["more"]) == (0, 0)


def test_groups_of_the_same_photo_are_at_most_twelve():
    pictures = [picture(f"{name}/{number}.png", f"{number}") for number in range(13) for name in ("ant", "bee")]
    assert len(in_several_classes(pictures, lambda _: image_of(0))) == 12
    assert duplicates(pictures, lambda _: image_of(0)) == []

"""Pictures beside their heat maps, each as a file."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from answers.output import Answer
from reports.explanations import Explanations, classes_to_show, draw
from system.errors import UserError
from tests.helpers.checkpoints import model_config
from tests.helpers.files import contents, needs_any_letter

CLASSES = ["ant", "bee", "cow"]


class Network:
    """A network whose heat map of the first class is red on the left, of the others on the right."""

    explains = True
    model_config = model_config(class_names=CLASSES)

    def heat_maps(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        assert len(images) == len(classes)
        return np.array([[[1.0, 0.0]] if label == 0 else [[0.0, 1.0]] for label in classes])


def answer_about(path: Path | str, *scores: float, unknown: bool = False) -> Answer:
    return Answer(path=path, predicted=int(np.argmax(scores)), scores=scores, unknown=unknown, image=gray())


def gray(height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    return np.full((height, width, channels), 128, np.uint8)


def redness(panel: np.ndarray) -> int:
    """Returns whether a panel is red on the left (1) or on the right (-1)."""
    left, right = (part[..., 0].mean() for part in np.array_split(panel.astype(int), 2, axis=1))
    return int(np.sign(left - right))


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ((0.6, 0.3, 0.0), [0, 1]),  # half of it
        ((0.6, 0.29, 0.29), [0]),
        ((0.3, 0.31, 0.32), [2, 1]),
        ((0.0, 0.0, 0.0), [0, 1]),
    ],
)
def test_classes_to_show_are_two_if_their_scores_are_close(scores, shown):
    assert classes_to_show(answer_about("1.png", *scores)) == shown


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((16, 32), (160, 320)),
        ((32, 16), (320, 160)),
        ((320, 16), (320, 16)),
        ((16, 330), (16, 330)),
        ((50, 33), (320, 211)),
    ],
)
def test_draw_magnifies_a_small_image_in_its_proportions(size, shown, channels):
    maps = {0: np.array([[1.0, 0.0]]), 1: np.array([[0.0, 1.0]])}
    drawn = draw(answer_about("1.png", 0.5, 0.5, 0.0), gray(*size, channels), maps, CLASSES)
    height, width = shown
    assert drawn.shape == (6 + height + 6 + 20, 6 + 3 * (width + 6), 3)
    panels = [drawn[6 : 6 + height, x : x + width] for x in (6 + number * (width + 6) for number in range(3))]
    assert (panels[0] == 128).all()
    assert [redness(panel) for panel in panels[1:]] == [1, -1]
    borders = np.concatenate([drawn[:6].ravel(), drawn[:, :6].ravel(), drawn[:, -6:].ravel()])
    assert (borders == 255).all()


def test_draw_tells_of_an_unknown_picture_in_red():
    def caption(*, unknown: bool) -> np.ndarray:
        drawn = draw(answer_about("1.png", 0.9, 0.0, 0.0, unknown=unknown), gray(), {0: np.eye(2)}, CLASSES)
        return drawn[326:, :320].astype(int)

    known, unknown = caption(unknown=False), caption(unknown=True)
    assert len(unknown) - len(known) == 20  # one line more
    assert (np.ptp(known, axis=2) == 0).all()
    assert (np.ptp(unknown, axis=2) > 100).any()


@needs_any_letter
def test_explanations_write_a_picture_with_one_or_two_maps_for_each(tmp_path):
    folder = tmp_path / "maps"
    explanations = Explanations(folder, Network())
    explanations.add(
        [
            answer_about(Path("a/x.png"), 0.9, 0.1, 0.0),
            answer_about(Path("b/x.jpg"), 0.1, 0.4, 0.3),
        ]
    )
    explanations.add([answer_about(folder / "東京.png", 0.0, 0.0, 0.9)])
    explanations.add([Answer(path="bad.png", error="is damaged")])
    shown = {path.name: np.asarray(Image.open(io.BytesIO(path.read_bytes()))) for path in folder.iterdir()}
    sizes = {name: image.shape for name, image in shown.items()}
    assert sizes == {"x.jpg": (352, 658, 3), "x (2).jpg": (352, 984, 3), "東京.jpg": (352, 658, 3)}
    assert redness(shown["x.jpg"][6:326, 332:652]) == 1
    for start in (332, 658):
        assert redness(shown["x (2).jpg"][6:326, start : start + 320]) == -1
    assert (
        explanations.files.describe("picture")
        == f"{folder}: 3 pictures added, 1 of them renamed, since their names were taken"
    )


def test_explanations_are_not_written_again_and_replace_nothing(tmp_path):
    answers = [answer_about("x.png", 0.9, 0.1, 0.0)]
    (tmp_path / "x.jpg").write_bytes(b"mine")
    for _ in range(2):
        Explanations(tmp_path, Network()).add(answers)
    assert contents(tmp_path).keys() == {"x.jpg", "x (2).jpg"}
    assert (tmp_path / "x.jpg").read_bytes() == b"mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_explanations_have_any_name_that_a_picture_can_have(tmp_path):
    names = ["x" * 251 + ".png", ".hidden.png", "no suffix", os.fsdecode(b"caf\xe9.png")]
    explanations = Explanations(tmp_path, Network())
    explanations.add([answer_about(Path(name), 0.9, 0.0, 0.0) for name in names])
    assert explanations.files.problems == []
    found = {os.fsencode(path.name) for path in tmp_path.iterdir()}
    assert found == {b"x" * 245 + b".jpg", b".hidden.jpg", b"no suffix.jpg", b"caf\xe9.jpg"}


def test_explanations_refuse_a_network_without_heat_maps_before_the_work(tmp_path):
    with pytest.raises(UserError, match=r"^--explain: this network has no heat maps"):
        Explanations(tmp_path / "maps", SimpleNamespace(explains=False))
    assert not list(tmp_path.iterdir())

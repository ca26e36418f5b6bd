"""The page of a report: complete, escaped, and without anything from elsewhere."""

import json
import os
import re

import numpy as np
import pytest

from answers.evaluation import Evaluation
from reports.contents import folder_contents
from reports.html import render
from tests.helpers.checkpoints import model_config
from tests.helpers.evaluations import evaluation_of
from tests.helpers.pages import Page
from tests.helpers.reports import contents_of, image_of, network_for, no_heat_maps

FOUR = [
    ("1.png", "ant", (0.9, 0.1)),
    ("2.png", "ant", (0.2, 0.8)),
    ("3.png", "bee", (0.1, 0.7)),
    ("4.png", "bee", (0.3, 0.6)),
]
SECTIONS = ["data", "labels", "training", "confusions", "classes", "mistakes", "calibration", "curves", "settings"]


def page_text(evaluation: Evaluation, *, channels: int = 3, galleries: dict | None = None, **options) -> str:
    network = network_for(evaluation.class_names, color_channels=channels)
    return render(
        contents_of(evaluation, **options),
        evaluation,
        network.heat_maps,
        lambda index: image_of(index, channels),
        **galleries or {},
    )


def page_of(evaluation: Evaluation, **options) -> Page:
    return Page(page_text(evaluation, **options))


def sections(page: Page) -> list[str]:
    """Returns the sections that the page has. Fails if it links to others."""
    ids = [attributes["id"] for attributes in page.all("section") if attributes["id"] != "summary"]
    assert [link for link in page.links() if link.startswith("#")] == [f"#{name}" for name in ids]
    return ids


def many(classes: int, *, wrong: int = 3) -> Evaluation:
    """Returns an evaluation with two pictures of each class, of which the first few are taken for the last class."""
    names = [f"class {number:03d}" for number in range(classes)]
    scores = np.full((classes, classes), 0.01) + 0.9 * np.eye(classes)
    answers = []
    for number, name in enumerate(names):
        answers.append((f"{name}/a.png", name, scores[-1 if number < wrong else number]))
        answers.append((f"{name}/b.png", name, scores[number]))
    return evaluation_of(answers, names)


def test_page_of_a_run_has_every_section_and_its_figures():
    evaluation = evaluation_of(FOUR, unknown={"4.png"})
    page = page_of(evaluation, epochs=3, learning_rate=0.5)
    assert sections(page) == SECTIONS
    text = page.text
    assert "ant or bee" in text
    assert "75.0 % 3 of 4 correct; 95 % interval 30.1 % to 95.4 %" in text
    assert "Called unknown 25.0 % 1 of 4 pictures" in text
    assert "1 of the 4 validation pictures looks more like another class" in text
    assert "labeled ant 0.200 looks like bee 0.800 2.png" in text
    assert "is ant 0.200, predicted bee 0.800 2.png" in text
    assert "python trainer.py --learning_rate 0.5" in text
    assert "The only mistake." in text
    assert "Only the validation pictures were checked" in text
    assert "1 may show none" in text
    assert len(page.images()) == 2 + 3  # the label error, the unknown one, and the mistake with two maps
    assert len([name for name, _ in page.tags if name == "figure"]) == 5 + 3 + 1 + 2  # pictures and charts


def test_page_marks_the_settings_that_differ_from_their_defaults():
    page = page_of(evaluation_of(FOUR), epochs=1, learning_rate=0.5, seed=2)
    assert sum(attributes.get("class") == "changed" for attributes in page.all("tr")) == 2
    assert "learning_rate 0.5 0.001 Step size of the Adam optimizer." in page.text
    plain = page_of(evaluation_of(FOUR))
    assert "All settings have their default." in plain.text
    assert "learning_rate 0.001 Step size" in plain.text


def test_page_refers_to_nothing_outside():
    text = page_text(many(21))
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in Page(text).links())
    without_images = re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    for reference in ("http", "//", "url(", "@import", "<script", "<link", "javascript:"):
        assert reference not in without_images


NASTY = ["<script>alert(1)<", "a & b", "c\"'><img src=x onerror=alert(1)>", "d\x1b[31m\n\u202e", "e{{ 7 * 7 }}"]


def test_page_escapes_the_names_of_classes_and_files():
    answers = [(f"{name}/{name}.png", name, np.roll([0.9, 0.1, 0.1, 0.1, 0.1], k)) for k, name in enumerate(NASTY)]
    answers.append((f"{NASTY[0]}/<b>.png", NASTY[0], [0.1, 0.8, 0.1, 0.1, 0.1]))
    text = page_text(evaluation_of(answers, NASTY))
    page = Page(text)
    assert not page.all("script")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(src.startswith("data:image/webp;base64,") for src in page.images())
    for name in (
        "<script>alert(1)<",
        "a & b",
        "c\"'><img src=x onerror=alert(1)>",
        r"d\x1b[31m\n\u202e",
        "e{{ 7 * 7 }}",
    ):
        assert name in page.text
    assert "<script>alert(1)</<b>.png" in page.text
    assert "\x1b" not in text and "\u202e" not in text


def test_page_can_be_encoded_if_names_have_bytes_that_are_not_utf8():
    name = os.fsdecode(b"a\xffnt") if os.name != "nt" else "a\udcffnt"
    answers = [(f"{name}/\udcfe.png", name, (0.2, 0.8)), ("bee/1.png", "bee", (0.1, 0.9))]
    text = page_text(evaluation_of(answers, [name, "bee"])).encode().decode()
    assert r"a\udcffnt/\udcfe.png" in Page(text).text


def test_page_has_the_whole_matrix_of_up_to_20_classes():
    page = page_of(many(20))
    tables = [attributes.get("class") for attributes in page.all("table")]
    assert "matrix" in tables
    assert "most frequent confusions" not in page.text
    assert len(page.all("details")) == 0


def test_page_of_more_classes_has_confusions_as_pairs_of_pictures():
    page = page_of(many(21))
    assert "matrix" not in [attributes.get("class") for attributes in page.all("table")]
    assert "most frequent confusions" in page.text
    assert "1 of 2 class 000 predicted as class 020" in page.text
    assert "The 20 classes of lowest recall: class pictures" in page.text
    assert len(page.all("details")) == 2  # all classes, of the pictures and of the metrics


def test_page_of_150_classes_is_small_and_shows_the_worst_first():
    evaluation = many(150, wrong=100)
    text = page_text(evaluation)
    assert len(text) < 500_000
    page = Page(text)
    assert sections(page) == SECTIONS
    assert "A network for 150 classes" in page.text
    rows = page.text.partition("The 20 classes of lowest recall:")[2]
    assert re.findall(r"class (\d{3})", rows)[:20] == [f"{number:03d}" for number in range(20)]
    assert "These are the 10 of 150 classes with the lowest average precision." in page.text
    assert "The 12 of 100 mistakes with the highest score." in page.text
    assert "100 of the 300 validation pictures look more like another class" in page.text
    assert "these are the 24 most probable" in page.text
    assert "So many are rather mistakes of the network" in page.text


def test_page_without_any_mistake_says_so():
    page = page_of(evaluation_of([answer for answer in FOUR if answer[0] != "2.png"]))
    assert "None: every picture is predicted correctly." in page.text
    assert sections(page) == [name for name in SECTIONS if name != "labels"]
    assert page.images() == []
    large = page_of(many(21, wrong=0))
    assert "No picture is predicted wrongly." in large.text


def test_page_of_one_epoch_and_gray_pictures():
    page = page_of(evaluation_of(FOUR), epochs=1, channels=1)
    assert sections(page) == SECTIONS
    assert len(page.images()) == 4
    assert "in 1 epochs" not in page.text
    assert "in 1 epoch," in page.text


def test_page_of_pictures_that_are_all_unknown_and_of_a_class_without_any():
    answers = [(path, true, (*scores, 0.05)) for path, true, scores in FOUR]
    evaluation = evaluation_of(answers, ("ant", "bee", "wasp"), unknown={path for path, *_ in FOUR})
    text = page_of(evaluation).text
    assert "Called unknown 100.0 % 4 of 4 pictures" in text
    assert "wasp 0 – – – –" in text
    assert "predicted bee 0.800, called unknown" in text


def test_page_says_if_the_best_weights_are_lost():
    evaluation = evaluation_of(FOUR)
    contents = {**contents_of(evaluation), "best_epoch": 2}
    text = Page(render(contents, evaluation, network_for().heat_maps, image_of)).text
    assert "Epoch 3 of 3; the weights of the best one, 2, are lost" in text


def test_page_shows_duplicates_and_photos_in_several_classes():
    image = "data:image/webp;base64,AAAA"
    pair = [{"path": "ant/1.png", "true": "ant", "image": image}, {"path": "bee/1.png", "true": "bee", "image": image}]
    evaluation = evaluation_of([answer for answer in FOUR if answer[0] != "2.png"])
    contents = contents_of(evaluation)
    contents["data"] |= {"repeated_photos": 13, "in_several_classes": [["ant/1.png", "bee/1.png"]] * 2}
    groups = {"duplicates": [{"pictures": pair, "more": 3}], "mixed": [{"pictures": pair, "more": 0}] * 2}
    page = Page(render(contents, evaluation, network_for().heat_maps, image_of, **groups))
    assert "13 photos are there several times in their class; these are 1 of them." in page.text
    assert "ant/1.png bee/1.png and 3 more" in page.text
    assert "2 photos are in the folders of several classes" in page.text
    assert page.images() == [image] * 6
    assert "labels" in sections(page)


def test_page_of_a_folder_has_no_training():
    evaluation = evaluation_of(FOUR)
    contents = folder_contents(
        evaluation,
        model_config(),
        command="python predict.py --evaluate new",
        device="CPU",
        unreadable=[("ant/bad <i>.png", "the file is empty")],
        notes={},
    )
    page = Page(render(contents, evaluation, network_for().heat_maps, lambda _: None))
    assert sections(page) == [name for name in SECTIONS if name != "training"]
    assert "Tested on 4 pictures: python predict.py --evaluate new" in page.text
    assert "If the network was trained on some of these pictures, all figures are too good." in page.text
    assert "1 skipped: the file is empty ant/bad <i>.png" in page.text
    assert "cannot be read any more" in page.text
    assert "validation pictures" not in page.text.replace("fitted on the validation pictures of the training", "")
    contents["data"]["unused"] = []
    assert "data" not in sections(Page(render(contents, evaluation, network_for().heat_maps, image_of)))


@pytest.mark.parametrize("explains", [True, False])
def test_page_speaks_of_heat_maps_only_if_the_network_has_them(explains):
    evaluation = evaluation_of(FOUR)
    heat_maps = network_for().heat_maps if explains else no_heat_maps
    page = Page(render(contents_of(evaluation), evaluation, heat_maps, image_of))
    assert ("Grad-CAM" in page.text) == explains
    assert "mistakes" in sections(page)


def test_page_is_the_same_if_it_is_made_again_from_the_json_file():
    evaluation = evaluation_of(FOUR)
    heat_maps = network_for().heat_maps
    contents = contents_of(evaluation)
    again = json.loads(json.dumps(contents))
    assert render(again, evaluation, heat_maps, image_of) == render(contents, evaluation, heat_maps, image_of)

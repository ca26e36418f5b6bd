"""What a user sees in TensorBoard after a run, tab by tab, in a real browser."""

import re

import pytest

from reports.sheets import WIDTH
from tests.helpers.browser import NO_PLAYWRIGHT, Watched
from tests.helpers.pictures import PUZZLING_CLASSES
from tests.helpers.processes import wait_until
from tests.helpers.runs import history
from tests.helpers.tensorboard import Board, serving, tabs_of

expect = pytest.importorskip("playwright.sync_api", reason=NO_PLAYWRIGHT).expect

SIZE = {"width": 1400, "height": 6000}  # high enough to show all cards, since those out of sight are not drawn
TABS = [
    *("Time Series", "scalars", "Custom Scalars", "images", "graphs", "distributions", "histograms", "text"),
    *("PR Curves", "hparams", "projector"),
]
SCALARS = [
    *("accuracy", "accuracy/best", "cost", "images_per_second", "learning_rate"),
    *("recall/best", "recall/mean", "recall/worst", "unknown"),
]
IMAGES = [f"pictures/{name}" for name in ("confusion", "duplicates", "label errors", "mistakes", "training")]
LAYERS = ["conv_1", "conv_2", "conv_3", "fully_connected_1", "logits"]
HISTOGRAMS = ["scores of the true class", *(f"weights/{layer}" for layer in LAYERS)]
# From the bottom to the top: the parts of the network, and the dimensions of what is passed between them.
GRAPH = [
    *("input", "32x32x3", "block_1", "16x16x16", "block_2", "8x8x32", "block_3", "4x4x64", "fully_connected"),
    *("2", "magnitudes"),
]
TITLES_UPWARDS = """labels => labels
    .map(label => [-label.getBoundingClientRect().y, label.querySelector("title").textContent])
    .sort((one, other) => one[0] - other[0])
    .map(([_, title]) => title)"""


@pytest.fixture(scope="module")
def board(browser, puzzled, tmp_path_factory):
    """Returns TensorBoard in a browser, when it knows all tabs of the run."""
    with serving(puzzled, log=tmp_path_factory.mktemp("board") / "log") as served:
        wait_until(lambda: tabs_of(served)["projector"], served.process)  # a thread looks for its files
        yield Board(Watched(browser, served.url, viewport=SIZE), served.url)


@pytest.fixture(autouse=True)
def nothing_else_happens(board):
    """Fails a test that causes an error, a dialog or a request to another server."""
    yield
    assert board.watched.problems == []


def test_tabs_for_all_that_a_run_writes_are_active(board):
    expect(board.page.locator("plugin-selector .plugin-name:visible")).to_have_text(TABS)


def test_time_series_has_a_card_for_each_tag(board):
    tab = board.open("timeseries")
    titles = tab.locator("card-view tb-truncated-path")
    expect(titles).to_have_count(len(SCALARS + IMAGES + HISTOGRAMS))
    assert [title.get_attribute("title") for title in titles.all()] == sorted(SCALARS + IMAGES + HISTOGRAMS)


def test_time_series_has_both_curves_and_their_last_values(board, puzzled):
    last = history(puzzled)[-1]
    card = board.open("timeseries").locator("card-view").first
    expect(card.locator("tb-data-table-content-row")).to_have_text(
        [
            re.compile(rf"train .*\b{last['accuracy']:.4g}\s+4\b"),
            re.compile(rf"validation .*\b{last['val_accuracy']:.4g}\s+4\b"),
        ]
    )


def test_scalars_say_what_they_mean(board):
    tab = board.open("scalars")
    expect(tab.locator("[itemprop=tag]")).to_have_text(SCALARS)
    assert [len(text) > 20 for text in board.descriptions(tab)] == [True] * len(SCALARS)
    tab.locator("[title='Show summary description']").first.click()
    expect(tab.get_by_text("One step is one epoch.").first).to_be_visible()


def test_custom_scalars_show_train_and_validation_in_one_chart(board):
    cards = board.open("custom_scalars").locator("tf-card-heading")
    expect(cards.locator(".heading-label.name")).to_have_text(
        ["accuracy", "cost", "recall of the classes: mean, and from the worst to the best"]
    )


def test_images_are_as_large_as_they_are_shown(board):
    tab = board.open("images")
    expect(tab.locator("[itemprop=tag]")).to_have_text(IMAGES)
    assert [len(text) > 20 for text in board.descriptions(tab)] == [True] * len(IMAGES)
    images = tab.locator("tf-image-loader img")
    expect(images).to_have_count(len(IMAGES))
    for image in images.all():
        width = image.evaluate("image => image.decode().then(() => image.naturalWidth)")
        assert image.bounding_box()["width"] == width == WIDTH


def test_graph_reads_from_the_input_to_the_magnitudes(board):
    scene = board.open("graphs").locator("tf-graph-scene")
    labels = scene.locator(".nodelabel")
    expect(labels).to_have_count(len(GRAPH))
    scene.locator("[data-name=input] > .nodeshape").hover()  # when it has stopped moving
    assert labels.evaluate_all(TITLES_UPWARDS) == GRAPH  # all at once, should it move nevertheless


def test_block_of_the_graph_opens_into_its_layers(board):
    scene = board.open("graphs").locator("tf-graph-scene")
    scene.locator("[data-name=block_1] > .nodeshape").dblclick()
    for layer in ("conv_1", "pooling_1", "activation_1"):
        expect(scene.locator(f"[data-name='block_1/{layer}'] > .nodelabel")).to_contain_text(layer)


@pytest.mark.parametrize("name", ["histograms", "distributions"])
def test_histograms_are_of_scores_and_layers(board, name):
    expect(board.open(name).locator("[itemprop=tag]")).to_have_text(HISTOGRAMS)


def test_pr_curves_are_of_each_class(board):
    tab = board.open("pr_curves")
    titles = [f"precision and recall/{name}" for name in PUZZLING_CLASSES]
    expect(tab.locator("[itemprop=name]")).to_have_text(titles)
    assert [len(text) > 20 for text in board.descriptions(tab)] == [True] * len(PUZZLING_CLASSES)


def test_hparams_compare_settings_and_results(board, puzzled):
    epochs = history(puzzled)
    cells = board.open("hparams").locator("tf-hparams-table-view vaadin-grid-cell-content:visible")
    for title in ("learning_rate", "batch_size", "best validation accuracy", "last validation accuracy"):
        expect(cells.filter(has_text=re.compile(rf"^\s*{title}\s*$"))).to_have_count(1)
    expect(cells.filter(has_text="0.0010000")).to_have_count(1)
    best = max(epoch["val_accuracy"] for epoch in epochs)
    for value in (best, epochs[-1]["val_accuracy"]):
        assert cells.filter(has_text=f"{value:.5f}"[:7]).count() >= 1


def test_projector_has_a_point_for_each_validation_picture(board):
    projector = board.open("projector")
    expect(projector.locator("vz-projector").get_by_text("Points: 20")).to_be_visible()
    projector.locator("vz-projector-inspector-panel input").first.fill("img")
    expect(projector.locator("vz-projector-inspector-panel .matches-list .row")).to_have_count(10)


def test_text_names_classes_as_their_folders(board):
    tab = board.open("text")
    expect(tab.locator("[itemprop=tag]")).to_have_text(["data", "settings", "versions"])
    table = tab.locator("tf-text-loader").first.locator("table").first
    expect(table.locator("td:nth-child(2)")).to_have_text(list(PUZZLING_CLASSES))


def test_text_lists_settings_and_the_command(board):
    settings = board.open("text").locator("tf-text-loader").nth(1)
    row = settings.locator("tr", has=board.page.locator("td", has_text=re.compile("^height$")))
    expect(row.locator("td")).to_have_text(["height", "32", "100"])
    expect(settings).to_contain_text("python trainer.py")

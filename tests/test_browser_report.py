"""What a user sees in report.html after a run, in a real browser."""

import shutil

import pytest

from tests.helpers.browser import NO_PLAYWRIGHT, Watched
from tests.helpers.pictures import PUZZLING_CLASSES
from tests.helpers.runs import history

expect = pytest.importorskip("playwright.sync_api", reason=NO_PLAYWRIGHT).expect

SECTIONS = [
    *("Pictures", "Probable label errors", "Training", "Confusions", "Classes", "Worst mistakes", "Calibration"),
    *("Precision and recall", "Settings"),
]
# The lowest contrast of a text to what is behind it, as WCAG 2.2 computes it, and that text.
LOWEST_CONTRAST = """() => {
    const rgba = color => {
        const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true})
        context.fillStyle = color
        context.fillRect(0, 0, 1, 1)
        return [...context.getImageData(0, 0, 1, 1).data]
    }
    const luminance = color => color.slice(0, 3)
        .map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0)
    const behind = element => {
        if (!element) return [255, 255, 255, 255]
        const color = rgba(getComputedStyle(element).backgroundColor)
        return color[3] === 255 ? color : behind(element.parentElement)
    }
    let lowest = [21, ""]
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue
        const style = getComputedStyle(element)
        const text = element instanceof SVGElement ? style.fill : style.color
        const [dark, light] = [rgba(text), behind(element)].map(luminance).sort((a, b) => a - b)
        const contrast = (light + 0.05) / (dark + 0.05)
        if (contrast < lowest[0]) lowest = [contrast, texts.currentNode.data.trim()]
    }
    return lowest
}"""


@pytest.fixture(scope="module")
def watched(browser, puzzled, tmp_path_factory):
    """Returns the report, opened in a folder where there is nothing else."""
    copy = tmp_path_factory.mktemp("mailed") / "report.html"
    shutil.copy(puzzled / copy.name, copy)
    return Watched(browser, copy.as_uri())


@pytest.fixture
def page(watched):
    """Returns the page. Fails a test that causes an error, a dialog or a request for another file."""
    yield watched.page
    assert watched.problems == []


def test_sections_are_there_and_links_lead_to_them(page):
    expect(page.locator("h2")).to_have_text(SECTIONS)
    links = page.locator("nav a")
    expect(links).to_have_text(SECTIONS)
    for link in links.all():
        link.click()
        expect(page.locator(link.get_attribute("href"))).to_be_in_viewport()


def test_pictures_are_in_the_file(page):
    images = page.locator("img")
    assert images.count() > 10
    for image in images.all():
        assert image.get_attribute("src").startswith("data:image/")
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") >= 32
        assert image.get_attribute("alt")


def test_accuracy_is_the_one_of_the_best_epoch(page, puzzled):
    best = max(epoch["val_accuracy"] for epoch in history(puzzled))
    expect(page.locator("#summary")).to_contain_text(f"{100 * best:.1f} %")


def test_names_that_users_chose_are_text_only(page):
    for section in ("#data", "#classes", "#confusions"):
        expect(page.locator(section).locator("tbody th.name")).to_have_text(list(PUZZLING_CLASSES))
    expect(page.locator("img[src=x]")).to_have_count(0)


def test_files_that_were_not_used_are_named_with_the_reason(page):
    row = page.locator("#data tr", has_text="damaged.jpg")
    expect(row).to_contain_text("skipped")
    expect(page.locator("#data")).to_contain_text("again.png")


def test_mistakes_have_heat_maps_and_paths(page):
    cards = page.locator("#mistakes .card")
    assert cards.count() > 0
    for card in cards.all():
        expect(card.locator("img")).to_have_count(3)
        expect(card.locator(".path")).to_contain_text("|*<b>.png")


def test_command_repeats_the_run(page):
    expect(page.locator("#settings pre")).to_contain_text("python trainer.py")
    expect(page.locator("#settings pre")).to_contain_text("--epochs 4")


@pytest.mark.parametrize("width", [390, 1280])
def test_page_is_not_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(page, scheme):
    page.emulate_media(color_scheme=scheme)
    contrast, text = page.evaluate(LOWEST_CONTRAST)
    assert contrast >= 4.5, text


def test_page_is_dark_if_the_system_is(page):
    brightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = max(map(int, color.strip("rgba()").split(",")[:3]))
    assert brightness["dark"] < 64 < 192 < brightness["light"]

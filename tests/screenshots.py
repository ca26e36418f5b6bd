"""Makes the pictures in README.md and docs/ of what a run shows in a browser.

    python trainer.py && python -m tests.screenshots

It is one of the tests' programs and no benchmark, since it needs their browser and knows the pages as they do.
"""

import html
import io
import json
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator

from config import CheckpointConfig
from tests.helpers.browser import Watched, find_browser, open_browser
from tests.helpers.pictures import ROOT
from tests.helpers.processes import wait_until
from tests.helpers.tensorboard import Board, Served, serving, tabs_of

PINNED = ("accuracy", "cost")
IMAGES = "confusion|mistakes|training"
STYLE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #14181f }
main { display: grid; grid-template-columns: 60px auto; gap: 6px 18px; align-items: center; padding: 6px 14px;
       width: max-content; background: #14181f; color: #e6e6e6; font: 17px monospace }
b { grid-column: 1 / 3; color: #8fd694; font-weight: normal }
img { max-width: 58px; max-height: 58px; justify-self: center }
pre { margin: 0; font: inherit }
</style>"""  # of the picture of predictions
MARGIN = 8  # pixels around a picture
SETTLE = 1500  # milliseconds until charts and graphs have stopped moving


def main() -> None:
    run = Path(CheckpointConfig().model_save_name).absolute()
    with (
        open_browser(find_browser()) as browser,
        tempfile.TemporaryDirectory() as folder,
        serving(run, log=Path(folder) / "log") as served,
    ):
        wait_until(lambda: tabs_of(served)["projector"], served.process)
        pictures = [
            ("report", report_picture(browser, run)),
            ("predictions", predictions_picture(browser, run, folder)),
        ]
        for name, image in [*tensorboard_pictures(browser, served), *pictures]:
            path = ROOT / "docs" / f"{name}.png"
            # A palette makes the file a third as large, and nobody sees it.
            image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
            print(f"{path.relative_to(ROOT)}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


def tensorboard_pictures(browser: Browser, served: Served) -> Iterator[tuple[str, Image.Image]]:
    """Yields the name and the picture of each tab that the documents show."""
    pinned = json.dumps([{"plugin": "scalars", "tag": tag} for tag in PINNED])
    query = urllib.parse.urlencode({"smoothing": 0, "pinnedCards": pinned, "runColorGroup": "regex:(train|validation)"})
    watched = Watched(browser, f"{served.url}/?{query}#timeseries", viewport={"width": 1150, "height": 900})
    page = watched.page
    page.get_by_role("button", name="Settings").first.click()  # closes them
    yield "tensorboard-time-series", picture_of(page.locator("metrics-pinned-view card-view"))

    board = Board(Watched(browser, served.url, viewport={"width": 1500, "height": 2000}), served.url)
    images = board.open("images")
    images.locator("tf-tag-filterer input").fill(IMAGES)
    found = images.locator("tf-category-paginated-view").first  # before the groups
    yield "tensorboard-images", picture_of(found.locator("tf-image-loader"))
    board.page.set_viewport_size({"width": 1100, "height": 900})
    yield "tensorboard-graph", picture_of(board.open("graphs").locator("tf-graph-scene #root"))


def report_picture(browser: Browser, run: Path) -> Image.Image:
    """Returns the report, up to the curves of the training."""
    page = Watched(browser, (run / "report.html").as_uri(), viewport={"width": 1100, "height": 2000}).page
    return picture_of(page.locator("header, #training"))


def predictions_picture(browser: Browser, run: Path, folder: str) -> Image.Image:
    """Returns what predict.py says about the drawings that the network has not seen, each line beside its drawing."""
    command = ["predict.py", "samples/unseen"]
    asked = [sys.executable, *command, "--model_save_name", str(run)]
    answers = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    drawings = [(ROOT / line.split("  ")[0]).as_uri() for line in answers]
    rows = [f'<img src="{uri}"><pre>{html.escape(line)}</pre>' for uri, line in zip(drawings, answers, strict=True)]
    page = Path(folder, "predictions.html")
    page.write_text(f"{STYLE}<main><b>$ python {' '.join(command)}</b>{''.join(rows)}</main>", encoding="utf-8")
    return picture_of(Watched(browser, page.as_uri(), viewport={"width": 900, "height": 800}).page.locator("main"))


def picture_of(elements: Locator) -> Image.Image:
    """Returns the part of the window that elements occupy."""
    elements.first.wait_for()
    elements.page.wait_for_timeout(SETTLE)
    boxes = [element.bounding_box() for element in elements.all()]
    left, top = (max(0, min(box[key] for box in boxes) - MARGIN) for key in "xy")
    right, bottom = (
        max(box[key] + box[size] for box in boxes) + MARGIN for key, size in (("x", "width"), ("y", "height"))
    )
    window = Image.open(io.BytesIO(elements.page.screenshot())).convert("RGB")
    return window.crop((round(left), round(top), min(round(right), window.width), min(round(bottom), window.height)))


if __name__ == "__main__":
    main()

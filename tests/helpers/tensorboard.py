"""TensorBoard as a process, for the tests that look at what it shows."""

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tests.helpers.browser import Watched
from tests.helpers.pictures import ROOT
from tests.helpers.processes import running, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Locator

TENSORBOARD = (Path(sys.executable).with_name("tensorboard"),)  # as a user starts it


class Served(NamedTuple):
    """A TensorBoard that has found its runs."""

    url: str
    process: subprocess.Popen

    def get(self, page: str) -> bytes:
        with urllib.request.urlopen(self.url + page) as response:
            return response.read()

    def json(self, page: str):
        return json.loads(self.get(page))

    def runs(self) -> list[str]:
        """Returns the runs that it has found so far; none while it is starting."""
        try:
            return sorted(self.json("/data/runs"))
        except urllib.error.URLError:
            return []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def serving(logdir: Path, *, log: Path, command: Sequence[object] = TENSORBOARD, runs: int = 2) -> Iterator[Served]:
    """Starts TensorBoard on a free port, and returns when it has found this number of runs.

    Its output is written to the file `log`. It ends with the block.
    """
    port = free_port()
    options = ["--logdir", logdir, "--host", "127.0.0.1", "--port", port]
    with log.open("wb") as output, running(*command, *options, cwd=ROOT, stdout=output, stderr=output) as process:
        served = Served(f"http://127.0.0.1:{port}", process)
        wait_until(lambda: len(served.runs()) == runs, process)
        yield served


def tabs_of(served: Served) -> dict[str, bool]:
    """Returns for each plugin whether its tab is active."""
    return {name: plugin["enabled"] for name, plugin in served.json("/data/plugins_listing").items()}


class Board:
    """The page of TensorBoard in a browser."""

    # The element of each tab.
    _ELEMENTS: ClassVar = {
        "timeseries": "metrics-dashboard",
        "scalars": "tf-scalar-dashboard",
        "custom_scalars": "tf-custom-scalar-dashboard",
        "images": "tf-image-dashboard",
        "graphs": "tf-graph-dashboard",
        "histograms": "tf-histogram-dashboard",
        "distributions": "tf-distribution-dashboard",
        "pr_curves": "tf-pr-curve-dashboard",
        "hparams": "tf-hparams-dashboard",
        "text": "tf-text-dashboard",
    }
    # Groups of cards, and those that are folded, which are all but the first two: in Time Series, and elsewhere.
    _GROUPS = "button.group-toolbar, button.heading"
    _FOLDED = "button.group-toolbar:has([svgicon^=expand_more]), button.heading:not([open-button])"

    def __init__(self, watched: Watched, url: str) -> None:
        self.watched = watched
        self.page = watched.page
        self._url = url

    def open(self, tab: str) -> "Locator":
        """Opens a tab and all groups in it; returns its content."""
        self.page.goto(f"{self._url}/#{tab}")
        if tab == "projector":
            return self.page.frame_locator("iframe").frame_locator("iframe").locator("body")
        content = self.page.locator(self._ELEMENTS[tab])
        content.wait_for()
        if tab not in ("graphs", "hparams"):
            content.locator(self._GROUPS).first.wait_for()
            while (folded := content.locator(self._FOLDED)).count():
                folded.first.click()
        return content

    @staticmethod
    def descriptions(content: "Locator") -> list[str]:
        """Returns the text behind the (i) of each card of a tab."""
        return content.locator("#descriptionDialog").all_text_contents()

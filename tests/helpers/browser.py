"""A browser that opens TensorBoard and report.html as a user does.

Playwright drives the Chromium of the system and downloads nothing. Selenium was considered: it is smaller, but the
charts of TensorBoard lie in dozens of nested shadow roots, which only Playwright's selectors look into.
"""

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
OPTIONS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SECONDS = 30  # until something has to be shown; generous, since slow machines are tested too
NO_PLAYWRIGHT = "no Playwright; run pip install -r requirements-test.txt"
NO_BROWSER = "no browser; install Chromium (Debian: apt-get install chromium)"


def find_browser() -> str:
    """Returns the path of the Chromium of the system. Skips the test if it or Playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason=NO_PLAYWRIGHT)
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(NO_BROWSER)
    return path


@contextlib.contextmanager
def open_browser(path: str) -> Iterator["Browser"]:
    """Starts a browser without a window, also for root."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * SECONDS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(OPTIONS), chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A new page, with what it should not do: errors, dialogs, and requests to other addresses than its own."""

    def __init__(self, browser: "Browser", address: str, **options: Any) -> None:
        site = address.partition("?")[0].rstrip("/")
        self.problems: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.on("console", lambda message: self._add(message.type == "error", f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self._add(True, f"error: {error}"))
        self.page.on("response", lambda response: self._add(response.status >= 400, f"missing: {response.url}"))
        self.page.on("request", lambda request: self._add(not _is_own(request.url, site), f"request: {request.url}"))
        self.page.on("dialog", self._dismiss)
        self.page.goto(address)

    def _add(self, is_problem: bool, text: str) -> None:
        if is_problem:
            self.problems.append(text)

    def _dismiss(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def _is_own(url: str, site: str) -> bool:
    return url.startswith((site, "data:", "blob:"))

"""The helper sees what a page should not do."""

from tests.helpers.browser import Watched

PAGE = """<!DOCTYPE html>
<title>faults</title>
<script src="missing.js"></script>
<script>alert("dialog")</script>
<script>console.error("message")</script>
<script>undefined.name</script>
"""


def test_watched_page_reports_errors_dialogs_and_requests(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    watched = Watched(browser, path.as_uri())
    assert watched.page.title() == "faults"
    assert {problem.partition(":")[0] for problem in watched.problems} == {"request", "dialog", "console", "error"}
    assert f"request: {(tmp_path / 'missing.js').as_uri()}" in watched.problems
    assert "dialog: dialog" in watched.problems
    assert "console: message" in watched.problems


def test_watched_page_without_faults_has_no_problems(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<!DOCTYPE html><title>fine</title><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    assert Watched(browser, path.as_uri()).problems == []

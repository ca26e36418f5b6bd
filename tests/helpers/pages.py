"""Reading a page of HTML, for the tests of reports."""

import re
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "line", "circle", "polyline", "polygon"}  # elements that have no end tag


class Page(HTMLParser):
    """The elements and the text of a page. Raises AssertionError if its tags are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str]]:
        """Returns the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def images(self) -> list[str]:
        return [attributes["src"] for attributes in self.all("img")]

    def links(self) -> list[str]:
        """Returns all that the page refers to."""
        names = ("src", "href", "srcset", "action", "data", "xlink:href")
        return [attributes[name] for _, attributes in self.tags for name in names if name in attributes]

"""Pages that are one HTML file: their outline, the data in them, and whether their policy names what stands in them."""

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from typing import Any, Final

_SHOWN_AS_JSON: Final = "application/json"


class Outline(HTMLParser):
    """The tags of a page, what it refers to, its policy, and its scripts and styles by their kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.inline_styles = 0
        self.policy = ""
        self.inside: list[tuple[str, str]] = []
        self._kind: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        self.references += [
            value for name in ("src", "href", "action", "data") if (value := given.get(name)) and value[0] != "#"
        ]
        self.inline_styles += "style" in given
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        self._kind = given.get("type") or tag if tag in ("script", "style") else None

    def handle_data(self, data: str) -> None:
        if self._kind is not None:
            self.inside.append((self._kind, data))
            self._kind = None


def data_of(text: str, name: str) -> Any:
    """Return what a data block of a page holds."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


def acting(outline: Outline) -> list[tuple[str, str]]:
    """Return the kind and text of each script and style, data aside."""
    return [(kind, text) for kind, text in outline.inside if kind != _SHOWN_AS_JSON]


def unnamed(outline: Outline) -> list[str]:
    """Return the kinds of the scripts and styles that the page's policy does not name by their hash."""
    found = []
    for kind, text in acting(outline):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rule = re.search("style-src ([^;]*)" if kind == "style" else "script-src ([^;]*)", outline.policy)
        if rule is None or f"'sha256-{digest}'" not in rule[1]:
            found.append(kind)
    return found

"""The files that a page needs beside its HTML: served one by one, or written into the page."""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOLDER: Final = Path(__file__).parent / "static"
_IMPORT: Final = re.compile(r'^import \{ ?[\w$, ]+ ?\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    name: str
    content: bytes
    content_type: str

    @property
    def address(self) -> str:
        """Return its address, which changes with its content: a browser may keep it for ever."""
        return f"/static/{hashlib.sha256(self.content).hexdigest()[:16]}/{self.name}"


@cache
def assets() -> dict[str, Asset]:
    """Return every file by its name."""
    found = sorted(path for path in _FOLDER.iterdir() if path.suffix in CONTENT_TYPES)
    return {path.name: Asset(path.name, path.read_bytes(), CONTENT_TYPES[path.suffix]) for path in found}


def asset_address(name: str) -> str:
    """Return the address at which a server offers a file."""
    return assets()[name].address


def asset_text(name: str) -> str:
    """Return a file's text."""
    return assets()[name].content.decode()


def joined_modules(name: str) -> str:
    """Return a module and all that it imports as the text of one module, which imports nothing.

    Modules import named things only, one line each, and no two have a name at their top in common: a test holds both.
    """
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", asset_text(each))) for each in modules_of(name))


def modules_of(name: str) -> list[str]:
    """Return a module and all that it imports, each behind what it imports itself."""
    order: list[str] = []

    def visit(module: str) -> None:
        for imported in _IMPORT.findall(asset_text(module)):
            visit(imported)
        if module not in order:
            order.append(module)

    visit(name)
    return order


def content_hash(text: str) -> str:
    """Return how a Content-Security-Policy names a script or style within a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"

"""axe-core, which finds what keeps people with other eyes and hands from using a page.

It is the file of the npm package, unchanged; `axe/vendored.json` says which, and its checksum.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

from tests.support.browser import Page

AXE: Final = Path(__file__).parent / "axe"
GRAVE: Final = ("serious", "critical")
_RUN: Final = """axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.map(
    each => [each.impact, each.id, each.help, each.nodes.slice(0, 5).map(node => node.html.slice(0, 160))]))"""


def checked_axe() -> str:
    """Return axe-core's script, after its files were compared with their checksums."""
    known = json.loads((AXE / "vendored.json").read_text())["sha256"]
    found = {name: hashlib.sha256((AXE / name).read_bytes()).hexdigest() for name in known}
    assert found == known, "a file of axe-core is not the one that was checked"
    return (AXE / "axe.min.js").read_text()


def violations(page: Page) -> list[str]:
    """Return what is serious or critical on a page, each as a line with the elements that it is about."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(checked_axe() + "; 1")
    return [
        f"{impact}: {name}: {said}: {nodes}" for impact, name, said, nodes in page.evaluate(_RUN) if impact in GRAVE
    ]

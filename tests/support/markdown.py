"""Pages in Markdown."""

import re
from pathlib import Path


def anchors(page: Path) -> set[str]:
    """Return the places of a page that a link can name: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

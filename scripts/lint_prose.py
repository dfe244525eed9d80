"""Checks the style of the pages that users read, with proselint: `python scripts/lint_prose.py [PAGE ...]`.

Without pages it reads README.md, CHANGELOG.md, CONTRIBUTING.md, SECURITY.md and docs/. Only prose is checked, as
`sentences.py` counts it. Exits with 1 where it finds something. `make lint` runs it, and codespell for the spelling.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proselint.checks import __register__
from proselint.config import DEFAULT, Config
from proselint.registry import CheckRegistry
from proselint.tools import LintFile
from sentences import ROOT, prose

SWITCHED_OFF: Final = {
    "typography.symbols.curly_quotes": "pages have the quotes that code and terminals have",
    "typography.symbols.ellipsis": "three dots stand for what commands leave out",
    "typography.symbols.trademark": "processors give their names with (R)",
}
"""Check of proselint -> why it is off."""


def pages() -> list[Path]:
    """Return the pages that users read, the templates of those that are made among them."""
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    return [*(ROOT / name for name in names), *sorted((ROOT / "docs").rglob("*.md"))]


def style(page: Path, config: Config) -> Iterator[str]:
    """Yield what proselint finds in a page's prose, each with file, line and column."""
    file = LintFile(str(page), "\n".join(prose(page.read_text(encoding="utf-8"))))
    for (check, message, (start, end), _), (line, column) in file.lint(config):
        # Its patterns find "for ever" in "for every" as well, and take numbers for repeated words.
        found = file.content[start:end]
        if not re.fullmatch(r"\w\w", file.content[end - 1 : end + 1]) and re.search("[A-Za-z]{2}", found):
            yield f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page}:{line}:{column}: {check}: {message}"


def main() -> None:
    """Print what is found."""
    given = [Path(name).resolve() for name in sys.argv[1:]]
    CheckRegistry().register_many(__register__)
    config: Config = {**DEFAULT, "checks": {**dict.fromkeys(SWITCHED_OFF, False), **DEFAULT["checks"]}}
    found = [each for page in given or pages() for each in style(page, config)]
    for each in found:
        print(each)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

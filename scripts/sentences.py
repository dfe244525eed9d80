"""Prints how long the sentences of each page are: `python scripts/sentences.py [PAGE ...]`.

Without pages it reads README.md, CONTRIBUTING.md and docs/. Only prose counts: no code blocks, tables, headings,
quotations, images or link targets. A code span is one word.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
LONG: Final = 25
"""Words; a sentence with more of them is long."""

_FENCE = re.compile(r"^ *(```|~~~)")
_ITEM = re.compile(r"^ *(?:[-*+]|\d+\.) +")
_NO_PROSE = re.compile(r"^ *(?:\||>|#+ |<!--|<[a-z/]|-{3,}$|\{\{)")
_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(r"<?https?://\S+>?")
_RUN_IN = re.compile(r"^\*\*[^*]+[.:?]\*\* ")
_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)[\"')\]*_]*\s+(?=[\"'(\[*_]*(?:[A-Z0-9`]|[\w/-]+\.md\b))")
_WORD = re.compile(r"\S*\w\S*")


@dataclass(frozen=True, slots=True)
class Length:
    """How long the sentences of a page are: their number, their mean in words, the fraction of long ones."""

    sentences: int
    mean: float
    long: float


def prose(markdown: str) -> list[str]:
    """Return a page's lines with everything blank that is not prose, so that line numbers stay."""
    lines, fence = [], ""
    for line in markdown.splitlines():
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
            lines.append("")
        else:
            lines.append("" if fence or _NO_PROSE.match(line) else line)
    text = _IMAGE.sub(_blank, "\n".join(lines))
    text = _SPAN.sub(lambda span: "`code`" + "\n" * span[0].count("\n"), text)
    return _ADDRESS.sub("`address`", _LINK.sub(r"\1", text)).split("\n")


def sentences(markdown: str) -> list[str]:
    """Return the sentences of a page; one ends with its list item or paragraph. A bold heading in front is left out."""
    return [each for block in _blocks(prose(markdown)) for each in _END.split(_RUN_IN.sub("", block)) if words(each)]


def words(sentence: str) -> int:
    """Return the number of words of a sentence."""
    return len(_WORD.findall(sentence))


def length(markdown: str) -> Length:
    """Return how long the sentences of a page are; a page without one has zeros."""
    counts = [words(each) for each in sentences(markdown)]
    if not counts:
        return Length(0, 0.0, 0.0)
    return Length(len(counts), sum(counts) / len(counts), sum(count > LONG for count in counts) / len(counts))


def pages() -> list[Path]:
    """Return the pages that users read."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blank(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    block: list[str] = []
    for line in (*lines, ""):
        starts = _ITEM.match(line)
        if (starts or not line.strip()) and block:
            yield " ".join(block)
            block = []
        if line.strip():
            block.append((line[starts.end() :] if starts else line).strip())


def main() -> None:
    """Print a line for each page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    parser.add_argument("--long", action="store_true", help="also print each sentence over 25 words")
    options = parser.parse_args()
    print(f"{'page':<36}{'sentences':>10}{'mean words':>12}{f'over {LONG}':>10}")
    for page in options.pages or pages():
        text = page.read_text(encoding="utf-8")
        found = length(text)
        name = page.resolve().relative_to(ROOT) if page.resolve().is_relative_to(ROOT) else page
        print(f"{name!s:<36}{found.sentences:>10}{found.mean:>12.1f}{found.long:>10.0%}")
        if options.long:
            print(*(f"  {words(each)}: {each}" for each in sentences(text) if words(each) > LONG), sep="\n")


if __name__ == "__main__":
    main()

"""The words that SmolLM2 is asked about."""

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def facts(task: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return (what is asked, the answers that count) of a task of `words.txt`."""
    section = _sections(HERE / "words.txt")[task].replace("\n", " ")
    pairs = (pair.split("=") for pair in section.split(";") if pair.strip())
    return tuple((asked.strip(), tuple(each.strip() for each in right.split("|"))) for asked, right in pairs)


@cache
def groups(kind: str) -> tuple[tuple[str, ...], ...]:
    """Return words that belong together, of a kind of `word_groups.txt`."""
    lines = _sections(HERE / "word_groups.txt")[kind].splitlines()
    return tuple(tuple(line.split()) for line in lines if line.strip())


@cache
def _sections(file: Path) -> dict[str, str]:
    parts = file.read_text(encoding="utf-8").split("\n[")
    return {name: text for name, _, text in (part.partition("]\n") for part in parts[1:])}

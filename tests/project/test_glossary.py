"""docs/glossary.md: one word per thing, and the code uses no word that the glossary replaces."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import opentelemetry_instrumentation_corevital as package

SOURCE = Path(package.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS, _, TABLE = PAGE.partition("\n## Not this word, but that\n")
SECTIONS = WORDS.split("\n## ")[1:]
ENTRIES = [re.findall(r"^- \*\*([^*]+)\*\*: (.+)$", section, re.M) for section in SECTIONS]
REPLACED = dict(re.findall(r"^\| ([a-z]+) \| ([a-z, -]+) \|$", TABLE.partition("|---|---|")[2], re.M))

FORMS: Final = {
    "desk": ("desk", "desks"),
    "gram": ("gram", "grams"),
    "inside": ("inside",),
    "listening": ("listening",),
    "look": ("look", "looks", "looked", "looking"),
    "share": ("share", "shares"),
    "tap": ("tap", "taps", "tapped", "untap"),
    "texts": ("texts",),
    "vitals": ("vitals",),
}
"""Replaced word -> what may not be a part of a name."""

RELEASED: Final = {
    "gram": "a field of the public class Thresholds",
    "high_entropy_share": "a field of Thresholds",
    "confidence_share": "a field of Thresholds",
    "degenerating_margin_share": "a field of Thresholds",
    "HIGH_ENTROPY_SHARE": "spells the warning `high_entropy_share`",
}
ORDINARY: Final = {
    "_looks_like_ours": "the verb: a variable that resembles one of ours",
    "texts": "values.texts: attribute values that are strings, not prompt and response",
    "_texts_and_words": "of a signal's declaration, not of a run",
    "token_texts": "the text of each token, not of a prompt or response",
}
ORDINARY_IN: Final = {
    "texts": ("_internal/values.py", "capture/session/call_facts.py"),
    "_texts_and_words": ("catalogue/signal_checks.py",),
    "token_texts": ("cli/html_file.py", "cli/alternative_table.py"),
}
"""Ordinary word -> the only files that may use it."""

PROSE: Final = {
    "desk": r"\bdesks?\b",
    "gram": r"(?<!n-)(?<!`)\bgrams?\b",
    "inside": r"\bwhat is inside\b(?! a (call|transaction))|\bthe inside\b",
    "look": r"\b(a|per|\d|enough|first|last) looks?\b(?! (up|like))|\blooks at attention\b",
    "share": r"(?<!to )\bshares? of\b",
    "tap": r"\b(un)?tap(s|ped)?\b",
    "texts": r"\b(call|run|prompt|response|answer)s?'s? texts\b",
    "vitals": r"\bvitals\b",
}
"""Replaced word -> where docstrings and comments use it as ours did."""
PROSE_OF_PAGES: Final = {"share": ("config.py", "environment_variables.py"), "inside": ("__init__.py", "cli/")}
"""Descriptions of released options, commands and the package keep their sentences."""


def identifiers(code: str) -> Iterator[str]:
    """Yield every name of a module."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.NAME:
            yield token.string


def prose(code: str) -> Iterator[str]:
    """Yield the comments and the docstrings of a module, those of its attributes among them."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield " ".join(node.value.value.split())


def parts(name: str) -> set[str]:
    """Return the words of a name."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def is_allowed(name: str, path: str) -> bool:
    return name in RELEASED or (name in ORDINARY and path in ORDINARY_IN.get(name, (path,)))


def misnamed(code: str, path: str = "") -> list[str]:
    """Return the names of a module that have a replaced word in them."""
    banned = {form for forms in FORMS.values() for form in forms}
    return [name for name in identifiers(code) if parts(name) & banned and not is_allowed(name, path)]


def misworded(code: str, path: str = "") -> list[str]:
    """Return the sentences of a module that use a replaced word in its old sense."""
    wanted = {word: rule for word, rule in PROSE.items() if not path.startswith(PROSE_OF_PAGES.get(word, ("\n",)))}
    return [text for text in prose(code) for rule in wanted.values() if re.search(rule, text, re.I)]


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")


def test_every_entry_is_there_once_and_in_order() -> None:
    lines = [[line for line in section.splitlines()[1:] if line] for section in SECTIONS]
    assert [len(some) for some in lines] == [len(found) for found in ENTRIES], "an entry is one line"
    for found in ENTRIES:
        assert [word for word, _ in found] == sorted(word for word, _ in found)
    words = [word for found in ENTRIES for word, _ in found]
    assert len(words) == len(set(words)) > 40
    assert [text for found in ENTRIES for _, text in found if not text.endswith(".") or ". " in text] == []


def test_what_is_replaced_is_no_entry_and_what_replaces_it_is_one() -> None:
    words = {word for found in ENTRIES for word, _ in found}
    assert REPLACED.keys() == FORMS.keys()
    assert list(REPLACED) == sorted(REPLACED)
    assert not REPLACED.keys() & words
    ours = {word for several in REPLACED.values() for word in several.split(", ")} - {"bound addresses", "check"}
    assert ours <= words


def test_no_name_has_a_word_that_the_glossary_replaces() -> None:
    found = {path: names for path, code in modules() if (names := misnamed(code, path))}
    assert found == {}
    assert [
        path for path, _ in modules() if parts(path.removesuffix(".py")) & {f for v in FORMS.values() for f in v}
    ] == []


def test_no_docstring_or_comment_uses_one_in_its_old_sense() -> None:
    found = {path: texts for path, code in modules() if (texts := misworded(code, path))}
    assert found == {}


def test_every_exception_is_still_needed() -> None:
    used = {name for _, code in modules() for name in identifiers(code)}
    assert RELEASED.keys() | ORDINARY.keys() <= used


OPTIONS: Final = {"Flag", "Label", "Level"}
"""Options of commands by which runs are filtered: named for the class that they filter by."""


def named(code: str) -> Iterator[str]:
    """Yield the classes and the type aliases of a module; type variables are none."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and not ast.unparse(node.value).startswith("TypeVar("):
            yield from (
                name for name in map(ast.unparse, node.targets) if re.fullmatch("[A-Z][a-z]+([A-Z][a-z]+)*", name)
            )


def doubled(code: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names of classes and aliases that several modules give."""
    found: dict[str, list[str]] = {}
    for path, text in code:
        for name in named(text):
            found.setdefault(name, []).append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_two_classes_or_aliases_have_one_name() -> None:
    assert doubled(modules()).keys() - OPTIONS == set()
    assert doubled(iter([("a.py", "class Found: ..."), ("b.py", "Found = dict[str, int]")])) == {
        "Found": ["a.py", "b.py"]
    }


@pytest.mark.parametrize(
    "code",
    ["class LayerTap: ...", "def f(high_share): ...", "_untap = 1", "x.inside", "repeatedGrams = 2", "CallTexts()"],
)
def test_a_replaced_word_is_found_in_a_name(code: str) -> None:
    assert misnamed(code)


@pytest.mark.parametrize("code", ["# the taps of a model", '"""The share of heads."""', 'x = 1\n"""A vitals row."""'])
def test_a_replaced_word_is_found_in_prose(code: str) -> None:
    assert misworded(code)


@pytest.mark.parametrize(
    "code", ["x.shared", "histogram = program", "ngrams = 1", "lookup()", "# n-grams share memory"]
)
def test_words_that_only_resemble_one_are_fine(code: str) -> None:
    assert misnamed(code) == misworded(code) == []

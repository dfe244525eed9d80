"""Structured texts with varying values are no loops."""

import importlib
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


@pytest.fixture(scope="module")
def parts() -> Iterator[Any]:
    """The benchmark's modules, which lie in a folder that is not installed."""
    sys.path.insert(0, str(FOLDER))
    before = set(sys.modules)
    try:
        names = ("report", "texts", "tokenizing")
        yield SimpleNamespace(**{name: importlib.import_module(f"structured.{name}") for name in names})
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if name.startswith(("structured", "judged")):
                del sys.modules[name]


def test_the_texts_are_made_from_a_seed_and_differ(parts: Any) -> None:
    made = list(parts.texts.texts(12))
    assert made == list(parts.texts.texts(12))
    assert len({text.format for text in made}) >= 9
    assert len({text.text for text in made}) == len(made)
    for text in made:
        if text.format == "JSON lines":
            records = [json.loads(line) for line in text.text.splitlines()]
            pairs = pairwise(records)
            assert sum(one == other for one, other in pairs) <= 1, "values vary from record to record"


def test_few_of_them_are_called_a_loop(parts: Any) -> None:
    encode = parts.tokenizing.smollm2()
    found = [parts.report.called(encode(text.text)) for text in parts.texts.texts(24) if text.half == "report"]
    assert len(found) >= 100
    assert sum(map(bool, found)) <= 0.02 * len(found)


def test_a_text_that_repeats_itself_is_called_a_loop(parts: Any) -> None:
    tokens = [*range(100, 140), *list(range(200, 230)) * 20]
    assert parts.report.called(tokens) == [200, 400]
    with pytest.raises(ValueError, match="fewer than the limit"):
        parts.report.called(tokens[:300])

"""Prompt, answer and retrieved context on a run's page."""

import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import rag_names
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.content_view import content_view, messages_of
from tests.support.stored_runs import stored_with


def test_messages_are_read_with_their_roles() -> None:
    text = json.dumps(
        [
            {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
            {"role": "user", "parts": [{"type": "text", "content": "Hello"}, {"type": "image"}]},
        ]
    )
    assert messages_of(text) == [{"role": "system", "text": "Be kind."}, {"role": "user", "text": "Hello"}]


@pytest.mark.parametrize(
    "text", [None, 7, "", "[", "[1]", "{}", "[]", '[{"parts": 5}]', '[{"parts": [5]}]', "[" * 9999]
)
def test_what_is_no_list_of_messages_is_none(text: Any) -> None:
    assert messages_of(text) is None


def test_retrieved_context_has_its_fraction_of_the_prompt(tmp_path: Path) -> None:
    told = {rag_names.CONTEXT_TOKEN_COUNT: 2, rag_names.DOCUMENT_COUNT: 2, semconv.GEN_AI_USAGE_INPUT_TOKENS: 8}
    content = {rag_names.DOC_IDS: ["a", "b"], rag_names.DOC_TITLES: ["first"]}
    found = content_view(stored_with(tmp_path, **told, **content))["retrieved"]
    assert found["fraction"] == 0.25
    assert found["documents"] == [("a", "first"), ("b", "")]


def test_without_content_nothing_is_made_up(tmp_path: Path) -> None:
    assert content_view(stored_with(tmp_path)) == {"prompt": None, "answer": None, "retrieved": None}

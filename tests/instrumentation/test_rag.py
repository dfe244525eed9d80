"""What was retrieved: told by the caller, on the call's span; documents only where content is switched on."""

import json
from typing import Any

import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context

from opentelemetry_instrumentation_corevital import RAGContext, rag_context, semconv
from opentelemetry_instrumentation_corevital.catalogue import rag_names
from opentelemetry_instrumentation_corevital.instrumentation.rag_attributes import RETRIEVED_BYTES
from tests.support.in_memory import instrumented
from tests.support.tiny_models import prompt, tiny_model

RETRIEVED = RAGContext(120, ["doc-1", "doc-2"], ["On seas", "On \u6d77"], {"index": "wiki", "scores": [0.5, 0.25]})


def generated(retrieved: RAGContext | None, count: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Return the attributes of all spans of a call, the call's own last."""
    with instrumented(**options) as telemetry:
        model, more = tiny_model(), {"num_return_sequences": count} if count > 1 else {}
        if retrieved is None:
            model.generate(prompt(), max_new_tokens=4, do_sample=True, **more)
        else:
            with rag_context(retrieved):
                model.generate(prompt(), max_new_tokens=4, do_sample=True, **more)
    return [dict(span.attributes or {}) for span in telemetry.spans]


def about_rag(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name.startswith("corevital.rag.")}


def test_counts_are_told_and_documents_are_not() -> None:
    counts = {rag_names.CONTEXT_TOKEN_COUNT: 120, rag_names.DOCUMENT_COUNT: 2}
    assert about_rag(generated(RETRIEVED)[-1]) == counts
    assert [about_rag(each) for each in generated(RETRIEVED, count=2)] == [{}, {}, counts], "once, on the call's span"
    assert about_rag(generated(None)[-1]) == {}


def test_with_content_on_documents_are_told() -> None:
    found = about_rag(generated(RETRIEVED, capture_message_content="span_only")[-1])
    assert json.loads(found.pop(rag_names.METADATA)) == RETRIEVED.metadata
    assert found == {
        rag_names.CONTEXT_TOKEN_COUNT: 120,
        rag_names.DOCUMENT_COUNT: 2,
        rag_names.DOC_IDS: ("doc-1", "doc-2"),
        rag_names.DOC_TITLES: ("On seas", "On \u6d77"),
    }


def test_what_is_too_much_for_a_span_is_left_out_and_said() -> None:
    many = RAGContext(retrieved_doc_ids=[f"document {number}" for number in range(1000)], retrieved_doc_titles=["a"])
    attributes = generated(many, capture_message_content="span_only")[-1]
    assert about_rag(attributes) == {rag_names.DOCUMENT_COUNT: 1000, rag_names.DOC_TITLES: ("a",)}
    reason = f"cut: larger than {RETRIEVED_BYTES} bytes"
    assert json.loads(attributes[semconv.CAPTURE_ABSENT])[rag_names.DOC_IDS] == reason


def test_counts_come_from_an_earlier_service_by_the_baggage() -> None:
    def calling(value: str) -> dict[str, Any]:
        token = otel_context.attach(baggage.set_baggage(rag_names.CONTEXT_TOKEN_COUNT, value))
        try:
            return about_rag(generated(None)[-1])
        finally:
            otel_context.detach(token)

    assert calling("77") == {rag_names.CONTEXT_TOKEN_COUNT: 77}
    assert calling("-1") == calling("many") == calling("9" * 5000) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"context_token_count": -1}, "context_token_count: expected an integer of 0 or more"),
        ({"context_token_count": 2**63}, "context_token_count: expected an integer of 0 or more"),
        ({"document_count": True}, "document_count: expected an integer of 0 or more"),
        ({"retrieved_doc_ids": "doc-1"}, "retrieved_doc_ids: expected a list of strings$"),
        ({"retrieved_doc_ids": None}, "retrieved_doc_ids: expected a list of strings"),
        ({"retrieved_doc_ids": {"doc-1": 1}}, "retrieved_doc_ids: expected a list of strings"),
        ({"retrieved_doc_titles": [1]}, "retrieved_doc_titles: expected a list of strings"),
        ({"retrieved_doc_titles": ["\udc80"]}, "retrieved_doc_titles: a text is not valid Unicode"),
        ({"metadata": {"score": float("nan")}}, "metadata: expected what JSON can hold"),
        ({"metadata": {"text": "\udc80"}}, "metadata: expected what JSON can hold"),
        ({"metadata": {"set": {1}}}, "metadata: expected what JSON can hold"),
        ({"metadata": [1]}, "metadata: expected a mapping"),
    ],
)
def test_a_value_that_cannot_be_taken_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RAGContext(**values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"context_token_count": 3,\n oops}', "line 2, column 2: no JSON"),
        ("[]", "expected an object with context_token_count"),
        ('{"documents": []}', "documents: unknown; there are context_token_count"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RAGContext.from_json(text)


def test_counts_are_told_of_calls_that_are_not_measured_too() -> None:
    counts = {rag_names.CONTEXT_TOKEN_COUNT: 120, rag_names.DOCUMENT_COUNT: 2}
    assert about_rag(generated(RETRIEVED, capture_ratio=0.0, capture_message_content="span_only")[-1]) == counts


def test_later_changes_do_not_reach_it_and_its_repr_has_no_content() -> None:
    metadata = {"scores": [0.5]}
    retrieved = RAGContext(1, ["doc-1"], ["Title"], metadata)
    metadata["scores"].append(float("nan"))
    assert retrieved.metadata == {"scores": [0.5]}
    assert repr(retrieved) == "RAGContext(context_token_count=1, document_count=1)"


def test_json_gives_what_it_says() -> None:
    text = '{"context_token_count": 120, "retrieved_doc_ids": ["doc-1", "doc-2"], "metadata": {"index": "wiki"}}'
    assert RAGContext.from_json(text) == RAGContext(120, ("doc-1", "doc-2"), metadata={"index": "wiki"})

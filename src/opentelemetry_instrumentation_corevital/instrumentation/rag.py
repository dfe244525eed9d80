"""What was retrieved for a prompt: told by the caller, since generate() sees nothing but tokens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

_LARGEST: Final = 2**63 - 1
_IN_REPORTS: Final = "retrieval_metadata"
"""What a report's `extensions.rag` calls `metadata`."""


@dataclass(frozen=True, slots=True)
class RAGContext:
    """What a retrieval step put into a prompt (retrieval-augmented generation).

    The two counts are always told. Ids, titles and metadata are content: they leave only where that is switched on.

    Attributes:
        context_token_count: tokens of the prompt that were retrieved.
        retrieved_doc_ids: ids of the documents, in the order of the prompt.
        retrieved_doc_titles: their titles.
        metadata: whatever else is worth keeping, as JSON can hold it; a copy is kept.
        document_count: documents; by default as many as there are ids or titles.

    Raises:
        ValueError: if a value cannot be taken; the message names the field.
    """

    context_token_count: int | None = None
    retrieved_doc_ids: Sequence[str] = field(default=(), repr=False)
    retrieved_doc_titles: Sequence[str] = field(default=(), repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    document_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("context_token_count", "document_count"):
            _check_count(name, getattr(self, name))
        for name in ("retrieved_doc_ids", "retrieved_doc_titles"):
            object.__setattr__(self, name, _strings(name, getattr(self, name)))
        object.__setattr__(self, "metadata", _copied(self.metadata))
        if self.document_count is None and (self.retrieved_doc_ids or self.retrieved_doc_titles):
            count = max(len(self.retrieved_doc_ids), len(self.retrieved_doc_titles))
            object.__setattr__(self, "document_count", count)

    @classmethod
    def from_json(cls, text: str) -> "RAGContext":
        """Read a JSON object whose names are this class's; `retrieval_metadata`, as in reports, is `metadata`.

        A null says no more than a name that is not there.

        Raises:
            ValueError: if it is not one; the message says what was expected, and where.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
        except RecursionError:
            raise ValueError("nested too deeply") from None
        names = [each.name for each in fields(cls)]
        if not isinstance(values, dict):
            raise ValueError(f"expected an object with {', '.join(names)}")
        if unknown := sorted(values.keys() - {*names, _IN_REPORTS}):
            raise ValueError(f"{', '.join(unknown)}: unknown; there are {', '.join(names)}")
        values = {name: value for name, value in values.items() if value is not None}
        if _IN_REPORTS not in values:
            return cls(**values)
        if "metadata" in values:
            raise ValueError(f"metadata, {_IN_REPORTS}: are two names of one thing; give one of them")
        metadata = _copied(values.pop(_IN_REPORTS), _IN_REPORTS)
        return cls(**values, metadata=metadata)


# Messages name the field and not its value, which is content.


def _check_count(name: str, count: object) -> None:
    if count is None:
        return
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _LARGEST:
        raise ValueError(f"{name}: expected an integer of 0 or more, below 2^63")


def _strings(name: str, strings: object) -> tuple[str, ...]:
    if not isinstance(strings, list | tuple) or not all(isinstance(text, str) for text in strings):
        raise ValueError(f"{name}: expected a list of strings")
    try:
        "".join(strings).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: a text is not valid Unicode") from None
    return tuple(strings)


def _copied(metadata: object, name: str = "metadata") -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise ValueError(f"{name}: expected a mapping")
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode()
        copy: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected what JSON can hold ({type(error).__name__})") from None
    return copy

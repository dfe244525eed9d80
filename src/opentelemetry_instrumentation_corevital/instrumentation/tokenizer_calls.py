"""A tokenizer's call, read from outside: which texts it got, where it cuts them, and the token ids it made."""

import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

_FIRST: Final = ("text", "batch_text_or_text_pairs")
"""Names of the argument with the text, in the methods of tokenizers."""


def given_prompts(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str | None] | None:
    """Return the text behind each row that a tokenizer's call makes; None where the call has no text.

    None in the list is a row of more, or less, than one text: of a pair of texts, of single words or of token ids.
    """
    text = args[0] if args else next((kwargs[name] for name in _FIRST if kwargs.get(name) is not None), None)
    alone = len(args) < 2 and kwargs.get("text_pair") is None  # two of them are a pair, or a call too odd to read
    if isinstance(text, str):
        return [text if alone else None]
    if not isinstance(text, list | tuple) or not text:
        return None
    if kwargs.get("is_split_into_words") or isinstance(text[0], int):
        return [None] * (len(text) if isinstance(text[0], list | tuple) else 1)
    return [each if alone and isinstance(each, str) else None for each in text]


def cut_at(tokenizer: Any, kwargs: Mapping[str, Any]) -> int | None:
    """Return the number of tokens at which a tokenizer's call cuts a text; None where it does not cut."""
    truncation, longest = kwargs.get("truncation"), kwargs.get("max_length")
    # Asked for a length and told nothing else, transformers cuts.
    if not truncation and (truncation is not None or longest is None or kwargs.get("padding")):
        return None
    if str(getattr(truncation, "value", truncation)) == "do_not_truncate":
        return None
    limit = longest if longest is not None else getattr(tokenizer, "model_max_length", None)
    return limit if isinstance(limit, int) else None


def token_rows(encoded: Any) -> list[bytes]:
    """Return the token ids of a tokenizer's result, one row per text, without padding, each as `packed`."""
    mask = None
    if isinstance(encoded, Mapping):
        encoded, mask = encoded.get("input_ids"), encoded.get("attention_mask")
    if hasattr(encoded, "tolist"):
        if encoded.ndim > 1 and len(encoded) > 1:
            return _rows_of_array(encoded, mask)
        encoded, mask = encoded.tolist(), mask if mask is None else mask.tolist()  # quicker for one row
    if not encoded:
        return []
    rows, keep = (encoded, mask) if not isinstance(encoded[0], int) else ([encoded], mask and [mask])
    if not isinstance(keep, list) or len(keep) != len(rows):
        keep = [()] * len(rows)
    return [packed(_real(row, flags)) for row, flags in zip(rows, keep, strict=True)]


def packed(tokens: Sequence[int]) -> bytes:
    """Return token ids as int64 [tokens], the least byte first."""
    row = array("q", tokens)
    if sys.byteorder == "big":
        row.byteswap()
    return row.tobytes()


def _real(row: Sequence[int], flags: Sequence[int]) -> Sequence[int]:
    """Return a row's ids without padding."""
    if 0 not in flags:
        return row
    return [token for token, kept in zip(row, flags, strict=False) if kept]


def _rows_of_array(encoded: Any, mask: Any) -> list[bytes]:
    import numpy as np

    ids = np.asarray(_on_host(encoded)).astype("<i8", copy=False)
    keep = None if mask is None else np.asarray(_on_host(mask)) != 0
    if keep is None or keep.shape != ids.shape or keep.all():
        return [row.tobytes() for row in ids]
    return [row[real].tobytes() for row, real in zip(ids, keep, strict=True)]


def _on_host(values: Any) -> Any:
    return values.cpu().numpy() if hasattr(values, "cpu") else values

"""Which ways of decoding are measured."""

from typing import Final

from .call_facts import Call

STEPWISE_STRATEGIES: Final = frozenset({"greedy_search", "sample"})
"""Decoding strategies in which each pass through the loop chooses one token of each returned sequence."""

BEAM_STRATEGIES: Final = frozenset({"beam_search", "beam_sample"})
"""Decoding strategies in which it chooses among rows, too: only the result tells which of them led to it."""

_MAX_FLOAT_TOKEN: Final = 1 << 24  # token ids travel in the float32 row: exact below


def why_unmeasured(call: Call, strategy: str | None, vocabulary_size: int | None) -> str | None:
    """Return why the steps of a call cannot be measured; None where they can."""
    if call.paged:
        return "not measured in continuous batching (cache_implementation=paged)"
    if strategy not in STEPWISE_STRATEGIES | BEAM_STRATEGIES:
        return f"not measured in decoding strategy {strategy}"
    if strategy in BEAM_STRATEGIES and call.custom:
        return f"not measured in decoding strategy {strategy} of a custom loop"
    if (vocabulary_size or 0) >= _MAX_FLOAT_TOKEN:
        return "vocabulary too large for a vitals row"
    return None

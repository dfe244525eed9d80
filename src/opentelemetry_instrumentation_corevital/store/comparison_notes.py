"""What makes a comparison worth less than it seems."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from .comparison import Groups, ModelFigures, in_common

_HASHED: Final = {"text": "from their text", "decoded": "from decoded tokens", "tokens": "from token ids"}
"""By the source of a prompt's hash, in words."""


def what_to_beware_of(groups: Groups, found: Sequence[ModelFigures]) -> list[str]:
    """Return what makes the comparison worth less than it seems."""
    if len(groups) == 1:
        return ["There is one model only, and nothing to compare it with."]
    notes = []
    if not in_common(groups):
        pairs = " in common to all" if len(groups) > 2 else " in common"
        notes.append(f"The models have no prompt{pairs}{_why_none(groups)}: what was asked may explain differences.")
    for what, of in (("decoding", "strategy"), ("the way of judging risk", "risk_method")):
        used = {name: sorted({str(v) for run in runs if (v := getattr(run, of))}) for name, runs in groups.items()}
        if len({tuple(values) for values in used.values() if values}) > 1:
            told = "; ".join(f"{name}: {', '.join(values) or 'unknown'}" for name, values in used.items())
            notes.append(f"Models differ in {what}: {told}.")
    notes += different_baselines(groups)
    notes += [f"{each.failed} of the {each.runs} runs of {each.model} failed." for each in found if each.failed]
    return notes


def different_baselines(groups: Groups) -> list[str]:
    """Return a note where most runs of one model were judged by another kind of baseline than those of the others."""
    used = {name: Counter(run.baseline_source for run in runs if run.baseline_source) for name, runs in groups.items()}
    most = {name: counts.most_common(1)[0][0] for name, counts in used.items() if counts}
    if len({*most.values()}) < 2:
        return []
    told = "; ".join(f"{name}: {source}" for name, source in most.items())
    return [f"Models differ in their baseline: {told}. Their risks, flags and warnings rest on different limits."]


def _why_none(groups: Groups) -> str:
    """Return why models may have no prompt in common though they were asked the same, in brackets; empty: no reason."""
    sources = {run.prompt_hash_source for runs in groups.values() for run in runs} - {None}
    words = [f"some {how}" for source, how in _HASHED.items() if source in sources]
    told = f"prompts are hashed {', '.join(words)}" if len(words) > 1 else ""
    if "tokens" not in sources:
        return told and f" ({told})"
    way_out = (
        "token ids are compared within one tokenizer only; make them while CoreVital is on, and texts are compared"
    )
    return f" ({'; '.join(filter(None, (told, way_out)))})"

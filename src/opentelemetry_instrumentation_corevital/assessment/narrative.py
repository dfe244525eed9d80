"""The run in two to four sentences: facts with their step numbers, no content."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from ..catalogue.definitions import LONGEST_TRIGGER
from ..catalogue.verdicts import EARLY_WARNINGS, FLAGS
from ..run import Intervention, Run
from .thresholds import DEFAULT, Thresholds

_WARNING_TEXT: Final = {warning.name: warning.sentence for warning in EARLY_WARNINGS}
_GRAVEST_FIRST: Final = tuple(sorted(FLAGS, key=lambda flag: -flag.weight))
_HOW_IT_ENDED: Mapping[str | None, str] = {
    "eos": "and ended by itself",
    "stop_string": "and ended at a stop string",
    "length": "and was cut off by its length limit",
    "time": "and was cut off by its time limit",
    "criterion": "and was ended by a stopping criterion of the caller's",
    "policy": "and was stopped by a policy",
    "cancelled": "and was cancelled",
    "error": "and failed",
}
_WHAT_A_POLICY_DID: Mapping[tuple[str, str], str] = {
    ("stop", "stopped"): "stopped it",
    ("stop", "failed"): "could not stop it",
    ("cool_down", "continued"): "changed its temperature",
    ("cool_down", "failed"): "could not change its temperature",
    ("roll_back", "continued"): "rolled it back",
    ("roll_back", "failed"): "could not roll it back",
    ("break_reasoning", "continued"): "ended its reasoning",
    ("break_reasoning", "failed"): "could not end its reasoning",
    ("retry", "stopped"): "stopped it, to generate again",
    ("retry", "continued"): "had the prompt generated again",
    ("retry", "failed"): "could not have the prompt generated again",
}
"""Kind and outcome of an intervention -> what the policy did."""
_TRIGGERS: Mapping[str, str] = {
    **{name: flag.label for flag in FLAGS for name in (flag.name, flag.short)},
    **{warning.name: warning.name.replace("_", " ") for warning in EARLY_WARNINGS},
    "callback": "a callback asked for it",
}
"""What an intervention acted on -> in words; what is not here is a threshold or the name of a user's function."""


def tell(run: Run, thresholds: Thresholds = DEFAULT) -> str:
    """Return the narrative of a judged run."""
    sentences = [_outcome(run), *_interventions(run.interventions), *_found(run)]
    if uncertainty := _uncertainty(run, thresholds):
        sentences.append(uncertainty)
    if warning := _first_warning(run):
        sentences.append(warning)
    elif len(sentences) == 1:
        sentences.append(_nothing(run))
    return " ".join(sentences[:4])


def _outcome(run: Run) -> str:
    ended = _HOW_IT_ENDED.get(run.stop_reason, "")
    tokens = f"{run.steps} token{'' if run.steps == 1 else 's'}"
    if run.output_tokens is None:
        tokens = "tokens that could not be read"
    what = " ".join(filter(None, (f"The run generated {tokens}", ended)))
    if run.error_type:
        what += f" with {run.error_type}"
    if run.risk is None:
        return f"{what}."
    return f"{what}; its risk is {run.risk.level} ({run.risk.score:.2f})."


def _interventions(done: Sequence[Intervention]) -> list[str]:
    """Return a sentence about the first intervention and one about the last, which says how many came between."""
    if not done:
        return []
    told = [_intervention(each) for each in (done if len(done) < 3 else (done[0], done[-1]))]
    if len(done) > 2:
        told[-1] += f"; {len(done) - 2} more came between"
    return [f"{each}." for each in told]


def _intervention(each: Intervention) -> str:
    did = _WHAT_A_POLICY_DID.get((each.kind, each.outcome), f"acted ({each.kind.replace('_', ' ')}, {each.outcome})")
    to = "" if each.to_step is None else f" to step {each.to_step}"
    return f"A policy {did} at step {each.step}{to}: {_TRIGGERS.get(each.trigger, each.trigger[:LONGEST_TRIGGER])}"


def _found(run: Run) -> list[str]:
    """Return a sentence about what is wrong with numbers or text, and one about layers unless numbers are wrong."""
    evidence = {} if run.health is None else run.health.evidence
    found = [flag for flag in _GRAVEST_FIRST if flag.name in evidence]
    first = [flag for flag in found if flag.about != "layers"][:1]
    about_layers = [flag for flag in found if flag.about == "layers"][:1]
    chosen = first if any(flag.about == "numbers" for flag in found) else first + about_layers
    return [text for flag in chosen if (text := flag.sentence(evidence[flag.name]))]


def _uncertainty(run: Run, thresholds: Thresholds) -> str | None:
    entropy = run.column("entropy")
    if entropy is None or not np.isfinite(entropy).any():
        return None
    peak = int(np.nanargmax(entropy))
    text = f"Entropy averaged {np.nanmean(entropy):.2f} bit and peaked at {entropy[peak]:.2f} bit in step {peak}"
    high = 0 if run.health is None else run.health.high_entropy_steps or 0
    if high:
        text += f"; {high} of {run.steps} steps were above {thresholds.high_entropy_bits:g} bit"
    return text + "."


def _first_warning(run: Run) -> str | None:
    warning = run.early_warning
    if warning is None or warning.first_step is None:
        return None
    name = warning.active[warning.first_step][0]
    return f"The first warning came at step {warning.first_step}: {_WARNING_TEXT.get(name, name)}."


def _nothing(run: Run) -> str:
    return "Its logits were not measured." if run.column("entropy") is None else "No step had a distribution."

"""The run in a few sentences: facts with their step numbers, no content.

Every raised flag is in it, and the layer that is blamed first. What follows a number that was not finite is told as its
consequence; averages and warnings after it are not told.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..catalogue.definitions import LONGEST_TRIGGER
from ..catalogue.spelling import LABELS
from ..catalogue.verdict import Flag
from ..catalogue.verdicts import EARLY_WARNINGS, FLAGS, HIGH_ENTROPY_STEPS
from ..run import Intervention, Run
from .blame import NOT_FINITE
from .deviation import first_nonfinite
from .early_warning import lasting
from .ending import failed_by_numbers
from .thresholds import DEFAULT, Thresholds
from .usual import ROUGH_ENTROPY_BITS

MOST_SENTENCES: Final = 4
_WHAT_TO_DO: Final = dict.fromkeys(
    ("norm grows or shrinks unusually", "turns its input unusually"),
    "Look at its weights, its dtype and its adapters",
) | dict.fromkeys(
    ("attention spread unusually", "attention spread changed unusually", "heads collapsed"),
    "Look at its cache, the positions and the length of the context",
)
"""Reason of a blamed layer -> the first thing to do; docs/judgement.md has more."""
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
    **LABELS,
    "callback": "a callback asked for it",
}
"""What an intervention acted on -> in words; what is not here is a threshold or the name of a user's function."""


def tell(run: Run, thresholds: Thresholds = DEFAULT) -> str:
    """Return the narrative of a judged run: what was found is always in it, the rest where there is room."""
    found = _found(run)
    sentences = [_outcome(run), *_interventions(run.interventions, MOST_SENTENCES - 1 - len(found)), *found]
    if not failed_by_numbers(run) and (
        uncertainty := _uncertainty(run, thresholds)
    ):  # else most steps have no entropy of their own
        sentences.append(uncertainty)
    if warning := _first_warning(run):
        sentences.append(warning)
    elif len(sentences) == 1:
        sentences.append(_nothing(run))
    return " ".join(sentences[:MOST_SENTENCES])


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


def _interventions(done: Sequence[Intervention], room: int) -> list[str]:
    """Return what is told of the first intervention and the last, which says how many came between.

    Args:
        done: the interventions.
        room: for so many sentences; two become one where there is room for one only.
    """
    if not done:
        return []
    told = [_intervention(each) for each in (done if len(done) < 3 else (done[0], done[-1]))]
    if len(done) > 2:
        told[-1] += f"; {len(done) - 2} more came between"
    return [f"{each}." for each in (told if len(told) <= room else [_joined(told)])]


def _intervention(each: Intervention) -> str:
    did = _WHAT_A_POLICY_DID.get((each.kind, each.outcome), f"acted ({each.kind.replace('_', ' ')}, {each.outcome})")
    to = "" if each.to_step is None else f" to step {each.to_step}"
    return f"A policy {did} at step {each.step}{to}: {_TRIGGERS.get(each.trigger, each.trigger[:LONGEST_TRIGGER])}"


def _found(run: Run) -> list[str]:
    """Return what is wrong with the numbers or the text, and what with the layers: a sentence each, at most two."""
    evidence = {} if run.health is None else run.health.evidence
    found = [flag for flag in _GRAVEST_FIRST if flag.name in evidence]
    numbers = [flag for flag in found if flag.about == "numbers"]
    origin = min(numbers, key=lambda flag: _began(flag, evidence[flag.name]), default=None)
    end = run.steps if origin is None else first_nonfinite(run)  # what begins later is a consequence
    own = [
        flag for flag in found if flag not in numbers and (end >= run.steps or first_step(evidence[flag.name]) < end)
    ]
    text = [_said(flag, evidence) for flag in own if flag.about == "text"]
    layers = _of_layers(run, [flag for flag in own if flag.about == "layers"], evidence)
    if origin is None:
        return [f"{_joined(each)}." for each in (text, layers) if each]
    after = [flag.label for flag in found if flag not in (origin, *own) and flag.about != "layers"]
    before = [*text, *layers]
    return [
        *([f"{_joined(before)}."] if before else []),
        f"{_joined([_said(origin, evidence), *_what_followed(run, origin, after)])}.",
    ]


def _of_layers(run: Run, raised: Sequence[Flag], evidence: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what is said of layers that left what is usual: where it began, what to do, and what else there is."""
    blamed = [each for each in run.blame or () if each.reason != NOT_FINITE]
    if not raised:
        return []
    if not blamed:  # a norm that was not finite, or nobody has judged the blame
        return [_said(max(raised, key=lambda flag: flag.name == "layer_anomaly_detected"), evidence)]
    first = blamed[0]
    step = f", from step {first.evidence['step']} on" if "step" in first.evidence else ""
    others = f", before {len(blamed) - 1} more" if len(blamed) > 1 else ""
    advice = _WHAT_TO_DO.get(first.reason)
    began = f"Layer {first.layer} stands out first{step} ({first.reason}){others}"
    collapsed = [_said(flag, evidence) for flag in raised if flag.name == "attention_collapse_detected"]
    return [f"{began}: {advice.lower()}" if advice else began, *collapsed]


def _said(flag: Flag, evidence: Mapping[str, Mapping[str, Any]]) -> str:
    return flag.sentence(evidence[flag.name]) or f"{flag.label[0].upper()}{flag.label[1:]}."


def _what_followed(run: Run, origin: Flag, after: Sequence[str]) -> list[str]:
    """Return what came of a number that was not finite, and what to do."""
    told = [f"{_listed(after)} followed"] if after else []
    layers = [blamed.layer for blamed in run.blame or () if blamed.reason == NOT_FINITE]
    if not layers:
        return [*told, "Throw the answer away"]
    if run.health is not None and "layer" not in run.health.evidence[origin.name]:
        told.append(f"layer {layers[0]} was the first whose values were not finite")
    return [*told, "Throw the answer away, and look at that layer's weights and dtype"]


def _began(flag: Flag, evidence: Mapping[str, Any]) -> tuple[float, float, bool]:
    """Return the order in which what was not finite came: by step and layer, the logits last; infinities make NaN."""
    return evidence["step"], evidence.get("layer", math.inf), flag.name != "inf_detected"


def first_step(evidence: Mapping[str, Any]) -> float:
    """Return where what a flag says begins: at the second copy of a loop."""
    step: float = evidence.get("step", evidence.get("onset_step", math.inf))
    return step


def _joined(sentences: Sequence[str]) -> str:
    """Return sentences as one, without its full stop."""
    first, *others = (text.removesuffix(".") for text in sentences)
    return "; ".join([first, *map(_going_on, others)])


def _going_on(text: str) -> str:
    """Return a sentence as it goes on after another one; a first word like NaN stays as it is."""
    return text if text.partition(" ")[0][1:].lower() != text.partition(" ")[0][1:] else f"{text[0].lower()}{text[1:]}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _uncertainty(run: Run, thresholds: Thresholds) -> str | None:
    entropy = run.column("entropy")
    if entropy is None or not np.isfinite(entropy).any():
        return None
    peak = int(np.nanargmax(entropy))
    text = f"Entropy averaged {np.nanmean(entropy):.2f} bit and peaked at {entropy[peak]:.2f} bit in step {peak}"
    high = 0 if run.health is None else run.health.high_entropy_steps or 0
    if high:
        text += f"; {high} of {run.steps} steps were above {_high(run, thresholds)}"
    return text + "."


def _high(run: Run, thresholds: Thresholds) -> str:
    """Return above what a step's entropy is high."""
    if thresholds.high_entropy_bits is not None:
        return f"{thresholds.high_entropy_bits:g} bit"
    found: Mapping[str, Any] = {} if run.health is None else run.health.evidence.get(HIGH_ENTROPY_STEPS, {})
    if found.get("threshold_source") == "baseline":
        return f"what is usual for this model ({found['threshold']:.2f} bit)"
    bits = f"{found.get('threshold', ROUGH_ENTROPY_BITS):g} bit"
    return bits if found.get("threshold_source") == "set" else f"{bits}, a rough limit"


def _first_warning(run: Run) -> str | None:
    warning = run.early_warning
    if warning is None:
        return None
    told = lasting(warning)
    for step, names in warning.active.items():
        name = next((each for each in names if each in told), None)
        if name is not None:
            return f"The first warning came at step {step}: {_WARNING_TEXT.get(name, name)}."
    return None


def _nothing(run: Run) -> str:
    return "Its logits were not measured." if run.column("entropy") is None else "No step had a distribution."

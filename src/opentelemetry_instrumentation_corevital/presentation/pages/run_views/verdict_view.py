"""The verdict of a run for its page: risk with factors, flags, warnings, blame and interventions, and what to do."""

import re
from collections.abc import Mapping
from typing import Any, Final

from .... import semconv
from ....catalogue.spelling import for_people, reason_for_people
from ....catalogue.verdicts import COMPOUND, EARLY_WARNINGS, ENTRIES, FLAGS, HIGH_ENTROPY_SHARE, HIGH_ENTROPY_STEPS
from ...answer_text import answer_factors, why_no_answer
from ...evidence_text import evidence_text
from ...interventions import intervention_lines
from ...panel import CUT, mapping, parsed
from ...shapes import UNKNOWN, RunShape
from ...timeline import step_of

_AS_ANOTHER: Final = re.compile(r"as `(\w+)`(.*)")
_ADVICE: Final[Mapping[str, str]] = {
    **{each.name: each.entry.advice for each in FLAGS},
    **{each.name: each.entry.advice for each in EARLY_WARNINGS},
    **{each.name: each.entry.advice for each in COMPOUND},
    **{name: entry.advice for names, entry in ENTRIES.items() for name in names.split(", ")},
}


def risk_view(run: RunShape) -> dict[str, Any]:
    """Return score, level and method, and each factor with its part of the score; None where they are not known."""
    get = run.attributes.get
    factors = get(semconv.RISK_FACTORS)
    return {
        "score": run.summary.risk_score,
        "level": run.summary.risk_level,
        "method": get(semconv.RISK_METHOD),
        "factors": None if factors is None else [_factor(str(each)) for each in factors],
        "unknown": _unknown(run),
        "why_absent": reason_of(run, "risk"),
    }


def answer_view(run: RunShape) -> dict[str, Any] | None:
    """Return the answer risk and what moved it, or why there is none; None where nobody judged it."""
    get, absent = run.attributes.get, mapping(run.attributes.get(semconv.CAPTURE_ABSENT))
    probability, why = run.summary.risk_answer, why_no_answer(run.attributes, absent)
    if probability is None and not why:
        return None
    return {
        "probability": probability,
        "method": get(semconv.RISK_ANSWER_METHOD),
        "factors": [each.rpartition(" ")[::2] for each in answer_factors(run.attributes)],
        "why_absent": why,
    }


def flags_view(run: RunShape) -> list[dict[str, Any]]:
    """Return every flag: raised ones first, with their evidence and what to do; those not judged with the reason."""
    evidence = parsed(run.attributes.get(semconv.HEALTH_EVIDENCE))
    found = []
    for flag in FLAGS:
        value = run.attributes.get(flag.attribute)
        numbers = None if evidence is None else evidence.get(flag.name, {})
        state = "unknown" if value is None else "raised" if value else "clear"
        found.append(
            {
                "name": flag.label,
                "state": state,
                "evidence": _told(numbers),
                "step": step_of(numbers),
                "advice": advice_of(flag.name),
                "why": (reason_of(run, flag.name) or _unknown(run)) if value is None else "",
            }
        )
    return sorted(found, key=lambda each: ("raised", "unknown", "clear").index(each["state"]))


def warnings_view(run: RunShape) -> list[dict[str, Any]] | None:
    """Return the warnings in the order in which they came, and those that did not last; None: not known."""
    get = run.attributes.get
    lasting = get(semconv.WARNINGS)
    fired = [*(get(semconv.EARLY_WARNING_SIGNALS) or ()), *(get(semconv.COMPOUND_SIGNALS) or ())]
    if lasting is None and not fired:
        return None
    evidence = _evidence_of_warnings(run)
    found = []
    for name in dict.fromkeys([*(lasting or ()), *fired]):
        numbers = evidence.get(name, {})
        told = {key: each for key, each in (numbers or {}).items() if key not in ("lasting", "step")}
        found.append(
            {
                "name": for_people(str(name)),
                "lasted": lasting is None or name in lasting,
                "step": step_of(numbers),
                "evidence": CUT if numbers is None else evidence_text(told),
                "advice": advice_of(str(name)),
            }
        )
    return sorted(found, key=lambda each: (not each["lasted"], each["step"] is None, each["step"] or 0))


def blame_view(run: RunShape) -> dict[str, Any]:
    """Return the blamed layers, worst first, each with its reason and severity; `layers` is None where not judged."""
    get = run.attributes.get
    layers, reasons = get(semconv.BLAME_LAYERS), get(semconv.BLAME_REASONS) or ()
    severities = get(semconv.BLAME_SEVERITIES) or ()
    return {
        "layers": None
        if layers is None
        else [
            {
                "layer": layer,
                "reason": reasons[at] if at < len(reasons) else f"reason {UNKNOWN}",
                "severity": severities[at] if at < len(severities) else None,
            }
            for at, layer in enumerate(layers)
        ],
        "why_absent": reason_of(run, "blame") or _unknown(run),
    }


def interventions_view(run: RunShape) -> list[str]:
    """Return a line for each thing that a policy did."""
    return intervention_lines(run.attributes, run.interventions)


def advice_of(name: str) -> str:
    """Return what the catalogue says to do when a flag or a warning fires; empty where it says nothing."""
    advice = _ADVICE.get(name, "")
    if (found := _AS_ANOTHER.fullmatch(advice)) and found[1] in _ADVICE:
        advice = f"{_ADVICE[found[1]]}{found[2]}"
    return advice[:1].upper() + advice[1:]


def reason_of(run: RunShape, *names: str) -> str:
    """Return why the first of these is absent; empty where nothing says so."""
    absent = mapping(run.attributes.get(semconv.CAPTURE_ABSENT))
    return next((reason_for_people(str(absent[name])) for name in names if name in absent), "")


def _factor(text: str) -> dict[str, Any]:
    name, _, part = text.rpartition("=")
    try:
        value = float(part)
    except ValueError:
        value = None
    if value is None or not name:
        return {"name": for_people(text), "part": None}
    return {"name": for_people(name), "part": min(1.0, max(0.0, value))}


def _evidence_of_warnings(run: RunShape) -> dict[str, Any]:
    """Return warning -> its numbers; None for one whose numbers were cut off."""
    get = run.attributes.get
    found: dict[str, Any] = {}
    for names, evidence in (
        (get(semconv.EARLY_WARNING_SIGNALS), parsed(get(semconv.EARLY_WARNING_EVIDENCE))),
        (get(semconv.COMPOUND_SIGNALS), parsed(get(semconv.COMPOUND_EVIDENCE))),
    ):
        every = {str(name): None for name in names or ()} if evidence is None else evidence
        found |= {name: each for name, each in every.items() if each is None or isinstance(each, Mapping)}
    health = parsed(get(semconv.HEALTH_EVIDENCE))
    steps = None if health is None else health.get(HIGH_ENTROPY_STEPS, {})
    return found | {HIGH_ENTROPY_SHARE: steps if steps is None or isinstance(steps, Mapping) else {}}


def _told(numbers: Any) -> str:
    return CUT if numbers is None else evidence_text(numbers)


def _unknown(run: RunShape) -> str:
    return UNKNOWN if run.dropped.attributes else "not judged"

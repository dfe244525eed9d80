"""The verdict in one short line, as `high 0.90: repetition loop from step 52`, without content."""

import math
from collections.abc import Mapping
from typing import Any

from ..catalogue.definitions import LONGEST_LINE
from ..catalogue.verdict import Flag
from ..catalogue.verdicts import FLAG, HIGH_ENTROPY_SHARE
from ..run import Run
from .early_warning import lasting
from .narrative import first_step


def assessment_line(run: Run) -> str | None:
    """Return level, score and the gravest finding of a judged run; None where its risk was not judged.

    The finding is a raised health flag with the step from which on it holds, else what ended the call by an error, else
    the first lasting warning, else high entropy, as far as it raised the risk.
    """
    if run.risk is None:
        return None
    return f"{run.risk.level} {run.risk.score:.2f}: {_finding(run)}"[:LONGEST_LINE]


def _finding(run: Run) -> str:
    found = _flags(run) or _error(run)
    if found is not None:
        return found
    entropy = _entropy(run)
    if entropy is not None and HIGH_ENTROPY_SHARE in run.warnings:
        return entropy
    return _warning(run) or entropy or _other_factor(run) or "nothing found"


def _flags(run: Run) -> str | None:
    """Return the gravest flag, of equal ones that which began first, and how many there are beside it."""
    raised = {} if run.health is None else {name: run.health.evidence.get(name, {}) for name in run.health.raised()}
    if not raised:
        return None
    gravest = min(raised, key=lambda name: _rank(FLAG[name], raised[name]))
    evidence, others = raised[gravest], len(raised) - 1
    began = first_step(evidence)
    layer = f" in layer {evidence['layer']}" if "layer" in evidence else ""
    step = f" from step {began}" if math.isfinite(began) else ""
    more = f", and {others} more flag{'' if others == 1 else 's'}" if others else ""
    return f"{FLAG[gravest].label}{layer}{step}{more}"


def _rank(flag: Flag, evidence: Mapping[str, Any]) -> tuple[float, float, float, bool]:
    """Return the order of findings: by weight and beginning; infinities make NaN, and the middle layers are layers."""
    within = flag.name in ("nan_detected", "mid_layer_anomaly_detected")
    return -flag.weight, first_step(evidence), evidence.get("layer", math.inf), within


def _error(run: Run) -> str | None:
    return None if run.error_type is None else f"failed with {run.error_type.rpartition('.')[2]}"


def _entropy(run: Run) -> str | None:
    """Return how many steps had a high entropy, where that is a factor of the risk or a warning."""
    high = None if run.health is None else run.health.high_entropy_steps
    factors = dict(() if run.risk is None else run.risk.factors)
    if not high or not (HIGH_ENTROPY_SHARE in run.warnings or factors.get(HIGH_ENTROPY_SHARE, 0.0) >= _LEAST_SHOWN):
        return None
    return f"high entropy in {high} of {run.steps} steps"


def _warning(run: Run) -> str | None:
    """Return the first lasting early warning with its step, else the gravest compound signal."""
    warning = run.early_warning
    told = () if warning is None else lasting(warning)
    for step, names in () if warning is None else warning.active.items():
        name = next((each for each in names if each in told), None)
        if name is not None:
            return f"{_in_words(name)} from step {step}"
    return next((_compound(each.name, each.evidence) for each in run.compound or ()), None)


def _compound(name: str, evidence: Mapping[str, Any]) -> str:
    step = f" from step {evidence['step']}" if "step" in evidence else ""
    return f"{_in_words(name)}{step}"


def _other_factor(run: Run) -> str | None:
    """Return what a judgement of somebody else's rests on: its largest factor, or its method; None for a low risk."""
    if run.risk is None or run.risk.level == "low":
        return None
    return next((_in_words(name) for name, _ in run.risk.factors), f"judged by {run.risk.method}")


def _in_words(name: str) -> str:
    return name.replace("_", " ")


_LEAST_SHOWN = 0.005
"""What two decimals round to 0.01."""

"""What the verdicts of one run may not say together: a table of pairs, and what finds them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from opentelemetry_instrumentation_corevital.assessment.blame import NOT_FINITE, judge_blame
from opentelemetry_instrumentation_corevital.assessment.compound import judge_compound
from opentelemetry_instrumentation_corevital.assessment.deviation import first_nonfinite
from opentelemetry_instrumentation_corevital.assessment.early_warning import judge_early_warning
from opentelemetry_instrumentation_corevital.assessment.ending import ended_itself, failed_by_numbers
from opentelemetry_instrumentation_corevital.assessment.health import judge_health
from opentelemetry_instrumentation_corevital.assessment.narrative import tell
from opentelemetry_instrumentation_corevital.assessment.repetition import RepetitionDetector
from opentelemetry_instrumentation_corevital.assessment.risk import judge_risk
from opentelemetry_instrumentation_corevital.assessment.thresholds import DEFAULT, Thresholds
from opentelemetry_instrumentation_corevital.catalogue.verdicts import FLAG, FLAGS
from opentelemetry_instrumentation_corevital.run import Run

Holds = Callable[[Run], bool]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two statements, of which a run's verdicts may not make both."""

    one: str
    other: str


def judged(run: Run, thresholds: Thresholds = DEFAULT) -> Run:
    """Return the run with all its verdicts, made in their order."""
    run.warnings = []
    run.health = judge_health(run, thresholds)
    run.early_warning = judge_early_warning(run, thresholds)
    run.compound, _ = judge_compound(run, thresholds)
    run.warn(run.early_warning.signals)
    run.warn([signal.name for signal in run.compound])
    run.risk = judge_risk(run, thresholds)
    run.blame = judge_blame(run, thresholds)
    run.narrative = tell(run, thresholds)
    return run


# --- statements --------------------------------------------------------------------------------------------------


def _raised(run: Run) -> list[str]:
    return [] if run.health is None else run.health.raised()


def _told(run: Run) -> str:
    return run.narrative or ""


def _factors(run: Run) -> dict[str, float]:
    return {} if run.risk is None else dict(run.risk.factors)


def _loops_at_end(run: Run) -> bool:
    last = RepetitionDetector().last(run.tokens.tolist())
    return last is not None and last.loop


def _at_end(run: Run) -> float:
    return 0.0 if run.early_warning is None else run.early_warning.failure_risk_at_end or 0.0


def _named(run: Run, flag: str) -> bool:
    """Whether the narrative says that a flag is raised: by its sentence or its label, or by the layer to blame."""
    if flag in ("layer_anomaly_detected", "mid_layer_anomaly_detected") and run.blame:
        return _names_layer(run, run.blame[0].layer)
    evidence = run.health.evidence.get(flag, {}) if run.health is not None else {}
    sentence = (FLAG[flag].sentence(evidence) or FLAG[flag].label).removesuffix(".").lower()
    return sentence in _told(run).lower() or FLAG[flag].label.lower() in _told(run).lower()


def _names_layer(run: Run, layer: int) -> bool:
    return re.search(rf"[Ll]ayer {layer}\b", _told(run)) is not None


def _numbers(value: Any) -> Iterator[float]:
    """Yield every number in a verdict."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def _of_verdicts(run: Run) -> set[float]:
    """Return the numbers that a narrative may have: of its run's verdicts, its length, its entropy."""
    health, warning = run.health, run.early_warning
    found = {
        *_numbers(dict(health.evidence) if health else {}),
        *_numbers([dict(each.evidence) for each in run.blame or ()]),
        *_numbers([each.layer for each in run.blame or ()]),
        *_numbers([len(run.blame or ()) - 1]),
        *_numbers([sum(each.reason != NOT_FINITE for each in run.blame or ()) - 1]),
        *_numbers([run.steps, health.high_entropy_steps if health else 0, DEFAULT.high_entropy_bits]),
        *_numbers([(each.step, each.to_step or 0) for each in run.interventions]),
        *_numbers([len(run.interventions) - 2]),
        *_numbers([run.risk.score if run.risk else 0, warning.first_step if warning else 0]),
        *_numbers(dict(warning.evidence) if warning else {}),
    }
    entropy = run.column("entropy")
    if entropy is not None and np.isfinite(entropy).any():
        found |= {float(np.nanmean(entropy)), float(np.nanmax(entropy)), float(np.nanargmax(entropy))}
    return found


def _foreign_number(run: Run) -> bool:
    known = _of_verdicts(run)
    for text in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?%?", _told(run)):
        digits = len(text.rstrip("%").partition(".")[2])
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        slack = 0.5000001 * 10.0**-digits / (100 if text.endswith("%") else 1)
        if "e" in text:
            slack = abs(value) * 1e-3
        if not any(abs(value - each) <= slack for each in known):
            return True
    return False


def _wrong_copies(run: Run) -> bool:
    """Whether the narrative calls copies the same that are not."""
    for onset, period, start in re.findall(
        r"step (\d+) on it repeated the (\d+) tokens that began at step (\d+)", _told(run)
    ):
        if int(start) + int(period) != int(onset) or not _same(run, int(onset), int(period)):
            return True
    return any(
        not _same(run, int(begin), int(period))
        for begin, period in re.findall(r"step (\d+) on the (\d+) tokens before that without a change", _told(run))
    )


def _same(run: Run, begin: int, period: int) -> bool:
    return bool((run.tokens[begin:] == run.tokens[begin - period : run.steps - period]).all())


STATEMENTS: Final[dict[str, Holds]] = {
    **{f"raised {flag.name}": (lambda run, name=flag.name: name in _raised(run)) for flag in FLAGS},  # type: ignore[misc]
    **{f"untold {flag.name}": (lambda run, name=flag.name: not _named(run, name)) for flag in FLAGS},  # type: ignore[misc]
    **{f"no factor {flag.name}": (lambda run, name=flag.name: name not in _factors(run)) for flag in FLAGS},  # type: ignore[misc]
    **{
        f"no evidence of {flag.name}": (
            lambda run, name=flag.name: run.health is None or name not in run.health.evidence
        )  # type: ignore[misc]
        for flag in FLAGS
    },
    "a run": lambda _: True,
    "a flag": lambda run: bool(_raised(run)),
    "no flag": lambda run: not _raised(run),
    "not finite": failed_by_numbers,
    "risk low": lambda run: run.risk is not None and run.risk.level == "low",
    "risk high": lambda run: run.risk is not None and run.risk.level == "high",
    "risk not high": lambda run: run.risk is not None and run.risk.level != "high",
    "risk below 1": lambda run: run.risk is None or run.risk.score < 1,
    "factors are not the score": lambda run: (
        run.risk is not None and abs(min(1.0, sum(_factors(run).values())) - run.risk.score) > 1e-5
    ),
    "failure risk below 1": lambda run: _at_end(run) < 1,
    "failure risk near 1": lambda run: _at_end(run) > 0.8,
    "failure risk below one half": lambda run: _at_end(run) < 0.5,
    "failure risk of 1": lambda run: _at_end(run) == 1,
    "ended itself": ended_itself,
    "loops at its end, ended by something else": lambda run: (
        run.output_tokens is not None and not ended_itself(run) and _loops_at_end(run)
    ),
    "no loop flag": lambda run: "repetition_loop_detected" not in _raised(run),
    "told to have ended by itself": lambda run: "ended by itself" in _told(run),
    "told to repeat": lambda run: "it repeated" in _told(run) or "repetition loop followed" in _told(run),
    "blames a layer": lambda run: bool(run.blame),
    "blames no layer": lambda run: not run.blame,
    "first blamed layer untold": lambda run: bool(run.blame) and not _names_layer(run, (run.blame or ())[0].layer),
    "no flag of a layer": lambda run: "layer_anomaly_detected" not in _raised(run),
    "blames a layer for values that were not finite": lambda run: any(
        each.reason == "values not finite" for each in run.blame or ()
    ),
    "no warning": lambda run: run.early_warning is not None and not run.early_warning.signals,
    "told a first warning": lambda run: "first warning" in _told(run),
    "warns after a number that was not finite": lambda run: (
        run.early_warning is not None and any(step >= first_nonfinite(run) for step in run.early_warning.active)
    ),
    "tells the entropy's mean": lambda run: "Entropy averaged" in _told(run),
    "has the entropy as a factor": lambda run: "high_entropy_share" in _factors(run),
    "a number in the narrative is in no verdict": _foreign_number,
    "calls copies the same that are not": _wrong_copies,
    "fewer than two or more than four sentences": lambda run: (
        not (2 <= len(re.findall(r"\.(?: |$)", re.sub(r"(?<=\d)\.(?=\d)", "", _told(run)))) <= 4)
    ),
}
"""Name -> whether a judged run says so."""

FORBIDDEN: Final[tuple[Pair, ...]] = (
    *(Pair(f"raised {flag.name}", f"untold {flag.name}") for flag in FLAGS),
    *(Pair(f"raised {flag.name}", f"no factor {flag.name}") for flag in FLAGS),
    *(Pair(f"raised {flag.name}", f"no evidence of {flag.name}") for flag in FLAGS),
    Pair("a flag", "risk low"),
    Pair("no flag", "risk high"),
    Pair("a run", "factors are not the score"),
    Pair("not finite", "risk below 1"),
    Pair("not finite", "failure risk below 1"),
    Pair("not finite", "tells the entropy's mean"),
    Pair("not finite", "has the entropy as a factor"),
    Pair("a run", "warns after a number that was not finite"),
    Pair("failure risk near 1", "risk low"),
    Pair("failure risk near 1", "no flag"),
    Pair("failure risk of 1", "no flag"),
    Pair("raised repetition_loop_detected", "failure risk below one half"),
    Pair("raised repetition_loop_detected", "risk not high"),
    Pair("raised repetition_loop_detected", "ended itself"),
    Pair("raised repetition_loop_detected", "told to have ended by itself"),
    Pair("loops at its end, ended by something else", "no loop flag"),
    Pair("told to repeat", "no loop flag"),
    Pair("blames a layer", "first blamed layer untold"),
    Pair("blames a layer", "no flag of a layer"),
    Pair("raised layer_anomaly_detected", "blames no layer"),
    Pair("raised mid_layer_anomaly_detected", "no flag of a layer"),
    Pair("raised attention_collapse_detected", "no flag of a layer"),
    Pair("no flag", "blames a layer for values that were not finite"),
    Pair("told a first warning", "no warning"),
    Pair("a run", "a number in the narrative is in no verdict"),
    Pair("a run", "calls copies the same that are not"),
    Pair("a run", "fewer than two or more than four sentences"),
)
"""To be joined by whoever adds a verdict: a pair of statements, the statement above it where it is new."""


def contradictions(run: Run) -> list[str]:
    """Return what the verdicts of a judged run contradict each other in; empty: nothing."""
    return [
        f"{pair.one} + {pair.other}" for pair in FORBIDDEN if STATEMENTS[pair.one](run) and STATEMENTS[pair.other](run)
    ]


def shown(run: Run) -> str:
    """Return what a failing test prints of a run."""
    evidence = json.dumps(dict(run.health.evidence) if run.health else {}, default=str)
    return f"{run.narrative} | {evidence} | {run.risk} | {run.blame}"

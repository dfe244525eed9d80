"""A run's verdicts as attributes: the one way for its span, its call's span, its log events and, from these, the store.

Values are plain Python, and what was not judged is not there. Which of them a carrier has is declared in the catalogue.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from .. import semconv
from .._internal.values import plain
from ..catalogue import intervention_names
from ..catalogue.definitions import LONGEST_TRIGGER
from ..catalogue.fitting import fitting
from ..catalogue.verdict import Carrier, Role
from ..catalogue.verdicts import CARRIED
from ..run import Intervention, Run
from .assessment_line import assessment_line
from .worst import worst_of

MOST_BLAMED: Final = 16
"""Layers that a span names; all of them are on the run."""


def verdict_attributes(run: Run, role: Role | None = None) -> dict[str, Any]:
    """Return the attributes of a run's verdicts, or of the one with this role."""
    return _attributes(run, VERDICTS if role is None else (role,))


def carried_attributes(run: Run, carrier: Carrier) -> dict[str, Any]:
    """Return those that a carrier other than the run's span has, the most needed last.

    An SDK with a lower limit drops the first ones.
    """
    return _attributes(run, reversed(VERDICTS), _CARRIED_BY[carrier])


def call_attributes(runs: Sequence[Run]) -> dict[str, Any]:
    """Return those of a call with several sequences: how many there are and are flagged, and the risk of the worst."""
    flagged = [run for run in runs if run.health is not None and run.health.raised()]
    counts = {semconv.SEQUENCE_COUNT: len(runs), semconv.SEQUENCE_FLAGGED: len(flagged)}
    worst = worst_of(runs)
    if worst is None:
        return counts
    return counts | _attributes(worst, ("risk",), _CARRIED_BY["route"]) | _attributes(worst, ("assessment",))


def _attributes(run: Run, roles: Iterable[Role], wanted: frozenset[str] | None = None) -> dict[str, Any]:
    """Return the attributes of these roles; with `wanted` no other value is made than theirs."""
    made: dict[str, Any] = {}
    for role in roles:
        of, values = VERDICTS[role]
        verdict = of(run)
        if verdict is not None:
            made |= {name: value(run, verdict) for name, value in values.items() if wanted is None or name in wanted}
    return fitting(made)


def _json(evidence: Mapping[str, Any]) -> str | None:
    return json.dumps(plain(evidence), separators=(",", ":")) if evidence else None


def _flag(name: str, _run: Run, health: Any) -> bool | None:
    found: bool | None = health.flags().get(name)
    return found


INTERVENTION: Final[dict[str, Callable[[Intervention], Any]]] = {
    semconv.INTERVENTION_KIND: lambda each: each.kind,
    semconv.INTERVENTION_TRIGGER: lambda each: each.trigger[:LONGEST_TRIGGER],
    semconv.INTERVENTION_STEP: lambda each: each.step,
    intervention_names.TOKENS_LEFT: lambda each: each.tokens_left,
    semconv.INTERVENTION_OUTCOME: lambda each: each.outcome,
    intervention_names.ROLLBACK_MODE: lambda each: each.rollback_mode,
}
"""Attribute -> its value, of an intervention: an event has all of them, the run's span most of the last one's."""
_ON_THE_SPAN: Final = tuple(name for name in INTERVENTION if name in semconv.VERDICTS.values())


def _of_last(name: str, run: Run, _: Any) -> Any:
    return INTERVENTION[name](run.interventions[-1]) if run.interventions else None


class Verdict(NamedTuple):
    """What makes the attributes of one judgement."""

    of: Callable[[Run], Any]
    """Returns the verdict; None where there is none."""
    values: dict[str, Callable[[Run, Any], Any]]
    """Attribute -> its value, of the run and its verdict."""


VERDICTS: Final[dict[Role, Verdict]] = {
    "health": Verdict(
        lambda run: run.health,
        {
            **{attribute: partial(_flag, name) for name, attribute in semconv.HEALTH_FLAGS.items()},
            semconv.HEALTH_HIGH_ENTROPY_STEPS: lambda _, health: health.high_entropy_steps,
            semconv.HEALTH_EVIDENCE: lambda _, health: _json(health.evidence),
        },
    ),
    "early_warning": Verdict(
        lambda run: run.early_warning,
        {
            semconv.EARLY_WARNING_FAILURE_RISK: lambda _, warning: warning.failure_risk_at_end,
            semconv.EARLY_WARNING_SIGNALS: lambda run, warning: (
                None if run.output_tokens is None else list(warning.signals)
            ),
            semconv.EARLY_WARNING_FIRST_STEP: lambda _, warning: warning.first_step,
            semconv.EARLY_WARNING_EVIDENCE: lambda _, warning: _json(warning.evidence),
        },
    ),
    "compound": Verdict(
        lambda run: run.compound,
        {
            semconv.COMPOUND_SIGNALS: lambda _, signals: [each.name for each in signals] or None,
            semconv.COMPOUND_SEVERITIES: lambda _, signals: [each.severity for each in signals] or None,
            semconv.COMPOUND_EVIDENCE: lambda _, signals: _json({each.name: each.evidence for each in signals}),
        },
    ),
    "risk": Verdict(
        lambda run: run.risk,
        {
            semconv.RISK_SCORE: lambda _, risk: risk.score,
            semconv.RISK_LEVEL: lambda _, risk: risk.level,
            semconv.RISK_FACTORS: lambda _, risk: [f"{name}={value:.3f}" for name, value in risk.factors],
            semconv.RISK_METHOD: lambda _, risk: risk.method,
        },
    ),
    "answer": Verdict(
        lambda run: run.answer,
        {
            semconv.RISK_ANSWER: lambda _, answer: answer.probability,
            semconv.RISK_ANSWER_SUPPORT: lambda _, answer: answer.support,
            semconv.RISK_ANSWER_METHOD: lambda _, answer: answer.method,
            semconv.RISK_ANSWER_FACTORS: lambda _, answer: [f"{name}={by:+.3f}" for name, by in answer.factors] or None,
        },
    ),
    "blame": Verdict(
        lambda run: run.blame,
        {
            semconv.BLAME_LAYERS: lambda _, blame: [each.layer for each in blame[:MOST_BLAMED]],
            semconv.BLAME_REASONS: lambda _, blame: [each.text() for each in blame[:MOST_BLAMED]],
            semconv.BLAME_SEVERITIES: lambda _, blame: [each.severity for each in blame[:MOST_BLAMED]],
        },
    ),
    "fingerprint": Verdict(
        lambda run: run.fingerprint,
        {
            semconv.FINGERPRINT_VECTOR: lambda _, found: None if found.vector is None else list(found.vector),
            semconv.FINGERPRINT_VERSION: lambda _, found: found.version,
            semconv.FINGERPRINT_PROMPT_HASH: lambda _, found: found.prompt_hash,
            semconv.FINGERPRINT_PROMPT_HASH_SOURCE: lambda _, found: found.prompt_hash_source,
            semconv.FINGERPRINT_RUN_HASH: lambda _, found: found.run_hash,
        },
    ),
    "outcome": Verdict(
        lambda run: run,
        {
            semconv.STOP_REASON: lambda run, _: run.stop_reason,
            **{name: partial(_of_last, name) for name in _ON_THE_SPAN},
        },
    ),
    "baseline": Verdict(
        lambda run: run.baseline,
        {
            semconv.VERDICTS["baseline.source"]: lambda _, used: used.source,
            semconv.VERDICTS["baseline.runs"]: lambda _, used: used.runs,
        },
    ),
    "assessment": Verdict(lambda run: run.risk, {semconv.ASSESSMENT: lambda run, _: assessment_line(run)}),
    "warnings": Verdict(lambda run: run.warnings, {semconv.WARNINGS: lambda _, names: list(names)}),
    "narrative": Verdict(lambda run: run.narrative, {semconv.NARRATIVE: lambda _, told: told or None}),
}
"""Role -> the definitions of its attributes, in the order in which a run's span gets them."""
_CARRIED_BY: Final[dict[Carrier, frozenset[str]]] = {
    carrier: frozenset(
        [*semconv.HEALTH_FLAGS.values(), *(each.attribute for each in CARRIED if carrier in each.carriers)]
    )
    for carrier in ("route", "keep")
}

"""What both risks are of ordinary sampled texts: of them nobody asked whether an answer is wrong."""

from collections.abc import Sequence
from typing import Any, Final

from answers.score import risk_score
from judged.zoo_runs import as_run, model_of
from zoo import store

from opentelemetry_instrumentation_corevital.assessment.answer_risk import judge_answer
from opentelemetry_instrumentation_corevital.assessment.risk import risk_level
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped

_TOKENS: Final = (200, 600)


def figures(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return how many are high, and outside the answer risk's support, of the zoo's healthy sampled runs by model."""
    counts = {name: _counts(name) for name in names or store.names()}
    return {"together": {key: sum(one[key] for one in counts.values()) for key in _NAMES}, "by model": counts}


_NAMES: Final = ("texts", "risk score high", "answer risk outside the support")


def _counts(name: str) -> dict[str, int]:
    shortest, longest = _TOKENS
    model = model_of(store.about(name))
    healthy = [one for one in store.load(name) if one.group == "healthy" and one.temperature]
    runs = [as_run(one, model) for one in healthy if shortest <= one.steps <= longest]
    high = sum(risk_level(risk_score(run)) == "high" for run in runs)
    outside = sum(not judge_answer(run, shipped()).support for run in runs)
    return dict(zip(_NAMES, (len(runs), high, outside), strict=True))

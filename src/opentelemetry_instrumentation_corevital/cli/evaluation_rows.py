"""What `corevital evaluate` prints for programs: JSON with everything, CSV with a row per group and score."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from ..evaluation.evaluate import FIGURES, Evaluated, Evaluation
from ..evaluation.labelled_answers import FEWEST_OF_EACH
from .evaluated_runs import FoundAnswers

_OF: Final = ("of", "model", "task", "runs", "wrong", "prompts", "groups", "score")
_PERFECT: Final = ("ece_perfect", "ece_perfect_q95")
COLUMNS: Final = (*_OF, *(f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")), *_PERFECT)
"""Of the CSV; `of` is group, model or mean."""
_DIGITS: Final = 6


def as_json_value(found: FoundAnswers, result: Evaluation, source: str) -> dict[str, Any]:
    """Return everything, for JSON."""
    return {
        "source": source,
        "labelled_runs": found.labelled,
        "wrong": found.wrong,
        "outside_support": found.outside,
        "left_out": dict(found.left_out.most_common()),
        "draws": result.draws,
        "seed": result.seed,
        "fewest_of_each_outcome": FEWEST_OF_EACH,
        "mean": None if result.mean is None else _whole(result.mean),
        "groups": [_whole(each) for each in result.groups],
        "models": [_whole(each) for each in result.models],
    }


def _whole(each: Evaluated) -> dict[str, Any]:
    curves = {} if each.curves is None else each.curves
    return {
        "model": each.model,
        "task": each.task,
        "runs": each.runs,
        "wrong": each.wrong,
        "prompts": each.prompts,
        "groups": each.groups,
        "left_out": dict(each.left_out),
        "scores": {
            score: {name: asdict(figure) for name, figure in figures.items()} for score, figures in each.scores.items()
        },
        "perfect_forecaster": {score: asdict(known) for score, known in each.perfect.items()},
        "reliability": [asdict(known) for known in each.bins],
        "risk_coverage": {score: points.round(_DIGITS).tolist() for score, points in curves.items()},
    }


def csv_rows(result: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield a row per score of the mean, of each group, and of each model with all of its tasks."""
    means = [] if result.mean is None else [result.mean]
    for what, some in (("mean", means), ("group", result.groups), ("model", result.models)):
        for each in some:
            for score, figures in each.scores.items():
                row: dict[str, Any] = dict.fromkeys(COLUMNS)
                row |= {"of": what, "score": score, **{name: getattr(each, name) for name in _OF[1:-1]}}
                for name, figure in figures.items():
                    row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
                if (perfect := each.perfect.get(score)) is not None:
                    row |= dict(zip(_PERFECT, (perfect.mean, perfect.q95), strict=True))
                yield row

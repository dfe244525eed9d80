"""How well the answer risk tells wrong answers from right ones, and how true its probabilities are."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from zoo.store import load as load_zoo

from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc, same_length_auroc
from opentelemetry_instrumentation_corevital.evaluation.reliability import calibration_error

from .left_out import left_out, probabilities, two_sided
from .table import Table, Vector

_ORDINARY: Final = (200, 600)

Measure = Callable[[Vector, Table], float]


def figures(table: Table) -> dict[str, Any]:
    """Return the figures of a table's answers, each judged by a fit without its model and its task."""
    whole, half = left_out(table), left_out(table, half=True)
    compared = {"answer risk": (whole, half)}
    compared |= {name: (values, table.plain_half[name]) for name, values in table.plain.items()}
    models = sorted(set(table.model.tolist()))
    chance = probabilities(whole)
    return {
        "answers": len(table.wrong),
        "wrong": _rounded(table.wrong.mean()),
        "groups": len(two_sided(table)),
        "macro AUROC": {
            name: {
                "whole": _macro(table, ranked, of_whole),
                "SmolLM2 alone": _macro(table, ranked, of_whole, "smollm2"),
                "at half the tokens": _macro(table, ranked, of_half),
                "pairs of one length": _macro(table, matched, of_whole),
            }
            for name, (of_whole, of_half) in compared.items()
        },
        "calibration error": {
            "all": _rounded(calibration_error(chance, table.wrong == 1)),
            **{
                name: _rounded(calibration_error(chance[some], table.wrong[some] == 1))
                for name in models
                for some in [table.model == name]
            },
        },
        "ordinary sampled answers of SmolLM2": _ordinary(),
    }


def ranked(score: Vector, table: Table) -> float:
    """Return the area under the ROC curve."""
    return auroc(score, table.wrong == 1)


def matched(score: Vector, table: Table) -> float:
    """Return the same over the pairs of answers with equally many tokens; NaN where there are none."""
    return same_length_auroc(score, table.wrong == 1, table.tokens.astype(np.int64))


def _macro(table: Table, measure: Measure, score: Vector, model: str = "") -> float:
    """Return the mean over the groups of a model, of all models unless it is named."""
    groups = [some for name, some in two_sided(table) if name.startswith(model)]
    return _rounded(np.nanmean([measure(score[some], table.where(some)) for some in groups]))


def _ordinary() -> dict[str, Any]:
    """Return how many ordinary answers are outside the support, by their length alone."""
    shortest, longest = _ORDINARY
    runs = [each for each in load_zoo("smollm2") if each.group == "healthy" and each.temperature]
    lengths = [each.steps for each in runs if shortest <= each.steps <= longest]
    outside = sum(steps > shipped().most_tokens for steps in lengths)
    return {"answers": len(lengths), "outside the support": _rounded(outside / len(lengths))}


def _rounded(value: Any) -> float:
    return round(float(value), 4)

"""How well the answer risk tells wrong answers from right ones, and how true its probabilities are."""

from collections.abc import Callable
from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc, same_length_auroc
from opentelemetry_instrumentation_corevital.evaluation.reliability import calibration_error

from .left_out import left_out, probabilities, two_sided
from .table import Table, Vector

Measure = Callable[[Vector, Table], float]


def figures(table: Table) -> dict[str, Any]:
    """Return the figures of a table's answers, each judged by a fit without its model and its task."""
    whole, half = left_out(table), left_out(table, half=True)
    compared: dict[str, tuple[Vector, Vector | None]] = {"answer risk": (whole, half)}
    compared |= {name: (values, table.plain_half.get(name)) for name, values in table.plain.items()}
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
                "pairs of one length": _macro(table, matched, of_whole),
                **({} if of_half is None else {"at half the tokens": _macro(table, ranked, of_half)}),
            }
            for name, (of_whole, of_half) in compared.items()
        },
        "where five answers were sampled": _with_agreement(table, whole),
        "calibration error": {
            "all": _rounded(calibration_error(chance, table.wrong == 1)),
            **{
                name: _rounded(calibration_error(chance[some], table.wrong[some] == 1))
                for name in models
                for some in [table.model == name]
            },
        },
    }


def _with_agreement(table: Table, log_odds: Vector) -> dict[str, float]:
    """Return what several answers that are sampled to one question add, where there are some: macro AUROC."""
    some = np.isfinite(table.agreement)
    part, doubt, differing = table.where(some), log_odds[some], -table.agreement[some]
    scores = {
        "answer risk": doubt,
        "agreement": differing,
        "both, standardised and added": doubt / doubt.std() + differing / differing.std(),
    }
    return {name: _macro(part, ranked, score) for name, score in scores.items()}


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


def _rounded(value: Any) -> float:
    return round(float(value), 4)

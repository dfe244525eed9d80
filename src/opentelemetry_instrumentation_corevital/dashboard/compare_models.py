"""Models held against each other, as the tables and charts of a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import fsum
from typing import Any, Final

from ..catalogue.spelling import for_people
from ..presentation.pages.page_formats import fixed, number, percent
from ..store.comparison import Difference, Groups, ModelFigures, compare_groups, in_common, prompt_of
from ..store.comparison_notes import what_to_beware_of
from ..store.comparison_rows import DifferenceRow, ModelRow, difference_rows, few_units, model_rows, without_interval
from ..store.filters import FLAGS
from ..store.stored_run import RunSummary
from .named_runs import run_key

_MOST_POINTS: Final = 200
_MOST_PROMPTS: Final = 25
_MOST_SIDE_BY_SIDE: Final = 4
_COLOURS: Final = 6


@dataclass(frozen=True, slots=True)
class ModelDifferences:
    """How one model differs from the reference."""

    model: str
    colour: int
    headline: str
    rows: Sequence[DifferenceRow]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class PromptRow:
    """What each model makes of a prompt in common."""

    prompt_hash: str
    prompt_id: str | None
    risks: Sequence[float | None]
    """Mean risk of each model."""
    runs: int
    run: str
    """One of its runs."""
    side_by_side: Sequence[str]
    """The newest run of each model."""


@dataclass(frozen=True, slots=True)
class ModelsView:
    """All that the page shows of some models."""

    models: Sequence[tuple[str, int]]
    """Name, and number of its colour."""
    rows: Sequence[ModelRow]
    differences: Sequence[ModelDifferences]
    notes: Sequence[str]
    charts: Sequence[dict[str, Any]]
    prompts: Sequence[PromptRow]
    more_prompts: int


def models_view(groups: Groups) -> ModelsView:
    """Return what the page shows of the runs of each model, those of the reference first."""
    found, different = compare_groups(groups)
    prompts = _prompts(groups)
    return ModelsView(
        [(name, place % _COLOURS + 1) for place, name in enumerate(groups)],
        model_rows(found),
        _differences(different, list(groups)),
        what_to_beware_of(groups, found),
        [
            _distribution("Risk", "risk_score", "", groups, found, highest=1),
            *_flag_charts(found),
            _distribution("Tokens", "output_tokens", "generated tokens", groups, found),
        ],
        prompts[:_MOST_PROMPTS],
        max(0, len(prompts) - _MOST_PROMPTS),
    )


def _differences(different: Sequence[Difference], models: list[str]) -> list[ModelDifferences]:
    told = []
    for model, rows in groupby(different, lambda each: each.model):
        differing = list(rows)
        shown = difference_rows(differing)
        notes = [*without_interval(differing), *few_units(differing)]
        told.append(
            ModelDifferences(model, models.index(model) % _COLOURS + 1, _headline(differing, shown), shown, notes)
        )
    return told


def _headline(rows: Sequence[Difference], shown: Sequence[DifferenceRow]) -> str:
    """Return what is clear of a difference, risk first."""
    clear = [(row, text) for row, text in zip(rows, shown, strict=True) if row.clear]
    if not clear:
        return "no clear difference"
    parts = [f"{text.title} {text.difference} ({text.interval})" for _, text in clear[:3]]
    more = f", and {len(clear) - 3} more" if len(clear) > 3 else ""
    return f"clearly different: {'; '.join(parts)}{more}"


# --- charts ------------------------------------------------------------------------------------------------------


def _distribution(
    title: str, name: str, unit: str, groups: Groups, found: Sequence[ModelFigures], highest: float | None = None
) -> dict[str, Any]:
    spreads = [each.measures.get(name) for each in found]
    boxes = [
        None if spread is None else [spread.minimum, spread.q10, spread.median, spread.q90, spread.maximum]
        for spread in spreads
    ]
    digits = 2 if highest == 1 else 0
    return {
        "title": f"{title} of runs",
        "kind": "distribution",
        "source": f"chart-{name}",
        "caption": "box: 10 to 90 %, line: median, dots: runs",
        "data": {
            "labels": list(groups),
            "unit": unit,
            "highest": highest,
            "boxes": boxes,
            "points": [_sample(runs, name) for runs in groups.values()],
        },
        "table": {
            "head": ["model", "runs", "smallest", "10 %", "median", "90 %", "largest"],
            "rows": [
                [each.model, number(each.runs if spread is None else spread.count)]
                + ["\u2013"] * 5 * (box is None)
                + [fixed(value, digits) for value in box or ()]
                for each, spread, box in zip(found, spreads, boxes, strict=True)
            ],
            "left_out": 0,
        },
    }


def _sample(runs: Sequence[RunSummary], name: str) -> list[float]:
    """Return values of runs, evenly over their order where there are many: they show the same distribution."""
    values = sorted(value for run in runs if (value := getattr(run, name)) is not None)
    if len(values) > _MOST_POINTS:
        values = [values[round(n * (len(values) - 1) / (_MOST_POINTS - 1))] for n in range(_MOST_POINTS)]
    return [round(value, 4) for value in values]


def _flag_charts(found: Sequence[ModelFigures]) -> list[dict[str, Any]]:
    """Return a chart of the flags that any of the models' runs have; none where there is none."""
    raised = [flag for flag in FLAGS if any((spread := each.measures.get(flag)) and spread.mean for each in found)]
    if not raised:
        return []
    fractions = [
        [None if (spread := each.measures.get(flag)) is None else spread.mean for flag in raised] for each in found
    ]
    titles = [for_people(flag) for flag in raised]
    return [
        {
            "title": "Runs with each flag",
            "kind": "bars",
            "source": "chart-flags",
            "caption": "% of those of which it is known",
            "data": {
                "labels": titles,
                "horizontal": True,
                "legend": False,
                "series": [
                    {
                        "name": each.model,
                        "values": [None if value is None else round(100 * value, 2) for value in values],
                        "colour": f"--series-{place % _COLOURS + 1}",
                    }
                    for place, (each, values) in enumerate(zip(found, fractions, strict=True))
                ],
            },
            "table": {
                "head": ["model", *titles],
                "rows": [
                    [each.model, *(percent(value, 1) for value in values)]
                    for each, values in zip(found, fractions, strict=True)
                ],
                "left_out": 0,
            },
        }
    ]


# --- prompts -----------------------------------------------------------------------------------------------------


def _prompts(groups: Groups) -> list[PromptRow]:
    """Return what each model makes of the prompts in common, those on which they differ the most first."""
    if len(groups) < 2:
        return []
    by_prompt: dict[tuple[str | None, str], dict[str, list[RunSummary]]] = {key: {} for key in in_common(groups)}
    for model, runs in groups.items():
        for run in runs:
            if (key := prompt_of(run)) in by_prompt and key is not None:
                by_prompt[key].setdefault(model, []).append(run)
    rows = [_prompt_row(key[1], runs) for key, runs in by_prompt.items()]
    return sorted(rows, key=lambda row: (-_range(row.risks), row.prompt_hash))


def _prompt_row(prompt_hash: str, runs: dict[str, list[RunSummary]]) -> PromptRow:
    every = [run for of_model in runs.values() for run in of_model]
    risks = [[run.risk_score for run in of_model if run.risk_score is not None] for of_model in runs.values()]
    return PromptRow(
        prompt_hash,
        next((run.prompt_id for run in every if run.prompt_id), None),
        [fsum(each) / len(each) if each else None for each in risks],
        len(every),
        run_key(every[0]),
        [run_key(of_model[0]) for of_model in runs.values()][:_MOST_SIDE_BY_SIDE],
    )


def _range(risks: Sequence[float | None]) -> float:
    known = [risk for risk in risks if risk is not None]
    return max(known) - min(known) if known else 0.0

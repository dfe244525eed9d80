"""An evaluation as one HTML file that needs nothing else: conclusions, pictures by model, and every figure."""

from collections import Counter
from typing import Any, Final

from ...evaluation.evaluate import FIGURES, Evaluated, Evaluation
from ...evaluation.labelled_answers import ANSWER
from ...evaluation.resampling import Figure
from ..evaluation_text import best_baseline, headline, interval_text, not_counted, value_text
from .evaluation_charts import Chart, coverage_chart, reliability_chart
from .inlined import Inlined
from .rendering import render

_STYLES: Final = ("theme.css", "evaluation.css")
_MODULE: Final = "evaluation.js"


def evaluation_file(result: Evaluation, coverage: str, *, source: str) -> str:
    """Return the page.

    Args:
        result: what was found.
        coverage: a sentence that says which runs it is of.
        source: the store that they were read from.
    """
    tasks = Counter(each.model for each in result.groups)
    models = [{**_model(place, each), "several": tasks[each.model] > 1} for place, each in enumerate(result.models)]
    values = {
        "inlined": Inlined.of(_STYLES, _MODULE),
        "source_name": source,
        "coverage": coverage,
        "conclusions": headline(result),
        "not_counted": not_counted(result),
        "figures": FIGURES,
        "mean": None if result.mean is None else _figures(result.mean),
        "groups": [_group(each) for each in result.groups],
        "models": models,
        "charts": [chart for each in models for chart in each["charts"]],
        "draws": result.draws,
        "seed": result.seed,
    }
    return render("evaluation/file.html.j2", values)


def _model(place: int, each: Evaluated) -> dict[str, Any]:
    charts: list[Chart] = []
    if each.bins:
        charts.append(reliability_chart(f"reliability-{place}", {ANSWER: each.bins}))
    best, curves = best_baseline(each), each.curves or {}
    shown = {name: curves[name] for name in (ANSWER, best) if name is not None and name in curves}
    charts.append(coverage_chart(f"coverage-{place}", shown, base=each.wrong / each.runs))
    return {"charts": charts, **_figures(each)}


def _group(each: Evaluated) -> dict[str, Any]:
    best, perfect = best_baseline(each), each.perfect.get(ANSWER)
    answer = each.scores.get(ANSWER, {})
    return {
        **_figures(each),
        "auroc": _cell(answer.get("auroc")),
        "best": None if best is None else (best, value_text(each.scores[best]["auroc"])),
        "ece": _cell(answer.get("ece")),
        "perfect": "-" if perfect is None else f"{perfect.mean:.3f}, 95 % within {perfect.q95:.3f}",
    }


def _figures(each: Evaluated) -> dict[str, Any]:
    """Return the table of every figure of every score."""
    return {
        "model": each.model,
        "task": each.task,
        "runs": each.runs,
        "wrong": each.wrong,
        "prompts": each.prompts,
        "groups": each.groups,
        "rows": [(score, [_cell(figures.get(name)) for name in FIGURES]) for score, figures in each.scores.items()],
    }


def _cell(figure: Figure | None) -> tuple[str, str]:
    return value_text(figure), interval_text(figure)

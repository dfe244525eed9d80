"""A comparison of models as the rows of its tables, in words and numbers that people read. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .comparison import MEASURES, Difference, Distribution, Measure, ModelFigures
from .filters import FLAGS
from .intervals import ROUGH

_BY_NAME: Final = {measure.name: measure for measure in MEASURES}
_UNITS: Final = {"pairs": "prompts", "runs": "runs each", "prompts": "unpaired"}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One figure of every model."""

    title: str
    cells: Sequence[str]
    part: bool = False
    """Whether it tells more of the row above."""


def model_rows(found: Sequence[ModelFigures]) -> list[ModelRow]:
    """Return what the models show."""
    risk = _BY_NAME["risk_score"]
    spreads = [each.measures.get(risk.name) for each in found]
    rows = [
        ModelRow("runs", [str(each.runs) for each in found]),
        ModelRow("prompts", [str(each.prompts) for each in found]),
        ModelRow("risk, mean", [_number(risk, _mean(each, risk.name)) for each in found]),
        ModelRow("median", [_quantile(spread, "median") for spread in spreads], part=True),
        ModelRow("10 to 90 %", [_quantile(spread, "q10", "q90") for spread in spreads], part=True),
        ModelRow("high", [str(each.high_risk) if risk.name in each.measures else "-" for each in found], part=True),
        ModelRow("flagged", [_fraction(each.measures.get("flagged")) for each in found]),
    ]
    for flag in FLAGS:
        if any(_mean(each, flag) for each in found):
            cells = [_fraction(each.measures.get(flag)) for each in found]
            rows.append(ModelRow(_BY_NAME[flag].title, cells, part=True))
    if any("correct" in each.measures for each in found):
        cells = [_fraction(each.measures.get("correct")) for each in found]
        rows.append(ModelRow(_BY_NAME["correct"].title, cells))
    for name in ("entropy_mean", "output_tokens"):
        measure = _BY_NAME[name]
        rows.append(ModelRow(f"{titled(measure)}, mean", [_number(measure, _mean(each, name)) for each in found]))
    return rows


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """How a model differs from the reference in one measure."""

    title: str
    mean: str
    reference: str
    difference: str
    interval: str | None
    over: str
    """What the difference rests on; empty where there is no interval."""
    clear: bool
    """Whether the interval leaves out zero."""


def difference_rows(rows: Sequence[Difference]) -> list[DifferenceRow]:
    """Return how a model differs from the reference."""
    return [_row(row, _BY_NAME[row.measure]) for row in rows]


def _row(row: Difference, measure: Measure) -> DifferenceRow:
    interval = None
    if row.low is not None:
        interval = f"{_number(measure, row.low, '+')} to {_number(measure, row.high, '+')}"
    return DifferenceRow(
        titled(measure),
        _number(measure, row.mean),
        _number(measure, row.reference_mean),
        _number(measure, row.difference, "+"),
        interval,
        "" if row.no_interval else f"{row.units} {_UNITS[row.basis]}",
        row.clear,
    )


def without_interval(rows: Sequence[Difference]) -> list[str]:
    """Return why there is no interval, once for all that have none for the same reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.no_interval:
            reasons.setdefault(row.no_interval, []).append(_BY_NAME[row.measure].title)
    lines = []
    for reason, names in reasons.items():
        of = "" if len(names) == len(rows) else f" of {', '.join(names)}"
        lines.append(f"No interval{of}: {reason}.")
    return lines


def few_units(rows: Sequence[Difference]) -> list[str]:
    """Return what there is to beware of in intervals over few units."""
    fewest = min((row for row in rows if row.rough), key=lambda row: row.units, default=None)
    if fewest is None:
        return []
    what = {"pairs": "prompts", "runs": "runs each", "prompts": "prompts each"}[fewest.basis]
    few = f"Intervals over fewer than {ROUGH} {what} are rough, and here are {fewest.units}"
    return [f"{few}: what is rare may not have shown yet."]


def titled(measure: Measure) -> str:
    """Return the title of a measure with its unit."""
    unit = "%" if measure.fraction else measure.unit
    return f"{measure.title}{f', {unit}' if unit else ''}"


def _quantile(spread: Distribution | None, *names: str) -> str:
    return "-" if spread is None else "-".join(f"{getattr(spread, name):.2f}" for name in names)


def _mean(each: ModelFigures, name: str) -> float | None:
    spread = each.measures.get(name)
    return None if spread is None else spread.mean


def _fraction(spread: Distribution | None) -> str:
    return "-" if spread is None else f"{round(spread.mean * spread.count)} of {spread.count}"


def _number(measure: Measure, value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    digits = 0 if measure.fraction or measure.name == "output_tokens" else 2
    shown = round(100 * value if measure.fraction else value, digits) + 0.0  # which makes -0 a 0
    return f"{shown:{sign}.{digits}f}"

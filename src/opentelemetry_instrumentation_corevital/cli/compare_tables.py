"""What `corevital compare` prints."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from ..store.comparison import MEASURES, Difference, Measure, ModelFigures, Spread
from ..store.filters import FLAGS
from .options import console
from .render import printable

_BY_NAME: Final = {measure.name: measure for measure in MEASURES}
_BASES: Final = {
    "pairs": "prompts in common",
    "runs": "runs of the one prompt in common",
    "prompts": "prompts, none in common",
}


def print_comparison(found: Sequence[ModelFigures], different: Sequence[Difference], notes: Sequence[str]) -> None:
    """Print models, their flags, and how they differ from the first."""
    out = console()
    out.print(_models(found))
    raised = [flag for flag in FLAGS if any(_mean(each, flag) for each in found)]
    if raised:
        out.print()
        out.print(_flags(found, raised))
    for model, rows in groupby(different, lambda each: each.model):
        out.print()
        out.print(_differences(model, list(rows), found[0].model))
    if notes:
        out.print()
    for note in notes:
        out.print(Text(printable(note), "yellow"), soft_wrap=True)


def _models(found: Sequence[ModelFigures]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "runs", "prompts", "risk", "median", "10-90 %", "high", "flagged", "entropy", "tokens"):
        table.add_column(name, justify="left" if name == "model" else "right", overflow="fold")
    for each in found:
        risk, tokens = each.measures.get("risk_score"), each.measures.get("output_tokens")
        table.add_row(
            Text(printable(each.model)),
            str(each.runs),
            str(each.prompts),
            "-" if risk is None else f"{risk.mean:.2f}",
            "-" if risk is None else f"{risk.median:.2f}",
            "-" if risk is None else f"{risk.q10:.2f}-{risk.q90:.2f}",
            str(each.high_risk),
            _share(each.measures.get("flagged")),
            _number(_BY_NAME["entropy_mean"], _mean(each, "entropy_mean")),
            "-" if tokens is None else f"{tokens.mean:.0f}",
        )
    return table


def _flags(found: Sequence[ModelFigures], raised: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("flag")
    for each in found:
        table.add_column(Text(printable(each.model)), justify="right", overflow="fold")
    for flag in raised:
        table.add_row(_BY_NAME[flag].title, *(_share(each.measures.get(flag)) for each in found))
    return table


def _differences(model: str, rows: Sequence[Difference], reference: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title_style="bold")
    table.title = Text(f"{printable(model)}, held against {printable(reference)}", "bold")
    for name in ("", "it", "reference", "difference", "95 % interval", "over"):
        table.add_column(name, justify="left" if name in ("", "over") else "right")
    for row in rows:
        measure = _BY_NAME[row.measure]
        interval = "-" if row.low is None else f"{_signed(measure, row.low)} to {_signed(measure, row.high)}"
        table.add_row(
            measure.title,
            _number(measure, row.mean),
            _number(measure, row.reference_mean),
            Text(_signed(measure, row.difference), "bold" if row.clear else ""),
            Text(interval, "bold" if row.clear else ""),
            row.no_interval or f"{row.units} {_BASES[row.basis]}",
        )
    return table


def _mean(each: ModelFigures, name: str) -> float | None:
    spread = each.measures.get(name)
    return None if spread is None else spread.mean


def _share(spread: Spread | None) -> str:
    return "-" if spread is None else f"{round(spread.mean * spread.count)} of {spread.count}"


def _number(measure: Measure, value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    if measure.share:
        return f"{100 * value:{sign}.0f} %"
    digits = 0 if measure.name == "output_tokens" else 2
    return f"{value:{sign}.{digits}f}{f' {measure.unit}' if measure.unit else ''}"


def _signed(measure: Measure, value: float | None) -> str:
    return _number(measure, value, "+")


# --- for programs ------------------------------------------------------------------------------------------------


def as_json_value(
    found: Sequence[ModelFigures], different: Sequence[Difference], reference: str, notes: Sequence[str]
) -> dict[str, Any]:
    """Return everything, for JSON."""
    return {
        "reference": reference,
        "models": [asdict(each) for each in found],
        "differences": [{**asdict(each), "clear": each.clear} for each in different],
        "notes": list(notes),
    }


def csv_rows(found: Sequence[ModelFigures], different: Sequence[Difference]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one row per model, with its differences from the first, and the columns."""
    rows = []
    for each in found:
        row = {name: value for name, value in asdict(each).items() if name != "measures"}
        for measure in MEASURES:
            spread = each.measures.get(measure.name)
            told = (
                ("count", "mean") if measure.share else ("count", "mean", "minimum", "q10", "median", "q90", "maximum")
            )
            row |= {f"{measure.name}_{what}": None if spread is None else getattr(spread, what) for what in told}
        for measure in MEASURES:
            mine = next((d for d in different if (d.model, d.measure) == (each.model, measure.name)), None)
            for what in ("difference", "low", "high", "units"):
                row[f"{measure.name}_difference_{what}".replace("difference_difference", "difference")] = (
                    None if mine is None else getattr(mine, what)
                )
        rows.append(row)
    return rows, list(rows[0])

"""The pictures of an evaluation: reliability diagram and risk-coverage curve, each with its table."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...evaluation.reliability import ReliabilityBin
from ...evaluation.score_blocks import FloatMatrix
from .page_formats import fixed, number, percent

Chart = dict[str, Any]
"""What the macro `chart` takes: title, kind, source, data, table."""

_ROWS_OF_CURVE: Final = 10
"""Of its table: coverage in tenths."""
_DIGITS: Final = 5


def reliability_chart(source: str, bins: Mapping[str, Sequence[ReliabilityBin]], title: str = "") -> Chart:
    """Return a diagram of what came true against what was forecast.

    Args:
        source: the name of its data on the page.
        bins: name of a series -> its bins.
        title: what it is of.
    """
    several = len(bins) > 1
    return {
        "title": f"Reliability{title}",
        "caption": "fraction of wrong answers against the answer risk, with 95 % intervals",
        "kind": "reliability",
        "source": source,
        "data": {"series": [{"name": name, "points": [_point(each) for each in some]} for name, some in bins.items()]},
        "table": {
            "head": [*(["model"] if several else []), "answer risk, mean", "wrong", "95 % interval", "runs"],
            "rows": [[*([name] if several else []), *_row(each)] for name, some in bins.items() for each in some],
            "left_out": 0,
        },
    }


def _point(each: ReliabilityBin) -> list[float]:
    return [*(round(value, _DIGITS) for value in (each.forecast, each.wrong, each.low, each.high)), each.runs]


def _row(each: ReliabilityBin) -> list[str]:
    interval = f"{percent(each.low)} to {percent(each.high)}"
    return [fixed(each.forecast, 3), percent(each.wrong, 1), interval, number(each.runs)]


def coverage_chart(
    source: str, curves: Mapping[str, FloatMatrix], title: str = "", *, base: float | None = None
) -> Chart:
    """Return curves of the fraction of wrong answers among those that are accepted.

    Args:
        source: the name of its data on the page.
        curves: name of a series -> coverage and risk [points, 2].
        title: what it is of.
        base: fraction of wrong answers of all, a line that a random order has; None: there is none.
    """
    return {
        "title": f"Risk and coverage{title}",
        "caption": "wrong among the accepted answers, those of the lowest score first",
        "kind": "coverage",
        "source": source,
        "data": {
            "base": None if base is None else round(base, _DIGITS),
            "series": [{"name": name, "points": points.round(_DIGITS).tolist()} for name, points in curves.items()],
        },
        "table": {
            "head": ["accepted", *(f"{name}: wrong" if len(curves) > 1 else "wrong" for name in curves)],
            "rows": [
                [
                    percent(tenth / _ROWS_OF_CURVE),
                    *(percent(_at(points, tenth / _ROWS_OF_CURVE), 1) for points in curves.values()),
                ]
                for tenth in range(1, _ROWS_OF_CURVE + 1)
            ],
            "left_out": 0,
        },
    }


def _at(points: FloatMatrix, coverage: float) -> float | None:
    """Return the risk at a coverage: of the last point that has no more; None where even the first has more."""
    fitting = points[points[:, 0] <= coverage + 1e-9]
    return float(fitting[-1, 1]) if len(fitting) else None

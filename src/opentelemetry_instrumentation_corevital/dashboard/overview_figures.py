"""What runs show over time as the charts and tables of a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..catalogue.spelling import for_people
from ..presentation.pages.evaluation_charts import Chart
from ..presentation.pages.page_formats import duration, fixed, local_time, number, percent
from ..store.figures_over_time import Figures, FiguresOverTime, ModelSeries, Quantiles
from ..store.filters import FLAGS, LEVELS

_MILLISECOND_NS: Final = 10**6
_DAY_NS: Final = 86_400 * 10**9
_SERIES_COLOURS: Final = 6
_HALF: Final = 0.5
_LOOP: Final = "repetition_loop_detected"
_NAN: Final = "nan_detected"


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a chart has a line of for each model."""

    name: str
    title: str
    heading: str
    """Of its column in the table of models."""
    of: Callable[[Figures], float | None]
    told: Callable[[float | None], str]
    unit: str = ""
    highest: float | None = None
    """The upper end of its axis; None: as high as the values need."""


def _of(name: str, part: str) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        found: Quantiles | None = getattr(figures, name)
        return None if found is None else getattr(found, part)

    return value


def _fraction(flag: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.fraction(flag)


def _tenths(value: float | None) -> str:
    return percent(value, 1)


MEASURES_OVER_TIME: Final = (
    _Measure("risk-median", "Risk, median", "Risk", _of("risk", "median"), fixed, highest=1),
    _Measure("risk-p90", "Risk, 90th percentile", "Risk, 90 %", _of("risk", "p90"), fixed, highest=1),
    _Measure("high", "Runs of high risk", "High risk", Figures.fraction_high, _tenths, "%"),
    _Measure("loops", f"Runs with a {for_people(_LOOP)}", "Loops", _fraction(_LOOP), _tenths, "%"),
    _Measure("nan", f"Runs with {for_people(_NAN)}", "NaN", _fraction(_NAN), _tenths, "%"),
    _Measure("entropy", "Entropy, mean", "Entropy", lambda figures: figures.entropy, fixed, "bit"),
    _Measure("latency-median", "Latency, median", "Latency", _of("seconds", "median"), duration, "s"),
    _Measure("latency-p90", "Latency, 90th percentile", "Latency, 90 %", _of("seconds", "p90"), duration, "s"),
)
"""By model and time."""


def model_title(series: ModelSeries) -> str:
    """Return what a series is called."""
    return "other models" if series.others else series.model or "unknown model"


def line_charts(found: FiguresOverTime) -> list[Chart]:
    """Return a chart for each measure, with a line per model."""
    return [_line_chart(measure, found) for measure in MEASURES_OVER_TIME]


def _line_chart(measure: _Measure, found: FiguresOverTime) -> Chart:
    scale = 100 if measure.unit == "%" else 1
    rows = [[each.stretches.get(number) for each in found.models] for number in range(len(found.starts_ns))]
    values = [[None if each is None else measure.of(each) for each in row] for row in rows]
    highest = max((value for row in values for value in row if value is not None), default=0.0)
    return {
        "title": measure.title,
        "kind": "times",
        "source": f"chart-{measure.name}",
        "data": {
            "x": [start // _MILLISECOND_NS for start in found.starts_ns],
            "unit": measure.unit,
            "highest": measure.highest or (100 if scale == 100 and highest > _HALF else None),
            "series": [
                {"name": model_title(each), "values": [_scaled(row[place], scale) for row in values]}
                for place, each in enumerate(found.models)
            ],
        },
        "table": {
            "head": ["from", *map(model_title, found.models)],
            "rows": [
                [_time(start, found.width_ns), *map(measure.told, row)]
                for start, row in zip(found.starts_ns, values, strict=True)
                if any(value is not None for value in row)
            ],
            "left_out": 0,
        },
    }


def _scaled(value: float | None, scale: int) -> float | None:
    return None if value is None else round(value * scale, 4)


def level_chart(found: FiguresOverTime) -> Chart:
    """Return how many runs of each level there were."""
    counts = [found.stretches.get(number) for number in range(len(found.starts_ns))]
    columns: dict[str, list[int]] = {
        level: [0 if each is None else each.levels[level] for each in counts] for level in LEVELS
    }
    columns["not judged"] = [0 if each is None else each.runs - sum(each.levels.values()) for each in counts]
    columns = {level: values for level, values in columns.items() if any(values) or level in LEVELS}
    colours = {level: f"--{level}" for level in LEVELS}
    return {
        "title": "Runs by risk level",
        "kind": "bars",
        "source": "chart-levels",
        "data": {
            "labels": [_time(start, found.width_ns) for start in found.starts_ns],
            "stacked": True,
            "series": [
                {"name": level, "values": values, "colour": colours.get(level, "--strong-line")}
                for level, values in columns.items()
            ],
        },
        "table": _counted(found, list(columns), list(columns.values())),
    }


def flag_chart(found: FiguresOverTime) -> Chart:
    """Return how many runs had each flag; a run may have several."""
    raised = [flag for flag in FLAGS if found.total.raised[flag]]
    counts = [found.stretches.get(number) for number in range(len(found.starts_ns))]
    columns = [[0 if each is None else each.raised[flag] for each in counts] for flag in raised]
    return {
        "title": "Flags",
        "kind": "bars",
        "source": "chart-flags",
        "data": {
            "labels": [_time(start, found.width_ns) for start in found.starts_ns],
            "stacked": True,
            "series": [
                {"name": for_people(flag), "values": values} for flag, values in zip(raised, columns, strict=True)
            ],
        },
        "table": _counted(found, [for_people(flag) for flag in raised], columns),
    }


def _counted(found: FiguresOverTime, names: Sequence[str], columns: Sequence[Sequence[int]]) -> dict[str, Any]:
    rows = [
        [_time(start, found.width_ns), *(number(column[place]) for column in columns)]
        for place, start in enumerate(found.starts_ns)
        if place in found.stretches
    ]
    return {"head": ["from", *names], "rows": rows, "left_out": 0}


def _time(start_ns: int, width_ns: int) -> str:
    """Return when a stretch begins, no finer than it is long."""
    whole = local_time(start_ns)
    return whole[:10] if width_ns >= _DAY_NS else whole[5:16] if width_ns >= 60 * 10**9 else whole[5:]


def model_table(found: FiguresOverTime) -> list[dict[str, Any]]:
    """Return a row per model, with the colour of its lines."""
    return [
        {
            "name": model_title(each),
            "model": None if each.others else each.model,
            "colour": place % _SERIES_COLOURS + 1,
            "runs": each.total.runs,
            "figures": [measure.told(measure.of(each.total)) for measure in MEASURES_OVER_TIME],
        }
        for place, each in enumerate(found.models)
    ]


def headline(found: FiguresOverTime) -> str:
    """Return what there is to know first, in one or two sentences."""
    total = found.total
    high = total.fraction_high()
    if high is None:
        return f"{number(total.runs)} runs; the risk of none is known."
    said = f"{number(total.levels['high'])} of {number(sum(total.levels.values()))} runs are of high risk"
    told = [(each, each.total.fraction_high()) for each in found.models if each.total.levels["high"]]
    if len(found.models) > 1 and told:
        worst, fraction = max(told, key=lambda each: each[1] or 0.0)
        said += f", most often of {model_title(worst)} ({percent(fraction, 1)})"
    flags = sorted((flag for flag in FLAGS if total.raised[flag]), key=lambda flag: -total.raised[flag])
    if not flags:
        return f"{said}. No flag was raised."
    most = flags[0]
    times = total.raised[most]
    return f"{said}. The most frequent flag is {for_people(most)}: {number(times)} run{'' if times == 1 else 's'}."

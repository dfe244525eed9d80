"""`corevital compare RUN RUN`: two runs beside each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from .. import semconv
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..catalogue.spelling import factor_for_people, for_people
from ..presentation.panel import level_style, sparkline
from ..store import StoredRun, open_store
from ..store.comparison import prompt_of
from .output import print_json, write_csv
from .printing import console, tell_damage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

_SPARKLINE_WIDTH: Final = 24
_MOST_CELL: Final = 2000
_WIDEST: Final = 120  # of a text that is read from line to line
_ALIKE: Final = 1e-3  # entropies nearer than this (bit, or relative) differ by rounding: another device or batch


@dataclass(frozen=True, slots=True)
class _Field:
    """A line: its name, its value of a run, how a number is written (None: text)."""

    name: str
    of: Callable[[StoredRun], Any]
    form: str | None = None
    unit: str = ""


def _attribute(name: str) -> Callable[[StoredRun], Any]:
    return lambda run: run.attributes.get(name)


_FIELDS: Final = (
    _Field("model", lambda run: run.summary.model),
    _Field("prompt hash", lambda run: run.summary.prompt_hash and run.summary.prompt_hash[:16]),
    _Field("prompt id", lambda run: run.summary.prompt_id),
    _Field("experiment", lambda run: run.summary.experiment),
    _Field("decoding", lambda run: run.summary.strategy),
    _Field("seed", _attribute(semconv.GEN_AI_REQUEST_SEED)),
    _Field("risk", lambda run: run.summary.risk_score, ".2f"),
    _Field("level", lambda run: run.summary.risk_level),
    _Field("factors", _attribute(semconv.RISK_FACTORS)),
    _Field("flags", lambda run: list(run.summary.flags) if run.summary.judged else None),
    _Field("warnings", lambda run: None if run.summary.warnings is None else list(run.summary.warnings)),
    _Field("failure risk", lambda run: run.summary.failure_risk, ".2f"),
    _Field("blamed layers", _attribute(semconv.BLAME_LAYERS)),
    _Field("entropy, mean", lambda run: run.summary.entropy_mean, ".2f", "bit"),
    _Field("entropy, largest", _attribute(semconv.ENTROPY_MAX), ".2f", "bit"),
    _Field("steps of high entropy", lambda run: run.summary.high_entropy_steps, "d"),
    _Field("surprisal, mean", lambda run: run.summary.surprisal_mean, ".2f", "bit"),
    _Field("surprisal, sum", _attribute(semconv.SURPRISAL_SUM), ".1f", "bit"),
    _Field("margin, mean", lambda run: run.summary.margin_mean, ".3f"),
    _Field("tokens in", lambda run: run.summary.input_tokens, "d"),
    _Field("tokens out", lambda run: run.summary.output_tokens, "d"),
    _Field("finish", lambda run: run.summary.error_type or run.summary.stop_reason or run.summary.finish_reason),
    _Field("intervention", lambda run: run.summary.intervention),
    _Field("duration", lambda run: run.summary.seconds, ".2f", "s"),
    _Field("label", lambda run: run.summary.label),
    _Field("narrative", lambda run: run.summary.narrative),
)

_SPELT: Final = {"factors": factor_for_people, "flags": for_people, "warnings": for_people}
"""Fields that hold names, which people read in another spelling than programs."""


def side_by_side(run_ids: Sequence[str], path: str, *, as_json: bool, as_csv: bool, source: Text) -> None:
    """Print two runs beside each other, and which store has them.

    Raises:
        UserError: if there are not two of them.
        StoreError: if one is not there.
    """
    if len(run_ids) != 2:
        raise UserError(f"Name two runs to see them side by side, not {len(run_ids)}.")
    with open_store(path) as store:
        first, second = (store.run(name) for name in run_ids)
        alike = _steps_alike(*(store.columns(run) for run in (first, second)))
    rows = [(field, field.of(first), field.of(second)) for field in _FIELDS]
    same_prompt = prompt_of(first.summary) is not None and prompt_of(first.summary) == prompt_of(second.summary)
    if as_json:
        print_json(
            {
                "runs": [run.summary.as_dict() for run in (first, second)],
                "same_prompt": same_prompt,
                "steps_alike": alike,
                "differences": {
                    field.name: {"first": a, "second": b, "difference": _difference(field, a, b)}
                    for field, a, b in rows
                    if a != b
                },
            }
        )
    elif as_csv:
        written = [
            {"": field.name, "first": _flat(a), "second": _flat(b), "difference": _difference(field, a, b)}
            for field, a, b in [(_Field("run", _name), _name(first), _name(second)), *rows]
        ]
        write_csv(written, ("", "first", "second", "difference"))
    else:
        _print(first, second, rows, same_prompt=same_prompt, alike=alike)
        console().print(source, soft_wrap=True)
    tell_damage((_name(run), run.damage) for run in (first, second))


def _print(
    first: StoredRun,
    second: StoredRun,
    rows: Sequence[tuple[_Field, Any, Any]],
    *,
    same_prompt: bool,
    alike: int | None,
) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", style="dim", no_wrap=True)
    for run in (first, second):
        table.add_column(_name(run), overflow="fold", ratio=1)
    table.add_column("2nd - 1st", justify="right", no_wrap=True)
    for field, a, b in rows:
        if a is None and b is None:
            continue
        difference = _difference(field, a, b)
        table.add_row(
            field.name,
            *(_cell(field, value, run) for value, run in ((a, first), (b, second))),
            "" if difference is None else f"{difference:+{field.form}}{f' {field.unit}' if field.unit else ''}",
        )
    series = [run.attributes.get(semconv.SERIES_ENTROPY) or () for run in (first, second)]
    if all(series):
        top = max(max(values) for values in series)
        table.add_row("entropy by step", *(sparkline(values, _SPARKLINE_WIDTH, top=top) for values in series), "")
    out = console()
    out.print(table, width=min(out.width, _WIDEST))
    if alike:
        out.print(f"Step by step they are alike over the first {alike}.")
    if not same_prompt:
        known = None not in (prompt_of(first.summary), prompt_of(second.summary))
        out.print(
            "Their prompts differ." if known else "Whether they had the same prompt is not known.", style="yellow"
        )


def _steps_alike(first: "Columns | None", second: "Columns | None") -> int | None:
    """Return over how many steps two runs have the same entropies; None where one has no run data."""
    if first is None or second is None or "entropy" not in first or "entropy" not in second:
        return None
    from numpy import flatnonzero, isclose

    steps = min(len(first["entropy"]), len(second["entropy"]))
    a, b = first["entropy"][:steps], second["entropy"][:steps]
    apart = flatnonzero(~isclose(a, b, rtol=_ALIKE, atol=_ALIKE, equal_nan=True))
    return int(apart[0]) if len(apart) else steps


def _name(run: StoredRun) -> str:
    return one_line(f"{run.summary.trace_id[:12]}:{run.summary.sequence_index}")


def _difference(field: _Field, first: Any, second: Any) -> float | int | None:
    """Return the second number less the first; None where there are no two."""
    if field.form is None or first is None or second is None:
        return None
    found: float | int = second - first
    return found


def _flat(value: Any) -> Any:
    return ";".join(str(each) for each in value) if isinstance(value, list) else value


def _cell(field: _Field, value: Any, run: StoredRun) -> Text:
    if value is None or value == []:
        return Text("-" if value is None else "none", "dim")
    if field.form is not None:
        text = f"{value:{field.form}}{f' {field.unit}' if field.unit else ''}"
    else:
        spelt = _SPELT.get(field.name, str)
        text = ", ".join(spelt(str(each)) for each in value) if isinstance(value, list) else str(value)
    style = level_style(run.summary.risk_level) if field.name in ("risk", "level") else ""
    return Text(one_line(text, _MOST_CELL), style)

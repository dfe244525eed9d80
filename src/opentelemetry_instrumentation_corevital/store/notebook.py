"""Runs as HTML for notebooks; small, without scripts, readable on light and dark pages."""

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from .. import semconv

if TYPE_CHECKING:
    from .stored import RunSummary, StoredRun

_COLOURS: Final = {"low": "#2e7d32", "medium": "#b26a00", "high": "#c62828"}
_MOST_ROWS: Final = 50
UNKNOWN: Final = "not known: dropped by the SDK's limits"
"""Of what may have been there: dropped is not none."""


def runs_table(runs: "Sequence[RunSummary]") -> str:
    """Return runs as a table."""
    heads = ("run", "started", "model", "risk", "flags", "tokens", "finish", "label")
    rows = []
    for run in runs[:_MOST_ROWS]:
        cells = (
            f"<code>{run.trace_id[:12]}</code>",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.start_ns / 1e9)),
            escape(run.model or "-"),
            _risk(run.risk_score, run.risk_level),
            escape(
                ", ".join(flag.removesuffix("_detected") for flag in run.flags) or ("-" if run.judged else "unknown")
            ),
            "-" if run.output_tokens is None else str(run.output_tokens),
            escape(run.error_type or run.finish_reason or "-"),
            escape(run.label or "-"),
        )
        rows.append(_row(cells, "td", wrap=False))
    more = f"<p>{len(runs) - _MOST_ROWS} more</p>" if len(runs) > _MOST_ROWS else ""
    return f"<table>{_row(heads, 'th')}{''.join(rows)}</table>{more}"


def verdict(run: "StoredRun") -> str:
    """Return a run's verdict."""
    summary, get = run.summary, run.attributes.get
    unknown = UNKNOWN if run.dropped.attributes else "not judged"
    flags = [flag.removesuffix("_detected") for flag in summary.flags] if summary.judged else None
    lines = {
        "flags": _named(flags, unknown),
        "factors": _named(get(semconv.RISK_FACTORS), unknown),
        "warnings": _named(summary.warnings, unknown),
        "blame": "; ".join(
            f"layer {layer}: {reason}"
            for layer, reason in zip(get(semconv.BLAME_LAYERS) or (), get(semconv.BLAME_REASONS) or (), strict=False)
        )
        or (UNKNOWN if run.dropped.attributes and semconv.BLAME_LAYERS not in run.attributes else ""),
        "model": summary.model or "-",
        "tokens": f"{_count(summary.input_tokens)} in the prompt, {_count(summary.output_tokens)} generated",
        "label": "" if run.label is None else f"{run.label.outcome} {run.label.note or ''}",
    }
    cells = "".join(_row((name, escape(value)), "td") for name, value in lines.items() if value)
    title = f"{_risk(summary.risk_score, summary.risk_level)} &middot; <code>{summary.trace_id[:12]}</code>"
    return f"<p>{title}</p><p>{escape(summary.narrative or '')}</p><table>{cells}</table>"


def _named(names: Sequence[str] | None, unknown: str) -> str:
    return unknown if names is None else ", ".join(names) or "none"


def _count(number: int | None) -> str:
    return "an unknown number" if number is None else str(number)


def _row(cells: Sequence[str], tag: str, *, wrap: bool = True) -> str:
    style = f' style="text-align:left{"" if wrap else ";white-space:nowrap"}"'
    return f"<tr>{''.join(f'<{tag}{style}>{cell}</{tag}>' for cell in cells)}</tr>"


def _risk(score: Any, level: str | None) -> str:
    if score is None:
        return "not judged"
    return f'<b style="color:{_COLOURS.get(level or "", "inherit")}">{score:.2f} {escape(level or "")}</b>'

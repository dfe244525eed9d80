"""Runs as HTML for notebooks; small, without scripts, readable on light and dark pages.

It knows what a run shows, not where runs come from: the classes that are shown import it, never the other way round.
"""

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from .. import semconv
from .._internal.printable import one_line
from .interventions import intervention_lines
from .shapes import SummaryShape

_COLOURS: Final = {"low": "#2e7d32", "medium": "#b26a00", "high": "#c62828"}
_MOST_ROWS: Final = 50
_MOST_TEXT: Final = 2000
UNKNOWN: Final = "not known: dropped by the SDK's limits"
"""Of what may have been there: dropped is not none."""


def runs_table(runs: Sequence[SummaryShape]) -> str:
    """Return runs as a table."""
    heads = ("run", "started", "model", "risk", "flags", "tokens", "finish", "label")
    rows = []
    for run in runs[:_MOST_ROWS]:
        cells = (
            f"<code>{_text(run.trace_id[:12])}</code>",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.start_ns / 1e9)),
            _text(run.model or "-"),
            _risk(run.risk_score, run.risk_level),
            _text(
                ", ".join(flag.removesuffix("_detected") for flag in run.flags) or ("-" if run.judged else "unknown")
            ),
            "-" if run.output_tokens is None else str(run.output_tokens),
            _text(run.error_type or run.stop_reason or run.finish_reason or "-"),
            _text(run.label or "-"),
        )
        rows.append(_row(cells, "td", wrap=False))
    more = f"<p>{len(runs) - _MOST_ROWS} more</p>" if len(runs) > _MOST_ROWS else ""
    damaged = "".join(
        f"<p>run <code>{_text(run.trace_id[:12])}</code> is damaged, and what is damaged left out: "
        f"{_text(_damage(run.damage))}</p>"
        for run in runs[:_MOST_ROWS]
        if run.damage
    )
    return f"<table>{_row(heads, 'th')}{''.join(rows)}</table>{more}{damaged}"


def verdict(
    summary: SummaryShape, attributes: Mapping[str, Any], *, label: str, cut: bool, damage: Mapping[str, str]
) -> str:
    """Return a run's verdict.

    Args:
        summary: its row in a list.
        attributes: of its span.
        label: what somebody said of it; empty: nothing.
        cut: whether the SDK's limits took some of the attributes.
        damage: what is wrong with values that are left out: the name of each -> why.
    """
    get, unknown = attributes.get, UNKNOWN if cut else "not judged"
    flags = [flag.removesuffix("_detected") for flag in summary.flags] if summary.judged else None
    lines = {
        "flags": _named(flags, unknown),
        "factors": _named(get(semconv.RISK_FACTORS), unknown),
        "warnings": _named(summary.warnings, unknown),
        "blame": "; ".join(
            f"layer {layer}: {reason}"
            for layer, reason in zip(get(semconv.BLAME_LAYERS) or (), get(semconv.BLAME_REASONS) or (), strict=False)
        )
        or (UNKNOWN if cut and semconv.BLAME_LAYERS not in attributes else ""),
        "model": summary.model or "-",
        "tokens": f"{_count(summary.input_tokens)} in the prompt, {_count(summary.output_tokens)} generated",
        "ended by": summary.error_type or summary.stop_reason or "",
        "intervention": "; ".join(intervention_lines(attributes, ())),
        "label": label,
        "damaged": f"{_damage(damage)}; left out" if damage else "",
    }
    cells = "".join(_row((name, _text(value)), "td") for name, value in lines.items() if value)
    title = f"{_risk(summary.risk_score, summary.risk_level)} &middot; <code>{_text(summary.trace_id[:12])}</code>"
    return f"<p>{title}</p><p>{_text(summary.narrative or '')}</p><table>{cells}</table>"


def _text(text: str) -> str:
    return escape(one_line(text, _MOST_TEXT))


def _damage(damage: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in damage.items())


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
    return f'<b style="color:{_COLOURS.get(level or "", "inherit")}">{score:.2f} {_text(level or "")}</b>'

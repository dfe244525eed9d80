"""What `corevital cost` prints."""

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line
from ..overhead.arms import CONTROL
from ..overhead.told_apart import FEWEST_PAIRS, measures_told
from .printing import console

_MOST_NAME: Final = 100
_WORDS: Final = {
    "call": "whole call",
    "step": "decode step",
    "first": "time to the first token",
    "added_ms_after_last_token": "time after the last token",
    "added_mib": "memory",
}
"""Figure -> what people call it; `added_ms_to_first_token` tells what `first` does."""

CostReport = Mapping[str, Any]


def print_cost(report: CostReport) -> None:
    """Print a report: what was measured, a row for each arm, and what it means."""
    out = console()
    for line in _head(report):
        out.print(line, soft_wrap=True)
    out.print()
    out.print(_table(report))
    out.print()
    for name in report["arms"]:
        out.print(_meaning(report, name), soft_wrap=True)
    for note in _notes(report):
        out.print(Text(note, "dim"), soft_wrap=True)


def _head(report: CostReport) -> list[Text]:
    work, place, method = report["workload"], report["environment"], report["method"]
    machine = place["gpu"] or f"{place['cpu']}, {_counted(place['threads'], 'thread')} on {place['cores']} cores"
    name = one_line(str(work["model"]), _MOST_NAME)
    ended = ", interrupted" if method["interrupted"] else ""
    lines = [
        Text(f"{name}, {work['dtype']}, {work['device']}, {work['attention']}", "bold"),
        Text(
            f"batch {work['batch']}, prompt of {work['prompt_tokens']} tokens, {work['new_tokens']} new tokens; "
            f"{_counted(method['rounds'], 'round')} of {method['rounds_wanted']}{ended}"
        ),
        Text(
            f"{machine}; torch {place['torch']}, transformers {place['transformers']}, CoreVital {place['corevital']}",
            "dim",
        ),
    ]
    if report["settings"]:
        given = ", ".join(f"{key}={value}" for key, value in report["settings"].items())
        lines.append(Text(one_line(f"with {given}", 5 * _MOST_NAME), "yellow"))
    return lines


def _table(report: CostReport) -> Table:
    of_device = any("added_mib" in arm for arm in report["arms"].values())
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for title in (
        "ms per token",
        "whole call, ratio",
        "decode step, ratio",
        "ms before the first token",
        "ms after the last token",
        "device memory, MiB" if of_device else "process memory, MiB",
    ):
        table.add_column(title, justify="right", min_width=12)
    plain = report["plain"]
    whole = plain["peak_mib"] if of_device else report["process_peak_mib"]
    table.add_row(
        "plain", f"{plain['ms_per_token']:.2f}", "1", "1", f"{plain['first_ms']:.1f}", "", _number(whole, "in all")
    )
    for arm in report["arms"].values():
        memory = (
            _shown(arm.get("added_mib"), sign="+", digits=2)
            if of_device
            else _signed(arm.get("process_mib_above_plain"))
        )
        table.add_row(
            arm["label"],
            f"{arm['ms_per_token']:.2f}",
            *(_shown(arm.get(name), sign="", digits=3) for name in ("call", "step")),
            *(_shown(arm[f"added_ms_{where}"], sign="+", digits=2) for where in ("to_first_token", "after_last_token")),
            memory,
        )
    return table


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _number(value: float | None, what: str) -> str:
    return f"{value:.0f} {what}" if value else "-"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _shown(figure: CostReport | None, *, sign: str, digits: int) -> str:
    """Return a median, and below it its interval where it is more than a point."""
    if figure is None:
        return "-"
    low, high = figure["ci95"]
    interval = "" if low == high else f"\n{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"
    return f"{figure['median']:{sign}.{digits}f}{interval}"


def _meaning(report: CostReport, name: str) -> Text:
    """Return one sentence about an arm."""
    arm = report["arms"][name]
    line = Text().append(f"{arm['label']}: ", "bold")
    median, low, high = (100 * (ratio - 1) for ratio in (arm["call"]["median"], *arm["call"]["ci95"]))
    cost = f"{median:+.1f} % of a call" + ("" if low == high else f" ({low:+.1f} to {high:+.1f})")
    if name == CONTROL:
        return line.append(f"{cost}; this is what two untouched calls differ by here.")
    told = measures_told(report, name)
    if told is None:
        return line.append(f"{cost}; {FEWEST_PAIRS} rounds at least are needed to tell it from the control.")
    words = [word for measure, word in _WORDS.items() if measure in told]
    if not words:
        return line.append(f"{cost}; cannot be told from the control: these rounds do not show that it costs anything.")
    return line.append(f"{cost}; told from the control by {', '.join(words)}.")


def _notes(report: CostReport) -> list[str]:
    notes = [
        "Ratios and milliseconds are medians of pairs of neighbouring calls, with a bootstrap 95 % interval.",
    ]
    if any("process_mib_above_plain" in arm for arm in report["arms"].values()):
        notes.append(
            "Process memory: the peak of each arm's first call above that of a plain one, in this order; what stays "
            "is in the rows below it, too. One call each, so it has no interval."
        )
    for name, arm in report["arms"].items():
        if arm["pairs_with_the_same_tokens"] < arm["pairs"]:
            notes.append(
                f"{arm['label']} gave the tokens of its plain call in {arm['pairs_with_the_same_tokens']} of "
                f"{arm['pairs']} pairs" + (": so do two plain calls." if name == CONTROL else ".")
            )
        missing = [f"{what} ({why})" for what, why in arm["not_watched"].items()]
        if missing:
            notes.append(f"Not watched in {arm['label']}: {', '.join(missing)}.")
    if report["graphs_compiled_in_the_rounds"]:
        notes.append("Graphs were compiled during the timed rounds: the figures hold compile time.")
    return notes

"""docs/performance.md: the tables that are made from reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cases import ENOUGH_PAIRS, MEASURES
from plot import plot
from report import read_report
from verdict import Goal, goals

from opentelemetry_instrumentation_corevital.overhead.arms import ARMS, CONTROL
from opentelemetry_instrumentation_corevital.overhead.overhead_error import OverheadError
from opentelemetry_instrumentation_corevital.overhead.told_apart import measures_told

BEGIN, END = "<!-- overhead: begin -->", "<!-- overhead: end -->"
PLOT: Final = Path("results", "overhead.svg")
"""Beside the page."""

COLUMNS: Final = (
    "arm",
    "ms per token",
    "whole call: ratio [95 %]",
    "to the first token: ratio [95 %]",
    "decode step: ms",
    "decode step: ratio [95 %]",
    "after the last token: ms added [95 %]",
    "sending: ms per call",
    "peak memory added: MiB",
    "told from A/A?",
)
LAUNCHES: Final = {
    "launches": "kernel launches (host)",
    "kernels": "kernels",
    "memcpy": "memcpy",
    "memset": "memset",
    "cuda_us": "device time, us",
    "aten_ops": "aten operators",
    "waits": "waits for the device",
}
HOST: Final = {
    "call_begin": "before the call",
    "first_layers": "first step: layers",
    "first_attention": "attention",
    "first_logits": "at the logits",
    "first_tokens": "at the tokens",
    "step_layers": "later step: layers",
    "step_attention": "attention",
    "step_logits": "at the logits",
    "step_tokens": "at the tokens",
    "call_end": "after the call",
    "call_close": "of it rows and runs",
}


def render(page: Path, files: Sequence[Path]) -> None:
    """Put the tables of reports between the page's markers, and the plot beside them."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise OverheadError(f"{page} needs the lines {BEGIN} and {END}, once each")
    reports = [read_report(file) for file in files]
    parts = [goals_table(reports)]
    if drawing := plot(reports):
        (page.parent / PLOT).write_text(drawing, encoding="utf-8")
        parts.append(f"![Decode overhead against context length and batch]({PLOT.as_posix()})")
    parts += map(section, reports)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    body = "\n\n".join(filter(None, parts))
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def goals_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return all goals of all reports as a table; empty where there are none."""
    columns = ("case", "arm", "measure", "goal", "measured [95 %]", "A/A [95 %]", "pairs", "within the goal?")
    rows = [goal_row(report, goal) for report in reports for goal in goals(report)]
    return "### Goals\n\n" + table(columns, rows, text=3) if rows else ""


def goal_row(report: Mapping[str, Any], goal: Goal) -> tuple[str, ...]:
    """Return a goal's row."""
    reached = "yes" if goal.reached else "no"
    return (
        name_of(report),
        ARMS[goal.arm].label,
        MEASURES[goal.measure],
        "as A/A" if goal.like_control else f"{goal.most:g}",
        with_interval(goal.found),
        with_interval(goal.control),
        str(goal.pairs),
        reached if goal.enough else f"{reached}, but under {ENOUGH_PAIRS} pairs",
    )


def name_of(report: Mapping[str, Any]) -> str:
    """Return a case's name, with what was changed of it."""
    case = report["case"]
    return f"{case['name']} with {case['changed']}" if case["changed"] else str(case["name"])


def section(report: Mapping[str, Any]) -> str:
    """Return a report as Markdown: its workload, its tables, where it comes from."""
    work, method, place = report["workload"], report["method"], report["environment"]
    machine = place["gpu"] or f"{place['cpu']}, {place['threads']} threads on {place['cores']} cores"
    rows = [plain_row(report), *(row(name, report) for name in report["arms"])]
    parts = [
        f"### {name_of(report)}: {report['case']['what']}",
        f"{work['model']}, {work['dtype']}, {work['device']}, batch {work['batch']}, prompt of {work['prompt_tokens']} "
        f"tokens, {work['new_tokens']} new tokens, {work['cache']} cache, {work['attention']}; {method['rounds']} "
        f"rounds of {method['rounds_wanted']}. {machine}; torch {place['torch']}, transformers "
        f"{place['transformers']}, CoreVital {place['corevital']} ({place['commit'] or 'no commit'}), "
        f"{place['date']}. Exporter: {report['telemetry']['exporter']}.",
        table(*filled(COLUMNS, rows)),
        *remarks(report),
        launches_table(report),
        host_table(report),
        f"`{place['command']}`",
    ]
    return "\n\n".join(filter(None, parts))


def plain_row(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of all plain calls."""
    plain = report["plain"]
    peak = f"{plain['peak_mib']:.0f} in all" if plain["peak_mib"] else ""
    steps = step_ms(plain)
    return ("plain", f"{plain['ms_per_token']:.2f}", "1", "1", steps, "1" if steps else "", "", "", peak, "")


def row(name: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an arm's row."""
    found = report["arms"][name]
    return (
        found["label"],
        f"{found['ms_per_token']:.2f}",
        with_interval(found["call"]),
        with_interval(found["first"]),
        step_ms(found),
        with_interval(found.get("step")),
        with_interval(found["added_ms_after_last_token"], 2),
        f"{found['sending_ms']:.1f}" if found["spans_per_call"] else "",
        f"{found['added_mib']['median']:.1f}" if "added_mib" in found else "",
        apart(name, report),
    )


def step_ms(found: Mapping[str, Any]) -> str:
    """Return the time of a step, if there was more than one token."""
    return "" if found["step_ms"] is None else f"{found['step_ms']:.3f}"


def with_interval(figure: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return a median with its confidence interval; empty where there is none."""
    if figure is None:
        return ""
    low, high = figure["ci95"]
    return f"{figure['median']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def apart(name: str, report: Mapping[str, Any]) -> str:
    """Say in which of the ratios an arm can be told from the control."""
    if CONTROL not in report["arms"] or name == CONTROL:
        return ""
    told = measures_told(report, name)
    if told is None:
        return "too few pairs"
    shown = {"call": "call", "first": "first token", "step": "step"}
    return ", ".join(label for measure, label in shown.items() if measure in told) or "no"


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know beside the table."""
    notes = []
    for name, found in report["arms"].items():
        missing = [f"{what} ({why})" for what, why in found["not_watched"].items()]
        if missing and "attention_every" not in (ARMS[name].options or {}):
            notes.append(f"Not watched in `{found['label']}`: {', '.join(missing)}.")
        if found["pairs_with_the_same_tokens"] < found["pairs"]:
            notes.append(
                f"`{found['label']}` gave the tokens of its plain call in {found['pairs_with_the_same_tokens']} of "
                f"{found['pairs']} pairs."
            )
    if report["graphs_compiled_in_the_rounds"]:
        notes.append("Graphs were compiled during the timed rounds: the figures hold compile time.")
    return notes


def launches_table(report: Mapping[str, Any]) -> str:
    """Return the profiler's account as a table; empty where there is none."""
    if not (launches := report["launches"]):
        return ""
    keys = [key for key in LAUNCHES if any(key in found for found in launches.values())]
    rows = [(ARMS[name].label, *(f"{found.get(key, 0):.1f}" for key in keys)) for name, found in launches.items()]
    return "One decode step, by torch's profiler:\n\n" + table(("arm", *(LAUNCHES[key] for key in keys)), rows)


def host_table(report: Mapping[str, Any]) -> str:
    """Return what CoreVital's own functions take on the host as a table; empty where that was not measured."""
    if not (host := report.get("host")):
        return ""
    keys = [key for key in HOST if any(key in found for found in host.values())]
    rows = [(ARMS[name].label, *(f"{found.get(key, 0):.0f}" for key in keys)) for name, found in host.items()]
    return "CoreVital's own functions on the host, us:\n\n" + table(("arm", *(HOST[key] for key in keys)), rows)


def filled(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns in which no row has anything."""
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """Return a Markdown table; its first `text` columns hold no numbers."""
    rule = ["---"] * text + ["---:"] * (len(columns) - text)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, rule, *rows))

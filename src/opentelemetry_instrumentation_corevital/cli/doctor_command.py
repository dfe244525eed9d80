"""`corevital doctor`: whether a run would be recorded here and arrive."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.text import Text

from ..doctor.findings import Finding, Level
from ..doctor.usage import Use
from ..version import __version__
from .options import AsJson
from .output import print_json
from .printing import console, echo

_MARKS: Final = {Level.OK: ("ok", "green"), Level.NOTE: ("note", "yellow"), Level.PROBLEM: ("PROBLEM", "bold red")}


_WELL: Final = "A run would be recorded and arrive."
_INDENT: Final = " " * 10


def doctor(
    use: Annotated[
        Use | None,
        typer.Option(
            metavar="USE",
            help="Where runs are to go: store, otlp or both; default: where the environment sends them.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Send a test span without calling generate() for it.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every single thing that was looked at.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long an exporter may take to answer.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Say whether a run would be recorded here and arrive, and what to do if not.

    It starts OpenTelemetry as opentelemetry-instrument does, in a process of its own.
    There it calls generate() with a tiny model made in memory, and sends the span through your exporters.
    Put it in the place of your program: opentelemetry-instrument OPTIONS corevital doctor.
    The exit code is 1 where something is wrong.

    Example: corevital doctor --use store
    """
    from ..doctor.brief import brief
    from ..doctor.diagnosis import diagnose, problems

    if not as_json:
        what = "" if quick else ", calls generate()"
        echo(f"Starts OpenTelemetry{what} and waits up to {timeout:g} s for exporters ...", err=True)
    findings = diagnose(timeout, use, quick=quick)
    wrong = problems(findings)
    if as_json:
        print_json({"version": __version__, "ok": not wrong, "findings": [asdict(each) for each in findings]})
    else:
        _print(findings if verbose else list(brief(findings)), len(wrong))
    if wrong:
        raise typer.Exit(1)


def _print(findings: Sequence[Finding], wrong: int) -> None:
    out, area = console(), None
    width = out.width if out.is_terminal else None
    for finding in findings:
        if finding.area is not area:
            out.print(Text(str(finding.area), style="bold"))
            area = finding.area
        mark, style = _MARKS[finding.level]
        line = Text(f"  {mark:<8}", style=style)
        told = _wrapped("  ".join(part for part in (finding.subject, finding.text) if part), width)
        line.append(told, style="default")
        if told.startswith(finding.subject):
            line.stylize("bold" if finding.level is Level.PROBLEM else "default", 10, 10 + len(finding.subject))
        out.print(line, soft_wrap=True)
        if finding.advice:
            out.print(Text(f"{_INDENT}{_wrapped(f'-> {finding.advice}', width)}", style="cyan"), soft_wrap=True)
    told = f"{wrong} problem{'' if wrong == 1 else 's'}: see -> above." if wrong else _WELL
    out.print(Text(told, style="bold red" if wrong else "bold green"))


def _wrapped(text: str, width: int | None) -> str:
    """Return text that begins behind a mark, in lines as wide as the terminal; in one line into a pipe."""
    if width is None:
        return text
    room = max(20, width - len(_INDENT))
    return f"\n{_INDENT}".join(textwrap.wrap(text, room, break_on_hyphens=False) or [""])

"""`corevital doctor`: whether a run would be recorded here and arrive."""

from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.text import Text

from ..doctor.findings import Finding, Level
from ..version import __version__
from .options import AsJson
from .output import print_json
from .printing import console, echo

_MARKS: Final = {Level.OK: ("ok", "green"), Level.NOTE: ("note", "yellow"), Level.PROBLEM: ("PROBLEM", "bold red")}


def doctor(
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="How long an exporter may take to answer.")
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Say whether a run would be recorded here and arrive, and what to do where not.

    It starts OpenTelemetry as opentelemetry-instrument does, in a process of its own.
    It sends a test span through the exporters that it finds.
    Put it in the place of your program: opentelemetry-instrument OPTIONS corevital doctor.
    The exit code is 1 where something is wrong.

    Example: corevital doctor --json
    """
    from ..doctor.diagnosis import diagnose, problems

    if not as_json:
        echo(f"Starts OpenTelemetry and waits up to {timeout:g} s for its exporters ...", err=True)
    findings = diagnose(timeout)
    wrong = problems(findings)
    if as_json:
        print_json({"version": __version__, "ok": not wrong, "findings": [asdict(each) for each in findings]})
    else:
        _print(findings, len(wrong))
    if wrong:
        raise typer.Exit(1)


def _print(findings: list[Finding], wrong: int) -> None:
    out, area = console(), None
    for finding in findings:
        if finding.area is not area:
            out.print(Text(f"{'' if area is None else chr(10)}{finding.area}", style="bold"))
            area = finding.area
        mark, style = _MARKS[finding.level]
        line = Text(f"  {mark:<8}", style=style)
        line.append(f"{finding.subject}  ", style="bold" if finding.level is Level.PROBLEM else "default")
        line.append(finding.text, style="default")
        out.print(line, soft_wrap=True)
        if finding.advice:
            out.print(Text(f"          -> {finding.advice}", style="cyan"), soft_wrap=True)
    told = (
        f"{wrong} problem{'' if wrong == 1 else 's'}: see -> above." if wrong else "A run would be recorded and arrive."
    )
    out.print(Text(f"\n{told}", style="bold red" if wrong else "bold green"))

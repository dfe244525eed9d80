"""All looks, one after the other."""

import os
from collections.abc import Sequence

from . import installed, instrumented, settings, startup
from .findings import Area, Finding, Level, note


def diagnose(seconds: float) -> list[Finding]:
    """Return everything that was found, in the order of areas.

    Args:
        seconds: how long an exporter may take to answer the test.
    """
    findings = [*installed.look(), *instrumented.look()]
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        findings += settings.look()
        findings.append(note(Area.ARRIVAL, "exporters", "were not tested: OTEL_SDK_DISABLED is true"))
    else:
        told = startup.run(seconds)
        findings += settings.look(told[0].get("corevital"))
        findings += startup.look(told, seconds)
    order = list(Area)
    return sorted(findings, key=lambda each: order.index(each.area))


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Return what stands in the way."""
    return [each for each in findings if each.level is Level.PROBLEM]

"""All checks, one after the other."""

import os
from collections.abc import Sequence
from dataclasses import replace

from . import installed, instrumented, settings, startup, stores, usage
from .findings import Area, Finding, Level, note
from .redaction import without_secrets
from .usage import Use


def diagnose(seconds: float, use: Use | None = None, *, quick: bool = False) -> list[Finding]:
    """Return everything that was found, in the order of areas.

    Args:
        seconds: how long an exporter may take to answer the test.
        use: where runs are to go; None: where the environment sends them.
        quick: leave out the call of `generate()`.
    """
    used = usage.usage(use)
    findings, secrets = [*usage.check(used), *installed.check(), *instrumented.check()], set[str]()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        findings += settings.check()
        findings.append(note(Area.ARRIVAL, "exporters", "were not tested: OTEL_SDK_DISABLED is true"))
    else:
        told = startup.run(seconds, used, quick=quick)
        findings += settings.check(told[0].get("corevital"))
        findings += startup.check(told, seconds, used)
        findings += stores.check(told)
        secrets = startup.secrets(told)
    order = list(Area)
    return sorted(_redacted(findings, secrets), key=lambda each: order.index(each.area))


def _redacted(findings: Sequence[Finding], secrets: set[str]) -> list[Finding]:
    """Return findings without secrets: any line may hold an address, or what somebody answered."""
    return [
        replace(
            each,
            subject=without_secrets(each.subject, secrets),
            text=without_secrets(each.text, secrets),
            advice=without_secrets(each.advice, secrets),
        )
        for each in findings
    ]


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """Return what stands in the way."""
    return [each for each in findings if each.level is Level.PROBLEM]

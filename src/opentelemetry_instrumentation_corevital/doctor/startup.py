"""What the start-up of `opentelemetry-instrument` would configure here, and whether it takes telemetry."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from . import call_findings, sdk_limits
from .advice import after_failure
from .findings import Area, Finding, Level, note, ok, problem
from .redaction import address_secrets, header_names, header_secrets
from .usage import SIGNALS, Usage

_START_SECONDS: Final = 60.0
"""For the start-up itself: a distribution may import a lot."""
_GENERATE_SECONDS: Final = 120.0
"""For torch, transformers and a call of `generate()`, on a machine that is busy."""
_GROUPS: Final = {signal: f"opentelemetry_{signal}_exporter" for signal in SIGNALS}
_READ_FROM_FILE: Final = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_TRACES_SAMPLER")
_WITHOUT_CALL: Final = "corevital doctor --quick leaves out the call of generate(): if that works, torch is what fails"
_TOLD_OF_SETTINGS: Final = ("CoreVital: nothing reads", "CoreVital: option ")
"""How lines begin that say what is said of settings."""
_LOST: Final = {"metrics": "metrics go nowhere", "logs": "verdict events and run data go nowhere"}


def run(seconds: float, used: Usage, *, quick: bool) -> list[dict[str, Any]]:
    """Start OpenTelemetry in a process of its own and return what that process tells.

    Args:
        seconds: how long an exporter may take to answer.
        used: with which variables it is started.
        quick: send a span without calling `generate()` for it.
    """
    # Under opentelemetry-instrument this process was started by a sitecustomize.py, which the other one must not find.
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = {**used.environment, "PYTHONPATH": os.pathsep.join(each for each in path if not _starts(each))}
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.probe", str(seconds), *(["quick"] if quick else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    most = _START_SECONDS + (0 if quick else _GENERATE_SECONDS) + seconds
    try:
        out, err = process.communicate(timeout=most)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nwas not done after {most:g} s"
    except BaseException:
        process.kill()
        raise
    told = [json.loads(line) for line in out.splitlines()]
    if process.returncode == 0 and told:
        return told
    last = (err.strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    return [*told, {"ended": last}] if told else [{"failed": last, "heard": []}]


def secrets(told: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return what is secret of the exporters that `run` found; a configuration file may have given it."""
    exporters = told[0].get("exporters", ())
    return {
        *(value for each in exporters for value in address_secrets(each["where"] or "")),
        *(value for each in exporters for header in each.get("headers", ()) for value in header_secrets(header)),
    }


def _starts(folder: str) -> bool:
    return os.path.basename(os.path.normpath(folder)) == "auto_instrumentation"


def check(told: Sequence[Mapping[str, Any]], seconds: float, used: Usage) -> Iterator[Finding]:
    """Yield findings on what `run` returned."""
    first = told[0]
    yield from _variables(used)
    if "failed" in first:
        yield _failed(first["failed"])
        return
    if first["configurator"] is None:
        yield note(Area.EXPORTERS, "start-up", "nothing configures OpenTelemetry, so there is nothing to test")
        return
    exporters = first["exporters"]
    for line in first["heard"]:
        if not line.startswith(_TOLD_OF_SETTINGS):
            yield note(Area.EXPORTERS, "start-up", line)
    yield from _listed(exporters)
    yield _sampler(first["sampler"])
    yield _service(first["service"], used)
    for answer in told[1:]:
        if "ran" in answer:
            yield from call_findings.check(answer["ran"])
        elif "ended" in answer:
            yield problem(Area.ARRIVAL, "the test", f"did not come to its end: {answer['ended']}", _WITHOUT_CALL)
        else:
            yield _if_used(_answer(exporters[answer["exporter"]], answer, seconds), exporters[answer["exporter"]], used)
    yield from sdk_limits.check(first["limits"], [each for each in exporters if used.otlp or not each.get("protocol")])


def _if_used(found: Finding, exporter: Mapping[str, Any], used: Usage) -> Finding:
    """An exporter of OTLP that nobody asked for is on by default: it is noise, but no run is lost by it."""
    if found.level is not Level.PROBLEM or used.otlp or not exporter.get("protocol"):
        return found
    variable = f"OTEL_{exporter['signal'].upper()}_EXPORTER"
    return note(
        found.area,
        found.subject,
        f"nobody answers where {exporter['signal']} go by default: they are lost, with a warning each time",
        f"set {variable}=corevital_sqlite, or none",
    )


def _variables(used: Usage) -> Iterator[Finding]:
    path = used.environment.get("OTEL_CONFIG_FILE")
    if not path:
        return
    yield ok(Area.EXPORTERS, "OTEL_CONFIG_FILE", path)
    if unread := [name for name in _READ_FROM_FILE if os.environ.get(name)]:
        yield note(
            Area.EXPORTERS, ", ".join(unread), "set, but not read: OTEL_CONFIG_FILE takes the place of such variables"
        )


def _failed(reason: str) -> Finding:
    advice = "correct it; until then no instrumentation is started"
    if "not found in entry point" in reason:
        signal = next((signal for signal, group in _GROUPS.items() if group in reason), "traces")
        known = {each.name for each in entry_points(group=_GROUPS[signal])}
        advice = f"OTEL_{signal.upper()}_EXPORTER takes {', '.join(sorted(known | {'otlp', 'none'}))}"
    elif "opentelemetry-configuration" in reason:
        advice = "pip install 'opentelemetry-sdk[file-configuration]'"
    return problem(Area.EXPORTERS, "start-up", f"fails: {reason}", advice)


def name_of(exporter: Mapping[str, Any]) -> str:
    """Return an exporter's signal, kind and destination."""
    protocol = f" over {exporter['protocol']}" if exporter.get("protocol") else ""
    where = f" to {exporter['where']}" if exporter["where"] else ""
    return f"{exporter['signal']}: {exporter['kind']}{protocol}{where}"


def _listed(exporters: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for signal in SIGNALS:
        found = [each for each in exporters if each["signal"] == signal]
        for exporter in found:
            headers = header_names(signal) if exporter.get("protocol") else []
            batch = f"batches of {exporter['batch']}" if exporter["batch"] else ""
            shown = ", ".join(part for part in (batch, headers and f"headers {', '.join(headers)}") if part)
            yield ok(Area.EXPORTERS, name_of(exporter), shown or "configured")
        if not found and signal == "traces":
            yield problem(
                Area.EXPORTERS,
                "traces",
                "no exporter: runs go nowhere",
                "set OTEL_TRACES_EXPORTER=otlp, or corevital_sqlite, which needs no server",
            )
        elif not found:
            yield note(Area.EXPORTERS, signal, f"no exporter: {_LOST[signal]}")


def _sampler(description: str | None) -> Finding:
    subject, shown = "sampler", str(description).partition(",")[0].replace("{root:", " with root ")
    if "AlwaysOff" in shown:
        advice = "unset OTEL_TRACES_SAMPLER, or set OTEL_COREVITAL_CAPTURE_UNSAMPLED=true for metrics alone"
        return problem(Area.EXPORTERS, subject, f"{shown}: no run is recorded", advice)
    if "TraceIdRatio" in shown:
        return note(Area.EXPORTERS, subject, f"{shown}: only these runs are measured and recorded")
    return ok(Area.EXPORTERS, subject, shown)


def _service(name: str | None, used: Usage) -> Finding:
    nameless = name is None or name.startswith("unknown_service")
    if used.otlp and nameless:
        return note(
            Area.EXPORTERS,
            "service.name",
            f"{name}: backends will not know whose runs these are",
            "set OTEL_SERVICE_NAME",
        )
    return ok(Area.EXPORTERS, "service.name", "not set" if nameless else str(name))


def _answer(exporter: Mapping[str, Any], answer: Mapping[str, Any], seconds: float) -> Finding:
    area, subject = Area.ARRIVAL, name_of(exporter)
    said = answer["said"][-1] if answer["said"] else ""  # what came before was tried again
    took = f" in {answer['seconds']:.2f} s" if "seconds" in answer else ""
    if answer["result"] == "untested":
        return note(area, subject, "cannot be tested: it is none of the SDK's own processors")
    if answer["result"] == "SUCCESS":
        if exporter["kind"] == "ConsoleRunExporter":
            return ok(area, subject, "prints runs to standard output, and no other span")
        sent = f"the span {answer['sent']!r}" if exporter["signal"] == "traces" else "an empty message"
        what = f"took {sent}"
        if answer.get("read_back"):
            what = f"stored {sent}; it was read back and removed"
        elif exporter["kind"].startswith("Console"):
            what = f"printed {sent}" if exporter["signal"] == "traces" else "prints to standard output"
        trace = f" (trace {answer['trace_id']})" if "trace_id" in answer and not answer.get("read_back") else ""
        return ok(area, subject, f"{what}{took}{trace}{f'; it says: {said}' if said else ''}")
    failure = f"gave no answer within {seconds:g} s" if answer["result"] == "no answer" else f"failed{took}"
    advice = after_failure(exporter, said)
    if os.environ.get("OTEL_CONFIG_FILE") and "OTEL_" in advice:
        advice += " (OTEL_CONFIG_FILE takes the place of these variables: change it there)"
    return problem(area, subject, f"{failure}{f': {said}' if said else ''}", advice)

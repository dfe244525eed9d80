"""collector/risk-sampling.yaml in a real Collector: every risky run with its logs, and a share of the rest."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import set_span_in_context

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.collectors import collector
from tests.support.otlp_receivers import Received, http_receiver
from tests.support.processes import wait_until
from tests.support.reported_runs import FLAGGED, healthy, looping, medium, report, torn
from tests.support.tiers import heavy

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]

OVERLAY = "risk-sampling"
Item = tuple[str, str, Any]
"""Span id, what it is, and the number of a chunk."""


@dataclass(frozen=True)
class Mixed:
    """Spans and log records as they are sent, and which of them belong to risky runs."""

    spans: Sequence[ReadableSpan]
    logs: Sequence[Any]
    risky: frozenset[int]

    def items(self, *, risky: bool) -> Counter[Item]:
        """Return what belongs to risky runs, or all the rest."""
        found = [
            (f"{span.context.span_id:016x}", "span", None)
            for span in self.spans
            if span.context and (span.context.span_id in self.risky) is risky
        ]
        records = [item.log_record for item in self.logs]
        found += [
            (f"{record.span_id:016x}", record.event_name, record.attributes.get(semconv.RUN_DATA_CHUNK_INDEX))
            for record in records
            if (record.span_id in self.risky) is risky
        ]
        return Counter(found)


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    """200 runs: some risky by a flag, some by their score, some of calls with several sequences, some in one trace."""
    telemetry = InMemoryTelemetry()
    risky: set[int] = set()

    def add(count: int, *make: Any, bad: bool, **options: Any) -> None:
        for _ in range(count):
            span = report(telemetry, *(each() for each in make), **options)
            if bad:
                risky.add(span.get_span_context().span_id)

    add(116, healthy, bad=False)
    add(20, medium, bad=False)
    assert set(FLAGGED) == set(semconv.HEALTH_FLAGS)
    for number, make in enumerate(FLAGGED.values()):
        add(5, make, bad=True, **({"risk": 0.3} if number % 2 else {}))  # a flag counts whatever the score
    add(5, healthy, bad=True, risk=0.7)
    add(5, healthy, bad=False, risk=0.699)
    # Calls: the risk of the worst sequence and the flags of all stand on the call's span.
    add(2, healthy, medium, healthy, bad=False)
    add(4, healthy, FLAGGED["attention_collapse_detected"], looping, bad=True)
    # One trace: of a request that generated six times, twice it went wrong.
    request = telemetry.tracer_provider.get_tracer("app").start_span("request")
    within = set_span_in_context(request)
    for index in range(6):
        add(1, torn if index in (1, 4) else healthy, bad=index in (1, 4), within=within)
    request.end()
    spans = telemetry.span_exporter.get_finished_spans()
    for span in spans:
        attributes = span.attributes or {}
        if span.context and span.parent and span.parent.span_id in risky and attributes[semconv.SEQUENCE_INDEX] != 0:
            risky.add(span.context.span_id)
    runs = [span for span in spans if span.name != "request" and semconv.SEQUENCE_COUNT not in (span.attributes or {})]
    assert len(runs) == 200
    return Mixed(spans, telemetry.log_exporter.get_finished_logs(), frozenset(risky))


def items(received: Received) -> Counter[Item]:
    found = [(span.span_id.hex(), "span", None) for span in received.spans()]
    for record in received.log_records():
        chunk = [each.value.int_value for each in record.attributes if each.key == semconv.RUN_DATA_CHUNK_INDEX]
        found.append((record.span_id.hex(), record.event_name, chunk[0] if chunk else None))
    return Counter(found)


def settled(received: Received, least: int) -> Counter[Item]:
    """Return what has arrived, once it is enough and nothing comes any more."""
    wait_until(lambda: sum(items(received).values()) >= least)
    before = -1
    while (now := len(received.messages)) != before:
        before = now
        time.sleep(2)
    return items(received)


def through(otelcol: str, folder: Path, mixed: Mixed, share: float, **environment: str) -> Counter[Item]:
    """Return what a Collector passes on."""
    with (
        http_receiver() as received,
        collector(
            otelcol,
            folder,
            OVERLAY,
            COREVITAL_OTLP_ENDPOINT=received.endpoint,
            COREVITAL_SAMPLING_SHARE=str(share),
            **environment,
        ) as running,
    ):
        running.export(mixed.spans, mixed.logs)
        return settled(received, sum(mixed.items(risky=True).values()))


def test_without_a_share_exactly_the_risky_runs_pass_with_all_their_logs(
    otelcol: str, tmp_path: Path, mixed: Mixed
) -> None:
    expected = mixed.items(risky=True)
    assert len(mixed.risky) == 30 + 5 + 4 * 3 + 2
    assert {event for _, event, _ in expected} == {"span", semconv.EVALUATION_EVENT, semconv.RUN_DATA_EVENT}
    assert max(chunk or 0 for _, _, chunk in expected) > 0, "some have more than one chunk of run data"
    assert through(otelcol, tmp_path, mixed, 0) == expected


def test_with_a_share_of_all_everything_passes_once(otelcol: str, tmp_path: Path, mixed: Mixed) -> None:
    assert through(otelcol, tmp_path, mixed, 100) == mixed.items(risky=True) + mixed.items(risky=False)


@pytest.mark.acceptance
def test_the_share_keeps_whole_traces_the_same_in_every_collector(otelcol: str, tmp_path: Path, mixed: Mixed) -> None:
    found = [through(otelcol, tmp_path / name, mixed, 50) for name in ("one", "other")]
    assert found[0] == found[1]
    assert mixed.items(risky=True) <= found[0], "the risky ones are not thinned out"
    rest = found[0] - mixed.items(risky=True)
    traces = {f"{s.context.span_id:016x}": s.context.trace_id for s in mixed.spans if s.context}
    kept = {traces[span] for span, _, _ in rest}
    assert rest == Counter({item: 1 for item in mixed.items(risky=False) if traces[item[0]] in kept})
    of = len({traces[span] for span, _, _ in mixed.items(risky=False)})
    assert abs(len(kept) - of / 2) < 4 * (of / 4) ** 0.5, f"{len(kept)} of {of} is not half of them"


@pytest.mark.parametrize("apart", [2, heavy(60)])
def test_runs_of_one_trace_are_judged_each_by_itself_however_far_apart(
    otelcol: str, tmp_path: Path, apart: float
) -> None:
    telemetry = InMemoryTelemetry()
    within = set_span_in_context(telemetry.tracer_provider.get_tracer("app").start_span("request"))
    runs = [report(telemetry, make(), within=within) for make in (healthy, torn, healthy)]
    spans, logs = telemetry.spans, telemetry.log_exporter.get_finished_logs()
    sent = Mixed(spans, logs, frozenset({runs[1].get_span_context().span_id}))
    with (
        http_receiver() as received,
        collector(
            otelcol, tmp_path, OVERLAY, COREVITAL_OTLP_ENDPOINT=received.endpoint, COREVITAL_SAMPLING_SHARE="0"
        ) as running,
    ):
        for index, run in enumerate(runs):
            if index == 1:
                time.sleep(apart)
            own = [log for log in logs if log.log_record.span_id == run.get_span_context().span_id]
            running.export(spans[index : index + 1], own)
        assert settled(received, 1) == sent.items(risky=True)


def test_everything_for_the_base_and_the_sampled_for_another(otelcol: str, tmp_path: Path, mixed: Mixed) -> None:
    everything = mixed.items(risky=True) + mixed.items(risky=False)
    with (
        http_receiver() as base,
        http_receiver() as other,
        collector(
            otelcol,
            tmp_path,
            OVERLAY,
            "langfuse",
            COREVITAL_OTLP_ENDPOINT=base.endpoint,
            COREVITAL_SAMPLING_BASE="otlp",
            COREVITAL_SAMPLING_SHARE="0",
            COREVITAL_LANGFUSE_FROM="forward/sampled",
            LANGFUSE_HOST=other.endpoint,
        ) as running,
    ):
        running.export(mixed.spans, mixed.logs)
        assert settled(base, sum(everything.values())) == everything
        risky = mixed.items(risky=True)
        spans = Counter({item: count for item, count in risky.items() if item[1] == "span"})
        assert settled(other, len(spans)) == spans


def test_the_threshold_can_be_set(otelcol: str, tmp_path: Path) -> None:
    telemetry = InMemoryTelemetry()
    spans = [report(telemetry, healthy(), risk=risk) for risk in (0.35, 0.45)]
    sent = Mixed(
        telemetry.spans, telemetry.log_exporter.get_finished_logs(), frozenset({spans[1].get_span_context().span_id})
    )
    assert through(otelcol, tmp_path, sent, 0, COREVITAL_SAMPLING_RISK="0.4") == sent.items(risky=True)


def test_log_records_of_no_trace_are_not_thinned_out(otelcol: str, tmp_path: Path) -> None:
    telemetry = InMemoryTelemetry()
    logger = telemetry.logger_provider.get_logger("app")
    for number in range(50):
        logger.emit(LogRecord(body=f"line {number}"))
    logs = telemetry.log_exporter.get_finished_logs()
    with (
        http_receiver() as received,
        collector(
            otelcol, tmp_path, OVERLAY, COREVITAL_OTLP_ENDPOINT=received.endpoint, COREVITAL_SAMPLING_SHARE="10"
        ) as running,
    ):
        running.export([], logs)
        wait_until(lambda: len(received.log_records()) == len(logs))

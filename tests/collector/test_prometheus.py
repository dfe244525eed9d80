"""collector/prometheus.yaml and prometheus-spans.yaml in a real Collector: their pages against true counts."""

from collections import Counter
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.collectors import collector
from tests.support.fleet import program
from tests.support.in_memory import instrumented
from tests.support.processes import free_port, wait_until
from tests.support.reported_runs import FLAGGED, healthy, looping, medium, report
from tests.support.scraping import Sample, scrape, total
from tests.support.tiny_models import prompt, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


@pytest.mark.acceptance
def test_counters_of_two_processes_of_one_service_add_up_and_leave_with_them(otelcol: str, tmp_path: Path) -> None:
    port = free_port()
    with (
        collector(
            otelcol,
            tmp_path,
            "prometheus",
            COREVITAL_PROMETHEUS_ENDPOINT=f"127.0.0.1:{port}",
            COREVITAL_PROMETHEUS_EXPIRATION="4s",
        ) as running,
        program(running, tmp_path / "one.log", "chat") as one,
        program(running, tmp_path / "other.log", "chat") as other,
    ):
        one.generate("healthy", 3)
        first = one.generate("loops", 2)
        other.generate("healthy", 2)
        other.generate("loops", 1)
        second = other.generate("nan", 1)
        expected = {name: first.get(name, 0) + second.get(name, 0) for name in first | second}
        assert expected["level low"] == 5
        assert expected["level high"] == 4
        wait_until(lambda: counted(scrape(port)) == expected, 30)
        samples = scrape(port)
        series = [each for each in samples if each.name == "corevital_runs_total"]
        assert {each.labels["job"] for each in series} == {"chat"}
        assert len({each.labels["instance"] for each in series}) == 2
        assert len(series) == 4, "two levels of two processes"
        assert total(samples, "corevital_run_risk_score_count") == 9
        assert total(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == expected["tokens"]
        # docs/alerting.md tells how many series a process makes.
        histograms = [each for each in samples if each.name.endswith(("_bucket", "_sum", "_count"))]
        assert len(histograms) == 2 * 146
        gauges = Counter(each.labels["instance"] for each in samples if each.name.endswith(("_bit", "_ratio")))
        assert max(gauges.values()) == 6 + 3 * 2, "of a model with two layers"
        # What the program measures itself has its own pipelines.
        names = {each.name.removesuffix("_bucket") for each in samples}
        assert all(name.startswith(("corevital_", "gen_ai_")) or name == "target_info" for name in names)
        other.end()
        gone = one.generate("loops", 1)
        wait_until(lambda: counted(scrape(port)) == gone, 30)
        assert len({each.labels["instance"] for each in scrape(port) if "instance" in each.labels}) == 1


def counted(samples: list[Sample]) -> dict[str, float]:
    """Return what the page says, in the words of the programs."""
    labels = {
        "corevital_runs_total": ("level", "corevital_risk_level"),
        "corevital_health_flags_total": ("flag", "corevital_health_flag"),
        "corevital_warnings_total": ("warning", "corevital_warning"),
    }
    found: dict[str, float] = {}
    for name, (word, label) in labels.items():
        for value in {each.labels[label] for each in samples if each.name == name}:
            found[f"{word} {value}"] = total(samples, name, **{label: value})
    found["tokens"] = total(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="output")
    return found


Counts = Counter[tuple[str, frozenset[tuple[str, str]]]]
"""Name and labels -> count."""


def test_spans_alone_count_what_metrics_would_have(
    otelcol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = []
    for instance in ("one", "other", "unmeasured"):
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.name=chat,service.instance.id={instance}")
        processes.append(InMemoryTelemetry())
    for telemetry in processes[:2]:
        for make in (healthy, healthy, medium, *FLAGGED.values()):
            report(telemetry, make())
        report(telemetry, healthy(), looping(), medium())
        telemetry.tracer_provider.get_tracer("app").start_span("request").end()
    with instrumented(processes[2], capture_ratio=0.0):
        tiny_model().generate(prompt(), max_new_tokens=3, do_sample=False, eos_token_id=None)
    expected = sum((measured(telemetry) for telemetry in processes), Counts())
    port = free_port()
    with collector(
        otelcol,
        tmp_path,
        "prometheus-spans",
        COREVITAL_PROMETHEUS_SPANS_ENDPOINT=f"127.0.0.1:{port}",
        COREVITAL_PROMETHEUS_SPANS_INTERVAL="500ms",
    ) as running:
        for telemetry in processes:
            running.export(telemetry.span_exporter.get_finished_spans())
        wait_until(lambda: sum(on_the_page(port).values()) >= sum(expected.values()))
        assert on_the_page(port) == expected
        running.export(processes[0].spans[:1])
        wait_until(lambda: sum(on_the_page(port).values()) == sum(expected.values()) + 1)
        assert {each.labels["job"] for each in scrape(port)} == {"chat"}
        assert not any("instance" in each.labels for each in scrape(port) if each.name != "target_info")


def measured(telemetry: InMemoryTelemetry) -> Counts:
    """Return what the SDK's own counters say."""
    counts = Counts()
    for name in ("corevital.runs", "corevital.health.flags"):
        for point in telemetry.metrics().get(name, ()):
            labels = {
                key.replace(".", "_"): str(value).lower() if value in (True, False) else value
                for key, value in point.attributes.items()
            }
            counts[f"{name.replace('.', '_')}_total", frozenset(labels.items())] += point.value
    return counts


def on_the_page(port: int) -> Counts:
    counts = Counts()
    for each in scrape(port):
        if each.name != "target_info":
            labels = {key: value for key, value in each.labels.items() if key != "job"}
            counts[each.name, frozenset(labels.items())] += int(each.value)
    return counts

"""A run that comes over the wire is in the store as the exporter in its own process would have put it there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import ssl_channel_credentials
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

from opentelemetry_instrumentation_corevital.store import (
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
    open_store,
)
from tests.support.collect_process import Collecting, collecting
from tests.support.in_memory import instrumented
from tests.support.spans import make_call
from tests.support.store_contents import TABLES, contents
from tests.support.tiers import heavy
from tests.support.tiny_models import prompt, sharpen, tiny_model

Exporters = tuple[Any, Any, Any]


def http(receiver: Collecting, *, scheme: str = "http", **more: Any) -> Exporters:
    url, options = f"{scheme}://127.0.0.1:{receiver.http}/v1", {"compression": Compression.Gzip, **more}
    return (
        http_traces.OTLPSpanExporter(f"{url}/traces", **options),
        http_logs.OTLPLogExporter(f"{url}/logs", **options),
        http_metrics.OTLPMetricExporter(f"{url}/metrics", **options),
    )


def grpc(receiver: Collecting, **more: Any) -> Exporters:
    where, options = f"127.0.0.1:{receiver.grpc}", {"insecure": True, **more}
    return (
        grpc_traces.OTLPSpanExporter(where, **options),
        grpc_logs.OTLPLogExporter(where, **options),
        grpc_metrics.OTLPMetricExporter(where, **options),
    )


def grpc_gzip(receiver: Collecting) -> Exporters:
    from grpc import Compression as GrpcCompression

    return grpc(receiver, compression=GrpcCompression.Gzip)


def http_plain(receiver: Collecting) -> Exporters:
    return http(receiver, compression=Compression.NoCompression)


@pytest.mark.parametrize("exporters", [http, http_plain, grpc, grpc_gzip], ids=lambda each: each.__name__)
def test_a_run_comes_over_the_wire_as_it_was(exporters: Callable[[Collecting], Exporters], tmp_path: Path) -> None:
    with instrumented(capture="full") as telemetry:
        sharpen(tiny_model()).generate(prompt(), max_new_tokens=40, do_sample=False, eos_token_id=None)
        tiny_model().generate(prompt(batch=2), max_new_tokens=12, do_sample=True)
    items = [[*telemetry.spans, *make_call(2)], telemetry.log_exporter.get_finished_logs()]
    metrics = telemetry.reader.get_metrics_data()
    direct = tmp_path / "direct.db"
    own = [SQLiteSpanExporter(direct), SQLiteLogExporter(direct), SQLiteMetricExporter(direct)]
    for exporter, given in zip(own, [*items, metrics], strict=True):
        exporter.export(given)  # type: ignore[attr-defined]
    for exporter in own:
        exporter.shutdown()
    with collecting(tmp_path) as receiver:
        for exporter, given in zip(exporters(receiver), [*items, metrics], strict=True):
            for _ in range(2):  # a second delivery stores nothing twice
                assert exporter.export(given).name == "SUCCESS", exporter
        assert receiver.stop() == 0
    for table in TABLES:
        assert contents(receiver.db, table) == contents(direct, table), table
    assert contents(receiver.db, "run_data_chunks") == []
    with open_store(direct) as first, open_store(receiver.db) as second:
        assert len(first.runs()) == 5
        assert second.runs() == first.runs()
        for run in first.runs():
            assert second.load(run) == first.load(run)


def over_http(receiver: Collecting, certificate: Path, headers: dict[str, str]) -> Exporters:
    return http(receiver, scheme="https", certificate_file=str(certificate), headers=headers)


def over_grpc(receiver: Collecting, certificate: Path, headers: dict[str, str]) -> Exporters:
    return grpc(
        receiver, insecure=False, credentials=ssl_channel_credentials(certificate.read_bytes()), headers=headers
    )


@pytest.mark.parametrize("exporters", [heavy(over_http), over_grpc], ids=lambda each: each.__name__)
def test_exporters_with_the_token_come_in_over_tls(
    exporters: Callable[[Collecting, Path, dict[str, str]], Exporters],
    tmp_path: Path,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # they win over what the exporter is told
    own, key = certificate
    with instrumented(capture="full") as telemetry:
        tiny_model().generate(prompt(), max_new_tokens=12, do_sample=False)
    given = [telemetry.spans, telemetry.log_exporter.get_finished_logs(), telemetry.reader.get_metrics_data()]
    options = ("--tls-cert", str(own), "--tls-key", str(key))
    with collecting(tmp_path, *options, environment={"COREVITAL_COLLECT_TOKEN": "s3cret"}) as receiver:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            for exporter, items in zip(exporters(receiver, own, headers), given, strict=True):
                assert exporter.export(items).name == "FAILURE", exporter
        for exporter, items in zip(exporters(receiver, own, {"authorization": "Bearer s3cret"}), given, strict=True):
            assert exporter.export(items).name == "SUCCESS", exporter
        assert receiver.stop() == 0
    for table, least in (("runs", 1), ("run_data", 1), ("metrics", 5)):
        assert len(contents(receiver.db, table)) >= least, table

"""What a person sees first of a run in Jaeger, which sorts tags by name: its verdict, and the error status."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from opentelemetry_instrumentation_corevital import semconv
from tests.support.in_memory import instrumented
from tests.support.processes import get_json, jaeger_server, wait_until
from tests.support.tiny_models import prompt, tiny_model

pytestmark = [pytest.mark.wire, pytest.mark.xdist_group("wire")]


def test_the_verdict_is_the_first_of_our_tags_and_a_risky_run_is_an_error_where_asked(
    jaeger: str, tmp_path: Path
) -> None:
    with jaeger_server(jaeger, tmp_path / "jaeger.log") as server:
        traces = {}
        for status_on in ("off", "high"):
            with instrumented(status_on=status_on) as telemetry:
                telemetry.tracer_provider.add_span_processor(
                    SimpleSpanProcessor(OTLPSpanExporter(f"{server.http}/v1/traces"))
                )
                tiny_model(seed=3).generate(
                    prompt(), max_new_tokens=120, do_sample=False, prefix_allowed_tokens_fn=lambda batch, ids: [5]
                )
            assert telemetry.span.context is not None
            traces[status_on] = f"{telemetry.span.context.trace_id:032x}"
        found = {status_on: tags(server.query, trace) for status_on, trace in traces.items()}
        (service,) = get_json(f"{server.query}/api/services")["data"]
        search = f"{server.query}/api/traces?service={service}&tags=%7B%22error%22%3A%22true%22%7D"
        errors = wait_until(lambda: get_json(search)["data"])
    for status_on, every in found.items():
        names = sorted(name for name in every if name.startswith("corevital."))
        assert names[0] == semconv.ASSESSMENT
        assert every[semconv.ASSESSMENT].startswith("high 0.90: repetition loop from step ")
        assert every.get("error") == (True if status_on == "high" else None)
        assert every.get("otel.status_description") == (every[semconv.ASSESSMENT] if status_on == "high" else None)
    assert [trace["traceID"] for trace in errors] == [traces["high"]]


def tags(query: str, trace: str) -> dict[str, Any]:
    """Return the tags of a trace's only span, as Jaeger's API has them."""
    url = f"{query}/api/traces/{trace}"
    ((span,),) = [each["spans"] for each in wait_until(lambda: get_json(url)["data"])]
    return {tag["key"]: tag["value"] for tag in span["tags"]}

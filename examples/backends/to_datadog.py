"""A run in Datadog, below a span of ddtrace's. ddtrace sends it to the Datadog Agent.

    pip install ddtrace
    python to_datadog.py           # to the Agent at http://localhost:8126; DD_TRACE_AGENT_URL names another one

Find it by `@corevital.risk.level:high`. The model is a folder or a hub id: the first argument, else MODEL.
"""

import os
import sys

from ddtrace.opentelemetry import TracerProvider
from ddtrace.trace import tracer
from opentelemetry import trace
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")

trace.set_tracer_provider(TracerProvider())  # ddtrace's; `ddtrace-run` sets it where DD_TRACE_OTEL_ENABLED=true
corevital.CoreVitalInstrumentor().instrument()

chat = pipeline("text-generation", MODEL)
with trace.get_tracer("to-datadog").start_as_current_span("question"):
    chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
run = corevital.last_run()
print(run.narrative if run else "the run was not measured")
tracer.shutdown()  # sends what still waits

"""A run in OpenLIT, below the span of OpenLIT's own instrumentation. Its SDK sends both.

    pip install openlit
    python to_openlit.py           # to an OpenLIT at http://localhost:4318, its page is http://localhost:3000

OTEL_EXPORTER_OTLP_ENDPOINT names another place. The model is a folder or a hub id: the first argument, else MODEL.
"""

import os
import sys

import openlit
from opentelemetry import trace
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
ENDPOINT = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")

# First: it sets the global providers, to which CoreVital reports.
openlit.init(service_name="to-openlit", otlp_endpoint=ENDPOINT, capture_message_content=False)
corevital.CoreVitalInstrumentor().instrument()

chat = pipeline("text-generation", MODEL)
chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
run = corevital.last_run()
print(run.narrative if run else "the run was not measured")
trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]  # sends what still waits

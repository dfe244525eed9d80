"""A run in Arize Phoenix, with the texts of prompt and answer.

    pip install arize-phoenix && phoenix serve
    python to_phoenix.py           # http://localhost:6006, project `to-phoenix`

PHOENIX_COLLECTOR_ENDPOINT names another place. The model is a folder or a hub id: the first argument, else MODEL.
"""

import os
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
ENDPOINT = os.environ.get("PHOENIX_COLLECTOR_ENDPOINT", "http://localhost:6006")

provider = TracerProvider(resource=Resource.create({"openinference.project.name": "to-phoenix"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{ENDPOINT}/v1/traces")))
corevital.CoreVitalInstrumentor().instrument(
    tracer_provider=provider,
    # Texts are off unless you ask; Phoenix shows them by OpenInference's names.
    capture_message_content="span_only",
    openinference=True,
)

chat = pipeline("text-generation", MODEL)
chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
run = corevital.last_run()
print(run.narrative if run else "the run was not measured")
provider.shutdown()  # sends what still waits

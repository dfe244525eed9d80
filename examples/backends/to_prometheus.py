"""Metrics for Prometheus, on a page that it scrapes. The program answers until you end it.

    pip install 'opentelemetry-instrumentation-corevital[transformers,prometheus]'
    python to_prometheus.py        # http://localhost:9464/metrics; PORT takes another port

In prometheus.yml: `scrape_configs: [{job_name: corevital, static_configs: [{targets: ["localhost:9464"]}]}]`.
The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys
import time

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import start_http_server
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
PORT = int(os.environ.get("PORT", "9464"))

meters = MeterProvider([PrometheusMetricReader()], resource=Resource.create({"service.name": "to-prometheus"}))
# The tracer provider has no exporter: its spans go nowhere, but they are what decides that a run is measured.
corevital.CoreVitalInstrumentor().instrument(tracer_provider=TracerProvider(), meter_provider=meters)
start_http_server(PORT)

chat = pipeline("text-generation", MODEL)
while True:
    chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
    run = corevital.last_run()
    print(run.narrative if run else "the run was not measured", flush=True)
    time.sleep(5)

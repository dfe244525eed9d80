"""A run in Langfuse, below an observation of your own. Langfuse's SDK sends it.

    pip install langfuse
    export LANGFUSE_PUBLIC_KEY=pk-lf-... LANGFUSE_SECRET_KEY=sk-lf-... LANGFUSE_BASE_URL=https://cloud.langfuse.com
    python to_langfuse.py

The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys

from langfuse import Langfuse
from transformers import pipeline

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")

langfuse = Langfuse()  # first: it sets the global tracer provider, to which CoreVital reports
corevital.CoreVitalInstrumentor().instrument(capture_message_content="span_only")  # Langfuse shows the texts

chat = pipeline("text-generation", MODEL)
with langfuse.start_as_current_observation(name="question"):
    chat([{"role": "user", "content": "Name three primary colours."}], max_new_tokens=16, do_sample=False)
run = corevital.last_run()
print(run.narrative if run else "the run was not measured")
langfuse.shutdown()  # sends what still waits

"""Stream an answer, and end it where it loops or overflows.

The model is a name, a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys

from opentelemetry_instrumentation_corevital import CoreVitalMonitor
from opentelemetry_instrumentation_corevital.policies import Stop

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "smollm2")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "400"))
QUESTION = {"role": "user", "content": "Tell me everything about the history of the universe in great detail."}

monitor = CoreVitalMonitor(policies=[Stop(on=["repetition_loop", "nan", "inf"])])
stream = monitor.stream(MODEL, [QUESTION], max_new_tokens=LIMIT, do_sample=False)
for step in stream:
    print(step.token_text, end="", flush=True)
summary = stream.get_summary()
print(f"\n\n{summary['stop_reason']} after {summary['output_tokens']} tokens. {summary['narrative']}")

"""Generates with random models what the lines of its input say, and prints what was judged as a line of JSON.

`healthy 3` are three runs that end well, `loops 2` two that a model spends repeating one token, `nan 1` one of NaN,
`unmeasured 1` one below a span that is not sampled. The program ends with its input. What it prints is what CoreVital's
judgements said, before any metric was recorded.
"""

import json
import math
import sys
from collections import Counter

import torch
from opentelemetry import metrics, trace

from opentelemetry_instrumentation_corevital import Judgement, Run
from tests.support.tiny_models import prompt, tiny_model


class Tally(Judgement):
    """Counts what the judgements before it said."""

    role = "tally"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def on_run_ending(self, _span: trace.Span, run: Run) -> None:
        assert run.risk is not None
        assert run.health is not None
        self.counts[f"level {run.risk.level}"] += 1
        self.counts.update(f"flag {flag}" for flag in run.health.raised())
        self.counts.update(f"warning {warning}" for warning in run.warnings)
        self.counts["tokens"] += run.steps


tally = Tally()
trace.get_tracer_provider().add_span_processor(tally)  # type: ignore[attr-defined]
healthy, stuck, torn = (tiny_model(seed=seed) for seed in (0, 3, 2))
stuck.lm_head.register_forward_hook(lambda module, inputs, output: output + 30 * (torch.arange(128) == 77))
torn.lm_head.register_forward_hook(lambda module, inputs, output: output * math.nan)
models = {"healthy": (healthy, 8), "loops": (stuck, 60), "nan": (torn, 3), "unmeasured": (healthy, 8)}
unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
lines = metrics.get_meter("app").create_counter("app.lines")
for line in sys.stdin:
    lines.add(1)
    kind, count = line.split()
    model, tokens = models[kind]
    for _ in range(int(count)):
        with trace.use_span(unsampled if kind == "unmeasured" else trace.INVALID_SPAN):
            model.generate(prompt(), max_new_tokens=tokens, do_sample=False, eos_token_id=None)
    print(json.dumps(tally.counts), flush=True)

"""CoreVital in code: instrument, generate, read the verdict from a judgement of your own.

The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import os
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Span
from transformers import AutoModelForCausalLM, AutoTokenizer

from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, Judgement, Run

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")


class Alert(Judgement):
    """Runs after CoreVital's own judgements and sees what they found."""

    role = "alert"

    def on_run_ending(self, span: Span, run: Run) -> None:
        if run.risk is not None:
            span.set_attribute("example.alert", run.risk.level == "high")
            print(f"{run.risk.level} risk: {run.narrative}")


def main() -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    CoreVitalInstrumentor().instrument(tracer_provider=provider, judgements=[Alert()], capture="full")

    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name three primary colours."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    # With the tokenizer CoreVital can hash the prompt; generate() itself needs it for stop strings only.
    model.generate(**inputs, max_new_tokens=40, do_sample=False, tokenizer=tokenizer)

    CoreVitalInstrumentor().uninstrument()
    provider.shutdown()


if __name__ == "__main__":
    main()

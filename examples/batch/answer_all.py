"""A batch job: answer every prompt of a file, record each run, and fail if one of them went wrong.

    python answer_all.py [PROMPTS.jsonl] [MODEL]

A line of the file is a JSON object with `prompt`. The model is a folder or a hub id; MODEL in the environment will do.
"""

import json
import os
import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

import opentelemetry_instrumentation_corevital as corevital

PROMPTS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("prompts.jsonl")
MODEL = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "64"))
BATCH = 4


def main() -> int:
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    prompts = [json.loads(line)["prompt"] for line in PROMPTS.read_text("utf-8").splitlines() if line.strip()]
    risky = 0
    with corevital.recording() as recording:  # into runs/corevital.db
        for begin in range(0, len(prompts), BATCH):
            batch = prompts[begin : begin + BATCH]
            inputs = tokenizer.apply_chat_template(
                [[{"role": "user", "content": prompt}] for prompt in batch],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            )
            model.generate(**inputs, max_new_tokens=LIMIT, do_sample=False)
            for prompt, run in zip(batch, corevital.last_runs(), strict=True):  # one run a prompt
                assert run.risk is not None
                print(f"{run.risk.level:6} {run.risk.score:.2f}  {run.stop_reason:6}  {prompt}")
                risky += run.risk.level == "high"
    print(f"{len(prompts)} prompts, {risky} of high risk; the runs are in {recording.path}")
    return 3 if risky else 0


if __name__ == "__main__":
    raise SystemExit(main())

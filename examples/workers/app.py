"""Worker processes: each loads the model and answers, and all of them record into one store.

The model is a folder or a hub id: the first argument, else the environment variable MODEL.
"""

import multiprocessing
import os
import sys
from typing import Any

import opentelemetry_instrumentation_corevital as corevital

MODEL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MODEL", "HuggingFaceTB/SmolLM2-135M-Instruct")
LIMIT = int(os.environ.get("MAX_NEW_TOKENS", "16"))
QUESTIONS = ("Name three primary colours.", "Write one sentence about the sea.", "What do bees make?")
STORE = os.path.abspath(os.path.join("runs", "corevital.db"))

loaded: dict[str, Any] = {}


def begin(name: str) -> None:
    """Prepare a worker. A spawned process inherits nothing: it begins a recording of its own, into the same file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    corevital.recording(STORE).start()  # it is stored whole when the worker ends, also when the pool ends it
    loaded["model"] = AutoModelForCausalLM.from_pretrained(name)
    loaded["tokenizer"] = AutoTokenizer.from_pretrained(name)


def answer(question: str) -> str:
    tokenizer = loaded["tokenizer"]
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = loaded["model"].generate(**inputs, max_new_tokens=LIMIT, do_sample=False)
    return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def main() -> None:
    with multiprocessing.get_context("spawn").Pool(2, begin, (MODEL,)) as pool:
        for question, text in zip(QUESTIONS, pool.map(answer, QUESTIONS, 1), strict=True):
            print(f"{question} {text}")
        pool.close()
        pool.join()  # lets the workers end by themselves
    with corevital.open_store(STORE) as store:
        for run in store.runs(limit=len(QUESTIONS)):
            print(f"{run.risk_level} risk, {run.output_tokens} tokens, run {run.trace_id}")


if __name__ == "__main__":
    main()

"""Case study: a service whose summaries loop, and what stopping them saves.

    python benchmarks/case_studies/looping_summaries.py docs/results/case-looping-summaries.json

SmolLM2-135M-Instruct gets long texts and "Summary:" behind them, without its chat template, greedily. Each request is
answered twice, next to each other and in turns: without a policy, and with Stop(on="repetition_loop"). Both are
recorded into stores. Needs what `corevital run --model smollm2` needs.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from common import write

from opentelemetry_instrumentation_corevital import last_run, recording
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel, load_model
from opentelemetry_instrumentation_corevital.policies import Stop

TEXTS: Final = Path(__file__).parent / "long_texts.txt"
PROMPT: Final = "{text}\n\nSummary:"
POLICY: Final = "repetition_loop"


def answer(loaded: LoadedModel, text: str, tokens: int, store: Path, policies: list[Stop]) -> dict[str, Any]:
    """Answer a request as the service does; return what it took and what CoreVital says of it."""
    inputs = loaded.tokenizer(PROMPT.format(text=text), return_tensors="pt")
    with recording(store, policies=policies):
        begin, cpu = time.perf_counter(), time.process_time()
        output = loaded.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
        run = last_run()
    assert run is not None, "the run was not recorded"
    assert run.health is not None, "the run was not judged"
    ids = output[0, inputs["input_ids"].shape[1] :].tolist()
    return {
        "prompt_tokens": inputs["input_ids"].shape[1],
        "tokens": len(ids),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "loop": bool(run.health.repetition_loop_detected),
        "stop_reason": run.stop_reason,
        "text": loaded.tokenizer.decode(ids),
        "ids": ids,
    }


def pair(loaded: LoadedModel, number: int, text: str, tokens: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Answer a request with and without the policy, in turns."""
    arms: dict[str, list[Stop]] = {"without": [], "with": [Stop(on=POLICY)]}
    order = list(arms) if number % 2 == 0 else list(arms)[::-1]
    found = {name: answer(loaded, text, tokens, folder / f"{name}.db", arms[name]) for name in order}
    kept = len(found["with"]["ids"])
    assert found["without"].pop("ids")[:kept] == found["with"].pop("ids"), "until the stop both answers are the same"
    return {name: found[name] for name in arms}


def figures(pairs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Add up the requests."""
    total = {
        name: {key: round(sum(each[name][key] for each in pairs), 1) for key in ("tokens", "seconds", "cpu_seconds")}
        for name in ("without", "with")
    }
    saved = {key: round(1 - total["with"][key] / total["without"][key], 3) for key in total["without"]}
    stopped = [each for each in pairs if each["with"]["stop_reason"] == "policy"]
    return {
        "requests": len(pairs),
        "looped": sum(each["without"]["loop"] for each in pairs),
        "stopped": len(stopped),
        "stopped_that_would_not_have_looped": sum(not each["without"]["loop"] for each in stopped),
        "total": total,
        "saved": saved,
        "saved_of_the_middle_request": {
            key: round(1 - statistics.median(each["with"][key] / each["without"][key] for each in pairs), 3)
            for key in total["without"]
        },
    }


def main() -> None:
    """Answer all requests, then write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--requests", type=int, default=8, help="so many of the texts")
    parser.add_argument("--new-tokens", type=int, default=160, help="the service's limit")
    parser.add_argument("--stores", type=Path, help="a folder for without.db and with.db; default: one that is removed")
    given = parser.parse_args()
    texts = TEXTS.read_text(encoding="utf-8").strip().split("\n\n")[: given.requests]
    with tempfile.TemporaryDirectory() as aside:
        os.environ["XDG_DATA_HOME"] = aside  # the baseline that is learned here is no user's
        loaded, pairs = load_model("smollm2", device="cpu"), []
        for number, text in enumerate(texts):
            pairs.append(pair(loaded, number, text, given.new_tokens, given.stores or Path(aside)))
            told = {name: (each["tokens"], each["seconds"], each["loop"]) for name, each in pairs[-1].items()}
            print(f"request {number + 1} of {len(texts)}: {told}", flush=True)
        work = {
            "model": loaded.name,
            "prompt": PROMPT,
            "policy": f'Stop(on="{POLICY}")',
            "new_tokens": given.new_tokens,
        }
        write({"format": "corevital case study 1", "workload": work, **figures(pairs), "answers": pairs}, given.result)


if __name__ == "__main__":
    main()

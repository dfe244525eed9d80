"""A case's report: measured, written and read as JSON."""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from call import Bench
from cases import ARMS, CONTROL, PLAIN, Case
from errors import BenchmarkError
from figures import absolute, figures, raw
from host import account as host_account
from launches import account
from models import random_prompt, shown_model
from place import compiled_graphs, environment
from rounds import Pair, measure, once, warm_up

FORMAT: Final = "corevital overhead 2"


def run_case(
    case: Case, model: Any, *, warmup: int, seed: int, budget: float | None, profile: bool, label: str | None
) -> dict[str, Any]:
    """Measure a case; return its report."""
    begun, device = time.monotonic(), torch.device(case.device)
    if case.threads:
        torch.set_num_threads(case.threads)
    place = environment(device, label)
    text = model.config.get_text_config(decoder=True)
    room = getattr(text, "max_position_embeddings", None)
    if room is not None and case.prompt_tokens + case.new_tokens > room:
        raise BenchmarkError(f"the model has {room} positions: fewer than prompt and new tokens together")
    prompt = random_prompt(text.vocab_size, case.batch, case.prompt_tokens, device, seed)
    bench = Bench(model, prompt, case.new_tokens, case.cache, naive="naive" in case.arms)
    try:
        warm_up(bench, () if case.memory else case.arms, warmup)
        graphs = compiled_graphs()
        deadline = begun + budget if budget is not None else float("inf")
        if case.memory:
            pairs = once(bench, case.arms)
        else:
            pairs = measure(bench, case.arms, rounds=case.rounds, seed=seed, deadline=deadline)
        graphs = compiled_graphs() - graphs
        launches = account(bench, (PLAIN, *case.arms)) if profile else None
        host = host_account(bench, case.arms) if profile else None
    finally:
        sent = bench.telemetry.shutdown()
    return {
        "format": FORMAT,
        "case": {"name": case.name, "what": case.what, "changed": case.changed},
        "goals": {
            "measures": case.measures,
            "arms": dict(case.goals),
            "like_control": case.like_control,
        },
        "workload": workload(case, model),
        "method": {"warmup_rounds": warmup, "rounds": rounds_done(pairs), "rounds_wanted": case.rounds, "seed": seed},
        "environment": place,
        "telemetry": sent,
        "graphs_compiled_in_the_rounds": graphs,
        "plain": absolute(references(pairs)),
        "arms": {name: {"label": ARMS[name].label, **figures(found)} for name, found in pairs.items()},
        "launches": launches,
        "host": host,
        "samples": {name: raw(found) for name, found in pairs.items()},
    }


def workload(case: Case, model: Any) -> dict[str, Any]:
    """Return what was generated."""
    return {
        "model": shown_model(case.model),
        "device": case.device,
        "dtype": case.dtype,
        "batch": case.batch,
        "prompt_tokens": case.prompt_tokens,
        "new_tokens": case.new_tokens,
        "cache": case.cache,
        "attention": model.config._attn_implementation,
    }


def references(pairs: Mapping[str, list[Pair]]) -> list[Any]:
    """Return the plain calls, each once."""
    found = {id(plain): plain for arm in pairs.values() for _, plain in arm}
    return list(found.values())


def rounds_done(pairs: Mapping[str, list[Pair]]) -> int:
    """Return how many rounds there were time for."""
    return min(map(len, pairs.values()))


def as_json(report: Mapping[str, Any]) -> str:
    """Return JSON with each list of numbers on a line of its own."""
    text = json.dumps(report, indent=2)
    return re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def read_report(file: Path) -> dict[str, Any]:
    """Return a report of this script."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{file}: cannot be read: {error}") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise BenchmarkError(f"{file}: is no report of this script")
    return report


def control(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the figures of the A/A arm; a memory case has none."""
    found: Mapping[str, Any] | None = report["arms"].get(CONTROL)
    return found

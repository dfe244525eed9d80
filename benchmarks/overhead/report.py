"""A case's report: measured, written and read as JSON."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from cases import Case
from host import account as host_account
from launches import account
from models import eager_twin, shown_model
from place import environment

from opentelemetry_instrumentation_corevital.overhead.arms import CONTROL, PLAIN
from opentelemetry_instrumentation_corevital.overhead.bench import Bench
from opentelemetry_instrumentation_corevital.overhead.measured_place import compiled_graphs
from opentelemetry_instrumentation_corevital.overhead.overhead_error import OverheadError
from opentelemetry_instrumentation_corevital.overhead.pair_figures import outcome, raw
from opentelemetry_instrumentation_corevital.overhead.pairs import Pair, once, rounds, warm_up
from opentelemetry_instrumentation_corevital.overhead.random_prompt import random_prompt

FORMAT: Final = "corevital overhead 2"


def run_case(
    case: Case, model: Any, *, warmup: int, seed: int, budget: float | None, profile: bool, label: str | None
) -> dict[str, Any]:
    """Measure a case; return its report."""
    begun, device = time.monotonic(), torch.device(case.device)
    if case.threads:
        torch.set_num_threads(case.threads)
    place = environment(device, label)
    prompt = random_prompt(model, case.batch, case.prompt_tokens, case.new_tokens, seed)
    bench = Bench(model, prompt, case.new_tokens, case.cache, eager_twin(model) if "naive" in case.arms else None)
    try:
        warm_up(bench, () if case.memory else case.arms, warmup)
        graphs = compiled_graphs()
        deadline = begun + budget if budget is not None else float("inf")
        if case.memory:
            pairs = once(bench, case.arms)
        else:
            pairs = _within(deadline, rounds(bench, case.arms, most=case.rounds, seed=seed), case.rounds)
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
        **outcome(pairs),
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


def _within(deadline: float, done: Iterator[dict[str, list[Pair]]], most: int) -> dict[str, list[Pair]]:
    """Return all pairs; the round in which the deadline (of `time.monotonic`) passes is the last."""
    pairs: dict[str, list[Pair]] = {}
    for number, pairs in enumerate(done, 1):  # noqa: B007 - the last ones are all
        print(f"round {number} of {most}", file=sys.stderr, flush=True)
        if time.monotonic() > deadline:
            break
    return pairs


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
        raise OverheadError(f"{file}: cannot be read: {error}") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise OverheadError(f"{file}: is no report of this script")
    return report


def control(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the figures of the A/A arm; a memory case has none."""
    found: Mapping[str, Any] | None = report["arms"].get(CONTROL)
    return found

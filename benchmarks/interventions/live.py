"""Live runs of SmolLM2, untouched and with a policy, as one JSON file for each."""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from collect import Plan, about, encode, padded
from collect import load as load_model
from labels import fold, loop_onset
from store import Half, half_of, prompts

from opentelemetry_instrumentation_corevital.policies import CoolDown, Policy, RollBack, Stop
from opentelemetry_instrumentation_corevital.run import Intervention, Run
from opentelemetry_instrumentation_corevital.testing import capture_runs

LIMIT = 400
HALF: Half = "report"
PLANS = (
    Plan("greedy", ("long", "free", "repeat", "short"), LIMIT),
    Plan("sampled", ("long", "free", "repeat", "short"), LIMIT, temperature=0.7, top_p=0.95, seed=2001),
)
BATCHED: dict[str, Callable[[], Policy]] = {
    "Stop(on='repetition_loop')": lambda: Stop(on="repetition_loop"),
    "Stop(on='repetition_risk')": lambda: Stop(on="repetition_risk"),
    "CoolDown(on='repetition_loop')": lambda: CoolDown(on="repetition_loop"),
    "CoolDown(on='repetition_loop', temperature=1.5)": lambda: CoolDown(on="repetition_loop", temperature=1.5),
}
"""What acts on the rows of a batch."""
SINGLE: dict[str, Callable[[], Policy]] = {"RollBack()": RollBack}
"""What acts on a call with one sequence."""


@dataclass(frozen=True, slots=True)
class Live:
    """One live run: its prompt and plan, its tokens, and what a policy did to it."""

    prompt: int
    plan: str
    tokens: list[int]
    stop_reason: str | None
    loops: bool
    """Whether its text ends in a loop without an end by itself, by the run set's label."""
    interventions: list[dict[str, Any]]


class Runner:
    """Generates with one model.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.model, self.tokenizer = load_model(options.device, torch.float32)
        self.options = options
        self.end = int(self.model.generation_config.eos_token_id)

    def run(self, batch: Sequence[dict[str, Any]], plan: Plan, seed: int, policies: Sequence[Policy]) -> list[Live]:
        """Generate for prompts in one call, from a seed."""
        inputs = padded([encode(self.tokenizer, prompt) for prompt in batch], self.end, self.options.device)
        with capture_runs(policies=list(policies), attention_every=0) as captured:
            torch.manual_seed(seed)
            self.model.generate(**inputs, **plan.options(), max_new_tokens=LIMIT, pad_token_id=self.end)
        return [self._live(prompt, plan, run) for prompt, run in zip(batch, captured.runs, strict=True)]

    def _live(self, prompt: dict[str, Any], plan: Plan, run: Run) -> Live:
        tokens = run.tokens.tolist()
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        loops = run.stop_reason != "eos" and loop_onset(fold(text)) is not None
        return Live(prompt["id"], plan.name, tokens, run.stop_reason, loops, list(map(_plain, run.interventions)))


def _plain(intervention: Intervention) -> dict[str, Any]:
    return {**asdict(intervention), "evidence": dict(intervention.evidence)}


def collect(options: argparse.Namespace) -> None:
    """Run what has no shard yet, until the time is up."""
    options.out.mkdir(parents=True, exist_ok=True)
    runner, began = Runner(options), time.monotonic()
    chosen = [prompt for prompt in prompts().values() if half_of(prompt) == HALF][: options.limit]

    def wanted(name: str) -> bool:
        late = time.monotonic() - began > options.seconds
        return not late and (not options.only or name in options.only)

    for name, policy in {"untouched": None, **BATCHED}.items():
        if wanted(name) and not shards(options.out, name):
            lives = _batches(runner, chosen, [] if policy is None else [policy()])
            _save(runner, name, lives, began)
    alone = {"untouched alone": None, **SINGLE}
    part, parts = map(int, options.part_of.split("/"))
    picked = {name: _picked(options, name)[part - 1 :: parts] for name in alone}  # before other parts are saved
    for name, policy in alone.items():
        if wanted(name):
            acting = [] if policy is None else [policy()]
            lives = [runner.run([prompt], plan, seed, acting)[0] for prompt, plan, seed in picked[name]]
            _save(runner, name, lives, began)


def _batches(runner: Runner, chosen: Sequence[dict[str, Any]], policies: Sequence[Policy]) -> list[Live]:
    size, lives = runner.options.batch, list[Live]()
    for plan in PLANS:
        for number, begin in enumerate(range(0, len(chosen), size)):
            lives += runner.run(chosen[begin : begin + size], plan, plan.seed + number, policies)
            print(f"{plan.name}: {len(lives)} runs", flush=True)
    return lives


def _picked(options: argparse.Namespace, name: str) -> list[tuple[dict[str, Any], Plan, int]]:
    """Return the runs that are still to be tried alone: the first that loop untouched, and some that do not."""
    done = {(live["prompt"], live["plan"]) for shard in shards(options.out, name) for live in shard["runs"]}
    plans = {plan.name: plan for plan in PLANS}
    found: list[tuple[dict[str, Any], Plan, int]] = []
    lives = [live for shard in shards(options.out, "untouched") for live in shard["runs"]]
    for plan in PLANS:
        for loops, most in ((True, options.single), (False, options.healthy)):
            own = [
                live
                for live in lives
                if live["plan"] == plan.name
                and live["loops"] is loops
                and (not loops or prompts()[live["prompt"]]["class"] != "repeat")
            ]
            found += [
                (prompts()[live["prompt"]], plans[live["plan"]], 3000 + live["prompt"])
                for live in own[: most // len(PLANS)]
                if (live["prompt"], live["plan"]) not in done
            ]
    return found


def shards(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return what has been run of a policy."""
    contents = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json")))
    return [content for content in contents if content["policy"] == name]


def _save(runner: Runner, name: str, lives: Sequence[Live], began: float) -> None:
    if not lives:
        return
    content = {"policy": name, **about(runner.model, runner.options), "runs": [asdict(live) for live in lives]}
    text = json.dumps(content, separators=(",", ":"))
    words = "".join(each if each.isalnum() else "-" for each in name).strip("-")
    path = runner.options.out / f"{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    path.write_text(text, encoding="utf-8")
    print(f"{name}: {len(lives)} runs, {time.monotonic() - began:.0f} s", flush=True)

"""Runs made by hand."""

from typing import Any

import numpy as np

from opentelemetry_instrumentation_corevital.catalogue import signals
from opentelemetry_instrumentation_corevital.run import (
    COLUMNS,
    HIDDEN_SIGNALS,
    NONFINITE_COUNTS,
    SELF_SIGNALS,
    Alternatives,
    Decoding,
    Intervention,
    ModelInfo,
    PromptAnalysis,
    PromptConnections,
    Run,
)

NOT_REPEATING = np.random.default_rng(7).permutation(100_000)


def make_run(steps: int = 40, *, tokens: Any = None, logits: bool = True, **columns: Any) -> Run:
    """Return a healthy run; a column may be given as a number or as one number per step."""
    usual = {"entropy": 1.0, "surprisal": 0.8, "margin": 0.6, "top1_prob": 0.7, "topk_mass": 0.95}
    values: dict[str, Any] = {}
    for name in COLUMNS if logits else ():
        kind = np.int32 if name in NONFINITE_COUNTS else np.float32
        values[name] = np.broadcast_to(np.asarray(columns.get(name, usual.get(name, 0)), kind), steps).copy()
    reason = "not measured in decoding strategy contrastive_search"
    return Run(
        model=ModelInfo(name="org/model", architecture="TinyForCausalLM", vocabulary_size=1000),
        decoding=Decoding(strategy="greedy_search", max_new_tokens=steps),
        start_ns=1_000_000_000,
        end_ns=2_000_000_000,
        input_tokens=5,
        tokens=np.asarray(NOT_REPEATING[:steps] if tokens is None else tokens, np.int32),
        columns=values,
        time_ns=1_000_000_000 + 1_000_000 * np.arange(1, steps + 1) if logits else np.empty(0, np.int64),
        finish_reason="length",
        absent={} if logits else {"entropy": reason, "nonfinite": reason},
    )


def add_alternatives(run: Run) -> Run:
    """Give a run of `make_run` five likely tokens per step, of which it has chosen the first; return the run."""
    usual = np.array([0.7, 0.1, 0.05, 0.03, 0.02], np.float32)
    others = np.arange(1, 5, dtype=np.int32) + 200_000
    tokens = np.concatenate((run.tokens[:, None], np.broadcast_to(others, (run.steps, 4))), axis=1)
    run.alternatives = Alternatives(np.tile(usual, (run.steps, 1)), tokens)
    return run


ROLLED_BACK = Intervention(
    kind="roll_back",
    trigger="repetition_risk",
    step=20,
    outcome="continued",
    time_ns=1_021_000_000,
    tokens_left=20,
    rollback_mode="crop",
    to_step=12,
    evidence={"period": 4, "temperature": 0.9},
)
STOPPED = Intervention(
    kind="stop",
    trigger="repetition_loop_detected",
    step=30,
    outcome="stopped",
    time_ns=1_031_000_000,
    tokens_left=10,
    evidence={"period": 10, "copies": 2.5},
)


def intervened(*interventions: Intervention, run: Run | None = None) -> Run:
    """Return a run to which policies did something: one that they ended, where the last of it was a stop."""
    run = make_run() if run is None else run
    run.interventions = interventions
    ended = interventions[-1].outcome == "stopped"
    run.stop_reason, run.finish_reason = ("policy", "stop") if ended else ("length", "length")
    return run


def add_layers(run: Run, layers: int, *, heads: int = 8, every: int = 1, seed: int = 0) -> Run:
    """Give a run the numbers of healthy layers: noise around a level that differs from layer to layer."""
    rng = np.random.default_rng(seed)
    steps = run.steps
    level = np.linspace(20, 400, layers)
    for name in HIDDEN_SIGNALS:
        run.columns[name] = rng.normal(0, 0.1, (steps, layers)).astype(np.float32)
    run.columns["layer_transformation"] = np.float32(0.2) + np.abs(run.columns["layer_transformation"])  # 1 - a cosine
    run.columns["hidden_l2_norm"] = (level * rng.normal(1, 0.05, (steps, layers))).astype(np.float32)
    run.columns["hidden_max_abs"] = run.columns["hidden_l2_norm"] / 3
    run.columns["hidden_nan"], run.columns["hidden_inf"] = np.zeros((2, steps, layers), np.float32)
    run.columns["hidden_cosine"] = rng.uniform(0.2, 0.9, steps).astype(np.float32)
    run.columns["hidden_cosine"][:1] = np.nan
    for name in SELF_SIGNALS:
        values = rng.uniform(0.1, 0.9, (steps, layers)).astype(np.float32)
        values[np.arange(steps) % every != 0] = np.nan
        run.columns[name] = values
    run.columns["collapsed_head_rate"] *= 0.05
    middle = layers - 2 * (layers // 3)
    run.columns["attention_previous_heads"] = rng.uniform(0, 1, (steps, middle, heads)).astype(np.float32)
    return run


def add_what_some_models_have(run: Run, layers: int, *, seed: int = 1) -> Run:
    """Give a run the numbers of all families that only some models have, in every second layer."""
    rng = np.random.default_rng(seed)
    for family in signals.FAMILIES:
        for each in signals.of_family(family.name, "layer") if family.some_models else ():
            run.columns[each.name] = rng.uniform(0.1, 0.9, (run.steps, layers)).astype(np.float32)
            run.columns[each.name][:, ::2] = np.nan
    return run


def agreeing_run(steps: int = 12, layers: int = 3) -> Run:
    """Return a run with all numbers that must agree with others, as they must."""
    run = add_alternatives(add_layers(make_run(steps, margin=0.6, entropy=1.5, topk_mass=0.95), layers))
    run.columns["surprisal"][:] = -np.log2(np.float32(0.7))
    values = {"mass_sink": 0.5, "mass_prompt": 0.3, "mass_generated": 0.2}
    values |= {"entropy": 0.5, "entropy_min": 0.25, "entropy_max": 0.75}
    for name, value in values.items():
        run.columns[f"attention_{name}"] = np.full((steps, layers), value, np.float32)
    return run


def add_prompt(run: Run) -> Run:
    """Give a run the analysis in full of a prompt of 8 tokens, by 2 layers of 2 heads; return it."""
    index = np.full((2, 2, 8), -1, np.int32)
    index[0, 0, :2] = index[0, 1, :2] = index[1, 0, :2] = 0, 3
    index[1, 1, 0] = 0
    index[0, 0, 2] = 5
    weight = np.where(index >= 0, np.float32(0.5), np.float32(np.nan)).astype(np.float32)
    run.prompt_analysis = PromptAnalysis.of(
        np.arange(1, 8, dtype=np.float32),
        layer_transformation=np.array([np.nan, 0.125], np.float32),
        basin=np.array([[0.4, 0.1], [0.7, 2.0]], np.float32),
        connections=PromptConnections(index, weight),
    )
    return run

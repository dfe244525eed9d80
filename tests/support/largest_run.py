"""A run that has everything that a run can have."""

from dataclasses import replace
from functools import cache

import numpy as np

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.thresholds import Thresholds
from opentelemetry_instrumentation_corevital.run import (
    Decoding,
    Intervention,
    ModelInfo,
    PromptAnalysis,
    PromptConnections,
)
from tests.support.described_spans import long_run
from tests.support.known_models import known
from tests.support.made_runs import NOT_REPEATING, add_layers, add_what_some_models_have

LAYERS, STEPS, NAN_STEPS = 80, 2000, 10


@cache
def usual() -> Thresholds:
    """Return what is known of its model."""
    runs = [add_layers(long_run(60), LAYERS, seed=seed) for seed in range(100, 120)]
    for run in runs:
        run.model = replace(run.model, layer_count=LAYERS)
    return known(runs)


def prompt_with_everything() -> PromptAnalysis:
    """What is told of a long prompt, of all layers but one."""
    rng = np.random.default_rng(0)
    basin, weight = rng.uniform(0, 2, (LAYERS, 64)), np.sort(rng.uniform(0, 0.1, (LAYERS, 64, 8)))[..., ::-1]
    basin[7] = np.nan
    return PromptAnalysis.of(
        rng.exponential(4.0, 8191).astype(np.float32),
        layer_transformation=np.concatenate([[np.nan], rng.uniform(0, 0.5, LAYERS - 1)]).astype(np.float32),
        basin=basin.astype(np.float32),
        connections=PromptConnections(rng.integers(0, 8192, weight.shape, np.int32), weight.astype(np.float32)),
        absent={"prompt_basin": "the prompt has no token ids"},
    )


def run_with_everything(attention_every: int) -> Run:
    """A long run that loops in the end, with NaN in one layer, an outlier in others, and layers without attention.

    The NaN come last: what follows them is their consequence, and no verdict.
    """
    run = add_what_some_models_have(add_layers(long_run(STEPS), LAYERS, every=attention_every), LAYERS)
    run.tokens = np.concatenate([NOT_REPEATING[: STEPS - 600], np.tile(NOT_REPEATING[:20], 30)]).astype(np.int32)
    run.columns["hidden_l2_norm"][100, 1:40] = 1e6
    for name in run.columns.keys() & {"hidden_l2_norm", "hidden_max_abs"}:
        run.columns[name][-NAN_STEPS:, 50] = np.nan
    run.columns["hidden_nan"][-NAN_STEPS:, 50] = 12
    for name in ("attention_entropy", "attention_entropy_std", "collapsed_head_rate"):
        run.columns[name][:, ::7] = np.nan
    for name in ("hidden_nan", "hidden_inf", "hidden_l2_norm", "hidden_max_abs"):
        run.columns[name][:, 3] = np.nan  # a layer that was not looked at
    run.columns["collapsed_head_rate"][1000:] += 0.8
    run.columns["entropy"][1500:] += 6
    run.columns["entropy"][5] = np.nan
    run.model = ModelInfo(
        *("organisation/a-model-with-a-long-name", "TinyForCausalLM", "bfloat16", "cuda:0", LAYERS, 64),
        *("flash_attention_2", "bitsandbytes_4bit", "0123456789abcdef" * 2),
        adapters=("an-adapter",),
    )
    run.error_type, run.finish_reason, run.stop_reason = "ValueError", "error", "error"
    run.interventions = tuple(
        Intervention(
            kind="roll_back",
            trigger="repetition_loop_detected",
            step=step,
            outcome="continued",
            time_ns=int(run.time_ns[step]),
            tokens_left=STEPS - step,
            rollback_mode="prefill",
            to_step=step - 40,
            evidence={
                "period": 20,
                "copies": 2.5,
                "start_step": step - 60,
                "onset_step": step - 40,
                "temperature": 0.9,
            },
        )
        for step in range(100, 2000, 100)
    )
    run.prompt_analysis = prompt_with_everything()
    run.decoding = Decoding("sample", STEPS, 0.7, 0.9, 50, stop_strings=("\n\n", "###"), seed=7)
    return run

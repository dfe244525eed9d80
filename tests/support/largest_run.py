"""A run that has everything that a run can have."""

from dataclasses import replace
from functools import cache

import numpy as np

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.assessment.thresholds import Thresholds
from opentelemetry_instrumentation_corevital.run import Decoding, Intervention, ModelInfo
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
    run.decoding = Decoding("sample", STEPS, 0.7, 0.9, 50, stop_strings=("\n\n", "###"), seed=7)
    return run

"""What judging a run costs."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital.calibration import fit_profile, write_profile
from opentelemetry_instrumentation_corevital.config import Settings
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements
from opentelemetry_instrumentation_corevital.run import HIDDEN_SIGNALS, SELF_SIGNALS, Decoding, ModelInfo, Run

from .figures import Figure, Section

STEPS, LAYERS, ROUNDS = 512, 32, 30
GOAL_MS = 10.0


def made(seed: int = 0) -> Run:
    """Return a run of noise around levels, which ends in a loop."""
    draw = np.random.default_rng(seed)
    shape = (STEPS, LAYERS)
    layered = {name: draw.uniform(0.1, 0.9, shape).astype(np.float32) for name in HIDDEN_SIGNALS + SELF_SIGNALS}
    layered["hidden_l2_norm"] = (np.linspace(20, 400, LAYERS) * draw.normal(1, 0.05, shape)).astype(np.float32)
    layered |= dict.fromkeys(("hidden_nan", "hidden_inf"), np.zeros(shape, np.float32))
    layered["collapsed_head_rate"] *= 0.05
    columns = {name: draw.uniform(0, 1, STEPS).astype(np.float32) for name in ("margin", "top1_prob", "topk_mass")}
    columns |= {name: draw.gamma(2, 1, STEPS).astype(np.float32) for name in ("entropy", "surprisal")}
    columns |= {name: np.zeros(STEPS, np.int32) for name in ("logits_nan", "logits_posinf", "logits_neginf")}
    tokens = np.concatenate((draw.permutation(50_000)[:300], np.tile(np.arange(20), 11)))[:STEPS]
    return Run(
        model=ModelInfo(name="model", architecture="LlamaForCausalLM", layer_count=LAYERS),
        decoding=Decoding(strategy="greedy_search", max_new_tokens=STEPS),
        start_ns=0,
        end_ns=1,
        tokens=tokens.astype(np.int32),
        columns={**columns, **layered},
        finish_reason="length",
    )


def sections() -> list[Section]:
    """Return what judging costs on this machine."""
    totals: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile.json")
        write_profile(fit_profile([made(100), made(101)]), profile)
        judgements = default_judgements(Settings(baseline=str(profile)))
    parts: dict[str, list[float]] = {}
    for round_ in range(ROUNDS + 3):
        run, total = made(round_), 0.0
        for judgement in judgements:
            begin = time.perf_counter()
            judgement.on_run_ending(INVALID_SPAN, run)
            spent = 1000 * (time.perf_counter() - begin)
            total += spent
            if round_ >= 3:
                parts.setdefault(judgement.role, []).append(spent)
        totals += [total] if round_ >= 3 else []
    median = statistics.median(totals)
    return [
        Section(
            "Cost",
            [
                Figure(
                    f"all judgements of a run of {STEPS} steps and {LAYERS} layers with a profile, median of {ROUNDS}",
                    f"{median:.1f} ms",
                    f"<= {GOAL_MS:g} ms",
                    median <= GOAL_MS,
                ),
                *(Figure(f"... {role}", f"{statistics.median(spent):.2f} ms") for role, spent in parts.items()),
            ],
            [
                "On the CPU of the machine that made this page, one thread, off the decoding loop. Where others share "
                "the machine it changes from minute to minute."
            ],
        )
    ]

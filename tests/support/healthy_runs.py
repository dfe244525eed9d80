"""Healthy runs of one model, to fit a profile of."""

import dataclasses

import numpy as np

from opentelemetry_instrumentation_corevital.run import Run
from tests.support.made_runs import add_layers, make_run

LAYERS = 9


def healthy(seed: int, steps: int = 60) -> Run:
    rng = np.random.default_rng(seed)
    run = add_layers(make_run(steps, entropy=rng.gamma(2.0, 0.5, steps)), LAYERS, seed=seed)
    run.model = dataclasses.replace(run.model, layer_count=LAYERS)
    return run

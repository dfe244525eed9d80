"""Learned baselines of made runs, and runs of a tiny model that teach one."""

from typing import Any

from opentelemetry_instrumentation_corevital.baselines.learned import LearnedBaseline, identity_of
from opentelemetry_instrumentation_corevital.baselines.learned_files import file_of, update
from opentelemetry_instrumentation_corevital.baselines.run_numbers import NumberSample
from opentelemetry_instrumentation_corevital.baselines.windowed import TableRows, parts
from tests.support.healthy_runs import LAYERS, healthy

SAMPLED: dict[str, Any] = {"max_new_tokens": 24, "min_new_tokens": 24, "do_sample": True, "temperature": 1.5}
"""Arguments of generate() with which a tiny model's run is healthy."""

MODEL = healthy(0).model


def taught(*seeds: int, like: LearnedBaseline | None = None) -> LearnedBaseline:
    made = LearnedBaseline.empty(identity_of(MODEL)) if like is None else like.delta()
    for seed in seeds:
        found = list(parts(healthy(seed), TableRows(LAYERS)))
        made.anchor(found)
        made.teach(found, 60)
        made.numbers = made.numbers.merged(NumberSample.of([(seed, 1 + seed / 100, 60, 60)]))
    return made


def added(known: LearnedBaseline) -> LearnedBaseline:
    result = update(file_of(known.identity), lambda here: known if here is None else here.merged(known))
    assert result is not None
    return result

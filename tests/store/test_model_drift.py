"""Whether a model has drifted, asked of every kind of source: which runs count, which signals, which settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.behaviour import COMPONENTS, OUTSIDE, VERSION, component
from opentelemetry_instrumentation_corevital.assessment.drift import MOST_RUNS, MOST_SIGNALS
from opentelemetry_instrumentation_corevital.store import RunFilter, RunSource
from opentelemetry_instrumentation_corevital.store.drift_signals import SIGNALS
from opentelemetry_instrumentation_corevital.store.model_drift import (
    FEWEST_RUNS,
    model_drift,
    models_drift,
    newest_runs,
)
from tests.support.run_sources import PLACES, Place, SQLitePlace, spans_at
from tests.support.spans import make_call

SECOND_NS = 10**9
MODEL = "org/model"


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


def vector(rng: np.random.Generator, entropy: float, norm: float) -> list[float]:
    """Return a fingerprint's vector with a median entropy [bit] and a norm's growth [log2]."""
    values = rng.uniform(0.4, 0.6, len(COMPONENTS))
    names = [each.name for each in COMPONENTS]
    values[names.index("entropy_median")] = entropy / (entropy + 2)
    values[names.index("norm_growth")] = norm / (norm + 4)
    return [round(value, 4) for value in values.tolist()]


def spans(
    count: int, *, first: int = 0, seed: int = 0, entropy: float = 2.0, norm: float = 3.0, **changes: Any
) -> Iterator[ReadableSpan]:
    """Yield one run a second of a model with such a median entropy and such a norm."""
    rng = np.random.default_rng([seed, first])
    for number in range(first, first + count):
        bits = float(entropy + rng.normal(0, 0.2))
        attributes: dict[str, Any] = {
            semconv.ENTROPY_MEAN: bits,
            semconv.SURPRISAL_MEAN: bits - 0.5 + float(rng.normal(0, 0.1)),
            semconv.MARGIN_MEAN: float(rng.uniform(0.3, 0.7)),
            semconv.RISK_SCORE: float(rng.uniform(0, 0.2)),
            semconv.HEALTH_REPETITION_LOOP: False,
            semconv.GEN_AI_REQUEST_TEMPERATURE: 0.7,
            semconv.GEN_AI_USAGE_INPUT_TOKENS: int(rng.integers(5, 50)),
            semconv.GEN_AI_USAGE_OUTPUT_TOKENS: int(rng.integers(33, 60)),
            semconv.FINGERPRINT_PROMPT_HASH: f"{number:064x}",
            semconv.FINGERPRINT_VECTOR: vector(rng, bits, norm + float(rng.normal(0, 0.05))),
            semconv.FINGERPRINT_VERSION: VERSION,
            **changes,
        }
        known = {name: value for name, value in attributes.items() if value is not None}
        yield from spans_at([(number + 1) * SECOND_NS], seconds=0.5, **known)


def ids(source: RunSource) -> list[str]:
    """Return the trace ids of all runs in the order of time."""
    return [run.trace_id for run in source.runs(limit=None)][::-1]


def test_a_change_is_told_with_run_time_units_and_the_setting_that_changed_with_it(place: Place) -> None:
    place.add(list(spans(120)))
    place.add(list(spans(30, first=120, entropy=3.0, norm=3.5, **{semconv.GEN_AI_REQUEST_TEMPERATURE: 1.2})))
    with place.open() as source:
        (found,) = models_drift(source)
        expected = ids(source)[120]
    assert (found.model, found.verdict, found.runs) == (MODEL, "drift", 150)
    changed = {each.signal.name: each for each in found.signals}
    assert set(changed) == {"entropy_median", "norm_growth"}
    assert changed["entropy_median"].change.before == pytest.approx(2.0, abs=0.1)
    assert changed["entropy_median"].change.after == pytest.approx(3.0, abs=0.15)
    assert changed["norm_growth"].change.after == pytest.approx(3.5, abs=0.05)
    assert {each.run.trace_id for each in found.signals} == {expected}
    assert [(each.name, each.before, each.after) for each in found.settings] == [("temperature", "0.7", "1.2")]
    told = found.as_dict()
    assert told["since"]["start_ns"] == 121 * SECOND_NS
    assert abs(told["signals"][0]["score"]) >= abs(told["signals"][1]["score"])


def test_no_change_is_no_drift_and_too_few_runs_are_said(place: Place) -> None:
    place.add(list(spans(FEWEST_RUNS - 1)))
    with place.open() as source:
        assert model_drift(source, MODEL).verdict == "too_few_runs"
    place.add(list(spans(90, first=FEWEST_RUNS - 1)))
    with place.open() as source:
        found = model_drift(source, MODEL)
        assert (found.verdict, found.signals, found.prompts, found.settings) == ("none", (), (), ())
        assert model_drift(source, MODEL, RunFilter(since_ns=100 * SECOND_NS)).runs == 50


def test_other_prompts_are_said_and_are_no_drift(tmp_path: Path) -> None:
    place = SQLitePlace(tmp_path)
    place.add(list(spans(100)))
    place.add(list(spans(30, first=100, **{semconv.GEN_AI_USAGE_INPUT_TOKENS: 400})))
    with place.open() as source:
        found = model_drift(source, MODEL)
    assert found.verdict == "none"
    (prompts,) = found.prompts
    assert (prompts.signal.name, prompts.change.after) == ("input_tokens", 400)


def test_loops_and_risk_are_found_where_there_is_no_fingerprint(tmp_path: Path) -> None:
    place = SQLitePlace(tmp_path)
    bare = {semconv.FINGERPRINT_VECTOR: None, semconv.FINGERPRINT_VERSION: None}
    place.add(list(spans(100, **bare)))
    broken = {semconv.RISK_SCORE: 0.9, semconv.HEALTH_REPETITION_LOOP: True, **bare}
    place.add(list(spans(20, first=100, **broken)))
    with place.open() as source:
        found = model_drift(source, MODEL)
    changed = {each.signal.name: each.change for each in found.signals}
    assert set(changed) == {"risk_score", "repetition_loop_detected"}
    assert (changed["repetition_loop_detected"].before, changed["repetition_loop_detected"].after) == (0, 1)


def test_runs_without_numbers_and_alike_sequences_of_a_call_do_not_count(place: Place) -> None:
    place.add(list(spans(3)))
    place.add(list(spans(2, first=3, **{semconv.ENTROPY_MEAN: None})))
    place.add(list(spans(2, first=5, **{semconv.ERROR_TYPE: "RuntimeError"})))
    place.add(make_call(3, start_ns=50 * SECOND_NS))  # nothing was measured of them
    with place.open() as source:
        runs = newest_runs(source, RunFilter(model=MODEL))
    assert [run.start_ns // SECOND_NS for run in runs] == [1, 2, 3]


def test_memory_and_time_are_bounded_by_the_newest_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry_instrumentation_corevital.store import model_drift as module

    monkeypatch.setattr(module, "MOST_RUNS", 70)
    place = SQLitePlace(tmp_path)
    place.add(list(spans(90)))
    with place.open() as source:
        runs = newest_runs(source, RunFilter(model=MODEL))
    assert [run.start_ns // SECOND_NS for run in runs] == list(range(21, 91))
    assert len(SIGNALS) <= MOST_SIGNALS, "the limit is for so many"
    assert MOST_RUNS == 2000


def test_every_source_gives_the_vectors_that_fingerprints_have(place: Place) -> None:
    place.add(list(spans(3)))
    place.add(list(spans(1, first=3, **{semconv.FINGERPRINT_VECTOR: None, semconv.FINGERPRINT_VERSION: None})))
    with place.open() as source:
        runs = source.runs(limit=None)
        found = list(source.vectors(runs))
        whole = list(source.fingerprints(runs))
    assert found[0] is None
    assert [each and (each[0], tuple(each[1])) for each in found[1:]] == [
        (each.version, each.vector) for each in whole[1:]
    ]
    place.remove(runs[1])
    with place.open() as source:
        assert [each is None for each in source.vectors(runs)] == [True, True, False, False]


def test_components_are_read_back_in_their_own_unit() -> None:
    values = vector(np.random.default_rng(1), 3.25, 5.5)
    assert component(values, VERSION, "entropy_median") == pytest.approx(3.25, abs=0.002)
    assert component(values, VERSION, "norm_growth") == pytest.approx(5.5, abs=0.005)
    assert (
        component(values, VERSION, "attention_middle") == values[[c.name for c in COMPONENTS].index("attention_middle")]
    )
    assert component(values[:15], OUTSIDE, "norm_growth") is None
    assert component(values, "2", "entropy_median") is None
    assert component([1.0] * len(COMPONENTS), VERSION, "entropy_median") is None


def test_what_is_no_vector_in_the_file_is_none(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    place = SQLitePlace(tmp_path)
    place.add(list(spans(5)))
    damaged = (b"1234567", np.full(4, np.nan).tobytes(), np.full(4, 7.0).tobytes(), "text")
    with closing(sqlite3.connect(place.path)) as connection, connection:
        for rowid, value in enumerate(damaged):
            key = connection.execute(
                "SELECT trace_id FROM runs ORDER BY start_ns LIMIT 1 OFFSET ?", (rowid,)
            ).fetchone()
            connection.execute("UPDATE fingerprints SET vector = ? WHERE trace_id = ?", (value, *key))
    with place.open() as source:
        runs = source.runs(limit=None)[::-1]
        assert [each is None for each in source.vectors(runs)] == [True, True, True, True, False]

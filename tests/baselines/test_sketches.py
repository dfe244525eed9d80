"""Quantile sketches against exact quantiles in float64, and merged in any order."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.baselines.profile import LEVELS
from opentelemetry_instrumentation_corevital.baselines.profiled_signals import LAYER_SIGNALS, STEP_SIGNALS, windows
from opentelemetry_instrumentation_corevital.baselines.sketches import ROW_BYTES, Sketches
from opentelemetry_instrumentation_corevital.baselines.windowed import GROUPS, VIEWS, TableRows, parts
from tests.support.healthy_runs import LAYERS, healthy

ROWS = 24
ALL = slice(0, ROWS)
KINDS: dict[str, Callable[[np.random.Generator], NDArray[np.float64]]] = {
    "narrow and far from 0": lambda rng: rng.normal(1e3, 0.5, (6400, ROWS)),
    "skewed": lambda rng: rng.lognormal(0, 1, (6400, ROWS)),
    "heavy tails": lambda rng: rng.standard_t(3, (6400, ROWS)),
    "two heaps": lambda rng: np.where(rng.random((6400, ROWS)) < 0.3, 0.0, rng.normal(8, 1, (6400, ROWS))),
}


def sketched(values: NDArray[np.float64], like: Sketches | None = None) -> Sketches:
    made = Sketches.empty(ROWS) if like is None else like.emptied()
    table = values.astype(np.float32)
    made.anchor(table[:128], ALL)
    for first in range(0, len(table), 100):
        made.add(table[first : first + 100], ALL)
    return made


def counts(sketches: Sketches) -> list[list[int]]:
    return [[*row] for row in sketches.counts[:, :-1].tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_are_near_the_exact_ones(kind: str) -> None:
    """In units of what a verdict divides by: the distance from the median to the 0.1 % quantile on that side."""
    values = KINDS[kind](np.random.default_rng(0))
    levels = (*LEVELS[:4], 0.5, *LEVELS[4:])
    found, exact = sketched(values).quantiles(levels), np.quantile(values, levels, axis=0)
    tail = np.where(np.array(levels)[:, None] > 0.5, exact[-1] - exact[4], exact[4] - exact[0])
    off = np.abs(found - exact) / tail
    assert np.median(off) < 0.03
    assert np.median(off[[0, -1]]) < 0.06, "the outermost"
    assert off.max() < 0.3, "of the few numbers out there one more or less"
    assert (np.diff(found, axis=0) >= 0).all()


def test_a_row_that_never_moves_has_its_number_at_every_level() -> None:
    values = np.full((100, ROWS), 0.37)
    assert (sketched(values).quantiles((0.001, 0.5, 0.999)) == np.float32(0.37)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_merging_in_any_order_gives_the_same(kind: str) -> None:
    values = KINDS[kind](np.random.default_rng(1))
    a = sketched(values[:2000])
    b, c = sketched(values[2000:3000], like=a), sketched(values[3000:], like=a)
    one, other, third = a.merged(b).merged(c), a.merged(b.merged(c)), c.merged(a).merged(b)
    whole = sketched(values)
    for each in (one, other, third):
        assert counts(each) == counts(whole)
        assert (each.lowest == whole.lowest).all()
        assert (each.highest == whole.highest).all()


def test_sketches_of_other_anchors_are_merged_nearly_and_lose_no_number() -> None:
    values = np.random.default_rng(2).normal(5, 1, (4000, ROWS))
    a, b = sketched(values[:3000]), sketched(values[3000:])
    assert (a.centre != b.centre).any()
    one, other = a.merged(b), b.merged(a)
    assert counts(one) == counts(other)
    assert (one.total == 4000).all()
    exact = np.quantile(values, (0.001, 0.5, 0.999), axis=0)
    assert np.abs(one.quantiles((0.001, 0.5, 0.999)) - exact).max() < 0.5
    assert (a.total == 3000).all(), "neither is changed"


def test_what_is_no_number_is_left_out() -> None:
    values = np.random.default_rng(3).normal(0, 1, (400, ROWS))
    holes = values.copy()
    holes[::4, 1], holes[:, 2], holes[7, 3], holes[8, 4] = np.nan, np.nan, np.inf, -np.inf
    made = sketched(holes)
    assert made.total[:6].tolist() == [400, 300, 0, 399, 399, 400]
    assert np.isnan(made.quantiles((0.5,))[0, 2])
    assert np.isfinite([made.highest[3], made.lowest[4]]).all()
    with np.errstate(all="raise"):
        made.add(np.full((3, ROWS), 3e38, np.float32), ALL)


def test_a_layer_takes_less_than_8_kb_however_much_is_added() -> None:
    rows = TableRows(32)
    assert ROW_BYTES * len(VIEWS) * len(LAYER_SIGNALS) <= 8000
    made = Sketches.empty(rows.count)
    before = made.bytes
    for seed in range(3):
        for part in parts(healthy(seed), TableRows(LAYERS)):
            made.anchor(part.table, part.rows)
            made.add(part.table, part.rows)
    assert made.bytes == before == ROW_BYTES * rows.count
    assert ROW_BYTES * len(VIEWS) * len(STEP_SIGNALS) <= 8000


def test_windows_are_those_of_a_profile() -> None:
    """Medians and largest values of windows of 8, by another way."""
    run, rows = healthy(5, 83), TableRows(LAYERS)
    run.columns["attention_entropy"][np.arange(83) % 3 != 0] = np.nan
    found = list(parts(run, rows))
    assert len(found) == len(GROUPS)
    for signal in ("layer_transformation", "attention_entropy"):
        values = run.columns[signal].astype(np.float64)
        starts, medians = windows(values)
        seen = np.flatnonzero(np.isfinite(values[1:]).any(1)) + 1
        for view in VIEWS:
            where = rows.of(view, signal)
            part = next(each for each in found if each.rows.start <= where.start < each.rows.stop)
            mine = part.table[:, where.start - part.rows.start : where.stop - part.rows.start]
            eights = values[seen[: 8 * len(starts)]].reshape(len(starts), 8, LAYERS)
            with np.errstate(invalid="ignore"):
                right = {"steps": eights[:, 4], "windows": medians, "maxima": eights.max(1)}[view]
            assert part.starts.tolist() == starts.tolist()
            assert mine == pytest.approx(right, rel=1e-6, nan_ok=True)
    everything = [rows.of(view, signal) for view in VIEWS for signal in (*LAYER_SIGNALS, *STEP_SIGNALS)]
    assert sorted(row for each in everything for row in range(each.start, each.stop)) == list(range(rows.count))

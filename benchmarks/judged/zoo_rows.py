"""Rows of the page that are of several models: shares of all their runs, with goals."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from .figures import Figure, wilson
from .zoo_model import Count, ModelFigures

SOURCES: Final = {
    "50": "learned from 50 runs",
    "200": "learned from 200 runs",
    "calibrated": "calibrated",
    "none": "without a baseline",
}

Models = Sequence[ModelFigures]


def total(counts: Iterable[Count]) -> Count:
    """Return the sum."""
    return sum(counts, Count())


def pooled(name: str, count: Count, *, least: float | None = None, most: float | None = None) -> Figure:
    """Return a share of the runs of all models, with its interval; the goal is held against the point estimate."""
    low, high = wilson(count.hits, count.total)
    value = f"{count.rate:.4f} ({count.hits:.4g} of {count.total:.5g}; {low:.4f} to {high:.4f})"
    return held(name, value if count.total else "no run", count.rate, least, most)


def held(name: str, value: str, rate: float, least: float | None, most: float | None) -> Figure:
    """Return a row whose rate is held against a goal, where there is one."""
    if least is not None:
        return Figure(name, value, f">= {least:g}", rate >= least)
    if most is not None:
        return Figure(name, value, f"<= {most:g}", rate <= most)
    return Figure(name, value)


def by_model(models: Models, of: Callable[[ModelFigures], Count]) -> Figure:
    """Return a share of each model's runs in one row."""
    told = [f"{model.name} {of(model).rate:.3f} of {of(model).total:.4g}" for model in models if of(model).total]
    return Figure("... each model", "; ".join(told) or "no run")

"""What to look for among runs: conditions as data, for any source of runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, Final, get_args

from .. import semconv
from .._internal.baseline_use import BaselineSource
from .._internal.short_repr import short_repr
from ..catalogue.spelling import flag_for_programs
from ..run import FINISH_REASONS
from .labels import LabelSource
from .store_error import StoreError

FLAGS: Final = tuple(semconv.HEALTH_FLAGS)
LEVELS: Final = ("low", "medium", "high")
STOP_REASONS: Final = tuple(FINISH_REASONS)
BASELINE_SOURCES: Final = get_args(BaselineSource)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Conditions that a run has to meet, all of them; None: any.

    Attributes:
        model: its model.
        risk_above: its risk is above this.
        level: its risk level: low, medium or high.
        flag: this flag is raised, one of `FLAGS`; it may be given as people spell it, or without `_detected`.
        since_ns: it started at this Unix time or later, in nanoseconds.
        until_ns: it started before this Unix time, in nanoseconds.
        prompt_hash: its prompt hash begins so; kept in lower case.
        label: its label; `any` for any label, `none` for none.
        longer_than: it took more than so many seconds.
        tokens_above: it generated more than so many tokens.
        stop_reason: what ended it, one of `STOP_REASONS`.
        intervened: True: a policy did something to it; False: none did, as far as is known.
        baseline_source: where what is usual for its model came from, one of `BASELINE_SOURCES`.
        service: the name of the service that it ran in.
        experiment: what it belongs to.
        request_hash: what it was asked, and how, has exactly this hash.
        risk_below: its risk is below this.
        warning: this warning is among its warnings, as programs spell it.
        text: its model, service, experiment or its label's note has this text in it, in any case of ASCII letters; or
            its trace id or span id begins so.
        outcome_known: whether its answer was wrong is known from this source (`outcomes.is_wrong`).

    Raises:
        StoreError: for a flag, level, stop reason, or source of a baseline or of labels that there is not, or a number
            that is none.
    """

    model: str | None = None
    risk_above: float | None = None
    level: str | None = None
    flag: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    prompt_hash: str | None = None
    label: str | None = None
    longer_than: float | None = None
    tokens_above: int | None = None
    stop_reason: str | None = None
    intervened: bool | None = None
    baseline_source: str | None = None
    service: str | None = None
    experiment: str | None = None
    request_hash: str | None = None
    risk_below: float | None = None
    warning: str | None = None
    text: str | None = None
    outcome_known: LabelSource | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        """Check the conditions, and write flag and hash as runs have them."""
        numbers = (
            self.risk_above,
            self.risk_below,
            self.since_ns,
            self.until_ns,
            self.longer_than,
            self.tokens_above,
        )
        if any(number is not None and math.isnan(number) for number in numbers):
            raise StoreError("a filter is not a number (NaN).")
        if self.level is not None and self.level not in LEVELS:
            raise StoreError(f"unknown level {self.level!r}; levels are {', '.join(LEVELS)}.")
        if self.stop_reason is not None and self.stop_reason not in STOP_REASONS:
            raise StoreError(f"unknown stop reason {self.stop_reason!r}; stop reasons are {', '.join(STOP_REASONS)}.")
        if self.baseline_source is not None and self.baseline_source not in BASELINE_SOURCES:
            raise StoreError(
                f"unknown baseline source {self.baseline_source!r}; sources are {', '.join(BASELINE_SOURCES)}."
            )
        if self.outcome_known is not None and not isinstance(self.outcome_known, LabelSource):
            object.__setattr__(self, "outcome_known", _label_source(self.outcome_known))
        if self.flag is not None:
            object.__setattr__(self, "flag", _whole_name(self.flag))
        if self.prompt_hash is not None:
            object.__setattr__(self, "prompt_hash", self.prompt_hash.lower())

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what a pickle holds; one of an earlier version lacks the last conditions, which were not asked for."""
        for each, value in zip_longest(fields(self), state):
            object.__setattr__(self, each.name, value)


def _label_source(name: str) -> LabelSource:
    try:
        return LabelSource(name)
    except ValueError:
        raise StoreError(f"unknown source of labels {name!r}; sources are {', '.join(LabelSource)}.") from None


def _whole_name(flag: str) -> str:
    whole = flag_for_programs(flag)
    if whole is None:
        raise StoreError(f"unknown flag {flag!r}; flags are {', '.join(FLAGS)}.")
    return whole


ANY_RUN: Final = RunFilter()
"""No condition."""

"""A baseline that was learned from the runs of a service: sketches of their numbers, and what one run is worth."""

import hashlib
import json
from dataclasses import dataclass, field
from math import isnan
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from .._internal.short_repr import short_repr
from ..run import ModelInfo
from ..version import __version__
from .profile import LEVELS, Identity, Made, Profile, Spread, Spreads, last_part, same_precision
from .profiled_signals import LAYER_SIGNALS, STEP_SIGNALS
from .run_numbers import FEWEST_RUNS, NumberSample, RunLimit, Yardstick, limit_of
from .sketches import Sketches
from .windowed import VIEWS, Part, TableRows

FLOATING: Final = "float"
"""The class of floating-point weights of 16 bits and more: among them only rounding differs."""

MOST_LAYERS: Final = 1024

_QUANTILES: Final = (*LEVELS[:4], 0.5, *LEVELS[4:])


def identity_of(model: ModelInfo) -> Identity:
    """Return by what baselines are told apart.

    A model whose revision is known has it instead of a name, since a copy may have another one.
    """
    known = Identity.of(model)
    return known.model_copy(
        update={
            "name": model.name if model.revision is None else last_part(model.name),
            "dtype": FLOATING if same_precision(model.dtype, model.dtype) else model.dtype,
        }
    )


def key_of(identity: Identity) -> str:
    """Return a name for an identity that a file can have: 32 hexadecimal digits."""
    told = identity.model_dump(mode="json")
    if identity.revision is not None:
        del told["name"]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(slots=True, eq=False)
class LearnedBaseline:
    """What is usual for a model, as far as its runs have taught it.

    Attributes:
        identity: whose it is.
        sketches: of every row, see `windowed.TableRows`.
        runs, tokens: that have taught it.
        flagged: runs that were beyond its limit, and taught nothing.
        numbers: of the runs.
        frozen: it is still compared with, but no longer taught.
    """

    identity: Identity
    sketches: Sketches
    runs: int = 0
    tokens: int = 0
    flagged: int = 0
    numbers: NumberSample = field(default_factory=NumberSample.of)
    frozen: bool = False

    __repr__ = short_repr

    @classmethod
    def empty(cls, identity: Identity) -> Self:
        """Return a baseline that knows nothing yet."""
        return cls(identity, Sketches.empty(TableRows(identity.layer_count or 0).count))

    @property
    def rows(self) -> TableRows:
        """Return which row is whose."""
        return TableRows(self.identity.layer_count or 0)

    def delta(self) -> "LearnedBaseline":
        """Return one that knows nothing, whose sketches can be added to this one's exactly."""
        return LearnedBaseline(self.identity, self.sketches.emptied())

    def anchor(self, parts: list[Part]) -> None:
        """Give rows of which nothing is known yet anchors that suit these numbers."""
        for part in parts:
            self.sketches.anchor(part.table, part.rows)

    def teach(self, parts: list[Part], tokens: int) -> None:
        """Add the numbers of a healthy run."""
        for part in parts:
            self.sketches.add(part.table, part.rows)
        self.runs += 1
        self.tokens += tokens

    def merged(self, other: "LearnedBaseline") -> "LearnedBaseline":
        """Return what both know; the order does not matter. Frozen if one of them is.

        Raises:
            ValueError: if they are of different models.
        """
        if key_of(self.identity) != key_of(other.identity):
            raise ValueError(f"one is of {self.identity.name}, one of {other.identity.name}")
        return LearnedBaseline(
            self.identity,
            self.sketches.merged(other.sketches),
            self.runs + other.runs,
            self.tokens + other.tokens,
            self.flagged + other.flagged,
            self.numbers.merged(other.numbers),
            self.frozen or other.frozen,
        )

    def yardstick(self) -> Yardstick:
        """Return with what runs are measured."""
        return Yardstick.of(self.sketches, self.rows)

    def limit(self) -> RunLimit | None:
        """Return the run number beyond which a run is out; None below `FEWEST_RUNS` runs."""
        if self.runs < FEWEST_RUNS:
            return None
        value = limit_of(self.numbers.values(), self.flagged / self.runs)
        return None if value is None else RunLimit(value, self.yardstick())

    def profile(self) -> Profile | None:
        """Return it as a profile; None below `FEWEST_RUNS` runs.

        The scale is 0.7413 times the interquartile range: of a symmetric distribution that is 1.4826 times the median
        absolute deviation.
        """
        if self.runs < FEWEST_RUNS:
            return None
        table = self.sketches.quantiles(_QUANTILES)
        rows = self.rows
        spreads = {
            signal: _spreads({view: table[:, rows.of(view, signal)] for view in VIEWS})
            for signal in (*LAYER_SIGNALS, *STEP_SIGNALS)
        }
        found = {signal: each for signal, each in spreads.items() if each is not None}
        return Profile.model_construct(
            model=self.identity,
            made=Made(version=__version__, runs=self.runs, steps=max(1, self.tokens)),
            signals={signal: found[signal] for signal in STEP_SIGNALS if signal in found},
            layers={signal: found[signal] for signal in LAYER_SIGNALS if signal in found},
        )


def _spreads(tables: dict[str, NDArray[np.float64]]) -> Spreads | None:
    """Return a signal's distributions, of quantiles [levels, entries] by view; None where nothing is known."""
    if any(np.isnan(table).all() for table in tables.values()):
        return None
    return Spreads.model_construct(None, **{view: _spread(table) for view, table in tables.items()})


def _spread(table: NDArray[np.float64]) -> Spread:
    middle = LEVELS.index(0.75)
    centre = table[middle]
    return Spread.model_construct(
        location=_plain(centre),
        scale=_plain(0.7413 * (table[middle + 1] - table[middle - 1])),
        quantiles=[_plain(level) for level in (*table[:middle], *table[middle + 1 :])],
    )


def _plain(values: NDArray[np.float64]) -> list[Any]:
    """Return numbers, None for what does not exist."""
    return [None if isnan(value) else value for value in values.tolist()]

"""A model's baseline profile: what its healthy runs look like, as a file of JSON that says whose it is.

Of every signal the file holds location (median), scale (1.4826 x median absolute deviation) and quantiles, over steps,
over the medians of windows of steps and over their largest values; of layer signals for each layer. A number that does
not exist (of a layer that was not looked at) is null. Of every run it holds how far out it is by what the others say,
from which the limit is taken that healthy runs stay below.
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .._internal.file_io import NoJsonError, OddFileError, parsed_json, read_regular
from .._internal.short_repr import call_like
from ..run import ModelInfo
from .answer_model import AnswerModel
from .profiled_signals import LAYER_SIGNALS, STEP_SIGNALS

FORMAT: Final = "corevital-baseline-profile"
WITHOUT_ANSWER: Final = 2
"""Version of a profile that has no answer risk: earlier CoreVitals read it. 1 had no numbers of runs and no largest
values of windows."""
VERSION: Final = 3
"""With the answer risk. All earlier ones are read."""
LARGEST: Final = 8 << 20
"""Bytes above which a file is not read: a profile of 200 layers has 0.3 MB."""

LEVELS: Final = (0.001, 0.01, 0.05, 0.25, 0.75, 0.95, 0.99, 0.999)
"""Quantiles that a profile holds, beside the median."""

Number = Annotated[float, Field(allow_inf_nan=False)] | None


class ProfileError(ValueError):
    """A profile cannot be read or written; the message names the file, the place in it and what was expected."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take what a pickle holds; one of an earlier version lacks the last fields."""
        later = {name: each.default for name, each in type(self).model_fields.items() if not each.is_required()}
        super().__setstate__({**state, "__dict__": {**later, **state["__dict__"]}})

    def __repr__(self) -> str:
        """Return it bounded: a profile has numbers of every layer."""
        return call_like(type(self).__name__, {name: getattr(self, name) for name in type(self).model_fields})

    __str__ = __repr__


class Identity(_Part):
    """Whose profile it is."""

    name: str
    architecture: str
    layer_count: int | None = None
    head_count: int | None = None
    vocabulary_size: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    revision: str | None = None
    adapters: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: ModelInfo) -> "Identity":
        """Return the identity of a run's model."""
        return cls(**{name: getattr(model, name) for name in cls.model_fields})

    def differences(self, model: ModelInfo) -> list[str]:
        """Return what tells the two models apart in structure, as `name 30, not 32`; empty where nothing does."""
        return self._differing(model, ("architecture", "layer_count", "head_count", "vocabulary_size"))

    def variations(self, model: ModelInfo) -> list[str]:
        """Return what else differs: the same structure under another name, or with other weights.

        A model without quantisation or adapters is another one than with; an unknown revision may be any.
        """
        told = (
            self._differing(model, ("revision",))
            if same_precision(self.dtype, model.dtype)
            else (self._differing(model, ("dtype", "revision")))
        )
        for name in ("quantization", "adapters"):
            mine, theirs = (_said(getattr(which, name)) for which in (self, model))
            if mine != theirs:
                told.append(f"{name} {mine}, not {theirs}")
        return told if _may_be_same(self.name, model.name) else [f"name {self.name}, not {model.name}", *told]

    def roundings(self, model: ModelInfo) -> list[str]:
        """Return what differs that changes numbers by rounding only: floating point of another width."""
        return self._differing(model, ("dtype",)) if same_precision(self.dtype, model.dtype) else []

    def _differing(self, model: ModelInfo, names: tuple[str, ...]) -> list[str]:
        pairs = {name: (getattr(self, name), getattr(model, name)) for name in names}
        return [
            f"{name.replace('_', ' ')} {mine}, not {theirs}"
            for name, (mine, theirs) in pairs.items()
            if mine is not None and theirs is not None and mine != theirs
        ]


_FLOATING: Final = frozenset({"float64", "float32", "bfloat16", "float16"})


def same_precision(mine: str | None, theirs: str | None) -> bool:
    """Whether two dtypes are both floating point of 16 bits or more: they differ by rounding only."""
    return mine in _FLOATING and theirs in _FLOATING


def _said(value: str | tuple[str, ...] | None) -> str:
    return (value if isinstance(value, str) else "+".join(value or ())) or "none"


def _may_be_same(mine: str, theirs: str) -> bool:
    """Whether two names may be one model's: a local copy has no organisation."""
    if "/" in mine and "/" in theirs:
        return mine.lower() == theirs.lower()
    return last_part(mine).lower() == last_part(theirs).lower()


class Made(_Part):
    """What it was made from."""

    version: str
    """CoreVital's."""
    runs: int = Field(ge=1)
    steps: int = Field(ge=1)
    prompts_sha256: str | None = None
    """Of the prompts, joined by line feeds: tells two profiles of a model apart, not what was asked."""


class Spread(_Part):
    """Distribution of a signal: one entry per layer, or a single one."""

    location: list[Number]
    scale: list[Number]
    quantiles: list[list[Number]]
    """One list per level of `LEVELS`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Spread":
        width = len(self.location)
        if len(self.quantiles) != len(LEVELS):
            raise ValueError(f"has {len(self.quantiles)} quantiles, expected {len(LEVELS)}")
        if any(len(part) != width for part in (self.scale, *self.quantiles)):
            raise ValueError(f"location, scale and quantiles must have {width} entries each")
        table = self.table
        with np.errstate(invalid="ignore"):
            if (np.diff(table, axis=0) < 0).any():
                raise ValueError("its quantiles do not increase")
        return self

    def __eq__(self, other: object) -> bool:
        """Compare the numbers, not the arrays that were made of them."""
        return isinstance(other, Spread) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Return the location; NaN where there is none."""
        return np.array(self.location, np.float64)

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """Return the quantiles [levels, entries]."""
        return np.array(self.quantiles, np.float64)

    def quantile(self, level: float) -> NDArray[np.float64]:
        """Return a quantile of `LEVELS` [entries]."""
        return np.asarray(self.table[LEVELS.index(level)])

    def excess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far values are out, in units of the distance from the median to the 0.1 % quantile on their side.

        1 is on that quantile, 2 twice as far; it follows skewed and heavy tails, which a z does not. Infinite where a
        healthy run never moved and this one does; NaN where the profile or the run has no number.
        """
        return excess(values, self.centre, self.quantile(LEVELS[0]), self.quantile(LEVELS[-1]))

    def beyond(self, values: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
        """Return where the excess is above a limit: the same as comparing it, for less work."""
        low, high = (self.centre + limit * (self.quantile(level) - self.centre) for level in (LEVELS[0], LEVELS[-1]))
        return np.asarray((values < low) | (values > high))


def excess(
    values: NDArray[np.float64], centre: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance from the centre over the tail's on that side; 0 at the centre."""
    away = values - centre
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out = np.where(away > 0, away / (high - centre), away / (low - centre))
    return np.asarray(np.where(away == 0, 0.0, np.abs(out)))


class Spreads(_Part):
    """A signal's distribution over steps, over windows of steps by their medians, and by their largest values."""

    steps: Spread
    windows: Spread
    maxima: Spread | None = None
    """None in a profile of version 1."""


class ProfiledRuns(_Part):
    """How far out each of the runs is, measured by a profile of those of all other groups (`run_numbers`)."""

    rule: int
    """By which they were measured."""
    values: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
    tokens: tuple[Annotated[int, Field(ge=1)], ...]
    """Their lengths."""
    groups: tuple[int, ...]
    """Runs of one group, such as answers to one prompt, do not speak for each other."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ProfiledRuns":
        if not len(self.values) == len(self.tokens) == len(self.groups):
            raise ValueError(f"tokens and groups must have {len(self.values)} entries each, as values has")
        return self


class Profile(_Part):
    """A model's baseline profile."""

    format: Literal["corevital-baseline-profile"] = FORMAT
    version: Literal[1, 2, 3] = 1
    model: Identity
    made: Made
    runs: ProfiledRuns | None = None
    """None in a profile of version 1, and where no run is long enough to be measured."""
    answer: AnswerModel | None = None
    """Of the answer risk, fitted on labelled runs of the model; None: the one that CoreVital comes with is used."""
    levels: tuple[float, ...] = LEVELS
    signals: dict[str, Spreads]
    layers: dict[str, Spreads]

    @property
    def only_answer(self) -> bool:
        """Whether it says nothing of what is usual: then that is taken from elsewhere."""
        return self.answer is not None and not self.signals and not self.layers

    @model_validator(mode="after")
    def _fits_together(self) -> "Profile":
        if self.levels != LEVELS:
            raise ValueError(f"levels must be {list(LEVELS)}")
        for part, known in ((self.signals, STEP_SIGNALS), (self.layers, LAYER_SIGNALS)):
            if unknown := set(part) - set(known):
                raise ValueError(f"unknown signal {min(unknown)!r}; known are {', '.join(known)}")
        for name, spreads in (self.signals | self.layers).items():
            width = 1 if name in self.signals else self.model.layer_count
            for spread in filter(None, (spreads.steps, spreads.windows, spreads.maxima)):
                if width is not None and len(spread.location) != width:
                    raise ValueError(f"{name}: has {len(spread.location)} entries, expected {width}")
        return self


def last_part(name: str) -> str:
    """Return a model's name without its organisation."""
    return name.rstrip("/").rsplit("/", 1)[-1]


def read_profile(path: str | os.PathLike[str]) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: if it cannot be read, or is not what this version reads; names the file and the place.
    """
    file = Path(path)
    try:
        data = parsed_json(read_regular(file, LARGEST))
    except OddFileError as error:
        raise ProfileError(f"profile {file}: {error.strerror}, so it is no profile") from None
    except OSError as error:
        raise ProfileError(f"profile {file}: cannot be read: {error.strerror}") from None
    except NoJsonError as error:
        raise ProfileError(f"profile {file}: {error}; make it anew {_HOW}") from None
    return _checked(file, data)


_HOW: Final = "with `corevital calibrate`"


def _checked(file: Path, data: Any) -> Profile:
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise ProfileError(f'profile {file}: is no profile: expected an object with "format": "{FORMAT}"')
    version = data.get("version")
    if isinstance(version, bool) or version not in range(1, VERSION + 1):
        raise ProfileError(
            f"profile {file}: has version {version!r}, this CoreVital reads 1 to {VERSION}; make it anew {_HOW}"
        )
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ProfileError(f"profile {file}: {place}: {message}; make it anew {_HOW}") from None

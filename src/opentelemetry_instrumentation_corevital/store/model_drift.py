"""Whether a model's newest runs have left what was usual for it before, since when, and in which signals."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from .. import semconv
from .._internal.short_repr import short_repr
from ..assessment.drift import (
    FEWEST_AFTER,
    FEWEST_BEFORE,
    MOST_RUNS,
    Change,
    find_change,
    find_rate_change,
    length_strata,
)
from .drift_signals import SIGNALS, DriftSignal, VersionedVector
from .filters import ANY_RUN, RunFilter
from .source import RunSource
from .store_error import StoreError
from .stored_run import RunSummary

FEWEST_RUNS: Final = FEWEST_BEFORE + FEWEST_AFTER
"""Below so many runs nothing is said."""
_MOST_LISTED: Final = 5 * MOST_RUNS
"""Runs of a model that are listed at most, those that do not count among them."""
_BESIDE: Final = 10
"""Runs on each side of a change whose settings are compared."""
_SETTINGS: Final = {
    semconv.GEN_AI_REQUEST_TEMPERATURE: "temperature",
    semconv.GEN_AI_REQUEST_TOP_P: "top-p",
    semconv.GEN_AI_REQUEST_TOP_K: "top-k",
    semconv.GEN_AI_REQUEST_MAX_TOKENS: "most tokens",
    semconv.GEN_AI_OPERATION_NAME: "operation",
    semconv.DECODING_STRATEGY: "decoding",
    semconv.MODEL_QUANTIZATION: "quantisation",
    semconv.MODEL_DTYPE: "dtype",
    semconv.MODEL_REVISION: "revision",
    semconv.MODEL_ADAPTERS: "adapters",
    semconv.MODEL_DEVICE: "device",
    semconv.MODEL_ATTENTION_IMPLEMENTATION: "attention",
}
"""Attribute -> what people call it: settings that, when they change, are the likely cause."""


@dataclass(frozen=True, slots=True)
class ChangedSignal:
    """A signal that has changed, and since when."""

    signal: DriftSignal
    change: Change
    run: RunSummary
    """The first of the changed ones."""

    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class ChangedSetting:
    """A setting that most runs had otherwise before a change than since, as text; None: they had none."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """What is known of a model's drift.

    Attributes:
        model: its name; None: of runs whose model is unknown.
        runs: how many runs were compared: the newest ones that count.
        signals: those of the model that have changed, the surest first; none: no drift.
        prompts: what says that other things are asked, if that has changed.
        settings: what changed with the surest signal.
    """

    model: str | None
    runs: int
    signals: tuple[ChangedSignal, ...] = ()
    prompts: tuple[ChangedSignal, ...] = ()
    settings: tuple[ChangedSetting, ...] = ()

    __repr__ = short_repr

    @property
    def verdict(self) -> str:
        """Return `too_few_runs`, `drift` or `none`."""
        if self.runs < FEWEST_RUNS:
            return "too_few_runs"
        return "drift" if self.signals else "none"

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        first = self.signals[0] if self.signals else None
        return {
            "model": self.model,
            "verdict": self.verdict,
            "runs": self.runs,
            "since": None if first is None else _place(first),
            "signals": [_told(each) for each in self.signals],
            "prompts": [_told(each) for each in self.prompts],
            "settings": [asdict(each) for each in self.settings],
        }


def models_drift(source: RunSource, wanted: RunFilter = ANY_RUN) -> list[ModelDrift]:
    """Return what is known of each model, the most frequent first.

    Args:
        source: whose runs are compared.
        wanted: which of them.

    Raises:
        StoreError: for a source that cannot be read.
    """
    return [model_drift(source, name, wanted) for name in source.models(wanted) if name is not None]


def model_drift(source: RunSource, model: str, wanted: RunFilter = ANY_RUN) -> ModelDrift:
    """Return what is known of a model from its newest runs, `MOST_RUNS` at most.

    Raises:
        StoreError: for a source that cannot be read.
    """
    runs = newest_runs(source, replace(wanted, model=model))
    if len(runs) < FEWEST_RUNS:
        return ModelDrift(model, len(runs))
    found = changed_signals(runs, list(source.vectors(runs)))
    return ModelDrift(
        model,
        len(runs),
        tuple(each for each in found if each.signal.of_model),
        tuple(each for each in found if not each.signal.of_model),
        tuple(_settings(source, runs, found[0].change.place)) if found else (),
    )


def changed_signals(runs: Sequence[RunSummary], vectors: Sequence[VersionedVector]) -> list[ChangedSignal]:
    """Return which signals have changed within some runs, the surest first.

    Args:
        runs: of one model, in the order of time.
        vectors: of their fingerprints.
    """
    tokens = np.array([np.nan if run.output_tokens is None else run.output_tokens for run in runs], np.float64)
    lengths = length_strata(tokens)
    found = []
    for signal in SIGNALS:
        read = [signal.read(run, vector) for run, vector in zip(runs, vectors, strict=True)]
        values = np.array([np.nan if value is None else value for value in read], np.float64)
        find = find_rate_change if signal.flag else find_change
        change = find(values, lengths if signal.by_length else np.zeros_like(lengths))
        if change is not None:
            found.append(ChangedSignal(signal, change, runs[change.place]))
    return sorted(found, key=lambda each: -abs(each.change.score))


def newest_runs(source: RunSource, wanted: RunFilter) -> list[RunSummary]:
    """Return the newest runs that count, `MOST_RUNS` at most, in the order of time.

    Those that were not measured, or broken off, do not count; nor do all but the first of the sequences with which a
    call answers one prompt, since they are alike.
    """
    seen, found = set[tuple[str, int, str]](), list[RunSummary]()
    for some in source.in_pages(wanted, limit=_MOST_LISTED):
        for run in some:
            call = (run.trace_id, run.start_ns, run.prompt_hash or run.span_id)
            if run.entropy_mean is not None and not run.broken_off and call not in seen:
                seen.add(call)
                found.append(run)
        if len(found) >= MOST_RUNS:
            break
    return found[:MOST_RUNS][::-1]


def _settings(source: RunSource, runs: Sequence[RunSummary], place: int) -> Iterator[ChangedSetting]:
    before = _attributes(source, runs[max(0, place - _BESIDE) : place])
    after = _attributes(source, runs[place : place + _BESIDE])
    for name, title in _SETTINGS.items():
        usual, now = _most(name, before), _most(name, after)
        if usual is not None and now is not None and usual != now:
            yield ChangedSetting(title, *(None if value == "None" else value for value in (usual, now)))


def _attributes(source: RunSource, runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    found = []
    for run in runs:
        try:
            stored = source.load(run)
        except StoreError:  # deleted meanwhile
            continue
        found.append({**(stored.call or {}), **stored.attributes})
    return found


def _most(name: str, runs: list[dict[str, Any]]) -> str | None:
    """Return the value that more than half of some runs have, as text, "None" for no value; None where none is so."""
    counts = Counter(_text(run.get(name)) for run in runs)
    value, count = counts.most_common(1)[0] if counts else ("", 0)
    return value if 2 * count > len(runs) else None


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(changed: ChangedSignal) -> dict[str, Any]:
    run = changed.run
    return {"trace_id": run.trace_id, "span_id": run.span_id, "start_ns": run.start_ns}


def _told(changed: ChangedSignal) -> dict[str, Any]:
    change = changed.change
    return {
        "name": changed.signal.name,
        "unit": changed.signal.unit,
        "before": change.before,
        "after": change.after,
        "score": change.score,
        "effect": change.effect,
        "since": _place(changed),
    }

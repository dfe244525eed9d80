"""CoreVital's own judgements of a run, with a baseline of one's choice: what a span would have carried."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from opentelemetry.trace import INVALID_SPAN

from opentelemetry_instrumentation_corevital._internal.baseline_use import BaselineSource
from opentelemetry_instrumentation_corevital.baselines.lookup import OFF, FoundProfile
from opentelemetry_instrumentation_corevital.baselines.profile import Profile
from opentelemetry_instrumentation_corevital.baselines.run_numbers import RunLimit
from opentelemetry_instrumentation_corevital.config import Settings
from opentelemetry_instrumentation_corevital.emission.judgements import Profiled, RunJudgement, default_judgements
from opentelemetry_instrumentation_corevital.run import Run

LOOP: Final = "repetition_loop_detected"
_LAYERS: Final = ("health", "blame")
_ALL: Final = ("health", "early_warning", "compound", "risk", "blame", "narrative")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What runs are judged with."""

    source: BaselineSource = "none"
    profile: Profile | None = None
    limit: RunLimit | None = None
    runs: int | None = None
    tokens: int | None = None

    def of_run(self, _run: Run) -> FoundProfile:
        """Return it as what was found for a run's model: the judgements ask this of `Profiles`."""
        profile = None if self.limit is None else self.profile
        return FoundProfile(profile, source=self.source, runs=self.runs, tokens=self.tokens, limit=self.limit)


NONE: Final = Baseline()


class Judge:
    """Judges runs by the product's judgements, in their order.

    Args:
        baseline: what the judgements find for every run.
    """

    def __init__(self, baseline: Baseline = NONE) -> None:
        self._judgements = _judgements(baseline)

    def layers(self, run: Run) -> Run:
        """Return a copy with flags and blame."""
        return self._judged(run, _LAYERS)

    def all(self, run: Run) -> Run:
        """Return a copy with every verdict but the fingerprint."""
        return self._judged(run, _ALL)

    def _judged(self, run: Run, roles: Sequence[str]) -> Run:
        made = replace(run, warnings=[], absent=dict(run.absent))
        for judgement in self._judgements:
            if judgement.role in roles:
                judgement.on_run_ending(INVALID_SPAN, made)
        return made


def _judgements(baseline: Baseline) -> list[RunJudgement]:
    found = default_judgements(Settings(baseline=OFF))
    for judgement in found:
        if isinstance(judgement, Profiled):
            judgement._profiles = baseline  # type: ignore[assignment]
    return found


def flags_of_layers(run: Run) -> list[str]:
    """Return the flags that are raised, but for the loop's."""
    return [] if run.health is None else [flag for flag in run.health.raised() if flag != LOOP]


def loops(run: Run) -> bool:
    """Whether the loop's flag is raised."""
    return run.health is not None and LOOP in run.health.raised()


def first_blamed(run: Run) -> int | None:
    """Return the layer that is blamed first; None where none is."""
    return run.blame[0].layer if run.blame else None

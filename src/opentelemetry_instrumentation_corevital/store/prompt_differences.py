"""Two models, or two experiments, prompt by prompt. Pure functions on rows of `runs`."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .comparison import prompt_of
from .stored_run import RunSummary

_Asked = tuple[tuple[str | None, str], str | None]
"""What tells prompts apart: the prompt's hash and, where prompts of one set are alike, the id."""


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """What the runs of one prompt show; None where nothing was measured or judged."""

    runs: int
    risk: float | None
    """Mean, as the following ones: a prompt counts once, however often it was asked."""
    tokens: float | None
    expected_found: float | None
    """Fraction of the answers that have the expected text."""
    flags: tuple[str, ...]
    """Raised in any of them."""


@dataclass(frozen=True, slots=True)
class PromptDifference:
    """How a model's answers to a prompt differ from those of the reference."""

    prompt_id: str | None
    prompt_hash: str
    reference: PromptFigures
    other: PromptFigures

    @property
    def risk(self) -> float | None:
        """Return how much higher the risk is than the reference's; None where one is not judged."""
        if self.other.risk is None or self.reference.risk is None:
            return None
        return self.other.risk - self.reference.risk

    @property
    def expected_found(self) -> float | None:
        """Return how many more of the answers have the expected text, as a fraction; None where one expects none."""
        if self.other.expected_found is None or self.reference.expected_found is None:
            return None
        return self.other.expected_found - self.reference.expected_found


def prompt_differences(reference: Sequence[RunSummary], other: Sequence[RunSummary]) -> list[PromptDifference]:
    """Return how the answers to each shared prompt differ, the worst first; those not judged last.

    The worst has the highest rise of the risk; where it is the same, the expected text is lost. What was broken off is
    no answer.
    """
    split = _asked_twice(reference) | _asked_twice(other)
    theirs, ours = _by_prompt(reference, split), _by_prompt(other, split)
    found = [
        PromptDifference(_id(runs, ours[asked]), asked[0][1], _figures(runs), _figures(ours[asked]))
        for asked, runs in theirs.items()
        if asked in ours
    ]
    return sorted(found, key=lambda each: (math.inf if each.risk is None else -each.risk, each.expected_found or 0.0))


def _asked_twice(runs: Iterable[RunSummary]) -> set[tuple[str | None, str]]:
    """Return the prompts that a prompt set has under several ids."""
    ids: dict[tuple[str | None, str], set[str]] = defaultdict(set)
    for run in runs:
        key = prompt_of(run)
        if key is not None and run.prompt_id is not None:
            ids[key].add(run.prompt_id)
    return {key for key, names in ids.items() if len(names) > 1}


def _by_prompt(runs: Iterable[RunSummary], split: set[tuple[str | None, str]]) -> Mapping[_Asked, Sequence[RunSummary]]:
    found: dict[_Asked, list[RunSummary]] = defaultdict(list)
    for run in runs:
        key = prompt_of(run)
        if key is not None and not run.broken_off:
            found[key, run.prompt_id if key in split else None].append(run)
    return dict(found)


def _id(*several: Sequence[RunSummary]) -> str | None:
    """Return the id that the newest run has."""
    return next((run.prompt_id for runs in several for run in runs if run.prompt_id is not None), None)


def _figures(runs: Sequence[RunSummary]) -> PromptFigures:
    return PromptFigures(
        len(runs),
        _mean(runs, lambda run: run.risk_score),
        _mean(runs, lambda run: run.output_tokens),
        _mean(runs, lambda run: run.expected_found),
        tuple(dict.fromkeys(flag for run in runs for flag in run.flags)),
    )


def _mean(runs: Iterable[RunSummary], value: Callable[[RunSummary], float | None]) -> float | None:
    values = [float(number) for run in runs if (number := value(run)) is not None]
    return math.fsum(values) / len(values) if values else None

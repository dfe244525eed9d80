"""The labelled runs that `corevital calibrate --labels` fits a model's own answer risk to."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._internal.user_error import UserError
from ..baselines.answer_model import AnswerModel
from ..baselines.learned import identity_of, key_of
from ..calibration.answer_fit import FEWEST_OF_EACH_OUTCOME
from ..run import ModelInfo
from ..store import RunFilter, RunSource, RunSummary, StoreError
from ..store.labels import LabelSource
from ..store.outcomes import known_outcomes, prompt_of
from ..store.served_runs import model_of
from ..store.stored_distributions import stored_features
from .calibration_runs import many
from .options import with_stored_model

MOST_LABELLED: Final = 10_000

_HOW: Final = (
    "Label more with `corevital label`, or let prompts with a known answer do it: "
    '`corevital run --prompts FILE`, whose lines have "expected"'
)


@dataclass(slots=True)
class LabelledRuns:
    """Runs of one model whose outcomes are known, with their features.

    Attributes:
        model: whose they are.
        rows: the features of each.
        wrong: whether its answer was wrong.
        prompts: what it answers.
        tokens: its length.
        tasks: its experiment, which stands for its task.
    """

    model: ModelInfo
    rows: list[dict[str, float]] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    tasks: list[str | None] = field(default_factory=list)

    def features(self) -> dict[str, NDArray[np.float64]]:
        """Return those that every run has, each [n]."""
        names = [name for name in self.rows[0] if all(name in row for row in self.rows)]
        return {name: np.array([row[name] for row in self.rows]) for name in names}


@dataclass(frozen=True, slots=True)
class FoundLabels:
    """What a store has: the runs of the model that has most of them, and why others are left out."""

    runs: LabelledRuns
    dropped: Counter[str]


def labelled_runs(
    source: RunSource, wanted: RunFilter, labels: LabelSource, limit: int, shipped: AnswerModel
) -> FoundLabels:
    """Return the labelled runs of one model, the newest first.

    Args:
        source: where they are.
        wanted: which runs.
        labels: what counts as a label.
        limit: how many at most.
        shipped: the model whose features each has to have.

    Raises:
        UserError: if they are of several models, or too few of an outcome.
    """
    known = known_outcomes(source, with_stored_model(source, wanted), labels)
    models = Counter(run.model for run, _ in known)
    if len(models) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in models.most_common(8))
        raise UserError(f"{source.name}: has labelled runs of several models; add --model: {listed}.")
    found: dict[str, LabelledRuns] = {}
    dropped: Counter[str] = Counter()
    needed = [term.feature for term in shipped.terms]
    for summary, wrong in known[:limit]:
        reason = _add(source, summary, wrong, found, needed)
        if reason is not None:
            dropped[reason] += 1
    chosen = max(found.values(), key=lambda runs: len(runs.wrong), default=None)
    others = sum(len(runs.wrong) for runs in found.values()) - (0 if chosen is None else len(chosen.wrong))
    if others:
        dropped["of a model of that name that differs"] += others
    _check_enough(source, known, chosen, dropped)
    assert chosen is not None
    return FoundLabels(chosen, dropped)


def _add(
    source: RunSource, summary: RunSummary, wrong: bool, found: dict[str, LabelledRuns], needed: list[str]
) -> str | None:
    """Add a run to those of its model; return why it is left out, None where it is not."""
    if summary.broken_off or summary.nan_detected or summary.inf_detected:
        return "failed"
    try:
        stored = source.load(summary)
    except StoreError:
        return "deleted meanwhile"
    features = stored_features(stored)
    if isinstance(features, str):
        return features
    if any(name not in features for name in needed):
        return "without top1_prob"
    model = model_of(stored)
    runs = found.setdefault(key_of(identity_of(model)), LabelledRuns(model))
    runs.rows.append(features)
    runs.wrong.append(wrong)
    runs.prompts.append(prompt_of(summary))
    runs.tokens.append(round(2 ** features["length"]))
    runs.tasks.append(summary.experiment)
    return None


def _check_enough(
    source: RunSource, known: list[tuple[RunSummary, bool]], chosen: LabelledRuns | None, dropped: Counter[str]
) -> None:
    """Refuse too few runs of an outcome, and say what to do.

    Raises:
        UserError: if they are.
    """
    wrong = 0 if chosen is None else sum(chosen.wrong)
    right = 0 if chosen is None else len(chosen.wrong) - wrong
    if min(right, wrong) >= FEWEST_OF_EACH_OUTCOME:
        return
    of_all = f"{many(len(known), 'labelled run')} that it has" if known else "0 labelled runs"
    left_out = f" Left out: {told(dropped)}." if dropped else ""
    raise UserError(
        f"{source.name}: {right} correct and {wrong} incorrect answers among {of_all} are too few: at least "
        f"{FEWEST_OF_EACH_OUTCOME} of each are needed, better 50.{left_out} {_HOW}; nothing is written."
    )


def told(dropped: Counter[str]) -> str:
    """Return why runs were left out, and how many, as text: the most frequent first."""
    return ", ".join(f"{reason} {count}" for reason, count in dropped.most_common()) or "none"

"""The labelled runs of a store as the columns that `corevital evaluate` is about, by model and task."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..assessment.answer_risk import answer_risk
from ..baselines.answer_model import AnswerModel, shipped
from ..baselines.lookup import own_profile
from ..baselines.profile import Identity, ProfileError
from ..calibration.answer_profile import profile_there
from ..catalogue import prompt_names
from ..evaluation.labelled_answers import ANSWER, BASELINES, LENGTH, RISK, SCORES, Answers
from ..run import ModelInfo
from ..store import RunFilter, RunSource, RunSummary, StoreError
from ..store.labels import LabelSource
from ..store.outcomes import known_outcomes, prompt_of
from ..store.served_runs import model_of
from ..store.stored_distributions import Columns64, features_as_stored, stored_columns
from ..store.stored_run import StoredRun
from .options import with_stored_model

TASK: Final = "task"
"""What makes a task if nothing else is said: this key of a prompt's metadata, else the experiment."""
EXPERIMENT: Final = "experiment"
SERVICE: Final = "service"
UNKNOWN: Final = "-"
OUTSIDE: Final = "outside the answer risk's support"
_NOT_JUDGED: Final = "without an answer risk"
_MOST_NAME: Final = 80
_MOST_KEYS: Final = 8

_HOW: Final = (
    "Label some with `corevital label RUN --outcome correct` or `incorrect`, many with `corevital label --from CSV`, "
    'or ask prompts with a known answer: `corevital run --prompts FILE`, whose lines have "expected"'
)


@dataclass(slots=True)
class _Labelled:
    """One labelled run."""

    wrong: bool
    prompt: str
    tokens: int
    scores: dict[str, float]
    half: dict[str, float]
    unjudged: str
    """Why it has no answer risk, if it has none."""


@dataclass(slots=True)
class FoundAnswers:
    """What a source has."""

    groups: list[Answers] = field(default_factory=list)
    labelled: int = 0
    wrong: int = 0
    outside: int = 0
    """Outside the answer risk's support."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> runs that are in no figure."""


def found_answers(
    source: RunSource, wanted: RunFilter, labels: LabelSource, by: str, limit: int, tell: Callable[[int, int], None]
) -> FoundAnswers:
    """Return the labelled runs of a source.

    Args:
        source: where they are.
        wanted: which runs.
        labels: what counts as a label.
        by: what makes a task: `task`, `experiment`, `service`, or another key of the prompts' metadata.
        limit: how many at most, the newest.
        tell: is told how many of how many are read.

    Raises:
        UserError: where no run is labelled, all have one outcome, or none has the key.
    """
    known = known_outcomes(source, with_stored_model(source, wanted), labels, limit)
    found = FoundAnswers(labelled=len(known), wrong=sum(wrong for _, wrong in known))
    _check(source, found, wanted)
    rows: dict[tuple[str, str], list[_Labelled]] = {}
    keys: Counter[str] = Counter()
    for place, (summary, wrong) in enumerate(known):
        tell(place, len(known))
        stored = _loaded(source, summary)
        if isinstance(stored, str):
            found.left_out[stored] += 1
            continue
        said = _metadata(stored)
        keys.update(list(said))
        group = (_name(summary.model), _name(_task(summary, said, by)))
        rows.setdefault(group, []).append(_row(stored, wrong))
    if by not in (TASK, EXPERIMENT, SERVICE) and rows and by not in keys:
        raise UserError(f"{source.name}: no labelled run has --by {_name(by)}. {_what_there_is(keys)}")
    for (model, task), some in rows.items():
        found.outside += sum(ANSWER not in row.scores and row.unjudged == OUTSIDE for row in some)
        columns = _columns(model, task, some)
        found.left_out.update(columns.left_out)
        if len(columns.wrong):
            found.groups.append(columns)
    if not found.groups:
        reasons = ", ".join(f"{reason} {count}" for reason, count in found.left_out.most_common())
        raise UserError(f"{source.name}: none of {found.labelled} labelled runs can be evaluated: {reasons}.")
    return found


def _check(source: RunSource, found: FoundAnswers, wanted: RunFilter) -> None:
    if not found.labelled:
        which = "is labelled" if wanted == RunFilter() else "of those asked for is labelled"
        raise UserError(f"{source.name}: no run {which} `correct` or `incorrect`. {_HOW}.")
    if found.wrong in (0, found.labelled):
        outcome = "incorrect" if found.wrong else "correct"
        raise UserError(
            f"{source.name}: all {found.labelled} labelled runs are {outcome}: to tell wrong answers from right ones "
            f"takes both. {_HOW}."
        )


def _loaded(source: RunSource, summary: RunSummary) -> StoredRun | str:
    """Return a run with everything, or why it is left out."""
    if summary.broken_off or summary.nan_detected or summary.inf_detected:
        return "failed"
    if not summary.output_tokens:
        return "without a token"
    try:
        return source.load(summary)
    except StoreError:
        return "deleted meanwhile"


# --- what makes a task --------------------------------------------------------------------------------------------


def _metadata(stored: StoredRun) -> dict[str, Any]:
    """Return what a prompt set says of the prompt; empty where content was not kept."""
    told = (event.attributes.get(prompt_names.PROMPT_METADATA) for event in stored.events)
    try:
        found = json.loads(next((text for text in told if isinstance(text, str)), "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _task(summary: RunSummary, said: Mapping[str, Any], by: str) -> Any:
    if by == EXPERIMENT:
        return summary.experiment
    if by == SERVICE:
        return summary.service_name
    value = said.get(by)
    return summary.experiment if value is None and by == TASK else value


def _name(value: Any) -> str:
    return UNKNOWN if value is None or value == "" else one_line(str(value), _MOST_NAME)


def _what_there_is(keys: Counter[str]) -> str:
    if not keys:
        return (
            "It is a key of the prompts' metadata, which is stored with content alone "
            f"(`corevital run --store-content`); without it there are {TASK}, {EXPERIMENT} and {SERVICE}."
        )
    listed = ", ".join(_name(key) for key, _ in keys.most_common(_MOST_KEYS))
    return f"There are {TASK}, {EXPERIMENT}, {SERVICE}, and the keys {listed}."


# --- what every score says of a run -------------------------------------------------------------------------------


def _row(stored: StoredRun, wrong: bool) -> _Labelled:
    summary = stored.summary
    tokens = summary.output_tokens or 0
    scores = {ANSWER: summary.risk_answer, RISK: summary.risk_score}
    scores |= _baselines(tokens, summary.surprisal_mean, summary.entropy_mean)
    return _Labelled(
        wrong=wrong,
        prompt=prompt_of(summary),
        tokens=tokens,
        scores={name: value for name, value in scores.items() if value is not None},
        half=_at_half(stored),
        unjudged=OUTSIDE if stored.attributes.get(semconv.RISK_ANSWER_SUPPORT) is False else _NOT_JUDGED,
    )


def _baselines(tokens: int, surprisal: float | None, entropy: float | None) -> dict[str, float | None]:
    """Return the baselines, by their names, from the means of so many tokens."""
    summed = None if surprisal is None else surprisal * tokens
    scaled = None if summed is None else summed / tokens**0.5
    return dict(zip(BASELINES, (float(tokens), summed, scaled, surprisal, entropy), strict=True))


def _at_half(stored: StoredRun) -> dict[str, float]:
    """Return the scores of the first half of the steps, the middle one included; empty where some are not stored."""
    columns = stored_columns(stored)
    if columns is None or not len(columns["entropy"]):
        return {}
    steps = -(-len(columns["entropy"]) // 2)
    cut = {name: values[:steps] for name, values in columns.items()}
    means = (float(cut[name].mean()) for name in ("surprisal", "entropy"))
    found = {ANSWER: _answer_at_half(stored, cut, steps), **_baselines(steps, *means)}
    return {name: value for name, value in found.items() if value is not None and np.isfinite(value)}


def _answer_at_half(stored: StoredRun, cut: Columns64, steps: int) -> float | None:
    """Return the answer risk of the beginning, by the model that judged the run, if that is still here."""
    features = features_as_stored(cut)
    model = _model(stored.attributes.get(semconv.RISK_ANSWER_METHOD), model_of(stored))
    if model is None or isinstance(features, str) or any(term.feature not in features for term in model.terms):
        return None
    return answer_risk(features, steps, model).probability


@cache
def _model(method: str | None, model: ModelInfo) -> AnswerModel | None:
    """Return the regression of this name: the shipped one, or the model's own from its profile."""
    if method is None or method == shipped().method:
        return None if method is None else shipped()
    try:
        profile = profile_there(own_profile(Identity.of(model)), model)
    except ProfileError:
        return None
    own = None if profile is None else profile.answer
    return own if own is not None and own.method == method else None


# --- as columns ---------------------------------------------------------------------------------------------------


def _columns(model: str, task: str, rows: Sequence[_Labelled]) -> Answers:
    """Return the runs of a group that have every score which any run of it has: all scores judge the same runs."""
    present = [name for name in SCORES if any(name in row.scores for row in rows)]
    kept, left_out = list[_Labelled](), Counter[str]()
    for row in rows:
        missing = next((name for name in present if name not in row.scores), None)
        if missing is None:
            kept.append(row)
        else:
            left_out[row.unjudged if missing == ANSWER else f"without {_told(missing)}"] += 1
    halves = [name for name in present if any(name in row.half for row in kept)]
    return Answers(
        model=model,
        task=task,
        wrong=np.array([row.wrong for row in kept], bool),
        prompts=tuple(row.prompt for row in kept),
        tokens=np.array([row.tokens for row in kept], np.int64),
        scores={name: _vector([row.scores for row in kept], name) for name in present},
        half={name: _vector([row.half for row in kept], name) for name in halves},
        left_out=dict(left_out.most_common()),
    )


def _vector(rows: Sequence[Mapping[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in rows], np.float64)


def _told(score: str) -> str:
    return score if score == LENGTH else f"the {score}"

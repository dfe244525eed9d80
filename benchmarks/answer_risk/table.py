"""The answers of `benchmarks/answers` as arrays: features of the whole and of the first half, and what is compared."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opentelemetry_instrumentation_corevital.assessment.answer_features import NAMES, features_of

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """One row per answer."""

    model: NDArray[Any]
    task: NDArray[Any]
    form: NDArray[Any]
    question: NDArray[Any]
    """Number of the question, unique within a model."""
    wrong: Vector
    tokens: Vector
    whole: Vector
    """[runs, features], in the order of `answer_features.NAMES`."""
    half: Vector
    """The same of the first half of the tokens."""
    agreement: Vector
    """Fraction of the answers sampled to the same question that are this answer; NaN where none were sampled."""
    plain: dict[str, Vector]
    """Score that anybody has, or the risk score -> its number of each run; larger is worse."""
    plain_half: dict[str, Vector]
    """The same of the first half of the tokens; the risk score is not known there."""

    @property
    def group(self) -> NDArray[Any]:
        """Return the model, task and form of each run: within such a group answers are compared."""
        return np.array([" ".join(parts) for parts in zip(self.model, self.task, self.form, strict=True)])

    def features(self, names: Sequence[str], *, half: bool = False) -> Vector:
        """Return columns [runs, names]."""
        order = list(NAMES)
        return (self.half if half else self.whole)[:, [order.index(name) for name in names]]

    def where(self, some: NDArray[np.bool_]) -> "Table":
        """Return some of the rows."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return Table(**{name: _cut(value, some) for name, value in values.items()})


def _cut(value: Any, some: NDArray[np.bool_]) -> Any:
    return {name: each[some] for name, each in value.items()} if isinstance(value, dict) else value[some]


def table_of(answers: Sequence[Any]) -> Table:
    """Return the answers that have features, as a table."""
    rows = []
    for answer in answers:
        whole = features_of(answer.columns)
        half_steps = -(-len(answer.columns["surprisal"]) // 2)
        cut = {name: values[:half_steps] for name, values in answer.columns.items()}
        half = features_of(cut)
        if not isinstance(whole, str) and not isinstance(half, str):
            rows.append((answer, whole, half, _plain(answer.columns, answer.rauq[0]), _plain(cut, answer.rauq[1])))
    return Table(
        model=np.array([answer.model for answer, *_ in rows]),
        task=np.array([answer.task for answer, *_ in rows]),
        form=np.array([answer.form for answer, *_ in rows]),
        question=np.array([answer.number for answer, *_ in rows]),
        wrong=np.array([not answer.right for answer, *_ in rows], np.float64),
        tokens=np.array([len(answer.columns["surprisal"]) for answer, *_ in rows], np.float64),
        whole=np.array([list(each[1].values()) for each in rows]),
        half=np.array([list(each[2].values()) for each in rows]),
        agreement=np.array([_agreement(answer.samples) for answer, *_ in rows]),
        plain=_columns([{**each[3], "risk score": each[0].score} for each in rows]),
        plain_half=_columns([each[4] for each in rows]),
    )


def _agreement(samples: Sequence[Any]) -> float:
    return float(np.mean([sample.answer == 0 for sample in samples])) if samples else np.nan


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, Vector]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _plain(columns: dict[str, NDArray[Any]], rauq: float) -> dict[str, float]:
    surprisal, entropy = (columns[name].astype(np.float64) for name in ("surprisal", "entropy"))
    tokens = len(surprisal)
    return {
        "length": float(tokens),
        "summed surprisal": float(surprisal.sum()),
        "summed surprisal / sqrt(n)": float(surprisal.sum() / np.sqrt(tokens)),
        "mean surprisal": float(surprisal.mean()),
        "mean entropy": float(entropy.mean()),
        "RAUQ": float(rauq),
    }

"""Which steps become `corevital.step` events, and what each of them says."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from ..assessment.layer_findings import over_steps
from ..assessment.risk import SCORE_DIGITS
from ..catalogue import signals
from ..catalogue.fitting import fitting
from ..run import Run


def choose_steps(run: Run, limit: int) -> list[int]:
    """Return at most `limit` steps in order: all of them, else the telling ones and an even sample.

    Telling are the first and the last step, the extremes of each signal, the first warning and a repetition's onset.
    """
    total = len(run.time_ns)
    if total <= limit:
        return list(range(total))
    telling = [0, total - 1]
    for each in signals.step_fields(full=True):
        values = run.column(each.name)
        if each.step is None or not each.step.telling or values is None or not np.isfinite(values).any():
            continue
        extreme, neutral = (np.argmax, -np.inf) if each.step.telling == "max" else (np.argmin, np.inf)
        telling.append(int(extreme(np.where(np.isfinite(values), values, neutral))))
    if run.early_warning is not None and run.early_warning.first_step is not None:
        telling.append(run.early_warning.first_step)
    if run.health is not None:
        for evidence in run.health.evidence.values():
            telling += [int(evidence[key]) for key in ("step", "onset_step") if key in evidence]
    chosen = set(list(dict.fromkeys(telling))[:limit])
    rest = [step for step in range(total) if step not in chosen]
    room = limit - len(chosen)
    if room:
        chosen.update(rest[int(position)] for position in np.linspace(0, len(rest) - 1, room))
    return sorted(chosen)


class StepEvents:
    """What a run's step events say.

    Args:
        run: the judged run.
        full: whether all fields are told, or those of the summary.
    """

    def __init__(self, run: Run, *, full: bool) -> None:
        self._warning = run.early_warning if full else None
        self._columns = {
            each.step_name: (_over_layers(values) if each.shape == "layer" else values).tolist()
            for each in signals.step_fields(full=full)
            if (values := run.column(each.name)) is not None
        }

    def attributes(self, step: int) -> dict[str, Any]:
        """Return the attributes of one step's event; a value that is not finite is left out.

        The step comes last: an SDK with a lower limit drops the first ones, and without it the others mean nothing.
        """
        attributes: dict[str, Any] = {name: float(f"{values[step]:.6g}") for name, values in self._columns.items()}
        if self._warning is not None:
            attributes[semconv.STEP_RISK_SO_FAR] = round(float(self._warning.risk_so_far[step]), SCORE_DIGITS)
            if self._warning.answer_so_far is not None:
                answer = round(float(self._warning.answer_so_far[step]), SCORE_DIGITS)
                attributes[semconv.STEP_ANSWER_SO_FAR] = answer
            attributes[semconv.STEP_WARNINGS] = self._warning.active.get(step) or None
        return fitting(attributes | {semconv.STEP_INDEX: step})


def _over_layers(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return each step's mean over its layers [steps]."""
    return over_steps(np.nanmean, values.T.astype(np.float64))

"""A run's prompt analysis as attributes of its span."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from ..catalogue import prompt_span_names
from ..catalogue.fitting import fitting
from ..catalogue.signals import signal
from ..run import PromptAnalysis, Run
from .run_attributes import rounded

NOT_TOLD: Final = -1.0
"""Of a layer that has no value."""
SPARED: Final = (
    semconv.VERDICTS["intervention.step"],
    semconv.VERDICTS["intervention.trigger"],
    semconv.VERDICTS["intervention.outcome"],
    signal("surprisal").summary_name("sum"),
)
"""What goes first where these would be too many: the intervention's event has it; a sum is the mean times the steps."""


def prompt_attributes(run: Run) -> dict[str, Any]:
    """Return what the span says of the prompt; nothing where it was not analysed."""
    return told_of_prompt(run.prompt_analysis)


def told_of_prompt(found: PromptAnalysis | None) -> dict[str, Any]:
    """Return what a span says of an analysis; nothing where there is none."""
    if found is None:
        return {}
    changes, basins = found.layer_transformation, found.basin_by_layer()
    return fitting(
        {
            prompt_span_names.SURPRISAL_MEAN: found.surprisal_mean,
            prompt_span_names.SURPRISAL_MAX: found.surprisal_max,
            prompt_span_names.LAYER_TRANSFORMATION: None if changes is None else _told(changes[1:]),
            prompt_span_names.BASIN_SCORE: None if basins is None else _told(basins),
        }
    )


def absent_of_prompt(found: PromptAnalysis | None) -> dict[str, str]:
    """Return what is absent of a prompt analysis with the reason, but for what nobody asked for."""
    absent = {} if found is None else found.absent
    return {name: reason for name, reason in absent.items() if not reason.startswith("switched off")}


def _told(values: NDArray[Any]) -> list[float]:
    return rounded(np.where(np.isfinite(values), values, NOT_TOLD))

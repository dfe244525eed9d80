"""What a store holds of a run's prompt analysis."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import semconv
from .._internal.json_text import json_object
from ..assessment.prompt_arrays import analysis_of
from ..run import PromptAnalysis
from .checked_columns import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stored_prompt(
    columns: "Columns | Mapping[str, NDArray[Any]]", attributes: Mapping[str, Any]
) -> PromptAnalysis | None:
    """Return a run's prompt analysis by its run data and its span's attributes; None where it has none."""
    absent = json_object(str(attributes.get(semconv.CAPTURE_ABSENT) or "")) or {}
    reasons = {str(name): reason for name, reason in absent.items() if isinstance(reason, str)}
    return analysis_of(columns.of_prompt() if isinstance(columns, Columns) else {}, attributes, reasons)

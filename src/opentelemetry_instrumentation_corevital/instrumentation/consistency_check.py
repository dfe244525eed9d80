"""Whether the numbers of a run agree: checked once, when it is over. What does not agree is told with the run."""

from typing import Final

from opentelemetry.context import Context

from .._internal.safety import report_disagreement
from ..assessment.consistency import disagreements
from ..emission.instruments import Instruments
from ..run import Run

_KIND: Final = "consistency"


def check_consistency(run: Run, instruments: Instruments, context: Context) -> None:
    """Log each kind of disagreement once per process, count all, and name them in what the run says is absent."""
    found = disagreements(run)
    if not found:
        return
    for each in found:
        report_disagreement(each.rule, each.text())
    run.absent[_KIND] = f"the numbers disagree: {'; '.join(each.text() for each in found)}"
    instruments.record_dropped(_KIND, len(found), context)

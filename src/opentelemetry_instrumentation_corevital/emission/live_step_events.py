"""Step events as log events, while the call goes on."""

from collections import Counter
from typing import Any

import numpy as np
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context

from .. import semconv
from .._internal.values import clean
from ..assessment.early_warning import Warned
from ..config import Settings
from ..presentation.token_strip import SequencePieces
from ..run import EarlyWarning, Run
from .step_events import StepEvents


class LiveSteps:
    """Emits each step of a call as a log event.

    Args:
        logger: where the log events go.
        context: holds the call's span.
        settings: which fields a step has.
        pieces: makes text of tokens as they come; None: steps have no text.
    """

    def __init__(
        self, logger: Logger, context: Context, settings: Settings, pieces: SequencePieces | None = None
    ) -> None:
        self.told: Counter[int] = Counter()
        """Sequence -> steps that were emitted."""
        self._logger = logger
        self._context = context
        self._pieces = pieces
        self.layers = settings.capture == "full"
        """Whether a step has its layers' numbers and what was judged of it, too."""

    def emit(self, step: int, part: Run, warned: Warned | None) -> None:
        """Emit a step of a sequence.

        Args:
            step: counted from 0.
            part: the step as a Run of its own.
            warned: what is true at it; None where nobody judged it.
        """
        if self.layers and warned is not None:
            part.early_warning = _warning(warned)
        attributes: dict[str, Any] = {}
        if self._pieces is not None:  # first: an SDK with a lower limit drops the first ones
            attributes[semconv.STEP_TOKEN_TEXT] = clean(self._pieces(part.sequence_index, int(part.tokens[0])))
        attributes |= StepEvents(part, full=self.layers).attributes(0) | {semconv.STEP_INDEX: step}
        if part.sequence_count > 1:
            attributes[semconv.SEQUENCE_INDEX] = part.sequence_index
        self._logger.emit(
            LogRecord(
                timestamp=int(part.time_ns[0]),
                context=self._context,
                severity_number=SeverityNumber.INFO,
                event_name=semconv.STEP_EVENT,
                attributes=attributes,
            )
        )
        self.told[part.sequence_index] += 1


def _warning(warned: Warned) -> EarlyWarning:
    """Return what is true at a step, as a run of one step has it."""
    return EarlyWarning(
        failure_risk=np.array([warned.failure_risk], np.float32),
        risk_so_far=np.array([warned.risk_so_far], np.float32),
        signals=warned.signals,
        first_step=None,
        active={0: warned.signals} if warned.signals else {},
        answer_so_far=np.array([np.nan if warned.answer_so_far is None else warned.answer_so_far], np.float32),
    )

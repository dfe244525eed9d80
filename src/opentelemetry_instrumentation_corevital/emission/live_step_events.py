"""Step events as log events, while the call goes on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context

from .. import semconv
from ..assessment.early_warning import EarlyWarningMonitor
from ..assessment.thresholds import Thresholds
from ..config import Settings
from ..run import EarlyWarning, Run
from .step_events import StepEvents


class LiveSteps:
    """Emits each step of a call as it arrives from the device.

    Args:
        logger: where the log events go.
        context: holds the call's span.
        settings: which fields a step has.
    """

    def __init__(self, logger: Logger, context: Context, settings: Settings) -> None:
        self.told: Counter[int] = Counter()
        """Sequence -> steps that were emitted."""
        self._logger = logger
        self._context = context
        self.layers = settings.capture == "full"
        """Whether a step tells of layers, too."""
        self._thresholds = Thresholds(high_entropy_bits=settings.high_entropy_bits)
        self._monitors: dict[int, EarlyWarningMonitor] = {}

    def __call__(self, step: int, parts: Sequence[Run]) -> None:
        """Emit a step, given as a Run of its own for every sequence that still goes on."""
        for part in parts:
            if self.layers:
                part.early_warning = self._warning(part)
            attributes = StepEvents(part, full=self.layers).attributes(0) | {semconv.STEP_INDEX: step}
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

    def _warning(self, part: Run) -> EarlyWarning:
        """Return what holds at this step."""
        monitor = self._monitors.get(part.sequence_index)
        if monitor is None:
            monitor = self._monitors[part.sequence_index] = EarlyWarningMonitor(self._thresholds)
        (warned,) = monitor.follow(part)
        return EarlyWarning(
            failure_risk=np.array([warned.failure_risk], np.float32),
            risk_so_far=np.array([warned.risk_so_far], np.float32),
            signals=warned.signals,
            first_step=None,
            active={0: warned.signals} if warned.signals else {},
        )

"""What a recording wants of the calls of the process, and what it knows of those that it has recorded."""

import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from ..config import Settings, SettingsError, load_settings
from ..emission.judgements import RunJudgement
from ..instrumentation.instrumentor import check_judgements
from ..instrumentation.last_runs import riskiest
from ..policies import Policy, check_policies
from ..run import Run

logger = logging.getLogger(__name__)

KNOWN_SPANS: Final = 20_000
"""How many spans a recording knows to be its own: the newest."""


class CallsToRecord:
    """The calls of one recording.

    Args:
        keywords: settings that hold while it is on.
        judgements: beside those of the process.
        policies: behind those of the process.

    Raises:
        SettingsError: for an unknown setting or a bad value.
        PolicyError: for what is no policy.
        TypeError: for what is no judgement.
    """

    def __init__(
        self, keywords: Mapping[str, Any], judgements: Sequence[RunJudgement], policies: Sequence[Policy]
    ) -> None:
        if "sqlite_path" in keywords:
            raise SettingsError("CoreVital: the file of a recording is its `path`, not the option sqlite_path")
        self.settings: Settings = load_settings(keywords)
        self.keywords = dict(keywords)
        self.judgements = check_judgements(judgements)
        self.policies = check_policies(policies)
        self.last: Run | None = None
        """The run that was judged last; of several of one call the riskiest."""
        self.spans: deque[tuple[str, str, int]] = deque(maxlen=KNOWN_SPANS)
        """Trace id, span id and start of each: a deque needs no lock, for which a call would have to wait."""
        self._told = False

    @property
    def options(self) -> Collection[str]:
        """Return the names of the settings that were given."""
        return self.keywords.keys()

    def judged(self, runs: Sequence[Run]) -> None:
        """Take the judged runs of a call."""
        self.last = riskiest(runs) or self.last

    def span_ended(self, span: Span) -> None:
        """Take note of a span that is stored."""
        if not isinstance(span, ReadableSpan) or span.start_time is None:
            self._tell()
            return
        ids = span.get_span_context()
        if ids.trace_flags.sampled:
            self.spans.append((f"{ids.trace_id:032x}", f"{ids.span_id:016x}", span.start_time))

    def _tell(self) -> None:
        """Say once that spans are not stored, which nobody can read."""
        if not self._told:
            self._told = True
            logger.warning(
                "CoreVital: the tracer provider is not the SDK's, so its runs are not written into the store"
            )

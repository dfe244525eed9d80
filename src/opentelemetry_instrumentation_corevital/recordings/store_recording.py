"""`recording()`: from one call on, every `generate()` of the program is recorded into a store."""

import logging
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from ..emission.judgements import RunJudgement
from ..instrumentation.patched_methods import lock
from ..policies import Policy
from ..run import Run
from ..store import Retention, RunList, open_store
from ..store.database import check_place
from ..store.store_paths import RUNS_PATH, expanded
from .calls_to_record import CallsToRecord
from .decorated import decorated
from .shared_recorder import Recorded, SharedRecorder, join, leave
from .store_feed import feed_of, leave_feed

logger = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def recording(
    path: str | os.PathLike[str] | None = None,
    *,
    judgements: Sequence[RunJudgement] = (),
    policies: Sequence[Policy] = (),
    **options: Any,
) -> "StoreRecording":
    """Record every `generate()` of the process into a store, as a `with` block, a decorator, or by `start()`, `stop()`.

    Nothing else is needed: no provider, no exporter, no `instrument()`. Where there are providers, or CoreVital is
    instrumented already, all of it goes on as before, and the runs go into the store, too. Afterwards everything is as
    it was.

    Args:
        path: the store's file, made if it is not there; default the setting `sqlite_path`, else `runs/corevital.db`,
            which the commands read.
        judgements: as those of `instrument()`, beside those that are there.
        policies: as those of `instrument()`, behind those that are there.
        options: those of docs/configuration.md. They hold for all calls of the process while it records.

    Raises:
        SettingsError: for an unknown option or a bad value.
        PolicyError: for what is no policy.
        TypeError: for what is no judgement, or no path.
    """
    if callable(path):
        raise TypeError("CoreVital: write @corevital.recording() with parentheses, or the path of a store in them")
    return StoreRecording(path, options, judgements, policies)


class StoreRecording:
    """What records into a store: once started, until it is stopped; as often as you like.

    Args:
        path: the store's file; None: that of the setting, else the default one.
        options: settings by name.
        judgements: beside those of the process.
        policies: behind those of the process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        options: dict[str, Any],
        judgements: Sequence[RunJudgement],
        policies: Sequence[Policy],
    ) -> None:
        self._calls = CallsToRecord(options, judgements, policies)
        self._path = os.fspath(path or self._calls.settings.sqlite_path or RUNS_PATH)
        self._recorded: Recorded | None = None
        """While it is on."""
        self._recorder: SharedRecorder | None = None
        self._blocks = 0
        """How many blocks and decorated calls are going on."""
        self._started = False

    @property
    def path(self) -> str:
        """Return the store's file."""
        return os.fsdecode(self._path)

    @property
    def last(self) -> Run | None:
        """Return the run that was judged last, in whatever thread: as `last_run()`, of several the riskiest."""
        return self._calls.last

    @property
    def runs(self) -> RunList:
        """Return the runs that it has recorded in this process, as they are stored, the newest first (at most 20,000).

        Raises:
            StoreError: if the store cannot be read.
        """
        recorded = self._recorded
        if recorded is not None:
            recorded.feed.flush()
        spans = self._calls.spans.copy()
        if not spans or not os.path.exists(self.path):
            return RunList()
        own = {(trace_id, span_id) for trace_id, span_id, _ in spans}
        with open_store(self.path) as store:
            found = store.runs(limit=None, since_ns=min(start for *_, start in spans))
        return RunList(run for run in found if (run.trace_id, run.span_id) in own)

    def start(self) -> Self:
        """Begin to record; a second time does nothing.

        Raises:
            StoreError: if nothing can be stored there.
            RuntimeError: if transformers is not installed in a version that is supported.
        """
        with lock:
            self._begin()
            self._started = True
        return self

    def stop(self) -> None:
        """Store everything that was recorded and have everything as it was; a second time does nothing.

        What still generates in other threads is not recorded.
        """
        with lock:
            self._started, self._blocks = False, 0
        self._end()

    def __enter__(self) -> Self:
        """Begin to record, if it does not yet."""
        with lock:
            self._begin()
            self._blocks += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, unless other blocks are going on or it was started; what was raised passes through."""
        with lock:
            self._blocks = max(0, self._blocks - 1)
            over = not self._blocks and not self._started
        if over:
            self._end()

    def __call__(self, function: Function) -> Function:
        """Record while a function runs: a plain one, a coroutine or a generator."""
        return decorated(function, self)  # type: ignore[return-value]

    def __repr__(self) -> str:
        """Return one line."""
        return f"<{type(self).__name__} into {self.path}, {'off' if self._recorded is None else 'on'}>"

    def _begin(self) -> None:
        if self._recorded is not None:
            return
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            logger.warning("CoreVital: OTEL_SDK_DISABLED=true, so nothing is recorded into %s", self.path)
            return
        check_place(self._path)
        self._path = os.path.abspath(expanded(self._path))  # the program may change its folder
        keywords = self._calls.keywords
        retention = Retention(keywords.get("sqlite_retention_days"), keywords.get("sqlite_max_bytes"))
        recorded = Recorded(self._calls, feed_of(self._path, retention))
        try:
            self._recorder = join(recorded)
        except BaseException:
            leave_feed(recorded.feed)
            raise
        if self._recorder is None:
            leave_feed(recorded.feed)
            logger.warning("CoreVital is switched off (enabled=false), so nothing is recorded into %s", self.path)
            return
        self._recorded = recorded

    def _end(self) -> None:
        with lock:
            recorded, self._recorded = self._recorded, None
            recorder, self._recorder = self._recorder, None
            if recorded is None or recorder is None:
                return
            leave(recorded, recorder)
        leave_feed(recorded.feed)

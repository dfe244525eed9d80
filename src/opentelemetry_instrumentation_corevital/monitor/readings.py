"""What can be asked of runs, while they go on and afterwards: the same of a monitor, a stream and a block."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..presentation.judged_runs import JudgedRuns
from ..run import Run
from .should_intervene import Advice
from .summaries import health_flags, report_of_call, summary_of
from .watched_call import WatchedCall


class Readings(ABC):
    """What can be asked of runs.

    Of a call with several sequences the answers are those of the one with the highest risk, of several such the first.
    The methods for a finished run take `sequence`, counted from 0, for another one; `runs` has all of them.
    """

    @abstractmethod
    def _live(self) -> WatchedCall | None:
        """Return the call that goes on, else the last one; None: there was none."""

    @abstractmethod
    def _finished(self) -> WatchedCall | None:
        """Return the call that finished last; None: none has."""

    @abstractmethod
    def _settings(self) -> Any:
        """Return the options that hold."""

    # --- while it goes on, and afterwards ----------------------------------------------------------------------------

    def get_risk_so_far(self) -> float:
        """Return the running risk in [0, 1], of the sequence with the highest one; 0 before the first step."""
        call = self._live()
        return 0.0 if call is None else call.risk_so_far

    def get_answer_so_far(self) -> float | None:
        """Return the probability in [0, 1] that the answer up to here is wrong, of the sequence with the highest one.

        None before the first step, and outside the support of the answer risk, as beyond a few dozen tokens.
        """
        call = self._live()
        return None if call is None else call.answer_so_far

    def get_warning_signals(self) -> list[str] | None:
        """Return the early warnings so far by name, in the order in which they came.

        None where `enable_early_warning=False` switches them off, or nothing has begun.
        """
        call = self._live()
        return None if call is None else call.signals_so_far

    def should_intervene(self) -> bool:
        """Return whether `intervene_on_risk_above` or `intervene_on_signals` has become true of the run.

        It is known while the run goes on, and stays true once it is; the finished run's risk and warnings count, too.
        """
        return self.intervention() is not None

    def intervention(self) -> Advice | None:
        """Return step, reason and evidence of why somebody should intervene; None: nobody should."""
        call = self._live()
        return None if call is None else call.advice

    # --- afterwards --------------------------------------------------------------------------------------------------

    @property
    def runs(self) -> Sequence[Run]:
        """Return the judged runs of the call that finished last, one per sequence.

        Raises:
            RuntimeError: if there is none.
        """
        return JudgedRuns(self._judged().runs)

    def get_risk_score(self, sequence: int | None = None) -> float | None:
        """Return the risk in [0, 1]; None where it was not judged, see `get_summary()["absent"]`.

        Raises:
            RuntimeError: if no run has finished.
            IndexError: if there is no such sequence.
        """
        risk = self._run(sequence).risk
        return None if risk is None else risk.score

    def get_health_flags(self, sequence: int | None = None) -> dict[str, bool | int]:
        """Return the health flags by name, and `high_entropy_steps`; what was not judged is not there.

        Raises:
            RuntimeError: if no run has finished.
            IndexError: if there is no such sequence.
        """
        return health_flags(self._run(sequence))

    def get_summary(self, sequence: int | None = None) -> dict[str, Any]:
        """Return the verdict, as JSON values.

        Keys: `risk_score`, `risk_level`, `risk_factors` (names), `answer_risk`, `blamed_layers`,
        `health_flags`, `early_warning` (`failure_risk`, `warning_signals`; empty where they are switched off),
        `fingerprint` (`vector`, `prompt_hash`), `narrative`, `trace_id`, `model_id`, `output_text`;
        `stop_reason`, `finish_reason`, `input_tokens`, `output_tokens`, `seconds`, `warnings`, `interventions`,
        `retries`, `sequence_index`, `sequence_count`; and `absent`, why something is None or not there.

        Raises:
            RuntimeError: if no run has finished.
            IndexError: if there is no such sequence.
        """
        return summary_of(self._judged(), self._run(sequence))

    def get_report(self, sequence: int | None = None) -> dict[str, Any]:
        """Return the run as a report of schema 0.4.0, as JSON values.

        It has text and token ids only with content switched on (`capture_message_content`), and layers in its timeline
        only where the run is captured in full.

        Raises:
            RuntimeError: if no run has finished.
            IndexError: if there is no such sequence.
        """
        return report_of_call(self._judged(), self._run(sequence), self._settings())

    def _why_unfinished(self) -> str:
        """Return what is said where no call has finished."""
        return "no run has finished yet: call run(), or read a stream to its end"

    def _judged(self) -> WatchedCall:
        call = self._finished()
        if call is None:
            raise RuntimeError(self._why_unfinished())
        if not call.runs:
            raise RuntimeError(
                "the last call was not judged: it generated nothing, CoreVital was switched off for it (disabled(), "
                "suppressed instrumentation), it ran inside of another generate(), or the model has its own generate()"
            )
        return call

    def _run(self, sequence: int | None) -> Run:
        runs = self._judged().runs
        if sequence is None:
            return max(runs, key=lambda run: -1.0 if run.risk is None else run.risk.score)
        if not 0 <= sequence < len(runs):
            raise IndexError(f"sequence {sequence}: the call has {len(runs)}, counted from 0")
        return runs[sequence]

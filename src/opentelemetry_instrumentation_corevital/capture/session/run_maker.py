"""One Run per sequence, made of a call's rows and what was read of its result."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..._internal.error_text import error_name
from ..._internal.safety import shielded
from ...run import FINISH_REASONS, LOGIT_SIGNALS, Decoding, ModelInfo, Run, StopReason
from ..collector.presence import ATTENTION, Presence, why_no_attention
from ..row.host_transfer import RowStore
from ..row.layout import TOKEN, alternatives_of, attention_columns, every_step_columns, logit_columns
from .call_facts import Call, Generated

_UNSEEN_END: Final = "no stopping criterion was seen to end it"


class RunMaker:
    """Makes the Runs of one call.

    Args:
        call: the call.
        model: its model.
        start_ns: when it began, Unix time.
        presence: what its rows have of the layers; None where no layer is measured.
    """

    def __init__(self, call: Call, model: ModelInfo, start_ns: int, presence: Presence | None) -> None:
        self._call = call
        self._model = model
        self._start_ns = start_ns
        self._presence = presence

    def runs(
        self,
        rows: RowStore | None,
        read: Generated | str,
        *,
        end_ns: int,
        why_absent: str | None = None,
        error: BaseException | None = None,
        seed: int | None = None,
    ) -> list[Run]:
        """Return a Run for each sequence.

        Args:
            rows: of the sequences; None where there are none.
            read: what was generated, or why that cannot be told.
            end_ns: when the call ended, Unix time.
            why_absent: why there are no rows.
            error: what the call raised.
            seed: of the call's generators.
        """
        decoding = self._call.decoding(seed)
        prompt_counts: list[int] | None = None
        with shielded("capture.prompt"):
            prompt_counts = self._call.input_token_counts()
        unread = read if isinstance(read, str) else None
        raised = None if error is None else self._call.reason_of(error)
        if isinstance(read, str):
            read = Generated(np.empty((1, 0), np.int64), [None], [raised])
            prompt_counts = None if prompt_counts is None else [sum(prompt_counts)]
        sequences = len(read.counts)
        runs = []
        for index, (tokens, known, stop) in enumerate(zip(read.tokens, read.counts, read.reasons, strict=True)):
            count = known or 0
            run = Run(
                model=self._model,
                decoding=decoding,
                start_ns=self._start_ns,
                end_ns=end_ns,
                sequence_index=index,
                sequence_count=sequences,
                prompt_index=_prompt_of(prompt_counts, index, sequences),
                input_tokens=_of_prompt(prompt_counts, index, sequences),
                tokens=tokens[:count].astype(np.int32),
                finish_reason=None if stop is None else FINISH_REASONS[stop],
                stop_reason=stop,
                error_type=error_name(error) if error is not None and raised == "error" else None,
            )
            self._name_absent(run, stop, known, unread)
            if rows is None or known is None:
                self._leave_out_signals(run, why_absent or run.absent.get("output_tokens") or "not measured")
            else:
                self._measure(run, rows, count)
            if run.input_tokens is None:
                run.absent["input_tokens"] = "the prompt's tokens could not be counted"
            runs.append(run)
        return runs

    @staticmethod
    def _name_absent(run: Run, stop: StopReason | None, known: int | None, unread: str | None) -> None:
        """Give the reasons why a run's end cannot be told, where that is so."""
        if known is None:
            run.absent["output_tokens"] = unread or "it ends with padding: where its tokens end cannot be told"
        if stop is None:
            run.absent["stop_reason"] = run.absent.get("output_tokens", _UNSEEN_END)

    def _leave_out_signals(self, run: Run, reason: str) -> None:
        """Give one reason for every signal of a run without rows."""
        run.absent.update(dict.fromkeys(LOGIT_SIGNALS, reason), nonfinite=reason)
        if self._presence is not None:
            run.absent.update(dict.fromkeys(self._presence.groups, reason))

    def _measure(self, run: Run, rows: RowStore, count: int) -> None:
        """Give a run the columns and times of its steps; a sequence of several ends with its last step."""
        run.columns, absent = self._columns(rows, run.sequence_index, count)
        run.absent.update(absent)
        run.time_ns = rows.times[:count].copy()
        if self._presence is not None:
            run.alternatives = alternatives_of(rows.rows[:count, run.sequence_index], self._presence.layout)
        if count and run.sequence_count > 1:
            run.end_ns = min(run.end_ns, int(run.time_ns[-1]))

    def part(self, row: RowStore, index: int, layers: bool) -> Run:
        """Return one sequence's step as a Run of its own.

        Args:
            row: the step.
            index: of the sequence.
            layers: whether it has the layers' signals, too.
        """
        columns, absent = self._columns(row, index, 1) if layers else (logit_columns(row.rows[:, index]), {})
        return Run(
            model=self._model,
            decoding=Decoding(strategy=self._call.strategy()),
            start_ns=self._start_ns,
            end_ns=int(row.times[0]),
            sequence_index=index,
            sequence_count=row.rows.shape[1],
            tokens=row.rows[:, index, TOKEN].astype(np.int32),
            columns=columns,
            time_ns=row.times,
            absent=absent,
        )

    def _columns(self, store: RowStore, index: int, count: int) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return a sequence's columns over its first `count` steps, and what is not among them with the reason."""
        rows = store.rows[:count, index]
        columns = logit_columns(rows)
        if self._presence is None or not count:
            return columns, {}
        layout, absent = self._presence.layout, dict(self._presence.absent)
        columns |= every_step_columns(rows, layout, absent)
        if ATTENTION not in absent:
            steps = store.more_steps[: np.searchsorted(store.more_steps, count)]
            attention = attention_columns(store.more[: len(steps), index], steps, count, layout)
            why = why_no_attention(len(steps), attention)
            if why is None:
                columns |= attention
            else:
                absent[ATTENTION] = why
        return columns, absent


def _prompt_of(counts: list[int] | None, index: int, sequences: int) -> int:
    """Return the row of a returned sequence's prompt: each prompt has the same number of sequences, in order."""
    return index if not counts or sequences % len(counts) else index // (sequences // len(counts))


def _of_prompt(counts: list[int] | None, index: int, sequences: int) -> int | None:
    """Return the prompt length of a returned sequence; None where its prompt cannot be told."""
    if not counts or sequences % len(counts):
        return None
    return counts[_prompt_of(counts, index, sequences)]

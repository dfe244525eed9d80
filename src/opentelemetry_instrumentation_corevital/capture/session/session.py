"""One watched `generate()` call: what its hooks see at every step becomes its rows, and these its Runs."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._internal.clock import Clock
from ..._internal.safety import report_internal_error, shielded
from ...run import ModelInfo, Run
from ..backends.backend import Backend, backend_for
from ..collector.collector import StepCollector
from ..collector.presence import HIDDEN_STATES, Presence
from ..collector.step import Step
from ..isolation.dispatch_modes import has_numbers, unseen
from ..row.ancestry import Ancestry, RowPerSequence
from ..row.beam_search import Beams
from ..row.host_transfer import HostRows, RowStore, RowTransfer, transfer_for
from ..row.layout import DONE, TOKEN
from .call_facts import Call, Generated
from .failed_step import Faults, add_failed_step, faults_of
from .live_steps import Follower, Following
from .run_maker import RunMaker
from .steering import Sampling, Steering
from .stopping import flags_of

STEPWISE_STRATEGIES: Final = frozenset({"greedy_search", "sample"})
"""Decoding strategies in which each pass through the loop chooses one token of each returned sequence."""

BEAM_STRATEGIES: Final = frozenset({"beam_search", "beam_sample"})
"""Decoding strategies in which it chooses among rows, too: only the result tells which of them led to it."""

_RAW_UNSEEN: Final = "the raw logits of a beam search were not seen"

_MAX_FLOAT_TOKEN: Final = 1 << 24  # token ids travel in the float32 row: exact below


class Session:
    """Watches one call. Everything here runs on the thread that called `generate()`."""

    def __init__(
        self,
        call: Call,
        model: ModelInfo,
        clock: Clock,
        start_ns: int,
        collector: StepCollector | None = None,
        *,
        kernels: bool = True,
        follower: Follower | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.call = call
        self.model = model
        self.start_ns = start_ns
        self.collector = collector
        """What the hooks inside the model report to; None where there are none."""
        self.presence = Presence(0) if collector is None else collector.presence
        self._clock = clock
        self._open = True
        self._kernels = kernels
        self._maker = RunMaker(call, model, start_ns, None if collector is None else collector.presence)
        self._following = None if follower is None else Following(follower, self._maker.part)
        self._steering = steering
        self.sampling: Sampling | None = None
        """How policies want the next tokens chosen; None: as the call says."""
        self._backend: Backend | None = None
        self._transfer: RowTransfer | None = None
        self._beams: Beams | None = None
        self._rows = 0
        """Rows of every step: sequences, or beams."""
        self._step: Step | None = None
        """The step whose logits have been measured and whose tokens have not been chosen yet."""
        self._failed_step_unread = False
        self._steps = 0
        self._columns_seen = 0
        """Columns of the ids at the last step."""
        self._absent_reason: str | None = None

    # --- while the loop runs ---------------------------------------------------------------------------------------

    def resolved(self, generation_config: Any, prompt_length: int | None, cache: Any = None) -> bool:
        """Take the resolved config and the cache; return whether the session wants the loop's logits."""
        self.call.resolved(generation_config, prompt_length)
        strategy = self.call.strategy()
        if self.call.paged:
            self._absent_reason = "not measured in continuous batching (cache_implementation=paged)"
        elif strategy not in STEPWISE_STRATEGIES | BEAM_STRATEGIES:
            self._absent_reason = f"not measured in decoding strategy {strategy}"
        elif strategy in BEAM_STRATEGIES and self.call.custom:
            self._absent_reason = f"not measured in decoding strategy {strategy} of a custom loop"
        elif (self.model.vocabulary_size or 0) >= _MAX_FLOAT_TOKEN:
            self._absent_reason = "vocabulary too large for a vitals row"
        elif strategy in BEAM_STRATEGIES:
            self._beams = Beams(self.call.beams, self.call.returned, self._clock)
        if self._steering is not None:
            self._steering.prepared(strategy)
        if self._steering is not None and (self._absent_reason or self._beams is not None):
            self._steering.refuse(self._absent_reason or f"no policy can act on decoding strategy {strategy}")
        if self._absent_reason is None and self.collector is not None:
            self.collector.attention.keeps_keys = self.call.keeps_keys(cache)
            self.collector.begin(0)
        return self._absent_reason is None

    @property
    def steered(self) -> bool:
        """Whether policies may act on the call."""
        return self._steering is not None

    @property
    def active(self) -> bool:
        """Whether the loop's steps are still wanted."""
        return self._open and self._absent_reason is None

    def on_output(self, output: Any) -> None:
        """Take what the model returned for a step: the loop of a beam search hands its logits to nobody."""
        if self._beams is not None:
            with unseen():
                self._beams.on_output(output)

    def on_logits(self, input_ids: Any, logits: Tensor, *, edited: bool = True) -> None:
        """Take a step's raw logits [rows, vocabulary] before any processor sees them.

        The step's forward pass is over: what the hooks have seen is reduced here, before a processor (such as
        classifier-free guidance) runs the model once more.

        Args:
            input_ids: the tokens so far [rows, length].
            logits: the loop's own copy of them; in a beam search their log-softmax.
            edited: whether there are processors, which may change them in place.
        """
        try:
            with unseen():
                odd = self._odd_logits(logits)
                if odd is None and self._beams is not None:
                    raw = self._beams.logits(input_ids, logits, edited=edited)
                    odd = _RAW_UNSEEN if raw is None else None
                    logits, edited = logits if raw is None else raw, False
                if odd is not None:
                    self._lose(odd)
                    return
                self._measure(logits, input_ids, edited=edited)
        except Exception as error:
            self._give_up(error)

    def _odd_logits(self, logits: Any) -> str | None:
        """Return why logits cannot be a step's, where a loop does other things than transformers' own."""
        if self._step is not None and self._beams is not None:
            return "the candidates of a beam search were not seen"
        if self._step is not None:
            return "the loop calls the logits processors several times before a token is shown to the stopping criteria"
        if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            return "the loop's logits are not [sequences, vocabulary]"
        if self._backend is not None and logits.shape[0] != self._rows:
            return "the loop's number of sequences changes"
        if not has_numbers(logits):
            return "the model's tensors have no values (a meta device or a fake-tensor mode)"
        return None

    def _measure(self, logits: Tensor, input_ids: Any, *, edited: bool) -> None:
        if self._backend is None:
            self._rows = logits.shape[0]
            self._transfer = transfer_for(logits.device, self._clock)
            at_once = self._following is not None and self._beams is None
            self._backend = backend_for(logits, self.presence, self._transfer, kernels=self._kernels, at_once=at_once)
            if self.call.custom and isinstance(input_ids, Tensor) and input_ids.ndim == 2:
                self.call.loop_prompts = input_ids
        step = Step(self._steps, logits, edited)
        if self.collector is not None:
            self.collector.complete(step)
        self._backend.measure(step)
        step.measured()
        self._step = step
        if self.collector is not None:
            self.collector.clear()
            if self.call.custom and self.collector.irregular:
                why = self.presence.absent[HIDDEN_STATES]
                self._lose(f"whose logits a custom loop hands over cannot be told: {why}")

    def on_tokens(self, input_ids: Tensor, done: Any) -> Tensor | None:
        """Take a step's chosen tokens, the last column of `input_ids`, and which sequences are done [sequences].

        A beam search shows its candidates here; which of them it goes on with is told by `on_beams`.

        Returns:
            bool [sequences], the sequences that a policy ends here; None where it ends none.
        """
        if self._beams is not None:
            return None
        step, self._step = self._step, None
        if step is None or self._backend is None or self._transfer is None:
            return None
        ends = None
        try:
            with unseen():
                flags = self._flags(input_ids, done)
                if isinstance(flags, str):
                    self._lose(flags)
                    return None
                if self._steering is not None:
                    ends = self._steer(flags)
                    flags = flags if ends is None else flags | ends
                step.choose(input_ids[:, -1], flags)
                self._transfer.push(self._backend.row(step))
                self._steps += 1
                if self._following is not None:
                    self._following.go_on(self._transfer.store, self._width())
            if self.collector is not None:
                self.collector.begin(self._steps)
        except Exception as error:
            self._give_up(error)
        return ends

    def _steer(self, flags: Tensor) -> Tensor | None:
        """Let policies act on this step; return which sequences they end, bool [sequences]; None: none.

        They judge the numbers of the steps before it, and wait for these: so a run that is repeated acts at the same
        step, however far the host is ahead of the device.
        """
        if self._steering is None or self._transfer is None or self._following is None:
            return None
        self._transfer.arrive(self._steps)
        self._following.go_on(self._transfer.store, self._width(), self._steps)
        orders = self._steering.act(self._steps, self._rows, flags.tolist)
        self.sampling = orders.sampling
        if not orders.stop:
            return None
        ends = torch.zeros(self._rows, dtype=torch.bool)
        ends[list(orders.stop)] = True
        return ends.to(flags.device)

    def on_beams(self, sequences: Any, ancestors: Any, running: Any) -> None:
        """Take a beam search's candidates, and which rows its next step goes on from, see `Beams.choose`."""
        step, self._step = self._step, None
        if step is None or self._beams is None or self._backend is None or self._transfer is None:
            return
        try:
            with unseen():
                parents = self._beams.choose(sequences, ancestors, running, self._steps)
                step.choose_none()
                self._transfer.push(self._backend.row(step))
                self._backend.reorder(parents)
                self._steps += 1
            if self.collector is not None:
                self.collector.begin(self._steps)
        except Exception as error:
            self._give_up(error)

    def _flags(self, input_ids: Any, done: Any) -> Tensor | str:
        """Return which sequences are done, bool [sequences], or why a step's tokens cannot be taken."""
        if not isinstance(input_ids, Tensor) or input_ids.ndim != 2 or len(input_ids) != self._rows:
            return "the loop's tokens are not [sequences, length]"
        before, self._columns_seen = self._columns_seen, input_ids.shape[1]
        if self._steps and self._columns_seen != before + 1:
            return "the loop does not show each token to the stopping criteria"
        if isinstance(done, Tensor) and done.shape == input_ids.shape[:1]:
            return done
        flags = flags_of(done, self._rows)
        return "the stopping criteria return no flag for each sequence" if flags is None else flags.contiguous()

    def _width(self) -> int:
        return self.presence.layout.every_step_width

    def _give_up(self, error: Exception) -> None:
        self._lose(f"internal error ({type(error).__name__})")
        report_internal_error("capture", error)

    def _lose(self, reason: str) -> None:
        """Declare the steps absent as a whole: a run with a hole would be judged wrongly."""
        self._step = self.sampling = None
        if self._steering is not None:
            self._steering.refuse(reason)
        if self.collector is not None:
            self.collector.stop()
        self._absent_reason = reason

    # --- after it --------------------------------------------------------------------------------------------------

    def close(self, result: Any, error: BaseException | None, seed: int | None = None) -> list[Run]:
        """Return one Run per sequence of the call's result, or of what was generated before `error`."""
        failed = None if error is None else self._failed_step()
        self._open, self._step = False, None
        if self.collector is not None:
            self.collector.stop()
        end_ns = self._clock.now()
        ancestry = self._ancestry(None if error is not None else self.call.beam_indices)
        rows = self._finish_rows()
        if self._steps and (rows is None or not ancestry.at_once):
            failed = None  # the steps before it are lost: it would look like the first one
        if failed is not None:
            failed = [failed[row] for row in ancestry.beginning(len(failed))]
        observed = rows if ancestry.at_once else None
        if error is not None:
            read = self._until(error, observed, failed)
        else:
            read = self.call.read(result, None if observed is None else _tokens_of(observed))
        if isinstance(read, str):
            rows, self._absent_reason = None, read if error is None else self._absent_reason
        elif rows is not None:
            rows = self._of_sequences(ancestry.by_sequence(rows, read.tokens))
        if rows is not None and not isinstance(read, str):
            if ancestry.at_once and not self.call.custom:
                read = replace(read, counts=_counts(rows, read.tokens.shape[1]))
            if self._following is not None:
                # A beam search returns a beam without a token where it found fewer candidates than it should return.
                self._following.over.update(index for index, count in enumerate(read.counts) if count == 0)
                self._following.go_on(rows, self._width(), read.tokens.shape[1])
        runs = self._maker.runs(rows, read, end_ns=end_ns, why_absent=self._absent_reason, error=error, seed=seed)
        if error is not None:
            add_failed_step(runs, rows, failed, unread=self._failed_step_unread)
        return runs

    def _ancestry(self, beam_indices: Tensor | None) -> Ancestry:
        """Return which rows the result's sequences descend from."""
        if self._beams is not None:
            try:
                return self._beams.ancestry(beam_indices)
            except Exception as error:
                self._give_up(error)
        return RowPerSequence()

    def _until(self, error: BaseException, rows: RowStore | None, failed: list[Faults] | None) -> Generated | str:
        """Return what was generated before an error, or why that cannot be told."""
        if rows is not None:
            tokens, counts = _tokens_of(rows), _counts(rows)
        elif failed is not None or self._nothing_yet():
            tokens = np.empty((1 if failed is None else len(failed), 0), np.int64)
            counts = [0] * len(tokens)
        else:
            why = self._absent_reason or "which beams would have been returned is not known"
            return f"the call failed, and the tokens before that were not observed: {why}"
        return Generated(tokens, counts, [self.call.reason_of(error)] * len(counts))

    def _nothing_yet(self) -> bool:
        """Whether it is certain that a call that failed had not chosen any token."""
        call = self.call
        if call.config is None:
            return not call.custom or callable(call.arguments.get("custom_generate"))
        return not call.custom and call.stops.attached and not call.stops.steps

    def release(self) -> None:
        """Refer to no tensor and no module any more. Custom generation code may have kept the lists with the hooks."""
        self._open, self._step = False, None
        self.collector = self._backend = self._transfer = self._following = self._beams = None
        self._steering = self.sampling = None
        self.call.release()

    def _failed_step(self) -> list[Faults] | None:
        """Return each sequence's faults at a step that was measured but failed before its token was chosen.

        Sampling refuses logits that are not finite: the step that tells why the call failed has no token. None where
        there was no such step or nothing wrong with it.
        """
        step = self._step
        if step is None or self._backend is None or not self.active:
            return None
        try:
            step.choose_none()
            rows = self._backend.read(self._backend.row(step))
        except RuntimeError as error:
            if isinstance(self._transfer, HostRows):
                self._give_up(error)
            # On CUDA sampling refuses logits by an assertion after which the device does not answer any more.
            self._failed_step_unread = True
            return None
        except Exception as error:
            self._give_up(error)
            return None
        with shielded("capture.failed_step"):
            faults = [faults_of(row[None], self.presence) for row in rows]
            return faults if any(faults) else None
        return None

    def _finish_rows(self) -> RowStore | None:
        if self._transfer is None or self._backend is None or not self._steps:
            self._absent_reason = self._absent_reason or "no step was observed"
            return None
        try:
            if self._absent_reason is not None:
                return None
            self._backend.finish()
            rows = self._transfer.finish()
            self._backend.release()
            rows.width = self._width()
            return rows
        except Exception as error:
            self._give_up(error)
            return None

    def _of_sequences(self, found: RowStore | str) -> RowStore | None:
        """Return the rows of the result's sequences; None, with the reason kept, where they are not its rows."""
        if isinstance(found, str):
            self._absent_reason = found
            return None
        return found


def _counts(rows: RowStore, steps: int | None = None) -> list[int]:
    """Return how many steps each sequence was alive: up to the one that it was done with."""
    done = rows.rows[:steps, :, DONE] > 0
    length = len(done)
    return [int(n) for n in np.where(done.any(0), done.argmax(0) + 1, length)]


def _tokens_of(rows: RowStore) -> NDArray[np.int64]:
    """Return the chosen tokens [sequences, steps]."""
    return rows.rows[:, :, TOKEN].T.astype(np.int64)

"""One watched `generate()` call: what its hooks see at every step becomes its rows, and these its Runs."""

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from ..._internal.clock import Clock
from ..._internal.safety import report_internal_error
from ...run import ModelInfo, Run
from ..backends.backend import Backend, backend_for
from ..collector.collector import StepCollector
from ..collector.presence import HIDDEN_STATES, Presence
from ..collector.step import Step
from ..isolation.dispatch_modes import has_numbers, unseen
from ..row.ancestry import Ancestry, RowPerSequence
from ..row.beam_search import Beams
from ..row.host_transfer import HostRows, RowStore, RowTransfer, transfer_for
from .call_facts import Call
from .decoding_strategies import BEAM_STRATEGIES, why_unmeasured
from .failed_step import Faults, add_failed_step, faults_before_token
from .live_steps import Follower, Following
from .observed_tokens import counts_of, generated_before, tokens_of
from .prompts_of_call import add_analyses
from .run_maker import RunMaker
from .steering import Sampling, Steering
from .stopping import flags_of

_RAW_UNSEEN: Final = "the raw logits of a beam search were not seen"


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
        self.cache: Any = None
        """That of the loop, where policies may act on it."""
        self.processors: Any = ()
        """The loop's logits processors."""
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
        if self._absent_reason is None:
            self._absent_reason = why_unmeasured(self.call, strategy, self.model.vocabulary_size)
        if self._absent_reason is None and strategy in BEAM_STRATEGIES:
            self._beams = Beams(self.call.beams, self.call.returned, self._clock)
        if self._steering is not None:
            self._prepare_steering(self._steering, strategy)
        self._begin(cache)
        return self._absent_reason is None

    def goes_on(self, cache: Any) -> bool:
        """Take the cache of a loop that goes on behind the tokens that a rollback kept; see `resolved`."""
        self._begin(cache, anew=True)
        return self._absent_reason is None

    def _begin(self, cache: Any, *, anew: bool = False) -> None:
        if self._absent_reason is None and self.collector is not None:
            self.collector.attention.keeps_keys = self.call.keeps_keys(cache)
            self.collector.begin(self._steps, anew=anew)

    def _prepare_steering(self, steering: Steering, strategy: str | None) -> None:
        """Let policies know how the call decodes; nothing waits for those of which none can act on it."""
        if self._absent_reason or self._beams is not None:
            steering.refuse(self._absent_reason or f"policies do not act on decoding strategy {strategy}")
            self._steering = None
        elif self.call.custom:
            steering.refuse("policies do not act on a custom loop")
            self._steering = None
        elif not steering.prepared(self, strategy):
            self._steering = None

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
        elif self._steering is not None:
            self.cache = getattr(output, "past_key_values", None)

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

    def go_back(self, steps: int) -> None:
        """Keep so many steps: the tokens of the others were taken back, and a loop goes on behind these.

        Raises:
            RuntimeError: if there are no such steps.
        """
        transfer, backend, following, taken_back = self._transfer, self._backend, self._following, self._steps - steps
        if transfer is None or backend is None or following is None or taken_back < 0:
            raise RuntimeError(f"there are no {steps} steps to go back to")
        with unseen():
            transfer.arrive(self._steps)
            following.go_on(transfer.store, self._width())  # on every device: they were there
            transfer.store.keep(steps)
            backend.break_off()
        self._steps, self._columns_seen = steps, self._columns_seen - taken_back
        self._step = self.sampling = self.cache = None
        self.call.go_back()
        following.go_back(transfer.store, self._width(), steps)

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
        self._open, self._step, self.cache = False, None, None
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
            why = self._absent_reason or "which beams would have been returned is not known"
            read = generated_before(error, self.call, observed, failed, why)
        else:
            read = self.call.read(result, None if observed is None else tokens_of(observed))
        if isinstance(read, str):
            rows, self._absent_reason = None, read if error is None else self._absent_reason
        elif rows is not None:
            rows = self._of_sequences(ancestry.by_sequence(rows, read.tokens))
        if rows is not None and not isinstance(read, str):
            if ancestry.at_once and not self.call.custom:
                read = replace(read, counts=counts_of(rows, read.tokens.shape[1]))
            if self._following is not None:
                # A beam search returns a beam without a token where it found fewer candidates than it should return.
                self._following.over.update(index for index, count in enumerate(read.counts) if count == 0)
                self._following.go_on(rows, self._width(), read.tokens.shape[1])
        runs = self._maker.runs(rows, read, end_ns=end_ns, why_absent=self._absent_reason, error=error, seed=seed)
        add_analyses(runs, self.collector, self._absent_reason, failed=error is not None)
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

    def release(self) -> None:
        """Refer to no tensor and no module any more. Custom generation code may have kept the lists with the hooks."""
        self._open, self._step = False, None
        self.collector = self._backend = self._transfer = self._following = self._beams = None
        self._steering = self.sampling = self.cache = None
        self.processors = ()
        self.call.release()

    def _failed_step(self) -> list[Faults] | None:
        """Return each sequence's faults at a step that was measured but failed before its token was chosen."""
        if self._step is None or self._backend is None or not self.active:
            return None
        try:
            return faults_before_token(self._step, self._backend, self.presence)
        except RuntimeError as error:
            if isinstance(self._transfer, HostRows):
                self._give_up(error)
            # On CUDA sampling refuses logits by an assertion after which the device does not answer any more.
            self._failed_step_unread = True
        except Exception as error:
            self._give_up(error)
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

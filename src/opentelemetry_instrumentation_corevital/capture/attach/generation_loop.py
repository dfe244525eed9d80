"""The hooks of a generation loop.

The loop itself makes them, through methods of `GenerationMixin` that are patched on the class:
`_get_logits_processor` returns a list whose call sees the raw logits first, `_get_stopping_criteria` one whose call
sees the chosen tokens and each criterion's verdict on them. Both are subclasses of transformers' own list classes:
unlike a processor in the list they do not leak into an assistant's generation, cost no signature inspection, and see
logits that nobody has changed.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteriaList

from ..._internal.safety import report_internal_error, shielded
from ..isolation.dispatch_modes import unseen
from ..session.call_facts import Call
from ..session.session import Session
from ..session.steering import with_forced, with_temperatures
from ..session.stopping import CancelledCriterion, PolicyCriterion
from .thread_state import thread


class HookedLogits(LogitsProcessorList):
    """The call's logits processors; the raw logits pass by the session first."""

    session: Session | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Process logits [sequences, vocabulary] as transformers' own list does."""
        session = self.session
        try:
            if session is not None and session.active:
                session.on_logits(input_ids, scores, edited=len(self) > 0)
        except Exception as error:
            report_internal_error("capture.logits", error)
        sampling = None if session is None else session.sampling
        if session is None or sampling is None:
            processed: Tensor = super().__call__(input_ids, scores, **kwargs)
            return processed
        processors = list(self)
        with shielded("capture.temperatures"):
            processors = with_temperatures(processors, scores, sampling, session.call.arguments.get("logits_processor"))
        processed = LogitsProcessorList(processors)(input_ids, scores, **kwargs)
        with shielded("capture.forced_tokens"):
            return with_forced(processed, sampling)
        return processed

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as transformers' own list: a session belongs to one call."""
        return LogitsProcessorList, (list(self),)


class HookedCriteria(StoppingCriteriaList):
    """The call's stopping criteria: the call gets their verdicts, and the session the chosen tokens after that.

    transformers' own method asks them. While it does, iteration yields each in a wrapper that records its verdict.
    """

    call: Call | None = None
    session: Session | None = None
    _verdicts: list[tuple[Any, Any]] | None = None
    """Criteria with their verdicts at the step under way; None between steps."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Judge the sequences [sequences, length] as transformers' own list does."""
        verdicts = self._verdicts = []
        try:
            done: Tensor = super().__call__(input_ids, scores, **kwargs)
        finally:
            self._verdicts = None
        call, session = self.call, self.session
        try:
            ends = None
            if session is not None and session.active:
                ends = session.on_tokens(input_ids, done)
            if ends is not None:
                verdicts.append((PolicyCriterion(), ends))
                done = done | ends
            if call is not None:
                if call.is_cancelled():
                    verdicts.append((CancelledCriterion(), True))
                    done = torch.ones_like(done)
                with unseen():
                    call.stops.take(input_ids, verdicts)
        except Exception as error:
            report_internal_error("capture.tokens", error)
        return done

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the criteria."""
        criteria, verdicts = super().__iter__(), self._verdicts
        return criteria if verdicts is None else map(functools.partial(functools.partial, _ask, verdicts), criteria)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as transformers' own list: a session belongs to one call."""
        return StoppingCriteriaList, (list(self),)


def _ask(verdicts: list[tuple[Any, Any]], criterion: Any, *args: Any, **kwargs: Any) -> Any:
    """Ask a criterion, and take note of its verdict."""
    verdict = criterion(*args, **kwargs)
    verdicts.append((criterion, verdict))
    return verdict


def hook_logits_processor(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._get_logits_processor`."""
    given = kwargs
    with shielded("capture.attach"):
        if thread.call is not None and thread.call.goes_on:
            given = thread.call.of_prompt(kwargs)
    processors = wrapped(*args, **given)
    with shielded("capture.attach"):
        call, session = thread.call, thread.session
        if call is None:
            return processors
        config = kwargs.get("generation_config", args[0] if args else None)
        prompt_length = kwargs.get("input_ids_seq_length", args[1] if len(args) > 1 else None)
        cache = _cache(kwargs.get("model_kwargs"))
        if session is None:
            call.resolved(config, prompt_length)
            return processors
        session.processors = processors
        wants = session.goes_on(cache) if call.goes_on else session.resolved(config, prompt_length, cache)
        if wants and type(processors) is LogitsProcessorList:
            hooked = HookedLogits(processors)
            hooked.session = session
            return hooked
    return processors


def _cache(model_kwargs: Any) -> Any:
    """Return the cache that transformers has prepared, or that the caller has given; None where there is none yet."""
    return model_kwargs.get("past_key_values") if isinstance(model_kwargs, dict) else None


def hook_stopping_criteria(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._get_stopping_criteria`."""
    call = session = None
    with shielded("capture.attach"):
        call, session = thread.call, thread.session
        if call is not None:
            call.stops.attached = True  # no loop runs before its criteria are made, also where that fails
    criteria = wrapped(*args, **kwargs)
    with shielded("capture.attach"):
        if call is not None:
            call.stops.attached = False
        if call is not None and type(criteria) is StoppingCriteriaList:
            call.stops.attach(criteria, beams=call.beams > 1, steered=session is not None and session.steered)
            hooked = HookedCriteria(criteria)
            hooked.call = call
            if session is not None and session.active:
                hooked.session = session
            return hooked
    return criteria


def hook_output(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._update_model_kwargs_for_generation`, which every loop calls after each forward pass."""
    with shielded("capture.output"):
        session = thread.session
        if session is not None and session.active:
            session.on_output(args[0] if args else kwargs.get("outputs"))
    return wrapped(*args, **kwargs)


def hook_running_beams(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._get_running_beams_for_next_iteration`, which chooses the beams that go on."""
    running = wrapped(*args, **kwargs)
    with shielded("capture.beams"):
        session = thread.session
        if session is not None and session.active:
            given = dict(zip(_CANDIDATES, args, strict=False)) | kwargs
            session.on_beams(given["topk_running_sequences"], given["topk_running_beam_indices"], running[2])
    return running


_CANDIDATES = ("topk_log_probs", "topk_running_sequences", "topk_running_beam_indices")


def hook_finished_beams(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._update_finished_beams`, which returns how long every finished beam is."""
    finished = wrapped(*args, **kwargs)
    with shielded("capture.beams"):
        call = thread.call
        if call is not None:
            _, _, call.beam_indices, _ = finished
    return finished

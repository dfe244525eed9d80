"""Where to listen in a generation loop.

Listening posts are made by the loop itself, through methods of `GenerationMixin` that are patched on the class:
`_get_logits_processor` returns a list whose call sees the raw logits first, `_get_stopping_criteria` one whose call
sees the chosen tokens. Both are subclasses of transformers' own list classes: unlike a processor in the list they do
not leak into an assistant's generation, cost no signature inspection, and see logits that nobody has changed.

"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteriaList

from ..safety import report_internal_error, shielded
from .listening import thread
from .session import Session


class TappedLogits(LogitsProcessorList):
    """The call's logits processors; the raw logits pass by the session first."""

    session: Session | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Process logits [sequences, vocabulary] as transformers' own list does."""
        session = self.session
        try:
            if session is not None and session.listening:
                session.on_logits(scores, edited=len(self) > 0)
        except Exception as error:
            report_internal_error("capture.logits", error)
        processed: Tensor = super().__call__(input_ids, scores, **kwargs)
        return processed

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as transformers' own list: a session belongs to one call."""
        return LogitsProcessorList, (list(self),)


class TappedCriteria(StoppingCriteriaList):
    """The call's stopping criteria; the chosen tokens pass by the session after them."""

    session: Session | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Judge the sequences [sequences, length] as transformers' own list does."""
        done: Tensor = super().__call__(input_ids, scores, **kwargs)
        session = self.session
        try:
            if session is not None and session.listening:
                session.on_tokens(input_ids, done)
        except Exception as error:
            report_internal_error("capture.tokens", error)
        return done

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as transformers' own list: a session belongs to one call."""
        return StoppingCriteriaList, (list(self),)


def tap_logits_processor(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._get_logits_processor`."""
    processors = wrapped(*args, **kwargs)
    call, session = thread.call, thread.session
    if call is None:
        return processors
    with shielded("capture.attach"):
        config = kwargs.get("generation_config", args[0] if args else None)
        prompt_length = kwargs.get("input_ids_seq_length", args[1] if len(args) > 1 else None)
        if session is None:
            call.resolved(config, prompt_length)
        elif session.resolved(config, prompt_length) and type(processors) is LogitsProcessorList:
            tapped = TappedLogits(processors)
            tapped.session = session
            return tapped
    return processors


def tap_stopping_criteria(wrapped: Callable[..., Any], _model: Any, args: Any, kwargs: Any) -> Any:
    """Wrap `GenerationMixin._get_stopping_criteria`."""
    criteria = wrapped(*args, **kwargs)
    session = thread.session
    with shielded("capture.attach"):
        if session is not None and session.listening and type(criteria) is StoppingCriteriaList:
            tapped = TappedCriteria(criteria)
            tapped.session = session
            return tapped
    return criteria

"""One call of generate() that a monitor makes: what it is asked for, and how it is carried out."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from ..instrumentation.call_context import prompt_hint, rag_context
from ..instrumentation.live_consumer import live_consumer
from ..instrumentation.rag import RAGContext
from .loaded_models import LoadedModels
from .patching import RecordedCalls, patched
from .prompts import needs_tokenizer, prompted
from .telemetry import CallTelemetry
from .watched_call import WatchedCall

Retrieved = RAGContext | Mapping[str, Any]

_USED_UP: Final = {
    "streamer": "its streamer has had the first run's tokens, which cannot be taken back",
    "past_key_values": "its cache has the first run's tokens in it",
    "cache_params": "its cache has the first run's tokens in it",
}
"""Keyword of generate() -> why a call that has it cannot be made again."""
_NEED_TOKENIZER: Final = ("stop_strings", "token_healing")
"""Settings of generate() for which it has to be given the tokenizer, too."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a call is asked for."""

    model: Any
    """A model, or its name."""
    prompt: Any
    """As `check_prompt` has let it pass."""
    tokenizer: Any
    """None: the one that is found for the model."""
    rag: RAGContext | None
    generation: Mapping[str, Any]
    """Keywords of generate()."""

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return the same with other keywords of generate()."""
        return replace(self, generation={**self.generation, **changes})

    def why_not_repeated(self) -> str | None:
        """Return why the call cannot be made again: what it uses up is the caller's; None where it can."""
        return next((why for name, why in _USED_UP.items() if self.generation.get(name) is not None), None)

    def carry_out(
        self, models: LoadedModels, telemetry: CallTelemetry, call: WatchedCall, is_cancelled: Callable[[], bool]
    ) -> Any:
        """Generate, watched; return what generate() returns, None where it is cancelled before that begins.

        Args:
            models: loads models and tokenizers.
            telemetry: with what the call is recorded.
            call: watches it.
            is_cancelled: asked at each step: whether it ends there.

        Raises:
            ValueError: if the model cannot be loaded, or there is no tokenizer for a prompt of text.
            Exception: whatever generate() raises.
        """
        model, known = models.model(self.model)
        tokenizer = known if self.tokenizer is None else self.tokenizer
        if tokenizer is None and needs_tokenizer(self.prompt):
            raise ValueError("prompt: there is no tokenizer for text and messages; give tokenizer=, or token ids")
        ready = prompted(self.prompt, model, tokenizer)
        call.decode_with(tokenizer)
        if is_cancelled():
            return None
        consumer = call.consumer(RecordedCalls(telemetry, tokenizer), is_cancelled)
        keywords = {**ready.inputs, **self.generation}
        if tokenizer is not None and _reads_text(model, self.generation):
            keywords["tokenizer"] = tokenizer
        with patched(), prompt_hint(ready.hint), retrieved(self.rag), live_consumer(consumer):
            return model.generate(**keywords)


def _reads_text(model: Any, generation: Mapping[str, Any]) -> bool:
    """Return whether generate() needs the tokenizer for a setting, wherever that comes from."""
    configs = generation.get("generation_config"), getattr(model, "generation_config", None)
    return any(
        generation.get(name) or any(getattr(config, name, None) for config in configs) for name in _NEED_TOKENIZER
    )


def retrieved(rag: RAGContext | None) -> AbstractContextManager[None]:
    """Return a block in which it is known what was retrieved; None: nothing is said of that."""
    return nullcontext() if rag is None else rag_context(rag)


def as_rag_context(given: Retrieved | None) -> RAGContext | None:
    """Return what was retrieved, given as such or as a mapping with the same names.

    Raises:
        ValueError: if it cannot be taken; the message names the field.
        TypeError: for anything else.
    """
    if given is None or isinstance(given, RAGContext):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"rag_context: give a RAGContext or a mapping with its fields, not {type(given).__name__}")
    try:
        return RAGContext.from_json(json.dumps(dict(given)))
    except TypeError as error:
        raise ValueError(f"rag_context: expected what JSON can hold ({error})") from None
    except ValueError as error:
        raise ValueError(f"rag_context: {error}") from None

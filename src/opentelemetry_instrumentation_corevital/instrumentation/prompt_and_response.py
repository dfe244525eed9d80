"""A call's prompt and response text: prompts for judgements that hash them, and messages with content switched on."""

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import semconv
from .._internal.prompt import Prompt
from .._internal.safety import shielded
from ..config import Settings
from ..emission.content import Messages, messages
from ..presentation.token_strip import SequencePieces
from ..run import Run
from .call_context import PromptHint
from .tokenizer_calls import packed
from .tokenizer_identity import tokenizer_identity

if TYPE_CHECKING:
    from ..capture.session.call_facts import Call


class PromptAndResponse:
    """Finds the prompt and response text of a call's runs: the caller's own, or decoded by its tokenizer."""

    def __init__(self, settings: Settings, hint: PromptHint, call: "Call") -> None:
        self._settings = settings
        self._hint = hint
        self._call = call

    def give_prompts(self, runs: Sequence[Run]) -> None:
        """Give the runs their prompts: the text as it was told or remembered, else decoded, else the tokens."""
        known = _weakly(self._tokenizer())
        for run in runs:
            run.tokenizer = known
        if self._settings.prompt_hash == "off" and not self._settings.content:
            return
        prompts = self._prompts(len(runs))
        if prompts and not len(runs) % len(prompts):
            for run in runs:
                run.prompt = prompts[run.sequence_index * len(prompts) // len(runs)]

    def _prompts(self, runs: int) -> list[Prompt]:
        """Return each prompt of a call with so many runs; nothing where neither texts nor tokens are known."""
        told = self._hint.text
        known = (told,) if isinstance(told, str) else told or ()
        if known and not runs % len(known) and None not in known:
            return [Prompt(text, "text", self._hint.chat) for text in known]
        rows = self._call.prompt_tokens() or []
        if len(known) != len(rows):
            known = (None,) * len(rows)
        return [
            self._found(tokens) if text is None else Prompt(text, "text", self._hint.chat)
            for text, tokens in zip(known, rows, strict=True)
        ]

    def _found(self, tokens: Sequence[int]) -> Prompt:
        """Return a prompt of which only the tokens are known: their text, if something decodes them to any."""
        tokenizer = self._tokenizer()
        if tokenizer is not None:
            with shielded("prompt.decode"):
                text = tokenizer.decode(tokens, skip_special_tokens=True)
                if text.strip():
                    return Prompt(text, "decoded", self._hint.chat)
        identity = tokenizer_identity(self._call.model).encode() + b"\0" + packed(tokens)
        return Prompt(source="tokens", chat=self._hint.chat, identity=identity)

    def messages(self, run: Run) -> Messages:
        """Return the prompt's and the answer's text, if content is switched on."""
        if not self._settings.content:
            return {}
        tokenizer = self._tokenizer()
        answer = None
        if tokenizer is None:
            run.absent[semconv.GEN_AI_OUTPUT_MESSAGES] = (
                "no tokenizer is known: make the prompt's tokens while CoreVital is on, or call generate(tokenizer=...)"
            )
        elif run.output_tokens is None:
            run.absent[semconv.GEN_AI_OUTPUT_MESSAGES] = run.absent["output_tokens"]
        else:
            answer = tokenizer.decode(run.tokens.tolist(), skip_special_tokens=True)
        return messages(run, answer)

    def pieces(self) -> SequencePieces | None:
        """Return what makes text of tokens as they come; None where log events have no content, or nothing decodes."""
        tokenizer = self._tokenizer() if self._settings.content_in_events else None
        return None if tokenizer is None else SequencePieces(tokenizer)

    def _tokenizer(self) -> Any:
        return told_tokenizer(self._hint, self._call)


def told_tokenizer(hint: PromptHint, call: "Call") -> Any:
    """Return the tokenizer that a call's caller has told, or given to it; None where there is none."""
    for owner in (hint.tokenizer, call.arguments.get("tokenizer")):
        if owner is not None:
            return owner
    return getattr(call.arguments.get("streamer"), "tokenizer", None)


def _weakly(tokenizer: Any) -> "weakref.ref[Any] | None":
    try:
        return None if tokenizer is None else weakref.ref(tokenizer)
    except TypeError:  # of a class without weak references: it is not known later
        return None

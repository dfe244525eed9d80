"""A call's prompt and response text: prompts for judgements that hash them, and messages with content switched on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import semconv
from ..config import Settings
from ..emission.content import Messages, messages
from ..presentation.token_strip import SequencePieces
from ..run import Prompt, Run
from .call_context import PromptHint

if TYPE_CHECKING:
    from ..capture.session.call_facts import Call


class PromptAndResponse:
    """Finds the prompt and response text of a call's runs: the caller's own, or decoded by its tokenizer."""

    def __init__(self, settings: Settings, hint: PromptHint, call: "Call") -> None:
        self._settings = settings
        self._hint = hint
        self._call = call

    def give_prompts(self, runs: Sequence[Run]) -> None:
        """Give the runs their prompts' text: as the caller told it, else decoded, else not at all."""
        if self._settings.prompt_hash == "off" and not self._settings.content:
            return
        told = self._hint.text
        given = (told,) if isinstance(told, str) else told
        if given and not len(runs) % len(given):
            for run in runs:
                run.prompt = Prompt(given[_prompt_of(run, runs, given)], "text", self._hint.chat)
            return
        tokenizer, prompts = self._tokenizer(), None
        if tokenizer is not None:
            prompts = self._call.prompt_tokens()
        if prompts is None or len(runs) % len(prompts):
            return
        decoded = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in prompts]
        for run in runs:
            run.prompt = Prompt(decoded[_prompt_of(run, runs, decoded)], "decoded", self._hint.chat)

    def messages(self, run: Run) -> Messages:
        """Return the prompt's and the answer's text, if content is switched on."""
        if not self._settings.content:
            return {}
        tokenizer = self._tokenizer()
        answer = None
        if tokenizer is None:
            run.absent[semconv.GEN_AI_OUTPUT_MESSAGES] = "no tokenizer is known"
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
        for owner in (self._hint.tokenizer, self._call.arguments.get("tokenizer")):
            if owner is not None:
                return owner
        return getattr(self._call.arguments.get("streamer"), "tokenizer", None)


def _prompt_of(run: Run, runs: Sequence[Run], prompts: Sequence[str]) -> int:
    return run.sequence_index * len(prompts) // len(runs)

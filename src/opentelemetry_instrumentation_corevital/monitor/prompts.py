"""A prompt as its user has it, made what `generate()` takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..instrumentation.call_context import PromptHint
from ..instrumentation.chats import last_user_text

_OF_TEXT: Final = ("input_ids", "attention_mask")
_FORMS: Final = (
    "give text, a list of texts, messages (dictionaries with `role` and `content`), a tensor of token ids, or what a "
    "tokenizer returns with return_tensors='pt'"
)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What generate() gets, and what is known of it beside its token ids."""

    inputs: Mapping[str, Any]
    """Keywords of generate()."""
    hint: PromptHint


def check_prompt(prompt: Any) -> None:
    """See to it that a prompt is of a form that can be taken.

    Raises:
        TypeError: if it is not; the message names the forms.
        ValueError: if it is empty.
    """
    if prompt is None or _is_tensor(prompt) or (isinstance(prompt, Mapping) and all(map(_is_tensor, prompt.values()))):
        return
    if isinstance(prompt, Mapping) and ("role" in prompt or "content" in prompt):
        raise TypeError(f"prompt: messages are a list, also where there is only one; {_FORMS}")
    if not (_is_text(prompt) or _is_chat(prompt)):
        shown = "a mapping whose values are no tensors" if isinstance(prompt, Mapping) else type(prompt).__name__
        raise TypeError(f"prompt: {shown} cannot be taken; {_FORMS}")
    if (nameless := _without_role(prompt)) is not None:
        raise TypeError(
            f"prompt: a message has no `role`, only {', '.join(map(repr, nameless)) or 'nothing'}; {_FORMS}"
        )


def needs_tokenizer(prompt: Any) -> bool:
    """Return whether token ids have yet to be made of a prompt."""
    return prompt is not None and not _is_tensor(prompt) and not isinstance(prompt, Mapping)


def prompted(prompt: Any, model: Any, tokenizer: Any) -> Prompted:
    """Return a prompt as generate() takes it, on the model's device.

    Text is taken as it is; messages go through the tokenizer's chat template. Several texts are padded on the left.

    Args:
        prompt: that `check_prompt` has let pass; None: the caller's keywords have it.
        model: that generates.
        tokenizer: of the model; None only where `needs_tokenizer` says so.

    Raises:
        ValueError: for a prompt without tokens, or what the tokenizer refuses.
    """
    if prompt is None:
        return Prompted({}, PromptHint(tokenizer=tokenizer))
    if _is_tensor(prompt):
        ids = prompt if prompt.ndim > 1 else prompt[None]
        return Prompted({"inputs": _moved(ids, model)}, PromptHint(tokenizer=tokenizer))
    if isinstance(prompt, Mapping):
        given = {name: _moved(value, model) for name, value in prompt.items()}
        return Prompted(given, PromptHint(tokenizer=tokenizer))
    several = not isinstance(prompt, str) and not isinstance(prompt[0], Mapping)
    padding = {"padding": True, "padding_side": "left"} if several else {}
    if _is_text(prompt):
        encoded = tokenizer(prompt if isinstance(prompt, str) else list(prompt), return_tensors="pt", **padding)
        text, chat = _asked(prompt), False
    else:
        encoded = tokenizer.apply_chat_template(
            list(prompt),
            add_generation_prompt=True,
            tokenize=True,
            return_tensors="pt",
            return_dict=True,
            tokenizer_kwargs={"padding_side": "left"} if several else {},
            padding=several,
        )
        text, chat = _last_asked(prompt if several else [prompt]), True
    if encoded["input_ids"].shape[1] == 0:
        raise ValueError("prompt: it has no tokens")
    inputs = {name: _moved(encoded[name], model) for name in _OF_TEXT if name in encoded}
    return Prompted(inputs, PromptHint(text=text, chat=chat, tokenizer=tokenizer))


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "ndim") and hasattr(value, "device") and callable(getattr(value, "to", None))


def _is_text(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    return isinstance(prompt, list | tuple) and bool(prompt) and all(isinstance(each, str) for each in prompt)


def _is_chat(prompt: Any) -> bool:
    """Whether a prompt is messages, or several lists of messages."""
    if not isinstance(prompt, list | tuple) or not prompt:
        return False
    if all(isinstance(each, Mapping) for each in prompt):
        return True
    return all(isinstance(each, list | tuple) and each and _is_chat(each) for each in prompt)


def _without_role(prompt: Any) -> Mapping[Any, Any] | None:
    """Return the first message without a role; None: each has one, or the prompt is text."""
    if isinstance(prompt, Mapping):
        return None if "role" in prompt else prompt
    if isinstance(prompt, str):
        return None
    return next((found for each in prompt if (found := _without_role(each)) is not None), None)


def _asked(prompt: str | Sequence[str]) -> str | tuple[str, ...] | None:
    return prompt if isinstance(prompt, str) else tuple(prompt)


def _last_asked(chats: Sequence[Any]) -> str | tuple[str, ...] | None:
    found = [last_user_text(chat) for chat in chats]
    known = tuple(text for text in found if text is not None)
    if len(known) < len(found):
        return None
    return known if len(known) > 1 else known[0]


def _moved(value: Any, model: Any) -> Any:
    device = getattr(model, "device", None)
    return value if device is None else value.to(device)

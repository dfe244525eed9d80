"""Taking tokens back: whether a call allows it, and with what arguments generate() goes on behind those that are kept.

A loop that has ended for a rollback is followed by another one of the same call, whose ids are the prompt and the
tokens that are kept. Its cache is the loop's own, cropped, where every layer of it can be; else it is computed anew.
"""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from ..._internal.intervention import RollbackMode
from ..isolation.dispatch_modes import unseen
from .call_facts import Call
from .decoding_strategies import STEPWISE_STRATEGIES
from .session import Session

ROLLBACK: Final = "rollback"
"""Method of a caller's streamer, logits processor or stopping criterion: gets how many new tokens are kept."""

_PROCESSORS: Final = "transformers.generation.logits_process"
_STATEFUL: Final = ("UnbatchedClassifierFreeGuidanceLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor")
"""Those of transformers' own logits processors that remember the tokens that they have seen."""
_CACHES: Final = "transformers.cache_utils"
_OF_EVERY_STEP: Final = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
_BY_POSITION: Final = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids")
"""Arguments that have a column for each token."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """How a call goes on."""

    arguments: Mapping[str, Any]
    """Keywords of generate()."""
    mode: RollbackMode


# --- whether it can be ------------------------------------------------------------------------------------------------


def why_not(session: Session) -> str | None:
    """Return why no tokens of a call can be taken back; None where they can. Asked before the first step."""
    return _why_not_by_arguments(session.call) or _why_not_by_callers_objects(session)


def _why_not_by_arguments(call: Call) -> str | None:
    config, prompt = call.config, call.prompt_ids()
    of_every_step = config.return_dict_in_generate and any(getattr(config, name, None) for name in _OF_EVERY_STEP)
    reasons = {
        "the model is an encoder-decoder": getattr(getattr(call.model, "config", None), "is_encoder_decoder", False),
        "the prompt is embeddings": call.arguments.get("inputs_embeds") is not None,
        "the call has several sequences": call.returned > 1 or (prompt is not None and len(prompt) > 1),
        "the result has scores, logits, hidden states or attentions of every step": of_every_step,
        "the ranks of a distributed run generate together": call.arguments.get("synced_gpus") or _ranks() > 1,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _why_not_by_callers_objects(session: Session) -> str | None:
    call, streamer = session.call, session.call.arguments.get("streamer")
    if streamer is not None and not callable(getattr(streamer, ROLLBACK, None)):
        return "the streamer has no method rollback(to_step)"
    stateful = next((each for each in session.processors if _may_keep_state(each)), None)
    if stateful is not None:
        return f"the logits processor {type(stateful).__name__} may keep state and has no method rollback(to_step)"
    if _given_cache(call) is not None and not _given_cache_can_be_cut(call):
        return "the caller's cache cannot be cut back"
    return None


def why_not_changed(call: Call, changes: Mapping[str, Any]) -> str | None:
    """Return why a call cannot go on with other settings; None where it can. No hook may report meanwhile."""
    config, model = copy.deepcopy(call.config), call.model
    host = torch.device("cpu")  # a copy to the model's own device would wait for it
    try:
        others = config.update(**changes)
        model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device=host)
        model._get_logits_processor(config, call.prompt_length, call.prompt_ids(), device=host)
        if "stop_strings" not in changes:
            config.stop_strings = None  # the call's own were accepted, and take long to make
        model._get_stopping_criteria(config, [], tokenizer=call.arguments.get("tokenizer"))
    except Exception as error:
        return f"transformers refuses its changes ({type(error).__name__})"
    unknown = sorted(set(others) - set(inspect.signature(type(call.model).generate).parameters))
    if unknown:
        return f"generate() has no keyword {unknown[0]}"
    mode = config.get_generation_mode(None)
    strategy = str(getattr(mode, "value", mode))
    return None if strategy in STEPWISE_STRATEGIES else f"its changes ask for decoding strategy {strategy}"


def _may_keep_state(processor: Any) -> bool:
    kind = type(processor)
    own = kind.__module__ == _PROCESSORS and kind.__name__ not in _STATEFUL
    return not own and not callable(getattr(processor, ROLLBACK, None))


def _ranks() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _given_cache(call: Call) -> Any:
    arguments = call.arguments
    return next(
        (arguments[name] for name in ("past_key_values", "cache_params") if arguments.get(name) is not None), None
    )


def _given_cache_can_be_cut(call: Call) -> bool:
    """Whether the cache that a caller has given can be cropped at any step, and the ids are all that is in it."""
    cache, ids, mask = _given_cache(call), call.prompt_ids(), call.arguments.get("attention_mask")
    whole = ids is not None and (mask is None or getattr(mask, "shape", None) == ids.shape)
    longest = call.config.max_length or 0
    return whole and _can_crop(cache, longest) and not _other_tensors(call)


# --- how it goes on ---------------------------------------------------------------------------------------------------


def continuation(session: Session, result: Any, kept: int, changes: Mapping[str, Any], seconds: float) -> Continuation:
    """Return how a call of one sequence goes on behind some of its tokens; its cache is cropped here, if it can be.

    Args:
        session: of the call.
        result: what generate() has returned, the tokens to take back included.
        kept: how many new tokens are kept.
        changes: keywords of generate() that differ from now on.
        seconds: since the call began.

    Raises:
        ValueError: if it cannot go on.
    """
    call = session.call
    ids, start = result if isinstance(result, Tensor) else result["sequences"], call.prompt_length
    if start is None or ids.ndim != 2 or len(ids) != 1 or ids.shape[1] <= start + kept:
        raise ValueError("the result is not the prompt and the tokens behind it")
    ids = ids[:, : start + kept]
    config, others = _changed(call, changes)
    _use_up(config, call, ids.shape[1], seconds)
    arguments = _arguments_but_for_settings(call) | others
    arguments |= _by_position(call, ids, kept)
    name = "input_ids" if isinstance(arguments.get("input_ids"), Tensor) else "inputs"
    arguments |= {name: ids, "generation_config": config}
    if _has_model_defaults(call):
        arguments["use_model_defaults"] = False  # transformers 4 would put the model's in the place of some of ours
    with unseen():
        cropped = _crop(session, ids.shape[1] - 1)
    if cropped:
        # What comes in is one token: in transformers 4 chunks would begin at the prompt's start.
        config.cache_implementation = config.prefill_chunk_size = None
        arguments["past_key_values"] = session.cache
    elif _given_cache(call) is not None:
        raise ValueError("the caller's cache cannot be cut back")
    return Continuation(arguments, "crop" if cropped else "prefill")


def _changed(call: Call, changes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the call's generation config with changes, and those of them that are none of it."""
    config = copy.deepcopy(call.config)
    others = config.update(**{name: value for name, value in changes.items() if value is not None})
    # None would be filled in from the model's own config: as a keyword it stays.
    return config, others | {name: None for name, value in changes.items() if value is None}


def _use_up(config: Any, call: Call, columns: int, seconds: float) -> None:
    """Take what is used up off the limits of a resolved generation config."""
    before = call.config
    if before.max_new_tokens is not None or _has_model_defaults(call):
        config.max_new_tokens, config.max_length = before.max_length - columns, None
    if before.min_new_tokens is not None:
        config.min_new_tokens = max(0, before.min_new_tokens + (call.prompt_length or 0) - columns)
    if before.max_time is not None:
        config.max_time = max(0.0, before.max_time - seconds)
    config.token_healing = False  # done with the prompt
    pad = getattr(before, "_pad_token_tensor", None)
    if config.pad_token_id is None and pad is not None:
        config.pad_token_id = int(pad)


def _has_model_defaults(call: Call) -> bool:
    """Whether generate() can be told to leave a generation config as it is: in transformers 4 it has to be."""
    return "use_model_defaults" in inspect.signature(call.model._prepare_generation_config).parameters


def _arguments_but_for_settings(call: Call) -> dict[str, Any]:
    """Return the caller's arguments without those that the resolved generation config has."""
    named = inspect.signature(type(call.model).generate).parameters
    return {
        name: value
        for name, value in call.arguments.items()
        if value is not None and (name in named or not hasattr(call.config, name))
    }


def _by_position(call: Call, ids: Tensor, kept: int) -> dict[str, Tensor]:
    """Return the arguments that have a column for each token, with columns for the tokens that are kept."""
    found: dict[str, Tensor] = {}
    mask = call.prompt_mask()
    if mask is None and "attention_mask" in inspect.signature(call.model.forward).parameters:
        found["attention_mask"] = torch.ones_like(
            ids
        )  # else padding among the new tokens would be taken for a prompt's
    elif mask is not None:
        found["attention_mask"] = torch.cat((mask, mask.new_ones((len(mask), kept))), -1)
    for name in _BY_POSITION[1:]:
        value = call.arguments.get(name)
        if isinstance(value, Tensor):
            found[name] = torch.cat((value, _more(name, value, kept)), -1)
    return found


def _more(name: str, value: Tensor, kept: int) -> Tensor:
    """Return further columns, as `_update_model_kwargs_for_generation` makes them."""
    last = value[..., -1:]
    if name == "position_ids":
        return last + torch.arange(1, kept + 1, dtype=value.dtype, device=value.device)
    shape = (*value.shape[:-1], kept)
    return last.expand(shape) if name == "token_type_ids" else last.new_zeros(shape)


# --- the cache --------------------------------------------------------------------------------------------------------


def _crop(session: Session, positions: int) -> bool:
    """Crop the loop's cache to so many positions; return whether that could be done."""
    call, cache = session.call, session.cache
    if cache is None or positions < 1 or (_given_cache(call) is None and not _may_be_given(call)):
        return False
    if not _can_crop(cache):
        return False
    surplus = int(cache.get_seq_length()) - positions
    if surplus < 1:
        return False
    cache.crop(-surplus)
    return True


def _may_be_given(call: Call) -> bool:
    """Whether generate() takes a cache in a call like this one, and nothing but the ids tells what is in it."""
    default = getattr(getattr(call.model, "generation_config", None), "cache_implementation", None)
    # What there is beside the ids, such as an image, belongs to the prompt's positions: it would be taken in once more.
    return default in (None, "hybrid") and not _other_tensors(call)


def _other_tensors(call: Call) -> bool:
    known = ("inputs", "input_ids", *_BY_POSITION)
    return any(isinstance(value, Tensor) for name, value in call.arguments.items() if name not in known)


def _can_crop(cache: Any, longest: int | None = None) -> bool:
    """Whether every layer of a cache can be cropped; where `longest` is given, also when it has so many positions."""
    kind = type(cache)
    if kind.__name__ != "DynamicCache" or kind.__module__ != _CACHES or getattr(cache, "offloading", False):
        return False
    return all(_can_crop_layer(layer, longest) for layer in cache.layers)


def _can_crop_layer(layer: Any, longest: int | None) -> bool:
    kind = type(layer)
    if kind.__module__ != _CACHES or kind.__name__ not in ("DynamicLayer", "DynamicSlidingWindowLayer"):
        return False
    positions = layer.get_seq_length() if longest is None else longest
    # What has left the window is lost.
    return kind.__name__ == "DynamicLayer" or bool(positions < layer.sliding_window)

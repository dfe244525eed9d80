"""One outermost `generate()` call: what its arguments, its resolved generation config and its result say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..run import Decoding, FinishReason
from ..values import number, texts, whole

# The first parameters of GenerationMixin.generate; the same from transformers 4.57 to 5.
_POSITIONAL = (
    "inputs",
    "generation_config",
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "streamer",
)


class Call:
    """The facts of one call. Holds references to the caller's arguments until the call is over."""

    def __init__(self, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.arguments: dict[str, Any] = {**dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
        self.model = model
        self.config: Any = None
        """The generation config as transformers resolved it; None until then."""
        self.prompt_length: int | None = None
        """Columns of the result that are prompt; None until transformers has counted them."""

    def resolved(self, generation_config: Any, prompt_length: int | None) -> None:
        """Take what transformers hands to `_get_logits_processor`."""
        self.config = generation_config
        self.prompt_length = prompt_length

    def strategy(self) -> str | None:
        """Return transformers' generation mode, e.g. `greedy_search`; None before the config is resolved."""
        if self.config is None:
            return None
        mode = self.config.get_generation_mode(self.arguments.get("assistant_model"))
        return str(getattr(mode, "value", mode))

    def keeps_keys(self) -> bool:
        """Whether the call's cache holds every layer's keys as attention gets them, so that a reference costs nothing.

        A quantised cache makes them anew for every layer, an offloaded one fetches them from the host.
        """
        if not self._option(self.config, "use_cache"):
            return False
        given = self.arguments.get("past_key_values")
        if given is not None:
            caches = [getattr(given, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
            return all(_holds_keys(cache) for cache in (caches if None not in caches else [given]))
        named = self._option(self.config, "cache_implementation")
        return named is None or not ("quantized" in named or "offloaded" in named)

    def decoding(self, seed: int | None = None) -> Decoding:
        """Describe how the call decodes; falls back to the arguments when the call failed early."""
        config = self.config or self.arguments.get("generation_config")
        sampling = bool(self._option(config, "do_sample"))
        return Decoding(
            strategy=self.strategy(),
            max_new_tokens=self.max_new_tokens(),
            temperature=number(self._option(config, "temperature")) if sampling else None,
            top_p=number(self._option(config, "top_p")) if sampling else None,
            top_k=whole(self._option(config, "top_k")) if sampling else None,
            num_return_sequences=whole(self._option(config, "num_return_sequences")) or 1,
            num_beams=whole(self._option(config, "num_beams")) or 1,
            repetition_penalty=number(self._option(config, "repetition_penalty")),
            stop_strings=texts(self._option(config, "stop_strings")),
            seed=whole(seed),
        )

    def _option(self, config: Any, name: str) -> Any:
        if self.config is None and self.arguments.get(name) is not None:
            return self.arguments[name]
        return getattr(config, name, None)

    def max_new_tokens(self) -> int | None:
        """Return the largest number of new tokens that the call allows a sequence."""
        if self.config is None or self.prompt_length is None:
            return whole(self.arguments.get("max_new_tokens"))
        longest = whole(self.config.max_length)
        return None if longest is None else longest - self.prompt_length

    def eos_tokens(self) -> frozenset[int]:
        """Return the token ids that end a sequence."""
        return _token_set(getattr(self.config, "eos_token_id", None))

    def prompt_tokens(self) -> list[list[int]] | None:
        """Return each prompt's token ids without padding; None where the prompt has no token ids.

        Copies the prompt to the host: call it once the run is over.
        """
        ids = self._input_ids()
        if ids is None:
            return None
        mask = self._mask(ids)
        if mask is None:
            return [list(map(int, row)) for row in ids.tolist()]
        return [
            [int(token) for token, keep in zip(row, kept, strict=True) if keep]
            for row, kept in zip(ids.tolist(), mask.tolist(), strict=True)
        ]

    def input_token_counts(self) -> list[int] | None:
        """Return the number of tokens of each prompt without padding, exactly; None where it cannot be told."""
        ids = self._input_ids()
        if ids is not None:
            mask = self._mask(ids)
            return [ids.shape[1]] * ids.shape[0] if mask is None else [int(n) for n in mask.sum(-1).tolist()]
        embeds = self.arguments.get("inputs_embeds")
        if isinstance(embeds, Tensor) and embeds.ndim == 3:
            mask = self.arguments.get("attention_mask")
            if isinstance(mask, Tensor) and mask.shape == embeds.shape[:2]:
                return [int(n) for n in (mask != 0).sum(-1).tolist()]
            return [embeds.shape[1]] * embeds.shape[0]
        nothing = not any(isinstance(self.arguments.get(name), Tensor) for name in ("inputs", "input_ids"))
        decoder_only = not getattr(getattr(self.model, "config", None), "is_encoder_decoder", False)
        if nothing and decoder_only and self.prompt_length:
            return [self.prompt_length]  # the begin token, which transformers puts where no prompt is
        return None

    def _input_ids(self) -> Tensor | None:
        for name in ("inputs", "input_ids"):
            value = self.arguments.get(name)
            if isinstance(value, Tensor) and value.ndim == 2 and not value.is_floating_point():
                return value
        return None

    def _mask(self, ids: Tensor) -> Tensor | None:
        """Return which of the prompt's ids are not padding; None when all are real."""
        mask = self.arguments.get("attention_mask")
        if isinstance(mask, Tensor) and mask.shape == ids.shape:
            return mask != 0
        if mask is not None:
            return None
        # The rule by which transformers infers a missing mask (_prepare_attention_mask_for_generation).
        pad = self.pad_token()
        if pad is None or pad in self.eos_tokens():
            return None
        return ids != pad

    def pad_token(self) -> int | None:
        """Return the padding token's id, where there is one."""
        return whole(getattr(self.config, "pad_token_id", None))

    def sequences(self, result: Any) -> NDArray[np.int64] | None:
        """Return the result's token ids [sequences, prompt + new] on the host; None if it is something else."""
        ids = result if isinstance(result, Tensor) else getattr(result, "sequences", None)
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
            return None
        array: NDArray[np.int64] = ids.detach().to("cpu", torch.int64).numpy()
        return array

    def new_token_counts(self, sequences: NDArray[np.int64]) -> list[int]:
        """Return how many tokens each row of a result generated: up to its end token, padding not counted."""
        generated = sequences[:, self.prompt_length or 0 :]
        ends = np.isin(generated, list(self.eos_tokens()))
        counts = np.where(ends.any(1), ends.argmax(1) + 1, generated.shape[1])
        pad = self.pad_token()
        if pad is not None and len(generated) > 1:
            # A row that a criterion other than the end token stopped is filled up with padding.
            for row in np.flatnonzero(~ends.any(1)):
                real = np.flatnonzero(generated[row] != pad)
                counts[row] = real[-1] + 1 if real.size else 0
        return [int(count) for count in counts]

    def usage(self, result: Any) -> tuple[int | None, int | None]:
        """Return the call's input and output tokens without padding, each None where it cannot be told exactly."""
        counts = self.input_token_counts()
        sequences = self.sequences(result) if self.prompt_length is not None else None
        return (
            None if counts is None else sum(counts),
            None if sequences is None else sum(self.new_token_counts(sequences)),
        )

    def finish_reason(self, tokens: NDArray[Any]) -> FinishReason | None:
        """Tell why a sequence ended, from its tokens."""
        if len(tokens) and int(tokens[-1]) in self.eos_tokens():
            return "stop"
        limit = self.max_new_tokens()
        if limit is None:
            return None
        # Short of the limit without an end token: a stop string or another criterion ended it, or the clock.
        if len(tokens) < limit and getattr(self.config, "max_time", None) is None:
            return "stop"
        return "length"


def _token_set(value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    if isinstance(value, Tensor):
        value = value.tolist()
    return frozenset(int(token) for token in (value if isinstance(value, list | tuple | set) else [value]))


def _holds_keys(cache: Any) -> bool:
    layers = getattr(cache, "layers", None) or [cache]
    kinds = {type(layer).__name__ for layer in (cache, *layers)}
    return not getattr(cache, "offloading", False) and not any("Quant" in kind or "Offload" in kind for kind in kinds)

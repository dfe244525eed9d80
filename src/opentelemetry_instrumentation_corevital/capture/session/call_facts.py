"""One outermost `generate()` call: what its arguments, its resolved generation config and its result say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._internal.values import number, texts, whole
from ...run import Decoding, StopReason
from ..isolation.dispatch_modes import has_numbers
from ..model.caches import holds_keys
from ..row.ancestry import Ids
from .returned_tokens import new_tokens, token_ids
from .stopping import Stops, reason_of_error, token_set

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


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Generated:
    """What a call generated."""

    tokens: Ids
    """[sequences, most of them], each followed by padding."""
    counts: Sequence[int | None]
    """Tokens of each sequence; None where its end cannot be told from padding."""
    reasons: Sequence[StopReason | None]
    """Why each ended; None where that cannot be told."""


class Call:
    """The facts of one call. Refers to the model and the caller's arguments until `release`."""

    def __init__(self, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.arguments: dict[str, Any] = {**dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
        self.model = model
        self.config: Any = None
        """The generation config as transformers resolved it; None until then."""
        self.prompt_length: int | None = None
        """Columns of the result that are prompt; None until transformers has counted them."""
        self.stops = Stops()
        """What the call's stopping criteria said."""
        self.beam_indices: Tensor | None = None
        """Beam search: [prompts, beams, steps], at least 0 where a finished beam has a token."""
        self.loop_prompts: Tensor | None = None
        """The ids [sequences, columns] that a loop of the caller's began with; None where it was not seen."""
        self.paged = self.arguments.get("cache_implementation") == "paged"
        """Whether transformers hands the call to continuous batching."""
        self.goes_on = False
        """Whether tokens were taken back, and another loop goes on behind the others."""
        self._delegated = False
        self.is_cancelled: Callable[[], bool] = _never
        """Tells at every step whether somebody has cancelled the call, so that all its sequences end there."""

    @property
    def custom(self) -> bool:
        """Whether another loop than transformers' own generates, which may return anything."""
        return self._delegated or self.paged or self.arguments.get("custom_generate") is not None

    def is_delegate(self, model: Any) -> bool:
        """Whether a generate() of `model` that begins inside this call is to do this call's work.

        It is where this one has prepared nothing yet: code from a repository calls `generate` with a loop of its own.
        """
        from_repository = isinstance(self.arguments.get("custom_generate"), str)
        if not from_repository or self.config is not None or model is not self.model:
            return False
        self._delegated = True
        return True

    def resolved(self, generation_config: Any, prompt_length: int | None) -> None:
        """Take what transformers hands to `_get_logits_processor`."""
        self.config = generation_config
        self.prompt_length = prompt_length

    def go_back(self) -> None:
        """Take note that another loop goes on behind tokens that were kept: they are no prompt."""
        self.goes_on = True
        self.stops.go_back()

    def of_prompt(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of `_get_logits_processor` with the call's prompt, where a loop goes on behind it.

        Some processors treat the prompt in a way of its own: tokens that were kept are none of it.
        """
        found = dict(given)
        if "input_ids_seq_length" in found:
            found["input_ids_seq_length"] = self.prompt_length
        if isinstance(found.get("encoder_input_ids"), Tensor):
            found["encoder_input_ids"] = found["encoder_input_ids"][:, : self.prompt_length]
        return found

    def chose_nothing(self) -> bool:
        """Whether it is certain that a call that failed had not chosen any token."""
        if self.config is None:
            return not self.custom or callable(self.arguments.get("custom_generate"))
        return not self.custom and self.stops.attached and not self.stops.steps

    def release(self) -> None:
        """Refer to nothing of the caller's any more: who has kept a part of the call keeps no model by it."""
        self.arguments, self.model, self.config = {}, None, None
        self.stops, self.beam_indices, self.loop_prompts = Stops(), None, None
        self.is_cancelled = _never

    def strategy(self) -> str | None:
        """Return transformers' generation mode, e.g. `greedy_search`; None before the config is resolved."""
        if self.config is None:
            return None
        mode = self.config.get_generation_mode(self.arguments.get("assistant_model"))
        return str(getattr(mode, "value", mode))

    def keeps_keys(self, cache: Any) -> bool:
        """Whether the call's cache holds every layer's keys as attention gets them, so that a reference costs nothing.

        Args:
            cache: that transformers has prepared; None where the model makes one by itself.
        """
        # A loop of the caller's own may use another cache than that.
        return self.arguments.get("custom_generate") is None and holds_keys(cache)

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
            return whole(self._setting("max_new_tokens"))
        longest = whole(self.config.max_length)
        return None if longest is None else longest - self.prompt_length

    def eos_tokens(self) -> frozenset[int]:
        """Return the token ids that end a sequence."""
        return self.stops.end_tokens() if self.stops.attached else token_set(self._setting("eos_token_id"))

    def prompt_tokens(self) -> list[list[int]] | None:
        """Return each prompt's token ids without padding; None where the prompt has no token ids.

        Copies the prompt to the host: call it once the run is over.
        """
        ids = self.prompt_ids()
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
        ids = self.prompt_ids()
        if ids is not None:
            mask = self._mask(ids)
            return [ids.shape[1]] * ids.shape[0] if mask is None else [int(n) for n in mask.sum(-1).tolist()]
        embeds = self.arguments.get("inputs_embeds")
        if isinstance(embeds, Tensor) and embeds.ndim == 3 and has_numbers(embeds):
            mask = self.arguments.get("attention_mask")
            if isinstance(mask, Tensor) and mask.shape == embeds.shape[:2]:
                return [int(n) for n in (mask != 0).sum(-1).tolist()]
            return [embeds.shape[1]] * embeds.shape[0]
        nothing = not any(isinstance(self.arguments.get(name), Tensor) for name in ("inputs", "input_ids"))
        decoder_only = not getattr(getattr(self.model, "config", None), "is_encoder_decoder", False)
        if nothing and decoder_only and self.prompt_length:
            return [self.prompt_length]  # the begin token, which transformers puts where no prompt is
        return None

    def prompt_mask(self) -> Tensor | None:
        """Return which ids of the prompts are not padding, 0 or 1 [prompts, columns]; None where all are real."""
        ids = self.prompt_ids()
        given, mask = self.arguments.get("attention_mask"), None if ids is None else self._mask(ids)
        if isinstance(given, Tensor):
            return given
        return None if ids is None or mask is None else mask.to(ids.dtype)

    def prompt_ids(self) -> Tensor | None:
        """Return the prompts' ids [prompts, columns] as they were given; None where they are none."""
        for name in ("inputs", "input_ids"):
            value = self.arguments.get(name)
            if isinstance(value, Tensor) and not value.is_floating_point() and has_numbers(value):
                if self.paged and value.ndim == 1:
                    return value[None]
                if value.ndim == 2:
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
        return whole(self._setting("pad_token_id"))

    def _setting(self, name: str) -> Any:
        """Return a setting as transformers resolved it; of a call that it did not prepare, as it would have been."""
        if self.config is not None:
            return getattr(self.config, name, None)
        given = self._option(self.arguments.get("generation_config"), name)
        return getattr(getattr(self.model, "generation_config", None), name, None) if given is None else given

    def read(self, result: Any, observed: Ids | None = None) -> Generated | str:
        """Return what the call generated, or why that cannot be told.

        Args:
            result: what `generate()` returned.
            observed: the tokens [sequences, steps] that its loop was seen to choose; None where it was not.
        """
        ids = token_ids(result, paged=self.paged)
        if isinstance(ids, str):
            return ids
        if self.custom or self.prompt_length is None:
            found = new_tokens(ids, self._loop_prompts(), observed)
            if isinstance(found, str):
                return found
            tokens, start = found
            if observed is not None and self._only_pads(tokens, observed):
                tokens = observed
        elif ids.shape[1] < self.prompt_length:
            return "the result is shorter than the prompt"
        else:
            tokens, start = ids[:, self.prompt_length :], self.prompt_length
        counts = self._counts(tokens, result)
        # Of a prompt of embeddings the loop has no ids, and the result none before the new tokens.
        whole_rows = bool(start) or not self.prompt_length
        return Generated(tokens, counts, self._reasons(tokens, counts, ids if whole_rows else None))

    def _loop_prompts(self) -> Ids | None:
        """Return the ids [prompts, columns] that a loop of the caller's began with; None where they are not known."""
        if self.prompt_length == 0:
            return np.empty((1, 0), np.int64)
        ids, config = self.loop_prompts, getattr(self.model, "config", None)
        if ids is None and not getattr(config, "is_encoder_decoder", False):
            ids = self.prompt_ids()
        if ids is not None:
            prompts: Ids = ids.detach().to("cpu", torch.int64).numpy()
            return prompts
        name = "decoder_start_token_id" if getattr(config, "is_encoder_decoder", False) else "bos_token_id"
        begin = whole(self._setting(name))
        nothing = self.prompt_length == 1 and begin is not None  # transformers put the begin token there
        return np.array([[begin]], np.int64) if nothing else None

    def _counts(self, tokens: Ids, result: Any) -> list[int | None]:
        """Return how many tokens each row [sequences, columns] of a result generated, padding not counted."""
        rows, width = tokens.shape
        beams = self._beam_lengths(result, rows)
        if beams is not None:
            return [min(length, width) for length in beams]
        ended = None if self.custom else self.stops.row_lengths(rows)
        ends, pad = np.isin(tokens, list(self.eos_tokens())), self.pad_token()
        # Rows of transformers' own loops end at an end token, or are followed, or last as long as the loop.
        followed = rows == 1 or (self.beams == 1 and self.stops.followed(rows))
        certain = self.paged or (followed and not self.custom)
        counts: list[int | None] = []
        for row in range(rows):
            if ended is not None and ended[row] is not None:
                counts.append(min(width, (ended[row] or 0) - (self.prompt_length or 0)))
            elif ends[row].any() and (not self.custom or self._is_padding(tokens[row], int(ends[row].argmax()) + 1)):
                counts.append(int(ends[row].argmax()) + 1)
            elif certain or not width or pad is None or int(tokens[row, -1]) != pad:
                counts.append(width)
            else:
                counts.append(None)
        return counts

    def _only_pads(self, tokens: Ids, observed: Ids) -> bool:
        """Whether a result [sequences, columns] is what a loop was seen to choose [sequences, steps], and padding."""
        steps = observed.shape[1]
        return np.array_equal(tokens[:, :steps], observed) and all(self._is_padding(row, steps) for row in tokens)

    def _is_padding(self, tokens: Ids, start: int) -> bool:
        """Whether a row [columns] holds nothing but padding from a column on."""
        pad = self.pad_token()
        return pad is None or bool(np.isin(tokens[start:], [pad, *self.eos_tokens()]).all())

    @property
    def beams(self) -> int:
        """Return the number of beams; 1 where there is no beam search."""
        return whole(self._setting("num_beams")) or 1

    @property
    def returned(self) -> int:
        """Return the number of sequences that the result has of each prompt."""
        return whole(self._setting("num_return_sequences")) or 1

    def _beam_lengths(self, result: Any, rows: int) -> list[int] | None:
        """Return how many tokens each returned beam has; None where that is not known."""
        found = result.get("beam_indices") if isinstance(result, Mapping) else None
        if not isinstance(found, Tensor) and self.beam_indices is not None:
            found = self.beam_indices[:, : self.returned].flatten(0, 1)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != rows:
            return None
        return [int(length) for length in (found >= 0).sum(1).tolist()]

    def _reasons(self, tokens: Ids, counts: Sequence[int | None], ids: Ids | None) -> list[StopReason | None]:
        """Return why each row of a result ended."""
        base = self.prompt_length or 0
        said = self.stops.reasons([None if count is None else base + count for count in counts], ids)
        return [
            self._reason(tokens[row], count) if reason is None and count is not None else reason
            for row, (count, reason) in enumerate(zip(counts, said, strict=True))
        ]

    def _reason(self, tokens: Ids, count: int) -> StopReason | None:
        """Return why a row [columns] ended of which no criterion was seen to say so, from its tokens."""
        if count and int(tokens[count - 1]) in self.eos_tokens():
            return "eos"
        return "length" if count == self.max_new_tokens() else self.stops.reason_left()

    def reason_of(self, error: BaseException) -> StopReason:
        """Return `cancelled` for an exception that ended the call on purpose, `error` for any other."""
        return reason_of_error(error, self.arguments.get("streamer"))

    def usage(self, result: Any) -> tuple[int | None, int | None]:
        """Return the call's input and output tokens without padding, each None where it cannot be told exactly."""
        prompts, read = self.input_token_counts(), self.read(result)
        counts = None if isinstance(read, str) else [count for count in read.counts if count is not None]
        exact = counts is not None and not isinstance(read, str) and len(counts) == len(read.counts)
        return None if prompts is None else sum(prompts), sum(counts) if counts is not None and exact else None

"""What may act on a call while it goes on, and how the generation loop is made to follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper

Done = Callable[[], Sequence[bool]]
"""Returns which sequences are done at this step. Waits for the device: only who is about to act asks."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next tokens are chosen."""

    temperatures: Mapping[int, float] = field(default_factory=dict)
    """Sequence -> temperature that takes the place of the call's."""
    forced: Mapping[int, int] = field(default_factory=dict)
    """Sequence -> the token that it has to choose."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a step's decision comes to."""

    stop: Sequence[int] = ()
    """Sequences that end with this step's token."""
    sampling: Sampling | None = None
    """How the tokens of the next step are chosen; None: as the call says."""


NO_ORDERS: Final = Orders()


class Steering(Protocol):
    """Acts on a call while it goes on."""

    def refuse(self, reason: str) -> None:
        """Take note that nothing can act on this call, or not any more."""

    def prepared(self, strategy: str | None) -> None:
        """Take note of the decoding strategy, before the first step."""

    def act(self, step: int, sequences: int, done: Done) -> Orders:
        """Decide at a step, whose token is chosen, from the numbers of all steps before it.

        Args:
            step: counted from 0.
            sequences: of the call.
            done: which of them are done at this step.
        """


class _Temperature(LogitsProcessor):
    """Divides logits by a temperature of each row's own."""

    def __init__(self, temperatures: Tensor) -> None:
        self._temperatures = temperatures

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits [sequences, vocabulary], divided."""
        return scores / self._temperatures


def steered_scores(
    processors: list[Any], input_ids: Tensor, scores: Tensor, sampling: Sampling, **kwargs: Any
) -> Tensor:
    """Process logits [sequences, vocabulary] with the temperatures and the tokens that policies ask for."""
    if sampling.temperatures:
        processors = _with_temperatures(processors, scores, sampling.temperatures)
    processed: Tensor = LogitsProcessorList(processors)(input_ids, scores, **kwargs)
    if sampling.forced:
        processed = processed.clone()
        for row, token in sampling.forced.items():
            processed[row] = -torch.inf
            processed[row, token] = 0.0
    return processed


def _with_temperatures(processors: list[Any], scores: Tensor, temperatures: Mapping[int, float]) -> list[Any]:
    """Return the processors with other temperatures for some rows, in the place of the one that sets the call's."""
    at = next((place for place, each in enumerate(processors) if isinstance(each, TemperatureLogitsWarper)), None)
    usual = 1.0 if at is None else float(processors[at].temperature)
    of_rows = [temperatures.get(row, usual) for row in range(scores.shape[0])]
    own = _Temperature(torch.tensor(of_rows, dtype=scores.dtype, device=scores.device)[:, None])
    if at is not None:
        return [*processors[:at], own, *processors[at + 1 :]]
    # A temperature of 1 has no processor. It comes before those that sample from a part of the vocabulary.
    warpers = (place for place, each in enumerate(processors) if type(each).__name__.endswith("LogitsWarper"))
    at = next(warpers, len(processors))
    return [*processors[:at], own, *processors[at:]]

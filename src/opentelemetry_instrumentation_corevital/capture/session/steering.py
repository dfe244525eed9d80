"""What may act on a call while it goes on, and how the generation loop is made to follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessor, TemperatureLogitsWarper

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

    def prepared(self, session: Any, strategy: str | None) -> bool:
        """Take note of how the call decodes, before the first step; return whether anything can act on it.

        Args:
            session: of the call, whose facts and processors are known by now.
            strategy: transformers' generation mode.
        """

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


def with_temperatures(processors: list[Any], scores: Tensor, sampling: Sampling, given: Any) -> list[Any]:
    """Return logits processors with the temperatures that policies ask for, in the place of the call's own.

    Args:
        processors: of the loop, in order.
        scores: the logits [sequences, vocabulary].
        sampling: what policies ask for.
        given: the caller's own processors, which stay as they are.
    """
    if not sampling.temperatures:
        return processors
    callers = {id(processor) for processor in given or ()}
    usual, at = 1.0, None
    for place, each in enumerate(processors):
        if isinstance(each, TemperatureLogitsWarper) and id(each) not in callers:
            usual, at = float(each.temperature), place
    of_rows = [sampling.temperatures.get(row, usual) for row in range(scores.shape[0])]
    own = _Temperature(torch.tensor(of_rows, dtype=scores.dtype, device=scores.device)[:, None])
    if at is not None:
        return [*processors[:at], own, *processors[at + 1 :]]
    # A temperature of 1 has no processor: transformers would put it before all that choose a part of the vocabulary.
    behind = (place for place, each in enumerate(processors) if id(each) not in callers and _comes_behind(each))
    at = next(behind, len(processors))
    return [*processors[:at], own, *processors[at:]]


def _comes_behind(processor: Any) -> bool:
    """Whether transformers puts a processor of its own behind the temperature."""
    name = type(processor).__name__
    return name.endswith("LogitsWarper") or "Watermark" in name or name == "LogitNormalization"


def with_forced(scores: Tensor, sampling: Sampling) -> Tensor:
    """Return processed logits [sequences, vocabulary] in which some rows can choose one token only."""
    if not sampling.forced:
        return scores
    forced = scores.clone()
    for row, token in sampling.forced.items():
        forced[row] = -torch.inf
        forced[row, token] = 0.0
    return forced

"""Conditions and calls for tests of policies."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.testing import capture_runs
from tests.support.tiny_models import PAD, prompt

SAMPLED = {"do_sample": True, "temperature": 0.9, "top_k": 20}
GREEDY = {"do_sample": False}


def at(*steps: int, sequences: Sequence[int] = (0, 1, 2)) -> Callable[[Any], bool]:
    """Return a condition that is true at some steps of some sequences."""

    def at_these_steps(event: Any) -> bool:
        return event.step_index in steps and event.sequence_index in sequences

    return at_these_steps


def once(step: int) -> Callable[[Any], bool]:
    """Return a condition that is true when a step comes for the first time, and not when it comes again."""
    seen: list[int] = []

    def at_first(event: Any) -> bool:
        if event.step_index != step or seen:
            return False
        seen.append(step)
        return True

    return at_first


def never(_event: Any) -> bool:
    return False


def generate(model: Any, inputs: dict[str, Any] | None = None, *, tokens: int = 24, **options: Any) -> Any:
    """Return what a seeded call without an end token returns."""
    torch.manual_seed(3)
    inputs = {"input_ids": prompt()} if inputs is None else inputs
    return model.generate(**inputs, **{"max_new_tokens": tokens, "eos_token_id": None, "pad_token_id": PAD, **options})


def acted_on(
    policies: Sequence[Any], model: Any, inputs: dict[str, Any] | None = None, **options: Any
) -> tuple[Any, list[Run]]:
    """Return what a call under policies returns, and its runs."""
    with capture_runs(policies=policies, capture="full") as telemetry:
        result = generate(model, inputs, **options)
    return result, telemetry.runs

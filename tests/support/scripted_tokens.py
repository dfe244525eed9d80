"""A run whose tokens are known beforehand: a logits processor chooses them, the model's own logits stay as they are."""

import threading
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

LOOP = [9, 8, 7, 6, 5, 4, 3, 9, 11, 13]
"""Repeated, a loop of ten tokens."""


class Scripted(LogitsProcessor):
    """Chooses given tokens, row by row the same; may wait at a step.

    Args:
        tokens: from the first step on; repeated when they are used up.
        waits_at: the step before whose token it waits for `go_on`; None: nowhere.
    """

    def __init__(self, tokens: Sequence[int], waits_at: int | None = None) -> None:
        self.tokens = tokens
        self.step = 0
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self._waits_at = waits_at

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.step == self._waits_at:
            self.waiting.set()
            if not self.go_on.wait(30):
                raise TimeoutError("nobody let it go on")
        chosen = self.tokens[self.step % len(self.tokens)]
        self.step += 1
        made = torch.full_like(scores, -1e9)
        made[:, chosen] = 0.0
        return made


def scripted(*tokens: int, waits_at: int | None = None) -> tuple[Scripted, dict[str, Any]]:
    """Return such a processor and the keywords of generate() that use it, greedily."""
    processor = Scripted(tokens, waits_at)
    return processor, {"logits_processor": LogitsProcessorList([processor]), "do_sample": False}


def looping(**options: Any) -> dict[str, Any]:
    """Return the keywords of generate() of a run that loops."""
    return {**scripted(*LOOP)[1], "max_new_tokens": 60, **options}

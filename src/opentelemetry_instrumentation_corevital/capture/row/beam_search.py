"""A beam search, as its loop shows it step by step.

The loop hands its logits processors not the logits but their log-softmax, and chooses among candidates: tokens that go
on from some row, more of them than there are beams, since some may end. Of every candidate three numbers are kept, so
that the one which the result turns out to descend from can be looked up: its row, its token, its surprisal.
"""

from typing import Any, Final

import torch
from torch import Tensor

from ..._internal.clock import Clock
from .ancestry import BeamAncestry
from .host_transfer import RowStore, RowTransfer, transfer_for

_LN2: Final = 0.6931471805599453
_NUMBERS: Final = 3  # of a candidate


class Beams:
    """What is kept of one beam search.

    Args:
        beams: rows of each prompt.
        returned: sequences of each prompt in the result.
        clock: of the call.
    """

    def __init__(self, beams: int, returned: int, clock: Clock) -> None:
        self._beams, self._returned = beams, returned
        self._clock = clock
        self._transfer: RowTransfer | None = None
        self._output: Tensor | None = None
        """The model's logits of the step under way [rows, vocabulary]."""
        self._log_probs: Tensor | None = None
        """Their log-softmax, which nobody changes."""
        self._column = 0
        """Of the ids, where the step's tokens go."""

    def on_output(self, output: Any) -> None:
        """Take what the model returned: its logits are those of the step that begins."""
        logits = getattr(output, "logits", None)
        self._output = logits[:, -1] if isinstance(logits, Tensor) and logits.ndim == 3 else None

    def logits(self, input_ids: Tensor, log_probs: Tensor, *, edited: bool) -> Tensor | None:
        """Return a step's raw logits float32 [rows, vocabulary], which nobody changes; None where they were not seen.

        Args:
            input_ids: the tokens so far [rows, length].
            log_probs: their log-softmax [rows, vocabulary].
            edited: whether a processor may change that in place.
        """
        output, self._output = self._output, None
        self._column = input_ids.shape[1]
        self._log_probs = log_probs.clone() if edited else log_probs
        if output is None or output.shape != log_probs.shape:
            return None
        return output.to(device=log_probs.device, dtype=torch.float32)

    @torch.no_grad()
    def choose(self, sequences: Tensor, ancestors: Tensor, running: Tensor, step: int) -> Tensor:
        """Take a step's candidates; return the row [rows] that each of the next step's rows goes on from. Never waits.

        Args:
            sequences: ids of the candidates [prompts, candidates, columns].
            ancestors: the rows that they descend from [prompts, candidates, steps].
            running: the same of the beams that go on [prompts, beams, steps].
            step: the step.
        """
        log_probs, self._log_probs = self._log_probs, None
        assert log_probs is not None
        tokens, rows = sequences[:, :, self._column].flatten(), ancestors[:, :, step].flatten()
        surprisal = (0.0 - log_probs[rows.long(), tokens]) / _LN2
        if self._transfer is None:
            self._transfer = transfer_for(log_probs.device, self._clock)
        self._transfer.push(torch.stack((rows.float(), tokens.float(), surprisal), -1))
        return running[:, :, step].flatten().long()

    def ancestry(self, beam_indices: Tensor | None = None) -> BeamAncestry:
        """Return which rows the result's sequences descend from.

        Args:
            beam_indices: the rows that the best beams descend from [prompts, beams, steps], the best first; None where
                the search did not come to its end.
        """
        ancestors = None
        if beam_indices is not None:
            ancestors = beam_indices[:, : self._returned].flatten(0, 1).to("cpu", torch.int64).numpy()
        candidates = RowStore() if self._transfer is None else self._transfer.finish()
        candidates.width = _NUMBERS
        return BeamAncestry(self._beams, self._returned, ancestors, candidates)

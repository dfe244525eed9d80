"""How surprising each token of a prompt was, made of the last hidden states of the prefill by the model's output head.

The model itself makes logits of the last position only. Those of the others are made here, a few positions at a time.
Whether the head makes the model's own logits is seen by the last position, which has both.
"""

import weakref
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..definitions.prompt_numbers import surprisal
from ..model.output_head import OutputHead, is_same, output_head
from .parts import SURPRISAL, Reading

SLICE_BYTES: Final = 56 * 1024 * 1024
"""Of the logits that are there at once, and of what is made of them."""

_OTHER: Final = "the model's logits are not what its output head makes of the last hidden state"


class PromptSurprisal:
    """Takes the last hidden states of one prefill.

    Args:
        reading: what they are of.
        model: the model, which is not kept alive.
    """

    def __init__(self, reading: Reading, model: nn.Module) -> None:
        self._reading = reading
        self._model = weakref.ref(model)
        self._last: Tensor | None = None
        """Logits [prompts, V] of the last position."""
        self._is_own: Tensor | None = None
        """Whether these are the model's, bool; None until that was looked at."""
        self.values: Tensor | None = None
        """float32 [prompts, positions - 1], of the tokens behind the first position; NaN behind padding."""

    def take(self, output: Any) -> None:
        """Take what the module below the output head has returned."""
        if self.values is not None:
            self._reading.lose_several()
        if SURPRISAL in self._reading.absent:
            return
        hidden = output[0] if isinstance(output, tuple | list) or hasattr(output, "last_hidden_state") else output
        model = self._model()
        head = output_head(model) if model is not None else "the model has no output head"
        ids = self._reading.tokens.ids
        if not isinstance(hidden, Tensor) or hidden.ndim != 3:
            self._reading.lose("the model's last hidden state is not [sequences, positions, width]", SURPRISAL)
        elif isinstance(head, str):
            self._reading.lose(head, SURPRISAL)
        elif ids is None:
            self._reading.lose("the prompt has no token ids", SURPRISAL)
        elif (every := self._reading.placed(hidden, SURPRISAL)) is not None:
            self._take(hidden[::every], head, ids)

    def _take(self, hidden: Tensor, head: OutputHead, ids: Tensor) -> None:
        device, first = head.weight.device, self._reading.first
        real = self._reading.tokens.real(device)[:, first:]
        tokens = ids.to(device)[:, first:][:, 1:]
        values = torch.empty(tokens.shape, dtype=torch.float32, device=device)
        rows, columns = values.shape
        # A position's logits, the same as log-probabilities, and once more where these are made of a converted copy.
        narrow = head.weight.element_size()
        with self._reading.launches(device) as launches:  # its kernel makes nothing of the logits but what is wanted
            beside = 0 if launches is not None else 4 + (4 if narrow < 4 and not hidden.is_cuda else 0)
        together = max(1, SLICE_BYTES // (head.weight.shape[0] * (narrow + beside)))
        height = min(rows, together)
        width = max(1, together // height)
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                part = slice(top, top + height), slice(left, min(left + width, columns))
                logits = head.logits(hidden[part].flatten(0, 1))
                self._write(logits, tokens[part], values[part])
                del logits  # before the next are made
        self.values = values.masked_fill_(~(real[:, 1:] & real[:, :-1]), torch.nan)
        self._last = head.logits(hidden[:, -1])

    def _write(self, logits: Tensor, tokens: Tensor, out: Tensor) -> None:
        with self._reading.launches(out.device) as launches:
            written = launches is not None and launches.surprisal(logits, tokens, out)
        if not written:
            out.copy_(surprisal(logits, tokens.flatten()).view_as(out))

    def check(self, logits: Tensor) -> None:
        """Take the model's own logits [rows, V] of the last position."""
        last, self._last = self._last, None
        if last is None:
            return
        every = self._reading.tokens.every(len(logits))
        if every is None or logits[::every].shape != last.shape:
            self._reading.lose(_OTHER, SURPRISAL)
        else:
            self._is_own = is_same(last, logits[::every])

    def settle(self) -> None:
        """Decide whether these are the model's; waits for the device."""
        if self.values is None:
            self._reading.lose("the model's last hidden states were not seen", SURPRISAL)
        elif self._is_own is None or not bool(self._is_own):
            self._reading.lose(_OTHER, SURPRISAL)

    def clear(self) -> None:
        """Refer to nothing of the model's any more."""
        self._last = None

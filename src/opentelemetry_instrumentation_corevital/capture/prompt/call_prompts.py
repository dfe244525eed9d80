"""The prompts of a call as its arguments give them, and where in a prefill's tensors they are."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CallPrompts:
    """The prompts of one call, of C columns each."""

    prompts: int
    columns: int
    ids: Tensor | None
    """int64 [prompts, C]; None for prompts of embeddings."""
    mask: Tensor | None
    """[prompts, C], not 0 where a column is no padding; None where none is."""
    cached: bool
    """Whether the caller gave a cache, which may have the first columns."""
    encoded: bool
    """Whether an encoder reads the prompt, and the layers that are measured attend to what it makes of it."""

    def real(self, device: torch.device) -> Tensor:
        """Return which columns are no padding, bool [prompts, C]."""
        if self.mask is None:
            return torch.ones(self.prompts, self.columns, dtype=torch.bool, device=device)
        return self.mask.to(device) != 0

    def every(self, rows: int) -> int | None:
        """Return n where every n-th of a tensor's rows is a prompt's first; None where the rows are not the prompts'.

        Several sequences of one prompt have neighbouring rows, which a prefill computes alike.
        """
        return rows // self.prompts if rows and rows % self.prompts == 0 else None

    def first(self, positions: int) -> int | None:
        """Return the first column of a prefill of so many positions; None where they are not the prompt's last."""
        first = self.columns - positions
        return first if not first or (first > 0 and self.cached) else None

"""What a call returned, read: the token ids that it generated, or why they cannot be told.

transformers' own loops return the prompt's columns and then the new ones. A loop of the caller's may return anything:
what it returns is read where it begins with the prompt, or is what the loop was seen to choose.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..isolation.dispatch_modes import has_numbers
from ..row.ancestry import Ids


def token_ids(result: Any, *, paged: bool = False) -> Ids | str:
    """Return a result's token ids, or the reason why it has none of shape [sequences, columns].

    Args:
        result: a tensor, or what has one as `sequences`.
        paged: whether the call was handed to continuous batching, which returns [1, sequences, columns].
    """
    ids = result
    if isinstance(result, Mapping):  # as transformers' outputs are
        ids = result.get("sequences")
    elif not isinstance(result, Tensor):
        ids = inspect.getattr_static(result, "sequences", None)  # runs no code of the caller's
    if not isinstance(ids, Tensor):
        return f"the result holds no tensor of token ids: {type(result).__name__}"
    if paged and ids.ndim == 3 and len(ids) == 1:
        ids = ids[0]
    if ids.ndim != 2 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        kind = str(ids.dtype).removeprefix("torch.")
        return f"the result is no token ids [sequences, length]: {kind} {list(ids.shape)}"
    if not len(ids):
        return "the result has no sequence"
    if not has_numbers(ids):
        return "the result's token ids have no values (a meta device or a fake-tensor mode)"
    try:
        array: Ids = ids.detach().to("cpu", torch.int64).numpy()
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return f"the result's token ids could not be read ({type(error).__name__})"
    return array


def new_tokens(ids: Ids, prompts: Ids | None, observed: Ids | None) -> tuple[Ids, int] | str:
    """Return a custom loop's new tokens and how many columns of its result are prompt, or why neither can be told.

    Args:
        ids: the result.
        prompts: the prompts' ids [prompts, columns] with their padding; None where they have none.
        observed: the tokens [sequences, steps] that the loop was seen to choose; None where it was not.
    """
    width = 0 if prompts is None else prompts.shape[1]
    begins = prompts is not None and ids.shape[1] >= width and _begin_with(ids, prompts)
    if observed is not None:
        for start in (width,) * begins + (0,):
            if np.array_equal(ids[:, start:], observed):
                return ids[:, start:], start
    if begins:
        return ids[:, width:], width
    if observed is not None and _begins(observed, ids):
        return ids, 0
    if prompts is None:
        return "where a custom loop's new tokens begin cannot be told: the prompt has no token ids"
    return "a custom loop's result neither begins with the prompt nor is what the loop was seen to choose"


def _begins(observed: Ids, ids: Ids) -> bool:
    """Whether a result is the beginning of what was observed: a loop may undo its last steps."""
    return 0 < ids.shape[1] <= observed.shape[1] and np.array_equal(observed[:, : ids.shape[1]], ids)


def _begin_with(ids: Ids, prompts: Ids) -> bool:
    """Whether every row begins with one of the prompts."""
    head = ids[:, : prompts.shape[1]]
    return bool((head[:, None] == prompts[None]).all(2).any(1).all())

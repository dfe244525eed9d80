"""What a model itself says of a prompt that it reads, and slow float64 definitions of what is told of that."""

import copy
import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch

from tests.support.reference import cosine_reference


@dataclass
class PromptTruth:
    """What one prefill says of itself, padding included."""

    logits: torch.Tensor
    """[B, P, V] of a plain forward pass; of an encoder-decoder's of the decoder's tokens."""
    hidden: list[torch.Tensor]
    """[layer]: the output [B, P, D]."""
    attention: list[torch.Tensor]
    """[layer]: the last query's weights [B, H, K]; of an encoder-decoder's of its cross-attention."""


def tell_prompt(model: Any, layers: str, input_ids: torch.Tensor, attention_mask: Any = None) -> PromptTruth:
    """Generate one token with eager attention and every output switched on, and run the model once over the prompt."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    last: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        last.append((output[0] if isinstance(output, tuple) else output).clone())

    hook = model.get_submodule(layers)[-1].register_forward_hook(keep)
    given = {"input_ids": input_ids, **({} if attention_mask is None else {"attention_mask": attention_mask})}
    result = model.generate(
        **given,
        max_new_tokens=1,
        do_sample=False,
        return_dict_in_generate=True,
        output_hidden_states=True,
        output_attentions=True,
    )
    hook.remove()
    if model.config.is_encoder_decoder:
        attention = [weights[:, :, -1] for weights in result.cross_attentions[0]]
        return PromptTruth(torch.empty(0), [], attention)
    positions = None if attention_mask is None else (attention_mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(**given, position_ids=positions).logits
    hidden = [*result.hidden_states[0][1:-1], last[0]]
    return PromptTruth(logits, hidden, [weights[:, :, -1] for weights in result.attentions[0]])


def surprisal_reference(logits: torch.Tensor, tokens: torch.Tensor, real: list[int]) -> list[float]:
    """Return -log2 p of the tokens [P] behind the first real one, by the logits [P, V]; `real` are the real columns."""
    found = []
    for before, column in itertools.pairwise(real):
        row = logits[before].double().tolist()
        top = max(row)
        found.append((math.log(math.fsum(math.exp(x - top) for x in row)) + top - row[tokens[column]]) / math.log(2))
    return found


def transformation_reference(hidden: list[torch.Tensor], real: list[int]) -> list[float]:
    """Return the mean of 1 - cosine with the layer before over the real columns of layers' outputs [P, D]."""
    found = [math.nan]
    for before, after in itertools.pairwise(hidden):
        changes = [1 - cosine_reference(before[c].double().tolist(), after[c].double().tolist()) for c in real]
        found.append(math.fsum(changes) / len(changes))
    return found


def basin_reference(weights: list[float], real: list[int], window: int | None) -> float:
    """Return a head's basin score, by its weights on all columns."""
    length = len(real)
    middle = real[length // 3 : length - length // 3] if length >= 3 else []
    seen = [column for column in real if window is None or real[-1] - column < window]
    reached = [column for column in middle if column in seen]
    if not reached:
        return math.nan
    return math.fsum(weights[column] for column in reached) / (len(reached) / len(seen))


def connections_reference(weights: list[float], real: list[int], window: int | None) -> list[tuple[int, float]]:
    """Return the 8 largest weights of a head with the index of the token, the largest first."""
    seen = [(index, weights[c]) for index, c in enumerate(real) if window is None or real[-1] - c < window]
    return sorted(seen, key=lambda pair: -pair[1])[:8]

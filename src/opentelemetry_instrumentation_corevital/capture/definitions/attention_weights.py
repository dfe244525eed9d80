"""Signals of attention, as pure functions on tensors.

Attention is the row of the last query, given as scores (logits of the weights): see `AttentionRow`.

All in float32, reduced over the last dimension, on the tensor's own device, without waiting for it. A number that is
not defined for a row is NaN.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

SINK_KEYS: Final = 4
"""Visible keys at the start of a row that count as attention sinks (Xiao et al. 2023, arXiv 2309.17453)."""

COLLAPSED_ENTROPY: Final = 0.03
"""Normalised entropy without the sinks below which a head is collapsed."""

COLLAPSED_KEYS: Final = 8
"""Visible keys beside the sinks that a row needs for a head to be judged as collapsed or not."""

FOCUSED_WEIGHT: Final = 0.90
"""Largest weight above which a head is focused."""


class VisibleKeys(NamedTuple):
    """Which keys the last query of each of B sequences sees, counted: the k-th visible key has rank k, from 1.

    Padding and what lies outside a window are not visible. The keys of the generated tokens are the last ones.
    """

    visible: Tensor | None
    """bool [B, K]; None where every key is visible."""
    rank: Tensor | None
    """int64 [B, K]: visible keys up to and with this one; None where every key is visible."""
    seen: Tensor
    """int64 [B, 1]: how many keys are visible, n."""
    prompt: Tensor
    """int64 [B, 1]: visible keys of the prompt, m = n - generated tokens (at least 0)."""
    generated: int
    """Tokens generated before."""


def visible_keys(visible: Tensor | None, *, batch: int, keys: int, generated: int, device: torch.device) -> VisibleKeys:
    """Count what the last queries see.

    Args:
        visible: bool [B or 1, K], or None where every key is visible.
        batch: B.
        keys: K.
        generated: tokens generated before this step; their keys are the last visible ones.
        device: where the counts are to live.
    """
    if visible is None:
        seen, prompt = (torch.full((batch, 1), count, device=device) for count in (keys, max(0, keys - generated)))
        return VisibleKeys(None, None, seen, prompt, generated)
    rank = visible.cumsum(-1).expand(batch, keys)
    seen = rank[:, -1:]
    return VisibleKeys(visible, rank, seen, (seen - generated).clamp(min=0), generated)


_LOWEST: Final = -3.0e38  # finite, so that 0 * z is 0 where a probability is 0


class AttentionSums(NamedTuple):
    """What attention rows come down to once they are summed over their keys, each float32 [..., B, H].

    Masses are sums of exp(score - ceiling), not normalised. The ceiling is the largest score, or the learned sink's.
    """

    largest: Tensor
    """Mass of the key with the largest score."""
    total: Tensor
    """Mass of all visible keys and the learned sink."""
    weighted: Tensor
    """Sum of mass x (score - ceiling) over the same, nat."""
    sinks: Tensor
    """Mass of the first 4 visible keys, without the learned sink."""
    generated: Tensor
    """Mass of generated tokens that are not among those."""
    middle: Tensor
    """Mass of the prompt's middle third."""
    previous: Tensor
    """Mass of the visible key just before the query's own."""
    rest_total: Tensor
    """Mass of all visible keys but the first 4."""
    rest_weighted: Tensor
    """Sum of mass x (score - ceiling) over the same, nat."""
    learned: Tensor
    """Mass of the learned sink; 0 where there is none."""
    learned_keys: Tensor
    """1 where a learned sink takes part, else 0."""


class AttentionRow(NamedTuple):
    """Signals of the last query's attention row of every head, each a float32 tensor [..., B, H].

    A learned sink (an extra logit in the softmax's denominator, as in GPT-OSS) counts as one more key, and as sink.
    """

    entropy: Tensor
    """1: -sum w log w over the keys, divided by log(keys); 1 where one key is visible."""
    max_weight: Tensor
    """1: the largest weight."""
    collapsed: Tensor
    """1 or 0: whether the normalised entropy is below 0.03 with the sink keys left out and the row renormalised over
    the keys left; NaN below 8 of those, or where they have no weight."""
    focused: Tensor
    """1 or 0: whether the largest weight is above 0.90."""
    sink: Tensor
    """1: weight on the first 4 visible keys; `sink`, `prompt` and `generated` are disjoint and sum to 1."""
    prompt: Tensor
    """1: weight on the rest of the prompt."""
    generated: Tensor
    """1: weight on generated tokens."""
    middle: Tensor
    """1: weight on the middle third of the prompt, over what a row that is uniform on all visible keys has there (1 is
    uniform); NaN below 3 prompt keys."""
    previous: Tensor
    """1: weight on the visible key just before the query's own (arXiv 2505.20045); NaN where there is none."""


def attention_row(scores: Tensor, keys: VisibleKeys, learned_sink: Tensor | None = None) -> AttentionRow:
    """Compute the signals of attention rows.

    Args:
        scores: float32 [..., B, H, K], the softmax's input: scaled, soft-capped and biased as the model does it.
            What it holds for keys that are not visible does not matter.
        keys: what each of the B queries sees.
        learned_sink: float32 [H] or [..., 1, H], an extra logit of the denominator.
    """
    return attention_signals(attention_sums(scores, keys, learned_sink), keys.seen, keys.prompt)


def attention_sums(scores: Tensor, keys: VisibleKeys, learned_sink: Tensor | None = None) -> AttentionSums:
    """Sum attention rows over their keys; arguments as those of `attention_row`."""
    if keys.visible is not None:
        scores = scores.masked_fill(~keys.visible[:, None, :], _LOWEST)
    top = scores.amax(-1, keepdim=True)
    ceiling = top if learned_sink is None else torch.maximum(top, learned_sink[..., None])
    # A weight of exp(-200) is 0 in float32, and 0 * z is 0 for the z that are left.
    z = (scores - ceiling).clamp_(min=-200.0)
    e = z.exp()
    if keys.visible is not None:
        e = e * keys.visible[:, None, :]
    weighted = z.mul_(e)
    masses = _masses(e, weighted, keys)
    largest = (top - ceiling).squeeze(-1).exp()
    none = torch.zeros_like(largest)
    if learned_sink is None:
        return AttentionSums(largest, e.sum(-1), weighted.sum(-1), *masses, none, none)
    sink_z = (learned_sink - ceiling.squeeze(-1)).clamp(min=-200.0)
    learned = sink_z.exp()
    takes_part = (learned_sink > -torch.inf) + none
    return AttentionSums(
        largest, e.sum(-1) + learned, weighted.sum(-1) + learned * sink_z, *masses, learned, takes_part
    )


def _masses(e: Tensor, weighted: Tensor, keys: VisibleKeys) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return `AttentionSums` from `sinks` to `rest_weighted`."""
    if keys.rank is None:
        count = e.shape[-1]
        prompt_keys = max(0, count - keys.generated)
        third_keys = prompt_keys // 3
        return (
            e[..., :SINK_KEYS].sum(-1),
            e[..., max(prompt_keys, SINK_KEYS) :].sum(-1),
            e[..., third_keys : prompt_keys - third_keys].sum(-1),
            e[..., max(0, count - 2) : count - 1].sum(-1),
            e[..., SINK_KEYS:].sum(-1),
            weighted[..., SINK_KEYS:].sum(-1),
        )

    def mass(keys_of: Tensor) -> Tensor:
        """Return the mass of keys, given as bool [B, 1, K]."""
        return (e * keys_of).sum(-1)

    rank, seen, prompt = keys.rank[:, None, :], keys.seen[:, None], keys.prompt[:, None]
    third = prompt // 3
    return (
        mass(rank <= SINK_KEYS),
        mass((rank > prompt) & (rank > SINK_KEYS)),
        mass((rank > third) & (rank <= prompt - third)),
        mass(rank == seen - 1),
        mass(rank > SINK_KEYS),
        (weighted * (rank > SINK_KEYS)).sum(-1),
    )


def attention_signals(sums: AttentionSums, seen: Tensor, prompt: Tensor) -> AttentionRow:
    """Compute the signals of attention rows from their sums.

    Args:
        sums: each float32 [..., B, H].
        seen: int64 [..., B, 1], visible keys of each query.
        prompt: int64 [..., B, 1], those of them that are of the prompt.
    """
    total = torch.where(sums.total > 0, sums.total, torch.nan)  # no visible key has a weight
    outcomes = seen + sums.learned_keys
    entropy = (total.log() - sums.weighted / total) / outcomes.log()
    rest_count = seen - SINK_KEYS
    rest_entropy = (sums.rest_total.log() - sums.rest_weighted / sums.rest_total) / rest_count.float().log()
    judged = (rest_count >= COLLAPSED_KEYS) & rest_entropy.isfinite()
    third = prompt // 3
    max_weight = sums.largest / total
    nan = torch.nan
    return AttentionRow(
        entropy=torch.where(outcomes > 1, entropy.clamp(0.0, 1.0), 1.0 + 0.0 * total),
        max_weight=max_weight,
        collapsed=torch.where(judged, (rest_entropy < COLLAPSED_ENTROPY).float(), nan),
        focused=(max_weight > FOCUSED_WEIGHT).float() + 0.0 * max_weight,
        sink=(sums.sinks + sums.learned) / total,
        prompt=((total - sums.learned - sums.sinks - sums.generated) / total).clamp(min=0.0),
        generated=sums.generated / total,
        middle=torch.where(third > 0, sums.middle / total * seen / (prompt - 2 * third), nan),
        previous=torch.where(seen > 1, sums.previous / total, nan),
    )


def over_heads(row: AttentionRow) -> dict[str, Tensor]:
    """Reduce a layer's heads.

    Args:
        row: signals [..., B, H].

    Returns:
        each float32 [..., B]. Rates are fractions of the heads that could be judged.
    """
    mean = row.entropy.mean(-1)
    plain = {
        "attention_max_weight": row.max_weight,
        "focused_head_rate": row.focused,
        "attention_mass_sink": row.sink,
        "attention_mass_prompt": row.prompt,
        "attention_mass_generated": row.generated,
        "attention_middle": row.middle,
        "attention_previous": row.previous,
    }
    # One stacked mean for all that need no more than one.
    means = torch.stack(list(plain.values())).mean(-1)
    return {
        "attention_entropy": mean,
        "attention_entropy_std": (row.entropy - mean[..., None]).square().mean(-1).sqrt(),
        "attention_entropy_min": row.entropy.amin(-1),
        "attention_entropy_max": row.entropy.amax(-1),
        "attention_max_weight_max": row.max_weight.amax(-1),
        "collapsed_head_rate": row.collapsed.nanmean(-1),
        **dict(zip(plain, means, strict=True)),
    }

"""The last query's attention scores, from what reaches an attention function or leaves an attention module.

Scores are what the model's softmax gets: scaled, soft-capped, biased. "What the run applied" decides: SDPA knows no
soft-cap and takes its window from the mask; the flash kernels take window, soft-cap and learned sinks as arguments.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeVar

import torch
from torch import Tensor, nn

Semantics = Literal["sdpa", "flash"]


@dataclass(frozen=True, slots=True)
class Implementation:
    """A registered attention function."""

    name: str
    semantics: Semantics | None
    """How it reads its arguments; None for unknown functions."""


SLICE_BYTES: Final = 32 * 1024 * 1024
"""What is made in float32 at once from numbers that are many more."""

_BRIEF_BYTES: Final = 512 * 1024
"""Size up to which a tensor of a whole prompt may wait for the end of its step: a copy of its last position takes the
host longer than all that is done with it afterwards."""

_ROUNDING: Final = 1e-3
"""What rounding alone can take from a row of weights."""
_HALF_ROUNDING: Final = 0.02
"""What rounding to half precision can add to one."""
_HALF: Final = (torch.bfloat16, torch.float16)
_UNREAD: Final = ("indices", "block_indices", "sinks", "learnable_sink")
"""A choice of keys (SDPA has it in its mask), and other names of learned sinks than `s_aux`."""
_BMM_WIDENS: Final = hasattr(torch.ops.aten.bmm, "dtype")
"""Whether torch can multiply half-precision matrices into a float32 result (CUDA only, torch 2.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """What the softmax of one attention module does to the products of queries and keys."""

    module: int
    """id of the module."""
    visible: Tensor | None
    """bool [B or 1, K]; None where every key is visible."""
    scale: float = 1.0
    softcap: float | None = None
    """c, where the model applies c tanh(score / c)."""
    biases: tuple[Tensor, ...] = ()
    """Added to the scaled scores, each [B or 1, 1 or H, at least K]."""
    learned_sink: Tensor | None = None
    """[H] or [B, H], an extra logit in the softmax's denominator."""
    shared: tuple[Any, ...] = ()
    """What is the same for layers whose masks and biases are: ids of the tensors, kept alive by `keep`."""
    keep: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(_Applied):
    """The last query's scores of one attention module."""

    values: Tensor
    """float32 [B, H, K], before scale and soft-cap: they are applied to all layers at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attended(_Applied):
    """What the last query's scores of one attention module are the products of, by reference."""

    query: Tensor
    """[B, H, 1, D]."""
    key: Tensor
    """[B, KV heads, K, D]."""

    def multiplied(self) -> Scores:
        """Return the scores, which refer to neither query nor key."""
        applied = {field.name: getattr(self, field.name) for field in fields(_Applied)}
        return Scores(values=products(self.query[:, :, 0], self.key), **applied)


_Taken = TypeVar("_Taken", bound=Scores | Attended)


def implementation_of(name: str) -> Implementation:
    """Return what is known of a registered attention function, by its name."""
    if name == "sdpa":
        return Implementation(name, "sdpa")
    return Implementation(name, "flash" if "flash" in name and "paged" not in name else None)


def untold(implementation: Implementation, arguments: Mapping[str, Any]) -> str | None:
    """Return why the scores of an attention function cannot be told from what it gets; None where they can."""
    special = unread(arguments) if implementation.semantics == "flash" else None
    if implementation.semantics is None or type(arguments.get("cache")).__name__ == "PagedAttentionCache":
        return f"the scores of attention implementation {implementation.name} cannot be told"
    return None if special is None else f"the scores of attention with {special} cannot be told"


def unread(arguments: Mapping[str, Any]) -> str | None:
    """Return the name of an argument that changes what flash kernels see and that `from_query` does not read."""
    return next((name for name in _UNREAD if arguments.get(name) is not None), None)


def from_query(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    arguments: Mapping[str, Any],
    implementation: Implementation,
) -> Attended:
    """Return what the scores of the last query are the product of.

    Args:
        module: the attention module.
        query: [B, H, Q, D] after rotary embedding and normalisation.
        key: [B, KV heads, K, D], all keys that the query may see, as the cache returned them.
        mask: [B or 1, 1 or H, Q, K] bool or additive (sdpa), [B, K] of 0 and 1 (flash), or None.
        arguments: keyword arguments of the attention function.
        implementation: the function.
    """
    positions, semantics = query.shape[2], implementation.semantics
    scaling = arguments.get("scaling")
    causal = arguments.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if semantics == "sdpa" and mask is None and causal and 1 < positions < key.shape[2]:
        key = key[:, :, :positions]  # the prefill of a static cache: the rest of it is empty
    window = arguments.get("sliding_window") if semantics == "flash" else None
    if window is not None and key.shape[2] > window:
        key = key[:, :, -window:]
        mask = None if mask is None else mask[:, -window:]
    visible, biases = _masked(mask, key.shape[2])
    position_bias = arguments.get("position_bias")
    if position_bias is not None:
        biases = (*biases, position_bias[:, :, -1])
    return Attended(
        module=id(module),
        query=query if positions == 1 else _last_query(query),
        key=key,
        visible=visible,
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        softcap=arguments.get("softcap") if semantics == "flash" else None,
        biases=biases,
        learned_sink=arguments.get("s_aux") if semantics == "flash" else None,
        shared=(id(mask), id(position_bias)),
        keep=(mask, position_bias),
    )


def softmax_inputs(values: Tensor, applied: Scores) -> Tensor:
    """Return the softmax's inputs [..., B, H, K], made in place where that can be, of the products of one attention.

    Args:
        values: float32 [..., B, H, K], the products of queries and keys.
        applied: what its softmax does to them.
    """
    if applied.scale != 1.0:
        values *= applied.scale
    if applied.softcap is not None:
        values = applied.softcap * torch.tanh(values / applied.softcap)
    for bias in applied.biases:
        values += bias[..., : values.shape[-1]].float()
    return values


def of_sequences(taken: _Taken, rows: slice) -> _Taken:
    """Return the scores of some of the sequences, or what they are the products of."""

    def of(tensor: Tensor) -> Tensor:
        return tensor if len(tensor) == 1 else tensor[rows]

    sink = taken.learned_sink
    own = ("values",) if isinstance(taken, Scores) else ("query", "key")
    return replace(
        taken,
        **{name: getattr(taken, name)[rows] for name in own},
        visible=None if taken.visible is None else of(taken.visible),
        biases=tuple(of(bias) for bias in taken.biases),
        learned_sink=sink if sink is None or sink.ndim == 1 else sink[rows],
    )


def is_brief(whole: Tensor) -> bool:
    """Whether a tensor of a whole prompt is so small that it may be kept instead of a copy of its last position."""
    return whole.nbytes <= _BRIEF_BYTES


def _last_query(query: Tensor) -> Tensor:
    """Return the last position of a prefill's queries [B, H, Q, D]."""
    last = torch.narrow if is_brief(query) else torch.narrow_copy
    return last(query, 2, query.shape[2] - 1, 1)


def from_weights(module: nn.Module, weights: Tensor, mask: Any, *, certain: bool) -> Scores:
    """Return scores whose softmax is the last row of weights that the model has computed itself.

    NaN where it cannot be one: a model's own code may return raw scores or a bias in the place of weights.

    Args:
        module: the attention module.
        weights: [B, H, Q, K].
        mask: what the module got as mask. One of [B or 1, 1 or H, Q, at least K] says which keys are visible; any other
            is read differently from model to model, and a key that no head gives weight is not visible.
        certain: whether these are known to be weights.
    """
    last, keys = weights[:, :, -1].float(), weights.shape[-1]
    if _is_full(mask, keys):
        visible = _masked(mask, keys)[0]
        if visible is not None and mask.dtype == torch.bool:
            # What True means differs: the key with the largest weight is visible.
            heaviest = last.amax(1).argmax(-1, keepdim=True)
            visible = visible == visible.expand(len(last), keys).gather(1, heaviest)
    elif certain and mask is None:
        visible = None
    else:
        visible = (last > 0).any(1)
    sink = None
    if any("sink" in name for name in (*module._parameters, *module._modules, *module._buffers)):
        # What the keys' weights lack to 1 went to the learned sink, if the model counts it among the weights.
        missing = 1.0 - last.sum(-1)
        sink = torch.where(missing > _ROUNDING, missing.clamp(min=1e-38).log(), -torch.inf)
    values = last.log()
    if not certain:
        possible = (last >= 0).all(-1) & (last.sum(-1) < 1.0 + _HALF_ROUNDING)
        values = values.masked_fill(~possible[..., None], torch.nan)
    return Scores(
        module=id(module), values=values, visible=visible, learned_sink=sink, shared=(id(mask),), keep=(mask,)
    )


def tells_visible(weights: Tensor, mask: Any, *, certain: bool) -> bool:
    """Whether `from_weights` can tell which keys are visible: in float16 a visible key's weight is easily 0."""
    return weights.dtype != torch.float16 or _is_full(mask, weights.shape[-1]) or (certain and mask is None)


def _is_full(mask: Any, keys: int) -> bool:
    """Whether a mask says of every query and key whether it is masked, by a number that is added or by a bool."""
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-1] < keys:
        return False
    return mask.is_floating_point() or mask.dtype == torch.bool


def from_projections(module: Any, query: Tensor, key: Tensor, position_bias: Tensor) -> Scores:
    """Compute the scores of an attention that neither scales nor passes through the registry (T5 before 5.0).

    Args:
        module: the attention module.
        query: [B, Q, H x D], of its projection `q`.
        key: [B, H, K, D] of the cache, or [B, K, H x D] of its projection `k`.
        position_bias: [B or 1, H, Q, K], with the mask added to it.
    """
    heads = module.n_heads
    if key.ndim == 3:
        key = key.unflatten(-1, (heads, -1)).transpose(1, 2)
    values = products(query[:, -1].unflatten(-1, (heads, -1)), key)
    visible, biases = _masked(position_bias, key.shape[2])
    return Scores(
        module=id(module),
        values=values,
        visible=visible,
        biases=biases,
        shared=(id(position_bias),),
        keep=(position_bias,),
    )


def products(query: Tensor, key: Tensor) -> Tensor:
    """Return q.k of every head as float32 [B, H, K], for query [B, H, D] and key [B, KV heads, K, D]."""
    batch, heads, width = query.shape
    shared = key.shape[1]
    widens = query.is_cuda and _BMM_WIDENS and query.dtype == key.dtype and query.dtype in _HALF
    if not widens and key.dtype != torch.float32 and key.numel() * 4 > SLICE_BYTES:
        # The keys are copied in float32: never many of them at once.
        if batch > 1:
            half = batch // 2
            return torch.cat((products(query[:half], key[:half]), products(query[half:], key[half:])))
        if shared > 1:
            half = shared // 2
            own = heads // shared * half
            return torch.cat((products(query[:, :own], key[:, :half]), products(query[:, own:], key[:, half:])), 1)
    query = query.reshape(batch * shared, heads // shared, width)
    key = key.reshape(batch * shared, key.shape[2], width).transpose(1, 2)
    if query.dtype == key.dtype == torch.float32 and not torch.is_autocast_enabled(query.device.type):
        return torch.bmm(query, key).view(batch, heads, -1)
    with _no_autocast(query.device.type):
        found = torch.bmm(query, key, out_dtype=torch.float32) if widens else torch.bmm(query.float(), key.float())
    return found.reshape(batch, heads, -1)


def _no_autocast(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which float32 stays float32, also where the caller generates under autocast."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()


def last_visible(mask: Tensor, keys: int) -> Tensor | None:
    """Return which keys the last query sees, bool [B or 1, K]; None for a mask that is added to the scores."""
    visible, biases = _masked(mask, keys)
    return None if biases else visible


def _masked(mask: Tensor | None, keys: int) -> tuple[Tensor | None, tuple[Tensor, ...]]:
    """Return which keys the last query sees, bool [B or 1, K], and what is added to its scores."""
    if mask is None:
        return None, ()
    if mask.ndim == 2:
        return mask[:, :keys] != 0, ()
    last = mask[:, :, -1, :keys]
    if last.dtype == torch.bool:
        return last[:, 0], ()
    return last[:, 0] > torch.finfo(last.dtype).min / 2, (last,)

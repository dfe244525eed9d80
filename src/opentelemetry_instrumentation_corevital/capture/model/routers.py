"""The routers of mixture-of-experts layers: where they are, and what their logits say.

A model's class declares which modules return router logits, and at which place of what they return
(`_can_record_outputs` of transformers). Where it does not, a router is a linear map with as many outputs as the config
has experts, inside of what is named a gate or a router.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from ..._internal.values import whole
from .description import text_config
from .target import FoundModule

_KEY: Final = "router_logits"
_NOT_ROUTED: Final = re.compile(r"shared|top_k|activ|zero|per_tok")
"""In names of a config that end in `experts` but are not the number that a router chooses from."""
_ROUTER: Final = re.compile(r"(^|\.)(gate|router)(\.(layer|classifier))?$")
_SUM_IS_ONE: Final = 1e-5


def router_numbers(logits: Tensor) -> Mapping[str, Tensor]:
    """Return the signals of routers.

    Args:
        logits: [layers, sequences, experts], at least 2 experts. Some models return probabilities under this name
            (Gemma 4; Mixtral and Qwen3-MoE in transformers 5.0). So float32 rows count as probabilities if each of
            them is a distribution.

    Returns:
        float32 [layers, sequences] each: `router_entropy`, -sum p log p / log(experts), and `router_top1_prob`, max p,
        with p = softmax(logits); NaN for a row that holds NaN or +Inf, or nothing but -Inf.
    """
    values = logits.float()
    if logits.dtype == torch.float32:
        odd = (values < 0) | ((values.sum(-1, keepdim=True) - 1.0).abs() > _SUM_IS_ONE)
        values = torch.where(odd.any(), values, values.log())
    log_p = torch.log_softmax(values, -1)
    p = log_p.exp()
    entropy = -torch.where(p > 0, p * log_p, p).sum(-1) / math.log(logits.shape[-1])
    return {"router_entropy": entropy.clamp(0.0, 1.0), "router_top1_prob": p.amax(-1)}


def find_routers(model: nn.Module, layers: Sequence[nn.Module]) -> list[FoundModule] | str:
    """Return the routers of a model's decoder layers; the reason where it has experts, but no such routers."""
    experts = _experts(text_config(getattr(model, "config", None)))
    found = _declared(model, layers) or _linear(layers, experts)
    if len({at.layer for at in found}) != len(found):
        return "a layer has several routers"
    return found if found or not experts else "the model does not say which of its modules are routers"


def _logits_of(index: int, output: Any) -> Any:
    """Return a router's logits from what its module returns; None where they are not in it.

    GPT-OSS of transformers 4.57 declares them at the first place, but returns weights and indices of chosen experts.
    """
    if not isinstance(output, tuple | list):
        return output
    chosen = len(output) == 2 and index == 0 and isinstance(output[1], Tensor) and not output[1].is_floating_point()
    return output[index] if index < len(output) and not chosen else None


def _experts(config: Any) -> set[int]:
    """Return the numbers of experts in a config and in configs inside it; none where there are fewer than two."""
    values = vars(config) if hasattr(config, "__dict__") else {}
    inner = (vars(value) for value in values.values() if hasattr(value, "to_dict"))
    return {
        count
        for each in (values, *inner)
        for name, value in each.items()
        if name.endswith("experts") and not _NOT_ROUTED.search(name) and (count := whole(value) or 0) > 1
    }


def _declared(model: nn.Module, layers: Sequence[nn.Module]) -> list[FoundModule]:
    """Return the modules that the classes of the model, and of models inside it, declare."""
    declarations = [getattr(module, "_can_record_outputs", None) for module in model.modules()]
    recorders = {each for one in declarations if isinstance(one, dict) for each in _recorders(one.get(_KEY))}
    return [
        FoundModule(at, name, partial(_logits_of, index))
        for at, layer in enumerate(layers)
        for name, module in layer.named_modules()
        for kind, index, path in recorders
        if isinstance(module, kind) and path in f".{name}."
    ]


def _recorders(declared: Any) -> Iterator[tuple[type, int, str]]:
    """Yield class, place in its output and a part of its path, of a class, a recorder or several of them."""
    for each in declared if isinstance(declared, list | tuple) else (declared,):
        if isinstance(each, type):
            yield each, 1, ""
        elif isinstance(kind := getattr(each, "target_class", None), type):
            name = getattr(each, "layer_name", None)
            yield kind, int(getattr(each, "index", 0)), "" if name is None else f".{name.strip('.')}."


def _linear(layers: Sequence[nn.Module], experts: set[int]) -> list[FoundModule]:
    """Return the linear maps to as many numbers as there are experts, by their names."""
    return [
        FoundModule(at, name, partial(_logits_of, 0))
        for at, layer in enumerate(layers)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and module.out_features in experts and _ROUTER.search(name)
    ]

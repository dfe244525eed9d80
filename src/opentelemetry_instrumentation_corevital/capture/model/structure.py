"""A model's decoder layers and attention modules, found by rule.

Nothing is known of single architectures. The decoder's layers are the `nn.ModuleList` that is as long as the config
says (or holds attention), nearest to the root; a layer's attention modules are those inside it that say so in their
class's name. What cannot be found is absent with a reason.
"""

import re
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import nn

from ..._internal.safety import report_internal_error
from .description import layer_counts, text_config
from .target import Target
from .targets import TARGETS

AttentionKind = Literal["self", "cross"]

_ATTENTION: Final = re.compile(r"attention|attn|MLA$", re.IGNORECASE)
_MERGED: Final = re.compile(r"merged", re.IGNORECASE)
"""Self- and cross-attention in one row (T5Gemma 2): neither of them can be told."""
_CROSS: Final = re.compile(r"cross_?att|enc(oder)?_?(dec(oder)?|att)", re.IGNORECASE)
_ENCODER: Final = re.compile(r"encoder", re.IGNORECASE)
_DECODER: Final = re.compile(r"decoder", re.IGNORECASE)
_QUERY_PROJECTIONS: Final = (
    "q_proj",
    "q",
    "c_attn",
    "qkv_proj",
    "query_key_value",
    "q_a_proj",
    "q_b_proj",
    "Wqkv",
    "wq",
    "query",
    "q_lin",
)


@dataclass(frozen=True, slots=True)
class Attention:
    """An attention module: its layer's index and what it attends to."""

    layer: int
    kind: AttentionKind


@dataclass(frozen=True, slots=True)
class Output:
    """A module inside a layer whose output is measured (see `targets`): its layer's index, and what is taken of it."""

    family: str
    layer: int
    pick: Callable[[Any], Any]
    what: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the layers of a step have returned, in the order in which they ran, and what later steps are held against.

    Attributes:
        modules: ids of the layers.
        layers: their indices.
        shape: of every output, which is the state itself.
        dtype: of every output.
    """

    modules: tuple[int, ...]
    layers: tuple[int, ...]
    shape: torch.Size
    dtype: torch.dtype


class Anatomy:
    """Where a model's layers and attention modules are. Keeps none of them alive.

    Args:
        model: the model.
        path: of the `nn.ModuleList` of layers in it; None where none was found.
    """

    def __init__(self, model: nn.Module, path: str | None) -> None:
        self.path = path
        self.in_place: bool | None = None
        """Whether a layer's output is changed in place after it was returned; None until a step has told."""
        self.attends_in_place: bool | None = None
        """Whether queries or keys are changed before the step is over; None until a step has told."""
        self.pattern: Pattern | None = None
        """What the layers returned in the last call's steps, if that can be told at once."""
        modules: Any = () if path is None else model.get_submodule(path)
        self.layer_of: dict[int, int] = {id(layer): index for index, layer in enumerate(modules)}
        """id of a layer -> its index. `is_of` says whether these are still the ids of the model's layers."""
        self.attention_of: dict[int, Attention] = {}
        """id of an attention module -> what it is. A module that several layers share is not in it."""
        self.layers: list[weakref.ref[nn.Module]] = [weakref.ref(layer) for layer in modules]
        self.attentions: list[weakref.ref[nn.Module]] = []
        self.merged = any(_MERGED.search(type(module).__name__) for layer in modules for module in layer.modules())
        """Whether a layer has self- and cross-attention in one row."""
        self._names: list[tuple[int, list[str]]] = []
        """Of each of those: its layer's index and the names that lead to it from there."""
        shared: set[int] = set()
        for index, layer in enumerate(modules):
            for name, module in attention_modules(layer):
                if id(module) in self.attention_of:
                    shared.add(id(module))
                self.attention_of[id(module)] = Attention(index, "cross" if _is_cross(name, module) else "self")
                self.attentions.append(weakref.ref(module))
                self._names.append((index, name.split(".") if name else []))
        for key in shared:
            del self.attention_of[key]
        self.outputs: dict[str, str] = {}
        """Family that is made of outputs of modules inside the layers -> why they cannot be told; empty: they can."""
        self.output_of: dict[int, Output] = {}
        """id of such a module -> what is taken of it."""
        self.output_modules: list[weakref.ref[nn.Module]] = []
        self._output_names: list[tuple[int, list[str]]] = []
        for target in TARGETS:
            self._find(model, list(modules), target)

    def _find(self, model: nn.Module, layers: list[nn.Module], target: Target) -> None:
        """Find the modules whose output a target is, or why they cannot be told."""
        try:
            found = target.find(model, layers)
        except Exception as error:  # what a class declares, or a config holds, may be anything
            report_internal_error("capture.targets", error)
            found = f"internal error ({type(error).__name__})"
        if isinstance(found, str):
            self.outputs[target.family] = found
            return
        modules = [layers[at.layer].get_submodule(at.name) for at in found]
        if len({id(module) for module in modules}) != len(modules):
            self.outputs[target.family] = f"{target.what} are made by one module for several layers"
            return
        for at, module in zip(found, modules, strict=True):
            self.outputs[target.family] = ""
            self.output_of[id(module)] = Output(target.family, at.layer, at.pick, target.what)
            self.output_modules.append(weakref.ref(module))
            self._output_names.append((at.layer, at.name.split(".") if at.name else []))

    def is_of(self, model: nn.Module) -> bool:
        """Whether the model still has these layers and the modules inside them: a user may exchange some."""
        if self.path is None:
            return True
        try:
            modules: Any = model.get_submodule(self.path)
        except AttributeError:
            return False
        layers = list(modules)
        if layers != [layer() for layer in self.layers]:
            return False
        names, known = self._names + self._output_names, self.attentions + self.output_modules
        return [_below(layers[index], path) for index, path in names] == [module() for module in known]


def examine(model: nn.Module) -> Anatomy:
    """Find a model's layers and attention modules."""
    return Anatomy(model, layers_path(model))


def _below(module: nn.Module, names: list[str]) -> nn.Module | None:
    """Return what these names lead to, quickly: this runs at every generate()."""
    found: nn.Module | None = module
    for name in names:
        found = None if found is None else found._modules.get(name)
    return found


def layers_path(model: nn.Module) -> str | None:
    """Return the path of the `nn.ModuleList` that holds the decoder's layers; None where none is found.

    What `get_decoder()` returns may be the text part as a whole, with an encoder of its own (Florence-2), or something
    else than a decoder: it is preferred, but a list on an encoder's side is taken only where there is no other.
    """
    expected = layer_counts(text_config(getattr(model, "config", None)))
    in_decoder = {id(module) for module in _decoder(model).modules()}
    best: tuple[tuple[bool, bool, bool, bool, int, int], str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        fits = len(module) in expected
        attends = bool(attention_modules(module[0]))
        if not fits and not attends:
            continue
        encodes = _is_beside_decoder(model, name.split("."))
        rank = (not encodes, id(module) in in_decoder, fits, attends, -name.count("."), len(module))
        if best is None or rank > best[0]:
            best = rank, name, module
    if best is None or all(map(_is_only_attention, best[2])):
        return None
    return best[1]


def _is_beside_decoder(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether a path leads through an encoder that has a decoder of layers beside it."""
    above: nn.Module | None = model
    for name in names:
        if above is None:
            return False
        if _ENCODER.search(name) and not _DECODER.search(name):
            beside = (
                module for other, module in above._modules.items() if module is not None and _DECODER.search(other)
            )
            if any(isinstance(below, nn.ModuleList) for module in beside for below in module.modules()):
                return True
        above = above._modules.get(name)
    return False


def attention_modules(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the innermost attention modules of a layer, with their path in it."""
    found = [(name, module) for name, module in layer.named_modules() if _is_attention(module)]
    holders = {id(outer) for _, outer in found for _, inner in found if inner is not outer and inner in outer.modules()}
    return [(name, module) for name, module in found if id(module) not in holders]


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__
    return bool(_ATTENTION.search(name)) and not _MERGED.search(name) and _attends(module)


def _is_only_attention(module: nn.Module) -> bool:
    """Whether what looks like a layer is an attention by itself (XLM has lists of attentions, norms, ...)."""
    below = any(found is not module for _, found in attention_modules(module))
    return bool(_ATTENTION.search(type(module).__name__)) and not below


def _attends(module: nn.Module) -> bool:
    return hasattr(module, "layer_idx") or any(hasattr(module, name) for name in _QUERY_PROJECTIONS)


def _is_cross(name: str, module: nn.Module) -> bool:
    return bool(_CROSS.search(name) or _CROSS.search(type(module).__name__)) or bool(
        getattr(module, "is_cross_attention", False)
    )


def _decoder(model: nn.Module) -> nn.Module:
    get: Any = getattr(model, "get_decoder", None)
    decoder = None
    if get is not None:
        try:
            decoder = get()
        except (AttributeError, NotImplementedError, TypeError):
            decoder = None
    if isinstance(decoder, nn.Module) and any(isinstance(module, nn.ModuleList) for module in decoder.modules()):
        return decoder
    base = getattr(model, str(getattr(model, "base_model_prefix", "") or ""), None)
    return base if isinstance(base, nn.Module) else model

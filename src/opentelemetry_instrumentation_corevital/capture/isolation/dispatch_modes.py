"""Our own operations, kept from the caller's modes: a counter of FLOPs or a logger sees those of the model only.

torch has no public way to leave the modes of a thread for a while. Its private functions for that are looked for once;
where one is missing, modes see our operations, and nothing else changes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor


def _private(*names: str) -> Any:
    """Return a private function of torch by its path; None where this version has none."""
    found: Any = torch
    for name in names:
        found = getattr(found, name, None)
    return found


_Stack = tuple[Callable[[], int], Callable[[], Any], Callable[[Any], None]]
"""How many modes there are, what takes the last one off, and what puts it back."""


def _stack(kind: str, module: tuple[str, ...]) -> _Stack | None:
    found = (
        _private("_C", f"_len_torch_{kind}_stack"),
        _private(*module, "_pop_mode"),
        _private(*module, "_push_mode"),
    )
    return None if None in found else found


_NOTHING: Final = contextlib.nullcontext()
_STACKS: Final = [
    stack
    for stack in (_stack("function", ("overrides",)), _stack("dispatch", ("utils", "_python_dispatch")))
    if stack is not None
]
_active_modes: Final = _private("utils", "_python_dispatch", "_get_current_dispatch_mode_stack")
_TRACING: Final = frozenset({"FakeTensorMode", "FunctionalTensorMode", "ProxyTorchDispatchMode"})
"""Modes in which tensors are no ordinary ones: without the mode our operations could not read them."""


def watched() -> bool:
    """Whether modes of this thread see every operation."""
    return any(count() for count, _, _ in _STACKS)


def unseen() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which no mode of the caller sees what we do."""
    return _hidden() if watched() else _NOTHING


@contextlib.contextmanager
def _hidden() -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        if _active_modes is not None and not any(map(_traces, _active_modes())):
            for count, pop, push in _STACKS:
                for _ in range(count()):
                    undo.callback(push, pop())
        yield


def _traces(mode: Any) -> bool:
    return any(kind.__name__ in _TRACING for kind in type(mode).__mro__)


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor has values that can be read: those of the meta device and of fake-tensor modes have none.

    Inside such a mode those of ordinary tensors cannot be read, either: what is computed from them is fake.
    """
    if tensor.is_meta or any(kind.__name__ == "FakeTensor" for kind in type(tensor).__mro__):
        return False
    return not (watched() and _active_modes is not None and any(map(_traces, _active_modes())))

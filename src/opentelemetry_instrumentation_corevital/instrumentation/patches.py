"""Patches on a class, put on and taken off without a trace, also when somebody else patched on top."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import wrapt

Wrapper = Callable[..., Any]


class ClassPatch:
    """A wrapper around one method of a class, put there as a plain function.

    So the method is pickled by its name, copied and held weakly as before; of a proxy, which passes for the original
    in most other ways, Python's own types do none of that.

    Where another library has wrapped the method after us, ours cannot be taken out from below it: it stays and does
    nothing, and the next `apply` wraps theirs.
    """

    def __init__(self, name: str, wrapper: Wrapper) -> None:
        self.name = name
        self._wrapper = wrapper
        self._active = False
        self._owner: type | None = None
        self._original: Any = None
        self._method: Any = None

    def apply(self, owner: type) -> None:
        """Wrap the method, unless it is ours already."""
        self._active = True
        found = vars(owner).get(self.name)
        if found is None or found is self._method:
            return
        if owner is not self._owner or found is not self._original:
            self._owner, self._original, self._method = owner, found, self._around(found)
        setattr(owner, self.name, self._method)

    def remove(self) -> None:
        """Put the original back, or make the wrapper do nothing where it cannot be reached.

        It is kept for the next `apply`, and for whoever holds it weakly.
        """
        self._active = False
        if self._owner is not None and vars(self._owner).get(self.name) is self._method:
            setattr(self._owner, self.name, self._original)

    def _around(self, original: Any) -> Callable[..., Any]:
        patch = self
        bind = getattr(type(original), "__get__", None)  # a mock or another object that is called has none

        @functools.wraps(original)
        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            wrapped = original if bind is None else bind(original, self, type(self))
            if patch._active and patch._method is method:  # else it is below a patch of another library's, and of ours
                return patch._wrapper(wrapped, self, args, kwargs)
            return wrapped(*args, **kwargs)

        if hasattr(original, "__wrapped__"):
            # Callers reach for what the original wraps, as a way round its decorator: for them it is where it was.
            method.__wrapped__ = original.__wrapped__
        return method


class PatchTable:
    """Patches on classes of modules that may not be imported yet.

    Args:
        patches: of every module, when it is there, class name and patch.
    """

    def __init__(self, patches: Mapping[str, Callable[[], Sequence[tuple[str, ClassPatch]]]]) -> None:
        self._makers = patches
        self._made: dict[str, Sequence[tuple[str, ClassPatch]]] = {}
        self._hooked: set[str] = set()

    def apply(self, on_import: Callable[[ModuleType], None]) -> None:
        """Patch what is imported, and have `on_import` called with each of the other modules when it is.

        Such a hook cannot be taken back, so there is at most one for each module.
        """
        for name in self._makers:
            if (module := sys.modules.get(name)) is not None:
                self.patch(module)
            elif name not in self._hooked:
                self._hooked.add(name)
                wrapt.register_post_import_hook(on_import, name)

    def patch(self, module: ModuleType) -> None:
        """Patch the classes of one module; what this version of it does not have is left out."""
        name = module.__name__
        if name not in self._made:
            self._made[name] = self._makers[name]()
        for class_name, patch in self._made[name]:
            owner = getattr(module, class_name, None)
            if isinstance(owner, type):
                patch.apply(owner)

    def remove(self) -> None:
        """Take all patches off."""
        for patches in self._made.values():
            for _, patch in patches:
                patch.remove()

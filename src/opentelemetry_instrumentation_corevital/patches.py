"""Patches on a class, put on and taken off without a trace, also when somebody else patched on top."""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import wrapt

Wrapper = Callable[..., Any]


class ClassPatch:
    """A wrapper around one method of a class.

    Where another library has wrapped the method after us, ours cannot be taken out from below it: it stays and does
    nothing, and is used again by the next `apply`.
    """

    def __init__(self, name: str, wrapper: Wrapper) -> None:
        self.name = name
        self._wrapper = wrapper
        self._active = False
        self._owner: type | None = None
        self._original: Any = None
        self._wrapped: Any = None

    def apply(self, owner: type) -> None:
        """Wrap the method, unless it already is."""
        self._active = True
        original = vars(owner).get(self.name)
        if original is None or self._in_chain(original):
            return
        self._owner = owner
        self._original = original
        self._wrapped = wrapt.FunctionWrapper(original, self._call)
        setattr(owner, self.name, self._wrapped)

    def remove(self) -> None:
        """Put the original back, or make the wrapper do nothing where it cannot be reached."""
        self._active = False
        if self._owner is not None and vars(self._owner).get(self.name) is self._wrapped:
            setattr(self._owner, self.name, self._original)
            self._owner = self._wrapped = self._original = None

    def _in_chain(self, method: Any) -> bool:
        while method is not None:
            if method is self._wrapped:
                return True
            method = getattr(method, "__wrapped__", None)
        return False

    def _call(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if not self._active:
            return wrapped(*args, **kwargs)
        return self._wrapper(wrapped, instance, args, kwargs)


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

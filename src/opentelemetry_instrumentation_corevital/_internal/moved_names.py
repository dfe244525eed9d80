"""Where names of before are now, so that pickles of before open.

A pickle names a class by the module that defines it, not by the one that users import it from. So whoever moves or
renames a class or function that users can have (docs/api.md, and what hangs on it) adds its old place here.

The old modules are made when somebody imports them, and only where Python finds none of that name. They have nothing
but these names, each loaded when it is asked for.
"""

from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, Final

_PACKAGE: Final = __name__.removesuffix("._internal.moved_names")

MOVED: Final[dict[str, dict[str, str]]] = {
    "calibration.find": {"Profiles": "baselines.lookup", "profiles_folder": "baselines.lookup"},
    "calibration.profile": {
        "Identity": "baselines.profile",
        "Made": "baselines.profile",
        "Profile": "baselines.profile",
        "ProfileError": "baselines.profile",
        "Spread": "baselines.profile",
        "Spreads": "baselines.profile",
        "read_profile": "baselines.profile",
        "write_profile": "calibration.write",
    },
    "call_context": {"disabled": "instrumentation.call_context", "rag_context": "instrumentation.call_context"},
    "cli.models": {"__main__": "loading.models"},
    "instrumentor": {"CoreVitalInstrumentor": "instrumentation.instrumentor"},
    "rag": {"RAGContext": "instrumentation.rag"},
    "store.checked": {"Findings": "store.checked_attributes"},
    "store.errors": {"StoreError": "store.store_error"},
    "store.queries": {"Store": "store.sqlite_source"},
    "store.stored": {
        "Dropped": "presentation.shapes",
        "RunList": "store.stored_run",
        "RunSummary": "store.stored_run",
        "StoredEvent": "store.stored_run",
        "StoredRun": "store.stored_run",
        "get_fingerprint": "store.stored_fingerprints",
    },
}
"""Old module -> name -> new module, or `module:name` where the name is new, too; `__main__`: what `python -m` runs."""


class _Loader:
    """Makes the old modules."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        def load(name: str) -> Any:
            found = _place(module.__name__, name)
            if found is None:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(import_module(found[0]), found[1])

        module.__getattr__ = load  # type: ignore[method-assign]

    def get_code(self, name: str) -> CodeType | None:
        """Return what `python -m` runs."""
        found = _place(name, "__main__")
        run = f"__import__('runpy').run_module({found[0]!r}, run_name='__main__', alter_sys=True)" if found else None
        return compile(run, name, "exec") if run else None


_LOADER: Final = _Loader()


def spec_of(name: str) -> ModuleSpec | None:
    """Return what makes a module of before; None for any other."""
    known = name.removeprefix(f"{_PACKAGE}.") in MOVED
    return ModuleSpec(name, _LOADER) if known else None  # type: ignore[arg-type]


def _place(module: str, name: str) -> tuple[str, str] | None:
    """Return the new module of an old name, and the name in it."""
    new_module, _, new_name = MOVED[module.removeprefix(f"{_PACKAGE}.")].get(name, "").partition(":")
    return (f"{_PACKAGE}.{new_module}", new_name or name) if new_module else None

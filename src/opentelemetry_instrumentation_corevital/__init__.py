"""CoreVital watches the inside of Hugging Face `generate()` and judges each run, as OpenTelemetry instrumentation.

The public names, each loaded when it is first used, so that importing the package costs next to nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from .assessment.step_event import StepEvent
    from .config import Settings, SettingsError
    from .emission.console_exporter import ConsoleRunExporter
    from .instrumentation.call_context import disabled, prompt_text, rag_context
    from .instrumentation.instrumentor import CoreVitalInstrumentor
    from .instrumentation.last_runs import last_run, last_runs
    from .instrumentation.rag import RAGContext
    from .monitor.monitor import CoreVitalMonitor
    from .processors import Judgement
    from .recordings.store_recording import recording
    from .run import Run
    from .store import get_fingerprint, open_store
    from .version import __version__

_EXPORTS = {
    "ConsoleRunExporter": "emission.console_exporter",
    "CoreVitalInstrumentor": "instrumentation.instrumentor",
    "CoreVitalMonitor": "monitor.monitor",
    "Judgement": "processors",
    "RAGContext": "instrumentation.rag",
    "Run": "run",
    "Settings": "config",
    "SettingsError": "config",
    "StepEvent": "assessment.step_event",
    "__version__": "version",
    "disabled": "instrumentation.call_context",
    "get_fingerprint": "store",
    "last_run": "instrumentation.last_runs",
    "last_runs": "instrumentation.last_runs",
    "open_store": "store",
    "prompt_text": "instrumentation.call_context",
    "rag_context": "instrumentation.call_context",
    "recording": "recordings.store_recording",
}

__all__ = [
    "ConsoleRunExporter",
    "CoreVitalInstrumentor",
    "CoreVitalMonitor",
    "Judgement",
    "RAGContext",
    "Run",
    "Settings",
    "SettingsError",
    "StepEvent",
    "__version__",
    "disabled",
    "get_fingerprint",
    "last_run",
    "last_runs",
    "open_store",
    "prompt_text",
    "rag_context",
    "recording",
]


class _NamesOfBefore:
    """Finds modules that have moved, where nothing else finds them: pickles of before name them."""

    @staticmethod
    def find_spec(name: str, _path: Any = None, _target: Any = None) -> "ModuleSpec | None":
        if not name.startswith(f"{__name__}."):
            return None
        from ._internal.moved_names import spec_of

        return spec_of(name)


sys.meta_path.append(_NamesOfBefore)


def __getattr__(name: str) -> Any:
    try:
        module = _EXPORTS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

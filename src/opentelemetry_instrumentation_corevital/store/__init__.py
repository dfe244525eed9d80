"""The store: runs with their spans, logs, metrics and data in one SQLite file. Needs neither torch nor transformers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .database import StoreError
    from .exporters import SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter
    from .queries import Store, open_store
    from .receipt import Receipt
    from .retention import Retention
    from .stored import RunList, RunSummary, StoredRun, get_fingerprint
    from .writer import StoreWriter

_EXPORTS = {
    "Receipt": "receipt",
    "Retention": "retention",
    "RunList": "stored",
    "RunSummary": "stored",
    "SQLiteLogExporter": "exporters",
    "SQLiteMetricExporter": "exporters",
    "SQLiteSpanExporter": "exporters",
    "Store": "queries",
    "StoreError": "database",
    "StoreWriter": "writer",
    "StoredRun": "stored",
    "get_fingerprint": "stored",
    "open_store": "queries",
}

__all__ = [
    "Receipt",
    "Retention",
    "RunList",
    "RunSummary",
    "SQLiteLogExporter",
    "SQLiteMetricExporter",
    "SQLiteSpanExporter",
    "Store",
    "StoreError",
    "StoreWriter",
    "StoredRun",
    "get_fingerprint",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)

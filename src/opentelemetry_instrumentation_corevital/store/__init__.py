"""Keeps runs with their spans, logs, metrics and data, and finds them again.

Needs neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cursors import Cursor, Neighbours, RunOrder, RunPage
    from .exporters import SQLiteLogExporter, SQLiteMetricExporter, SQLiteSpanExporter
    from .facets import RunCounts
    from .filters import RunFilter
    from .opening import open_store
    from .receipt import Receipt
    from .retention import Retention
    from .similar_runs import SimilarRun
    from .source import ModelOverview, RunSource
    from .sqlite_source import Store
    from .store_error import StoreError
    from .stored_fingerprints import get_fingerprint
    from .stored_run import RunList, RunSummary, StoredRun
    from .writer import StoreWriter

_EXPORTS = {
    "Cursor": "cursors",
    "ModelOverview": "source",
    "Neighbours": "cursors",
    "Receipt": "receipt",
    "Retention": "retention",
    "RunCounts": "facets",
    "RunFilter": "filters",
    "RunList": "stored_run",
    "RunOrder": "cursors",
    "RunPage": "cursors",
    "RunSource": "source",
    "RunSummary": "stored_run",
    "SQLiteLogExporter": "exporters",
    "SQLiteMetricExporter": "exporters",
    "SQLiteSpanExporter": "exporters",
    "SimilarRun": "similar_runs",
    "Store": "sqlite_source",
    "StoreError": "store_error",
    "StoreWriter": "writer",
    "StoredRun": "stored_run",
    "get_fingerprint": "stored_fingerprints",
    "open_store": "opening",
}

__all__ = [
    "Cursor",
    "ModelOverview",
    "Neighbours",
    "Receipt",
    "Retention",
    "RunCounts",
    "RunFilter",
    "RunList",
    "RunOrder",
    "RunPage",
    "RunSource",
    "RunSummary",
    "SQLiteLogExporter",
    "SQLiteMetricExporter",
    "SQLiteSpanExporter",
    "SimilarRun",
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

"""Which function of CoreVital reads which option while a block runs."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry_instrumentation_corevital import Settings, config

PACKAGE = config.__name__.rpartition(".")[0]


@contextmanager
def reads_of_options() -> Iterator[dict[str, set[str]]]:
    """Give option -> the functions that read it, as `emission.span.in_full`; properties count for who reads them."""
    seen: dict[str, set[str]] = defaultdict(set)

    def read(settings: Settings, name: str) -> Any:
        if name in Settings.model_fields:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"] in (config.__name__, __name__) and frame.f_back is not None:
                frame = frame.f_back
            module = str(frame.f_globals["__name__"])
            if module.startswith(f"{PACKAGE}."):  # and not pydantic, which validates
                seen[name].add(f"{module.removeprefix(f'{PACKAGE}.')}.{frame.f_code.co_qualname}")
        return object.__getattribute__(settings, name)

    Settings.__getattribute__ = read  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del Settings.__getattribute__

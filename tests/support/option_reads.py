"""Which function of CoreVital reads which option while a block runs."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry_instrumentation_corevital import Settings, config

PACKAGE = config.__name__.rpartition(".")[0]
Place = tuple[str, int]
"""A function, as `emission.span.in_full`, and where in its code it reads."""


@contextmanager
def reads_of_options() -> Iterator[dict[str, set[Place]]]:
    """Give option -> the places that read it; a property of the settings counts for who reads that."""
    seen: dict[str, set[Place]] = defaultdict(set)

    def read(settings: Settings, name: str) -> Any:
        if name in Settings.model_fields:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"] in (config.__name__, __name__) and frame.f_back is not None:
                frame = frame.f_back
            module = str(frame.f_globals["__name__"])
            if module.startswith(f"{PACKAGE}."):  # and not pydantic, which validates
                function = f"{module.removeprefix(f'{PACKAGE}.')}.{frame.f_code.co_qualname}"
                seen[name].add((function, frame.f_lasti))
        return object.__getattribute__(settings, name)

    Settings.__getattribute__ = read  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del Settings.__getattribute__

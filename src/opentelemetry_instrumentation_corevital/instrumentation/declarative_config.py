"""The options of CoreVital in OpenTelemetry's declarative configuration file."""

import os
from typing import Any


def declared_options() -> dict[str, Any] | None:
    """Return the options that the file of `OTEL_CONFIG_FILE` gives; None where there is no such file.

    Raises whatever the loader of `opentelemetry-configuration` raises for a bad file.
    """
    path = os.environ.get("OTEL_CONFIG_FILE")
    if not path:
        return None
    from opentelemetry.configuration import load_config_file

    instrumentation = load_config_file(path).instrumentation_development
    python = None if instrumentation is None else instrumentation.python
    return dict((python or {}).get("corevital") or {})

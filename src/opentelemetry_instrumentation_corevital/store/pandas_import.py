"""pandas, where somebody asks for a table."""

from typing import Any


def import_pandas() -> Any:
    """Return pandas.

    Raises:
        ImportError: with what to install.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "pandas is not installed: pip install 'opentelemetry-instrumentation-corevital[pandas]'"
        ) from error
    return pandas

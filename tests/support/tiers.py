"""Which tier a case of a test belongs to."""

from typing import Any

import pytest


def heavy(*values: Any, **options: Any) -> Any:
    """Return a case that only `make acceptance` runs: it takes long, and a sibling in `make test` shows most of it."""
    return pytest.param(*values, marks=pytest.mark.acceptance, **options)

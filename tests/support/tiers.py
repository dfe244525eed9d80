"""Which tier a case of a test belongs to."""

from typing import Any

import pytest


def heavy(*values: Any, **options: Any) -> Any:
    """Return a case that `make acceptance` runs and `make test` leaves out: seconds, of which a sibling shows most."""
    return pytest.param(*values, marks=pytest.mark.acceptance, **options)

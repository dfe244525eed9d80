"""One store, one dashboard and one browser for all tests that look at pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import CHROMIUM, Page, page
from tests.support.dashboard_process import Dashboard, dashboard

if TYPE_CHECKING:
    from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
    from tests.support.dashboard_store import Filled


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that all look at."""
    return tmp_path_factory.mktemp("dashboard") / "runs.db"


@pytest.fixture(scope="session")
def filled(store: Path, smollm2: "LoadedModel") -> "Filled":
    """The store with real and made runs in it."""
    from tests.support.dashboard_store import fill

    return fill(store, smollm2)


@pytest.fixture(scope="session")
def served(filled: "Filled", store: Path) -> Iterator[Dashboard]:
    """A dashboard over the store, in which runs can be labelled."""
    with dashboard(store, store.parent, "--allow-labels") as running:
        yield running


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH")
    with page(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def browser(chromium: Page) -> Iterator[Page]:
    """The browser, as wide as a desk's, in the light; a test fails if a page of it had an error."""
    chromium.resize(1280, 900)
    chromium.prefer("light")
    chromium.troubles()
    yield chromium
    chromium.open("about:blank")  # streams end
    assert chromium.troubles() == []

"""The extras: those that readers were promised are there, `all` has everything of the others, and a page names each."""

import tomllib

import pytest

from tests.support.subprocesses import ROOT

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
PROMISED = ("otel", "dashboard", "calibrate", "plot", "prometheus", "datadog", "all")


@pytest.mark.parametrize("name", PROMISED)
def test_what_was_promised_is_there_so_that_no_installer_warns(name: str) -> None:
    assert name in EXTRAS


def test_all_is_all() -> None:
    others = {each for name, asked in EXTRAS.items() if name != "all" for each in asked}
    assert set(EXTRAS["all"]) == others


@pytest.mark.parametrize("name", EXTRAS)
def test_a_page_names_it(name: str) -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert f"`[{name}]`" in page

"""The files of pages: whole, as they were vendored, and made so that they can be joined and harm nobody."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.presentation.pages import assets as page_assets
from opentelemetry_instrumentation_corevital.presentation.pages.assets import asset_text, assets, joined_modules
from opentelemetry_instrumentation_corevital.presentation.pages.inlined import Inlined
from opentelemetry_instrumentation_corevital.presentation.pages.rendering import json_data

STATIC = Path(page_assets.__file__).parent / "static"
VENDORED = json.loads((STATIC / "vendored.json").read_text("utf-8"))
OURS = sorted(name for name in assets() if name.endswith(".js") and name not in VENDORED)
FROM_MARKUP = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "eval(",
    "new Function",
    "srcdoc",
)


@pytest.mark.parametrize("name", VENDORED)
def test_what_is_vendored_is_what_was_built(name: str) -> None:
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == VENDORED[name]["sha256"]
    assert VENDORED[name]["version"] in asset_text(name)[:200]


def test_what_is_vendored_has_its_licence_beside_it() -> None:
    licence = (STATIC / "echarts.LICENSE").read_text("utf-8")
    assert all(name in licence for name in ("Apache License", "ZRender", "tslib"))
    assert "Apache Software Foundation" in (STATIC / "echarts.NOTICE").read_text("utf-8")


@pytest.mark.parametrize("name", OURS)
def test_a_module_makes_no_markup_of_text(name: str) -> None:
    assert [word for word in FROM_MARKUP if word in asset_text(name)] == []


@pytest.mark.parametrize("name", OURS)
def test_a_module_imports_in_the_way_that_can_be_joined(name: str) -> None:
    lines = [line for line in asset_text(name).splitlines() if re.match(r"\s*(import|export)\b", line)]
    assert [
        line
        for line in lines
        if not re.match(r'import \{ .+ \} from "\./[\w-]+\.js";$|export (async )?(function|const|class) ', line)
    ] == []
    assert not re.search(r"^(import|export) ", joined_modules(name), re.MULTILINE)


def test_no_two_modules_have_a_name_at_their_top_in_common() -> None:
    """Joined into one they would take each other's place."""
    top = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
    found = Counter(name for module in OURS for name in top.findall(asset_text(module)))
    assert [name for name, count in found.items() if count > 1] == []


@pytest.mark.parametrize("name", [*OURS, *VENDORED])
def test_no_script_ends_the_element_that_it_stands_in(name: str) -> None:
    assert not re.search(r"</script|<!--", asset_text(name), re.IGNORECASE)


def test_a_file_allows_its_own_scripts_and_styles_alone() -> None:
    policy = Inlined.of(["theme.css"], "charts.js").policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_data_cannot_end_their_block() -> None:
    text = str(json_data({"</script><script>alert(1)</script>": "<!--\u2028&"}))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"</script><script>alert(1)</script>": "<!--\u2028&"}


def test_no_page_gives_a_shared_class_another_look() -> None:
    styled = {
        each.name: set(re.findall(r"^\s*(\.[\w-]+)\s*\{", each.read_text("utf-8"), re.M))
        for each in STATIC.glob("*.css")
    }
    shared = styled.pop("theme.css")
    assert ".chip" in shared
    assert styled
    assert not {name: both for name, classes in styled.items() if (both := classes & shared)}

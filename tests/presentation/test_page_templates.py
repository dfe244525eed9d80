"""Scripts, styles and templates of pages: none needs what the policy forbids, and none makes code or style of data."""

import re
from pathlib import Path

import pytest

import opentelemetry_instrumentation_corevital as package
from opentelemetry_instrumentation_corevital.presentation.pages.assets import asset_text, assets

HOME = Path(package.__file__).parent
MODULES = sorted(name for name in assets() if name.endswith(".js") and not name.endswith(".min.js"))
FOLDERS = (HOME / "presentation" / "pages", HOME / "dashboard")
TEMPLATES = sorted(path.relative_to(HOME).as_posix() for folder in FOLDERS for path in folder.rglob("*.j2"))
FORBIDDEN = {
    "markup of a text": r"createContextualFragment|setHTMLUnsafe|\.write(ln)?\(",
    "code of a text": r"import\s*\(|set(Timeout|Interval)\(\s*[\"'`]|javascript:",
    "markup in a chart": r"renderMode:\s*[\"']html|extraCssText",
    "style in markup": r"setAttribute\(\s*[\"']style|\.cssText",
    "a handler as a text": r"setAttribute\(\s*[\"']on",
    "another server": r"https?://(?!www\.w3\.org/)",
    "something that stays in the browser": r"document\.cookie|localStorage|sessionStorage|indexedDB",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_makes_nothing_of_data_but_text(name: str) -> None:
    text = asset_text(name)
    found = {what: re.findall(pattern, text) for what, pattern in FORBIDDEN.items() if re.search(pattern, text)}
    assert not found, "use textContent, createElement, replaceChildren and style.setProperty"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_needs_no_script_or_style_of_its_own(name: str) -> None:
    text, whole = (HOME / name).read_text("utf-8"), name.endswith("layout.html.j2")
    assert not re.search(r"\sstyle\s*=", text), "a class, and a rule in a style sheet"
    assert not re.search(r"<[^>]*\son[a-z]+\s*=", text), "a listener in a module"
    for tag in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in tag or 'type="application/json"' in tag or whole, tag
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?(https?:)?//", text), (
        "nothing of other servers"
    )
    assert whole or not re.search(r"\|\s*safe\b|autoescape false|Markup", text)
    assert not re.findall(r"<[^<>]*\s[\w-]+=\{\{[^}]*\}\}", text), "an attribute without quotes"


def test_styles_load_nothing() -> None:
    for name in assets():
        if name.endswith(".css"):
            assert not re.search(r"@import|url\(", asset_text(name)), name

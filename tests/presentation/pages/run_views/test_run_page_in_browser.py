"""The page of a run in Chromium: one cursor through tokens, timelines and layers, on disk and without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.run_file import run_file
from opentelemetry_instrumentation_corevital.store import StoredRun
from tests.support.browser import CHROMIUM, Page, page
from tests.support.made_runs import add_alternatives, add_layers, make_run
from tests.support.processes import wait_until
from tests.support.stored_runs import stored_with

pytestmark = [pytest.mark.acceptance, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

STEPS, LAYERS = 300, 12
LOOP = {"period": 40, "copies": 3.0, "start_step": 100, "onset_step": 140, "exact": True}


def looping(folder: Path) -> StoredRun:
    rng = np.random.default_rng(3)
    numbers = {
        "entropy": rng.gamma(2, 1, STEPS),
        "surprisal": rng.gamma(1, 2, STEPS),
        "margin": rng.uniform(0, 1, STEPS),
    }
    run = add_alternatives(add_layers(make_run(STEPS, **numbers), LAYERS, every=8))
    run.columns["hidden_nan"][77, 2] = 1
    told = {
        semconv.STEPS_TOTAL: STEPS,
        semconv.GEN_AI_REQUEST_MODEL: "organisation/" + "long-name-" * 19,
        semconv.HEALTH_EVIDENCE: json.dumps({"repetition_loop_detected": LOOP}),
        semconv.BLAME_LAYERS: [2],
        semconv.BLAME_REASONS: ["NaN"],
    }
    found = stored_with(folder, run, **told)
    columns = run_columns(run, content=True)
    return StoredRun(found.summary, found.attributes, (), data=to_npz(columns))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    text = run_file(looping(folder), [f"word{step} " for step in range(STEPS)])
    (folder / "run.html").write_text(text, encoding="utf-8")
    return (folder / "run.html").as_uri()


@pytest.fixture
def opened(browser: Page, file: str) -> Page:
    """Return the page, drawn, with its cursor at step 12."""
    browser.open("about:blank")
    browser.open(f"{file}#step=12")
    wait_until(lambda: browser.evaluate("document.getElementById('cursor-number')?.textContent") == "12")
    return browser


def shown(opened: Page, step: int) -> dict[str, Any]:
    """Wait until the cursor stands at a step everywhere; return what its bar says."""
    everywhere = """(() => {
        const at = [...document.querySelectorAll('.strip-tokens > span')].findIndex(e => e.classList.contains('at'));
        const lines = [...document.querySelectorAll('.cursor-line')].map(e => e.style.getPropertyValue('--at'));
        const numbers = [...document.querySelectorAll('#cursor-numbers div')];
        const bar = Object.fromEntries(numbers.map(e => [...e.children].map(c => c.textContent)));
        const text = document.getElementById('cursor-token').textContent;
        return {at, lines, bar, text, range: document.getElementById('cursor-step').value};
    })()"""
    found: dict[str, Any] = wait_until(lambda: (seen := opened.evaluate(everywhere))["at"] == step and seen)
    assert found["range"] == str(step)
    assert [float(each) for each in found["lines"]] == pytest.approx([(step + 0.5) / STEPS] * 2)
    assert found["text"] == f"word{step} "
    return found


def point_at(opened: Page, selector: str, right: float, down: float = 0.5) -> None:
    """Move the pointer to a place in an element, as fractions of its width and height."""
    box = opened.evaluate(
        "(e => (e.scrollIntoView({block: 'center'}),"
        " (b => [b.x, b.y, b.width, b.height])(e.getBoundingClientRect())))"
        f"(document.querySelector({json.dumps(selector)}))"
    )
    place = {"x": box[0] + right * box[2], "y": box[1] + down * box[3]}
    opened._call("Input.dispatchMouseEvent", type="mouseMoved", **place)


def key(opened: Page, name: str, focus: str = "body") -> None:
    opened.evaluate(f"document.querySelector({json.dumps(focus)}).focus()")
    for kind in ("keyDown", "keyUp"):
        opened._call("Input.dispatchKeyEvent", type=kind, key=name, code=name)


def test_the_address_says_where_the_cursor_is(opened: Page) -> None:
    found = shown(opened, 12)
    assert found["bar"]["surprisal"].endswith(" bit")
    assert opened.evaluate("document.querySelectorAll('#timelines canvas').length") == 1


def test_the_pointer_moves_one_cursor_everywhere(opened: Page) -> None:
    point_at(opened, ".strip-tokens > span:nth-child(35)", 0.5)
    shown(opened, 34)
    width = opened.evaluate("document.getElementById('timelines').clientWidth")
    point_at(opened, "#timelines", (56 + (width - 70) * 150.5 / STEPS) / width)
    shown(opened, 150)
    point_at(opened, "#map", (56 + (width - 70) * 77.5 / STEPS) / width, 0.2)
    assert shown(opened, 77)["bar"]["layer"] == "2: NaN or infinity"


def test_the_bar_tells_what_a_token_could_have_been(opened: Page) -> None:
    point_at(opened, ".strip-tokens > span:nth-child(35)", 0.5)
    shown(opened, 34)
    told = opened.evaluate("[...document.querySelectorAll('.could')].map(e => e.textContent)")
    assert [each.split("\u00a0")[1] for each in told] == ["0.700", "0.100", "0.050", "0.030", "0.020"]
    assert told[1].startswith("[200001]")
    assert opened.evaluate("document.querySelector('b.could-token').textContent") == told[0].split("\u00a0")[0]


def test_arrow_keys_move_it_and_layers_in_the_map(opened: Page) -> None:
    key(opened, "ArrowRight")
    shown(opened, 13)
    key(opened, "ArrowRight", "#strip")
    shown(opened, 14)
    key(opened, "ArrowDown", "#map")
    key(opened, "ArrowDown", "#map")
    found = wait_until(lambda: (seen := shown(opened, 14))["bar"].get("layer", "").startswith("1:") and seen)
    assert "times the layer's median" in found["bar"]["layer"]
    assert wait_until(lambda: "step 14" in opened.evaluate("document.getElementById('cursor-said').textContent"))
    assert wait_until(lambda: "step=14" in opened.evaluate("location.hash"))


def test_the_colours_and_the_map_are_chosen_and_kept_in_the_address(opened: Page) -> None:
    before = opened.evaluate("document.querySelector('.strip-tokens').innerHTML")
    choose = "(e, v) => { e.value = v; e.dispatchEvent(new Event('change')); }"
    opened.evaluate(f"({choose})(document.getElementById('strip-signal'), 'margin')")
    opened.evaluate(f"({choose})(document.getElementById('map-signal'), 'attention_entropy')")
    assert opened.evaluate("document.querySelector('.strip-tokens').innerHTML") != before
    assert wait_until(lambda: "colour=margin&map=attention_entropy" in opened.evaluate("location.hash"))
    assert opened.evaluate("document.querySelector('#map-table tbody tr').children.length") == 7
    assert opened.evaluate("document.querySelectorAll('#map-table tbody tr').length") == LAYERS


def test_the_map_is_drawn_with_its_faults(opened: Page) -> None:
    red = """(() => {
        const map = document.getElementById('map');
        const { data } = map.getContext('2d').getImageData(0, 0, map.width, map.height);
        const pixels = [...new Uint32Array(data.buffer)];
        return [pixels.filter(each => each === 0xff3539e5).length, pixels.filter(Boolean).length / pixels.length];
    })()"""
    faults, painted = wait_until(lambda: (seen := opened.evaluate(red))[1] > 0.5 and seen)
    assert faults > 10
    assert painted > 0.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(opened: Page, width: int, theme: str) -> None:
    opened._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened._call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert (
            wait_until(lambda: opened.evaluate("document.documentElement.clientWidth <= innerWidth && innerWidth"))
            == width
        )
        assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert opened.evaluate("document.querySelector('#timelines canvas').clientWidth") <= width
    finally:
        opened._call("Emulation.clearDeviceMetricsOverride")

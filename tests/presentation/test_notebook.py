"""Runs in a notebook: what their views show, how large they are, and that nothing foreign gets out of its place."""

import base64
import gc
import html
import pickle
import re
import struct
import weakref
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital._internal.png import png
from opentelemetry_instrumentation_corevital.presentation import showing
from opentelemetry_instrumentation_corevital.presentation.judged_runs import JudgedRuns
from opentelemetry_instrumentation_corevital.presentation.notebook import MOST, run_view
from opentelemetry_instrumentation_corevital.presentation.notebook_style import STYLE
from opentelemetry_instrumentation_corevital.presentation.shown_run import ShownRun
from opentelemetry_instrumentation_corevital.run import Risk
from opentelemetry_instrumentation_corevital.store import open_store
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.largest_run import run_with_everything
from tests.support.legacy_reports import report, write_file
from tests.support.made_runs import ROLLED_BACK, add_layers, intervened, make_run
from tests.support.reported_runs import looping, torn
from tests.support.reported_runs import report as reported
from tests.support.stored_runs import stored_with

HOSTILE: Final = "</span></style><img src=x onerror=alert(1)>\"'&\x1b[31m"
HARMLESS_TAGS: Final = {
    *("div", "style", "p", "b", "code", "table", "tr", "td", "th", "span", "figure", "figcaption", "svg", "path"),
    *("img", "details", "summary"),
}
EMPTY: Final = {"path", "img"}


class Outline(HTMLParser):
    """The tags of a view, which it closes in order, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)
        assert not self.open, "every tag is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [str(value) for name, value in attributes if name in ("src", "href", "data", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag


class Words:
    """A tokenizer whose every token is a word."""

    def __init__(self, word: str = "word") -> None:
        self.word = word

    def decode(self, tokens: list[int]) -> str:
        return "".join(f"{self.word}{token} " for token in tokens)


def judged(run: Run, tokenizer: Any = None) -> Run:
    reported(InMemoryTelemetry(), run)
    run.tokenizer = None if tokenizer is None else weakref.ref(tokenizer)
    return run


def check(text: str) -> Outline:
    """Assert what is true of every view."""
    assert len(text) <= MOST
    outline = Outline(text)
    assert set(outline.tags) <= HARMLESS_TAGS
    assert outline.handlers == []
    assert all(each.startswith("data:image/png;base64,") for each in outline.references)
    assert "script" not in re.sub(r"&lt;[^&]*", "", text)
    return outline


def without_style(text: str) -> str:
    return text.replace(STYLE, "")


def test_a_run_shows_its_verdict_its_tokens_its_timelines_and_its_layers() -> None:
    words = Words()
    run = judged(add_layers(looping(), 6), words)
    run.columns["surprisal"][5] = 9.0
    text = without_style(run._repr_html_())
    for part in (
        '<b class="level high">high risk ',
        "org/model",
        "<td>flags</td><td>repetition loop: period 10",
        "<td>tokens</td><td>5 in the prompt, 120 generated",
        '<span class="s8">word5 </span>',
        "entropy of the next token, 0 to 1 bit, steps 0 to 119",
        "repetition loop (step ",
        "layers 0 (top) to 5",
    ):
        assert part in text, part
    assert html.unescape(str(run.narrative)) in html.unescape(text)
    outline = check(run._repr_html_())
    assert outline.tags.count("svg") == outline.tags.count("img") == 2


@pytest.mark.parametrize("steps", [0, 1, 8, 4000])
def test_a_view_is_small_however_long_the_run(steps: int) -> None:
    words = Words("a-word-that-is-long-")
    run = judged(add_layers(make_run(steps), 30) if steps else make_run(0), words)
    run.columns["surprisal"] = np.resize(np.float32([0.1, 3.0, 5.0, 20.0]), steps)  # every token is a part of its own
    check(run._repr_html_())
    assert check(JudgedRuns([run] * 300)._repr_html_())


def test_a_run_that_has_everything_is_shown_whole_and_stays_small() -> None:
    run = judged(run_with_everything(1), words := Words())
    text = run._repr_html_()
    check(text)
    for part in ("NaN: step", "interventions", "blame", "error", "repetition loop (step 1420)", "red: NaN or infinity"):
        assert part in text, part
    assert words.word in text


def test_a_text_is_shown_only_where_it_is_known() -> None:
    words = Words()
    run = judged(make_run(9), words)
    assert f"word{run.tokens[0]} " in run._repr_html_()
    copied = pickle.loads(pickle.dumps(run))
    assert copied.tokenizer is None
    assert repr(copied) == repr(run)
    assert 'class="tokens"' not in copied._repr_html_()
    del words
    gc.collect()
    assert 'class="tokens"' not in run._repr_html_(), "a run keeps no tokenizer alive"


@pytest.mark.foreign_verdict
def test_what_is_foreign_stays_in_its_place(tmp_path: Path) -> None:
    words = Words(HOSTILE)
    run = judged(add_layers(intervened(ROLLED_BACK, run=make_run(40)), 4), words)
    run.model = replace(run.model, name=HOSTILE * 500, dtype=HOSTILE)
    run.narrative, run.error_type, run.warnings = HOSTILE * 500, HOSTILE * 500, [HOSTILE] * 500
    run.risk = Risk(0.5, HOSTILE, ((HOSTILE, 1.0),) * 500, HOSTILE)  # type: ignore[arg-type]
    run.absent = {f"{HOSTILE}{number}": HOSTILE for number in range(500)}
    told = {semconv.NARRATIVE: HOSTILE * 500, semconv.GEN_AI_REQUEST_MODEL: HOSTILE, semconv.RISK_LEVEL: HOSTILE}
    found = stored_with(tmp_path, run, **told)
    for text in (
        run._repr_html_(),
        JudgedRuns([run] * 99)._repr_html_(),
        found._repr_html_(),
        found.summary._repr_html_(),
        run_view(ShownRun(run), [HOSTILE] * 500),
    ):
        check(text)
        assert "\x1b" not in text
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text


def test_a_list_says_how_many_runs_it_does_not_show() -> None:
    run = judged(make_run(9))
    text = JudgedRuns([run] * 70)._repr_html_()
    shown = text.count("<tr>") - 1
    assert shown <= 50
    assert f"<p>{70 - shown} more</p>" in text
    assert "high risk" not in text
    assert JudgedRuns([run])._repr_html_() == run._repr_html_()


def test_captured_runs_show_themselves() -> None:
    telemetry = InMemoryTelemetry()
    telemetry.on_run_ending(None, judged(make_run(9)))  # type: ignore[arg-type]
    telemetry.on_run_ending(None, judged(looping()))  # type: ignore[arg-type]
    check(telemetry._repr_html_())
    assert "repetition loop" in telemetry._repr_html_()
    assert "2 runs" in repr(telemetry)


def test_a_stored_run_shows_what_is_stored_with(tmp_path: Path) -> None:
    run = stored_with(tmp_path, add_layers(make_run(40), 6))
    outline = check(run._repr_html_())
    assert outline.tags.count("img") == 2
    assert 'class="tokens"' not in run._repr_html_(), "ids are no text"
    bare = replace(run, data=None)
    assert check(bare._repr_html_()).tags.count("svg") == 1, "the steps that were recorded"
    series = {**run.attributes, semconv.SERIES_ENTROPY: [1.0, 2.0, 4.0]}
    points = run_view(replace(run, data=None, events=(), attributes=series))
    assert "0 to 4 bit, steps 0 to 39" in points
    broken = replace(run, data=b"no archive")
    assert "<td>damaged</td>" in broken._repr_html_()
    assert "Damaged and left out" in broken.to_html()


def test_a_report_has_its_own_text(tmp_path: Path) -> None:
    from opentelemetry_instrumentation_corevital.cli.app import run_command

    write_file(tmp_path, report())
    assert (
        run_command(["migrate", "--from-dir", str(tmp_path), "--to-db", str(tmp_path / "store.db"), "--with-content"])
        == 0
    )
    with open_store(tmp_path / "store.db") as store:
        run = store.run("last")
    assert 'class="tokens"' in run._repr_html_()
    check(run._repr_html_())


def test_colours_are_for_light_and_dark_pages() -> None:
    assert "prefers-color-scheme:dark" in STYLE
    for theme in ("[data-jp-theme-light=true]", "[data-jp-theme-light=false]", ".vscode-dark"):
        assert f"{theme} .corevital" in STYLE
    named = re.findall(r"([^{}]+)\{", STYLE.replace("<style>", ""))
    assert all(".corevital" in rule or rule.startswith("@media") for rule in named), "no rule is for the whole page"


# --- pages -------------------------------------------------------------------------------------------------------


def test_the_page_of_a_run_is_the_page_of_the_stored_one(tmp_path: Path) -> None:
    words = Words()
    run = judged(add_layers(looping(), 4), words)
    text = run.to_html()
    assert run.to_html(tmp_path / "run.html") == str(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == text
    assert text.startswith("<!doctype html>")
    assert f">word{run.tokens[0]} </span>" in text
    for part in ("Timelines", "risk so far", 'id="map"', "repetition loop", "default-src &#39;none&#39;"):
        assert part in text, part
    assert "run <code>" not in text, "nobody stored it, so it has no name"
    found = stored_with(tmp_path, run)
    assert f">[{run.tokens[0]}]</span>" in found.to_html()
    assert f">word{run.tokens[0]} </span>" in found.to_html(tokenizer=words)
    assert found.to_html(tmp_path / "stored.html") == str(tmp_path / "stored.html")
    assert (tmp_path / "stored.html").stat().st_size > 10_000
    with pytest.raises(OSError, match="nowhere"):
        run.to_html(tmp_path / "nowhere" / "run.html")


def test_every_number_of_a_torn_run_is_marked() -> None:
    text = judged(torn())._repr_html_()
    assert "red: NaN or infinity" in text
    assert "NaN: " in text


# --- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2, 5, 64])
def test_a_picture_holds_its_pixels(columns: int) -> None:
    """Read by hand, as the format's specification says."""
    pixels = np.random.default_rng(columns).integers(0, 16, (3, columns)).astype(np.uint8)
    data = png(pixels, [(number, 0, 255 - number) for number in range(16)], clear=15)
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (columns, 3, 4, 3, 0, 0, 0)
    width = 1 + -(-columns // 2)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, width)
    assert not lines[:, 0].any()
    read = np.stack([lines[:, 1:] >> 4, lines[:, 1:] & 15], axis=2).reshape(3, -1)[:, :columns]
    np.testing.assert_array_equal(read, pixels)
    assert chunks[b"tRNS"] == b"\xff" * 15 + b"\0"


def test_the_brightest_cell_of_a_map_is_the_largest_value() -> None:
    run = add_layers(make_run(10), 3)
    run.columns["hidden_l2_norm"][4, 1] *= 50
    run.columns["hidden_nan"][7, 2] = 3
    text = run._repr_html_()
    first = base64.b64decode(re.findall(r"base64,([^\"]+)", text)[0])
    at = first.index(b"IDAT")
    (length,) = struct.unpack(">I", first[at - 4 : at])
    lines = np.frombuffer(zlib.decompress(first[at + 4 : at + 4 + length]), np.uint8).reshape(3, -1)[:, 1:]
    codes = np.stack([lines >> 4, lines & 15], axis=2).reshape(3, -1)
    assert codes[1, 4] == 12 == codes[codes <= 12].max()
    assert codes[2, 7] == 13
    assert showing.view(run) == text

"""`corevital show --html`: one page that needs nothing else."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.cli.html_file import token_texts, write_page
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.loading import models
from opentelemetry_instrumentation_corevital.presentation.html_page import page
from opentelemetry_instrumentation_corevital.presentation.timeline import HEIGHT, WIDTH, Line, lines, marks
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoredRun, open_store
from tests.support.made_runs import add_layers, make_run
from tests.support.spans import make_spans

HOSTILE: Final = "</script><img src=x onerror=alert(1)>"
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Everything that a page refers to, its tags and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [str(value) for name, value in attributes if name in ("src", "href", "action", "data")]


def stored(folder: Path, *, steps: int = 40, layers: int = 4, data: bool = True, **changes: Any) -> StoredRun:
    path = folder / "store.db"
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(make_spans(1, **{semconv.STEPS_TOTAL: steps, **changes}))
    exporter.shutdown()
    with open_store(path) as store:
        run = store.run("last")
    if not data:
        return run
    columns = run_columns(add_layers(make_run(steps), layers), content=True)
    columns["hidden_nan"][7, 2] = 1
    columns["hidden_l2_norm"][7, 2] = np.nan
    return dataclasses.replace(run, data=to_npz(columns))


def test_the_page_holds_everything_and_refers_to_nothing(tmp_path: Path) -> None:
    evidence = {"repetition_loop_detected": {"onset_step": 12, "period": 4, "copies": 7}}
    run = stored(tmp_path, **{semconv.HEALTH_EVIDENCE: json.dumps(evidence), semconv.NARRATIVE: "It repeats itself."})
    text = page(run, [f"word{step} " for step in range(40)])
    outline = Outline(text)
    assert outline.references == []
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "default-src 'none'" in text
    assert outline.tags.count("canvas") == 1
    assert "It repeats itself." in text
    for step in range(40):
        assert f">word{step} </span>" in text
    assert "Red lines: repetition loop (step 12)" in text
    assert text.count("<figure>") == len(lines(run)) >= 4
    maps = json.loads(html.unescape(re.search(r'id="maps">(.*?)</script>', text, re.DOTALL)[1]))  # type: ignore[index]
    assert {"hidden_l2_norm", "attention_entropy"} <= {each["name"] for each in maps}
    assert all(each["layers"] == 4 and len(each["steps"]) == 40 for each in maps if each["name"] == "hidden_l2_norm")


def test_what_a_model_wrote_cannot_leave_its_place(tmp_path: Path) -> None:
    message = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": HOSTILE}]}])
    changes = {
        semconv.NARRATIVE: HOSTILE,
        semconv.GEN_AI_REQUEST_MODEL: HOSTILE,
        semconv.GEN_AI_OUTPUT_MESSAGES: message,
        semconv.WARNINGS: [HOSTILE],
    }
    text = page(stored(tmp_path, **changes), [HOSTILE] * 40)
    assert "<img" not in text
    assert Outline(text).tags.count("script") == 2
    assert html.escape(HOSTILE, quote=False) in text


def test_without_content_or_run_data_the_page_says_so(tmp_path: Path) -> None:
    run = stored(tmp_path, data=False)
    assert token_texts(run, None) is None
    text = page(run, None)
    assert "The text of the tokens is not stored" in text
    assert text.count('<span class="blank') == 40
    assert "No layer of single steps is stored" in text
    assert [line.signal for line in lines(run)] == ["entropy"]


def test_bars_stay_in_one_line_apart_from_their_figures(tmp_path: Path) -> None:
    run = stored(tmp_path, **{semconv.SERIES_ENTROPY: [1.0, 2.0, 4.0], semconv.ENTROPY_MEAN: 2.5})
    assert '<span class="bars">▃▅█</span> mean 2.50' in page(run, None)
    bare = dict(run.attributes)
    del bare[semconv.SERIES_ENTROPY]
    assert "<dd>mean 2.50" in page(dataclasses.replace(run, attributes=bare), None)


def test_ids_stand_for_tokens_that_nobody_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_hub_has", lambda *_: pytest.fail("the hub was asked"))
    run = stored(tmp_path, **{semconv.GEN_AI_REQUEST_MODEL: "nobody/has-this"})
    texts = token_texts(run, None)
    assert texts == [f"[{token}]" for token in run.columns["tokens"].tolist()]


def test_tokens_come_out_as_they_stand_in_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token alone may lose its space, or be a part of a character."""

    class Bytes:
        def decode(self, tokens: list[int]) -> str:
            return bytes(tokens).decode(errors="replace").removeprefix(" ")

    run = stored(tmp_path)
    text = "a na\u00efve \u6d77 bird sings here, once more".encode()[:40].ljust(40)
    columns = {**run.columns, "tokens": np.frombuffer(text, np.uint8).astype(np.int32)}
    monkeypatch.setattr(models, "load_tokenizer", lambda *_, **__: Bytes())
    texts = token_texts(dataclasses.replace(run, data=to_npz(columns)), None)
    assert texts is not None
    assert len(texts) == 40
    assert "".join(texts) == text.decode()
    assert texts[4:6] == ["", "\u00ef"]


def test_the_file_is_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    db = str(tmp_path / "store.db")
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "run.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "nowhere" / "run.html")]) == 1
    error = capsys.readouterr().err
    assert "--html" in error
    assert "cannot be written" in error
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "b.html"), "--tokenizer", "x"]) == 1
    assert "no token ids are stored" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["run.html"]


@pytest.mark.parametrize("steps", [1, 3, 999, 5000])
def test_a_line_stays_in_its_box_and_keeps_its_extremes(steps: int) -> None:
    values = np.random.default_rng(steps).normal(size=steps).tolist()
    values[steps // 2] = 30.0
    line = Line("entropy", "entropy", "bit", range(steps), values)
    points = [tuple(map(float, each.split())) for each in re.findall(r"[ML]([^ML]+)", line.path(steps - 1))]
    assert len(points) <= 1000
    assert all(0 <= x <= WIDTH and -0.1 <= y <= HEIGHT + 0.1 for x, y in points)
    assert min(y for _, y in points) == 0.0
    assert line.path(steps - 1).count("M") == 1


def test_a_gap_breaks_a_line() -> None:
    line = Line("entropy", "entropy", "bit", range(5), [1.0, 2.0, float("nan"), 1.0, 0.0])
    assert [part.count("L") for part in line.path(4).split("M")[1:]] == [1, 1]


def test_an_early_warning_is_marked_where_it_warned_and_a_loop_where_it_began() -> None:
    attributes = {
        semconv.HEALTH_EVIDENCE: json.dumps({"repetition_loop_detected": {"onset_step": 12, "copies": 7}}),
        semconv.EARLY_WARNING_EVIDENCE: json.dumps({"repetition_risk": {"step": 20, "onset_step": 12}, "x": {}}),
    }
    assert marks(attributes) == [(12, "repetition loop"), (20, "repetition risk")]


@pytest.mark.acceptance
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_draws_the_page_at_two_widths(tmp_path: Path, width: int) -> None:
    """The script draws the heat map under the page's own policy, and nothing is wider than the window."""
    assert CHROMIUM is not None
    run = stored(tmp_path, steps=300, layers=12, **{semconv.GEN_AI_REQUEST_MODEL: "organisation/" + "long-name-" * 12})
    write_page(run, tmp_path / "run.html", tokenizer=None)
    report = "<script>document.title = [document.documentElement.scrollWidth, innerWidth].join(' ');</script></body>"
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    (tmp_path / "probe.html").write_text(text.replace("</body>", report), encoding="utf-8")
    quiet = ("no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update")
    frame = tmp_path / "frame.html"  # a window is not made narrower than 500 pixels, a frame is
    frame.write_text(
        f'<iframe id="f" src="probe.html" style="border:0;width:{width}px;height:4000px"></iframe><pre id="out"></pre>'
        "<script>f.onload = () => { const d = f.contentDocument, c = d.getElementById('map');"
        "out.textContent = JSON.stringify([d.title, c.width, c.height,"
        " [...c.getContext('2d').getImageData(0, 0, 300, 12).data].reduce((a, b) => a + b)]); };</script>",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless", *(f"--{flag}" for flag in quiet), f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--allow-file-access-from-files", f"--window-size={max(500, width + 40)},4200"]
    found = subprocess.run(
        [*command, "--virtual-time-budget=3000", "--dump-dom", frame.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    title, columns, rows, painted = json.loads(re.search(r'id="out">(.*?)</pre>', found.stdout)[1])  # type: ignore[index]
    content, window = map(int, title.split())
    assert content <= window == width
    assert (columns, rows) == (300, 12)
    assert painted > 300 * 12 * 255, "the map is empty"

"""A run's page as one file: it holds everything, refers to nothing, and lets nothing of the run out of its place."""

import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Final

import pytest

from opentelemetry_instrumentation_corevital import Run, semconv
from opentelemetry_instrumentation_corevital.catalogue import rag_names
from opentelemetry_instrumentation_corevital.presentation.pages.run_views.run_file import run_file
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.hostile_stores import DATA, EVENTS, HEAVY, ROWS, SPANS, STEERING, fill
from tests.support.html_files import Outline, acting, data_of, unnamed
from tests.support.made_runs import make_run
from tests.support.stored_runs import stored_with, stored_with_layers

HOSTILE: Final = "</script><img src=x onerror=alert(1)>"


def test_the_page_holds_everything_and_refers_to_nothing(tmp_path: Path) -> None:
    evidence = {"repetition_loop_detected": {"onset_step": 12, "period": 4, "copies": 7}}
    run = stored_with_layers(
        tmp_path, **{semconv.HEALTH_EVIDENCE: json.dumps(evidence), semconv.NARRATIVE: "It repeats itself."}
    )
    text = run_file(run, [f"word{step} " for step in range(40)])
    outline = Outline(text)
    assert outline.references == []
    assert outline.inline_styles == 0
    assert "default-src 'none'" in outline.policy
    assert outline.tags.count("canvas") == 1
    assert "It repeats itself." in text
    for step in range(40):
        assert f">word{step} </span>" in text
    assert {"step": 12, "name": "repetition loop", "kind": "flag"} in data_of(text, "timelines-data")["marks"]
    assert len(data_of(text, "timelines-data")["lines"]) >= 4
    maps = data_of(text, "maps-data")["maps"]
    assert {"hidden_l2_norm", "attention_entropy"} <= {each["name"] for each in maps}
    assert all(each["layers"] == 4 for each in maps)


def test_the_policy_names_each_script_and_style_by_its_hash_and_no_other(tmp_path: Path) -> None:
    outline = Outline(run_file(stored_with_layers(tmp_path), None))
    assert sorted(kind for kind, _ in acting(outline)) == ["module", "script", "style"]
    assert unnamed(outline) == []
    assert "unsafe" not in outline.policy


def test_what_a_model_wrote_cannot_leave_its_place(tmp_path: Path) -> None:
    message = json.dumps([{"role": HOSTILE, "parts": [{"type": "text", "content": HOSTILE}]}])
    changes = {
        semconv.NARRATIVE: HOSTILE,
        semconv.GEN_AI_REQUEST_MODEL: HOSTILE,
        semconv.GEN_AI_OUTPUT_MESSAGES: message,
        semconv.WARNINGS: [HOSTILE],
        semconv.RISK_FACTORS: [HOSTILE],
        semconv.ERROR_TYPE: HOSTILE,
        semconv.CAPTURE_ABSENT: json.dumps({HOSTILE: HOSTILE}),
        rag_names.DOC_TITLES: [HOSTILE],
        semconv.BLAME_LAYERS: [1],
        semconv.BLAME_REASONS: [HOSTILE],
        HOSTILE: HOSTILE,
    }
    text = run_file(stored_with_layers(tmp_path, **changes), [HOSTILE] * 40, source=HOSTILE)
    assert "<img" not in text
    assert Outline(text).tags.count("script") == 5
    assert html.escape(HOSTILE, quote=False) in text


def test_what_is_not_stored_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    text = run_file(stored_with_layers(tmp_path, data=False), None)
    assert "The text of the tokens is not stored" in text
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only" in text
    assert len(re.findall(r'<span class="s[0-9x-][^"]*">\d+</span>', text)) == 40
    assert "No layer of single steps is stored" in text
    assert [line["signal"] for line in data_of(text, "timelines-data")["lines"]] == ["entropy"]


def test_a_run_without_a_step_says_that_nothing_was_generated(tmp_path: Path) -> None:
    failed = {semconv.STEPS_TOTAL: 0, semconv.ERROR_TYPE: "builtins.RuntimeError"}
    run = dataclasses.replace(stored_with(tmp_path, **failed), events=())
    text = run_file(run, None)
    assert "Nothing was generated" in text
    assert "failed: builtins.RuntimeError" in text
    assert 'id="strip"' not in text


def test_a_run_of_one_step_has_everything(tmp_path: Path) -> None:
    text = run_file(
        dataclasses.replace(stored_with(tmp_path, make_run(1), **{semconv.STEPS_TOTAL: 1}), events=()), ["a"]
    )
    assert data_of(text, "timelines-data")["last"] == 0
    assert re.search(r'<span class="s\d">a</span>', text)


def test_a_run_that_nobody_judged_or_stored_has_a_page() -> None:
    run: Run = make_run(5)
    text = run.to_html()
    assert "The risk is not judged" in text
    assert "No flag is known." in text


def test_what_was_dropped_is_not_known_rather_than_none(tmp_path: Path) -> None:
    run = stored_with(tmp_path)
    bare = {name: value for name, value in run.attributes.items() if not name.startswith("corevital.")}
    text = run_file(dataclasses.replace(run, attributes=bare, dropped=type(run.dropped)(40, 0)), None)
    assert "Dropped by the SDK" in text
    assert text.count("not known: dropped by the SDK") >= 6
    assert "No flag is raised" not in text
    assert "No warning came" not in text


def test_a_page_of_500_steps_and_30_layers_is_below_2_mb(tmp_path: Path) -> None:
    run = stored_with_layers(tmp_path, steps=500, layers=30)
    assert len(run_file(run, [f"word{step} " for step in range(500)]).encode()) < 2_000_000


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    kinds = tuple(each for each in (*SPANS, *EVENTS, *DATA, *ROWS) if each not in HEAVY)
    path = tmp_path_factory.mktemp("hostile") / "store.db"
    return path, fill(path, len(kinds), kinds)


def test_every_damaged_run_has_a_page_that_runs_nothing_of_it(hostile: tuple[Path, dict[str, str]]) -> None:
    path, ids = hostile
    with open_store(path) as store:
        for kind, trace_id in ids.items():
            (summary,) = store.beginning_with(trace_id)
            text = store.load(summary).to_html()
            assert Outline(text).references == [], kind
            assert not set(STEERING) & set("\x1b\x07\x9b\x00\x7f\u202e\u200b") & set(text), kind
            assert Outline(text).tags.count("script") <= 5, kind

"""Runs in Python: as pandas frames, in a notebook, by their fingerprints."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import open_store, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter, StoredRun
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from opentelemetry_instrumentation_corevital.store.stored_run import RunList
from tests.support.logs_and_metrics import chunk_records, emitted, in_span
from tests.support.made_runs import add_layers, make_run
from tests.support.spans import make_spans

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with an ordinary run, and a newer one with hostile names and run data of 9 steps and 3 layers."""
    file = tmp_path / "runs.db"
    spans = make_spans(events=3) + make_spans(
        **{
            semconv.GEN_AI_REQUEST_MODEL: HOSTILE,
            semconv.NARRATIVE: HOSTILE,
            semconv.WARNINGS: [HOSTILE],
            semconv.RISK_LEVEL: HOSTILE,
            semconv.BLAME_LAYERS: [2],
            semconv.BLAME_REASONS: [HOSTILE],
        }
    )
    exporter, logs = SQLiteSpanExporter(file), SQLiteLogExporter(file)
    exporter.export(spans)
    context = spans[-1].context
    assert context is not None
    data = to_npz(run_columns(add_layers(make_run(9), 3), content=False))
    logs.export(emitted(*chunk_records(data, 4000, context=in_span(context.trace_id, context.span_id))))
    exporter.shutdown()
    logs.shutdown()
    set_label(file, f"{context.trace_id:032x}", f"{context.span_id:016x}", "incorrect", HOSTILE)
    return file


@pytest.fixture
def hostile(path: Path) -> StoredRun:
    with open_store(path) as store:
        return store.run("last")


def test_a_frame_of_runs_has_types(path: Path) -> None:
    pytest.importorskip("pandas")
    with open_store(path) as store:
        frame = store.runs().to_pandas()
        none = store.runs(model="nobody").to_pandas()
    assert len(frame) == 2
    assert str(frame.start.dtype) == "datetime64[ns, UTC]"
    assert ((frame.end - frame.start).dt.total_seconds() >= 0).all()
    assert str(frame.inf_detected.dtype) == "boolean"
    assert frame.inf_detected.isna().all(), "what was not judged is not false"
    assert frame.nan_detected.eq(False).all()
    assert frame.risk_score.mean() == 0.25
    assert (len(none), list(none.columns)) == (0, list(frame.columns))


def test_a_frame_of_a_run_has_a_row_per_step(path: Path, hostile: StoredRun) -> None:
    pytest.importorskip("pandas")
    frame = hostile.to_pandas()
    assert (len(frame), frame.index.name) == (9, "step")
    np.testing.assert_array_equal(frame.entropy, hostile.columns["entropy"])
    assert "hidden_l2_norm" not in frame
    layers = hostile.to_pandas("hidden_l2_norm")
    assert (layers.shape, layers.columns.name) == ((9, 3), "layer")
    with pytest.raises(KeyError, match="nothing"):
        hostile.to_pandas("nothing")
    with open_store(path) as store:
        recorded = store.load(store.runs()[1]).to_pandas()
    assert recorded.entropy.tolist() == [0.0, 0.5, 1.0]
    assert recorded.index.tolist() == [0, 1, 2]


def test_a_notebook_shows_runs_and_verdicts_and_runs_no_foreign_code(path: Path, hostile: StoredRun) -> None:
    with open_store(path) as store:
        runs = store.runs()
    for html in (runs._repr_html_(), hostile._repr_html_(), hostile.summary._repr_html_(), RunList()._repr_html_()):
        assert "<script" not in html
    assert "org/model" in runs._repr_html_()
    shown = hostile._repr_html_()
    for part in ("repetition loop", "layer 2: &lt;script", "incorrect", "5 in the prompt, 40 generated"):
        assert part in shown, part
    many = RunList(runs * 40)._repr_html_()
    assert f"<p>{80 - (many.count('<tr>') - 1)} more</p>" in many


def test_a_run_is_one_line_at_a_prompt_and_holds_no_content(hostile: StoredRun) -> None:
    summary = dataclasses.replace(hostile.summary, model="org/\x1b[31m", risk_score=0.93)
    shown = repr(dataclasses.replace(hostile, summary=summary))
    assert shown == f"<StoredRun {summary.trace_id[:12]}:0, 'org/\\x1b[31m', risk 0.93, 40 tokens, repetition loop>"
    summary = dataclasses.replace(summary, risk_score=None)
    assert "risk not judged" in repr(dataclasses.replace(hostile, summary=summary))

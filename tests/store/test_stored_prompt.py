"""What is told of a prompt: on the span, in run data, and read back from a store, whatever stands there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import Run, open_store, recording, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.catalogue import prompt_span_names as names
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.run import PromptAnalysis
from opentelemetry_instrumentation_corevital.store.checked_columns import Columns
from opentelemetry_instrumentation_corevital.store.stored_prompt import stored_prompt
from opentelemetry_instrumentation_corevital.store.stored_run import StoredRun
from tests.support.tiny_models import prompt, sharpen, tiny_model


def asked(folder: Path, **options: Any) -> tuple[Run, StoredRun]:
    """Return a run of a tiny model, and what a store has of it."""
    model = sharpen(tiny_model(num_hidden_layers=3))
    with recording(folder / "runs.db", **options) as store:
        model.generate(prompt(30), max_new_tokens=4, do_sample=False, eos_token_id=None)
        run = store.last
    assert run is not None
    with open_store(folder / "runs.db") as opened:
        return run, opened.run("last")


def told(run: Run | StoredRun) -> PromptAnalysis:
    assert run.prompt_analysis is not None
    return run.prompt_analysis


def same(one: Any, other: Any) -> bool:
    return (one is None and other is None) or np.allclose(one, other, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("content", ["no_content", "span_only"])
def test_run_data_have_all_of_it_but_the_surprisal_of_every_token(content: str, tmp_path: Path) -> None:
    options = {"capture": "full", "prompt_analysis": "full", "capture_message_content": content}
    run, stored = asked(tmp_path, **options)
    own, read = told(run), told(stored)
    assert own.connections is not None
    assert read.connections is not None
    assert same(read.basin, own.basin)
    assert same(read.layer_transformation, own.layer_transformation)
    assert same(read.connections.weight, own.connections.weight)
    assert np.array_equal(read.connections.index, own.connections.index)
    assert read.top_connections() == own.top_connections()
    assert read.surprising is not None
    assert read.surprising.tolist() == (own.surprising if own.surprising is not None else own).tolist()
    assert read.surprisal_mean == pytest.approx(own.surprisal_mean)
    if content == "no_content":
        assert read.surprisal is None
        assert "who has the model could tell the prompt" in read.absent["prompt_surprisal"]
    else:
        assert same(read.surprisal, own.surprisal)
        assert dict(read.absent) == {}
    assert not [name for name in stored.columns if name.startswith("prompt_")], "those are of steps"
    assert not stored.damage


def test_the_span_alone_has_summaries(tmp_path: Path) -> None:
    run, stored = asked(tmp_path, capture="summary", prompt_analysis="summary")
    own, read = told(run), told(stored)
    assert stored.attributes[names.SURPRISAL_MEAN] == pytest.approx(own.surprisal_mean)
    assert stored.attributes[names.SURPRISAL_MAX] == pytest.approx(own.surprisal_max)
    assert len(stored.attributes[names.LAYER_TRANSFORMATION]) == 2
    assert len(stored.attributes[names.BASIN_SCORE]) == 3
    assert same(read.layer_transformation, own.layer_transformation)
    assert same(read.basin_by_layer(), own.basin_by_layer())
    assert read.surprisal is read.surprising is read.connections is None
    assert set(read.absent) == {"prompt_surprisal"}
    assert read.absent["prompt_surprisal"].startswith("it is stored with content on alone")
    assert "prompt_surprisal" not in stored.attributes[semconv.CAPTURE_ABSENT], "as no other column of content"


def test_a_layer_that_is_not_told_of_is_none_when_it_is_read(tmp_path: Path) -> None:
    run, stored = asked(tmp_path, prompt_analysis="summary", layers="0,2")
    assert stored.attributes[names.BASIN_SCORE][1] == -1.0
    assert same(told(stored).basin_by_layer(), told(run).basin_by_layer())
    assert np.isnan(told(stored).layer_transformation).tolist() == [True, True, False]


def test_where_it_is_off_nothing_is_said_of_it(tmp_path: Path) -> None:
    run, stored = asked(tmp_path, capture="full")
    assert run.prompt_analysis is stored.prompt_analysis is None
    assert not [name for name in stored.attributes if name.startswith("corevital.prompt.")]
    assert "prompt" not in str(stored.attributes.get(semconv.CAPTURE_ABSENT))


def test_columns_that_are_not_as_declared_are_left_out(tmp_path: Path) -> None:
    run, _ = asked(tmp_path, capture="full", prompt_analysis="full")
    columns = run_columns(run, content=True)
    columns["prompt_basin"] = columns["prompt_basin"][:2]
    columns["prompt_surprisal"] = columns["prompt_surprisal"][:, None]
    columns["prompt_connection_index"] = columns["prompt_connection_index"].astype(np.float32)
    columns["prompt_layer_transformation"] = np.array([np.nan, 7.0, 0.5], np.float32)
    read = Columns(to_npz(columns), steps=4, layers=3)
    found = stored_prompt(read, {})
    assert found is not None
    assert found.basin is found.surprisal is found.connections is None
    assert found.layer_transformation is not None
    assert np.isnan(found.layer_transformation).tolist() == [True, True, False]
    wrong = {name.rpartition(".")[2] for name in read.findings.named}
    assert wrong == {"prompt_basin", "prompt_surprisal", "prompt_connection_index", "prompt_layer_transformation"}
    assert "entropy" in read


@pytest.mark.parametrize("absent", ["", "{", "[]", json.dumps({"prompt_basin": 5, "entropy": "not measured"})])
def test_reasons_that_are_none_are_left_out(absent: str) -> None:
    assert stored_prompt({}, {semconv.CAPTURE_ABSENT: absent}) is None

"""The answer risk's features of a stored run, from each of the places where all of its steps may be."""

from dataclasses import replace
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.answer_features import answer_features
from opentelemetry_instrumentation_corevital.store import StoredRun, open_store
from opentelemetry_instrumentation_corevital.store.stored_distributions import stored_features
from tests.support.labelled_answers import answer, store_labelled

RUN = answer(3, steps=9)[0]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    file: Path = tmp_path_factory.mktemp("one") / "runs.db"
    store_labelled(file, [(RUN, None)])
    with open_store(file) as store:
        found = store.run("last")
    return replace(found, data=None)


def expected() -> dict[str, float]:
    found = answer_features(RUN)
    assert not isinstance(found, str)
    return found


def test_of_step_events_and_of_series(stored: StoredRun) -> None:
    assert len(stored.steps) == 9
    assert stored_features(stored) == pytest.approx(expected(), abs=1e-4)
    of_series = stored_features(replace(stored, events=()))
    assert of_series == pytest.approx({k: v for k, v in expected().items() if k != "top1_lowest"}, abs=1e-4)


def test_where_a_step_is_missing_there_are_none(stored: StoredRun) -> None:
    longer = {**stored.attributes, semconv.STEPS_TOTAL: 10}
    assert stored_features(replace(stored, attributes=longer)) == "not every step is stored"
    bare = {name: value for name, value in stored.attributes.items() if name != semconv.SERIES_MARGIN}
    assert stored_features(replace(stored, attributes=bare, events=stored.events[1:])) == "not every step is stored"

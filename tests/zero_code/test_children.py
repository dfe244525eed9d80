"""Children of `multiprocessing` end by `os._exit` or by SIGTERM: what they have recorded arrives all the same."""

import multiprocessing
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support.otlp_receivers import http_receiver
from tests.support.spans import rows
from tests.support.subprocesses import exporting, run
from tests.support.tiers import heavy
from tests.support.zero_code_programs import program

COUNTS = {"nested": {"nested": 1, "grandchild": 1}, "pool closed": {"pool closed": 2}}
COUNTS |= {"pool terminated": {"pool terminated": 2}}
FORKED = ["returns", "raises", "leaves", "nested", "terminated", "terminated as it waits in C", "pool closed"]
FORKED += ["pool terminated", "executor"]
SPAWNED = ["returns", "pool terminated", "executor"]  # each child is an interpreter of its own, which takes a while


def children(tmp_path: Path, method: str, endings: list[str], **variables: str) -> tuple[Counter[str], Counter[str]]:
    """Return how often each span was stored and how often it was sent."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    start = [] if "IN_CODE" in variables else exporting("otlp,corevital_sqlite")
    database = tmp_path / "runs.db"
    with http_receiver() as received:
        run(
            [*start, *program("children"), method, *endings],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_COREVITAL_SQLITE_PATH=str(database),
            OTEL_BSP_SCHEDULE_DELAY="60000",  # longer than the test: only the end can have exported it
            **variables,
        )
    stored = Counter(name for (name,) in rows(database, "SELECT name FROM spans"))
    return stored, Counter(span.name for span in received.spans())


def expected(endings: list[str]) -> Counter[str]:
    counts: Counter[str] = Counter(parent=1)
    for ending in endings:
        counts.update(COUNTS.get(ending, {ending: 1}))
    return counts


@pytest.mark.parametrize("how", ["zero code", heavy("in code")])
@pytest.mark.parametrize(("method", "endings"), [("fork", FORKED), ("forkserver", FORKED), ("spawn", SPAWNED)])
def test_what_children_recorded_is_stored_and_sent(method: str, endings: list[str], how: str, tmp_path: Path) -> None:
    variables = {"IN_CODE": "yes"} if how == "in code" else {}
    stored, sent = children(tmp_path, method, endings, **variables)
    assert stored == expected(endings)
    assert sent == expected(endings)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_without_the_option_sigterm_is_left_alone_in_children_too(tmp_path: Path) -> None:
    stored, _ = children(tmp_path, "fork", ["returns", "terminated"], IN_CODE="no handler")
    assert stored == Counter(parent=1, returns=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_never_generates_does_not_wait_for_metrics() -> None:
    """A model's data loaders: were there nobody at the endpoint, each would wait for five seconds at its end."""
    with http_receiver() as received:
        run(
            [*exporting("none", "otlp"), *program("children"), "fork", "returns", "killed at once", "pool terminated"],
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_METRIC_EXPORT_INTERVAL="600000",
        )
    assert received.metric_names() == {"counted"}
    assert len(received.messages) == 1, "the parent's, at its end"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_of_a_pool_are_recorded(tmp_path: Path) -> None:
    """The same with models: the pool's workers are forked after the parent has generated, and terminated."""
    database = tmp_path / "runs.db"
    run(
        [*exporting("corevital_sqlite", "corevital_sqlite", "corevital_sqlite"), *program("pool")],
        OTEL_COREVITAL_SQLITE_PATH=str(database),
        OTEL_BSP_SCHEDULE_DELAY="60000",
        OTEL_BLRP_SCHEDULE_DELAY="60000",
    )
    assert rows(database, "SELECT output_tokens FROM runs ORDER BY 1") == [(4,), (5,), (6,)]
    assert rows(database, "SELECT count(*) FROM logs WHERE event_name = 'gen_ai.evaluation.result'") == [(3,)]

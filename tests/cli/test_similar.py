"""`corevital similar` over stores made by the exporter, and the conditions and orders of `corevital runs`."""

import csv
import io
import json

import pytest

from opentelemetry_instrumentation_corevital import semconv
from tests.support.command_line import Cli
from tests.support.run_sources import spans_at
from tests.support.spans import make_spans

VECTOR, VERSION = semconv.FINGERPRINT_VECTOR, semconv.FINGERPRINT_VERSION


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Three runs that can be compared and one that cannot, the newest last."""
    far = {VECTOR: [0.9, 0.9], VERSION: "2", semconv.GEN_AI_REQUEST_MODEL: "org/far"}
    near = {VECTOR: [0.2, 0.2], VERSION: "2", semconv.RISK_SCORE: 0.9, semconv.WARNINGS: ["entropy_rising"]}
    cli.store(spans_at([10], **far), spans_at([20], **near, **{semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 9}))
    cli.store(make_spans(), spans_at([2**62], **{VECTOR: [0.1, 0.2], VERSION: "2"}))
    return cli


def test_the_nearest_runs_are_listed_first(filled: Cli) -> None:
    own, *others = [row["trace_id"] for row in json.loads(filled("runs", "--sort", "newest", "--json")[1])]
    ids = {row["start_ns"]: row["trace_id"] for row in json.loads(filled("runs", "--json")[1])}
    code, out, err = filled("similar", ids[2**62])
    header, *lines = out.splitlines()
    assert code == 0
    assert header.split()[:3] == ["run", "distance", "age"]
    assert [line.split()[:2] for line in lines] == [[ids[20][:12], "0.0707"], [ids[10][:12], "0.7517"]]
    assert "corevital.db" in err
    assert {own, *others} == set(ids.values())


def test_programs_get_distances_and_all_columns(filled: Cli) -> None:
    name = next(row["trace_id"] for row in json.loads(filled("runs", "--json")[1]) if row["start_ns"] == 2**62)
    found = json.loads(filled("similar", name, "--json")[1])
    assert [row["distance"] for row in found] == pytest.approx([0.005**0.5, 0.565**0.5])
    rows = list(csv.DictReader(io.StringIO(filled("similar", name, "--csv")[1])))
    assert [(row["distance"], row["trace_id"]) for row in rows] == [
        (repr(row["distance"]), row["trace_id"]) for row in found
    ]
    assert json.loads(filled("similar", name, "--json", "--model", "far")[1]) == found[1:]
    assert json.loads(filled("similar", name, "--json", "--limit", "1")[1]) == found[:1]


def test_what_cannot_be_compared_is_told(filled: Cli) -> None:
    without = next(
        row["trace_id"] for row in json.loads(filled("runs", "--json")[1]) if row["start_ns"] not in (10, 20, 2**62)
    )
    code, _, err = filled("similar", without)
    assert (code, f"run {without} has no fingerprint" in err) == (1, True)
    name = next(row["trace_id"] for row in json.loads(filled("runs", "--json")[1]) if row["start_ns"] == 10)
    assert filled("similar", name, "--flag", "nan_detected")[1].startswith("No other run has a fingerprint to compare")
    assert "do not go together" in filled("similar", name, "--json", "--csv")[2]


def test_runs_are_found_by_warning_text_and_risk_and_listed_in_every_order(filled: Cli) -> None:
    def starts(*options: str) -> list[int]:
        return [row["start_ns"] for row in json.loads(filled("runs", "--json", *options)[1])]

    assert starts("--warning", "entropy_rising") == starts("--risk-above", "0.5") == [20]
    assert starts("--search", "FAR") == [10]
    assert 20 not in starts("--risk-below", "0.5")
    assert starts("--sort", "oldest")[:2] == [10, 20]
    assert starts("--sort", "risk")[0] == starts("--sort", "fewest-tokens")[0] == 20
    assert starts("--sort", "lowest-risk")[-1] == starts("--sort", "tokens")[-1] == 20

"""What is compared with what, and over which prompts."""

from dataclasses import fields
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.store import RunSummary
from opentelemetry_instrumentation_corevital.store.comparison import (
    MEASURES,
    Difference,
    differences,
    figures,
    in_common,
)
from opentelemetry_instrumentation_corevital.store.filters import FLAGS
from opentelemetry_instrumentation_corevital.store.intervals import paired_fraction, paired_t, welch

count = iter(range(10_000))


def make(prompt: str | None = None, **changes: Any) -> RunSummary:
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(RunSummary))
    values |= {"trace_id": f"{next(count):032x}", "span_id": f"{next(count):016x}", "sequence_index": 0, "warnings": ()}
    values |= {"start_ns": 10**9, "end_ns": 3 * 10**9, "service_name": "", "prompt_hash": prompt}
    others = {name: changes.pop(name) for name in changes.keys() - values.keys()}
    return RunSummary(**{**values, "prompt_hash_source": prompt and "text", **changes, "others": others})


def by_measure(ours: list[RunSummary], theirs: list[RunSummary]) -> dict[str, Difference]:
    return {each.measure: each for each in differences("ours", ours, "theirs", theirs)}


def test_a_prompt_counts_once_however_often_it_was_run() -> None:
    theirs = [make(p, risk_score=r) for p, r in (("a", 0.1), ("b", 0.2), ("c", 0.4), ("d", 0.5))]
    ours = [make(p, risk_score=r) for p, r in (("a", 0.2), ("b", 0.4), ("c", 0.4), ("d", 0.6))]
    ours += [make("c", risk_score=0.8)] * 99  # its mean is nearly 0.8
    ours += [make("e", risk_score=1.0)] * 50  # which the other has not run
    found = by_measure(ours, theirs)["risk_score"]
    mean_of_c = (0.4 + 99 * 0.8) / 100
    steps = [0.1, 0.2, mean_of_c - 0.4, 0.1]
    assert found.basis == "pairs"
    assert found.units == 4
    assert found.difference == pytest.approx(sum(steps) / 4)
    assert found.mean == pytest.approx((0.2 + 0.4 + mean_of_c + 0.6) / 4)
    import numpy as np

    assert (found.low, found.high) == pytest.approx(paired_t(np.array(steps)))


def test_only_hashes_of_the_same_source_are_joined() -> None:
    ours = [make(p, risk_score=0.5) for p in "abcde"]
    decoded = [make(p, risk_score=0.5, prompt_hash_source="decoded") for p in "abcde"]
    assert in_common({"ours": ours, "decoded": decoded}) == set()
    assert by_measure(ours, decoded)["risk_score"].basis == "prompts"
    assert len(in_common({"ours": ours, "again": ours[:2]})) == 2


def test_without_a_prompt_in_common_prompts_are_held_against_prompts() -> None:
    import numpy as np

    ours = [make(p, entropy_mean=float(i)) for i, p in enumerate("abcd")]
    theirs = [make(None, entropy_mean=2.0 * i) for i in range(5)]  # unknown prompts: each is one of its own
    found = by_measure(ours, theirs)["entropy_mean"]
    assert (found.basis, found.units) == ("prompts", 4)
    assert (found.low, found.high) == pytest.approx(welch(np.arange(4.0), 2 * np.arange(5.0)))


def test_runs_of_one_prompt_are_held_against_each_other() -> None:
    ours = [make("a", output_tokens=n) for n in (10, 12, 14, 16)] + [make("only ours", output_tokens=1000)]
    theirs = [make("a", output_tokens=n) for n in (20, 22, 24, 26, 28)]
    found = by_measure(ours, theirs)["output_tokens"]
    assert (found.basis, found.units, found.mean, found.reference_mean) == ("runs", 4, 13, 24)
    assert found.clear
    assert found.high is not None
    assert found.high < 0


@pytest.mark.parametrize(
    ("prompts", "risks", "reason"),
    [
        ("abc", (0.1, 0.2, 0.3), "3 prompts in common, an interval needs 4"),
        ("a", (0.1,), "1 run of the prompt by each, an interval needs 4"),
        ("abcde", (0.3,) * 5, "the same difference everywhere"),
    ],
)
def test_where_there_is_no_interval_it_says_why(prompts: str, risks: tuple[float, ...], reason: str) -> None:
    ours = [make(p, risk_score=risk) for p, risk in zip(prompts, risks, strict=True)]
    found = by_measure(ours, [make(p, risk_score=0.1) for p in prompts])["risk_score"]
    assert (found.low, found.high, found.no_interval, found.clear) == (None, None, reason, False)
    assert found.difference == pytest.approx(sum(risks) / len(risks) - 0.1)


@pytest.mark.parametrize("basis", ["pairs", "runs", "prompts"])
@pytest.mark.parametrize("name", [measure.name for measure in MEASURES if measure.largest == 1])
def test_what_is_bounded_has_bounded_intervals(name: str, basis: str) -> None:
    """Of four runs three are at one end and one is in the middle: Student's interval goes beyond 1."""
    prompts = {"pairs": ("abcd", "abcd"), "runs": ("aaaa", "aaaa"), "prompts": ("abcd", "efgh")}[basis]
    sides: list[list[RunSummary]] = []
    for asked, numbers, ill in zip(prompts, ((1.0, 1.0, 1.0, 0.4), (0.0, 0.05, 0.0, 0.0)), (True, False), strict=True):
        flags: dict[str, Any] = dict.fromkeys(FLAGS, ill) | {"label": "correct" if ill else "incorrect"}
        pairs = zip(asked, numbers, strict=True)
        sides.append([make(p, risk_score=value, risk_answer=value, margin_mean=value, **flags) for p, value in pairs])
    found = by_measure(*sides)[name]
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference
    assert found.high <= 1
    back = by_measure(sides[1], sides[0])[name]
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert found.rough


def test_from_twenty_prompts_on_an_interval_is_not_called_rough() -> None:
    for count_of, rough in ((19, True), (20, False)):
        names = [str(index) for index in range(count_of)]
        ours, theirs = ([make(p, entropy_mean=float(i * k)) for i, p in enumerate(names)] for k in (1, 2))
        assert by_measure(ours, theirs)["entropy_mean"].rough is rough


def test_flags_and_labels_are_shares() -> None:
    import numpy as np

    ours = [make(p, repetition_loop_detected=p < "d", nan_detected=False, label="correct") for p in "abcdef"]
    theirs = [make(p, repetition_loop_detected=False, nan_detected=False, label="incorrect") for p in "abcdef"]
    found = by_measure(ours, theirs)
    ends = paired_fraction(np.array([1.0, 1, 1, 0, 0, 0]))
    for name in ("repetition_loop_detected", "flagged"):
        assert (found[name].mean, found[name].reference_mean) == (0.5, 0)
        assert (found[name].low, found[name].high) == pytest.approx(ends)
    assert found["correct"].difference == 1
    assert "nan_detected" not in found, "raised by nobody"
    assert "inf_detected" not in found, "judged for nobody"


def test_what_was_not_measured_is_not_there() -> None:
    runs = [
        make("a", risk_score=0.9, risk_level="high", error_type="ValueError"),
        make("a", risk_score=0.1, nan_detected=False),
        make(None),
    ]
    made = figures("m", runs)
    assert (made.runs, made.prompts, made.unknown_prompt, made.failed, made.high_risk) == (3, 1, 1, 1, 1)
    risk = made.measures["risk_score"]
    assert (risk.count, risk.mean, risk.minimum, risk.median, risk.maximum) == (2, 0.5, 0.1, 0.5, 0.9)
    assert made.measures["flagged"].count == 1
    assert set(made.measures) == {"risk_score", "flagged", "nan_detected", "seconds"}
    assert made.measures["seconds"].mean == 2
    assert figures("none", []).measures == {}
    assert differences("m", runs, "none", []) == []
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)

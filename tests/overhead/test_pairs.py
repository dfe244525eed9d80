"""Which calls follow each other, and what is made of their pairs."""

import pytest

from opentelemetry_instrumentation_corevital.overhead.pair_figures import spread, typical_step
from opentelemetry_instrumentation_corevital.overhead.pairs import calls_of_a_round, in_order, sequels
from opentelemetry_instrumentation_corevital.overhead.told_apart import FEWEST_PAIRS, measures_told, told_apart


@pytest.mark.parametrize("arms", [["off"], ["summary", "full"], ["off", "summary", "full"], list("abcd")])
def test_every_pair_is_of_neighbours_and_changes_its_order(arms: list[str]) -> None:
    compared = []
    for sequel in sequels(arms):
        for arm, reference in sequel.references.items():
            assert reference in ("plain", "plain-again")
            orders = [in_order(sequel.calls, number) for number in (0, 1)]
            places = [(order.index(arm), order.index(reference)) for order in orders]
            assert [abs(own - other) for own, other in places] == [1, 1]
            assert (places[0][0] < places[0][1]) != (places[1][0] < places[1][1])
            compared.append(arm)
    assert sorted(compared) == sorted([*arms, "plain-again"])
    assert calls_of_a_round(arms) == sum(len(sequel.calls) for sequel in sequels(arms))


def test_a_typical_step_has_what_happens_on_every_eighth_step_and_no_outlier() -> None:
    steps = [1.0 + 0.8 * (number % 8 == 7) for number in range(64)]
    steps[20] = 100.0
    assert typical_step(steps, 8) == pytest.approx(1.1)
    assert typical_step([2.0, 4.0], 8) == pytest.approx(3.0)


def test_an_interval_holds_the_median() -> None:
    found = spread([1.0 + 0.001 * number for number in range(41)])
    low, high = found["ci95"]
    assert found["median"] == pytest.approx(1.02)
    assert low < 1.02 < high
    assert 0.005 < high - low < 0.02


def interval(low: float, high: float) -> dict[str, list[float]]:
    return {"ci95": [low, high]}


def test_an_arm_is_told_apart_where_its_interval_lies_beyond_the_control_and_beyond_nothing() -> None:
    assert told_apart(interval(1.03, 1.05), interval(0.99, 1.02), neutral=1)
    assert not told_apart(interval(1.01, 1.05), interval(0.99, 1.02), neutral=1)
    assert not told_apart(interval(0.99, 1.0), interval(0.95, 0.98), neutral=1), "a control below what it should be"
    assert told_apart(interval(0.90, 0.94), interval(0.95, 0.98), neutral=1), "something made it faster"


def test_what_is_told_apart_is_named_and_too_few_pairs_tell_nothing() -> None:
    own = {"call": interval(1.1, 1.2), "added_ms_after_last_token": interval(4.0, 5.0), "pairs": FEWEST_PAIRS}
    control = {"call": interval(0.8, 1.15), "added_ms_after_last_token": interval(-0.1, 0.1), "pairs": FEWEST_PAIRS}
    report = {"arms": {"plain-again": control, "full": own}}
    assert measures_told(report, "full") == ["added_ms_after_last_token"]
    own["pairs"] = FEWEST_PAIRS - 1
    assert measures_told(report, "full") is None

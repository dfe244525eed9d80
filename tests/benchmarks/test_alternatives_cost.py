"""The benchmark of what the likeliest tokens of a step cost."""

from benchmarks import alternatives


def test_both_ways_are_timed_for_every_vocabulary() -> None:
    found = alternatives.by_torch(1000, 1)
    assert found.keys() == {"without_us", "with_us"}
    assert min(found.values()) > 0
    assert alternatives.consistency(4, 2, 1)["checked_us"] > 0
    assert alternatives.drawn(2, 500, "cpu").unique().numel() < 900, "logits of half precision have ties"

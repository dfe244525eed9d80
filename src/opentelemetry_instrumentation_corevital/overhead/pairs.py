"""Which calls follow each other, and which two are a pair.

Every arm is paired with a plain call right before or right after it: before in one round, after in the next, because
whole sequences are reversed from round to round. The first sequence holds two plain calls side by side, which are the
A/A pair: `summary plain plain-again full`, then `full plain-again plain summary`. Further arms come in sequences of
their own: `naive plain off`. So four calls make three pairs, and nothing is compared across a longer time.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .arms import ARMS, CONTROL, PLAIN
from .bench import Bench, CallSample

Pair = tuple[CallSample, CallSample]
"""A call, and the plain one beside it."""

WARMUP_TOKENS = 17


@dataclass(frozen=True, slots=True)
class Sequel:
    """Calls that follow each other, and for each that is compared the one it is compared with."""

    calls: tuple[str, ...]
    references: Mapping[str, str]


def sequels(arms: Sequence[str]) -> list[Sequel]:
    """Return the calls of a round."""
    one, *two = arms[:2]
    found = [Sequel((one, PLAIN, CONTROL, *two), {one: PLAIN, CONTROL: PLAIN, **dict.fromkeys(two, CONTROL)})]
    for start in range(2, len(arms), 2):
        before, *after = arms[start : start + 2]
        found.append(Sequel((before, PLAIN, *after), dict.fromkeys((before, *after), PLAIN)))
    return found


def in_order(calls: Sequence[str], number: int) -> Sequence[str]:
    """Return a sequence's calls as they are in a round: reversed in every other one."""
    return calls if number % 2 == 0 else calls[::-1]


def warm_up(bench: Bench, arms: Sequence[str], rounds: int) -> None:
    """Run every arm with the prompt that will be timed, but for few tokens where that compiles the same."""
    static = "cache_implementation" in bench.options
    for _ in range(rounds):
        for name in (PLAIN, *arms):
            bench.run(ARMS[name], bench.new_tokens if static else min(bench.new_tokens, WARMUP_TOKENS))


def rounds(bench: Bench, arms: Sequence[str], *, most: int, seed: int) -> Iterator[dict[str, list[Pair]]]:
    """Yield the pairs of every arm that there are so far, after each round; whoever has enough stops asking."""
    chooser = random.Random(seed)
    pairs: dict[str, list[Pair]] = {name: [] for name in (CONTROL, *arms)}
    for number in range(most):
        plan = sequels(arms)
        chooser.shuffle(plan)
        found = []
        for sequel in plan:
            samples = {name: bench.run(ARMS[name]) for name in in_order(sequel.calls, number)}
            found += [(name, samples[name], samples[reference]) for name, reference in sequel.references.items()]
        for name, sample, plain in found:
            pairs[name].append((sample, plain))
        yield pairs


def once(bench: Bench, arms: Sequence[str]) -> dict[str, list[Pair]]:
    """Return one pair of every arm with the same plain call, which runs first: memory that an arm keeps is its own."""
    plain = bench.run(ARMS[PLAIN])
    return {name: [(bench.run(ARMS[name]), plain)] for name in arms}


def calls_of_a_round(arms: Sequence[str]) -> int:
    """Return how many calls a round of these arms has."""
    return sum(len(sequel.calls) for sequel in sequels(arms))

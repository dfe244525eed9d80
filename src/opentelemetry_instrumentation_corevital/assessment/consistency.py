"""Numbers of a run that must agree, since they are made of the same logits, weights or tokens.

A disagreement is an error of ours: a kernel, a layout or an ancestry that is wrong. It is looked for once per run, in
arrays that are on the host by then. Tolerances are far above rounding, and far below what a wrong place in a row makes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..run import Run

_PROBABILITY: Final = 1e-4
"""Of probabilities, which are float32."""
_BITS: Final = 1e-2
"""Of entropies and surprisals; logits of the order of 100 are rounded to 1e-5 nat."""
_WEIGHTS: Final = 2e-2
"""Of sums of attention weights: a half-precision model that computes them itself rounds each to three digits."""
_REGIONS: Final = ("attention_mass_sink", "attention_mass_prompt", "attention_mass_generated")
_ORDERED: Final = ("attention_entropy_min", "attention_entropy", "attention_entropy_max")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Numbers of a run that must agree and do not."""

    rule: str
    """What must hold."""
    numbers: str
    """Where it does not, with the numbers."""

    def text(self) -> str:
        """Return both as one line."""
        return f"{self.rule}: {self.numbers}"


def disagreements(run: Run) -> list[Disagreement]:
    """Return what does not agree in a run, of each rule the first place; what was not measured agrees with all."""
    counted = list(_token_counts(run))
    if counted:  # arrays of several lengths are not compared any further
        return counted
    return [found for rule in _RULES for found in rule(run)]


def _token_counts(run: Run) -> Iterator[Disagreement]:
    """Tokens are counted by the result, by the times of the steps and by the rows of every signal."""
    if not run.columns or run.output_tokens is None:
        return
    counts = {"tokens": run.steps, "step times": len(run.time_ns)}
    counts |= {name: len(values) for name, values in run.columns.items()}
    if run.alternatives is not None:
        counts["alternatives"] = len(run.alternatives.probabilities)
    odd = next((name for name, count in counts.items() if count != run.steps), None)
    if odd is not None:
        yield Disagreement("tokens are as many however they are counted", f"{run.steps} tokens, {odd} {counts[odd]}")


def _probabilities(run: Run) -> Iterator[Disagreement]:
    """The mass of ten tokens is at least that of the first, which is at least its distance from the second."""
    yield from _descending(run, ("topk_mass", "top1_prob", "margin"), "topk_mass >= top1_prob >= margin", _PROBABILITY)


def _perplexity(run: Run) -> Iterator[Disagreement]:
    """The perplexity 2^entropy is at least 1 / top1_prob, and at most the size of the vocabulary."""
    entropy, top = run.column("entropy"), run.column("top1_prob")
    if entropy is None or top is None:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        fewest = -np.log2(top)
    yield from _where(
        entropy < fewest - _BITS, "perplexity = 2^entropy >= 1 / top1_prob", entropy=entropy, top1_prob=top
    )
    most = run.model.vocabulary_size
    if most:
        # A model's head may be wider than its vocabulary: padded to a multiple of something.
        beyond = entropy > np.log2(2 * most) + _BITS
        yield from _where(beyond, f"perplexity = 2^entropy is below the vocabulary of {most}", entropy=entropy)


def _distribution(run: Run) -> Iterator[Disagreement]:
    """A step whose logits hold NaN or +Inf has no distribution."""
    entropy = run.column("entropy")
    counts = [run.column(name) for name in ("logits_nan", "logits_posinf")]
    if entropy is None or counts[0] is None or counts[1] is None:
        return
    spoilt = (counts[0] + counts[1] > 0) & np.isfinite(entropy)
    rule = "a step with NaN or +Inf logits has no entropy"
    yield from _where(spoilt, rule, entropy=entropy, logits_nan=counts[0], logits_posinf=counts[1])


def _alternatives(run: Run) -> Iterator[Disagreement]:
    """The five likeliest tokens are of the same distribution: in order, the first as likely, their sum within ten's."""
    if run.alternatives is None:
        return
    found, top = run.alternatives.probabilities, run.column("top1_prob")
    margin, mass = run.column("margin"), run.column("topk_mass")
    if top is None or margin is None or mass is None:
        return
    first, second, total = found[:, 0], found[:, 1], found.sum(1)
    unordered: NDArray[np.bool_] = np.any(np.diff(found, axis=1) > _PROBABILITY, axis=1)
    yield from _where(unordered, "alternatives are in order", first=first, second=second)
    yield from _where(_apart(first, top, _PROBABILITY), "alternatives begin with top1_prob", first=first, top1_prob=top)
    gap = first - second
    yield from _where(_apart(gap, margin, _PROBABILITY), "margin = first - second alternative", gap=gap, margin=margin)
    yield from _where(total > mass + _PROBABILITY, "topk_mass >= sum of alternatives", topk_mass=mass, total=total)
    yield from _chosen(run, found)


def _chosen(run: Run, found: NDArray[np.float32]) -> Iterator[Disagreement]:
    """The surprisal of a chosen token that is among them is that of its probability."""
    surprisal = run.column("surprisal")
    if surprisal is None or run.alternatives is None or run.alternatives.tokens is None:
        return
    same = run.alternatives.tokens == run.tokens[:, None]
    probability = np.where(same, found, 0.0).max(1, initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.log2(probability)
        wrong = same.any(1) & (probability > 0) & _apart(bits, surprisal, _BITS * np.maximum(1.0, bits / 16))
    yield from _where(wrong, "surprisal = -log2 of the chosen alternative", surprisal=surprisal, expected=bits)


def _attention(run: Run) -> Iterator[Disagreement]:
    """The masses of the regions of an attention row add up to 1, and a mean is between the ends of its range."""
    regions = [values for name in _REGIONS if (values := run.column(name)) is not None]
    if len(regions) == len(_REGIONS):
        total = np.sum(regions, axis=0)
        yield from _where(
            _apart(total, 1.0, _WEIGHTS),
            "attention to sink, prompt and generated tokens sums to 1 (without dropout)",
            total=total,
        )
    yield from _descending(run, _ORDERED[::-1], "attention_entropy is between its min and max", _WEIGHTS)


_RULES: Final[tuple[Callable[[Run], Iterator[Disagreement]], ...]] = (
    _probabilities,
    _perplexity,
    _distribution,
    _alternatives,
    _attention,
)


def _descending(run: Run, names: tuple[str, ...], rule: str, tolerance: float) -> Iterator[Disagreement]:
    columns = {name: run.column(name) for name in names}
    known = {name: values for name, values in columns.items() if values is not None}
    if len(known) == len(names):
        pairs = zip(list(known.values()), list(known.values())[1:], strict=False)
        wrong = np.any([larger < smaller - tolerance for larger, smaller in pairs], axis=0)
        yield from _where(wrong, rule, **known)


def _apart(left: NDArray[Any], right: NDArray[Any] | float, tolerance: NDArray[Any] | float) -> NDArray[np.bool_]:
    """Whether two numbers are apart; NaN and infinities are not compared."""
    with np.errstate(invalid="ignore"):
        found: NDArray[np.bool_] = np.isfinite(left) & np.isfinite(right) & (np.abs(left - right) > tolerance)
    return found


def _where(wrong: NDArray[np.bool_], rule: str, **numbers: NDArray[Any]) -> Iterator[Disagreement]:
    """Yield a disagreement with the numbers of its first place; nothing where there is none."""
    if not wrong.any():
        return
    place = tuple(int(each) for each in np.unravel_index(int(wrong.argmax()), wrong.shape))
    told = ", ".join(f"{name} {float(values[place]):.6g}" for name, values in numbers.items())
    where = f"step {place[0]}" + (f", layer {place[1]}" if len(place) > 1 else "")
    yield Disagreement(rule, f"{told} at {where} ({int(wrong.sum())} of {wrong.size})")

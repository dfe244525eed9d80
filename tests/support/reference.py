"""Slow float64 definitions of what is measured: of logits, hidden states and attention, one number at a time."""

import math
from collections.abc import Sequence


def hidden_reference(vector: Sequence[float]) -> dict[str, float]:
    """Return the statistics of one hidden state."""
    count = len(vector)
    mean = math.fsum(vector) / count
    return {
        "hidden_mean": mean,
        "hidden_std": math.sqrt(math.fsum((x - mean) ** 2 for x in vector) / count),
        "hidden_l2_norm": math.sqrt(math.fsum(x * x for x in vector)),
        "hidden_max_abs": max(abs(x) for x in vector),
        "hidden_nan": float(sum(math.isnan(x) for x in vector)),
        "hidden_inf": float(sum(math.isinf(x) for x in vector)),
    }


def cosine_reference(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the cosine of two vectors."""
    norms = math.sqrt(math.fsum(x * x for x in left)) * math.sqrt(math.fsum(x * x for x in right))
    return math.fsum(x * y for x, y in zip(left, right, strict=True)) / norms


def head_reference(weights: Sequence[float], generated: int, learned: float = 0.0) -> dict[str, float]:
    """Return the signals of one head's row.

    Args:
        weights: of the visible keys, in order.
        generated: how many of the last keys are generated tokens.
        learned: weight that went to a learned sink.
    """
    count = len(weights)
    outcomes = [*weights, learned] if learned else list(weights)
    entropy = -math.fsum(w * math.log(w) for w in outcomes if w > 0)
    prompt = max(0, count - generated)
    third = prompt // 3
    regions = {"sink": learned, "prompt": 0.0, "generated": 0.0}
    for index, weight in enumerate(weights):
        regions["sink" if index < 4 else "prompt" if index < prompt else "generated"] += weight
    middle = math.fsum(weights[third : prompt - third]) * count / (prompt - 2 * third) if third else math.nan
    rest = weights[4:]
    collapsed = math.nan
    if len(rest) >= 8 and math.fsum(rest) > 0:
        total = math.fsum(rest)
        rest_entropy = -math.fsum(w / total * math.log(w / total) for w in rest if w > 0) / math.log(len(rest))
        collapsed = float(rest_entropy < 0.03)
    return {
        "entropy": entropy / math.log(len(outcomes)) if len(outcomes) > 1 else 1.0,
        "max_weight": max(weights),
        "collapsed": collapsed,
        "focused": float(max(weights) > 0.9),
        **regions,
        "middle": middle,
        "previous": weights[-2] if count > 1 else math.nan,
    }


def layer_reference(heads: Sequence[Sequence[float]], generated: int) -> dict[str, float]:
    """Return a layer's statistics over its heads, each given by its weights on the visible keys."""
    rows = [head_reference(weights, generated) for weights in heads]

    def values(name: str) -> list[float]:
        return [row[name] for row in rows if not math.isnan(row[name])]

    def mean(name: str) -> float:
        return math.fsum(values(name)) / len(values(name)) if values(name) else math.nan

    spread = math.sqrt(math.fsum((x - mean("entropy")) ** 2 for x in values("entropy")) / len(rows))
    return {
        "attention_entropy": mean("entropy"),
        "attention_entropy_std": spread,
        "attention_entropy_min": min(values("entropy")),
        "attention_entropy_max": max(values("entropy")),
        "attention_max_weight": mean("max_weight"),
        "attention_max_weight_max": max(values("max_weight")),
        "collapsed_head_rate": mean("collapsed"),
        "focused_head_rate": mean("focused"),
        "attention_mass_sink": mean("sink"),
        "attention_mass_prompt": mean("prompt"),
        "attention_mass_generated": mean("generated"),
        "attention_middle": mean("middle"),
        "attention_previous": mean("previous"),
    }


def reference_signals(logits: Sequence[float], token: int) -> dict[str, float]:
    """Return one step's signals by their definitions, in float64, one number at a time."""
    nonfinite = {
        "logits_nan": sum(math.isnan(x) for x in logits),
        "logits_posinf": sum(x == math.inf for x in logits),
        "logits_neginf": sum(x == -math.inf for x in logits),
    }
    nan = dict.fromkeys(("entropy", "surprisal", "margin", "top1_prob", "topk_mass"), math.nan)
    if nonfinite["logits_nan"] or nonfinite["logits_posinf"] or nonfinite["logits_neginf"] == len(logits):
        return {**nan, **nonfinite}
    top = max(logits)
    weights = [math.exp(x - top) if x > -math.inf else 0.0 for x in logits]
    total = math.fsum(weights)
    probabilities = [weight / total for weight in weights]
    ordered = sorted(probabilities, reverse=True)
    log_total = math.log(total)
    return {
        "entropy": -math.fsum(p * math.log2(p) for p in probabilities if p > 0),
        "surprisal": (log_total + (top - logits[token])) / math.log(2) if logits[token] > -math.inf else math.inf,
        "margin": ordered[0] - ordered[1] if len(ordered) > 1 else 1.0,
        "top1_prob": ordered[0],
        "topk_mass": math.fsum(ordered[:10]),
        **nonfinite,
    }

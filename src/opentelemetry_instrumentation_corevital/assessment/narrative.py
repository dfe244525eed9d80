"""The run in two to four sentences: facts with their step numbers, no content."""

from collections.abc import Mapping

import numpy as np

from ..run import Run
from .thresholds import DEFAULT, Thresholds

_WARNING_TEXT = {
    "repetition_risk": "the tokens had entered a second copy of themselves",
    "entropy_rising": "the entropy rose above the run's earlier level",
    "margin_collapsing": "the two best tokens had become almost equally probable",
    "attention_collapsing": "more and more attention heads rested on single keys",
    "norm_jump": "the norm of a middle layer jumped",
    "confidence_drop": "the best token's probability fell to half of the run's earlier level",
}
_HOW_IT_ENDED: Mapping[str | None, str] = {
    "eos": "and ended by itself",
    "stop_string": "and ended at a stop string",
    "length": "and was cut off by its length limit",
    "time": "and was cut off by its time limit",
    "criterion": "and was ended by a stopping criterion of the caller's",
    "policy": "and was stopped by a policy",
    "cancelled": "and was cancelled",
    "error": "and failed",
}


def tell(run: Run, thresholds: Thresholds = DEFAULT) -> str:
    """Return the narrative of a judged run."""
    sentences = [_outcome(run)]
    sentences += [text for text in (_reason(run), _inside(run), _uncertainty(run, thresholds)) if text]
    if warning := _first_warning(run):
        sentences.append(warning)
    elif len(sentences) == 1:
        sentences.append(_nothing(run))
    return " ".join(sentences[:4])


def _outcome(run: Run) -> str:
    ended = _HOW_IT_ENDED.get(run.stop_reason, "")
    tokens = f"{run.steps} token{'' if run.steps == 1 else 's'}"
    if run.output_tokens is None:
        tokens = "tokens that could not be read"
    what = " ".join(filter(None, (f"The run generated {tokens}", ended)))
    if run.error_type:
        what += f" with {run.error_type}"
    if run.risk is None:
        return f"{what}."
    return f"{what}; its risk is {run.risk.level} ({run.risk.score:.2f})."


def _reason(run: Run) -> str | None:
    health = run.health
    if health is None:
        return None
    for flag, name in (("nan_detected", "NaN"), ("inf_detected", "infinite")):
        if flag in health.evidence:
            found = health.evidence[flag]
            when = f"at step {found['step']}, the first of {found['steps']}"
            if "layer" in found:
                return f"Layer {found['layer']} put out {found['values']} {name} values {when}."
            return f"{found['logits']} logits were {name} {when}."
    if "repetition_loop_detected" in health.evidence:
        loop = health.evidence["repetition_loop_detected"]
        repeated = "repeated" if loop["exact"] else "repeated, with small changes,"
        return (
            f"From step {loop['onset_step']} on it {repeated} the {loop['period']} tokens that began at step "
            f"{loop['start_step']}, {loop['copies']:.1f} copies by the end."
        )
    return None


def _inside(run: Run) -> str | None:
    """Return what stands out inside, beside what is not finite."""
    evidence = {} if run.health is None else run.health.evidence
    if "nan_detected" in evidence or "inf_detected" in evidence:
        return None
    if "mid_layer_anomaly_detected" in evidence:
        found = evidence["mid_layer_anomaly_detected"]
        if "signal" in found:  # against the model's profile
            return (
                f"Layer {found['layer']} left what is usual for the model at step {found['step']} "
                f"({found['signal']} {found['value']}, usually {found['usual']})."
            )
        compared = f", far from its median of {found['median']}" if "median" in found else ""
        return f"The norm of layer {found['layer']} was {found['norm']} at step {found['step']}{compared}."
    if "attention_collapse_detected" in evidence:
        found = evidence["attention_collapse_detected"]
        return f"{found['rate']:.0%} of the attention heads had collapsed onto single keys."
    return None


def _uncertainty(run: Run, thresholds: Thresholds) -> str | None:
    entropy = run.column("entropy")
    if entropy is None or not np.isfinite(entropy).any():
        return None
    peak = int(np.nanargmax(entropy))
    text = f"Entropy averaged {np.nanmean(entropy):.2f} bit and peaked at {entropy[peak]:.2f} bit in step {peak}"
    high = 0 if run.health is None else run.health.high_entropy_steps or 0
    if high:
        text += f"; {high} of {run.steps} steps were above {thresholds.high_entropy_bits:g} bit"
    return text + "."


def _first_warning(run: Run) -> str | None:
    warning = run.early_warning
    if warning is None or warning.first_step is None:
        return None
    name = warning.active[warning.first_step][0]
    return f"The first warning came at step {warning.first_step}: {_WARNING_TEXT.get(name, name)}."


def _nothing(run: Run) -> str:
    return "Its logits were not measured." if run.column("entropy") is None else "No step had a distribution."

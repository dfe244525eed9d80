"""One model: generated with and without CoreVital, and what it says of itself."""

import logging
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from common import TOLERANCE, Result, first_line
from prompts import generate
from shrink import build, config_value, small_config
from truth import truth_of


def inspect_model(kind: str, model_type: str) -> Result:
    """Measure one model under its default attention and under eager attention."""
    result: Result = {"kind": kind, "model_type": model_type}
    try:
        config = small_config(model_type, kind)
        result["config"] = type(config).__name__
        model = build(kind, config)
        result["class"] = type(model).__name__
        result["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        plain = generate(model)
    except Exception as error:
        return {**result, "skipped": first_line(error)}
    result |= layers_of(model)
    default = implementation_of(model)
    result["attention_implementation"] = default
    make = partial(build, kind, config)
    truth = truth_of(make, plain, output_attentions=default == "eager")
    result["default"] = watched(model, plain, truth)
    columns = result["default"].pop("columns", [])
    if default != "eager":
        try:
            eager, truth = inspect_eager(partial(build, kind, config, "eager"))
        except Exception as error:
            return {**result, "eager": {"unsupported": first_line(error)}}
        result["eager"] = eager
        if truth.get("tokens") == plain.tolist():
            result["default"] |= compare_attention(columns, truth)
    result["attention_truth"] = {name: truth.get(name) for name in ("self_layers", "cross_layers", "why_not")}
    return result


def inspect_eager(make: Callable[[], Any]) -> tuple[Result, Result]:
    """Return what is measured under eager attention, and what the model itself returns under it."""
    model = make()
    tokens = generate(model)
    truth = truth_of(make, tokens, output_attentions=True)
    measured = watched(model, tokens, truth)
    measured.pop("columns", None)
    return measured, truth


def layers_of(model: Any) -> Result:
    """Return how many layers the config says, and which ones CoreVital finds."""
    from opentelemetry_instrumentation_corevital.capture.model.structure import examine, layers_path

    config = model.config
    text = config.get_text_config(decoder=True)
    types = config_value(text, "layer_types", None)
    anatomy = examine(model)
    first = anatomy.layers[0]() if anatomy.layers else None
    return {
        "layers_config": config_layers(config) or config_layers(text),
        "layer_types": dict(Counter(map(str, types))) if isinstance(types, list | tuple) else None,
        "layers_found": len(anatomy.layers),
        "layers_path": layers_path(model),
        "layer_class": None if first is None else type(first).__name__,
        "encoder_decoder": bool(getattr(config, "is_encoder_decoder", False)),
    }


def config_layers(config: Any) -> int | None:
    """Return how many decoder layers a config says."""
    names = ("decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers")
    return next((value for name in names if isinstance(value := config_value(config, name, None), int)), None)


def implementation_of(model: Any) -> str | None:
    """Return the attention implementation that transformers chose for the model."""
    return getattr(model.config.get_text_config(decoder=True), "_attn_implementation", None)


MEASURED: Final = ("entropy", "hidden_states", "attention")
"""What may be absent from a run with a reason, of what is told here."""


class _Errors(logging.Handler):
    """Keeps CoreVital's own errors, with the place where they came from."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            place = traceback.extract_tb(record.exc_info[2])[-1]
            self.found.append(f"{first_line(record.exc_info[1])} ({Path(place.filename).name}:{place.lineno})")
        elif record.levelno >= logging.WARNING:
            self.found.append(record.getMessage()[:200])


def watched(model: Any, plain: Any, truth: Result) -> Result:
    """Generate inside CoreVital and compare with what the model generates and says without it."""
    from tests.support.in_memory import Keep, instrumented

    keep, errors = Keep(), _Errors()
    logger = logging.getLogger("opentelemetry_instrumentation_corevital")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(errors)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with instrumented(capture="full", judgements=[keep]):
            tokens = generate(model)
    except Exception as error:
        return {"raised": first_line(error), "trace": traceback.format_exc()[-1500:]}
    finally:
        logger.removeHandler(errors)
        logger.setLevel(level)
        logger.propagate = propagate
    columns = [run.columns for run in keep.runs]
    measured: Result = {
        "same_tokens": tokens.tolist() == plain.tolist(),
        "runs": len(keep.runs),
        "absent": {name: reason for run in keep.runs for name, reason in run.absent.items() if name in MEASURED},
        "errors": errors.found,
        "steps": min((run.steps for run in keep.runs), default=0),
        "logits": all(name in run.columns for run in keep.runs for name in ("entropy", "surprisal")),
        "hidden_layers": layers_with(columns, "hidden_l2_norm"),
        "self_layers": layers_with(columns, "attention_max_weight"),
        "cross_layers": layers_with(columns, "cross_attention_max_weight"),
        **compare_hidden(columns, truth),
        **compare_attention(columns, truth),
    }
    return {**measured, "columns": columns}


def layers_with(columns: list[Any], name: str) -> int:
    """Return of how many layers a signal is finite at every step of every sequence."""
    import numpy as np

    if not columns or any(name not in column for column in columns):
        return 0
    return int(np.logical_and.reduce([np.isfinite(column[name]).all(0) for column in columns]).sum())


def compare_hidden(columns: list[Any], truth: Result) -> Result:
    """Compare sizes of hidden states with those of `output_hidden_states`.

    It holds the embeddings, each layer's output, and the last of these only after the final norm: the last layer is
    not compared. Some models leave out the embeddings instead.
    """
    expected = truth.get("hidden")
    if not expected:
        return {"hidden_truth": None, "hidden_why_not": truth.get("why_not", "the model returns no hidden states")}
    found: Result = {"hidden_truth": len(expected[0]) - 1}
    if not columns or any("hidden_l2_norm" not in column for column in columns):
        return found
    layers = columns[0]["hidden_l2_norm"].shape[1]
    if len(expected[0]) != layers + 1 or any(len(state) != len(columns) for step in expected for state in step):
        return {**found, "hidden_why_not": f"the model returns {len(expected[0])} hidden states for {layers} layers"}
    error = _hidden_error(columns, [step[1:-1] for step in expected])
    if error > TOLERANCE:
        without_embeddings = _hidden_error(columns, [step[:-1] for step in expected])
        if without_embeddings <= TOLERANCE:
            return {**found, "hidden_error": without_embeddings, "without_embeddings": True}
    return {**found, "hidden_error": error}


def _hidden_error(columns: list[Any], expected: list[list[list[dict[str, float]]]]) -> float:
    """Return the largest relative error; a layer that was not measured has none."""
    import numpy as np

    worst = 0.0
    for step, states in enumerate(expected):
        for layer, state in enumerate(states):
            for column, values in zip(columns, state, strict=True):
                for name, value in values.items():
                    error = abs(float(column[name][step, layer]) - value) / max(value, 1e-6)
                    worst = worst if np.isnan(error) else max(worst, error)
    return worst


def compare_attention(columns: list[Any], truth: Result) -> Result:
    """Compare attention signals with the weights that the model returns."""
    errors = {}
    for kind, prefix in (("self", ""), ("cross", "cross_")):
        name = f"{prefix}attention_max_weight"
        rows = truth.get(kind)
        if rows and columns and all(name in column for column in columns):
            error = _attention_error(columns, rows, prefix)
            errors |= {} if error is None else {f"{kind}_error": error}
    return errors


def _attention_error(columns: list[Any], rows: list[list[Any]], prefix: str) -> float | None:
    import numpy as np

    name = f"{prefix}attention_max_weight"
    measured = [index for index in range(columns[0][name].shape[1]) if np.isfinite(columns[0][name][0, index])]
    given = [index for index, row in enumerate(rows[0]) if row is not None]
    if len(rows[0]) == columns[0][name].shape[1] and set(measured) <= set(given):
        pairs = [(layer, layer) for layer in measured]
    elif len(given) == len(measured):
        pairs = list(zip(measured, given, strict=True))
    else:
        return None
    worst = 0.0
    for step, weights in enumerate(rows):
        for layer, index in pairs:
            for sequence, column in enumerate(columns):
                for signal, expected in _signals(weights[index][sequence]).items():
                    worst = max(worst, abs(float(column[f"{prefix}{signal}"][step, layer]) - expected))
    return worst


def _signals(weights: Any) -> dict[str, float]:
    """Return signals of a layer's last attention row [head, key], all of whose keys are visible."""
    import torch

    top = weights.amax(-1)
    found = {"attention_max_weight": float(top.mean()), "attention_max_weight_max": float(top.max())}
    keys = weights.shape[-1]
    if keys > 1 and torch.allclose(weights.sum(-1), torch.ones_like(top), atol=1e-4):  # no learned sink
        entropy = torch.special.entr(weights).sum(-1) / torch.tensor(float(keys)).log()
        found |= {"attention_entropy": float(entropy.mean()), "attention_entropy_min": float(entropy.min())}
    return found

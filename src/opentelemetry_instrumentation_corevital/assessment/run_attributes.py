"""A run's attributes: plain Python values only, no None, no NaN, nothing infinite."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from .. import semconv
from .._internal.values import plain
from ..catalogue import signals
from ..catalogue.fitting import fitting, unfit
from ..run import FINISH_REASONS, Decoding, ModelInfo, Run, StopReason

PROVIDER: Final = "huggingface"
SERIES_POINTS: Final = 256

Attributes = dict[str, Any]

_STATISTICS: Final[Mapping[str, Callable[..., Any]]] = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
}


def start_attributes(model: str, *, chat: bool) -> Attributes:
    """Return what samplers see as the span starts, and what must survive any attribute limit at its end."""
    return {
        semconv.GEN_AI_OPERATION_NAME: "chat" if chat else "text_completion",
        semconv.GEN_AI_PROVIDER_NAME: PROVIDER,
        semconv.GEN_AI_REQUEST_MODEL: model,
    }


def request_attributes(decoding: Decoding, *, content: bool) -> Attributes:
    """Return the GenAI attributes of the request."""
    return fitting(_request(decoding, content=content))


def unfit_attributes(decoding: Decoding, model: ModelInfo) -> dict[str, str]:
    """Return what is left out of request and model since its value fits no attribute, each with the reason."""
    return unfit(_request(decoding, content=False) | _model(model))


def _request(decoding: Decoding, *, content: bool) -> Attributes:
    several = decoding.num_return_sequences > 1
    return {
        semconv.GEN_AI_REQUEST_MAX_TOKENS: decoding.max_new_tokens,
        semconv.GEN_AI_REQUEST_TEMPERATURE: decoding.temperature,
        semconv.GEN_AI_REQUEST_TOP_P: decoding.top_p,
        semconv.GEN_AI_REQUEST_TOP_K: decoding.top_k,
        semconv.GEN_AI_REQUEST_SEED: decoding.seed,
        semconv.GEN_AI_REQUEST_CHOICE_COUNT: decoding.num_return_sequences if several else None,
        semconv.GEN_AI_REQUEST_STOP_SEQUENCES: decoding.stop_strings if content else None,
    }


def response_attributes(model: str, runs: Sequence[Run]) -> Attributes:
    """Return the GenAI attributes of the call's result: totals over its sequences."""
    reasons = [run.finish_reason for run in runs]
    first = first_token_seconds(runs)
    return fitting(
        {
            semconv.GEN_AI_RESPONSE_MODEL: model,
            semconv.GEN_AI_RESPONSE_FINISH_REASONS: reasons if None not in reasons else None,
            semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: first,
            semconv.GEN_AI_USAGE_INPUT_TOKENS: call_input_tokens(runs),
            semconv.GEN_AI_USAGE_OUTPUT_TOKENS: call_output_tokens(runs),
        }
    )


def outcome_attributes(runs: Sequence[Run]) -> Attributes:
    """Return what of the call's result must survive any attribute limit."""
    names = (
        semconv.GEN_AI_RESPONSE_FINISH_REASONS,
        semconv.GEN_AI_USAGE_INPUT_TOKENS,
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS,
    )
    found = response_attributes("", runs)
    return {name: found[name] for name in names if name in found} | fitting({semconv.ERROR_TYPE: runs[0].error_type})


def usage_attributes(model: str, tokens: tuple[int | None, int | None]) -> Attributes:
    """Return the GenAI attributes of a result of which nothing but its tokens (input, output) is known."""
    return fitting(
        {
            semconv.GEN_AI_RESPONSE_MODEL: model,
            semconv.GEN_AI_USAGE_INPUT_TOKENS: tokens[0],
            semconv.GEN_AI_USAGE_OUTPUT_TOKENS: tokens[1],
        }
    )


def stop_attributes(stop: StopReason | None) -> Attributes:
    """Return what ended a call of which no sequence is known, in both vocabularies."""
    reasons = None if stop is None else [FINISH_REASONS[stop]]
    return fitting({semconv.STOP_REASON: stop, semconv.GEN_AI_RESPONSE_FINISH_REASONS: reasons})


def call_input_tokens(runs: Sequence[Run]) -> int | None:
    """Return the prompt tokens of a call: a prompt with several sequences counts once."""
    counts = {run.prompt_index: run.input_tokens for run in runs}
    known = [count for count in counts.values() if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def call_output_tokens(runs: Sequence[Run]) -> int | None:
    """Return the generated tokens of a call; None where those of a sequence could not be read."""
    counts = [run.output_tokens for run in runs]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def first_token_seconds(runs: Sequence[Run]) -> float | None:
    """Return the seconds from the call to its first token; None where steps were not observed."""
    times = [int(run.time_ns[0]) - run.start_ns for run in runs if len(run.time_ns)]
    return min(times) / 1e9 if times else None


def model_attributes(model: ModelInfo) -> Attributes:
    """Return what the model is."""
    return fitting(_model(model))


def _model(model: ModelInfo) -> Attributes:
    return {
        semconv.MODEL_ARCHITECTURE: model.architecture,
        semconv.MODEL_DTYPE: model.dtype,
        semconv.MODEL_DEVICE: model.device,
        semconv.MODEL_LAYER_COUNT: model.layer_count,
        semconv.MODEL_HEAD_COUNT: model.head_count,
        semconv.MODEL_ATTENTION_IMPLEMENTATION: model.attention_implementation,
        semconv.MODEL_QUANTIZATION: model.quantization,
        semconv.MODEL_REVISION: model.revision,
        semconv.MODEL_ADAPTERS: list(model.adapters) or None,
    }


def sequence_attributes(run: Run) -> Attributes:
    """Return what marks a sequence's own span, where a call has several."""
    return fitting(
        {
            semconv.SEQUENCE_INDEX: run.sequence_index,
            semconv.MODEL_NAME: run.model.name,
            semconv.SEQUENCE_INPUT_TOKENS: run.input_tokens,
            semconv.SEQUENCE_OUTPUT_TOKENS: run.output_tokens,
            semconv.GEN_AI_RESPONSE_FINISH_REASONS: [run.finish_reason] if run.finish_reason else None,
            semconv.STOP_REASON: run.stop_reason,
            semconv.ERROR_TYPE: run.error_type,
        }
    )


def summary_attributes(run: Run) -> Attributes:
    """Return the summaries over a run's finite steps."""
    summaries: Attributes = {}
    for each in signals.with_summaries():
        values = run.column(each.name)
        finite = _finite(values)
        if values is None or not finite.size:
            continue
        for summary in each.summaries:
            value = slope(values) if summary.statistic == "slope" else over_steps(finite, summary.statistic)
            summaries[each.summary_name(summary.statistic)] = value
    return fitting(summaries)


def over_steps(finite: NDArray[np.float64], statistic: Literal["mean", "min", "max", "sum"]) -> float:
    """Return a statistic of a signal's finite values, of which there is one at least."""
    return float(_STATISTICS[statistic](finite))


def slope(values: NDArray[Any]) -> float | None:
    """Return the least-squares slope of the finite values over their steps; None below two of them."""
    steps = np.flatnonzero(np.isfinite(values)).astype(np.float64)
    if len(steps) < 2:
        return None
    finite = values[np.isfinite(values)].astype(np.float64)
    centered = steps - steps.mean()
    return float(centered @ (finite - finite.mean()) / (centered @ centered))


def series_attributes(run: Run, points: int = SERIES_POINTS) -> tuple[Attributes, dict[str, str]]:
    """Return the series over steps and, for those with holes, what is missing."""
    series: Attributes = {}
    absent: dict[str, str] = {}
    if points < 2:
        return series, absent
    for each in signals.with_series():
        attribute, values = each.series_name, run.column(each.name)
        if values is None or not len(values):
            continue
        values = values[each.from_step :]
        finite = _finite(values)
        if len(finite) < len(values):
            absent[attribute] = f"{len(values) - len(finite)} of {len(values)} steps are not finite and left out"
        if finite.size:
            series[attribute] = rounded(downsample(finite, points))
    if series:
        longest = max(len(values) for values in series.values())
        series[semconv.SERIES_STRIDE] = round(max(1.0, run.steps / longest), 4)
    return series, absent


def downsample(values: NDArray[Any], points: int) -> NDArray[Any]:
    """Return at most `points` values in order: of each of points/2 buckets the smallest and the largest."""
    if len(values) <= points:
        return values
    edges = np.linspace(0, len(values), points // 2 + 1).astype(int)
    kept: list[int] = []
    for begin, end in pairwise(edges):
        bucket = values[begin:end]
        kept += sorted({begin + int(bucket.argmin()), begin + int(bucket.argmax())})
    return values[kept]


def rounded(values: NDArray[Any]) -> list[float]:
    """Return values as Python floats of six significant digits: float32 holds little more."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def absent_attribute(absent: Mapping[str, str]) -> Attributes:
    """Return what is not there and why, as one JSON string."""
    return {semconv.CAPTURE_ABSENT: json.dumps(plain(absent), separators=(",", ":"))} if absent else {}


def _finite(values: NDArray[Any] | None) -> NDArray[np.float64]:
    if values is None:
        return np.empty(0)
    return np.asarray(values[np.isfinite(values)], np.float64)

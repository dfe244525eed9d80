"""One report of the first CoreVital as records of the store.

What it says is kept as it says it: its risk, flags and warnings are its own judgement (`corevital.risk.method` names
the schema), and its logit signals are those of the scores after temperature, top-k and top-p, not of the raw logits.
Content (texts, tokens, token ids, documents) is left out unless it is asked for. A report of ours, which `run` and
`export` write, becomes the run that it was.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from .. import semconv
from .._internal.npz import to_npz
from .._internal.values import number, whole
from ..assessment.fingerprint import hash_text, normalize_prompt
from ..assessment.run_attributes import downsample, over_steps, rounded, slope
from ..catalogue import signals
from ..catalogue.fitting import fitting
from ..config import Settings
from ..store.checked_attributes import REPORT
from ..store.common_rows import Record, source_of
from ..store.run_data_rows import whole_run_data
from ..store.span_rows import SpanFields, rows_of
from .report_alternatives import columns_told
from .report_extensions import own_run, without_own
from .report_prompt import SURPRISALS, read_columns
from .report_timeline import ReportColumns, pack

SCHEMAS: Final = ("0.3", "0.4")
_CONTENT: Final = frozenset(
    (
        *(SURPRISALS, "text", "output_text", "token_ids", "token_id", "token_text", "tokens", "prompt_text"),
        *("retrieved_doc_ids", "retrieved_doc_titles", "retrieval_metadata", "metadata"),
    )
)
"""Fields that hold content, wherever they are in a report."""
_FLAGS: Final = semconv.HEALTH_FLAGS
_MEDIUM, _HIGH = 0.3, 0.7
_POINTS: Final = 256


class ReportError(ValueError):
    """What cannot be read as a report; the message says what was expected, and where."""


_NO_END: Final = "the report does not say why the run ended"


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was read."""

    trace_id: str
    """32 hexadecimal digits: the report's own, or made from it where it is no UUID."""
    span_id: str
    records: tuple[Record, ...]


def read_report(report: Any, settings: Settings, *, content: bool) -> Report:
    """Return a report's records.

    Args:
        report: what its JSON holds.
        settings: how the prompt is hashed.
        content: whether texts, tokens and documents are kept.

    Raises:
        ReportError: if it is none, or a field has a wrong type.
    """
    version = _field(report, "schema_version", str)
    if not version.startswith(SCHEMAS):
        raise ReportError(f"schema_version: is {version!r}, 0.3.0 and 0.4.0 are known")
    (trace_id, span_id), timeline = ids_of(report), _objects(report, "timeline")
    prompt, generated, summary = (_object(report, each) for each in ("prompt", "generated", "summary"))
    columns, rest = pack(timeline)
    own = own_run(report)
    of_prompt, prompt_told = read_columns(report, own=own is not None, content=content)
    columns |= columns_told(timeline, content=content) | of_prompt
    _derive(columns, _object(report, "model").get("num_attention_heads"))
    steps = _count(generated.get("num_tokens"), summary.get("generated_tokens"), len(timeline))
    end_ns = _created_ns(report)
    attributes = {
        semconv.GEN_AI_OPERATION_NAME: "text_completion",
        semconv.GEN_AI_PROVIDER_NAME: "huggingface",
        semconv.MIGRATED_FROM: version,
        semconv.STEPS_TOTAL: steps,
        semconv.GEN_AI_USAGE_INPUT_TOKENS: _count(prompt.get("num_tokens"), summary.get("prompt_tokens")),
        semconv.GEN_AI_USAGE_OUTPUT_TOKENS: steps,
        semconv.CAPTURE_ABSENT: json.dumps(dict.fromkeys(("finish_reason", "stop_reason"), _NO_END)),
        **_model(_object(report, "model")),
        **_request(_object(report, "run_config")),
        **_judgements(report, version, content=content),
        **_summaries(columns),
        **prompt_told,
        **_prompt_hash(prompt.get("text"), settings),
    }
    if content:
        attributes |= _messages(prompt.get("text"), generated.get("output_text"))
        columns |= _tokens(generated.get("token_ids"), len(timeline))
    kept = {**report, "timeline": rest, "extensions": without_own(_extensions(report))}
    kept = kept if content else _without_content(kept, _narrative(report, content=False))
    columns[REPORT] = np.frombuffer(json.dumps(kept, separators=(",", ":")).encode("utf-8", "replace"), np.uint8)
    start_ns, service = end_ns - int(1e6 * _seconds(summary)), "corevital-migrated"
    if own is not None:
        attributes = own.attributes if content else own.without_content()
        if semconv.MIGRATED_FROM in attributes:  # the narrative is not ours, and may quote
            attributes = {**attributes, semconv.NARRATIVE: _narrative(report, content=content)}
        start_ns, end_ns, service = own.start_ns, own.end_ns, own.service_name
    span = SpanFields(
        trace_id,
        span_id,
        source_of({"service.name": service}, name=semconv.SCOPE_NAME),
        _span_name(attributes),
        start_ns,
        end_ns,
        fitting(attributes),
    )
    return Report(trace_id, span_id, (rows_of(span), whole_run_data(trace_id, span_id, to_npz(columns))))


def _span_name(attributes: Mapping[str, Any]) -> str:
    operation = attributes.get(semconv.GEN_AI_OPERATION_NAME, "sequence")
    return f"{operation} {attributes.get(semconv.GEN_AI_REQUEST_MODEL, 'unknown')}"


def ids_of(report: Any) -> tuple[str, str]:
    """Return the trace id and span id of a report; the same for the same.

    Raises:
        ReportError: if it has no id.
    """
    own = own_run(report)
    if own is not None:
        return own.trace_id, own.span_id
    name = _field(report, "trace_id", str)
    try:
        trace_id = uuid.UUID(name).hex
    except ValueError:
        trace_id = hashlib.sha256(f"corevital report {name}".encode()).hexdigest()[:32]
    return trace_id, hashlib.sha256(f"corevital run {trace_id}".encode()).hexdigest()[:16]


# --- the parts of a report ---------------------------------------------------------------------------------------


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    name = _text(model.get("hf_id"))
    quantization = model.get("quantization")
    method = quantization.get("method") if isinstance(quantization, dict) and quantization.get("enabled") else None
    return {
        semconv.GEN_AI_REQUEST_MODEL: name,
        semconv.GEN_AI_RESPONSE_MODEL: name,
        semconv.MODEL_ARCHITECTURE: _text(model.get("architecture")),
        semconv.MODEL_DTYPE: _text(model.get("dtype")),
        semconv.MODEL_DEVICE: _text(model.get("device")),
        semconv.MODEL_REVISION: _text(model.get("revision")),
        semconv.MODEL_LAYER_COUNT: whole(model.get("num_layers")),
        semconv.MODEL_HEAD_COUNT: whole(model.get("num_attention_heads")),
        semconv.MODEL_QUANTIZATION: _text(method),
    }


def _request(config: Mapping[str, Any]) -> dict[str, Any]:
    generation = config.get("generation")
    generation = generation if isinstance(generation, dict) else {}
    samples = generation.get("do_sample")
    beams = whole(generation.get("num_beams")) or 1
    strategy = None
    if isinstance(samples, bool):
        sampling, searching = ("beam_sample", "beam_search") if beams > 1 else ("sample", "greedy_search")
        strategy = sampling if samples else searching
    top_k = whole(generation.get("top_k")) if samples else None
    return {
        semconv.DECODING_STRATEGY: strategy,
        semconv.GEN_AI_REQUEST_SEED: whole(config.get("seed")),
        semconv.GEN_AI_REQUEST_MAX_TOKENS: whole(config.get("max_new_tokens")),
        semconv.GEN_AI_REQUEST_TEMPERATURE: number(generation.get("temperature")) if samples else None,
        semconv.GEN_AI_REQUEST_TOP_P: number(generation.get("top_p")) if samples else None,
        semconv.GEN_AI_REQUEST_TOP_K: top_k,
    }


def _judgements(report: Mapping[str, Any], version: str, *, content: bool) -> dict[str, Any]:
    health = _object(report, "health_flags")
    risk, warning = (_extension(report, name) for name in ("risk", "early_warning"))
    score = number(risk.get("risk_score"))
    signals = _names(warning.get("warning_signals"))
    blamed = _blamed(risk.get("blamed_layers"))
    return {
        **{attribute: health[name] for name, attribute in _FLAGS.items() if isinstance(health.get(name), bool)},
        semconv.HEALTH_HIGH_ENTROPY_STEPS: whole(health.get("high_entropy_steps")),
        semconv.RISK_SCORE: score,
        semconv.RISK_LEVEL: None
        if score is None
        else "high"
        if score >= _HIGH
        else "medium"
        if score >= _MEDIUM
        else "low",
        semconv.RISK_METHOD: None if score is None else f"report-{version}",
        semconv.RISK_ANSWER: number(risk.get("answer_risk")),
        semconv.RISK_FACTORS: _names(risk.get("risk_factors")) if risk else None,
        semconv.BLAME_LAYERS: [layer for layer, _, _ in blamed] if risk else None,
        semconv.BLAME_REASONS: [reason for _, reason, _ in blamed] if risk else None,
        semconv.BLAME_SEVERITIES: [severity for *_, severity in blamed]
        if all(s is not None for *_, s in blamed) and risk
        else None,
        semconv.EARLY_WARNING_FAILURE_RISK: number(warning.get("failure_risk")),
        semconv.EARLY_WARNING_SIGNALS: signals if warning else None,
        semconv.WARNINGS: list(dict.fromkeys((*signals, *_compound(report)))),
        semconv.NARRATIVE: _narrative(report, content=content),
    }


def _blamed(value: Any) -> list[tuple[int, str, float | None]]:
    """Return layer, reason and severity of each: 0.3.0 and 0.4.0 name layers, later reports say why."""
    found = []
    for each in value if isinstance(value, list) else []:
        if isinstance(each, dict) and isinstance(each.get("layer"), int):
            found.append((each["layer"], ", ".join(_names(each.get("reasons"))), number(each.get("severity"))))
        elif whole(each) is not None:
            found.append((int(each), "named by the migrated report, which says no reason", None))
    return found


def _compound(report: Mapping[str, Any]) -> list[str]:
    extension = _extension(report, "compound_signals")
    signals = extension.get("signals") if extension else _extensions(report).get("compound_signals")
    return (
        [each["name"] for each in signals if isinstance(each, dict) and isinstance(each.get("name"), str)]
        if isinstance(signals, list)
        else []
    )


def _narrative(report: Mapping[str, Any], *, content: bool) -> str | None:
    """Return the narrative; without content without the tokens that some reports quote in it."""
    text = _text(_extension(report, "narrative").get("summary"))
    return (
        text
        if text is None or content
        else re.sub(r"(['\"\u201c\u2018`]).+?(['\"\u201d\u2019`])(?!\w)", r"\1...\2", text)
    )


def _summaries(columns: ReportColumns) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for each in signals.with_summaries():
        values = columns.get(each.name)
        finite = np.empty(0) if values is None else values[np.isfinite(values)].astype(np.float64)
        if finite.size:
            made |= {
                each.summary_name(summary.statistic): over_steps(finite, summary.statistic)
                for summary in each.summaries
                if summary.statistic != "slope"
            }
            made[each.series_name] = rounded(downsample(finite, _POINTS))
            made[semconv.SERIES_STRIDE] = round(max(1.0, len(finite) / len(made[each.series_name])), 4)
    if "entropy" in columns:
        made[semconv.ENTROPY_SLOPE] = slope(columns["entropy"])
    return made | _layers(columns)


def _layers(columns: ReportColumns) -> dict[str, Any]:
    """Return the layer arrays, of those signals that every layer has."""
    made = {}
    for each in signals.SIGNALS:
        values = columns.get(each.name)
        if each.layer_array is not None and values is not None and np.isfinite(values).all():
            reduce = np.max if each.layer_array.statistic == "max" else np.mean
            made[each.layers_name] = rounded(reduce(values.astype(np.float64), axis=0))
    if "hidden_nan" in columns and "hidden_inf" in columns:
        made[semconv.LAYERS_NONFINITE] = (columns["hidden_nan"] + columns["hidden_inf"]).sum(0).astype(int).tolist()
    return made


def _derive(columns: ReportColumns, heads: Any) -> None:
    """Add the fractions of heads that a report gives as counts."""
    for kind in ("collapsed", "focused"):
        counts = columns.get(f"report.attention_summary.{kind}_head_count")
        if counts is not None and f"{kind}_head_rate" not in columns and isinstance(heads, int) and heads > 0:
            columns[f"{kind}_head_rate"] = (counts / heads).astype(np.float32)


def _prompt_hash(text: Any, settings: Settings) -> dict[str, Any]:
    if not isinstance(text, str) or settings.prompt_hash == "off":
        return {}
    key = settings.hash_key if settings.prompt_hash == "hmac" else None
    return {
        semconv.FINGERPRINT_PROMPT_HASH: hash_text(normalize_prompt(text), key),
        semconv.FINGERPRINT_PROMPT_HASH_SOURCE: "text",
    }


# --- content -----------------------------------------------------------------------------------------------------


def _messages(prompt: Any, answer: Any) -> dict[str, Any]:
    made = {}
    for name, role, text in (
        (semconv.GEN_AI_INPUT_MESSAGES, "user", prompt),
        (semconv.GEN_AI_OUTPUT_MESSAGES, "assistant", answer),
    ):
        if isinstance(text, str):
            message = {"role": role, "parts": [{"type": "text", "content": text}]}
            made[name] = json.dumps([message], ensure_ascii=False)
    return made


def _tokens(ids: Any, steps: int) -> ReportColumns:
    fits = isinstance(ids, list) and len(ids) == steps and all(isinstance(each, int) for each in ids)
    return {"tokens": np.array(ids, np.int32)} if fits and steps else {}


def _without_content(value: Any, narrative: str | None) -> Any:
    cleaned = _stripped(value)
    if narrative is not None:
        cleaned["extensions"]["narrative"] = {"summary": narrative}
    return cleaned


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items() if key not in _CONTENT}
    return [_stripped(item) for item in value] if isinstance(value, list) else value


# --- values ------------------------------------------------------------------------------------------------------


def _field(report: Any, name: str, kind: type[str]) -> str:
    if not isinstance(report, dict):
        raise ReportError("a JSON object was expected")
    value = report.get(name)
    if not isinstance(value, kind) or not value:
        raise ReportError(f"{name}: text was expected; this is no report of CoreVital")
    return value


def _object(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = report.get(name)
    if value is not None and not isinstance(value, dict):
        raise ReportError(f"{name}: an object was expected")
    return value or {}


def _objects(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = report.get(name) or []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ReportError(f"{name}: a list of objects was expected")
    return value


def _extensions(report: Mapping[str, Any]) -> dict[str, Any]:
    return _object(report, "extensions")


def _extension(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = _extensions(report).get(name)
    return value if isinstance(value, dict) else {}


def _created_ns(report: Mapping[str, Any]) -> int:
    text = _field(report, "created_at_utc", str)
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        raise ReportError(f"created_at_utc: {text!r} is no ISO 8601 time") from None
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return int(created.timestamp()) * 10**9 + created.microsecond * 1000


def _seconds(summary: Mapping[str, Any]) -> float:
    """Return milliseconds that the run took."""
    return max(0.0, number(summary.get("elapsed_ms")) or 0.0)


def _count(*values: Any) -> int | None:
    return next((value for value in map(whole, values) if value is not None), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _names(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

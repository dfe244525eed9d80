"""A stored run as a report of schema 0.4.0, with what that schema lacks under `extensions.corevital`.

A migrated run gives its report back: what it said stays, and is not replaced by what other versions would say.
"""

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .. import semconv
from .._internal.json_text import json_object, too_deep
from ..catalogue import rag_names
from ..catalogue.alternative_names import COLUMNS
from ..store.checked_attributes import is_id
from ..store.stored_run import StoredRun
from .report_alternatives import FIELD, told_steps
from .report_prompt import FIELD as PROMPT
from .report_prompt import prompt_told
from .report_timeline import ReportColumns, ReportStep, field_of, unpack
from .report_words import risk_factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA: Final = "0.4.0"
_SAMPLING: Final = ("sample", "beam_sample")
_RETRIEVED: Final = {
    "context_token_count": rag_names.CONTEXT_TOKEN_COUNT,
    "document_count": rag_names.DOCUMENT_COUNT,
    "retrieved_doc_ids": rag_names.DOC_IDS,
    "retrieved_doc_titles": rag_names.DOC_TITLES,
}
_FINGERPRINT: Final = {
    path.removeprefix("fingerprint."): name
    for path, name in semconv.VERDICTS.items()
    if path.startswith("fingerprint.")
}
_INTERVENTION: Final = semconv.INTERVENTION_KIND.removesuffix("kind")
_HEADS: Final = ("collapsed", "focused")
_PER_STEP: Final = ("top1_prob", "hidden_cosine")
_BLOCK: Final = 1024
"""Steps of a timeline that are made at a time."""


def report_of(run: StoredRun) -> dict[str, Any]:
    """Return a run's report, as JSON values.

    Raises:
        ValueError: if its run data are damaged.
    """
    made, steps = report_and_steps(run)
    return {**made, "timeline": list(steps)}


def report_and_steps(run: StoredRun) -> tuple[dict[str, Any], Iterator[ReportStep]]:
    """Return a run's report with an empty timeline, and the steps that belong there, which are made as they are taken.

    All steps of a long run at once would take a thousand bytes each.

    Raises:
        ValueError: if its run data are damaged.
    """
    kept = run.report
    if kept is None:
        made, steps = _native(run), _timeline(run)
    else:
        made, steps = {**kept, "timeline": []}, _kept_timeline(run.columns, kept.get("timeline") or [])
    made["extensions"] = {**(made.get("extensions") or {}), "corevital": _superset(run)}
    return made, steps


def _native(run: StoredRun) -> dict[str, Any]:
    summary, get = run.summary, {**(run.call or {}), **run.attributes}.get
    prompt, answer = (_text(get(name)) for name in (semconv.GEN_AI_INPUT_MESSAGES, semconv.GEN_AI_OUTPUT_MESSAGES))
    tokens = run.columns.get("tokens")
    ids = None if tokens is None else tokens.tolist()
    generated = get(semconv.STEPS_TOTAL)
    total = None if summary.input_tokens is None or generated is None else summary.input_tokens + generated
    return {
        "schema_version": SCHEMA,
        "trace_id": str(uuid.UUID(summary.trace_id)) if is_id(summary.trace_id, 32) else summary.trace_id,
        "created_at_utc": datetime.fromtimestamp(summary.end_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": _present(
            {
                "hf_id": summary.model,
                "revision": get(semconv.MODEL_REVISION),
                "architecture": get(semconv.MODEL_ARCHITECTURE),
                "num_layers": get(semconv.MODEL_LAYER_COUNT),
                "num_attention_heads": get(semconv.MODEL_HEAD_COUNT),
                "dtype": get(semconv.MODEL_DTYPE),
                "device": get(semconv.MODEL_DEVICE),
                "quantization": None
                if run.dropped.attributes and get(semconv.MODEL_QUANTIZATION) is None
                else {
                    "enabled": get(semconv.MODEL_QUANTIZATION) is not None,
                    "method": get(semconv.MODEL_QUANTIZATION),
                },
            }
        ),
        "run_config": _present(
            {
                "seed": get(semconv.GEN_AI_REQUEST_SEED),
                "max_new_tokens": get(semconv.GEN_AI_REQUEST_MAX_TOKENS),
                "generation": _present(
                    {
                        "do_sample": None if summary.strategy is None else summary.strategy in _SAMPLING,
                        "temperature": get(semconv.GEN_AI_REQUEST_TEMPERATURE),
                        "top_k": get(semconv.GEN_AI_REQUEST_TOP_K),
                        "top_p": get(semconv.GEN_AI_REQUEST_TOP_P),
                    }
                ),
            }
        ),
        "prompt": _present({"text": prompt, "num_tokens": summary.input_tokens}),
        "generated": _present({"output_text": answer, "token_ids": ids, "num_tokens": generated}),
        **_of_prompt(run),
        "timeline": [],
        "summary": _present(
            {
                "prompt_tokens": summary.input_tokens,
                "generated_tokens": generated,
                "total_steps": total,
                "elapsed_ms": round(1000 * summary.seconds),
            }
        ),
        "warnings": [{"code": name, "message": name.replace("_", " ")} for name in summary.warnings or ()],
        "health_flags": _present(
            {name: getattr(summary, name) for name in (*semconv.HEALTH_FLAGS, "high_entropy_steps")}
        ),
        "extensions": _extensions(run),
    }


def _of_prompt(run: StoredRun) -> dict[str, Any]:
    told = prompt_told(run.prompt_analysis, run.summary.input_tokens)
    return {PROMPT: told} if told else {}


def _extensions(run: StoredRun) -> dict[str, Any]:
    summary, get = run.summary, run.attributes.get
    made: dict[str, Any] = {}
    if summary.risk_score is not None or summary.risk_answer is not None:
        made["risk"] = _present(
            {
                "risk_score": summary.risk_score,
                "risk_factors": None if (factors := get(semconv.RISK_FACTORS)) is None else risk_factors(factors),
                "blamed_layers": get(semconv.BLAME_LAYERS),
                "answer_risk": summary.risk_answer,
            }
        )
    if summary.failure_risk is not None:
        signals = get(semconv.EARLY_WARNING_SIGNALS)
        made["early_warning"] = _present({"failure_risk": summary.failure_risk, "warning_signals": signals})
    if fingerprint := _present({name: get(attribute) for name, attribute in _FINGERPRINT.items()}):
        made["fingerprint"] = fingerprint
    told = {**(run.call or {}), **run.attributes}
    retrieved = {name: told.get(attribute) for name, attribute in _RETRIEVED.items()}
    if retrieved := _present({**retrieved, "retrieval_metadata": _object(told.get(rag_names.METADATA))}):
        made["rag"] = retrieved
    if summary.narrative is not None:
        made["narrative"] = {"summary": summary.narrative}
    if ending := _ending(run):
        made["ending"] = ending
    return made


def _ending(run: StoredRun) -> dict[str, Any]:
    """Return what ended the run, and what policies did to it."""
    done = [_words(event.attributes) for event in run.interventions] or [_words(run.attributes)]
    interventions = [each for each in done if each]
    return _present({"stop_reason": run.summary.stop_reason, "interventions": interventions or None})


def _words(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what attributes say of an intervention, by the last word of each name, its evidence as an object."""
    said = {
        name.removeprefix(_INTERVENTION): value for name, value in attributes.items() if name.startswith(_INTERVENTION)
    }
    return _present({**said, "evidence": _object(said.get("evidence"))})


def _superset(run: StoredRun) -> dict[str, Any]:
    label = None if run.label is None else asdict(run.label)
    summary = run.summary
    ids = {"trace_id": summary.trace_id, "span_id": summary.span_id, "sequence_index": summary.sequence_index}
    times = {"start_ns": summary.start_ns, "end_ns": summary.end_ns}
    dropped = run.dropped._asdict() if any(run.dropped) else None
    more = {"label": label, "attributes": run.attributes, "dropped": dropped, "damage": run.damage or None}
    return _present({**ids, **times, "service_name": summary.service_name, **more})


def _timeline(run: StoredRun) -> Iterator[ReportStep]:
    """Yield the steps, from the run data; without them from the recorded steps."""
    first, heads = run.summary.input_tokens or 0, run.attributes.get(semconv.MODEL_HEAD_COUNT)
    if not run.columns:
        yield from (_recorded(event.attributes, first) for event in run.steps if semconv.STEP_INDEX in event.attributes)
        return
    columns, steps = _of_most_steps(run.columns)
    for begin in range(0, steps, _BLOCK):
        some = {name: values[begin : begin + _BLOCK] for name, values in columns.items()}
        ids = some["tokens"].tolist() if "tokens" in some else None
        rest: list[ReportStep] = [
            {
                "step_index": first + step,
                "token": _present({"token_id": ids[step - begin] if ids else None, "is_prompt_token": False}),
            }
            for step in range(begin, min(begin + _BLOCK, steps))
        ]
        for name in ("hidden_nan", "hidden_inf"):
            if name in some:
                some[name] = some[name] > 0  # the report has whether, not how many
        made, could = unpack(some, rest), told_steps(some)
        _count_heads(made, heads)
        for index, step in enumerate(made):
            entropy = step.get("logits_summary", {}).get("entropy")
            if entropy is not None:
                step["logits_summary"]["perplexity"] = 2**entropy
            if index < len(could):
                step.setdefault("logits_summary", {})[FIELD] = could[index]
            more = {name: float(some[name][index]) for name in _PER_STEP if name in some}
            step["extensions"] = {name: value for name, value in more.items() if math.isfinite(value)}
        yield from made


def _of_most_steps(columns: "Mapping[str, NDArray[Any]]") -> tuple[ReportColumns, int]:
    """Return the columns that a timeline is made of, each read once, and its steps; a column of fewer is left out."""
    steps, found = 0, ReportColumns()
    for name, values in columns.items():
        steps = max(steps, len(values))
        if name == "tokens" or name in _PER_STEP or name in COLUMNS or field_of(name) is not None:
            found[name] = values
    return {name: values for name, values in found.items() if len(values) == steps}, steps


def _kept_timeline(columns: "Mapping[str, NDArray[Any]]", rest: Sequence[ReportStep]) -> Iterator[ReportStep]:
    """Yield the steps of a migrated report's timeline."""
    fitting = {name: values for name, values in columns.items() if field_of(name) and len(values) == len(rest)}
    for begin in range(0, len(rest), _BLOCK):
        some = {name: values[begin : begin + _BLOCK] for name, values in fitting.items()}
        yield from unpack(some, rest[begin : begin + _BLOCK])


def _count_heads(timeline: list[dict[str, Any]], heads: int | None) -> None:
    """Add how many heads are collapsed and focused to their fractions."""
    for layer in (layer for step in timeline for layer in step.get("layers", ())):
        found = layer.get("attention_summary", {})
        for kind in _HEADS:
            if heads is not None and f"{kind}_head_rate" in found:
                found[f"{kind}_head_count"] = round(found[f"{kind}_head_rate"] * heads)


def _recorded(attributes: Mapping[str, Any], first: int) -> dict[str, Any]:
    entropy = attributes.get(semconv.STEP_ENTROPY)
    logits = {
        "entropy": entropy,
        "surprisal": attributes.get(semconv.STEP_SURPRISAL),
        "top_k_margin": attributes.get(semconv.STEP_MARGIN),
        "topk_mass": attributes.get(semconv.STEP_TOPK_MASS),
        "perplexity": None if entropy is None else 2**entropy,
    }
    index = first + int(attributes[semconv.STEP_INDEX])
    token = {"is_prompt_token": False}
    return {"step_index": index, "token": token, "logits_summary": _present(logits), "layers": [], "extensions": {}}


def _text(messages: Any) -> str | None:
    """Return the last message's text of a GenAI messages attribute; None where it is not there or was cut off."""
    try:
        return str(json.loads(messages)[-1]["parts"][0]["content"])
    except (TypeError, ValueError, LookupError, RecursionError):
        return None


def _object(text: Any) -> dict[str, Any] | None:
    """Return the object that a JSON attribute holds; None where it is not there or was cut off."""
    value = json_object(text)
    return None if value is None or too_deep(value) else value


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

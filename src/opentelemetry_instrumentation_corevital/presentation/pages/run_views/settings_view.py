"""What a run was, for its page: identity, model, decoding, capture and baseline."""

from typing import Any, Final

from .... import semconv
from ...shapes import RunShape
from ..page_formats import number

_GROUPS: Final = (
    (
        "Model",
        (
            ("architecture", semconv.MODEL_ARCHITECTURE),
            ("layers", semconv.MODEL_LAYER_COUNT),
            ("attention heads", semconv.MODEL_HEAD_COUNT),
            ("dtype", semconv.MODEL_DTYPE),
            ("device", semconv.MODEL_DEVICE),
            ("attention", semconv.MODEL_ATTENTION_IMPLEMENTATION),
            ("quantization", semconv.MODEL_QUANTIZATION),
            ("revision", semconv.MODEL_REVISION),
            ("adapters", semconv.MODEL_ADAPTERS),
        ),
    ),
    (
        "Decoding",
        (
            ("operation", semconv.GEN_AI_OPERATION_NAME),
            ("strategy", semconv.DECODING_STRATEGY),
            ("temperature", semconv.GEN_AI_REQUEST_TEMPERATURE),
            ("top-p", semconv.GEN_AI_REQUEST_TOP_P),
            ("top-k", semconv.GEN_AI_REQUEST_TOP_K),
            ("seed", semconv.GEN_AI_REQUEST_SEED),
            ("token limit", semconv.GEN_AI_REQUEST_MAX_TOKENS),
            ("sequences", semconv.GEN_AI_REQUEST_CHOICE_COUNT),
            ("stop strings", semconv.GEN_AI_REQUEST_STOP_SEQUENCES),
        ),
    ),
    (
        "Tokens",
        (
            ("prompt", semconv.SEQUENCE_INPUT_TOKENS, semconv.GEN_AI_USAGE_INPUT_TOKENS),
            ("generated", semconv.STEPS_TOTAL, semconv.SEQUENCE_OUTPUT_TOKENS),
            ("stop reason", semconv.STOP_REASON),
            ("finish reason", semconv.GEN_AI_RESPONSE_FINISH_REASONS),
            ("first token after, s", semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK),
            ("error", semconv.ERROR_TYPE),
        ),
    ),
    (
        "Measured with",
        (
            ("capture", semconv.CAPTURE_MODE),
            ("reported in full after a trigger", semconv.CAPTURE_UPGRADED),
            ("attention every ... steps", semconv.CAPTURE_ATTENTION_EVERY),
            ("layers", semconv.CAPTURE_LAYERS),
            ("fraction of calls", semconv.CAPTURE_RATIO),
            ("risk method", semconv.RISK_METHOD),
            ("baseline", semconv.VERDICTS["baseline.source"]),
            ("baseline of runs", semconv.VERDICTS["baseline.runs"]),
            ("baseline differs in", semconv.PROFILE_DIFFERENCES),
            ("names of version", semconv.SCHEMA),
            ("migrated from report", semconv.MIGRATED_FROM),
        ),
    ),
    (
        "Identity",
        (
            ("prompt hash", semconv.FINGERPRINT_PROMPT_HASH),
            ("prompt hash of", semconv.FINGERPRINT_PROMPT_HASH_SOURCE),
            ("run hash", semconv.FINGERPRINT_RUN_HASH),
            ("fingerprint", semconv.FINGERPRINT_VERSION),
        ),
    ),
)
"""Title -> what it lists: each with its attribute, and others that stand in for it."""


def settings_view(run: RunShape) -> list[dict[str, Any]]:
    """Return groups of names and values; what is not known is not there."""
    found = []
    for title, rows in _GROUPS:
        named = ((name, _first(run, attributes)) for name, *attributes in rows)
        facts = [(name, _shown(value)) for name, value in named if value not in (None, [], ())]
        if title == "Identity":
            facts = [*_ids(run), *facts]
        if facts:
            found.append({"title": title, "facts": facts})
    return found


def _ids(run: RunShape) -> list[tuple[str, str]]:
    summary = run.summary
    named = (("trace id", summary.trace_id), ("span id", summary.span_id))
    ids = [(name, str(each)) for name, each in named if each]
    return [*ids, ("sequence of the call", str(summary.sequence_index))]


def _first(run: RunShape, attributes: list[str]) -> Any:
    return next((run.attributes[name] for name in attributes if name in run.attributes), None)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 4)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

"""What is said of a finished run: as a dictionary, and as a report of schema 0.4.0."""

from typing import Any

from opentelemetry.trace import format_span_id, format_trace_id

from .._internal.values import plain
from ..config import Settings
from ..emission.content import messages, span_attributes
from ..legacy.run_report import report_of_run
from ..run import Run
from .token_text import text_of
from .watched_call import WatchedCall

_NO_TOKENIZER = "no tokenizer is known"


def health_flags(run: Run) -> dict[str, bool | int]:
    """Return the flags that were judged and the count of high-entropy steps, by name; what was not judged is absent."""
    if run.health is None:
        return {}
    steps = run.health.high_entropy_steps
    return {**run.health.flags(), **({} if steps is None else {"high_entropy_steps": steps})}


def output_text(call: WatchedCall, run: Run) -> str | None:
    """Return a run's text without special tokens; None where no tokenizer is known, or the tokens are not."""
    if call.tokenizer is None or run.output_tokens is None:
        return None
    return text_of(call.tokenizer, run.tokens.tolist())


def summary_of(call: WatchedCall, run: Run) -> dict[str, Any]:
    """Return the verdict on a run, as JSON values; None, and a reason under `absent`, where something is not known."""
    text, risk, told = output_text(call, run), run.risk, run.fingerprint
    absent = dict(run.absent)
    if text is None:
        absent["output_text"] = run.absent.get("output_tokens", _NO_TOKENIZER)
    return {
        "risk_score": None if risk is None else risk.score,
        "risk_level": None if risk is None else risk.level,
        "risk_factors": [] if risk is None else [name for name, _ in risk.factors],
        "answer_risk": None if run.answer is None else run.answer.probability,
        "blamed_layers": None if run.blame is None else [each.layer for each in run.blame],
        "health_flags": health_flags(run),
        "early_warning": _early_warning(run),
        "fingerprint": {
            "vector": None if told is None or told.vector is None else list(told.vector),
            "prompt_hash": None if told is None else told.prompt_hash,
        },
        "narrative": run.narrative,
        "trace_id": _trace_id(call),
        "model_id": run.model.name,
        "output_text": text,
        "stop_reason": run.stop_reason,
        "finish_reason": run.finish_reason,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "seconds": (run.end_ns - run.start_ns) / 1e9,
        "warnings": list(run.warnings),
        "interventions": [
            {
                "kind": each.kind,
                "trigger": each.trigger,
                "step": each.step,
                "outcome": each.outcome,
                "tokens_left": each.tokens_left,
                "rollback_mode": each.rollback_mode,
                "to_step": each.to_step,
                "evidence": plain(each.evidence),
            }
            for each in run.interventions
        ],
        "retries": call.retries,
        "sequence_index": run.sequence_index,
        "sequence_count": run.sequence_count,
        "absent": absent,
    }


def report_of_call(call: WatchedCall, run: Run, settings: Settings) -> dict[str, Any]:
    """Return a run's report of schema 0.4.0; it has text and token ids only where content is switched on."""
    said = messages(run, output_text(call, run)) if settings.content else {}
    context = call.span_context
    return report_of_run(
        run,
        settings,
        trace_id="0" * 32 if context is None else format_trace_id(context.trace_id),
        span_id="0" * 16 if context is None else format_span_id(context.span_id),
        attributes={**call.attributes, **span_attributes(said)},
    )


def _early_warning(run: Run) -> dict[str, Any]:
    """Return what warned; nothing where no early warnings are made."""
    warning = run.early_warning
    if warning is None:
        return {}
    return {"failure_risk": warning.failure_risk_at_end, "warning_signals": list(warning.signals)}


def _trace_id(call: WatchedCall) -> str | None:
    context = call.span_context
    return None if context is None or not context.is_valid else format_trace_id(context.trace_id)

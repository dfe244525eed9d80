"""Message text, only ever made when it is switched on: on the span, in a log event, or both."""

import json
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.context import Context

from .. import semconv
from .._internal.values import clean
from ..assessment.verdict_attributes import carried_attributes
from ..catalogue.fitting import fitting
from ..run import Run

Messages = Mapping[str, list[dict[str, Any]]]
"""Attribute -> the GenAI conventions' messages."""

_UNKNOWN: Final = "unknown"
"""A message must have a finish reason by the conventions' schema, which takes other words than theirs."""

_OPENINFERENCE: Final = {
    semconv.GEN_AI_INPUT_MESSAGES: semconv.INPUT_VALUE,
    semconv.GEN_AI_OUTPUT_MESSAGES: semconv.OUTPUT_VALUE,
}

MESSAGE_BYTES: Final = 1024
"""Most bytes of an exception's message."""
TRACEBACK_BYTES: Final = 4096
EXCEPTION_BYTES: Final = 2 * MESSAGE_BYTES + TRACEBACK_BYTES + 256
"""What an exception takes of a span: its event, and its message once more as the status's description."""


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many bytes of UTF-8: of a longer one its beginning and its end."""
    data, gap = clean(text).encode(), " ... "
    if len(data) <= most:
        return data.decode()
    half = (most - len(gap)) // 2
    return gap.join(part.decode(errors="ignore") for part in (data[:half], data[-half:]))


def messages(run: Run, answer: str | None) -> Messages:
    """Return the run's prompt and answer, as far as their text is known."""
    found = {}
    if run.prompt.text is not None:
        found[semconv.GEN_AI_INPUT_MESSAGES] = [{"role": "user", "parts": [_part(run.prompt.text)]}]
    if answer is not None:
        said = {"role": "assistant", "parts": [_part(answer)], "finish_reason": run.finish_reason or _UNKNOWN}
        found[semconv.GEN_AI_OUTPUT_MESSAGES] = [said]
    return found


def span_attributes(said: Messages) -> dict[str, str]:
    """Return messages as a span has them: attributes of spans have no structure, so they are JSON."""
    return {name: json.dumps(each, ensure_ascii=False, separators=(",", ":")) for name, each in said.items()}


def openinference_values(said: Messages) -> dict[str, str]:
    """Return the text of messages as OpenInference has it, under its names."""
    return {_OPENINFERENCE[name]: "\n".join(map(_text, each)) for name, each in said.items()}


def _text(message: Mapping[str, Any]) -> str:
    return "\n".join(part["content"] for part in message["parts"])


def emit_content(logger: Logger, run: Run, said: Messages, request: Mapping[str, Any], context: Context) -> None:
    """Emit messages as the conventions' log event, whose attributes have structure.

    Args:
        logger: where it goes.
        run: the sequence that they are of.
        said: its messages.
        request: the call's GenAI attributes.
        context: holds the run's span.
    """
    logger.emit(
        LogRecord(
            timestamp=run.end_ns,
            context=context,
            severity_number=SeverityNumber.DEBUG,  # as the conventions ask
            event_name=semconv.CONTENT_EVENT,
            attributes={**fitting({**request, **carried_attributes(run, "route")}), **said},
        )
    )


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": clean(text)}

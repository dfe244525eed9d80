"""Message text, only ever made when it is switched on."""

import json
from typing import Any

from .. import semconv
from ..run import Run


def message_attributes(run: Run, answer: str | None) -> dict[str, Any]:
    """Return prompt and answer as the GenAI conventions' JSON messages."""
    attributes: dict[str, Any] = {}
    if run.prompt.text is not None:
        attributes[semconv.GEN_AI_INPUT_MESSAGES] = _json({"role": "user", "parts": [_part(run.prompt.text)]})
    if answer is not None:
        message = {"role": "assistant", "parts": [_part(answer)], "finish_reason": run.finish_reason or "stop"}
        attributes[semconv.GEN_AI_OUTPUT_MESSAGES] = _json(message)
    return attributes


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _json(message: dict[str, Any]) -> str:
    return json.dumps([message], ensure_ascii=False, separators=(",", ":"))

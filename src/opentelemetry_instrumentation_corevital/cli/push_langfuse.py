"""Verdicts as Langfuse's scores: `POST /api/public/scores`, which replaces those of the same id."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .._internal.user_error import UserError
from .push_client import PushClient, base_url
from .pushed_scores import NAME, PushedBatch, PushedScore

PATH: Final = "/api/public/scores"
LEVEL_NAME: Final = f"{NAME}_level"
_KEYS: Final = "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"


class LangfuseScores:
    """Sends to one Langfuse.

    Args:
        environment: has both keys, and the endpoint where none is given.
        endpoint: its address; None: `LANGFUSE_HOST` or `LANGFUSE_BASE_URL`, else Langfuse's cloud.

    Raises:
        UserError: if the endpoint is no URL, or a key is missing.
    """

    def __init__(self, environment: Mapping[str, str], endpoint: str | None) -> None:
        named = environment.get("LANGFUSE_HOST") or environment.get("LANGFUSE_BASE_URL")
        given = endpoint or named or "https://cloud.langfuse.com"
        self.endpoint = base_url(given, "/api/public")
        self._keys = [environment.get(name, "").strip() for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")]

    def push(self, scores: Sequence[PushedScore]) -> Iterator[PushedBatch]:
        """Send verdicts one by one. None is missing: Langfuse also takes what it has no trace of.

        Raises:
            UserError: if a key is missing, or Langfuse cannot be reached or refuses; what was sent before stays.
        """
        if not all(self._keys):
            raise UserError(f"Langfuse asks for its keys: set {_KEYS}.")
        basic = base64.b64encode(":".join(self._keys).encode()).decode()
        client = PushClient(self.endpoint, {"Authorization": f"Basic {basic}"}, _KEYS, self._keys)
        for each in scores:
            for body in bodies(each):
                answer = client.post(PATH, body)
                if answer.status not in (200, 201) or not isinstance(answer.value, dict):
                    raise client.refused(PATH, answer)
            yield PushedBatch(1)


def bodies(of: PushedScore) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's two scores: the number, and the level, by which pages filter."""
    common = {"traceId": of.trace_id, "observationId": of.span_id, "comment": of.explanation, "metadata": of.metadata}
    return (
        {"id": _id(of, NAME), "name": NAME, "value": of.score, "dataType": "NUMERIC", **common},
        {"id": _id(of, LEVEL_NAME), "name": LEVEL_NAME, "value": of.level, "dataType": "CATEGORICAL", **common},
    )


def _id(of: PushedScore, name: str) -> str:
    """Return the id of a score, the same whenever it is sent."""
    return f"{name}-{of.trace_id}-{of.span_id}"

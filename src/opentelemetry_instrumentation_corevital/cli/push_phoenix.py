"""Verdicts as Phoenix's span annotations: `POST /v1/span_annotations`, which replaces those of the same identifier."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .push_client import PushClient, base_url
from .pushed_scores import NAME, PushedBatch, PushedScore

PATH: Final = "/v1/span_annotations"
_IDENTIFIER: Final = "corevital"
"""Of an annotation: one of the same name and identifier on the same span is replaced."""
_BATCH: Final = 100


class PhoenixAnnotations:
    """Sends to one Phoenix.

    Args:
        environment: has `PHOENIX_API_KEY`, and the endpoint where none is given.
        endpoint: its address; None: `PHOENIX_COLLECTOR_ENDPOINT`, else this machine's.

    Raises:
        UserError: if the endpoint is no URL.
    """

    def __init__(self, environment: Mapping[str, str], endpoint: str | None) -> None:
        given = endpoint or environment.get("PHOENIX_COLLECTOR_ENDPOINT") or "http://localhost:6006"
        self.endpoint = base_url(given, "/v1/traces")
        key = environment.get("PHOENIX_API_KEY", "").strip()  # files of secrets end with a line's end
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def push(self, scores: Sequence[PushedScore]) -> Iterator[PushedBatch]:
        """Send verdicts in batches.

        Raises:
            UserError: if Phoenix cannot be reached or refuses; what was sent before stays.
        """
        client = PushClient(self.endpoint, self._headers, "PHOENIX_API_KEY")
        for start in range(0, len(scores), _BATCH):
            yield self._batch(client, scores[start : start + _BATCH])

    def _batch(self, client: PushClient, batch: Sequence[PushedScore]) -> PushedBatch:
        missing: list[PushedScore] = []
        left = list(batch)
        while left:
            answer = client.post(PATH, {"data": [annotation(each) for each in left]}, sync="true")
            if answer.status == 200 and isinstance(answer.value, dict) and isinstance(answer.value.get("data"), list):
                break
            unknown = [each for each in left if each.span_id in answer.text] if answer.status == 404 else []
            if not unknown:  # it takes all of a request or nothing, and names the spans that it does not have
                raise client.refused(PATH, answer)
            missing += unknown
            left = [each for each in left if each not in unknown]
        return PushedBatch(len(left), missing)


def annotation(of: PushedScore) -> dict[str, Any]:
    """Return the annotation of a run's span."""
    return {
        "span_id": of.span_id,
        "name": NAME,
        "annotator_kind": "CODE",
        "identifier": _IDENTIFIER,
        "result": {"score": of.score, "label": of.level, "explanation": of.explanation},
        "metadata": of.metadata,
    }

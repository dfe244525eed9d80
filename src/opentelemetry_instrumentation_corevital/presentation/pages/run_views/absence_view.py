"""What is not there of a run, for its page, and why: absent, dropped on the way, or damaged."""

from typing import Any

from .... import semconv
from ....catalogue.spelling import LABELS, reason_for_people
from ...panel import CUT, dropped_text, parsed
from ...shapes import RunShape


def absence_view(run: RunShape) -> dict[str, Any]:
    """Return reasons, each with all that it is given for; `cut` says why they are not known."""
    absent = parsed(run.attributes.get(semconv.CAPTURE_ABSENT))
    reasons: dict[str, list[str]] = {}
    for name, reason in (absent or {}).items():
        reasons.setdefault(reason_for_people(str(reason)), []).append(LABELS.get(name, name.replace("_", " ")))
    return {
        "reasons": [(names, reason) for reason, names in reasons.items()],
        "cut": f"The list of what is absent is {CUT}." if absent is None else None,
        "dropped": dropped_text(run.dropped) if any(run.dropped) else None,
        "damage": sorted(run.damage.items()),
    }

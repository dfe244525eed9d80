"""Names of the events that tell what policies did, each with all of it; the run's span has the gist of the last."""

from typing import Final

from .carried import CARRIED
from .definitions import LONG, LONGEST_WORD, attribute, define, step_attribute

EVENT: Final = define("event", "corevital.intervention", "-", "", "what a policy did to the sequence")
for _each in CARRIED:
    if _each.path.startswith("intervention."):
        step_attribute(_each.attribute, _each.type, _each.unit, "as on the span, of this one", longest=_each.longest)
TOKENS_LEFT: Final = step_attribute(
    "corevital.intervention.tokens_left",
    "int",
    "{token}",
    "the limit minus what was generated then: no guess of what was saved; absent where there is no limit",
)
ROLLBACK_MODE: Final = step_attribute(
    "corevital.intervention.rollback_mode",
    "string",
    "",
    "of a rollback: `crop`, the cache was cut back; `prefill`, it was computed again from the kept tokens",
    longest=LONGEST_WORD,
)
attribute(TOKENS_LEFT, "int", "{token}", "on spans of CoreVital 0.1: as on the event, of the last one")
attribute(
    ROLLBACK_MODE, "string", "", "on spans of CoreVital 0.1: as on the event, of the last one", longest=LONGEST_WORD
)
TO_STEP: Final = step_attribute(
    "corevital.intervention.to_step", "int", "{step}", "of a rollback: the tokens before this step were kept"
)
EVIDENCE: Final = step_attribute(
    "corevital.intervention.evidence", "string", "", "JSON: its numbers, and what changed", longest=LONG
)

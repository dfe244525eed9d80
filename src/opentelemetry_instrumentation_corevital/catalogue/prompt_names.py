"""Names of what is said of a prompt set: the experiment, and which of its prompts a run answers.

No attribute of the run's span: those are counted, and these are told by who asks, not by who measures.
"""

from typing import Final

from .definitions import define, step_attribute

MOST_PROMPT_ID: Final = 128
"""Characters of a prompt's id and of an experiment's name."""

EXPERIMENT: Final = define(
    "resource attribute",
    "corevital.experiment",
    "string",
    "",
    "what the runs of this process belong to; `OTEL_RESOURCE_ATTRIBUTES` names it without code",
    longest=MOST_PROMPT_ID,
)
PROMPT_EVENT: Final = define("event", "corevital.prompt", "-", "", "which prompt of a prompt set the run answers")
PROMPT_ID: Final = step_attribute(
    "corevital.prompt.id", "string", "", "its id in the prompt set, else its line", longest=MOST_PROMPT_ID
)
PROMPT_REQUEST_HASH: Final = step_attribute(
    "corevital.prompt.request_hash",
    "string",
    "",
    "SHA-256 over prompt, model, settings and experiment: what makes two requests the same",
)
PROMPT_EXPECTED_FOUND: Final = step_attribute(
    "corevital.prompt.expected_found",
    "boolean",
    "",
    "the answer has what is expected, as the prompt's grader compares it",
)
PROMPT_GRADER: Final = step_attribute(
    "corevital.prompt.grader",
    "string",
    "",
    "how the answer is compared with what is expected: `contains`, `exact`, `regex` or `number`",
)
PROMPT_EXPECTED: Final = step_attribute(
    "corevital.prompt.expected", "string[]", "", "the expected texts, of which one is enough", content=True
)
PROMPT_METADATA: Final = step_attribute(
    "corevital.prompt.metadata", "string", "", "what else the prompt set says of it, as JSON", content=True
)

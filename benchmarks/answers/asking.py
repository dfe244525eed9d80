"""A question as it is put to a model, in one of four forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from zoo.prompts import Prompt

from .grading import GRADES

FORMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "stopped": "text to go on with; ends with the answer's line",
        "unstopped": "text to go on with; a fixed number of tokens, whatever comes after the answer",
        "chat": "through the chat template; ends where the model ends it, or at the limit",
        "sentence": "through the chat template, asked for one sentence; ends so, too",
    }
)
"""Form -> what it is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a model.

    Attributes:
        number: of the question; the same question in two forms has one number.
        form: one of `FORMS`.
        answers: those that count.
        grade: one of `grading.GRADES`.
        limit: most new tokens; of the form `unstopped` their number.
        level: of the zoo's tasks; 0 is the easiest.
    """

    number: int
    task: str
    form: str
    prompt: Prompt
    answers: tuple[str, ...]
    grade: str
    limit: int
    level: int = 0

    def right(self, text: str) -> bool:
        """Tell whether an answer is right."""
        return GRADES[self.grade](text, self.answers)


def grouped(asked: Sequence[Asked]) -> dict[tuple[str, str], list[Asked]]:
    """Return questions by task and form, in the order in which these come first."""
    found: dict[tuple[str, str], list[Asked]] = {}
    for each in asked:
        found.setdefault((each.task, each.form), []).append(each)
    return found

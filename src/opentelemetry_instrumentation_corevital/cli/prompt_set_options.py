"""What the options of `corevital run` say of a prompt set, and which others go with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._internal.user_error import UserError
from ..catalogue.prompt_names import MOST_PROMPT_ID
from .graders import Grader
from .prompt_set import SetPrompt, read_prompt_set


@dataclass(frozen=True, slots=True)
class PromptSet:
    """A prompt set, and how it is asked."""

    prompts: Sequence[SetPrompt]
    again: bool
    """Whether what is stored already is asked, too."""


def prompt_set_of(
    file: Path | None,
    experiment: str | None,
    others: Mapping[str, object],
    *,
    again: bool,
    grader: Grader | None = None,
) -> PromptSet | None:
    """Return the prompt set of `--prompts`, whose file is checked as a whole; None where there is none.

    Args:
        file: of `--prompts`.
        experiment: of `--experiment`, which runs of one prompt may have, too.
        others: options that go with one prompt, or put runs elsewhere than into a store, and what they say.
        again: `--again`.
        grader: `--grader`.

    Raises:
        UserError: for options that do not go together, and for what is wrong with the file.
    """
    check_experiment(experiment)
    if file is None:
        if again:
            raise UserError("--again goes with --prompts.")
        if grader is not None:
            raise UserError("--grader goes with --prompts, whose lines say what is expected.")
        return None
    given = next((name for name, value in others.items() if value), None)
    if given is not None:
        raise UserError(
            f"--prompts asks many prompts and goes on from what its store has, so {given} does not go with it."
        )
    prompts = read_prompt_set(file, grader or Grader.CONTAINS)
    if grader is not None and not any(prompt.expected for prompt in prompts):
        raise UserError(
            f"--grader {grader}: no prompt of {file} says what is expected; give a line the field expected."
        )
    return PromptSet(prompts, again)


def check_experiment(name: str | None) -> None:
    """Refuse a name that no list could show.

    Raises:
        UserError: if it is empty, too long, or has characters that cannot be shown.
    """
    if name is None:
        return
    if not name or name != name.strip() or not name.isprintable():
        raise UserError("--experiment: give a name without blanks around it, such as short-answers.")
    if len(name) > MOST_PROMPT_ID:
        raise UserError(f"--experiment: the name has {len(name)} characters; {MOST_PROMPT_ID} are the most.")

"""Prompt sets: files of prompts, checked as a whole before anything is run."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .._internal.file_io import NoJsonError, parsed_json, read_any
from .._internal.json_text import too_deep
from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..catalogue.prompt_names import MOST_PROMPT_ID
from .graders import Grader, problem
from .options import MOST_INPUT_BYTES

MOST_PROMPT: Final = 2**20
"""Characters of a prompt: more than any model takes."""
MOST_EXPECTED: Final = 2**14
"""Characters of what is expected, and of the metadata: they travel with the run."""
_FIELDS: Final = ("id", "prompt", "messages", "expected", "grader", "metadata")
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")
"""Not `str.splitlines`: it takes characters of a text, such as U+2028, for the end of a line."""
_MOST_SHOWN: Final = 60

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SetPrompt:
    """One prompt of a prompt set."""

    line: int
    """Where it stands, from 1."""
    given_id: str | None
    text: str | None
    """None where it has messages."""
    messages: Sequence[Message] | None = None
    """Of a chat, each with `role` and `content`."""
    expected: Sequence[str] = ()
    """Texts of which the answer should have one; empty: nothing is expected."""
    metadata: str | None = None
    """What else is said of it, a JSON object."""
    grader: Grader = Grader.CONTAINS
    """How the answer is compared with what is expected."""

    @property
    def id(self) -> str:
        """Return its id, which is its line where it was given none."""
        return str(self.line) if self.given_id is None else self.given_id

    @property
    def shown(self) -> str:
        """Return the beginning of what is asked, for a table."""
        text = self.text if self.messages is None else str(self.messages[-1]["content"])
        return one_line(" ".join((text or "").split()), _MOST_SHOWN)


class _WrongError(Exception):
    """What is wrong with a line: the field, why, and what to do."""


def read_prompt_set(file: Path, grader: Grader = Grader.CONTAINS) -> list[SetPrompt]:
    """Return the prompts of a file: a prompt a line of a `.txt`, a JSON object a line of a `.jsonl`.

    Args:
        file: the prompt set.
        grader: that of lines which name none.

    Raises:
        UserError: for a file that cannot be read, and for the first line that is wrong; it names file, line and field.
    """
    kind = file.suffix.lower()
    if kind not in (".txt", ".jsonl"):
        raise UserError(f"--prompts {file}: name it .txt (a prompt a line) or .jsonl (a JSON object a line).")
    lines = [(at, line) for at, line in enumerate(_lines(file), 1) if line.strip()]
    found = []
    for at, line in lines:
        try:
            found.append(SetPrompt(at, None, _prompt(line)) if kind == ".txt" else _of_object(at, line, grader))
        except _WrongError as error:
            raise UserError(f"--prompts {file}, line {at}: {error}") from None
    if not found:
        wanted = "a prompt" if kind == ".txt" else 'a JSON object, such as {"prompt": "..."},'
        raise UserError(f"--prompts {file}: there is no prompt in it; write {wanted} on each line.")
    _check_ids(found, file)
    return found


def _lines(file: Path) -> list[str]:
    try:
        data = read_any(file, MOST_INPUT_BYTES)
    except OSError as error:
        raise UserError(f"--prompts {file}: cannot be read: {error.strerror}.") from None
    try:
        return _LINE_ENDS.split(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = len(_LINE_ENDS.findall(data[: error.start].decode("utf-8-sig"))) + 1
        raise UserError(
            f"--prompts {file}, line {line}: is not UTF-8 at byte {error.start} of the file; save it as UTF-8."
        ) from None


def _check_ids(prompts: Sequence[SetPrompt], file: Path) -> None:
    first: dict[str, SetPrompt] = {}
    for prompt in prompts:
        other = first.setdefault(prompt.id, prompt)
        if other is not prompt:
            named = (
                "" if None not in (prompt.given_id, other.given_id) else " (a prompt without one has its line's number)"
            )
            raise UserError(
                f"--prompts {file}, line {prompt.line}: id: {prompt.id} is that of line {other.line}, too{named}; "
                "give each prompt one of its own."
            )


# --- one line of a .jsonl -----------------------------------------------------------------------------------------


def _of_object(at: int, line: str, grader: Grader) -> SetPrompt:
    try:
        found = parsed_json(line)
    except NoJsonError as error:
        why = str(error).replace("no JSON at line 1, column", "no JSON at column")
        raise _WrongError(f"{why}; write one JSON object, with prompt or messages, on each line.") from None
    if not isinstance(found, dict):
        raise _WrongError('is no JSON object; write one such as {"id": "q1", "prompt": "..."}.')
    unknown = next((name for name in found if name not in _FIELDS), None)
    if unknown is not None:
        raise _WrongError(
            f"{one_line(unknown, _MOST_SHOWN)}: is no field; fields are {', '.join(_FIELDS)}. "
            "What else there is to say goes into metadata."
        )
    given = {name: value for name, value in found.items() if value is not None}
    if ("prompt" in given) == ("messages" in given):
        both = "has prompt and messages" if "prompt" in given else "has neither prompt nor messages"
        raise _WrongError(f"{both}; give one of them.")
    chosen = _grader(given, grader)
    return SetPrompt(
        at,
        _id(given["id"]) if "id" in given else None,
        _prompt(given["prompt"], "prompt: ") if "prompt" in given else None,
        _messages(given["messages"]) if "messages" in given else None,
        _expected(given["expected"], chosen) if "expected" in given else (),
        _metadata(given["metadata"]) if "metadata" in given else None,
        chosen,
    )


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _WrongError("id: is neither a text nor a whole number.")
    name = str(value)
    if not name or name != one_line(name) or name != name.strip():
        raise _WrongError(
            "id: is empty, or has blanks around it or characters that cannot be shown; give a plain word."
        )
    if len(name) > MOST_PROMPT_ID:
        raise _WrongError(f"id: has {len(name)} characters; {MOST_PROMPT_ID} are the most.")
    return name


def _prompt(value: Any, field: str = "") -> str:
    text = _text(value, field, MOST_PROMPT)
    if not text.strip():
        raise _WrongError(f"{field}is empty; leave the line out, or write a prompt.")
    return text


def _text(value: Any, field: str, most: int) -> str:
    if not isinstance(value, str):
        raise _WrongError(f"{field}is no text.")
    if len(value) > most:
        raise _WrongError(f"{field}has {len(value):,} characters; {most:,} are the most.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _WrongError(f"{field}has half of a surrogate pair, which is no character; write the whole one.") from None
    return value


def _messages(value: Any) -> Sequence[Message]:
    if not isinstance(value, list) or not value:
        raise _WrongError('messages: is no list of messages; write [{"role": "user", "content": "..."}].')
    for number, message in enumerate(value):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise _WrongError(f"messages: message {number + 1} is no object of role and content alone.")
        for name, part in message.items():
            _prompt(part, f"messages: {name} of message {number + 1} ")
    if sum(len(message["content"]) for message in value) > MOST_PROMPT:
        raise _WrongError(f"messages: have over {MOST_PROMPT:,} characters together.")
    return value


def _grader(given: Mapping[str, Any], usual: Grader) -> Grader:
    """Return how a line is graded; what is expected nowhere has the usual one: nothing is compared."""
    if "grader" not in given:
        return usual if "expected" in given else Grader.CONTAINS
    named = given["grader"]
    if not isinstance(named, str) or named not in list(Grader):
        shown = one_line(str(named), _MOST_SHOWN)
        raise _WrongError(f"grader: {shown} is none; graders are {', '.join(Grader)}.")
    if "expected" not in given:
        raise _WrongError("grader: has nothing to compare; give expected, too.")
    return Grader(named)


def _expected(value: Any, grader: Grader) -> Sequence[str]:
    several = value if isinstance(value, list) else [value]
    for each in several:
        if not _text(each, "expected: ", MOST_EXPECTED).strip():
            raise _WrongError("expected: is empty; leave the field out.")
    if not several or sum(map(len, several)) > MOST_EXPECTED:
        raise _WrongError(f"expected: is a text, or a list of some, with {MOST_EXPECTED:,} characters at most.")
    for each in several:
        if why := problem(grader, each):
            raise _WrongError(f"expected: {one_line(each, _MOST_SHOWN)} {why}")
    return tuple(several)


def _metadata(value: Any) -> str:
    if not isinstance(value, dict):
        raise _WrongError("metadata: is no JSON object.")
    if too_deep(value) is not None:
        raise _WrongError("metadata: is nested too deeply.")
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise _WrongError("metadata: has a number that JSON does not have (NaN or Infinity).") from None
    return _text(text, "metadata: ", MOST_EXPECTED)

"""What `corevital run` reads before it runs: the prompt and what was retrieved for it."""

import io
import sys

from .._internal.file_io import read_any
from .._internal.user_error import UserError
from ..instrumentation.rag import RAGContext
from .options import MOST_INPUT_BYTES


def prompt_text(prompt: str | None, prompt_file: str | None) -> str:
    """Return the prompt of `--prompt` or `--prompt-file`.

    Raises:
        UserError: unless exactly one of them is given and there is a prompt in it.
    """
    if (prompt is None) == (prompt_file is None):
        raise UserError("Give the prompt with --prompt or with --prompt-file, one of them.")
    if "-" in (prompt, prompt_file):
        text = _standard_input()
    elif prompt_file is not None:
        text = _read("--prompt-file", prompt_file)
    else:
        text = prompt or ""
    if not text.strip():
        raise UserError("The prompt is empty.")
    return text


def _standard_input() -> str:
    """Return standard input, which is UTF-8 as prompt files are, whatever the terminal's encoding."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    try:
        return sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"standard input: cannot be read: {_reason(error)}.") from None


def read_rag_context(path: str | None) -> RAGContext | None:
    """Return what `--rag-context` tells of the documents that were retrieved for the prompt.

    Raises:
        UserError: if the file cannot be read or is not such a JSON object.
    """
    if path is None:
        return None
    try:
        return RAGContext.from_json(_read("--rag-context", path))
    except ValueError as error:
        raise UserError(f"--rag-context {path}: {error}.") from None


def _read(option: str, path: str) -> str:
    try:
        return read_any(path, MOST_INPUT_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{option} {path}: cannot be read: {_reason(error)}.") from None


def _reason(error: OSError | UnicodeDecodeError) -> str | None:
    return error.strerror if isinstance(error, OSError) else f"it is not UTF-8 at byte {error.start}"

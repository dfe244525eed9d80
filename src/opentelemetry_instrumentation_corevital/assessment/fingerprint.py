"""What tells runs apart: how each behaved (`behaviour.py`), which prompt it answered, by which model and settings."""

import hashlib
import hmac
import json
import unicodedata

from .._internal.prompt import Prompt
from ..run import Fingerprint, Run
from .behaviour import vector


def judge_fingerprint(run: Run, *, hashed: bool = True, key: str | None = None) -> Fingerprint:
    """Return the vector of the run's behaviour, and hashes of the prompt and of the run's identity.

    Args:
        run: its prompt's text, or its tokens' identity where no text is known, is read and not kept.
        hashed: whether the prompt is hashed.
        key: None for SHA-256; a secret for HMAC-SHA-256, whose results cannot be guessed from likely prompts.
    """
    absent: dict[str, str] = {}
    numbers: tuple[float, ...] | None = None
    version: str | None = None
    if isinstance(found := vector(run), str):
        absent["fingerprint"] = found
    else:
        numbers, version = tuple(round(value, 4) for value in found[0].tolist()), found[1]
    prompt = run_hash = None
    if not hashed:
        absent["prompt_hash"] = "switched off (prompt_hash=off)"
    elif (told := _told(run.prompt)) is None:
        absent["prompt_hash"] = (
            "neither the prompt's text nor its token ids are known: call generate() within prompt_text(...)"
        )
    else:
        prompt = _hash(told, key)
        run_hash = hash_text(_identity(run, prompt), key)
    source = None if prompt is None else run.prompt.source
    return Fingerprint(prompt, source, run_hash, numbers, version, absent)


def _told(prompt: Prompt) -> bytes | None:
    """Return what tells a prompt apart; None where nothing does."""
    return prompt.identity if prompt.text is None else _encoded(normalize_prompt(prompt.text))


def _identity(run: Run, prompt: str) -> str:
    """Return what two runs have in common that answer the same prompt by the same model and settings, as JSON."""
    return json.dumps(
        {
            "prompt": prompt,
            "model": run.model.name,
            "revision": run.model.revision,
            "dtype": run.model.dtype,
            "decoding": run.decoding.identity(),
            **({"adapters": run.model.adapters} if run.model.adapters else {}),
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def normalize_prompt(text: str) -> str:
    """Return the text that is hashed: Unicode NFC, without space at its ends, case kept."""
    return unicodedata.normalize("NFC", text).strip()


def hash_text(text: str, key: str | None = None) -> str:
    """Return the SHA-256 of a text's UTF-8 in hexadecimal, or its HMAC-SHA-256 under `key`."""
    return _hash(_encoded(text), key)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hash(data: bytes, key: str | None) -> str:
    if key is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest()

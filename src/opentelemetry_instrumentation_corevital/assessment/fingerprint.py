"""What tells runs apart: how each behaved (`behaviour.py`), which prompt it answered, by which model and settings."""

import hashlib
import hmac
import json
import unicodedata

from ..run import Fingerprint, Run
from .behaviour import vector


def judge_fingerprint(run: Run, *, hashed: bool = True, key: str | None = None) -> Fingerprint:
    """Return the vector of the run's behaviour, and hashes of the prompt and of the run's identity.

    Args:
        run: its `prompt.text` is read and not kept.
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
    elif run.prompt.text is None:
        absent["prompt_hash"] = "neither the prompt's text nor a tokenizer is known"
    else:
        prompt, run_hash = _hashes(run, run.prompt.text, key)
    source = None if prompt is None else run.prompt.source
    return Fingerprint(prompt, source, run_hash, numbers, version, absent)


def _hashes(run: Run, text: str, key: str | None) -> tuple[str, str]:
    """Return the hash of the prompt and that of the run's identity."""
    prompt = hash_text(normalize_prompt(text), key)
    identity = json.dumps(
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
    return prompt, hash_text(identity, key)


def normalize_prompt(text: str) -> str:
    """Return the text that is hashed: Unicode NFC, without space at its ends, case kept."""
    return unicodedata.normalize("NFC", text).strip()


def hash_text(text: str, key: str | None = None) -> str:
    """Return the SHA-256 of a text's UTF-8 in hexadecimal, or its HMAC-SHA-256 under `key`."""
    data = text.encode("utf-8", "surrogatepass")
    if key is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest()

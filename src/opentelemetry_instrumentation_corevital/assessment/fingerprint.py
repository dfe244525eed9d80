"""Hashes of a run: which prompt it answered, and with which model and settings."""

import hashlib
import hmac
import json
import unicodedata

from ..run import Fingerprint, Run


def judge_fingerprint(run: Run, *, key: str | None = None) -> Fingerprint:
    """Hash the prompt and the run's identity.

    Args:
        run: its `prompt.text` is read and not kept.
        key: None for SHA-256; a secret for HMAC-SHA-256, whose results cannot be guessed from likely prompts.
    """
    if run.prompt.text is None:
        return Fingerprint(absent={"prompt_hash": "neither the prompt's text nor a tokenizer is known"})
    prompt = hash_text(normalize_prompt(run.prompt.text), key)
    identity = json.dumps(
        {
            "prompt": prompt,
            "model": run.model.name,
            "revision": run.model.revision,
            "dtype": run.model.dtype,
            "decoding": run.decoding.identity(),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return Fingerprint(prompt_hash=prompt, prompt_hash_source=run.prompt.source, run_hash=hash_text(identity, key))


def normalize_prompt(text: str) -> str:
    """Return the text that is hashed: Unicode NFC, without space at its ends, case kept."""
    return unicodedata.normalize("NFC", text).strip()


def hash_text(text: str, key: str | None = None) -> str:
    """Return the SHA-256 of a text's UTF-8 in hexadecimal, or its HMAC-SHA-256 under `key`."""
    data = text.encode("utf-8", "surrogatepass")
    if key is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest()

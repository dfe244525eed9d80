"""Which tokenizer made the tokens of a model's prompts, where only the model is known."""

import json
import os
import weakref
from typing import Any

from ..emission.ids import system_random

_nameless: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


def tokenizer_identity(model: Any) -> str:
    """Return what two models have in common only where their token ids mean the same, as JSON.

    It is where the model was loaded from, at which revision, with which vocabulary and special tokens. A model that was
    loaded from nowhere has one of its own for as long as it lives: nothing tells which tokenizer it is used with.
    """
    config: Any = getattr(model, "config", None)
    name = str(getattr(config, "_name_or_path", None) or "")
    if name:
        place = os.path.abspath(name) if os.path.isdir(name) else name
    else:
        place = _nameless.setdefault(model, f"nameless {system_random.getrandbits(128):032x}")
    known = ("_commit_hash", "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
    told = {attribute: getattr(config, attribute, None) for attribute in known}
    return json.dumps({"model": place, **told}, sort_keys=True, default=str)

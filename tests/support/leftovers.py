"""What a monitor's calls must not leave behind."""

import os
import threading
import time
from typing import Any

from transformers.generation.utils import GenerationMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_METHODS = ("generate", "_get_logits_processor", "_get_stopping_criteria")


def leftovers(*models: Any) -> dict[str, Any]:
    """Return what there is that a call may have left: to be compared with what there was before."""
    _settle()
    return {
        "threads": [thread.name for thread in threading.enumerate() if thread.name == "corevital-generate"],
        "methods": [vars(GenerationMixin)[name] for name in _METHODS],
        "hooks": [len(module._forward_hooks) for model in models for module in model.modules()],
        "pre-hooks": [len(module._forward_pre_hooks) for model in models for module in model.modules()],
        "attention": {name: id(ALL_ATTENTION_FUNCTIONS[name]) for name in ("sdpa", "eager") if _registered(name)},
        "files": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
    }


def _registered(name: str) -> bool:
    return name in ALL_ATTENTION_FUNCTIONS


def _settle() -> None:
    """Give threads that nobody waits for, those of streams dropped in an event loop, a moment to end."""
    for _ in range(400):
        if not any(thread.name == "corevital-generate" for thread in threading.enumerate()):
            return
        time.sleep(0.025)

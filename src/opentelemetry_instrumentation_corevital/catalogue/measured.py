"""What a call's capture may lack: groups of signals, signals, and facts of the run. A verdict needs some of it."""

from collections.abc import Mapping
from typing import Final

from . import signals

GROUPS: Final[Mapping[str, str]] = {
    "hidden_states": "all signals of the layers' outputs; `nan_detected` and `inf_detected` speak of the logits alone",
    "attention": "all signals of attention",
    "router": "all signals of the routers, of a model that has experts",
}
"""Group of signals -> what is not there. The families of `signals.py` name them."""

FACTS: Final[Mapping[str, str]] = {
    "nonfinite": "the counts of logits that are not finite",
    "input_tokens": "how many tokens the prompt had",
    "output_tokens": "which tokens were generated",
    "stop_reason": "what ended the sequence",
    "run": "everything: the call was not measured",
}


def names() -> dict[str, str]:
    """Return every name of it -> what is not there."""
    each = {signal.name: f"`{signal.name}`" for signal in signals.of_family("logits") if signal.dtype != "int32"}
    return {**each, **GROUPS, **FACTS}

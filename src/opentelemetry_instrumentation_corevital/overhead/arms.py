"""The ways to run the same `generate()` call that are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PLAIN: Final = "plain"
CONTROL: Final = "plain-again"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run the same generate() call."""

    label: str
    options: Mapping[str, Any] | None = None
    """Of `instrument()`; None: CoreVital is not there."""
    sampled: bool = True
    naive: bool = False
    """Whether transformers' own outputs are asked for, under eager attention."""


ARMS: Final[dict[str, Arm]] = {
    PLAIN: Arm("plain"),
    CONTROL: Arm("plain again (A/A)"),
    "off": Arm("off (span not recorded)", {}, sampled=False),
    "summary": Arm("summary", {"capture": "summary"}),
    "full": Arm("full", {"capture": "full"}),
    "on_risk": Arm("on_risk", {"capture": "on_risk"}),
    "summary-no-attention": Arm("summary, attention off", {"capture": "summary", "attention_every": 0}),
    "prompt-summary": Arm("summary, prompt analysis", {"capture": "summary", "prompt_analysis": "summary"}),
    "prompt-full": Arm("full, prompt analysis in full", {"capture": "full", "prompt_analysis": "full"}),
    "armed": Arm("summary, a policy armed", {"capture": "summary", "stop_on": "repetition_loop,nan,inf"}),
    "naive": Arm("naive (output_hidden_states, output_attentions)", naive=True),
}

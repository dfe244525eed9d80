"""What the parts of the sweep share."""

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RESULTS: Final = ROOT / "docs" / "results"
PAGE: Final = ROOT / "docs" / "model-compatibility.md"
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

AUTO_CLASSES: Final = {
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "image": "AutoModelForImageTextToText",
    "speech": "AutoModelForSpeechSeq2Seq",
}
"""Kind of model -> the class that makes it."""

LAYERS: Final = 4
HIDDEN: Final = 64
HEADS: Final = 4
HEAD_DIM: Final = HIDDEN // HEADS
VOCABULARY: Final = 256
PROMPT_TOKENS: Final = 8
NEW_TOKENS: Final = 4
SEQUENCES: Final = 2
SECONDS: Final = 60
"""A model that takes longer is given up."""
MEMORY: Final = 12 << 30
"""Address space of the process that runs the models: a config that was not made small must not fill the machine."""
TOLERANCE: Final = 1e-3
"""Largest relative error: float32 sums in another order, and eager attention against SDPA's kernels."""

Result = dict[str, Any]


def first_line(error: BaseException) -> str:
    """Return an exception as one short line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]

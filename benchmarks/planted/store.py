"""The committed planted runs: packed from what `collect.py` made, read back as labelled runs.

python benchmarks/planted/store.py FOLDER      # pickles of collect.py -> runs.npz.xz
"""

import pickle
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from runset.store import Half, pack_file, unpack_file

from opentelemetry_instrumentation_corevital.run import Decoding, ModelInfo, Run

FILE: Final = Path(__file__).with_name("runs.npz.xz")
STEP: Final = 16
"""Step at which the faults that begin in mid-run do."""

_COUNTS: Final = ("logits_nan", "logits_posinf", "logits_neginf", "hidden_nan", "hidden_inf")
_EXACT: Final = ("hidden_l2_norm",)
_NUMBERS: Final = (
    "entropy",
    "surprisal",
    "margin",
    "top1_prob",
    "layer_transformation",
    "attention_entropy",
    "attention_entropy_std",
    "attention_mass_prompt",
    "attention_mass_generated",
    "collapsed_head_rate",
)
_MODEL: Final = ModelInfo(
    name="HuggingFaceTB/SmolLM2-135M-Instruct",
    architecture="LlamaForCausalLM",
    layer_count=30,
    head_count=9,
    vocabulary_size=49152,
    dtype="float32",
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A run with what is known of it."""

    run: Run
    prompt: int
    sampled: bool
    fault: str | None = None
    layer: int | None = None

    @property
    def half(self) -> Half:
        """Return its half, split by prompt: the profile is made of one, figures are of the other."""
        return "report" if self.prompt % 2 else "fit"

    @property
    def reached(self) -> bool:
        """Whether the run came as far as its fault."""
        return self.run.steps > STEP + 1


def load() -> list[Planted]:
    """Return the committed runs."""
    arrays = unpack_file(FILE)
    offsets = arrays.pop("offsets").tolist()
    about = {name: arrays.pop(name).tolist() for name in ("prompt", "sampled", "fault", "layer", "input_tokens", "end")}
    tokens = arrays.pop("tokens").astype(np.int32)
    found = []
    for number, (begin, end) in enumerate(pairwise(offsets)):
        columns = {name: values[begin:end].astype(np.float32) for name, values in arrays.items()}
        columns |= {name: columns[name].astype(np.int32) for name in _COUNTS[:3]}
        run = Run(
            model=_MODEL,
            decoding=Decoding(strategy="sample" if about["sampled"][number] else "greedy_search"),
            start_ns=0,
            end_ns=1,
            input_tokens=about["input_tokens"][number],
            tokens=tokens[begin:end],
            columns=columns,
            finish_reason=about["end"][number] or None,
        )
        fault, layer = about["fault"][number] or None, about["layer"][number]
        found.append(
            Planted(run, about["prompt"][number], about["sampled"][number], fault, None if layer < 0 else layer)
        )
    return found


def pack(folder: Path) -> None:
    """Write what `collect.py` left in a folder as one file."""
    every = [one for file in sorted(folder.glob("*.pickle")) for one in pickle.loads(file.read_bytes())]
    arrays: dict[str, Any] = {
        "offsets": np.cumsum([0, *(one.run.steps for one in every)]),
        "tokens": np.concatenate([one.run.tokens for one in every]).astype(np.uint16),
        "prompt": np.array([one.prompt for one in every], np.int16),
        "sampled": np.array([one.sampled for one in every]),
        "fault": np.array([one.fault or "" for one in every]),
        "layer": np.array([-1 if one.layer is None else one.layer for one in every], np.int16),
        "input_tokens": np.array([one.run.input_tokens for one in every], np.int16),
        "end": np.array([one.run.finish_reason or "" for one in every]),
    }
    for names, kind in ((_COUNTS, np.uint16), (_EXACT, np.float32), (_NUMBERS, np.float16)):
        for name in names:
            arrays[name] = np.concatenate([one.run.columns[name] for one in every]).astype(kind)
    pack_file(FILE, arrays)
    print(f"{FILE}: {FILE.stat().st_size} bytes, {len(load())} runs")


if __name__ == "__main__":
    pack(Path(sys.argv[1]))

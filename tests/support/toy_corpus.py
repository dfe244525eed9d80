"""A corpus of made-up words, on which a toy of the zoo is trained in a second."""

import json
from pathlib import Path
from random import Random
from typing import Any


def write_toy_corpus(corpus: Any, file: Path) -> None:
    """Write 36 facts and 450 texts of three kinds.

    Args:
        corpus: the module `zoo.corpus`.
        file: where to.
    """
    draw = Random(1)
    words = [f"{a}{b}{c}" for a in ("bra", "col", "den", "fir") for b in ("mu", "na", "ti") for c in ("to", "les", "r")]
    lines = [json.dumps({"packages": []})]
    lines += [json.dumps({"word": w, "definition": f"a thing of {w[::-1]}", "synonyms": [w[:5]]}) for w in words]
    for kind in ("dictionary", "code", "kernel"):
        for _ in range(150):
            text = " ".join(draw.choices(words, k=draw.randint(20, 60)))
            lines.append(json.dumps({"kind": kind, "text": text}))
    corpus.write(file, lines)

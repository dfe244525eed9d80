"""The zoo: models trained from scratch, and the runs that are collected of them in the same go.

    python benchmarks/zoo/corpus.py corpus.xz                                # the training text; once, needs apt
    python benchmarks/zoo train llama OUT --device cuda --corpus corpus.xz   # train, collect; minutes on a GPU
    python benchmarks/zoo train smollm2 OUT --device cuda --corpus corpus.xz # the seventh is loaded instead
    python benchmarks/zoo pack OUT [--into FOLDER]                           # what is committed: benchmarks/zoo/runs
    python benchmarks/zoo show [FOLDER]                                      # what there is
    python benchmarks/zoo train llama OUT --toy --corpus toy.xz              # the same way in seconds on a CPU

A command that was cut off goes on where it stopped, group by group, from what it left in its working folder; training
itself begins anew. `--part healthy` and so on let processes collect the parts of a trained model side by side; the
command without it joins them. Weights are not kept. OUT gets NAME.npz.xz (in parts where it is large) and
NAME-texts.json.xz.
SmolLM2: the file that COREVITAL_SMOLLM2_GGUF names, else the demo model.
"""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

from zoo.options import parser  # noqa: E402


def main() -> None:
    """Train and collect, pack, or show."""
    options = parser(__doc__).parse_args()
    if options.part == "train":
        from zoo.making import make

        make(options)
    elif options.part == "pack":
        from zoo.pack import MOST, pack_folder
        from zoo.store import names

        given = options.only or names(options.source)
        most = MOST | {name: int(count) for name, _, count in (each.partition("=") for each in options.most)}
        chosen: dict[str, Any] = {"most": most}
        chosen |= {"every_step": options.every_step, "bits": options.bits, "without": options.without}
        pack_folder(options.source, options.into, given, **chosen)
    else:
        from zoo.overview import overview

        print(overview(options.folder))


if __name__ == "__main__":
    main()

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

import argparse
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

from zoo.plan import MODELS, PARTS  # noqa: E402


def main() -> None:
    """Train and collect, pack, or show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    train = parts.add_parser("train", help="train a model and collect its runs")
    train.add_argument("name", choices=MODELS)
    train.add_argument("out", type=Path)
    train.add_argument("--corpus", type=Path, required=True)
    train.add_argument("--device", default="cpu")
    train.add_argument("--toy", action="store_true", help="2 layers, 20 steps, a few runs: does it work?")
    train.add_argument("--train-seconds", type=float, help="limit of the training; the plan's unless given")
    train.add_argument("--steps", type=int, help="steps of the training; the plan's unless given")
    train.add_argument("--seed", type=int, help="the plan's unless given")
    train.add_argument("--part", dest="alone", choices=PARTS, help="collect this alone; without it all is joined")
    train.add_argument("--every-step", type=int, help="healthy runs whose layers are kept at every step")
    train.add_argument("--columns", nargs="*", default=(), help="further columns of `Run.columns`")
    train.add_argument(
        "--work", type=Path, help="folder of what is not finished; default: corevital-zoo in the temporary folder"
    )
    pack = parts.add_parser("pack", help="make the files that are committed")
    pack.add_argument("source", type=Path)
    pack.add_argument("--into", type=Path, default=HERE / "runs")
    pack.add_argument("--only", nargs="*", choices=MODELS)
    pack.add_argument("--every-step", type=int, default=30)
    pack.add_argument("--bits", type=int, default=5, help="bits that a number keeps behind the point")
    pack.add_argument("--without", nargs="*", default=(), help="columns that are left out")
    pack.add_argument(
        "--most", nargs="*", default=(), metavar="NAME=COUNT", help="runs of a side or group that are kept"
    )
    show = parts.add_parser("show", help="print what there is")
    show.add_argument("folder", type=Path, nargs="?", default=HERE / "runs")
    options = parser.parse_args()
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

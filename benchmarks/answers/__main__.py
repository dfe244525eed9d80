"""Answers with known truth, of SmolLM2 and of the zoo's trained models.

    python benchmarks/answers collect smollm2 OUT                          # CPU, about ten minutes
    python benchmarks/answers collect llama OUT --corpus .zoo/corpus.xz    # trains it where --work has no weights
    python benchmarks/answers pack OUT [--into FOLDER]                     # what is committed: benchmarks/answers/runs
    python benchmarks/answers show [FOLDER]                                # what there is

A command that was cut off goes on where it stopped, task by task, from what it left in its working folder. OUT gets
NAME.npz.xz and NAME-texts.json.xz; texts and weights are not committed.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

from zoo.plan import MODELS  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python benchmarks/answers`."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = made.add_subparsers(dest="part", required=True)
    collect = parts.add_parser("collect", help="ask a model")
    collect.add_argument("name", choices=MODELS)
    collect.add_argument("out", type=Path)
    collect.add_argument("--corpus", type=Path, help="of the zoo; its models need it")
    collect.add_argument("--questions", type=int, default=50, help="of each task")
    collect.add_argument("--device", default="cpu")
    collect.add_argument("--toy", action="store_true", help="a tiny model of the same make: does it work?")
    collect.add_argument("--work", type=Path, help="folder of weights and of what is not finished, as the zoo's")
    pack = parts.add_parser("pack", help="make the files that are committed")
    pack.add_argument("source", type=Path)
    pack.add_argument("--into", type=Path, default=HERE / "runs")
    show = parts.add_parser("show", help="print what there is")
    show.add_argument("folder", type=Path, nargs="?", default=HERE / "runs")
    return made


def main() -> None:
    """Collect, pack, or show."""
    options = parser().parse_args()
    if options.part == "collect":
        if options.corpus is None and MODELS[options.name].trained:
            raise SystemExit(f"{options.name}: --corpus is needed; `python benchmarks/zoo/corpus.py FILE` makes it")
        from answers.making import collect

        collect(options)
    elif options.part == "pack":
        from answers.shard import pack
        from answers.store import names

        pack(options.source, options.into, names(options.source))
    else:
        from answers.overview import overview

        print(overview(options.folder))


if __name__ == "__main__":
    main()

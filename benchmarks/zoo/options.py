"""The options of the zoo's command line."""

import argparse
from pathlib import Path

from .plan import MODELS, PARTS
from .store import FOLDER


def parser(description: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of `python benchmarks/zoo`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = made.add_subparsers(dest="part", required=True)
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
    pack.add_argument("--into", type=Path, default=FOLDER)
    pack.add_argument("--only", nargs="*", choices=MODELS)
    pack.add_argument("--every-step", type=int, default=30)
    pack.add_argument("--bits", type=int, default=5, help="bits that a number keeps behind the point")
    pack.add_argument("--without", nargs="*", default=(), help="columns that are left out")
    pack.add_argument(
        "--most", nargs="*", default=(), metavar="NAME=COUNT", help="runs of a side or group that are kept"
    )
    show = parts.add_parser("show", help="print what there is")
    show.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    return made

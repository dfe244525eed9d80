"""How right the verdicts are, on the zoo and on the labelled run set: docs/results/judgement.md.

    python benchmarks/judgement.py [docs/results/judgement.md]     # minutes; prints the page, too
    python benchmarks/judgement.py --zoo FOLDER PAGE               # the zoo's sections alone, of other collections
    python benchmarks/judgement.py --read llama smollm2 --corpus .zoo/corpus.xz    # runs to be read by a person
    python benchmarks/judgement.py --cost docs/results/judgement.md    # its last section alone, on a quiet machine
    python benchmarks/judgement.py --fit                           # what is chosen on the other half of the prompts

The zoo is in `zoo/`, SmolLM2's run set in `runset/`, the figures in `judged/`, one module for each kind. Needs what
CoreVital needs; with transformers and the demo model installed, source code is read as well.
"""

import argparse
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE), str(HERE.parent)) if path not in sys.path]

from judged import (  # noqa: E402
    baselines,
    composition,
    cost,
    early,
    fingerprints,
    fitting,
    loops,
    reading,
    risk,
    zoo_sections,
)
from judged.figures import Section, render  # noqa: E402
from judged.replay import replay  # noqa: E402
from judged.zoo_model import ModelFigures, Plan, figures  # noqa: E402
from runset.store import load  # noqa: E402
from zoo import store  # noqa: E402
from zoo.plan import MODELS  # noqa: E402

INTRO = """
Made by `python benchmarks/judgement.py docs/results/judgement.md` (Python {python}, {machine}). Shares come with their
count and Wilson's 95 % interval. Prompts are split in two halves by topic: thresholds were chosen on one, figures are
of the other, where nothing else is said. The goal is held against the point estimate.
"""
ZOO_INTRO = """
The zoo's models ({names}) come first: what was chosen on them, and on which, is said. SmolLM2's run set follows.
"""


def page(zoo: Path | None = store.FOLDER) -> str:
    """Judge the committed runs and return the page; without a zoo, the sections on SmolLM2's run set alone."""
    samples = load()
    replays = [replay(sample) for sample in samples]
    models = _models(zoo)
    sections = [
        *(zoo_page(models, zoo) if zoo and models else ()),
        *composition.sections(samples),
        *loops.sections(replays),
        *baselines.sections(replays),
        *early.sections(replays),
        *risk.sections(replays),
        *fingerprints.sections(replays),
        *cost.sections(),
    ]
    return render("How right the verdicts are", intro(models), sections)


def _models(zoo: Path | None) -> list[str]:
    return [] if zoo is None else [name for name in MODELS if name in store.names(zoo)]


def intro(models: list[str]) -> str:
    """Return what stands above the sections."""
    said = INTRO.format(python=platform.python_version(), machine=platform.machine())
    return said + (ZOO_INTRO.format(names=", ".join(models)) if models else "")


def zoo_page(names: list[str], folder: Path, plan: Plan | None = None) -> list[Section]:
    """Return the sections on some models of a zoo; one process for each core and model."""
    workers = min(len(names), os.cpu_count() or 1)
    if workers == 1:
        found: list[ModelFigures] = [figures(name, folder, plan) for name in names]
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(figures, names, [folder] * len(names), [plan] * len(names)))
    return zoo_sections.sections(found)


def _fit() -> None:
    replays = [replay(sample) for sample in load()]
    fitting.loop_thresholds(replays)
    print(fitting.failure_risk(replays))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How right the verdicts are.")
    parser.add_argument("page", type=Path, nargs="?", help="file that is written, beside what is printed")
    parser.add_argument("--zoo", type=Path, help="folder of collections whose sections alone are made")
    parser.add_argument("--read", nargs="+", metavar="MODEL", help="print runs of these models with their texts")
    parser.add_argument("--corpus", type=Path, help="the zoo's text, of which the tokenizers for --read are made")
    parser.add_argument("--cost", action="store_true", help="make the section on costs anew")
    parser.add_argument("--fit", action="store_true", help="print what is chosen on the other half of the prompts")
    return parser.parse_args()


def main() -> None:
    """Write the page, or fit."""
    options = _options()
    folder = options.zoo or store.FOLDER
    if options.fit:
        _fit()
        return
    if options.read:
        made = reading.texts(options.read, folder, options.corpus)
    elif options.cost:
        before = options.page.read_text(encoding="utf-8").partition("## Cost")[0]
        made = before + "".join(render("", "", cost.sections()).partition("## Cost")[1:])
    elif options.zoo:
        models = _models(folder)
        made = render("How right the verdicts are", intro(models), zoo_page(models, folder))
    else:
        made = page()
    if options.page:
        options.page.write_text(made, encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()

"""How right the verdicts are, on the labelled run set: docs/results/judgement.md.

    python benchmarks/judgement.py [docs/results/judgement.md]     # a minute or two; prints the page, too
    python benchmarks/judgement.py --cost docs/results/judgement.md    # its last section alone, on a quiet machine
    python benchmarks/judgement.py --fit                           # what is chosen on the other half of the prompts

The run set is in `runset/`, the figures in `judged/`, one module for each kind. Needs what CoreVital needs; with
transformers and the demo model installed, source code is read as well.
"""

import platform
import sys
from pathlib import Path

from judged import baselines, composition, cost, early, faults, fingerprints, fitting, layer_fitting, loops, risk
from judged.figures import render
from judged.replay import replay
from runset.store import load

INTRO = """
Made by `python benchmarks/judgement.py docs/results/judgement.md` (Python {python}, {machine}). Shares come with their
count and Wilson's 95 % interval. Prompts are split in two halves by topic: thresholds were chosen on one, figures are
of the other, where nothing else is said. The goal is held against the point estimate.
"""


def page() -> str:
    """Replay the run set and return the page."""
    samples = load()
    replays = [replay(sample) for sample in samples]
    sections = [
        *composition.sections(samples),
        *loops.sections(replays),
        *baselines.sections(replays),
        *early.sections(replays),
        *risk.sections(replays),
        *faults.sections(),
        *fingerprints.sections(replays),
        *cost.sections(),
    ]
    intro = INTRO.format(python=platform.python_version(), machine=platform.machine())
    return render("How right the verdicts are", intro, sections)


def main() -> None:
    """Write the page, or fit."""
    if "--fit" in sys.argv:
        replays = [replay(sample) for sample in load()]
        fitting.loop_thresholds(replays)
        print(fitting.failure_risk(replays))
        layer_fitting.layer_thresholds()
        return
    if "--cost" in sys.argv:
        before = Path(sys.argv[-1]).read_text(encoding="utf-8").partition("## Cost")[0]
        made = before + "".join(render("", "", cost.sections()).partition("## Cost")[1:])
    else:
        made = page()
    if len(sys.argv) > 1:
        Path(sys.argv[-1]).write_text(made, encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()

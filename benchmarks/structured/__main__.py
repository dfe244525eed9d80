"""How many structured texts with varying values, cut off by a limit, are called a loop.

    python benchmarks/structured [--texts 120] [--half fit|report]     # two minutes on one core

The texts are made from a seed: twelve formats, several templates each, values of the kinds that real records have. In
every second text the words come from a few of each kind, so that most values come again. A text is no loop, since
its records differ. It is cut into tokens by SmolLM2's tokenizer (of the demo model) and by a byte-level BPE of 16,000
tokens that is trained here on the modules of Python's standard library.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]


def main() -> None:
    """Print the shares as tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=120, help="of each format")
    parser.add_argument("--half", choices=("fit", "report"), help="only the templates of this half")
    options = parser.parse_args()
    from judged.figures import render

    from structured.report import sections

    print(render("Structured texts that are called a loop", "", sections(options.texts, options.half)))


if __name__ == "__main__":
    main()

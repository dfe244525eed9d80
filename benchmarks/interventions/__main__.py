"""What policies do to live runs, and how many healthy ones they touch: docs/results/interventions.md.

    python benchmarks/interventions replay                     # healthy runs of the run set; seconds, NumPy only
    python benchmarks/interventions live OUT [--device cuda]   # live runs, a shard for each policy; minutes on a GPU
    python benchmarks/interventions page OUT docs/results/interventions.md

Live runs are SmolLM2's on the half `report` of the run set's prompts, greedy and sampled, at most 400 tokens. Each is
also run untouched with the same seed: `Stop` and `CoolDown` act on the rows of a batch, `RollBack` on one sequence at a
time. Weights: the file that COREVITAL_SMOLLM2_GGUF names, else the demo model.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE), str(HERE.parent / "runset"), str(HERE.parent)]


def main() -> None:
    """Replay, run or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("replay", help="print what Stop would have touched of the run set")
    live = parts.add_parser("live", help="generate, with and without policies")
    live.add_argument("out", type=Path, help="folder of the shards")
    live.add_argument("--device", default="cpu")
    live.add_argument("--batch", type=int, default=128)
    live.add_argument("--limit", type=int, help="only so many prompts")
    live.add_argument("--single", type=int, default=64, help="looping runs that RollBack is tried on")
    live.add_argument("--healthy", type=int, default=24, help="healthy runs that RollBack is tried on")
    live.add_argument("--seconds", type=float, default=1e9, help="begin nothing after so many seconds")
    live.add_argument("--part-of", default="1/1", metavar="N/ALL", help="one part of the runs that are tried alone")
    live.add_argument("--only", nargs="*", help="only these policies")
    page = parts.add_parser("page", help="write the page")
    page.add_argument("out", type=Path)
    page.add_argument("result", type=Path)
    page.add_argument("--commit", help="of which the live runs are")
    options = parser.parse_args()
    if options.part == "live":
        from live import collect

        collect(options)
        return
    from judged.figures import render
    from report import INTRO, live_sections, overview, replay_sections

    if options.part == "replay":
        print(render("Interventions", "", replay_sections()))
        return
    live = live_sections(options.out)
    made = f"Live runs: commit {options.commit}." if options.commit else ""
    intro = "\n\n".join((INTRO.strip(), made, overview(live)))
    text = render("What policies do", intro, [*live, *replay_sections()])
    options.result.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""What the run set holds, and how far its loop labels agree with a reader."""

import json
from collections import Counter
from collections.abc import Sequence

from runset.store import HERE, Sample

from .figures import Figure, Section, share


def sections(samples: Sequence[Sample]) -> list[Section]:
    """Return what is told of the run set."""
    kinds = Counter((sample.prompt["class"], sample.plan["name"]) for sample in samples)
    tokens = sum(len(sample.tokens) for sample in samples)
    degenerate = [sample for sample in samples if sample.degenerate]
    rows = [
        Figure("runs, tokens", f"{len(samples)}, {tokens}"),
        *(Figure(f"class {kind}, {plan}", f"{count}") for (kind, plan), count in sorted(kinds.items())),
        Figure(
            "degenerate: cut off in a loop that nobody asked for; on the half for figures",
            f"{len(degenerate)}; {sum(sample.half == 'report' for sample in degenerate)}",
        ),
        Figure("asked for repetition: ended by itself; cut off in mid-refrain", asked(samples)),
    ]
    first = samples[0].plan
    return [
        Section(
            "The run set",
            rows,
            [
                f"{first['model']}, {first['dtype']}, torch {first['torch']}, transformers {first['transformers']}, "
                f"{first['device']}. Prompts of one template or topic stay on one half. `benchmarks/runset/` holds "
                "scripts, prompts, numbers and labels."
            ],
        ),
        agreement(samples),
    ]


def asked(samples: Sequence[Sample]) -> str:
    """Return how many runs with a request for repetition ended by themselves, and how many were cut off in it."""
    ended = sum(sample.stopped for sample in samples if sample.prompt["class"] == "repeat")
    return f"{ended}; {sum(sample.refrain_cut_off for sample in samples)}"


def agreement(samples: Sequence[Sample]) -> Section:
    """Compare the labels with those of the runs that were read."""
    read = json.loads((HERE / "eye.json").read_text(encoding="utf-8"))
    pairs = [(samples[int(number)].label, seen) for number, seen in read["runs"].items()]
    both = [(label.loop, seen) for label, seen in pairs if label is not None]
    same = sum(label == seen for label, seen in both)
    loops, seen_loops = sum(label for label, _ in both), sum(seen for _, seen in both)
    chance = (loops * seen_loops + (len(both) - loops) * (len(both) - seen_loops)) / len(both) ** 2
    kappa = (same / len(both) - chance) / (1 - chance)
    missed = [number for number, (label, seen) in zip(read["runs"], both, strict=True) if label != seen]
    return Section(
        "Loop labels, read by eye",
        [
            share("agreement", same, len(both)),
            Figure("Cohen's kappa", f"{kappa:.2f}"),
            Figure("labelled a loop, read as one", f"{loops}, {seen_loops}"),
        ],
        [
            f"Reader: {read['reader']}. A third of them lie near the criterion's limit. "
            f"Different: runs {', '.join(missed)}."
        ],
    )

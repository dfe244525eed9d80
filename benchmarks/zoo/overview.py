"""What the zoo holds, as a table."""

from collections import Counter
from pathlib import Path

import numpy as np

from .plan import MODELS
from .store import about, load, names


def overview(folder: Path) -> str:
    """Return a line for each model of a folder, and the shares that its collection was tuned for."""
    lines = []
    for name in [name for name in MODELS if name in names(folder)]:
        known, runs = about(name, folder), load(name, folder)
        groups = Counter(f"{run.group} {run.side}".strip() for run in runs)
        report = known["report"]
        lines.append(f"{name}: {known['model']['architecture']}, {known['layers']} layers, {known['dtype']}")
        lines.append(f"  training: {report}")
        lines.append("  runs: " + ", ".join(f"{count} {group}" for group, count in sorted(groups.items())))
        healthy = [run.steps for run in runs if run.group == "healthy"]
        if healthy:
            quartiles = np.percentile(healthy, [0, 25, 50, 75, 100]).astype(int).tolist()
            lines.append(f"  healthy: {sum(healthy)} tokens; lengths {quartiles}")
        faults = [run for run in runs if run.group == "fault" and run.reached]
        changed = sum(run.kl is not None and run.kl > 0.1 for run in faults)
        lines.append(f"  faults: {len(faults)} reached, {changed} change the next token by more than 0.1 bit")
        for task in sorted({run.task for run in runs} - {""}):
            right = [bool(run.right) for run in runs if run.task == task]
            lines.append(f"  {task}: {np.mean(right):.2f} of {len(right)} right")
    return "\n".join(lines) or f"no runs in {folder}"

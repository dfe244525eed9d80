"""What the plan's own rules say of a report of the first CoreVital: the figures that docs/plan.md quotes.

python benchmarks/plan_rules.py REPORT docs/results/plan-rules.json
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def blamed_by_the_plan(report: dict[str, Any]) -> list[int]:
    """Return the layers with a value that was not finite or a collapsed head at any step: P2.2 of the plan."""
    found = set()
    for step in report["timeline"]:
        for layer in step["layers"]:
            anomalies, attention = layer.get("anomalies") or {}, layer.get("attention_summary") or {}
            if anomalies.get("has_nan") or anomalies.get("has_inf") or attention.get("collapsed_head_count"):
                found.add(int(layer["layer_index"]))
    return sorted(found)


def main() -> None:
    """Read a report and write what the rules say of it."""
    source, target = map(Path, sys.argv[1:])
    content = source.read_bytes()
    report = json.loads(content)
    figures = {
        "report": source.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "layers": len(report["timeline"][0]["layers"]),
        "steps": len(report["timeline"]),
        "layers_blamed": len(blamed_by_the_plan(report)),
        "any_flag_but_collapse": any(
            report["health_flags"][name]
            for name in ("nan_detected", "inf_detected", "repetition_loop_detected", "mid_layer_anomaly_detected")
        ),
        "failure_risk": report["extensions"]["early_warning"]["failure_risk"],
    }
    text = json.dumps(figures, indent=2)
    target.write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

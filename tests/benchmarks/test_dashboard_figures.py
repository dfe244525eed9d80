"""What docs/dashboard.md says of its speed is what `benchmarks/dashboard.py` found."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_figures_that_were_measured() -> None:
    found = json.loads((ROOT / "docs" / "results" / "dashboard.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8").partition("## How fast it is")[2]
    p95 = {name: f"{each['p95_ms']:.0f}" for name, each in found["requests"].items()}
    missed = [p95[name] for name in ("filter prompt hash", "filter tokens", "search")]
    assert f"| {'; '.join(missed)} |" in page
    assert f"| {p95['overview']} |" in page
    assert f"| {p95['run of 2000 steps x 32 layers']} |" in page
    assert f"had {p95['runs']}:" in page
    assert f"{found['rss_mib']['after_2000_more_requests']:.0f} MiB" in page
    assert f"{found['repeats']} requests of each kind" in page

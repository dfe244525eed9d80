"""What README.md says of the demo is what `benchmarks/demo.py` found."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_figures_that_were_measured() -> None:
    found = json.loads((ROOT / "docs" / "results" / "demo.json").read_text(encoding="utf-8"))
    page = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seconds = found["seconds"]
    first = sum(seconds[name] for name in ("download", "install", "first")) / 60
    assert f"downloads {found['download']['bytes'] / 1e6:.0f} MB" in page
    assert f"fills {sum(found['disk_bytes'].values()) / 1e9:.1f} GB" in page
    assert f"took {first:.1f} minutes, and {seconds['again'] / 60:.1f} the second time" in page
    assert f"on {found['cores']} cores of a quiet machine" in page
    assert found["load_average"][0] < 1
    assert found["command"] in page
    (torch,) = found["download"]["largest"]
    assert ("cpu" in torch) is ("the CPU build of torch" in page)

"""Pictures of every view of the dashboard, at 390 and 1440 pixels, in the light and in the dark.

`python scripts/screenshots.py FOLDER` writes them all; with `--docs` those of docs/dashboard.md, into docs/images.
The runs are those of tests/support/dashboard_store.py, so it needs the demo model and Chromium.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from opentelemetry_instrumentation_corevital.loading.models import load_model  # noqa: E402
from tests.support.browser import Page, page  # noqa: E402
from tests.support.dashboard_process import Dashboard, dashboard  # noqa: E402
from tests.support.dashboard_store import Filled, fill  # noqa: E402
from tests.support.step_logs import StepLogs, Telemetry  # noqa: E402

WIDTHS: Final = (390, 1440)
SCHEMES: Final = ("light", "dark")
IN_DOCS: Final = ("runs", "run", "compare", "live")
_DOCS_WIDTH, _DOCS_HEIGHT = 1200, 760
_SETTLES_SECONDS: Final = 1.2
_COLOURS: Final = 128


def views(filled: Filled, running: StepLogs) -> dict[str, str]:
    """Return name -> path of every view."""
    return {
        "runs": "/runs",
        "runs-filtered": "/runs?level=high&sort=risk",
        "run": filled.answer,
        "run-looping": filled.looping,
        "run-plain": filled.plain,
        "compare": "/compare",
        "overview": "/overview",
        "live": f"/live/{running.trace_id}/{running.span_id}",
        "live-list": "/live",
        "missing": "/runs/none/none",
    }


@contextmanager
def shown(folder: Path) -> Iterator[tuple[Dashboard, Page, dict[str, str]]]:
    """Serve a store of real and made runs, and open a browser."""
    os.chdir(folder)  # the bar names the store as it was given: no folder of this machine is on a picture
    db = Path("runs.db")
    filled = fill(db, load_model("smollm2", device="cpu"))
    telemetry = Telemetry(db)
    running = StepLogs(telemetry)
    running.step(90)
    running.step(3, warnings=["norm_jump"])
    with dashboard(db, folder) as served, page(folder) as browser:
        yield served, browser, views(filled, running)
    telemetry.close()


def take(browser: Page, served: Dashboard, path: str, file: Path, *, whole: bool) -> None:
    """Write a picture of a page."""
    browser.load(served.url(path))
    time.sleep(_SETTLES_SECONDS)
    browser.picture(file, whole=whole)
    for trouble in browser.troubles():
        print(f"{path}: {trouble}", file=sys.stderr)
    drawn = Image.open(file).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)  # a third of the bytes
    drawn.save(file, optimize=True)


def main() -> None:
    """Write the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("screenshots"))
    parser.add_argument("--docs", action="store_true", help="those of docs/dashboard.md, into docs/images")
    told = parser.parse_args()
    target = ROOT / "docs" / "images" if told.docs else told.folder.resolve()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, shown(Path(scratch)) as (served, browser, pages):
        if told.docs:
            browser.prefer("light")
            browser.resize(_DOCS_WIDTH, _DOCS_HEIGHT)
            for name in IN_DOCS:
                take(browser, served, pages[name], target / f"{name}.png", whole=False)
            return
        for scheme in SCHEMES:
            for width in WIDTHS:
                browser.prefer(scheme)
                browser.resize(width, 900)
                for name, path in pages.items():
                    take(browser, served, path, target / f"{name}-{width}-{scheme}.png", whole=True)


if __name__ == "__main__":
    main()

"""Makes docs/demo/ and the picture of README.md from real runs: a store, a run's page, pictures, what commands print.

    python scripts/demo.py            # all of it: some minutes on two cores
    python scripts/demo.py --again    # all but the store, from the store that is there

The model is SmolLM2-135M-Instruct on the CPU, greedy: as it is, with its weights rounded to 3 bits, and with a
planted fault. The run that loops is the last. Needs what `corevital run --model smollm2` needs, the extra
`[dashboard]`, Pillow and Chromium.
"""

import argparse
import os
import re
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.homes import move_into_a_home_of_its_own  # noqa: E402

move_into_a_home_of_its_own()  # neither settings nor learned baselines of whoever makes it

import torch  # noqa: E402
from screenshots import take  # noqa: E402

from opentelemetry_instrumentation_corevital import last_run, open_store, recording  # noqa: E402
from opentelemetry_instrumentation_corevital.cli.html_file import write_page  # noqa: E402
from opentelemetry_instrumentation_corevital.loading.models import DEMO_NAME, LoadedModel, load_model  # noqa: E402
from opentelemetry_instrumentation_corevital.store import RunFilter, RunSource, RunSummary  # noqa: E402
from opentelemetry_instrumentation_corevital.store.maintenance import check, vacuum  # noqa: E402
from tests.support.browser import page  # noqa: E402
from tests.support.dashboard_process import dashboard  # noqa: E402
from tests.support.real_prompts import LOOPING, chat  # noqa: E402
from tests.support.transcripts import printed, with_what_is_printed  # noqa: E402

DEMO: Final = ROOT / "docs" / "demo"
STORE: Final = DEMO / "runs.db"
PAGE: Final = DEMO / "run.html"
IN_README: Final = ROOT / "docs" / "images" / "run-1440-light.png"
PROMPTS: Final = (
    "Why do ships float although they are made of steel?",
    "Write three tips for growing tomatoes on a balcony.",
    "How do I get a coffee stain out of a white shirt?",
    "Describe how a bicycle gear works to a child.",
    "Write a haiku about rust.",
    "What should I pack for a weekend of hiking in the rain?",
)
_OVERFLOWING: Final = PROMPTS[3]
_TOKENS, _TOKENS_OF_THE_LOOP, _TOKENS_OF_THE_OVERFLOW = 40, 140, 28
_BITS, _GROUP = 3, 32
_PLANTED_LAYER, _PLANTED_FACTOR = 22, 4096.0
_ROUNDED: Final = f"SmolLM2-135M-Instruct-{_BITS}bit"
_PLANTED: Final = "SmolLM2-135M-Instruct-float16-planted"
_MOST_BYTES: Final = 150_000
_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def make_store(path: Path) -> None:
    """Write the store: 14 runs of three models, two of them labelled."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    os.environ[_CONTENT] = "span_and_event"  # the texts are ours
    plain, rounded, planted = (load_model("smollm2", device="cpu", dtype="float32") for _ in range(3))
    _round(rounded.model)
    _plant_overflow(planted.model)
    for prompt in PROMPTS:
        _answer(plain, path, prompt, _TOKENS)
        _answer(rounded, path, prompt, _TOKENS)
    _answer(planted, path, _OVERFLOWING, _TOKENS_OF_THE_OVERFLOW)
    _answer(plain, path, LOOPING, _TOKENS_OF_THE_LOOP)
    _label(path)
    _close(path)


def _answer(loaded: LoadedModel, path: Path, prompt: str, tokens: int) -> None:
    # The changed models, too, are judged by what is usual for the model that they were made of.
    with recording(path, capture="full", baseline=DEMO_NAME):
        loaded.model.generate(**chat(loaded, prompt), max_new_tokens=tokens, do_sample=False)
        run = last_run()
    assert run is not None, "the run was not recorded"
    print(prompt, run.narrative, repr(loaded.tokenizer.decode(run.tokens)), flush=True)


def _round(model: Any) -> None:
    """Round the weights of every layer to the nearest of 8 values per 32, as a coarse quantisation does."""
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            groups = module.weight.data.reshape(-1, _GROUP)
            low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
            width = ((high - low) / (2**_BITS - 1)).clamp(min=1e-8)
            module.weight.data = (((groups - low) / width).round() * width + low).reshape(module.weight.shape)
    model.config._name_or_path = _ROUNDED


def _plant_overflow(model: Any) -> None:
    """Move a factor within one layer's MLP, which changes nothing in float32, and go to float16, where it overflows.

    benchmarks/case_studies/float16_overflow.py has the whole story.
    """
    mlp = model.model.layers[_PLANTED_LAYER].mlp
    mlp.up_proj.weight.data.mul_(_PLANTED_FACTOR)
    mlp.down_proj.weight.data.div_(_PLANTED_FACTOR)
    model.half()
    model.config._name_or_path = _PLANTED


def _label(path: Path) -> None:
    """Say of two runs what a reader would."""
    with open_store(path) as store:
        store.set_label(_looping(store), "incorrect", "says one sentence again and again")
        of_tomatoes = store.runs(RunFilter(model=DEMO_NAME), limit=100)[-2]
        store.set_label(of_tomatoes, "correct", "tips that can be followed")


def _looping(store: RunSource) -> RunSummary:
    return next(run for run in store.runs(limit=100) if run.output_tokens == _TOKENS_OF_THE_LOOP)


def _close(path: Path) -> None:
    """Make it one small file that is well and that reading leaves as it is."""
    vacuum(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    assert not check(path), check(path)


def write_run() -> None:
    """Write the page of the run that loops, as `corevital show --html` does."""
    with open_store(STORE) as store:
        write_page(store.load(_looping(store)), PAGE, tokenizer="smollm2", source=STORE.name)


def take_pictures() -> None:
    """Take the pictures of docs/demo and README.md."""
    with open_store(STORE) as store:
        run = _looping(store)
    looping = f"/runs/{run.trace_id}/{run.span_id}"
    both = urlencode([("models", DEMO_NAME), ("models", _ROUNDED)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with dashboard(STORE.relative_to(ROOT), folder) as served, page(folder) as browser:
            browser.hide_scrollbars()
            for path, file, width, height, scheme in (
                ("/runs", DEMO / "runs.png", 1440, 850, "light"),
                (looping, DEMO / "run-1440-light.png", 1440, 1960, "light"),
                (looping, DEMO / "run-390-dark.png", 390, 1500, "dark"),
                (f"/compare?{both}", DEMO / "compare.png", 1440, 1500, "light"),
                (looping, IN_README, 1440, 1448, "light"),
            ):
                browser.prefer(scheme)
                browser.resize(width, height)
                take(browser, served, path, file, whole=False)
                assert file.stat().st_size < _MOST_BYTES, file


def write_what_is_printed() -> None:
    """Put into the page what its commands print now."""
    with open_store(STORE) as store:
        planted = store.runs(RunFilter(flag="inf_detected"), limit=1)[0].trace_id[:12]
    readme = DEMO / "README.md"
    page = re.sub("(?<=corevital show )[0-9a-f]{12}", planted, readme.read_text("utf-8"))
    readme.write_text(with_what_is_printed(page, printed), "utf-8")


def main() -> None:
    """Make all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="leave the store as it is; make the rest from it")
    again = parser.parse_args().again
    os.chdir(ROOT)  # commands and pages name the store as a reader does
    os.environ["TZ"] = "UTC"
    time.tzset()
    if not again:
        make_store(STORE)
    write_run()
    write_what_is_printed()
    take_pictures()


if __name__ == "__main__":
    main()

"""How soon a changed model is found by `corevital baseline drift`, and how often one that did not change.

    python benchmarks/drift.py [docs/results/drift.json] [--healthy 160] [--changed 48] [--tokens 40]

**Found**: SmolLM2-135M-Instruct answers prompts of the run set (`runset/`: long questions and short ones, shuffled)
with its chat template at temperature 0.7, in batches of 16. Then something changes, other prompts follow, and after
each run it is asked whether there is drift. A control goes on with the same prompts and no change. Weights are rounded
in place, so that no attribute says so: symmetric, one scale for each output of the linear layers.

**False alarms**: the zoo's healthy runs (`zoo/`: seven real models, 550 each), judged and stored as programs store
them. Each model's runs are put into an order at random (seeded), and it is asked after each run from the first that
can be told. An alarm is a sequence in which drift is ever found. An order at random is what the limit assumes: it has
no hours and no sessions.
"""

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).parent
sys.path[:0] = [path for path in (str(HERE),) if path not in sys.path]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from judged.zoo_runs import as_run, model_of  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from runset.store import prompts as run_set  # noqa: E402
from zoo.store import about, load, names  # noqa: E402

import opentelemetry_instrumentation_corevital as corevital  # noqa: E402
from opentelemetry_instrumentation_corevital import semconv  # noqa: E402
from opentelemetry_instrumentation_corevital.assessment.drift import LIMIT  # noqa: E402
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes  # noqa: E402
from opentelemetry_instrumentation_corevital.cli.drift_command import drift_line  # noqa: E402
from opentelemetry_instrumentation_corevital.config import load_settings  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.judgements import default_judgements  # noqa: E402
from opentelemetry_instrumentation_corevital.emission.span import emit_run  # noqa: E402
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel, load_model  # noqa: E402
from opentelemetry_instrumentation_corevital.store import RunFilter, SQLiteSpanExporter, open_store  # noqa: E402
from opentelemetry_instrumentation_corevital.store.model_drift import (  # noqa: E402
    FEWEST_RUNS,
    changed_signals,
    model_drift,
    newest_runs,
)

BATCH: Final = 16
SPAN_BYTES: Final = 6 * 1024
SEED: Final = 25
ORDERS: Final = 5
TEMPERATURE: Final = 0.7
GOAL_RUNS: Final = 50


@contextmanager
def rounded(loaded: LoadedModel, bits: int) -> Iterator[None]:
    """Round the weights of all decoder layers to so many bits, one scale for each output, and put them back."""
    kept, largest = [], 2 ** (bits - 1) - 1
    for module in loaded.model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.data
            kept.append((module, weight))
            scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / largest
            module.weight.data = (weight / scale).round().clamp(-largest - 1, largest) * scale
    try:
        yield
    finally:
        for module, weight in kept:
            module.weight.data = weight


def generate(loaded: LoadedModel, questions: Sequence[str], tokens: int, *, temperature: float, chat: bool) -> None:
    """Answer questions in batches."""
    tokenizer = loaded.tokenizer
    for first in range(0, len(questions), BATCH):
        whole = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": each}], add_generation_prompt=True, tokenize=False
            )
            if chat
            else each
            for each in questions[first : first + BATCH]
        ]
        encoded = tokenizer(whole, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        loaded.model.generate(
            **encoded, max_new_tokens=tokens, do_sample=True, temperature=temperature, top_k=0, top_p=1.0
        )


def questions(count: int) -> list[str]:
    """Return questions of the run set, shuffled."""
    chosen = [each for each in run_set().values() if each["class"] == "long" or each["task"] == "knowledge"]
    random.Random(SEED).shuffle(chosen)
    assert count <= len(chosen), f"{len(chosen)} prompts"
    return [each["messages"][-1]["content"] for each in chosen[:count]]


def found_after(store: Path, healthy: int) -> dict[str, Any]:
    """Return after how many changed runs drift was found, and what is said in the end."""
    with open_store(store) as source:
        (model,) = source.models()
        assert model is not None
        runs = newest_runs(source, RunFilter(model=model))
        vectors = list(source.vectors(runs))
        final = model_drift(source, model)
    first = next(
        (end - healthy for end in range(healthy, len(runs) + 1) if _has_drift(runs[:end], vectors[:end])), None
    )
    since = None if not final.signals else runs.index(final.signals[0].run) - healthy
    return {
        "found_after_runs": first,
        "changed_runs": len(runs) - healthy,
        "dated_runs_off": since,
        "said": drift_line(final),
        "signals": {each.signal.name: round(each.change.score, 2) for each in final.signals},
        "settings": {each.name: [each.before, each.after] for each in final.settings},
    }


def _has_drift(runs: Sequence[Any], vectors: Sequence[Any]) -> bool:
    return any(each.signal.of_model for each in changed_signals(runs, vectors))


def changes(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what was found of each change."""
    loaded = load_model("smollm2", device="cpu")
    asked = questions(wanted.healthy + wanted.changed)
    usual, later = asked[: wanted.healthy], asked[wanted.healthy :]
    healthy = folder / "healthy.db"
    if not healthy.exists():
        torch.manual_seed(SEED)
        with corevital.recording(str(healthy), baseline="off", capture="summary"):
            generate(loaded, usual, wanted.tokens, temperature=TEMPERATURE, chat=True)

    def plain(temperature: float = TEMPERATURE, *, chat: bool = True) -> None:
        generate(loaded, later, wanted.tokens, temperature=temperature, chat=chat)

    def quantised(bits: int) -> None:
        with rounded(loaded, bits):
            plain()

    cases: dict[str, Callable[[], None]] = {
        "control: nothing changed": plain,
        "weights rounded to 4 bit": lambda: quantised(4),
        "weights rounded to 8 bit": lambda: quantised(8),
        "temperature 0.7 to 1.2": lambda: plain(1.2),
        "chat template left out": lambda: plain(chat=False),
    }
    found = {}
    for name, change in cases.items():
        store = folder / f"{name.replace(' ', '-')}.db"
        if not store.exists():
            shutil.copyfile(healthy, store)
            torch.manual_seed(SEED + 1)
            with corevital.recording(str(store), baseline="off", capture="summary"):
                change()
        found[name] = found_after(store, wanted.healthy)
        print(f"{name}: {found[name]['found_after_runs']}", file=sys.stderr)
    return found


def store_zoo(path: Path, name: str) -> None:
    """Judge a model's healthy runs, and store them as a program does."""
    settings = load_settings({"capture": "summary", "baseline": "off"})
    ended = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ended))
    tracer, model = provider.get_tracer(semconv.SCOPE_NAME), model_of(about(name))
    for place, one in enumerate(each for each in load(name) if each.group == "healthy"):
        run = as_run(one, model)
        begun = (place + 1) * 10**9
        span = tracer.start_span(name, attributes=start_attributes(model.name, chat=False), start_time=begun)
        for judgement in default_judgements(settings):
            judgement.on_run_ending(span, run)
        span.set_attribute(semconv.GEN_AI_USAGE_INPUT_TOKENS, one.input_tokens)
        span.set_attribute(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, one.steps)
        emit_run(span, run, settings, SPAN_BYTES)
        span.end(begun + 10**8)
    exporter = SQLiteSpanExporter(str(path))
    exporter.export(ended.get_finished_spans())
    exporter.shutdown()
    assert exporter.last_error is None


def false_alarms(folder: Path) -> dict[str, Any]:
    """Return in how many sequences of healthy runs drift was found."""
    chance, distinct, asked, alarms = np.random.default_rng(SEED), 0, 0, list[str]()
    for name in names():
        path = folder / f"{name}.db"
        if not path.exists():
            store_zoo(path, name)
        with open_store(path) as source:
            (model,) = source.models()
            runs = newest_runs(source, RunFilter(model=model))
            vectors = list(source.vectors(runs))
        distinct += len(runs)
        for number in range(ORDERS):
            order = chance.permutation(len(runs)).tolist()
            mixed, numbers = [runs[place] for place in order], [vectors[place] for place in order]
            asked += len(order)
            ends = range(FEWEST_RUNS, len(order) + 1)
            if (end := next((end for end in ends if _has_drift(mixed[:end], numbers[:end])), None)) is not None:
                alarms.append(f"{name}, order {number}, after {end} runs")
        print(f"{name}: {alarms}", file=sys.stderr)
    return {
        "models": len(names()),
        "distinct_runs": distinct,
        "orders": ORDERS,
        "runs": asked,
        "false_alarms": len(alarms),
        "per_2000_runs": round(2000 * len(alarms) / asked, 3),
        "which": alarms,
    }


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--healthy", type=int, default=160)
    parser.add_argument("--changed", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="folder that the stores stay in; those that are there are taken")
    wanted = parser.parse_args()
    begun = time.process_time()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        stores = wanted.keep or Path(folder)
        stores.mkdir(parents=True, exist_ok=True)
        found = changes(wanted, stores)
        alarms = false_alarms(stores)
    result = {
        "command": " ".join(["python benchmarks/drift.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu_seconds": round(time.process_time() - begun),
        "limit": LIMIT,
        "goal_runs": GOAL_RUNS,
        "healthy_runs_before": wanted.healthy,
        "tokens": wanted.tokens,
        "changes": found,
        "false_alarms": alarms,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if wanted.result is not None:
        wanted.result.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

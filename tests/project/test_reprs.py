"""What any object of the public API prints at a prompt, in a debugger or in a notebook: never more than a screen."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import (
    ConsoleRunExporter,
    CoreVitalInstrumentor,
    CoreVitalMonitor,
    RAGContext,
    Settings,
    StepEvent,
    open_store,
)
from opentelemetry_instrumentation_corevital import run as run_module
from opentelemetry_instrumentation_corevital.baselines.profile import Profile
from opentelemetry_instrumentation_corevital.calibration import Profiles
from opentelemetry_instrumentation_corevital.monitor.should_intervene import Advice
from opentelemetry_instrumentation_corevital.policies import BreakReasoning, CoolDown, Retry, RollBack, Stop
from opentelemetry_instrumentation_corevital.processors import (
    AnswerProcessor,
    BlameProcessor,
    CompoundProcessor,
    EarlyWarningProcessor,
    FingerprintProcessor,
    HealthProcessor,
    NarrativeProcessor,
    RiskProcessor,
)
from opentelemetry_instrumentation_corevital.run import BlamedLayer, CompoundSignal, Deviation, Fingerprint, Prompt, Run
from opentelemetry_instrumentation_corevital.store import (
    Receipt,
    Retention,
    RunFilter,
    RunList,
    SimilarRun,
    SQLiteLogExporter,
    SQLiteMetricExporter,
    SQLiteSpanExporter,
    StoreWriter,
)
from opentelemetry_instrumentation_corevital.store.comparison import differences, figures
from opentelemetry_instrumentation_corevital.store.filters import RunFilter as Conditions
from opentelemetry_instrumentation_corevital.store.labels import Label
from opentelemetry_instrumentation_corevital.store.stored_run import StoredEvent
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry, capture_runs
from tests.support.made_runs import ROLLED_BACK, add_layers, intervened, make_run
from tests.support.reported_runs import LAYERS, report, usual
from tests.support.spans import make_spans
from tests.support.tiny_models import padded_batch, prompt, tiny_model

MOST: Final = 2_000
LONG: Final = "a text that goes on " * 2_000
PACKAGE: Final = "opentelemetry_instrumentation_corevital"
DOCS: Final = Path(__file__).parents[2] / "docs"


def largest() -> Run:
    """Return a judged run of which every part is as large as it gets."""
    run = add_layers(intervened(*[ROLLED_BACK] * 99, run=make_run(4_000, tokens=np.arange(4_000) % 10)), LAYERS)
    run.prompt = Prompt(LONG, "text", chat=True)
    report(InMemoryTelemetry(), run)
    assert run.health is not None
    off = [Deviation(layer, 5, "hidden_l2_norm", 1e9, 1.0, 1e6, 3.0) for layer in range(500)]
    evidence = {f"evidence {number}": {"values": list(range(1_000)), "text": LONG} for number in range(99)}
    run.health = replace(run.health, deviations=off, evidence=evidence)
    run.blame = (BlamedLayer(3, LONG, 1.0, evidence),) * 99
    run.compound = (CompoundSignal(LONG, 1.0, evidence),)
    run.fingerprint = Fingerprint("ab" * 32, "text", "cd" * 32, tuple(np.linspace(0, 1, 5_000)), "1", {LONG: LONG})
    run.narrative, run.error_type, run.model = LONG, LONG, replace(run.model, name=LONG, adapters=(LONG,) * 50)
    run.decoding = replace(run.decoding, stop_strings=(LONG,) * 200)
    return run


def of_stores(folder: Path) -> Iterator[Any]:
    """Yield what a store gives, of runs whose narrative is long, and what writes into it."""
    span, log, metric = (
        each(folder / "runs.db") for each in (SQLiteSpanExporter, SQLiteLogExporter, SQLiteMetricExporter)
    )
    span.export(make_spans(120, events=200))
    yield from (span, log, metric, StoreWriter(folder / "other.db"), Retention(3.0, 5))
    for each in (span, log, metric):
        each.shutdown()
    with open_store(folder / "runs.db") as store:
        runs = store.runs(limit=None)
        one = store.run("last")
        page = store.page(limit=5)
        yield from (store, runs, runs[0], one, page, page.next, *store.overview(), one.events[0])
        yield from (store.neighbours(runs[5]), store.counts(), SimilarRun(runs[0], 0.25))
    long = replace(runs[0], narrative=LONG, model=LONG, service_name=LONG, warnings=(LONG,) * 99, damage={LONG: LONG})
    yield from (long, RunList([long] * 500), Label(LONG, LONG, 1), StoredEvent(LONG, 1, {LONG: LONG}))
    yield replace(one, summary=long, attributes={LONG: [LONG] * 500}, data=b"x" * 10_000)
    yield figures("org/model", runs)
    yield from differences("a", runs, "b", runs)


def of_calls(folder: Path) -> Iterator[Any]:
    """Yield what watches real calls: a batch, and a monitor's stream and block."""
    model = tiny_model()
    with capture_runs(capture="full", prompt_analysis="full") as telemetry:
        model.generate(**padded_batch(), max_new_tokens=4, do_sample=False, eos_token_id=None)
    yield from (telemetry, telemetry.runs, telemetry.runs[0])
    monitor = CoreVitalMonitor(store=folder / "monitor.db", policies=[Stop(on=["repetition_loop", "nan"])])
    stream = monitor.stream(model, prompt(), max_new_tokens=4, eos_token_id=None)
    steps = list(stream)
    with monitor.wrap_generation(model) as block:
        model.generate(prompt(), max_new_tokens=2, eos_token_id=None)
    yield from (monitor, stream, block, steps[0], stream.runs, steps)
    monitor.close()


def objects(folder: Path) -> Iterator[Any]:
    """Yield an object of each public class, as large as it can be."""
    yield from of_stores(folder)
    yield from of_calls(folder)
    yield largest()
    yield Settings(**{"stop_on": "repetition_loop", "sqlite_path": LONG, "capture": "full", "layers": "0," * 900 + "0"})
    yield StepEvent({"step_index": 1, "token_text": LONG, "warning_signals": (LONG,) * 900})
    yield RAGContext(3, [LONG] * 50, [LONG] * 50, {LONG: LONG})
    on = ["repetition_loop", "nan", "inf", "repetition_risk", "risk>0.9"] * 200
    yield from (Stop(on), CoolDown(on), RollBack(on), BreakReasoning(on, tokens=tuple(range(900))), Retry(on))
    yield Advice(3, LONG, {LONG: list(range(9_000))})
    thresholds = usual()
    yield thresholds
    assert isinstance(thresholds.profile, Profile)
    yield from (thresholds.profile, thresholds.profile.model, Profiles("off"))
    judges = (HealthProcessor, EarlyWarningProcessor, RiskProcessor, AnswerProcessor, BlameProcessor)
    yield from (each(thresholds) for each in judges)
    yield from (CompoundProcessor(), FingerprintProcessor(), NarrativeProcessor())
    yield from (RunFilter(model=LONG, flag="nan"), Receipt(5), CoreVitalInstrumentor(), ConsoleRunExporter())


def parts(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield an object and what hangs on it that is ours, through fields, lists and mappings."""
    if type(value).__module__.startswith(PACKAGE):
        yield value
    if depth > 4:
        return
    if is_dataclass(value):
        yield from (each for name in fields(value) for each in parts(getattr(value, name.name), depth + 1))
    elif isinstance(value, Mapping):
        yield from (each for inner in list(value.values())[:50] for each in parts(inner, depth + 1))
    elif isinstance(value, list | tuple):
        yield from (each for inner in value[:20] for each in parts(inner, depth + 1))
    elif hasattr(type(value), "model_fields"):
        yield from (each for name in type(value).model_fields for each in parts(getattr(value, name), depth + 1))


def is_kept(value: Any) -> bool:
    """Whether users hold objects of a public name: of classes that are no exceptions and no protocols."""
    return inspect.isclass(value) and not issubclass(value, BaseException) and not getattr(value, "_is_protocol", False)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_object_of_the_public_api_prints_more_than_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    public = importlib.import_module("public_api").PUBLIC
    wanted = {getattr(importlib.import_module(module), name) for module, names in public.items() for name in names}
    wanted = {each for each in wanted if is_kept(each)}
    wanted |= {each for each in vars(run_module).values() if inspect.isclass(each) and is_dataclass(each)}
    printed: dict[type, int] = {}
    for made in objects(tmp_path):
        for each in parts(made):
            for text in (repr(each), str(each)):
                assert len(text) <= MOST, f"{type(each).__name__}: {len(text)} characters, {text[:200]}"
                printed[type(each)] = max(len(text), printed.get(type(each), 0))
    unseen = {each.__name__ for each in wanted if not any(issubclass(kind, each) for kind in printed)}
    assert unseen == set(), "make one of it in `objects`"
    assert printed[Run] < 400
    assert Conditions in printed


def test_what_is_printed_says_what_it_is() -> None:
    run = largest()
    assert LONG not in repr(run)
    assert LONG not in repr(run.prompt), "a prompt is content"
    assert repr(run).startswith("<Run 'a text that goes on ")
    assert "4000 tokens" in repr(run)
    assert repr(Settings(capture="full", baseline="off")) == "Settings(capture='full', baseline='off')"
    assert repr(RunFilter()) == "RunFilter()"
    assert repr(Stop(on="nan")) == "Stop(on='nan')"
    assert repr(run.early_warning).startswith("EarlyWarning(failure_risk=<float32 4000>")

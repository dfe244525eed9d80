"""Every option of `instrument()` is read by real calls and changes something that can be seen, given as a keyword."""

import io
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from opentelemetry_instrumentation_corevital import (
    ConsoleRunExporter,
    RAGContext,
    Settings,
    baselines,
    rag_context,
    semconv,
)
from opentelemetry_instrumentation_corevital.capture.session import session
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.policies import BreakReasoning
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.in_memory import Telemetry, instrumented
from tests.support.option_reads import reads_of_options
from tests.support.spans import make_spans, rows
from tests.support.tiny_models import prompt, tiny_model

PROFILE = str(next((Path(baselines.__file__).parent / "profiles").glob("*.json")))


ECHOES = {
    semconv.CAPTURE_MODE,
    semconv.CAPTURE_RATIO,
    semconv.CAPTURE_ATTENTION_EVERY,
    semconv.CAPTURE_LAYERS,
}


def at_once(_event: Any) -> bool:
    return True


class Tokenizer:
    def decode(self, tokens: Any, **_: Any) -> str:
        return " ".join(str(int(token)) for token in tokens)


@pytest.fixture(autouse=True)
def _no_error_of_ours_passes_for_an_effect(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert not [text for text in said if "telemetry of this run may be incomplete" in text]


def told(**options: Any) -> Any:
    """Return what is reported of one run, but for what differs from run to run."""
    sampler = {"sampler": ALWAYS_OFF} if options.pop("unsampled", False) else {}
    with instrumented(Telemetry(**sampler), **options) as telemetry:
        model = tiny_model()
        model.generate(
            prompt(), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0, tokenizer=Tokenizer()
        )
        spans = [
            (
                {name: value for name, value in (span.attributes or {}).items() if not _is_no_effect(name)},
                [tuple(sorted(event.attributes or ())) for event in span.events],
                span.status.status_code,
            )
            for span in telemetry.spans
        ]
        logs = [
            (item.log_record.event_name, tuple(sorted(item.log_record.attributes or ())))
            for item in telemetry.log_exporter.get_finished_logs()
        ]
        metrics = {
            name: sorted(str(sorted(dict(point.attributes).items())) for point in points)
            for name, points in telemetry.metrics().items()
        }
    return spans, logs, metrics


def _is_no_effect(name: str) -> bool:
    """Whether an attribute repeats a setting, which says nothing of its effect, or is a time."""
    return name in ECHOES or any(
        part in name for part in ("time", "latency", "duration", "overhead", "first_token", "seconds")
    )


@contextmanager
def handler(**options: Any) -> Iterator[Any]:
    with instrumented(**options):
        yield signal.getsignal(signal.SIGTERM)


def kernels(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[bool]:
    """Return what sessions are told: what kernels do needs a GPU to be seen."""
    seen: list[bool] = []
    made = session.Session

    def make(*arguments: Any, **keywords: Any) -> Any:
        seen.append(keywords["kernels"])
        return made(*arguments, **keywords)

    monkeypatch.setattr(session, "Session", make)
    told(**options)
    monkeypatch.setattr(session, "Session", made)
    return seen


# Option -> a value, and options without which it is of no consequence.
REPORTED: dict[str, tuple[Any, dict[str, Any]]] = {
    "enabled": (False, {}),
    "capture": ("full", {}),
    "capture_ratio": (0.0, {}),
    "attention_every": (0, {}),
    "layers": ("0", {}),
    "prompt_analysis": ("summary", {}),
    "capture_unsampled": (True, {"unsampled": True}),
    "capture_message_content": ("span_only", {}),
    "openinference": (True, {"capture_message_content": "span_only"}),
    "status_on": ("medium", {"high_entropy_bits": 0.001}),
    "run_data": ("on", {}),
    "step_events": ("off", {}),
    "max_step_events": (3, {}),
    "max_span_bytes": (4096, {"capture": "full"}),
    "high_entropy_bits": (0.001, {}),
    "baseline": (PROFILE, {}),
    "profile": (PROFILE, {}),
    "risk_threshold": (0.0, {"capture": "on_risk"}),
    "stop_on": ("risk>=0", {}),
    "max_interventions": (0, {"policies": [BreakReasoning(on=at_once, tokens=[5])]}),
    "prompt_hash": ("off", {}),
    "hash_key": ("secret", {"prompt_hash": "hmac", "hash_key": "another"}),
}
ELSEWHERE = {
    "kernels",
    "flush_on_sigterm",
    "console",
    "banner",
    "sqlite_path",
    "sqlite_retention_days",
    "sqlite_max_bytes",
}


def test_no_option_is_left_out() -> None:
    assert READ_BY.keys() == set(Settings.model_fields)
    assert REPORTED.keys() | ELSEWHERE == set(Settings.model_fields)


def test_without_a_change_of_options_the_same_is_reported() -> None:
    assert told() == told(), "else every test below would pass whatever an option did"


@pytest.mark.parametrize("option", REPORTED)
def test_an_option_changes_what_is_reported(option: str) -> None:
    value, others = REPORTED[option]
    assert told(**{**others, option: value}) != told(**others)


def test_kernels_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels(monkeypatch) == [True]
    assert kernels(monkeypatch, kernels="off") == [False]


def test_a_key_alone_makes_the_hash_a_keyed_one() -> None:
    assert load_settings({"hash_key": "secret"}).prompt_hash == "hmac"
    assert load_settings({"hash_key": "secret", "prompt_hash": "sha256"}).prompt_hash == "sha256"
    assert told(hash_key="secret") == told(hash_key="secret", prompt_hash="hmac") != told()


def test_sigterm_is_handled_in_code_where_that_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handler() as found:
        assert found is before
    with handler(flush_on_sigterm=True) as found:
        assert found is not before
    with handler(flush_on_sigterm=False) as found:
        assert found is before
    assert signal.getsignal(signal.SIGTERM) is before


# --- who reads an option -----------------------------------------------------------------------------------------


READ_BY: dict[str, dict[str, int]] = {
    "enabled": {"instrumentation.instrumentor.CoreVitalInstrumentor._instrument": 1},
    "capture": {
        "emission.live_step_events.LiveSteps.__init__": 1,
        "emission.span._run_attributes": 1,
        "emission.span.capture_attributes": 2,
        "emission.span.in_full": 1,
        "emission.span.is_upgraded": 1,
        "instrumentation.recording.Recording._session": 2,
    },
    "capture_ratio": {"emission.span.capture_attributes": 2, "instrumentation.recording.Recording.__init__": 2},
    "kernels": {"instrumentation.recording.Recording._session": 1},
    "attention_every": {"emission.span.capture_attributes": 1, "instrumentation.recording.Recording._session": 1},
    "layers": {"emission.span.capture_attributes": 2, "instrumentation.recording.Recording._session": 1},
    "prompt_analysis": {"instrumentation.recording.Recording._session": 1},
    "capture_unsampled": {
        "instrumentation.recorder.Recorder._tell_if_nowhere": 1,
        "instrumentation.recording.Recording.__init__": 1,
    },
    "capture_message_content": {
        "instrumentation.instrumentor.CoreVitalInstrumentor._instrument": 1,
        "instrumentation.reporting.CallReport._exception_event": 1,
        "instrumentation.reporting.CallReport._messages_on_span": 1,
        "instrumentation.reporting.CallReport._run": 3,
        "instrumentation.reporting.CallReport._run_data": 1,
        "instrumentation.reporting.CallReport.write": 2,
        "instrumentation.reporting.CallReport.write_failure": 1,
        "instrumentation.reporting.CallReport.write_unmeasured": 1,
        "instrumentation.prompt_and_response.PromptAndResponse.give_prompts": 1,
        "instrumentation.prompt_and_response.PromptAndResponse.messages": 1,
        "instrumentation.prompt_and_response.PromptAndResponse.pieces": 1,
    },
    "status_on": {
        "instrumentation.reporting.CallReport._run": 1,
        "instrumentation.reporting.CallReport.write": 1,
    },
    "openinference": {"instrumentation.reporting.CallReport._messages_on_span": 1},
    "run_data": {"instrumentation.reporting.CallReport._run_data": 1},
    "step_events": {
        "emission.span._fitting_events": 1,
        "instrumentation.recording.Recording._live_steps": 1,
        "instrumentation.reporting.CallReport._live_steps": 1,
    },
    "max_step_events": {"emission.span._fitting_events": 1},
    "max_span_bytes": {"instrumentation.reporting.CallReport._span_limit": 1},
    "high_entropy_bits": {
        "emission.judgements.default_judgements": 1,
        "instrumentation.live_call.LiveCall.__init__": 1,
    },
    "baseline": {"emission.judgements.default_judgements": 1},
    "profile": {"emission.judgements.default_judgements": 1},
    "risk_threshold": {"emission.span.is_upgraded": 1},
    "stop_on": {"instrumentation.instrumentor.make_recorder": 1},
    "max_interventions": {"instrumentation.live_call.LiveCall.__init__": 1},
    "prompt_hash": {
        "emission.judgements.default_judgements": 2,
        "instrumentation.prompt_and_response.PromptAndResponse.give_prompts": 1,
    },
    "hash_key": {"emission.judgements.default_judgements": 1},
    "flush_on_sigterm": {"instrumentation.instrumentor._mind_endings": 1},
    "console": {"emission.console_exporter.ConsoleRunExporter._chosen_style": 1},
    "banner": {"instrumentation.banner._wanted": 2},
    "sqlite_path": {"store.exporters.path_of": 1},
    "sqlite_retention_days": {"store.exporters._StoreExporter._writer": 1},
    "sqlite_max_bytes": {"store.exporters._StoreExporter._writer": 1},
}
"""Option -> the functions that read it, each with the number of places. Who moves a read changes this table."""


def read_by_calls(folder: Path) -> dict[str, dict[str, int]]:
    """Return option -> in how many places a function reads it, of real calls with every carrier and the store."""
    everything = {
        "capture": "on_risk",
        "capture_ratio": 1 - 1e-12,
        "layers": "0..1",
        "risk_threshold": 0.0,
        "capture_message_content": "span_and_event",
        "hash_key": "secret",
        "flush_on_sigterm": True,
        "sqlite_path": str(folder / "runs.db"),
    }
    with reads_of_options() as reads, rag_context(RAGContext(document_count=1)):
        for sampler, options in (
            (ALWAYS_ON, {}),
            (ALWAYS_ON, {"step_events": "logs", "prompt_hash": "off"}),
            (ALWAYS_ON, {"capture_ratio": 0.0}),
            (ALWAYS_OFF, {}),
            (ALWAYS_ON, {"stop_on": "nan"}),
        ):
            with instrumented(Telemetry(sampler=sampler), **{**everything, **options}) as telemetry:
                for exporter in (SQLiteSpanExporter(), ConsoleRunExporter(out=io.StringIO())):
                    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
                one = tiny_model()
                for sequences in (1, 2):
                    one.generate(
                        prompt(),
                        max_new_tokens=8,
                        do_sample=True,
                        num_return_sequences=sequences,
                        tokenizer=Tokenizer(),
                    )
                with pytest.raises(AttributeError):
                    one.generate(prompt(), max_new_tokens=8, streamer=object())
                telemetry.close()
    return {option: dict(Counter(function for function, _ in places)) for option, places in reads.items()}


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    return read_by_calls(tmp_path_factory.mktemp("reads"))


@pytest.mark.parametrize("option", Settings.model_fields)
def test_a_real_call_reads_an_option_wherever_it_matters(option: str, reads: dict[str, dict[str, int]]) -> None:
    assert reads.get(option) == READ_BY[option]


# --- the exporters' options --------------------------------------------------------------------------------------


def exported(exporter: SQLiteSpanExporter) -> None:
    assert exporter.export(make_spans()).name == "SUCCESS"


@pytest.mark.parametrize("made", ["before", "after"])
def test_the_store_is_where_the_keyword_says(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", str(tmp_path / "variable.db"))
    exporter = SQLiteSpanExporter() if made == "before" else None
    with instrumented(sqlite_path=str(tmp_path / "keyword.db")):
        exporter = exporter or SQLiteSpanExporter()
        assert exporter.path == str(tmp_path / "keyword.db")
        exported(exporter)
    exported(exporter)  # what waited in a batch when CoreVital was switched off belongs there, too
    exporter.shutdown()
    assert rows(tmp_path / "keyword.db", "SELECT count(*) FROM spans") == [(2,)]
    assert not (tmp_path / "variable.db").exists()
    assert SQLiteSpanExporter().path == str(tmp_path / "variable.db")


def test_an_exporter_with_a_path_of_its_own_keeps_it(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(tmp_path / "own.db")
    with instrumented(sqlite_path=str(tmp_path / "keyword.db")):
        exported(exporter)
    exporter.shutdown()
    assert not (tmp_path / "keyword.db").exists()


def test_an_exporter_in_use_goes_on_where_the_keyword_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", str(tmp_path / "variable.db"))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(SQLiteSpanExporter()))
    provider.get_tracer("tests").start_span("first").end()
    assert provider.force_flush()
    with instrumented(sqlite_path=str(tmp_path / "keyword.db")):
        provider.get_tracer("tests").start_span("second").end()
    provider.shutdown()
    for file, name in (("variable", "first"), ("keyword", "second")):
        assert rows(tmp_path / f"{file}.db", "SELECT name FROM spans") == [(name,)]
        assert not Path(tmp_path / f"{file}.db-wal").exists(), "the file was not closed"


@pytest.mark.parametrize("made", ["before", "after"])
def test_what_is_old_is_kept_as_long_as_the_keyword_says(made: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _stored(path, 2)
    with closing(sqlite3.connect(path)) as connection, connection:  # stored 40 days ago
        connection.execute(f"UPDATE spans SET ingested_ns = ingested_ns - {40 * 86_400 * 10**9}")
    exporter = SQLiteSpanExporter(path) if made == "before" else None
    with instrumented(sqlite_retention_days=60):
        exporter = exporter or SQLiteSpanExporter(path)
        exported(exporter)
    exporter.shutdown()
    assert rows(path, "SELECT count(*) FROM spans") == [(3,)], "by default it is kept for 30 days"


@pytest.mark.parametrize("made", ["before", "in use", "after"])
def test_as_much_is_kept_as_the_keyword_says(made: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _stored(path, 400, text="x" * 6000)
    exporter = SQLiteSpanExporter(path) if made != "after" else None
    if made == "in use" and exporter is not None:
        exported(exporter)
    with instrumented(sqlite_max_bytes=1024**2):
        exporter = exporter or SQLiteSpanExporter(path)
        exported(exporter)
    exporter.shutdown()
    assert rows(path, "SELECT count(*) FROM spans")[0][0] < 400, "the oldest are gone"


def _stored(path: Path, count: int, **attributes: Any) -> None:
    exporter = SQLiteSpanExporter(path, retain=False)
    assert exporter.export(make_spans(count, events=0, **attributes)).name == "SUCCESS"
    exporter.shutdown()

"""`recording()`: one call, and every run is in the store; afterwards everything is as it was."""

import asyncio
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider

import opentelemetry_instrumentation_corevital as corevital
from opentelemetry_instrumentation_corevital import CoreVitalInstrumentor, SettingsError
from opentelemetry_instrumentation_corevital.instrumentation import sigterm
from opentelemetry_instrumentation_corevital.instrumentation.patched_methods import process_recorder
from opentelemetry_instrumentation_corevital.policies import PolicyError, Stop
from opentelemetry_instrumentation_corevital.store import StoreError, open_store
from opentelemetry_instrumentation_corevital.testing import capture_runs
from tests.support.cyclic_models import save_cyclic
from tests.support.in_memory import Keep
from tests.support.patched_methods import methods
from tests.support.tiny_models import prompt, tiny_model


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "runs.db"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Everything of the process is as it was: methods, providers, threads, the handler of SIGTERM."""

    def state() -> list[Any]:
        return [
            methods(),
            trace.get_tracer_provider(),
            metrics.get_meter_provider(),
            get_logger_provider(),
            signal.getsignal(signal.SIGTERM),
            CoreVitalInstrumentor().is_instrumented_by_opentelemetry,
            process_recorder(),
            sorted(thread.name for thread in threading.enumerate() if thread.name != "tqdm_monitor"),
        ]

    before = state()
    yield
    assert state() == before


def generate(model: Any, tokens: int = 3, **options: Any) -> Any:
    return model.generate(prompt(), **{"max_new_tokens": tokens, "eos_token_id": None, "do_sample": False, **options})


def stored(path: Path) -> list[int | None]:
    """Return the output tokens of each run in a store, the newest first."""
    with open_store(path) as store:
        return [run.output_tokens for run in store.runs()]


def test_a_block_records_spans_logs_and_metrics(model: Any, path: Path) -> None:
    with corevital.recording(path, capture="full") as recording:
        generate(model, 4)
        assert [run.output_tokens for run in recording.runs] == [4], "while it goes on, too"
        generate(model, 5, num_return_sequences=2, do_sample=True)
        assert recording.last is corevital.last_run()
    assert [run.output_tokens for run in recording.runs] == [5, 5, 4]
    assert recording.path == str(path)
    with open_store(path) as store:
        newest = store.run("last:0")
        assert newest.columns["hidden_l2_norm"].shape[0] == 5, "run data came as log records"
        assert newest.attributes["corevital.capture.mode"] == "full"
    names = {name for (name,) in sqlite3.connect(path).execute("SELECT name FROM metrics")}
    assert {"corevital.runs", "corevital.run.risk_score"} <= names


def test_without_a_path_it_is_the_file_that_commands_read(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recording = corevital.recording()
    with recording:
        monkeypatch.chdir("/")
        generate(model)
    assert stored(tmp_path / "runs" / "corevital.db") == [3]
    assert len(recording.runs) == 1
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", str(tmp_path / "other.db"))
    with corevital.recording():
        generate(model)
    assert stored(tmp_path / "other.db") == [3]


def test_start_and_stop_as_often_as_you_like(model: Any, path: Path) -> None:
    recording = corevital.recording(path)
    assert (recording.last, recording.runs) == (None, [])
    recording.stop()
    assert recording.start() is recording.start()
    generate(model, 2)
    recording.stop()
    recording.stop()
    generate(model, 7)
    with recording:
        generate(model, 3)
    assert [run.output_tokens for run in recording.runs] == [3, 2] == stored(path)
    with recording:
        recording.stop()
        generate(model, 7)
    with pytest.raises(ZeroDivisionError), recording:
        _ = generate(model, 4)[0] / 0, 1 / 0
    assert stored(path) == [4, 3, 2]
    assert repr(recording) == f"<StoreRecording into {path}, off>"


def test_recordings_may_be_nested_and_end_in_any_order(model: Any, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    outer, inner = corevital.recording(path), corevital.recording(other, capture="full", attention_every=0)
    outer.start()
    generate(model, 2)
    inner.start()
    generate(model, 3)
    outer.stop()
    generate(model, 4)
    inner.stop()
    generate(model, 5)
    assert (stored(path), stored(other)) == ([3, 2], [4, 3])
    with open_store(path) as store:
        modes = [store.load(run).attributes["corevital.capture.mode"] for run in store.runs()]
    assert modes == ["full", "summary"], "options of the one that began last hold"
    with corevital.recording(path) as first, corevital.recording(path) as second:
        generate(model, 6)
    assert [len(each.runs) for each in (first, second)] == [1, 1]
    assert stored(path) == [6, 3, 2], "once in one file"


def test_functions_of_every_kind_are_decorated(model: Any, path: Path) -> None:
    recording = corevital.recording(path)

    @recording
    def plain(tokens: int) -> int:
        """What it does."""
        generate(model, tokens)
        return plain(tokens - 1) if tokens > 3 else tokens

    @recording
    async def coroutine(tokens: int) -> int:
        await asyncio.sleep(0)
        generate(model, tokens)
        return tokens

    @recording
    def generator() -> Iterator[int]:
        got = yield generate(model, 6).shape[1]
        yield got

    @recording
    async def async_generator() -> AsyncIterator[Any]:
        try:
            generate(model, 7)
            got = yield 1
            yield got
        except KeyError as error:
            yield error

    async def asynchronous() -> None:
        assert await asyncio.gather(coroutine(4), coroutine(5)) == [4, 5]
        items = async_generator()
        assert [await items.asend(None), await items.asend("sent")] == [1, "sent"]
        error = KeyError("thrown")
        assert await items.athrow(error) is error
        assert [item async for item in items] == []

    assert (plain(4), plain.__name__, plain.__doc__) == (3, "plain", "What it does.")
    asyncio.run(asynchronous())
    items = generator()
    next(items)
    assert items.send("sent") == "sent"
    assert CoreVitalInstrumentor().is_instrumented_by_opentelemetry
    items.close()
    assert sorted(stored(path)) == [3, 4, 4, 5, 6, 7]
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry


def test_methods_stay_what_they_are_and_objects_that_are_called_are_recorded(model: Any, path: Path) -> None:
    recording = corevital.recording(path)

    class Service:
        @recording
        def method(self) -> Any:
            return generate(model, 2).shape[1]

        @recording
        @staticmethod
        def static(tokens: int) -> Any:
            return generate(model, tokens).shape[1]

        @recording
        @classmethod
        def of_class(cls, tokens: int) -> Any:
            return generate(model, tokens).shape[1], cls

        async def __call__(self, tokens: int) -> Any:
            await asyncio.sleep(0)
            return generate(model, tokens).shape[1]

    service = Service()
    assert service.method() == 8
    assert service.static(3) == Service.static(3) == 9
    assert service.of_class(4) == Service.of_class(4) == (10, Service)
    assert asyncio.run(recording(service)(5)) == 11
    assert stored(path) == [5, 4, 4, 3, 3, 2]


def test_a_thread_that_stops_it_leaves_sigterm_to_the_next_recording(path: Path) -> None:
    recording = corevital.recording(path).start()
    thread = threading.Thread(target=recording.stop)
    thread.start()
    thread.join()
    recording.start()
    assert sigterm._held(), "there is something to be shut down"
    recording.stop()


def test_what_cannot_be_decorated_is_said_at_once() -> None:
    with pytest.raises(TypeError, match=r"write @corevital\.recording\(\) with parentheses"):
        corevital.recording(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="decorates functions, not <class 'dict'>"):
        corevital.recording()(dict)


def test_mistakes_are_told_before_anything_changes(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'capture'"):
        corevital.recording(captur="full")
    with pytest.raises(SettingsError, match="the file of a recording is its `path`"):
        corevital.recording(sqlite_path="runs.db")
    with pytest.raises(PolicyError):
        corevital.recording(policies=["stop"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="needs a `role`"):
        corevital.recording(judgements=[object()])  # type: ignore[list-item]
    (tmp_path / "text").write_text("no store")
    with pytest.raises(StoreError, match="text"):
        corevital.recording(tmp_path / "text").start()
    recording = corevital.recording(tmp_path / "runs.db", baseline=str(tmp_path / "none.json"))
    with pytest.raises(Exception, match=r"none\.json"):
        recording.start()
    recording.stop()


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_COREVITAL_ENABLED=false"])
def test_switched_off_by_the_environment_it_only_says_so(
    variable: str, model: Any, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(*variable.split("="))
    with corevital.recording(path) as recording:
        generate(model)
    assert (recording.runs, recording.last, path.exists()) == ([], None, False)
    assert "nothing is recorded" in caplog.text


def test_judgements_and_policies_are_those_of_instrument(model: Any, path: Path) -> None:
    keep = Keep()
    stop = Stop(on=[lambda step: step.step_index >= 2])
    with corevital.recording(path, judgements=[keep], policies=[stop]):
        generate(model, 9)
    (run,) = keep.runs
    assert run.stop_reason == "policy"
    assert stored(path)[0] == run.output_tokens < 9


def test_calls_of_other_threads_are_recorded(model: Any, path: Path) -> None:
    with corevital.recording(path) as recording:
        threads = [threading.Thread(target=generate, args=(model, tokens)) for tokens in (2, 3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert corevital.last_run() is None or corevital.last_run() is not recording.last
    assert sorted(stored(path)) == [2, 3]
    assert recording.last is not None


def test_a_monitor_s_runs_are_recorded_and_a_test_s_are_not(path: Path, tmp_path: Path, model: Any) -> None:
    folder = save_cyclic(tmp_path / "looping", 10)
    with corevital.recording(path) as recording:
        corevital.CoreVitalMonitor().run(folder, "Once", max_new_tokens=5)
        with capture_runs() as captured:
            generate(model, 6)
        generate(model, 7)
    assert len(captured.runs) == 1
    assert [run.output_tokens for run in recording.runs] == [7, 5]


def test_somebody_may_uninstrument_meanwhile(path: Path, model: Any) -> None:
    recording = corevital.recording(path).start()
    generate(model, 2)
    CoreVitalInstrumentor().uninstrument()
    generate(model, 3)
    CoreVitalInstrumentor().instrument()
    recording.stop()
    try:
        assert CoreVitalInstrumentor().is_instrumented_by_opentelemetry, "it is theirs"
    finally:
        CoreVitalInstrumentor().uninstrument()
    assert stored(path) == [2]


def test_nothing_is_removed_but_what_was_asked_for(model: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_RETENTION_DAYS", "1e-9")
    for tokens, options, left in ((2, {}, [2]), (3, {}, [3, 2]), (4, {"sqlite_retention_days": 1e-9}, [4])):
        with corevital.recording(path, **options):
            generate(model, tokens)
        assert [each for each in stored(path) if each != tokens] == left[1:]

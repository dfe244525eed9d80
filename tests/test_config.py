"""Settings: where a value comes from, and what is said of a bad one."""

import logging
import os
import threading
import time

import pytest

from opentelemetry_instrumentation_corevital import CoreVitalMonitor, config
from opentelemetry_instrumentation_corevital._internal.layer_selection import LayerSelection
from opentelemetry_instrumentation_corevital.config import CONTENT_ENV, SettingsError, load_settings
from opentelemetry_instrumentation_corevital.monitor.monitor_options import monitor_options


def test_a_keyword_wins_over_the_environment_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().capture == "summary"
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "on_risk")
    monkeypatch.setenv("OTEL_COREVITAL_MAX_STEP_EVENTS", "12")
    assert load_settings().capture == "on_risk"
    settings = load_settings({"capture": "full"})
    assert (settings.capture, settings.max_step_events) == ("full", 12)
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE", "")
    assert load_settings().capture == "summary", "an empty variable is as good as none"


@pytest.mark.parametrize(
    ("keywords", "environment", "parts"),
    [
        ({"captur": "full"}, {}, ["unknown option 'captur'", "did you mean 'capture'"]),
        ({"qqq": 1}, {}, ["unknown option 'qqq'", "options are", "prompt_hash"]),
        ({"capture": "all"}, {}, ["'capture' (from keyword)", "'all'", "'summary', 'full' or 'on_risk'"]),
        ({}, {"OTEL_COREVITAL_CAPTURE": "all"}, ["environment variable OTEL_COREVITAL_CAPTURE", "'all'"]),
        ({"max_step_events": 97}, {}, ["max_step_events", "less than or equal to 96"]),
        ({"high_entropy_bits": float("nan")}, {}, ["high_entropy_bits", "nan"]),
        ({"capture_message_content": "true"}, {}, ["capture_message_content", "'span_only'"]),
        ({"prompt_hash": "hmac"}, {}, ["OTEL_COREVITAL_HASH_KEY"]),
        ({}, {"OTEL_COREVITAL_ENABLED": "perhaps"}, ["OTEL_COREVITAL_ENABLED", "boolean"]),
        ({}, {"OTEL_COREVITAL_LAYERS": "0,one"}, ["OTEL_COREVITAL_LAYERS", "'one' is no layer", "`0,4..7,-1`"]),
        ({"layers": "1-3"}, {}, ["'layers' (from keyword)", "'1-3'"]),
        ({}, {"OTEL_COREVITAL_CAPTURE_RATIO": "1.5"}, ["OTEL_COREVITAL_CAPTURE_RATIO", "less than or equal to 1"]),
        ({"attention_every": -1}, {}, ["attention_every", "greater than or equal to 0"]),
        ({"run_data": "yes"}, {}, ["run_data", "'auto', 'on' or 'off'"]),
    ],
)
def test_a_bad_value_names_the_option_and_its_source(
    keywords: dict, environment: dict, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(keywords)
    for part in parts:
        assert part in str(caught.value)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_HASH_KEY", "top-secret")
    settings = load_settings({"prompt_hash": "hmac"})
    assert settings.hash_key == "top-secret"
    assert "top-secret" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load_settings({"hash_key": ["top-secret"]})
    assert "top-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "on"), [("SPAN_ONLY", True), ("span_and_event", True), ("NO_CONTENT", False), ("event_only", False)]
)
def test_the_conventions_content_switch(value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTENT_ENV, value)
    assert load_settings().content_on_span is on
    assert load_settings({"capture_message_content": "no_content"}).content_on_span is False


def test_another_value_of_the_conventions_switch_is_no_content_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv(CONTENT_ENV, "of-course")
    assert load_settings().content_on_span is False
    assert load_settings().content_on_span is False
    (told,) = caplog.messages
    assert "SPAN_ONLY" in told


@pytest.mark.parametrize(
    ("capture", "every", "steps"),
    [("summary", None, 8), ("full", None, 1), ("on_risk", None, 1), ("full", 5, 5), ("summary", 0, 0)],
)
def test_how_often_attention_is_looked_at(capture: str, every: int | None, steps: int) -> None:
    keywords = {"capture": capture} if every is None else {"capture": capture, "attention_every": every}
    assert load_settings(keywords).attention_steps == steps


@pytest.mark.parametrize(
    ("text", "count", "layers"),
    [
        ("all", 3, [0, 1, 2]),
        (" ALL ", 2, [0, 1]),
        ("0,4..7,-1", 12, [0, 4, 5, 6, 7, 11]),
        ("-3..-1", 12, [9, 10, 11]),
        ("5, 1 ,1", 12, [1, 5]),
        ("4..7", 6, [4, 5]),
        ("20", 6, []),
        ("3..1", 6, []),
    ],
)
def test_layers_are_selected_by_index_and_range(text: str, count: int, layers: list[int]) -> None:
    assert LayerSelection(text)(count) == layers


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1...3", "1..", "0.5"])
def test_other_selections_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be `all` or a list"):
        LayerSelection(text)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydantic's first validation holds a lock that a process forked meanwhile would find held for good."""
    begun, ended = threading.Event(), threading.Event()

    class Slow(config.Settings):
        def model_post_init(self, context: object) -> None:
            begun.set()
            time.sleep(0.3)
            ended.set()

    monkeypatch.setattr(config, "Settings", Slow)
    thread = threading.Thread(target=load_settings)
    thread.start()
    assert begun.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if ended.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()


# --- one option under two names ------------------------------------------------------------------------------------


def test_the_baseline_has_an_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    assert load_settings().chosen_baseline == "auto"
    assert load_settings({"baseline": "a.json"}).chosen_baseline == "a.json"
    assert load_settings({"profile": "off"}).chosen_baseline == "off"
    monkeypatch.setenv("OTEL_COREVITAL_PROFILE", "b.json")
    assert load_settings().chosen_baseline == "b.json"
    assert load_settings({"baseline": "off"}).chosen_baseline == "off", "a keyword goes before a variable"
    monkeypatch.delenv("OTEL_COREVITAL_PROFILE")
    monkeypatch.setenv("OTEL_COREVITAL_BASELINE", "off")
    assert load_settings({"profile": "auto"}).chosen_baseline == "auto"
    assert load_settings({"profile": None}).chosen_baseline == "off"


def test_both_names_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "baseline and profile .OTEL_COREVITAL_BASELINE, OTEL_COREVITAL_PROFILE. are two names of one option"
    with pytest.raises(SettingsError, match=says):
        load_settings({"baseline": "off", "profile": "off"})
    monkeypatch.setenv("OTEL_COREVITAL_BASELINE", "off")
    monkeypatch.setenv("OTEL_COREVITAL_PROFILE", "off")
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_a_monitor_that_names_one_is_not_overruled_by_the_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    options = monitor_options({"baseline": "off"}, (), own=CoreVitalMonitor.__init__, early_warning=True)
    assert options.over(load_settings({"profile": "auto"})).chosen_baseline == "off"


def test_bits_are_chosen_only_where_somebody_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().chosen_entropy_bits is None
    assert load_settings({"high_entropy_bits": 4.0}).chosen_entropy_bits == 4.0, "though that is the default"
    monkeypatch.setenv("OTEL_COREVITAL_HIGH_ENTROPY_BITS", "2.5")
    assert load_settings().chosen_entropy_bits == 2.5
    options = monitor_options({"high_entropy_bits": 3.0}, (), own=CoreVitalMonitor.__init__, early_warning=True)
    assert options.over(load_settings()).chosen_entropy_bits == 3.0
    monkeypatch.delenv("OTEL_COREVITAL_HIGH_ENTROPY_BITS")
    plain = monitor_options({}, (), own=CoreVitalMonitor.__init__, early_warning=True)
    assert plain.over(load_settings()).chosen_entropy_bits is None

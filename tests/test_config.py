"""Settings: where a value comes from, and what is said of a bad one."""

import logging

import pytest

from opentelemetry_instrumentation_corevital.config import CONTENT_ENV, SettingsError, load_settings


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


def test_another_value_of_the_conventions_switch_is_no_content_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv(CONTENT_ENV, "true")
    assert load_settings().content_on_span is False
    assert "SPAN_ONLY" in caplog.text

"""`corevital cost` on a tiny model, and what becomes of its errors and of Ctrl-C."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.overhead.bench import Bench
from tests.support.command_line import Cli
from tests.support.saved_models import save_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, capsys)


SHORT = ("--prompt-tokens", "8", "--new-tokens", "4", "--device", "cpu")


def test_every_arm_is_measured_beside_plain_calls(cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_COREVITAL_ATTENTION_EVERY", "4")
    monkeypatch.setenv("OTEL_COREVITAL_HASH_KEY", "a secret")
    monkeypatch.setenv("OTEL_COREVITAL_CAPTURE_RATIO", "0")  # would leave every call out
    code, out, err = cli("cost", "--model", model, *SHORT, "--batch", "2", "--rounds", "2", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert list(report["arms"]) == ["plain-again", "off", "summary", "full"]
    assert {name: arm["spans_per_call"] for name, arm in report["arms"].items()} == {
        "plain-again": 0,
        "off": 0,
        "summary": 3,
        "full": 3,
    }
    for arm in report["arms"].values():
        assert arm["pairs"] == arm["pairs_with_the_same_tokens"] == 2
        assert not arm["not_watched"]
        for figure in ("call", "first", "step", "added_ms_to_first_token", "added_ms_after_last_token"):
            low, high = arm[figure]["ci95"]
            assert low <= arm[figure]["median"] <= high
    assert report["workload"].items() >= {"batch": 2, "prompt_tokens": 8, "new_tokens": 4, "device": "cpu"}.items()
    assert report["method"] == {
        **{"rounds": 2, "seed": 0, "rounds_wanted": 2, "time_limit_s": 180, "interrupted": False},
    }
    assert report["settings"]["OTEL_COREVITAL_ATTENTION_EVERY"] == "4"
    assert "a secret" not in out
    assert set(report["telemetry"]["received"]) >= {"/v1/traces", "/v1/metrics"}


def test_the_table_says_what_the_figures_mean_and_nothing_is_stored(cli: Cli, model: str, tmp_path: Path) -> None:
    code, out, _ = cli("cost", "-m", model, *SHORT, "--capture", "full", "--rounds", "1", "--threads", "1")
    assert code == 0
    for part in ("plain again (A/A)", "ms before the first token", "ms after the last token", "1 round of 1", "full"):
        assert part in out
    assert "off (span not recorded)" not in out
    assert "6 rounds at least are needed to tell it from the control" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", [1, 9])
def test_an_interrupted_measurement_prints_what_there_is(
    cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    run, calls = Bench.run, iter(range(1, 99))

    def until_interrupted(bench: Bench, *given: object) -> object:
        if next(calls) > after:
            raise KeyboardInterrupt
        return run(bench, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Bench, "run", until_interrupted)
    code, out, err = cli("cost", "--model", model, *SHORT, "--capture", "summary")
    assert code == 130
    if after == 1:
        assert "before the first round was over" in err
        assert out == ""
    else:
        assert "1 round of 30, interrupted" in out
        assert "summary" in out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--capture", "summary,none"), "--capture none: give one or more of off, summary, full, on_risk."),
        (("--capture", ","), "--capture is empty: give one or more"),
        (("--new-tokens", "999999"), "--prompt-tokens and --new-tokens: the model has"),
        (("--device", "nowhere"), "--device nowhere:"),
        (("--new-tokens", "1"), "--new-tokens"),
    ],
)
def test_a_bad_option_is_named(cli: Cli, model: str, options: tuple[str, ...], told: str) -> None:
    code, out, err = cli("cost", "--model", model, *options)
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())


def test_opentelemetry_that_is_switched_off_is_no_measurement(
    cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    code, _, err = cli("cost", "--model", model)
    assert code == 1
    assert "OTEL_SDK_DISABLED is true" in " ".join(err.split())

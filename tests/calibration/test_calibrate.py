"""`corevital calibrate`: a profile from a model's own runs."""

import math
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.calibration import profiles_folder, read_profile
from opentelemetry_instrumentation_corevital.cli import calibrate_command, calibration_runs
from opentelemetry_instrumentation_corevital.cli.printing import error_console
from opentelemetry_instrumentation_corevital.instrumentation.instrumentor import CoreVitalInstrumentor
from opentelemetry_instrumentation_corevital.loading.models import load_model
from tests.support.command_line import Cli
from tests.support.saved_models import word_tokenizer
from tests.support.tiny_models import tiny_model

HOT = ("--temperatures", "1.5", "--max-new-tokens", "40")
"""With which a tiny model of random weights is healthy."""


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model that has no end token."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model = tiny_model(scale=2.0)
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)


def prompt_file(count: int) -> str:
    lines = [f"w{10 + number % 90} w{3 + number // 90} w{number % 7}" for number in range(count)]
    Path("prompts.txt").write_text("\n".join([*lines, "", "  ", lines[0]]), encoding="utf-8")
    return "prompts.txt"


def test_a_profile_is_made_found_and_used(cli: Cli, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    code, out, err = cli("calibrate", "--model", endless, "--prompts", prompt_file(52), *HOT)
    assert code == 0, err
    (file,) = profiles_folder().iterdir()
    profile = read_profile(file)
    assert profile.version == 2
    assert (profile.model.name, profile.model.layer_count) == ("tiny", 2)
    assert profile.runs is not None
    assert 50 <= profile.made.runs == len(profile.runs.values) <= 52
    assert profile.made.steps == profile.made.runs * 40
    assert (
        f"tiny: {profile.made.runs} runs, {profile.made.steps} steps, of 52 runs (52 prompts at 1 temperature)" in out
    )
    assert str(file) in out
    assert f"at most 1 in {profile.made.runs + 1} healthy runs is beyond it" in out
    assert f"false alarms, each run judged by those of other prompts: 1 of {profile.made.runs} (" in out
    assert "longest run: 40 tokens" in out
    for part in (
        "1 prompt given twice, and asked once",
        "the longest of these runs has 40 tokens, and the model may generate 256",
        "would make 200 healthy runs",
        "26 of 52 runs",
        "52 of 52 runs",
    ):
        assert part in err.replace("\n", " ")
    code, out, _ = cli("run", "--model", endless, "--prompt", "w5 w6", "--max-new-tokens", "20", "--json")
    assert code == 0
    assert "no baseline profile" not in out
    assert "no_baseline" not in out, "its limit is used"


def test_loops_are_dropped_and_said_and_too_few_runs_refused(cli: Cli, endless: str) -> None:
    """Some of the greedy answers are loops already."""
    arguments = ["calibrate", "--model", endless, "--prompts", prompt_file(25), "--max-new-tokens", "40"]
    code, out, err = cli(*arguments, "--temperatures", "0,1.5")
    assert (code, out) == (1, "")
    text = err.partition("Error: ")[2].replace("\n", " ")
    assert "healthy runs of" in text
    assert "among 50 (25 prompts at 2 temperatures) are too few: at least 50 runs and 2000 tokens are needed" in text
    kept, loops = int(text.split()[0]), int(text.partition("Dropped: loop ")[2].partition(".")[0])
    assert loops >= 3
    assert kept + loops == 50
    assert f"Give {math.ceil((50 - kept) * 50 / kept / 2)} more prompts or more, if as many are dropped" in text
    assert "nothing is written" in text
    assert not profiles_folder().exists()


def test_a_prompt_that_fails_is_dropped_and_said(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = calibration_runs.encode

    def fails(loaded: Any, text: str, *, chat: bool) -> Any:
        if text.endswith("w6"):
            raise ValueError("this one is too long")
        return encode(loaded, text, chat=chat)

    monkeypatch.setattr(calibration_runs, "encode", fails)
    for name, value in (("CAPTURE_RATIO", "0"), ("ATTENTION_EVERY", "0")):
        monkeypatch.setenv(f"OTEL_COREVITAL_{name}", value)  # of a service; what is usual needs it all
    prompts = [f"w1 w{number}" for number in range(4, 9)]
    asked = calibration_runs.Asked([1.5, 2.0], 12, 0, chat=False)
    sieve = calibration_runs.generated(load_model(endless), prompts, asked, error_console())
    assert sieve.tally.dropped == {"error": 2}
    assert sieve.groups == [0, 0, 1, 1, 3, 3, 4, 4]
    assert [run.steps for run in sieve.runs] == [12] * 8
    assert all("attention_entropy" in run.columns for run in sieve.runs)
    assert (sieve.tally.kept, sieve.tally.tokens, sieve.error) == (8, 96, "this one is too long")


def test_a_run_that_is_not_measured_is_said(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_model(endless)
    monkeypatch.setattr(loaded.model, "generate", lambda **_: None)  # a loop that CoreVital does not see
    asked = calibration_runs.Asked([1.0], 12, 0, chat=False)
    assert calibration_runs.generated(loaded, ["w1", "w2"], asked, error_console()).tally.dropped == {"not measured": 2}


def test_a_model_that_never_answers_is_given_up_soon(cli: Cli, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(loaded: Any, text: str, *, chat: bool) -> Any:
        asked.append(text)
        raise ValueError("no such thing")

    monkeypatch.setattr(calibration_runs, "encode", fails)
    code, _, err = cli("calibrate", "-m", endless, "--prompts", prompt_file(60), *HOT)
    assert code == 1
    assert "cannot answer: no such thing" in err
    assert len(asked) == 5
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry


def test_who_interrupts_it_finds_the_old_profile(cli: Cli, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, asked = calibration_runs.encode, []

    def interrupted(loaded: Any, text: str, *, chat: bool) -> Any:
        asked.append(text)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return encode(loaded, text, chat=chat)

    monkeypatch.setattr(calibration_runs, "encode", interrupted)
    Path("p.json").write_text("the old one")
    code, out, _ = cli("calibrate", "-m", endless, "--prompts", prompt_file(60), *HOT, "--out", "p.json")
    assert code != 0
    assert out == ""
    assert Path("p.json").read_text() == "the old one"
    assert sorted(path.name for path in Path().iterdir()) == ["p.json", "prompts.txt"]
    assert not CoreVitalInstrumentor().is_instrumented_by_opentelemetry


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--temperatures", "0,hot"], "--temperatures 0,hot: give numbers from 0 on"),
        (["--temperatures", "-1"], "--temperatures -1: give numbers from 0 on"),
        (["--temperatures", "nan"], "--temperatures nan"),
        (["--temperatures", ""], "--temperatures"),
        (["--temperatures", "0.7,0.7"], "60 prompts"),
        (["--out", "folder"], "--out folder: is a folder"),
        (["--out", "prompts.txt/p.json"], "--out prompts.txt/p.json: cannot be written"),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_is_loaded(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    def loaded(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(calibrate_command, "load_model", loaded)
    Path("folder").mkdir()
    file = prompt_file(60 if "0.7,0.7" not in arguments else 40)
    code, _, err = cli("calibrate", "--model", "x", "--prompts", file, *arguments)
    assert code == 1
    assert says.replace("60", "40") in err.replace("\n", " ")


@pytest.mark.parametrize("missing", ["--model", "--prompts"])
def test_what_generating_needs_is_said(cli: Cli, missing: str) -> None:
    given = {"--model": "x", "--prompts": prompt_file(60)}
    del given[missing]
    code, _, err = cli("calibrate", *(word for pair in given.items() for word in pair))
    assert code == 1
    assert f"{missing}: is needed to generate runs; or take stored ones with --from-store" in err.replace("\n", " ")


def test_too_few_prompts_are_refused_with_how_many_are_needed(cli: Cli) -> None:
    for count, arguments, fewest in (
        (16, [], 17),
        (49, ["--temperatures", "1"], 50),
        (30, ["--max-new-tokens", "20"], 34),
    ):
        code, _, err = cli("calibrate", "--model", "x", "--prompts", prompt_file(count), *arguments)
        assert code == 1
        assert f"{count} prompts, one a line; {fewest} at least are needed" in err.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "cannot be read"), (b"\xff\xfe", "not UTF-8"), (b"one\ntwo\n", "2 prompts")],
)
def test_prompts_that_cannot_be_used_are_told(cli: Cli, tmp_path: Path, text: bytes | None, says: str) -> None:
    file = tmp_path / "prompts.txt"
    if text is not None:
        file.write_bytes(text)
    code, _, err = cli("calibrate", "--model", "smollm2", "--prompts", str(file))
    assert code == 1
    assert f"--prompts {file}" in err
    assert says in err


def test_a_profile_that_is_not_there_is_told_before_anything_runs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    monkeypatch.setenv("OTEL_COREVITAL_PROFILE", "nobody/has-this")
    code, _, err = cli("run", "--model", "smollm2", "--prompt", "x", "--max-new-tokens", "1")
    assert code == 1
    assert "profile nobody/has-this" in err
    assert "corevital calibrate" in err
    assert cli("runs", "--json")[1].strip() in ("", "[]"), "nothing was stored"

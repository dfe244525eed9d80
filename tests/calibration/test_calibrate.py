"""`corevital calibrate`: a profile from a model's own runs."""

from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.calibration import profiles_folder, read_profile
from tests.support.command_line import Cli

PROMPTS = [
    f"Tell me something about {what}." for what in ("bees", "ropes", "tides", "clay", "owls", "tea", "ice", "ink")
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join([*PROMPTS, "", "  "]), encoding="utf-8")
    return file


@pytest.mark.acceptance
@pytest.mark.real_model
def test_a_profile_of_the_real_model_is_made_found_and_used(
    cli: Cli, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_COREVITAL_BASELINE")
    code, out, err = cli("calibrate", "--model", "smollm2", "--prompts", str(prompts), "--max-new-tokens", "48")
    assert code == 0, err
    (file,) = profiles_folder().iterdir()
    profile = read_profile(file)
    assert profile.model.name == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert profile.model.layer_count == 30
    assert 256 <= profile.made.steps <= 8 * 48
    assert f"{profile.made.runs} runs, {profile.made.steps} steps" in out
    assert str(file) in out
    code, out, _ = cli("run", "--model", "smollm2", "--prompt", PROMPTS[0], "--max-new-tokens", "20", "--json")
    assert code == 0
    assert "no baseline profile" not in out


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

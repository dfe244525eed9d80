"""`corevital compare --prompts` and `--experiments`: two of them, prompt by prompt."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import prompt_names
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.saved_models import save_tiny
from tests.support.spans import spans_asked

SMALL, LARGE = "org/small", "org/large"


def answered(
    model: str, prompt: int, risk: float | None, *, found: bool | None = None, experiment: str = "short", **changes: Any
) -> list[Any]:
    """Return the span of a run that answers a prompt of a set."""
    event: dict[str, Any] = {prompt_names.PROMPT_ID: f"q{prompt}"}
    if found is not None:
        event[prompt_names.PROMPT_EXPECTED_FOUND] = found
    told = {
        semconv.GEN_AI_REQUEST_MODEL: model,
        semconv.FINGERPRINT_PROMPT_HASH: f"{prompt:02x}" * 32,
        semconv.FINGERPRINT_PROMPT_HASH_SOURCE: "text",
        semconv.HEALTH_REPETITION_LOOP: risk is not None and risk >= 0.7,
        semconv.RISK_SCORE: risk,
    }
    return list(spans_asked(event, experiment=experiment, **{**told, **changes}))


@pytest.fixture
def filled(cli: Cli) -> Cli:
    cli.store(
        *(answered(LARGE, prompt, risk) for prompt, risk in enumerate((0.5, 0.5, 0.8, 0.1, None))),
        *(answered(SMALL, prompt, risk) for prompt, risk in enumerate((0.5, 0.9, 0.2, 0.3, 0.1))),
        answered(LARGE, 9, 0.9),
    )
    return cli


def test_the_worst_difference_comes_first(filled: Cli) -> None:
    code, out, err = filled("compare", "--prompts", "--models", f"{LARGE},{SMALL}")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].rstrip() == f"{SMALL} against {LARGE}, by prompt"
    assert [line.split() for line in out.splitlines()[2:7]] == [
        ["q1", "0.50", "→", "0.90", "+0.40", "+repetition", "loop", "40"],
        ["q3", "0.10", "→", "0.30", "+0.20", "-", "40"],
        ["q0", "0.50", "+0.00", "-", "40"],
        ["q2", "0.80", "→", "0.20", "-0.60", "-repetition", "loop", "40"],
        ["q4", "-", "→", "0.10", "-", "-", "40"],
    ]
    assert "5 prompts in common: the risk is higher on 2, lower on 1, the same on 1, 1 not judged" in out
    assert "\x1b" not in out


def test_for_programs(filled: Cli) -> None:
    told = json.loads(filled("compare", "--prompts", "--models", f"{LARGE},{SMALL}", "--json")[1])
    assert (told["reference"], told["other"]) == (LARGE, SMALL)
    first, last = told["prompts"][0], told["prompts"][-1]
    assert (first["prompt_id"], first["risk_difference"]) == ("q1", pytest.approx(0.4))
    assert first["other"]["flags"] == ["repetition_loop_detected"]
    assert (last["prompt_id"], last["risk_difference"], last["reference"]["risk"]) == ("q4", None, None)
    rows = list(csv.DictReader(io.StringIO(filled("compare", "--prompts", "--models", f"{LARGE},{SMALL}", "--csv")[1])))
    assert [row["prompt_id"] for row in rows] == [each["prompt_id"] for each in told["prompts"]]
    assert (rows[0]["other_risk"], rows[0]["other_flags"]) == ("0.9", "repetition_loop_detected")
    assert rows[-1]["reference_risk"] == rows[-1]["risk_difference"] == ""


def test_experiments_take_the_place_of_models(cli: Cli) -> None:
    cli.store(
        *(answered(SMALL, prompt, 0.1, found=True, experiment="cold") for prompt in range(4)),
        *(answered(SMALL, prompt, 0.1, found=prompt > 0, experiment="hot") for prompt in range(4)),
        answered(LARGE, 0, 0.9, experiment="hot"),
    )
    code, out, _ = cli("compare", "--experiments", "cold,hot", "--prompts", "--models", "small")
    assert code == 0
    assert out.startswith("hot against cold, by prompt")
    assert "\nthe expected text is in 100 % \u2192 75 % of the answers to 4 prompts\n" in out
    first = out.splitlines()[2].split()
    assert (first[0], first[-3:]) == ("q0", ["found", "→", "missing"]), (
        "where the risk is the same, what is lost is worst"
    )
    told = json.loads(cli("compare", "--experiments", "cold,hot", "--json")[1])
    assert [(each["model"], each["runs"]) for each in told["models"]] == [("cold", 4), ("hot", 5)]
    told = json.loads(cli("compare", "--experiment", "hot", "--json")[1])
    assert [(each["model"], each["runs"]) for each in told["models"]] == [(SMALL, 4), (LARGE, 1)]


def test_prompts_that_are_alike_are_told_apart_by_their_ids(cli: Cli) -> None:
    alike = {semconv.FINGERPRINT_PROMPT_HASH: "ab" * 32}
    for model, risks in ((LARGE, (0.1, 0.2)), (SMALL, (0.3, 0.9))):
        cli.store(*(answered(model, prompt, risk, **alike) for prompt, risk in enumerate(risks)))
    told = json.loads(cli("compare", "--prompts", "--models", f"{LARGE},{SMALL}", "--json")[1])["prompts"]
    assert [(each["prompt_id"], each["risk_difference"]) for each in told] == [
        ("q1", pytest.approx(0.7)),
        ("q0", pytest.approx(0.2)),
    ]
    cli.store(answered("org/third", 0, 0.5, **{**alike, semconv.FINGERPRINT_PROMPT_HASH: "cd" * 32}))
    code, _, err = cli("compare", "--prompts", "--models", f"{LARGE},org/third")
    assert (code, "have no prompt in common" in err) == (1, True)


def test_a_prompt_that_was_run_often_counts_once(cli: Cli) -> None:
    cli.store(answered(LARGE, 0, 0.1), answered(LARGE, 0, 0.3, found=True), answered(SMALL, 0, 0.5, found=False))
    cli.store(answered(SMALL, 0, 0.9, **{semconv.STOP_REASON: "cancelled"}))  # no answer at all
    cli.store(answered(SMALL, 0, 0.9, **{semconv.ERROR_TYPE: "IndexError"}))
    (told,) = json.loads(cli("compare", "--prompts", "--models", f"{LARGE},{SMALL}", "--json")[1])["prompts"]
    assert (told["reference"]["runs"], told["reference"]["risk"]) == (2, pytest.approx(0.2))
    assert (told["reference"]["expected_found"], told["other"]["expected_found"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prompts", "--models", LARGE), "--prompts compares two, and here are 1"),
        (("--prompts", "last", "last"), "Name two runs, or say which models to compare"),
        (("--experiments", "short,", "--prompts"), "--experiments short,: give names with commas"),
        (("--experiments", "short,none"), "none: no run of this experiment matches"),
        (("--experiments", "short,long", "--experiment", "short"), "--experiments compares experiments"),
        (("--experiments", "short,long", "--models", f"{LARGE},{SMALL}"), "--experiments compares experiments"),
        (("--experiments", "short,long", "last", "last"), "Name two runs, or say which"),
        (("--experiments", "a,b", "--models", LARGE, "--prompt", "x"), "--experiments does not go with it"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_does_not_go_together_is_refused(filled: Cli, words: tuple[str, ...], told: str) -> None:
    code, out, err = filled("compare", *words)
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())


def test_a_set_is_run_with_two_models_and_compared(cli: Cli, tiny_folder: str, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "other", seed=5)
    Path("set.txt").write_text("w5 w6\nw7 w8\nw9\n")
    for model in (tiny_folder, other):
        assert cli("run", "-m", model, "--prompts", "set.txt", "--max-new-tokens", "3")[0] == 0
    with open_store(cli.db) as store:
        assert {run.model for run in store.runs()} == {"tiny", "other"}
    code, out, _ = cli("compare", "--prompts", "--models", "tiny,other")
    assert (code, "3 prompts in common" in out) == (0, True)
    assert out.startswith("other against tiny, by prompt")

"""`corevital compare`: models over the same prompts, two runs side by side, and prompts that it runs itself."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.loading import models
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import open_store
from opentelemetry_instrumentation_corevital.store.sqlite_labels import set_label
from tests.support.command_line import Cli
from tests.support.saved_models import save_tiny
from tests.support.spans import make_spans

SMALL, LARGE = "org/small", "org/large"


def answered(model: str, prompt: int | None, risk: float, **changes: Any) -> list[Any]:
    """Return the span of a run that answers one of the prompts."""
    hashed = {
        semconv.FINGERPRINT_PROMPT_HASH: f"{prompt or 0:02x}" * 32,
        semconv.FINGERPRINT_PROMPT_HASH_SOURCE: "text",
    }
    return make_spans(
        **{
            semconv.GEN_AI_REQUEST_MODEL: model,
            semconv.RISK_SCORE: risk,
            semconv.RISK_LEVEL: "high" if risk >= 0.7 else "low",
            semconv.HEALTH_REPETITION_LOOP: risk >= 0.7,
            semconv.ENTROPY_MEAN: 1 + risk,
            **hashed,
            **changes,
        }
    )


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Eight prompts that both models have run; the small one's risk is 0.1 to 0.17 higher."""
    cli.store(
        *(answered(LARGE, prompt, 0.1 * prompt) for prompt in range(8)),
        *(answered(SMALL, prompt, 0.1 + 0.11 * prompt) for prompt in range(8)),
        answered(SMALL, 99, 0.5),
    )
    return cli


# --- models ------------------------------------------------------------------------------------------------------


def test_models_are_held_against_the_first(filled: Cli) -> None:
    code, out, err = filled("compare", "--models", f"{LARGE},{SMALL}")
    assert (code, err) == (0, "")
    lines = {line.strip().split("  ")[0]: " ".join(line.split()) for line in out.splitlines()}
    assert lines["runs"] == "runs 8 9"
    assert lines["prompts"] == "prompts 8 9"
    assert lines["risk, mean"] == "risk, mean 0.35 0.49"
    assert lines["median"] == "median 0.35 0.50"
    assert lines["high"] == "high 1 2"
    assert lines["repetition loop"] == "repetition loop 1 of 8 2 of 9"
    assert lines["risk"] == "risk 0.48 0.35 +0.13 +0.11 to +0.16 8 prompts"
    assert f"{SMALL} against {LARGE}" in out
    assert "Intervals over fewer than 20 prompts are rough, and here are 8" in out
    assert "\x1b" not in out
    assert filled("compare", "--model", LARGE, "--model", SMALL)[1] == out


def test_without_names_the_model_with_the_most_runs_is_the_reference(filled: Cli) -> None:
    told = json.loads(filled("compare", "--json")[1])
    assert told["reference"] == SMALL
    assert [each["model"] for each in told["models"]] == [SMALL, LARGE]
    risk = next(each for each in told["differences"] if each["measure"] == "risk_score")
    assert risk["difference"] == pytest.approx(-0.135)
    assert risk["low"] < risk["difference"] < risk["high"] < 0
    assert (risk["clear"], risk["units"], risk["basis"]) == (True, 8, "pairs")
    assert told["notes"] == []


def test_shared_leaves_out_what_one_has_not_run(filled: Cli) -> None:
    told = json.loads(filled("compare", "--json", "--shared")[1])
    assert {each["model"]: each["runs"] for each in told["models"]} == {SMALL: 8, LARGE: 8}
    filled.store(answered("org/third", 55, 0.1))
    code, _, err = filled("compare", "--shared")
    assert code == 1
    assert "no prompt in common" in err


def test_csv_has_a_row_per_model(filled: Cli) -> None:
    code, out, _ = filled("compare", "--csv", "--wide", "--models", f"{LARGE},{SMALL}")
    assert code == 0
    large, small = csv.DictReader(io.StringIO(out))
    assert (large["model"], large["runs"], large["risk_score_difference"]) == (LARGE, "8", "")
    assert float(small["risk_score_difference"]) == pytest.approx(0.135)
    assert float(small["risk_score_difference_low"]) == pytest.approx(0.1145, abs=1e-3)
    assert small["risk_score_difference_units"] == "8"
    assert float(small["repetition_loop_detected_mean"]) == pytest.approx(2 / 9)
    assert small["correct_mean"] == "", "nobody labelled anything"


def test_csv_has_a_few_columns_and_with_wide_all(filled: Cli) -> None:
    rows, wide = (
        list(csv.DictReader(io.StringIO(filled("compare", "--csv", *more, "--models", f"{LARGE},{SMALL}")[1])))
        for more in ((), ("--wide",))
    )
    assert list(rows[0])[:3] == ["model", "runs", "prompts"]
    assert len(rows[0]) < 20 < 80 < len(wide[0])
    assert rows == [{name: row[name] for name in rows[0]} for row in wide]
    for words in (("--wide",), ("--wide", "--json"), ("--wide", "--csv", "--prompts")):
        code, out, err = filled("compare", *words)
        assert (code, out) == (1, "")
        assert "--wide goes with the --csv of models" in err


def test_filters(filled: Cli) -> None:
    with open_store(filled.db) as store:
        runs = store.runs(limit=None)
    for run in runs[:6]:
        set_label(filled.db, run.trace_id, run.span_id, "correct")

    def counts(*options: str) -> dict[str, int]:
        told = json.loads(filled("compare", "--json", *options)[1])
        return {each["model"]: each["runs"] for each in told["models"]}

    assert counts() == {SMALL: 9, LARGE: 8}
    assert counts("--limit", "3") == {SMALL: 3, LARGE: 3}
    assert counts("--risk-above", "0.65") == {SMALL: 2, LARGE: 1}
    assert counts("--flag", "repetition_loop") == {SMALL: 2, LARGE: 1}
    assert counts("--prompt-hash", "0303") == {SMALL: 1, LARGE: 1}
    assert counts("--label", "correct") == {SMALL: 6}
    assert counts("--label", "none") == {LARGE: 8, SMALL: 3}
    assert counts("--since", "1h", "--model", LARGE) == {LARGE: 8}
    assert "No run matches" in filled("compare", "--since", "2099-01-01")[2]
    assert "labelled correct" in filled("compare")[1]


def test_what_makes_a_comparison_less_than_it_looks_is_told(cli: Cli) -> None:
    sampled = {semconv.DECODING_STRATEGY: "sample", semconv.RISK_METHOD: "report-0.4.0"}
    nameless = answered(None, 7, 0.1)  # type: ignore[arg-type]
    cli.store(
        *(answered("a", n, 0.1 * n) for n in range(5)),
        *(answered("b", 20 + n, 0.1 * n, **sampled, **{semconv.ERROR_TYPE: "ValueError"}) for n in range(4)),
        nameless,
    )
    out = " ".join(cli("compare")[1].split())
    assert "The models have no prompt in common" in out
    assert "4 unpaired" in out
    assert "Models differ in decoding: a: greedy_search; b: sample." in out
    assert "4 of the 4 runs of b failed." in out
    assert "1 runs whose model is unknown are left out." in out
    assert "There is one model only" in cli("compare", "--model", "a")[1]


def test_judgement_by_different_baselines_is_told(cli: Cli) -> None:
    source = semconv.VERDICTS["baseline.source"]

    def of(model: str, *sources: str) -> list[Any]:
        return [answered(model, prompt, 0.1, **{source: each}) for prompt, each in enumerate(sources)]

    cli.store(*of("a", "packaged", "packaged"), *of("b", "none", "learned", "learned"), *of("c", "learned", "learned"))
    told = "Models differ in their baseline: a: packaged; b: learned. Their risks, flags and warnings rest on"
    for words in ((), ("--prompts",)):
        assert told in " ".join(cli("compare", "--models", "a,b", *words)[1].split())
        assert "baseline" not in cli("compare", "--models", "b,c", *words)[1], "most of both were learned"


def test_wrong_use_is_one_sentence(filled: Cli) -> None:
    for arguments, message in (
        (("--model", "org/none"), f"org/none: no run of this model matches; there are runs of {SMALL}, {LARGE}"),
        (("--models", "a,,b"), "give names with commas between them"),
        (("--json", "--csv"), "do not go together"),
        (("--flag", "happy"), "flags are nan_detected"),
        (("--since", "soon"), "--since soon"),
        (("--temperature", "1"), "--temperature goes with --prompt"),
        (("--max_new_tokens", "1"), "--max-new-tokens goes with --prompt"),
        (("--prompt", "x"), "--prompt needs --models"),
        (("--prompt", "x", "--models", "a", "--since", "7d"), "--since does not go with it"),
        (("--prompt", " ", "--models", "a"), "prompt is empty"),
        (("last", "--models", "a"), "not both"),
        (("last",), "Name two runs to see them side by side, not 1"),
        (("last", "last", "last"), "not 3"),
        (("last", "ffffff"), "holds no run ffffff"),
        (("--db", "none.db"), "none.db: there is no such file"),
    ):
        code, out, err = filled("compare", *arguments)
        assert (code, out) == (1, ""), arguments
        assert message in " ".join(err.split()), err


# --- two runs ----------------------------------------------------------------------------------------------------


def test_two_runs_side_by_side(filled: Cli) -> None:
    with open_store(filled.db) as store:
        first = store.runs(limit=None, model=LARGE, risk_above=0.65)[0].trace_id
        second, other = (store.runs(limit=None, prompt_hash=h, model=SMALL)[0].trace_id for h in ("0707", "0101"))
    code, out, err = filled("compare", first[:10], second[:10])
    assert (code, err) == (0, "")
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert lines["model"] == ["model", LARGE, SMALL]
    assert lines["risk"] == ["risk", "0.70", "0.87", "+0.17"]
    assert lines["flags"] == ["flags", *["repetition", "loop"] * 2]
    assert lines["tokens out"][-1] == "+0"
    assert "▄█▂" in out
    assert "prompts differ" not in out
    assert "Their prompts differ." in filled("compare", first, other)[1]

    told = json.loads(filled("compare", first, second, "--json")[1])
    assert [run["trace_id"] for run in told["runs"]] == [first, second]
    assert told["same_prompt"] is True
    assert told["differences"]["risk"]["difference"] == pytest.approx(0.17)
    assert "tokens out" not in told["differences"]
    rows = list(csv.DictReader(io.StringIO(filled("compare", first, second, "--csv")[1])))
    assert rows[0]["first"] == f"{first[:12]}:0"
    assert next(row for row in rows if row[""] == "model")["second"] == SMALL


def test_two_runs_step_by_step(cli: Cli, tiny_folder: str) -> None:
    arguments = ("run", "-m", tiny_folder, "-p", "w5 w6", "--max-new-tokens")
    for more in (("9",), ("6",), ("9", "--repetition-penalty", "1.5")):
        assert cli(*arguments, *more)[0] == 0
    changed, short, whole = (run["trace_id"] for run in json.loads(cli("runs", "--json")[1]))
    assert json.loads(cli("compare", short, whole, "--json")[1])["steps_alike"] == 6
    assert "Step by step they are alike over the first 6." in cli("compare", short, whole)[1]
    with open_store(cli.db) as store:
        entropies = [store.run(trace).columns["entropy"] for trace in (changed, whole)]
    apart = next(i for i, (a, b) in enumerate(zip(*entropies, strict=True)) if abs(a - b) > 1e-3)
    assert 0 < apart < 9, "the first step is the same, the penalty changes a later one"
    assert json.loads(cli("compare", changed, whole, "--json")[1])["steps_alike"] == apart


# --- prompts that it runs ----------------------------------------------------------------------------------------


def test_prompts_are_run_with_every_model_and_compared(cli: Cli, tiny_folder: str, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "elsewhere" / "tiny", seed=1)  # telemetry calls both `tiny`
    cli.store(answered("tiny", 3, 0.9))  # an earlier run has no part in it
    prompts = [part for word in ("w5 w6", "w7 w8", "w9", "w10 w11") for part in ("--prompt", word)]
    arguments = ("compare", *prompts, "--models", f"{tiny_folder},{other}", "--max-new-tokens", "5")
    code, out, err = cli(*arguments, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert {each["model"]: (each["runs"], each["prompts"]) for each in told["models"]} == {
        tiny_folder: (4, 4),
        other: (4, 4),
    }
    entropy = next(each for each in told["differences"] if each["measure"] == "entropy_mean")
    assert (entropy["basis"], entropy["units"]) == ("pairs", 4)
    assert entropy["low"] < entropy["difference"] < entropy["high"]
    assert told["notes"] == []
    runs = json.loads(cli("runs", "--json")[1])
    assert len(runs) == 9, "stored as `corevital run` does"
    assert {run["prompt_hash_source"] for run in runs[:8]} == {"text"}
    assert {run["strategy"] for run in runs[:8]} == {"greedy_search"}


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_the_real_model_and_another_answer_a_prompt(
    cli: Cli, smollm2: LoadedModel, tiny_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = models.load_model
    monkeypatch.setattr(models, "load_model", lambda name, **how: smollm2 if name == "smollm2" else load(name, **how))
    arguments = ("--models", f"smollm2,{tiny_folder}", "--max-new-tokens", "12", "--device", "cpu")
    code, out, err = cli("compare", "--prompt", "Name three primary colours.", *arguments)
    assert (code, err) == (0, "")
    assert "smollm2" in out.splitlines()[0]
    assert "1 run of the prompt by each, an interval needs 4" in out
    newest, real = json.loads(cli("runs", "--json")[1])
    assert newest["prompt_hash"] == real["prompt_hash"], "with and without a chat template it is the same prompt"
    assert (real["model"], real["operation"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "chat")


def test_sampled_prompts_can_be_had_again(cli: Cli, tiny_folder: str) -> None:
    arguments = ("-p", "w5", "--models", tiny_folder, "--max-new-tokens", "4", "--temperature", "1.5", "--seed", "3")
    first, second = (json.loads(cli("compare", *arguments, "--json")[1])["models"][0]["measures"] for _ in range(2))
    assert first["entropy_mean"] == second["entropy_mean"]
    assert json.loads(cli("runs", "--json")[1])[0]["strategy"] == "sample"
    code, out, err = cli("compare", "-p", "w5", "--models", f"{tiny_folder},./none")
    assert (code, out) == (1, "")
    assert "./none: there is no such folder" in err

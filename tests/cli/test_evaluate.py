"""`corevital evaluate`: from labelled runs of a store to figures, files and what to do where there are too few."""

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.assessment.answer_features import answer_features
from opentelemetry_instrumentation_corevital.assessment.answer_risk import answer_risk
from opentelemetry_instrumentation_corevital.baselines.answer_model import shipped
from opentelemetry_instrumentation_corevital.catalogue import prompt_names
from opentelemetry_instrumentation_corevital.cli.prompt_set import read_prompt_set
from opentelemetry_instrumentation_corevital.evaluation.labelled_answers import ANSWER, SCORES
from opentelemetry_instrumentation_corevital.evaluation.ranking import auroc
from tests.support.command_line import Cli
from tests.support.html_files import Outline, data_of, unnamed
from tests.support.labelled_answers import answer, store_labelled
from tests.support.spans import spans_asked

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"
ANSWERS = [answer(seed, model="org/one" if seed % 2 else "org/two") for seed in range(80)]
LONG = [answer(seed, model="org/one", steps=60) for seed in range(200, 203)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labelled") / "runs.db"
    store_labelled(file, [*ANSWERS, *LONG, (answer(900)[0], None)])
    return file


def told(cli: Cli, *options: str) -> dict[str, Any]:
    code, out, err = cli("evaluate", "--json", *options)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def asked(task: str | None, number: int, *, found: bool, experiment: str = "short", risk: float | None = 0.5) -> Any:
    """Return the spans of a run that answers a prompt of a prompt set."""
    event: dict[str, Any] = {prompt_names.PROMPT_ID: f"q{number}", prompt_names.PROMPT_EXPECTED_FOUND: found}
    if task is not None:
        event[prompt_names.PROMPT_METADATA] = json.dumps({"task": task, "level": number % 2})
    support = {} if risk is None else {semconv.RISK_ANSWER: risk, semconv.RISK_ANSWER_SUPPORT: True}
    means = {semconv.SURPRISAL_MEAN: 1.0 + number / 100, semconv.ENTROPY_MEAN: 2.0}
    own = {semconv.FINGERPRINT_PROMPT_HASH: f"{number:064x}", semconv.HEALTH_REPETITION_LOOP: False}
    return spans_asked(event, experiment=experiment, **means, **support, **own)


# --- what it finds -------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_stored_runs(cli: Cli, stored: Path) -> None:
    found = told(cli, "--db", str(stored))
    assert (found["labelled_runs"], found["outside_support"], found["left_out"]) == (
        83,
        3,
        {"outside the answer risk's support": 3},
    )
    assert [each["model"] for each in found["groups"]] == ["org/one", "org/two"]
    for group in found["groups"]:
        judged = [(run, wrong) for run, wrong in ANSWERS if run.model.name == group["model"]]
        whole, half = list[float](), list[float]()
        for run, _ in judged:
            for steps, values in ((run.steps, whole), (-(-run.steps // 2), half)):
                features = answer_features(run, steps)
                assert isinstance(features, dict)
                probability = answer_risk(features, steps, shipped()).probability
                assert probability is not None
                values.append(probability)
        truths = np.array([wrong for _, wrong in judged])
        scores = group["scores"][ANSWER]
        assert scores["auroc"]["value"] == pytest.approx(auroc(np.array(whole), truths), abs=1e-12)
        assert scores["auroc_half"]["value"] == pytest.approx(auroc(np.array(half), truths), abs=1e-6)
        surprisal = np.array([float(run.columns["surprisal"].astype(float).sum()) for run, _ in judged])
        told_sum = group["scores"]["summed surprisal"]["auroc"]["value"]
        assert told_sum == pytest.approx(auroc(surprisal, truths), abs=1e-12)
        assert set(group["scores"]) == set(SCORES)
        assert sum(each["runs"] for each in group["reliability"]) == group["runs"] == 40
        assert group["risk_coverage"][ANSWER][-1] == pytest.approx([1, group["wrong"] / group["runs"]], abs=1e-6)
    assert found["mean"]["groups"] == 2


def test_the_table_fits_a_terminal_and_says_the_conclusion_first(cli: Cli, stored: Path) -> None:
    code, out, err = cli("evaluate", "--db", str(stored))
    assert (code, "read from" in err) == (0, True)
    first, ranking, calibration, *rest = out.splitlines()
    assert first.startswith("83 labelled runs of 2 models and 1 task;")
    assert "3 outside the answer risk's support, and not in the figures." in first
    assert ranking.startswith("AUROC of the answer risk is 0.")
    assert "A perfect forecaster has 0." in calibration
    table = [line for line in rest if not line.startswith("matched:")]
    assert max(map(len, table)) <= 80
    assert {line[: len(name)] for name in SCORES for line in table if line.startswith(name)} >= set(SCORES)


def test_filters_and_limits_choose_the_runs(cli: Cli, stored: Path) -> None:
    place = ("--db", str(stored))
    assert [each["model"] for each in told(cli, *place, "--model", "two")["groups"]] == ["org/two"]
    assert told(cli, *place, "--limit", "40")["labelled_runs"] == 40
    assert told(cli, *place, "--label", "incorrect", "--label", "any")["labelled_runs"] == 83
    first, second = (told(cli, *place, "--seed", seed)["mean"]["scores"][ANSWER]["auroc"] for seed in "01")
    assert first["value"] == second["value"]
    assert first["low"] != second["low"]
    code, _, err = cli("evaluate", *place, "--label-source", "expected")
    assert code == 1
    assert "no run is labelled" in err


# --- tasks ---------------------------------------------------------------------------------------------------------


def test_a_task_is_the_key_of_the_prompt_or_the_experiment_or_what_is_asked_for(cli: Cli) -> None:
    for number in range(12):
        cli.store(asked("opposite" if number < 6 else "plural", number, found=number % 2 == 0))
    cli.store(asked(None, 20, found=True, experiment="other"))

    def tasks(*options: str) -> dict[str, int]:
        return {each["task"]: each["runs"] for each in told(cli, "--db", str(cli.db), *options)["groups"]}

    assert tasks() == {"opposite": 6, "other": 1, "plural": 6}
    assert tasks("--by", "experiment") == {"other": 1, "short": 12}
    assert tasks("--by", "service") == {"tests": 13}
    assert tasks("--by", "level") == {"-": 1, "0": 6, "1": 6}
    code, _, err = cli("evaluate", "--db", str(cli.db), "--by", "colour")
    assert code == 1, err
    assert "no labelled run has --by colour. There are task, experiment, service, and the keys" in err
    assert "level" in err


def test_without_content_a_key_is_not_there_and_the_error_says_so(cli: Cli) -> None:
    cli.store(asked(None, 1, found=True), asked(None, 2, found=False))
    code, _, err = cli("evaluate", "--db", str(cli.db), "--by", "level")
    assert code == 1
    assert "--store-content" in err


# --- files ---------------------------------------------------------------------------------------------------------


def test_csv_has_a_row_per_group_and_score(cli: Cli, stored: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.csv"
    code, out, err = cli("evaluate", "--db", str(stored), "--csv", str(file))
    assert (code, "mean of 2 groups" in out) == (0, True), err
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert {(row["of"], row["model"], row["score"]) for row in rows} >= {
        ("mean", "", ANSWER),
        ("group", "org/one", "length"),
        ("model", "org/two", "base rate"),
    }
    (mean,) = [row for row in rows if (row["of"], row["score"]) == ("mean", ANSWER)]
    figures = told(cli, "--db", str(stored))["mean"]["scores"][ANSWER]
    assert float(mean["auroc"]) == figures["auroc"]["value"]
    assert float(mean["auroc_low"]) == figures["auroc"]["low"]
    assert mean["answer_ahead"] == ""
    code, out, _ = cli("evaluate", "--db", str(stored), "--csv", "-")
    assert (code, list(csv.DictReader(out.splitlines()))) == (0, rows)
    assert cli("evaluate", "--db", str(stored), "--csv", "-", "--json")[0] == 1
    code, _, err = cli("evaluate", "--db", str(stored), "--html", str(tmp_path / "none" / "x.html"))
    assert code == 1
    assert "--html" in err


def test_the_page_holds_everything_and_every_chart_has_its_table(cli: Cli, stored: Path, tmp_path: Path) -> None:
    file = tmp_path / "evaluation.html"
    assert cli("evaluate", "--db", str(stored), "--html", str(file))[0] == 0
    text = file.read_text("utf-8")
    outline = Outline(text)
    assert (outline.references, outline.inline_styles, unnamed(outline)) == ([], 0, [])
    assert "default-src 'none'" in outline.policy
    found = told(cli, "--db", str(stored))
    sources = re.findall(r'data-source="([\w-]+)" role="img"', text)
    assert sources == ["reliability-0", "coverage-0", "reliability-1", "coverage-1"]
    assert len(re.findall(r'<summary>Table<span class="hidden-text"> of (?:Reliability|Risk)', text)) == 4
    points = data_of(text, "reliability-0")["series"][0]["points"]
    bins = found["models"][0]["reliability"]
    assert [each[:2] for each in points] == [
        pytest.approx([each["forecast"], each["wrong"]], abs=1e-5) for each in bins
    ]
    for group in found["groups"]:
        assert f"{group['scores'][ANSWER]['auroc']['value']:.3f}" in text


# --- too little ----------------------------------------------------------------------------------------------------


def test_no_label_and_one_outcome_are_errors_that_say_what_to_do(cli: Cli) -> None:
    cli.store(spans_asked(count=3))
    code, _, err = cli("evaluate", "--db", str(cli.db))
    assert code == 1
    assert "no run is labelled `correct` or `incorrect`" in err
    assert "corevital label RUN --outcome correct" in err
    assert "--from CSV" in err
    assert '"expected"' in err
    cli.store(asked("one", 1, found=True), asked("one", 2, found=True))
    code, _, err = cli("evaluate", "--db", str(cli.db))
    assert code == 1
    assert "all 2 labelled runs are correct" in err
    code, _, err = cli("evaluate", "--db", str(cli.db), "--experiment", "none")
    assert code == 1
    assert "no run of those asked for is labelled" in err


def test_few_runs_are_listed_and_there_is_no_mean(cli: Cli) -> None:
    cli.store(*(asked("one", number, found=number > 1) for number in range(6)))
    code, out, _ = cli("evaluate", "--db", str(cli.db))
    assert code == 0
    assert "No group of one model and task has 5 answers of each outcome" in out
    assert told(cli, "--db", str(cli.db))["mean"] is None


def test_runs_without_an_answer_risk_still_compare_the_baselines(cli: Cli) -> None:
    cli.store(*(asked("one", number, found=number % 2 == 0, risk=None) for number in range(12)))
    code, out, _ = cli("evaluate", "--db", str(cli.db))
    assert code == 0
    assert "No run has an answer risk: only the baselines are compared." in out
    assert "mean surprisal" in out


def test_failed_runs_are_left_out_by_name(cli: Cli) -> None:
    cli.store(*(asked("one", number, found=number % 2 == 0) for number in range(4)))
    event = {prompt_names.PROMPT_EXPECTED_FOUND: False}
    cli.store(spans_asked(event, **{semconv.ERROR_TYPE: "RuntimeError"}))
    found = told(cli, "--db", str(cli.db))
    assert (found["labelled_runs"], found["left_out"]) == (5, {"failed": 1})


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_commands_of_the_page_work(cli: Cli, stored: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", str(stored))
    for line in block.splitlines():
        program, *arguments = shlex.split(line.replace("org/model", "org/one").replace("30d", "2001-01-01"))
        assert program == "corevital"
        assert cli(*arguments)[0] == 0, line


def test_the_questions_of_the_page_are_a_prompt_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"<<'END'\n(.*?)^END$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(code, str(PAGE), "exec"), {})
    (tmp_path / "questions.jsonl").write_text(capsys.readouterr().out)
    prompts = read_prompt_set(tmp_path / "questions.jsonl")
    assert len(prompts) == 40
    assert all(len(each.expected) == 1 for each in prompts)
    assert {json.loads(each.metadata or "{}")["task"] for each in prompts} == {"opposite", "plural"}

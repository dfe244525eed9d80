"""`corevital runs` and `corevital show` over stores made by the exporter, without a model."""

import csv
import io
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.cli.options import database
from opentelemetry_instrumentation_corevital.presentation.panel import level_style, sparkline, verdict_panel
from opentelemetry_instrumentation_corevital.presentation.run_table import age, runs_table
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.spans import make_call, make_spans

LOOP: dict[str, Any] = {
    semconv.RISK_SCORE: 0.93,
    semconv.RISK_LEVEL: "high",
    semconv.RISK_FACTORS: ["repetition_loop=0.9", "high_entropy_steps=0.03"],
    semconv.HEALTH_EVIDENCE: json.dumps({"repetition_loop_detected": {"onset_step": 12, "period": 4, "copies": 7}}),
    semconv.EARLY_WARNING_SIGNALS: ["repetition_risk"],
    semconv.EARLY_WARNING_EVIDENCE: json.dumps({"repetition_risk": {"step": 16, "period": 4}}),
    semconv.EARLY_WARNING_FAILURE_RISK: 0.81,
    semconv.NARRATIVE: "The run repeats itself from step 12 on. It was cut off.",
    semconv.ENTROPY_MEAN: 1.333,
    semconv.ENTROPY_MAX: 2.5,
    semconv.MARGIN_MIN: 0.01,
    semconv.GEN_AI_REQUEST_TEMPERATURE: 0.7,
    semconv.GEN_AI_REQUEST_MAX_TOKENS: 40,
    semconv.CAPTURE_ABSENT: json.dumps({"attention_entropy": "not captured [yet]"}),
}


EVERYTHING = ["run", "age", "model", "risk", "flags", "tokens", "finish", "prompt", "label", "warnings"]


# --- runs --------------------------------------------------------------------------------------------------------


def test_the_list_names_every_run_so_that_show_finds_it(cli: Cli) -> None:
    long = "organisation/a-model-with-quite-a-long-name-that-takes-more-than-half-of-eighty-columns[/v2]"
    cli.store(make_spans(2, **LOOP, **{semconv.GEN_AI_REQUEST_MODEL: long}), make_call(2), make_spans())
    code, out, _ = cli("runs")
    header, *lines = out.splitlines()
    assert code == 0
    assert header.split() == EVERYTHING
    assert len(lines) == 5
    assert "\x1b" not in out, "a pipe gets no colours"
    assert not any(line.endswith(" ") for line in out.splitlines())
    assert out.count(long) == 2
    assert out.count("0.93 high") == 2
    for line in lines:
        assert cli("show", line.split()[0])[0] == 0, line
    assert sorted(line.split()[0].partition(":")[2] for line in lines) == ["", "", "", "0", "1"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_in_a_terminal_ids_risks_and_flags_are_whole_and_what_has_no_room_is_named(cli: Cli, width: int) -> None:
    warnings = {semconv.WARNINGS: ["high_entropy_share", "margin_collapsing", "repetition_risk"]}
    cli.store(make_spans(2, **LOOP, **warnings, **{semconv.GEN_AI_REQUEST_MODEL: "organisation/a-model-of-135M"}))
    with open_store(cli.db) as store:
        runs = store.runs()
    table, left_out = runs_table(runs, width)
    out = Console(file=io.StringIO(), width=width)
    out.print(table)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    header, first, *_ = text.splitlines()
    assert {*header.split(), *left_out} == set(EVERYTHING)
    assert not set(header.split()) & set(left_out)
    assert [column for column in EVERYTHING if column in header.split()] == header.split()
    assert len(first) <= width
    for whole in (
        runs[0].trace_id[:12],
        "0.93 high",
        "repetition loop",
        "a-mode" if width == 60 else "a-model-of-135M",
    ):
        assert whole in first
    if "warnings" not in left_out:
        assert all(name.replace("_", " ") in text for name in runs[0].warnings), "a warning is broken in two"
    assert ("organisation/" in text) == (width == 160)
    assert bool(left_out) == (width < 120)


def test_models_that_would_be_called_the_same_keep_their_organisation(cli: Cli) -> None:
    for name in ("one/model", "other/model"):
        cli.store(make_spans(**LOOP, **{semconv.GEN_AI_REQUEST_MODEL: name}))
    with open_store(cli.db) as store:
        table, _ = runs_table(store.runs(), 70)
    assert [str(cell) for cell in table.columns[2].cells] == ["other/model", "one/model"]


def test_calls_of_one_trace_get_names_that_show_finds(cli: Cli) -> None:
    spans = make_spans(2)
    assert spans[0].context is not None
    spans[1]._context = spans[0].context.__class__(
        spans[0].context.trace_id, 0xFEED << 40, is_remote=False, trace_flags=spans[0].context.trace_flags
    )
    cli.store(spans)
    names = [line.split()[0] for line in cli("runs")[1].splitlines()[1:]]
    assert len(set(names)) == 2
    assert [cli("show", name)[0] for name in names] == [0, 0]


def test_filters(cli: Cli) -> None:
    cli.store(make_spans(**LOOP), make_spans(2, **{semconv.HEALTH_REPETITION_LOOP: False}))

    def count(*options: str) -> int:
        return len(json.loads(cli("runs", "--json", *options)[1]))

    assert count() == 3
    assert count("--limit", "2") == 2
    assert count("--risk-above", "0.9") == 1
    assert (
        count("--flag", "repetition_loop_detected")
        == count("--flag", "repetition_loop")
        == count("--flag", "Repetition loop")
        == 1
    )
    assert count("--model", "org/model") == 3
    assert count("--model", "other") == 0
    assert "No run matches" in cli("runs", "--model", "other")[1]


def test_every_filter_finds_its_runs_and_they_add_up(cli: Cli) -> None:
    small = {semconv.GEN_AI_REQUEST_MODEL: "org/small", semconv.GEN_AI_USAGE_OUTPUT_TOKENS: 12}
    other = {semconv.FINGERPRINT_PROMPT_HASH: "cd" * 32, semconv.RISK_SCORE: 0.5, semconv.RISK_LEVEL: "medium"}
    cli.store(
        make_spans(**LOOP),
        make_spans(2, **small, **other, **{semconv.HEALTH_REPETITION_LOOP: False, semconv.HEALTH_NAN: True}),
        make_call(2, start_ns=1_000),  # in 1970
    )
    labelled = json.loads(cli("runs", "--json", "--model", "org/small")[1])[0]
    assert cli("label", labelled["trace_id"], "--outcome", "correct")[0] == 0

    def found(*options: str) -> list[str]:
        return [run["span_id"] for run in json.loads(cli("runs", "--json", *options)[1])]

    for options, count in (
        (("--model", "org/small"), 2),
        (("--since", "1h"), 3),
        (("--since", "2001-01-01"), 3),
        (("--risk-above", "0.4"), 3),
        (("--risk-above", "0.5"), 1),
        (("--level", "medium"), 2),
        (("--flag", "nan"), 2),
        (("--prompt-hash", "CDCD"), 2),
        (("--label", "correct"), 1),
        (("--label", "none"), 4),
        (("--tokens-above", "12"), 1),
        (("--longer-than", "5"), 2),  # whose clocks say half a century
        (("--longer-than", "1e300"), 0),
        (("--tokens-above", "9" * 30), 0),
        (("--since", "9999999999d"), 5),
        (("--since", "9999-12-31"), 0),
        (("--risk-above", "0.4", "--flag", "repetition_loop", "--since", "1d"), 1),
        (("--model", "org/small", "--label", "none", "--level", "medium", "--prompt-hash", "cd"), 1),
    ):
        assert len(found(*options)) == count, options
        listed = cli("runs", *options)[1].splitlines()
        assert len(listed) == count + 1 if count else listed == ["No run matches."]


def test_a_model_is_found_by_what_people_call_it(cli: Cli) -> None:
    there = ("org/model", "other/model", "org/small", "HuggingFaceTB/SmolLM2-135M-Instruct", "saved")
    for name in there:
        cli.store(make_spans(**{semconv.GEN_AI_REQUEST_MODEL: name}))
    Path("saved").mkdir()

    def found(name: str) -> list[str]:
        return [run["model"] for run in json.loads(cli("runs", "--json", "--model", name)[1])]

    assert all(found(name) == [name] for name in there)
    assert found("smollm2") == found("SmolLM2-135M-Instruct") == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert found("./saved/") == ["saved"]
    assert found("small") == ["org/small"]
    assert found("model") == [], "there are two"
    assert found("other/small") == []
    assert cli("export", "--model", "small", "--format", "csv")[1].count("org/small") == 1
    told = json.loads(cli("compare", "--models", "smollm2,small,org/small", "--json")[1])
    assert [each["model"] for each in told["models"]] == [there[3], there[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "yesterday"), "--since yesterday: give 90s, 30min"),
        (("--longer-than", "nan"), "a filter is not a number"),
        (("--level", "dire"), "levels are low, medium, high"),
        (("--limit", "0"), "--limit"),
        (("--risk-above", "much"), "--risk-above"),
        (("--json", "--csv"), "--json and --csv do not go together"),
    ],
)
def test_filters_that_make_no_sense(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    cli.store(make_spans())
    code, out, err = cli("runs", *arguments)
    assert code == 1, out
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_csv_has_every_column_and_no_formulas(cli: Cli) -> None:
    text = 'it said "a, b"\nand more'
    cli.store(
        make_spans(**{semconv.NARRATIVE: text}),
        make_spans(**{semconv.GEN_AI_REQUEST_MODEL: "=HYPERLINK(1)", semconv.WARNINGS: ["one", "two"]}),
    )
    code, out, err = cli("runs", "--csv")
    assert (code, err) == (0, "")
    formula, plain = csv.DictReader(io.StringIO(out))
    assert set(plain) == set(json.loads(cli("runs", "--json")[1])[0])
    assert (plain["narrative"], plain["risk_score"], plain["inf_detected"]) == (text, "0.25", "")
    assert (formula["model"], formula["warnings"], formula["nan_detected"]) == ("'=HYPERLINK(1)", "one;two", "false")
    assert formula["narrative"] == ""
    assert cli("runs", "--csv", "--model", "none")[1] == out.splitlines()[0] + "\n", "the header, for programs"


def test_json_is_the_rows(cli: Cli) -> None:
    cli.store(make_spans(**LOOP))
    (run,) = json.loads(cli("runs", "--json")[1])
    with open_store(cli.db) as store:
        assert run["trace_id"] == store.runs()[0].trace_id
    assert (run["risk_score"], run["nan_detected"], run["inf_detected"]) == (0.93, False, None)


# --- show --------------------------------------------------------------------------------------------------------


def test_the_whole_verdict_is_shown(cli: Cli) -> None:
    cli.store(make_spans(events=30, **LOOP))
    code, out, _ = cli("show", "last")
    assert code == 0
    for part in (
        "high risk 0.93",
        "The run repeats itself from step 12 on.",
        "repetition loop 0.9",
        "repetition loop: onset step 12, period 4, copies 7 (not judged: infinity,",
        "step 16: repetition risk (period 4)",
        "mean 1.33, max 2.50 bit",
        "min 0.010",
        "5 in the prompt, 40 generated, finish reason length",
        "greedy_search, temperature 0.7, token limit 40",
        "attention_entropy: not captured [yet]",
        "▄█▂",
        "2 of 30 recorded steps; --steps shows all",
    ):
        assert part in out, f"{part!r} is not in\n{out}"
    assert "nan" not in out.lower().replace("(not judged: nan", "")
    assert "failure" not in out, "one risk is enough for a panel"
    assert len(cli("show", "last", "--steps")[1].splitlines()) >= len(out.splitlines()) + 27


def test_json_holds_attributes_and_events(cli: Cli) -> None:
    cli.store(make_spans(events=3, **LOOP))
    shown = json.loads(cli("show", "last", "--json")[1])
    assert shown["attributes"][semconv.RISK_SCORE] == 0.93
    assert [event["attributes"][semconv.STEP_INDEX] for event in shown["events"]] == [0, 1, 2]
    assert shown["summary"]["risk_level"] == "high"


@pytest.mark.parametrize("messages", ['[{"parts":[{"content":"Hi [b] there"}]}]', "", "[]", '{"cut', "[3]"])
def test_stored_messages_are_shown_where_they_can_be_read(cli: Cli, messages: str) -> None:
    cli.store(make_spans(**{semconv.GEN_AI_INPUT_MESSAGES: messages}))
    code, out, _ = cli("show", "last")
    assert code == 0
    assert ("prompt: Hi [b] there" in out) == ("Hi" in messages)


# --- wrong use ---------------------------------------------------------------------------------------------------


def test_errors_are_one_line_and_exit_code_1(cli: Cli) -> None:
    cli.store(make_call(2))
    foreign = cli.db.with_name("foreign.db")
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    for arguments, message in (
        (("runs", "--db", "nowhere.db"), "nowhere.db: there is no such file"),
        (("runs", "--db", str(foreign)), "something else"),
        (("runs", "--flag", "happy"), "flags are nan_detected"),
        (("show", "ffffffff"), "holds no run ffffffff"),
        (("show", "abc"), "four characters"),
        (("show", "last"), "sequences are"),
    ):
        code, out, err = cli(*arguments)
        assert (code, out) == (1, ""), arguments
        assert message in err
        assert len(err.splitlines()) == 1, err


def test_the_default_database(cli: Cli, tmp_path: Path) -> None:
    everywhere = tmp_path / "data" / "corevital" / "corevital.db"
    assert database(None) == "runs/corevital.db", "the name that `corevital run` would write"
    everywhere.parent.mkdir(parents=True)
    everywhere.touch()
    assert database(None) == str(everywhere)
    cli.store(make_spans())
    assert database(None) == "runs/corevital.db"
    assert database("named.db") == "named.db"


# --- rendering ---------------------------------------------------------------------------------------------------


def rendered(attributes: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(verdict_panel(attributes))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_panel_of_nothing_invents_nothing() -> None:
    out = rendered({semconv.STEPS_TOTAL: 0})
    assert "risk not judged" in out
    assert "not judged: NaN, infinity, repetition loop" in out
    for invented in ("0.00", "bit", "None", "prompt hash"):
        assert invented not in out


def test_each_summary_may_be_missing() -> None:
    out = rendered({semconv.STEPS_TOTAL: 3, semconv.SURPRISAL_MEAN: 1.5, semconv.SERIES_ENTROPY: [0.0, 1.0]})
    assert "mean 1.50 bit" in out
    assert "▁█" in out


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 60, ""),
        ([0.0, 0.0], 60, "▁▁"),
        ([1.0, 4.0, 8.0], 60, "▂▅█"),
        ([0.0, 8.0, 1.0, 1.0], 2, "█▂"),
        ([math.nan, 8.0, math.inf, -1.0], 60, " █ ▁"),
    ],
)
def test_a_sparkline_keeps_what_stands_out(values: list[float], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars


def test_small_words() -> None:
    assert [age(seconds) for seconds in (-1, 59, 60, 7200, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]
    assert len({level_style(level) for level in ("low", "medium", "high", None)}) == 4

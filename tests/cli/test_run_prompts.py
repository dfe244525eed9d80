"""`corevital run --prompts`: each prompt is asked once, whatever ends the command, and what is said of it arrives."""

import io
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.catalogue import prompt_names, prompt_span_names
from opentelemetry_instrumentation_corevital.cli import bounded_search, graders, prompt_set_run
from opentelemetry_instrumentation_corevital.cli.graders import Grader
from opentelemetry_instrumentation_corevital.cli.prompt_set import SetPrompt
from opentelemetry_instrumentation_corevital.cli.prompt_set_identity import request_hashes
from opentelemetry_instrumentation_corevital.cli.prompt_set_results import PromptOutcome, _table
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import RunSummary, open_store
from tests.support.command_line import Cli
from tests.support.otlp_receivers import http_receiver
from tests.support.processes import wait_until
from tests.support.saved_models import word_tokenizer
from tests.support.spans import rows
from tests.support.subprocesses import script
from tests.support.tiny_models import tiny_model

SECRET = "w77 w78"
OF_ANALYSIS = {
    prompt_span_names.SURPRISAL_MEAN,
    prompt_span_names.SURPRISAL_MAX,
    prompt_span_names.LAYER_TRANSFORMATION,
    prompt_span_names.BASIN_SCORE,
}


@pytest.fixture
def ask(cli: Cli, tiny_folder: str) -> Callable[..., tuple[int, str, str]]:
    """Ask a set of three prompts, of which the second has an id and more."""
    second = {"id": "q2", "prompt": "w8 w9", "expected": [SECRET], "metadata": {"kind": SECRET}}
    Path("set.jsonl").write_text("\n".join(map(json.dumps, ({"prompt": "w5 w6"}, second, {"prompt": "w5 w6"}))))

    def command(*options: str, file: str = "set.jsonl") -> tuple[int, str, str]:
        return cli("run", "-m", tiny_folder, "--prompts", file, "--max-new-tokens", "3", *options)

    return command


def stored(cli: Cli, **conditions: Any) -> list[RunSummary]:
    """Return stored runs, the oldest first."""
    with open_store(cli.db) as store:
        return store.runs(limit=None, **conditions)[::-1]


Ask = Callable[..., tuple[int, str, str]]


# --- asking and going on -----------------------------------------------------------------------------------------


def test_every_prompt_is_asked_and_told_the_worst_first(cli: Cli, ask: Ask) -> None:
    code, out, err = ask("--experiment", "short")
    assert (code, err) == (0, "")
    runs = stored(cli, experiment="short")
    assert [run.prompt_id for run in runs] == ["1", "q2", "3"]
    assert [run.expected_found for run in runs] == [None, False, None]
    risks = {run.prompt_id: run.risk_score or 0.0 for run in runs}
    lines = [line.split() for line in out.splitlines()]
    shown = [line[0] for line in lines[1:4]]
    assert sorted(shown) == ["1", "3", "q2"]
    assert [risks[each] for each in shown] == sorted(risks.values(), reverse=True)
    assert "the expected text is in 0 of 1 answers" in out
    assert "stored in runs/corevital.db, experiment short" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("width", "gone"), [(46, {"run", "finish", "tokens"}), (56, {"run", "finish"}), (80, set()), (200, set())]
)
def test_a_narrow_table_has_what_matters_whole(width: int, gone: set[str]) -> None:
    run = RunSummary(**dict.fromkeys(RunSummary.__slots__))  # type: ignore[arg-type]
    run = replace(run, trace_id="ab" * 16, risk_score=0.9, risk_level="high", repetition_loop_detected=True)
    run = replace(run, output_tokens=400, finish_reason="length", others={"expected_found": False}, damage={})
    outcomes = [PromptOutcome(SetPrompt(1, "capital", "Where is it? " * 9), [run], before=False)]
    out = Console(width=width, file=io.StringIO())
    out.print(_table(outcomes, width))
    head, *lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert {"prompt", "risk", "flags", "tokens", "finish", "run", "expected"} - set(head.split()) == gone
    text = " ".join(" ".join(lines).split())
    for whole in ("capital", "0.90 high", "repetition loop", "missing"):
        assert whole in text
    assert max(map(len, lines)) <= width
    assert ("Where is it?" in text) is (width == 200)


def test_what_is_stored_is_not_asked_again(cli: Cli, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("--experiment", "short")
    with monkeypatch.context() as patch:
        patch.setattr(prompt_set_run, "load_model", lambda *_, **__: pytest.fail("nothing is left to be asked"))
        code, out, _ = ask("--experiment", "short")
        assert (code, "3 answered before" in out, len(stored(cli))) == (0, True, 3)
        told = json.loads(ask("--experiment", "short", "--json")[1])
    assert [each["answered_before"] for each in told["prompts"]] == [True] * 3
    assert {each["id"]: len(each["runs"]) for each in told["prompts"]} == {"1": 1, "q2": 1, "3": 1}
    assert (told["experiment"], told["database"]) == ("short", "runs/corevital.db")
    with open("set.jsonl", "a") as file:
        file.write('\n{"prompt": "w1"}')
    ask("--experiment", "short")
    assert [run.prompt_id for run in stored(cli)] == ["1", "q2", "3", "4"]


@pytest.mark.parametrize(
    "other",
    [
        *(["--experiment", "long"], ["--seed", "1"], ["--temperature", "0.5"], ["--stop-on", "nan"]),
        ["--store-content"],
        ["--again"],
    ],
)
def test_other_settings_are_another_request(cli: Cli, ask: Ask, other: list[str]) -> None:
    ask()
    assert ask(*other)[0] == 0
    assert len(stored(cli)) == 6
    if other != ["--again"]:
        assert len({run.others["request_hash"] for run in stored(cli)}) == 6


def test_what_is_expected_otherwise_is_asked_again(cli: Cli, ask: Ask) -> None:
    ask()
    Path("set.jsonl").write_text(Path("set.jsonl").read_text().replace(f'["{SECRET}"]', '["w1"]'))
    told = json.loads(ask("--json")[1])["prompts"]
    assert {each["id"]: each["answered_before"] for each in told} == {"1": True, "q2": False, "3": True}


def test_another_grader_is_another_request_and_decides_what_is_found(cli: Cli, ask: Ask) -> None:
    lines = [{"prompt": "w8 w9", "expected": "w[0-9]+", "grader": "regex"}, {"prompt": "w8 w9", "expected": "w[0-9]+"}]
    Path("set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert ask()[0] == 0
    assert [run.expected_found for run in stored(cli)] == [True, False]
    assert "2 answered before" in ask("--grader", "contains")[1]
    assert "1 answered before" in ask("--grader", "regex")[1]
    assert [run.expected_found for run in stored(cli)] == [True, False, True]
    with open_store(cli.db) as store:
        events = [event for run in store.runs() for event in store.load(run).events]
    told = [each.attributes[prompt_names.PROMPT_GRADER] for each in events if each.name == prompt_names.PROMPT_EVENT]
    assert sorted(told) == ["contains", "regex", "regex"]


def test_a_pattern_that_never_ends_leaves_the_answer_ungraded_and_says_so(
    cli: Cli, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graders, "any_matches", partial(bounded_search.any_matches, seconds=0.0))
    Path("set.jsonl").write_text(json.dumps({"prompt": "w8 w9", "expected": "w[0-9]+", "grader": "regex"}))
    code, _, err = ask()
    assert (code, "prompt 1: its regular expression takes too long" in err) == (0, True)
    assert [run.expected_found for run in stored(cli)] == [None]


def test_only_whole_answers_count(cli: Cli, ask: Ask) -> None:
    several = ("--sample", "--num-return-sequences", "2", "--seed", "1")
    code, out, _ = ask(*several)
    assert (code, len(stored(cli))) == (0, 6)
    assert " of " in out.splitlines()[0]
    lost = stored(cli)[0]
    with closing(sqlite3.connect(cli.db)) as connection:
        connection.execute("DELETE FROM runs WHERE span_id = ?", (lost.span_id,))
        connection.execute("UPDATE runs SET error_type = 'KeyboardInterrupt' WHERE prompt_id = 'q2'")
        connection.commit()
    told = json.loads(ask(*several, "--json")[1])["prompts"]
    assert {each["id"]: (each["answered_before"], len(each["runs"])) for each in told} == {
        "1": (False, 2),
        "q2": (False, 2),
        "3": (True, 2),
    }


class _Fails:
    """A forward hook that raises from a prompt on, or at one of them alone."""

    def __init__(self, error: type[BaseException], at: int, *, alone: bool = False) -> None:
        self.error, self.at, self.alone = error, at, alone
        self.prompts = 0

    def __call__(self, _module: Any, arguments: Any, keywords: Any) -> None:
        ids = keywords.get("input_ids", arguments[0] if arguments else None)
        self.prompts += ids.shape[1] > 1
        if self.prompts == self.at or (self.prompts > self.at and not self.alone):
            raise self.error("no more")


@contextmanager
def failing(name: str, hook: _Fails) -> Iterator[None]:
    """Load a model that fails so."""
    model = tiny_model(scale=2.0)
    model.register_forward_pre_hook(hook, with_kwargs=True)
    loaded = LoadedModel(model, word_tokenizer(), name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_set_run, "load_model", lambda *_, **__: loaded)
        yield


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(cli: Cli, ask: Ask, tiny_folder: str) -> None:
    with failing(tiny_folder, _Fails(KeyboardInterrupt, 2)):
        code, out, err = ask()
    assert (code, out) == (130, "")
    assert "1 of 3 prompts are answered and stored in runs/corevital.db; the same command goes on." in err
    assert [run.stop_reason for run in stored(cli)] == ["length", "cancelled"]
    assert ask()[0] == 0
    assert [run.prompt_id for run in stored(cli)] == ["1", "q2", "q2", "3"]


def test_a_prompt_that_fails_does_not_stop_the_others(cli: Cli, ask: Ask, tiny_folder: str) -> None:
    with failing(tiny_folder, _Fails(IndexError, 2, alone=True)):
        code, out, err = ask()
    assert code == 1
    assert out.splitlines()[1].split()[:3] == ["q2", "no", "answer"], "worse than any risk"
    assert "1 of 3 prompts have no answer (q2: IndexError: no more); the same command asks them again." in " ".join(
        err.split()
    )
    assert ask()[0] == 0
    assert [run.prompt_id for run in stored(cli) if run.error_type is None] == ["1", "3", "q2"]


def test_a_model_that_answers_nothing_is_told_at_once(cli: Cli, ask: Ask, tiny_folder: str) -> None:
    hook = _Fails(IndexError, 1)
    Path("many.txt").write_text("w5 w6\n" * 9)
    with failing(tiny_folder, hook):
        code, out, err = ask(file="many.txt")
    assert (code, out, hook.prompts) == (1, "", 3)
    assert "cannot answer: IndexError: no more" in " ".join(err.split())


@pytest.mark.acceptance
def test_a_killed_run_of_fifty_goes_on(cli: Cli, tiny_folder: str) -> None:
    Path("fifty.txt").write_text("".join(f"w{number} w{number + 1}\n" for number in range(50)))
    command = [script("corevital"), "run", "-m", tiny_folder, "--prompts", "fifty.txt", "--max-new-tokens", "3"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: cli.db.exists() and rows(cli.db, "SELECT count(*) > 5 FROM runs") == [(1,)], 120)
        os.kill(process.pid, signal.SIGKILL)
    before = len(stored(cli))
    assert 5 < before < 50
    assert subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert [run.prompt_id for run in stored(cli)] == [str(number) for number in range(1, 51)]


# --- what goes along ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [False, True])
def test_what_is_expected_is_content(cli: Cli, ask: Ask, content: bool) -> None:
    assert ask(*(["--store-content"] if content else []))[0] == 0
    (run,) = [run for run in stored(cli) if run.prompt_id == "q2"]
    with open_store(cli.db) as store:
        (event,) = [each for each in store.load(run).events if each.name == prompt_names.PROMPT_EVENT]
    assert event.time_ns == run.start_ns
    assert event.attributes.get(prompt_names.PROMPT_EXPECTED) == ([SECRET] if content else None)
    assert event.attributes.get(prompt_names.PROMPT_METADATA) == (
        json.dumps({"kind": SECRET}, separators=(",", ":")) if content else None
    )
    assert (SECRET.encode() in cli.db.read_bytes()) is content
    assert (b"w5 w6" in cli.db.read_bytes()) is content
    code, out, _ = cli("show", run.trace_id)
    assert (code, "prompt q2, expected text missing" in out) == (0, True)


def test_it_is_sent_by_otlp_without_content_and_costs_the_span_no_attribute(
    ask: Ask, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with http_receiver() as received:
        code, out, _ = ask("--store-content", "--experiment", "short", "--otel-endpoint", received.endpoint)
    assert (code, f"sent to {received.endpoint}" in out) == (0, True)
    for span in received.spans():
        of_set = {each.key for each in span.attributes if each.key.startswith("corevital.prompt.")} - OF_ANALYSIS
        assert not of_set | {each.key for each in span.attributes if "experiment" in each.key}
        (event,) = [each for each in span.events if each.name == prompt_names.PROMPT_EVENT]
        assert SECRET not in str(span)
        assert prompt_names.PROMPT_ID in {each.key for each in event.attributes}
    resources = [
        {each.key: each.value.string_value for each in group.resource.attributes}
        for name, message in received.messages
        if name == "trace"
        for group in message.resource_spans
    ]
    assert {each[prompt_names.EXPERIMENT] for each in resources} == {"short"}
    assert b"w77 w78" in cli.db.read_bytes(), "the store has it"


def test_the_environment_can_name_the_experiment(cli: Cli, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{prompt_names.EXPERIMENT}=nightly")
    assert "experiment nightly" in ask()[1]
    assert "3 answered before" in ask("--experiment", "nightly")[1]
    assert len(stored(cli, experiment="nightly")) == 3


def test_one_prompt_may_belong_to_an_experiment(cli: Cli, tiny_folder: str) -> None:
    assert cli("run", "-m", tiny_folder, "-p", "w5", "--max-new-tokens", "2", "--experiment", "one")[0] == 0
    (run,) = stored(cli, experiment="one")
    assert run.prompt_id is None
    assert "experiment one" in cli("show", "last")[1]


def test_recorded_steps_are_counted_without_the_prompts_event(
    ask: Ask, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "3")
    ask()
    with open_store(cli.db) as store:
        found = [store.load(run) for run in store.runs()]
    for run in found:
        assert run.attributes[semconv.STEPS_RECORDED] == len(run.steps)


# --- messages ----------------------------------------------------------------------------------------------------

REFUSED = "{% if m.role == 'bad' %}{{ raise_exception('no such role') }}{% endif %}"
TEMPLATE = f"{{% for m in messages %}}{REFUSED}w1 {{{{ m.content }}}} {{% endfor %}}w2"


def chat_folder(folder: Path) -> str:
    tiny_model(scale=2.0).save_pretrained(folder)
    tokenizer = word_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_messages_go_through_the_chat_template(cli: Cli, tiny_folder: str, tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "w30 w31"}, {"role": "user", "content": "w5 w6"}]
    lines = [{"messages": chat}, {"prompt": "w5 w6"}, {"messages": [{"role": "bad", "content": "w3"}]}]
    Path("chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ("--prompts", "chat.jsonl", "--max-new-tokens", "2")
    code, _, err = cli("run", "-m", chat_folder(tmp_path / "chat"), *arguments)
    assert code == 1
    assert "3: jinja2.exceptions.TemplateError: no such role" in " ".join(err.split())
    assert [(run.prompt_id, run.input_tokens) for run in stored(cli)] == [("1", 7), ("2", 4)]
    for refused, told in ((["--raw"], "--raw"), ([], "line 1: messages need a chat template")):
        code, out, err = cli("run", "-m", tiny_folder, *arguments, *refused)
        assert (code, out) == (1, "")
        assert told in " ".join(err.split())
    assert len(stored(cli)) == 2, "nothing is run by halves"


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        ["-p", "x"],
        ["--prompt-file", "x"],
        ["--rag-context", "x.json"],
        ["--live"],
        ["--sink", "local"],
        ["--write-json"],
        ["--no-store"],
    ],
    ids=" ".join,
)
def test_options_of_one_prompt_are_refused(ask: Ask, other: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ask(*other)
    assert (code, out) == (1, "")
    assert "does not go with it" in " ".join(err.split())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\u202eb", "x" * 129])
def test_an_experiment_has_a_name_that_can_be_shown(ask: Ask, name: str) -> None:
    code, out, err = ask("--experiment", name)
    assert (code, out, "--experiment: " in err) == (1, "", True)


def test_a_wrong_file_is_told_before_the_model_is_loaded(ask: Ask, cli: Cli) -> None:
    Path("wrong.jsonl").write_text('{"prompt": "a"}\n{"promt": "b"}\n')
    code, out, err = cli("run", "-m", "./none", "--prompts", "wrong.jsonl")
    assert (code, out) == (1, "")
    assert "--prompts wrong.jsonl, line 2: promt: is no field" in err
    assert not cli.db.exists()
    assert "--grader goes with --prompts" in cli("run", "-m", "./none", "-p", "x", "--grader", "exact")[2]
    Path("plain.txt").write_text("a")
    _, _, err = cli("run", "-m", "./none", "--prompts", "plain.txt", "--grader", "exact")
    assert "--grader exact: no prompt of plain.txt says what is expected" in err
    assert "--again goes with --prompts" in cli("run", "-m", "./none", "-p", "x", "--again")[2]


def test_fail_above_looks_at_every_prompt(ask: Ask, cli: Cli) -> None:
    ask()
    highest = max(run.risk_score or 0.0 for run in stored(cli))
    assert ask("--fail-above", str(highest))[0] == 0
    assert ask("--fail-above", str(max(0.0, highest - 0.001)))[0] == (3 if highest > 0 else 0)


# --- when two requests are the same ------------------------------------------------------------------------------


def test_prompts_are_told_apart_by_text_id_and_order() -> None:
    prompts = [
        SetPrompt(1, None, "a"),
        SetPrompt(2, None, "a"),
        SetPrompt(3, "x", "a"),
        SetPrompt(4, None, None, [{"role": "user", "content": "a"}]),
        SetPrompt(5, None, "a", expected=("b",)),
        SetPrompt(6, None, "a", expected=("b",), grader=Grader.EXACT),
    ]
    hashes = request_hashes(prompts, {"model": "m"}, load_settings({}))
    assert len(set(hashes)) == 6
    moved = [SetPrompt(9, None, "b"), SetPrompt(10, None, "a")]
    assert request_hashes(moved, {"model": "m"}, load_settings({}))[1] == hashes[0], "lines may come before it"
    keyed = request_hashes(prompts, {"model": "m"}, load_settings({"hash_key": "secret"}))
    assert not set(keyed) & set(hashes)
    off = load_settings({"prompt_hash": "off"})
    assert request_hashes([SetPrompt(1, "x", "a")], {}, off) == request_hashes([SetPrompt(1, "x", "b")], {}, off)

"""`corevital run --live`: the text as it is generated, in a terminal and into a pipe, and `--stop-on`."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital.cli import live_run
from opentelemetry_instrumentation_corevital.cli import run_command as run_module
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.terminals import drawn, standard_output_in_a_terminal, terminal, wide

RUN = ("run", "-p", "w5 w6", "--max-new-tokens", "40", "--live")


def text_of(printed: str) -> str:
    """Return the text that stands before the panel, without the lines between its own."""
    words = " ".join(re.split("╭|─ sequence 0 ", printed)[0].replace("─", "").split())
    return re.sub(r" ?(sequence \d, )?step \d+: [\w -]+ \(risk so far \d\.\d\d\)", "", words)


def tokens_of(run: dict[str, Any]) -> str:
    return "".join(token["text"] for token in run["tokens"])


@pytest.mark.parametrize("columns", [40, 80])
def test_in_a_terminal_one_line_below_the_text_is_drawn_again(
    cli: Cli, tiny_folder: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standard_output_in_a_terminal(columns, monkeypatch) as terminal_got:
        assert run_command([*RUN, "-m", tiny_folder]) == 0
    written = terminal_got.decode()
    screen = drawn(written, columns)
    assert "step 40/40" in written
    assert not [line for line in screen if "/40  risk" in line], "the line goes when the run is over"
    assert wide(screen) <= columns
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is back"
    code, out, _ = cli("run", "-p", "w5 w6", "--max-new-tokens", "40", "-m", tiny_folder, "--json")
    assert code == 0
    assert text_of("\n".join(screen)) == tokens_of(json.loads(out)["runs"][0])
    assert screen[0].startswith("w")
    panel = next(index for index, line in enumerate(screen) if line.startswith("╭"))
    assert "step 13: repetition risk (risk so far 0.25)" in " ".join(screen[:panel])
    assert " ".join(" ".join(screen[panel:]).split()).count(screen[0]) == 0, "the text is shown once"


@pytest.mark.real_model
@pytest.mark.xdist_group("real_model")
def test_into_a_pipe_the_text_comes_as_plain_lines_and_reports_are_written(
    cli: Cli, smollm2: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "load_model", lambda *_, **__: smollm2)
    words = ("run", "-m", "smollm2", "-p", "Say: Größe 日本 😀", "--max-new-tokens", "24")
    code, out, _ = cli(*words, "--live", "--write-json", "--store-content")
    assert code == 0
    assert "\x1b" not in out
    (report,) = Path("runs").glob("trace_*.json")
    with open_store(cli.db) as store:
        run = store.run("last")
    answer = json.loads(run.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"]
    assert text_of(out).removesuffix("<|im_end|>").strip() == " ".join(answer.split())
    assert json.loads(report.read_text(encoding="utf-8"))["schema_version"]
    assert out.count(answer.split("\n")[0].strip()) == 1, "the panel does not show it again"
    assert "stored in runs/corevital.db" in out


def test_several_sequences_show_the_first_ones_text_and_all_in_the_end(cli: Cli, tiny_folder: str) -> None:
    sampled = ("--num-return-sequences", "3", "--sample", "--seed", "5")
    code, out, _ = cli(*RUN, "-m", tiny_folder, *sampled, "--no-store")
    assert code == 0
    plain = json.loads(cli(*RUN[:-1], "-m", tiny_folder, *sampled, "--json")[1])["runs"]
    assert text_of(out) == tokens_of(plain[0])
    for run in plain:
        assert tokens_of(run) in " ".join(out.split())


def test_the_steps_of_a_beam_search_come_when_it_is_over(cli: Cli, tiny_folder: str) -> None:
    code, out, _ = cli(*RUN, "-m", tiny_folder, "--num-beams", "2", "--no-store")
    assert code == 0
    assert out.startswith("beam search: its steps come when it is over")
    assert out.count("╭") == 1


def test_nobody_waits_for_a_slow_terminal(cli: Cli, tiny_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, shown = threading.Event(), []
    take = live_run.LiveRun._taken

    def slowly(view: Any, event: Any) -> Any:
        shown.append(event)
        if len(shown) == 1:
            assert generated.wait(60), "the model waits for the screen"
        return take(view, event)

    monkeypatch.setattr(live_run.LiveRun, "_taken", slowly)
    text = live_run.LiveRun._text

    def counted(view: Any, sequence: int, token: int) -> str:
        counted.tokens += 1
        if counted.tokens == 40:
            generated.set()
        return text(view, sequence, token)

    counted.tokens = 0
    monkeypatch.setattr(live_run.LiveRun, "_text", counted)
    code, out, _ = cli(*RUN, "-m", tiny_folder, "--no-store")
    assert code == 0
    assert len(shown) == 41
    assert out.startswith("w")


def test_ctrl_c_gives_the_terminal_back(cli: Cli, tiny_folder: str) -> None:
    with terminal(*RUN[:3], "--live", "-m", tiny_folder, "--max-new-tokens", "4000", "--no-store") as shown:
        shown.until(lambda: "step 9" in shown.written)
        shown.interrupt()
        started = time.monotonic()
        assert shown.ended() != 0
        assert time.monotonic() - started < 30
    assert shown.written.rindex("\x1b[?25h") > shown.written.rindex("\x1b[?25l"), "the cursor is back"
    assert "Traceback" not in shown.written


def test_stop_on_ends_the_run_and_wrong_conditions_are_one_sentence(cli: Cli, tiny_folder: str) -> None:
    run = ("run", "-p", "w5 w6", "-m", tiny_folder, "--max-new-tokens", "200", "--no-store", "--json")
    code, out, _ = cli(*run, "--stop-on", "nan,repetition_risk")
    assert code == 0
    stopped = json.loads(out)["runs"][0]
    untouched = json.loads(cli(*run)[1])["runs"][0]
    assert 10 < len(stopped["tokens"]) < 200
    assert stopped["tokens"] == untouched["tokens"][: len(stopped["tokens"])], "until then it is the same run"
    for words in ("foo", "risk>2", "repetition_loop,,bar"):
        code, out, err = cli(*run, "--stop-on", words)
        assert (code, out) == (1, "")
        assert "option 'stop_on'" in " ".join(err.split())
    code, _, err = cli(*run, "--live")
    assert (code, err) == (1, "Error: --json prints one object and nothing else, so --live does not go with it.\n")

"""The help of every command: complete, in sentences, the same words for the same things."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from opentelemetry_instrumentation_corevital.cli import app as cli_app
from opentelemetry_instrumentation_corevital.cli.app import app
from tests.support.command_line import Cli


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and group, by the words that call it."""
    group = group or typer.main.get_command(app)
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


ALL = dict(commands())
LEAVES = {words: command for words, command in ALL.items() if not hasattr(command, "commands")}


def test_all_commands_are_there() -> None:
    names = {" ".join(words) for words in LEAVES}
    assert names >= {"run", "runs", "show", "compare", "label", "export", "import", "migrate", "doctor"}
    assert names >= {f"db {name}" for name in ("check", "stats", "prune", "vacuum", "upgrade", "delete")}


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_is_printed_and_fits(words: tuple[str, ...], cli: Cli) -> None:
    for option in ("--help", "-h"):
        code, out, err = cli(*words, option)
        assert (code, err) == (0, "")
        assert f"Usage: {' '.join(('corevital', *words))} [OPTIONS]" in " ".join(out.split())
        assert max(map(len, out.splitlines())) <= 80
        assert "\u2026" not in out, "a name is cut"
        assert "<bool>" not in out
    shown = "".join(out.replace("│", " ").split())
    command = ALL[words]
    for name in getattr(command, "commands", {}):
        assert name in shown
    for parameter in command.params:
        longest = max(getattr(parameter, "opts", [""]), key=len)
        assert longest in shown or parameter.param_type_name == "argument", longest


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_says_what_everything_is(words: tuple[str, ...]) -> None:
    command = LEAVES[words]
    first = command.help.split("\n\n")[0]
    assert first.endswith("."), first
    assert f"Example: corevital {' '.join(words)} " in command.help.replace("\n", " ") + " "
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        assert text, (words, parameter.name)
        assert text == text.strip()
        assert text.endswith("."), (words, parameter.name, text)
        assert text[0].isupper() or text[0] in "-" or text.split()[0].rstrip(",:;").islower(), text


def test_the_same_option_has_the_same_help_everywhere() -> None:
    shared: dict[str, set[str]] = {}
    for words, command in LEAVES.items():
        if words in (("run",), ("compare",)):
            continue  # whose --db and --limit are about other things
        for parameter in command.params:
            if parameter.opts[0] in ("--db", "--since", "--flag", "--risk-above", "--prompt-hash", "--label", "--json"):
                shared.setdefault(parameter.opts[0], set()).add(parameter.help)
    assert {name: len(texts) for name, texts in shared.items()} == dict.fromkeys(shared, 1)
    assert len(shared) == 7


def test_no_command_is_wrong_use_and_says_what_there_is(cli: Cli) -> None:
    for words in ((), ("db",)):
        code, out, err = cli(*words)
        assert code == 1
        assert "Usage" in out + err
    code, _, err = cli("rnus")
    assert code == 1
    assert "No such command 'rnus'" in err


def test_warnings_of_libraries_are_printed_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    record = logging.makeLogRecord({"msg": "cannot reach ada:pa55word@host:4317", "levelno": logging.WARNING})
    assert logging.lastResort is not None
    monkeypatch.setattr(cli_app, "app", lambda *_, **__: shown.append(logging.lastResort.format(record)))
    assert cli_app.run_command([]) == 0
    assert shown == ["cannot reach ***@host:4317"]
    assert "pa55word" in logging.lastResort.format(record), "the program's own again"


def test_help_promises_nothing_that_is_not_there() -> None:
    reads_labels = {words for words, command in LEAVES.items() if any(p.opts[0] == "--labels" for p in command.params)}
    assert reads_labels == {("calibrate",)}
    for words, command in LEAVES.items():
        assert words[0] == "baseline" or "learn" not in command.help, words

"""Shell completion, as the shell asks for it: commands, options, and what is in the store."""

import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.spans import make_spans

Words = tuple[str, ...]


@pytest.fixture
def complete(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return what completes a command line; the last word is the one that is being typed."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_COREVITAL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("corevital", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        code, out, err = cli()
        assert (code, err) == (0, "")
        return out.split()

    cli.ask = ask  # type: ignore[attr-defined]
    return cli


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("mi",), ["migrate"]),
        (("db", "p"), ["prune"]),
        (("runs", "--flag", "rep"), ["repetition_loop_detected"]),
        (("runs", "--level", "m"), ["medium"]),
        (("export", "--format", "p"), ["parquet"]),
        (("label", "last", "--outcome", "c"), ["correct"]),
        (("runs", "--risk-"), ["--risk-above", "--risk-below"]),
        (("runs", "--model", "org/o"), ["org/other"]),
        (("runs", "--label", "n"), ["none"]),
        (("runs", "--prompt-hash", "a"), ["abababababab"]),
        (("show", "last", "--signal", "hidden_l"), ["hidden_l2_norm"]),
        (("show", "la"), ["last"]),
    ],
)
def test_a_word_is_completed(complete: Cli, words: Words, found: list[str]) -> None:
    complete.store(make_spans(), make_spans(**{semconv.GEN_AI_REQUEST_MODEL: "org/other"}))
    assert complete.ask(*words) == found  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [("show",), ("export",), ("compare",), ("db", "delete"), ("label",)])
def test_ids_come_from_the_store_that_is_named(complete: Cli, command: Words) -> None:
    complete.store(make_spans(2))
    with open_store(complete.db) as store:
        names = [run.trace_id[:12] for run in store.runs()]
    assert complete.ask(*command, names[1][:5]) == [names[1]]  # type: ignore[attr-defined]
    complete.db.rename(complete.db.with_name("other.db"))
    assert complete.ask(*command, "--db", "runs/other.db", names[0][:5]) == [names[0]]  # type: ignore[attr-defined]


def test_a_store_that_cannot_be_read_completes_nothing_and_says_nothing(complete: Cli) -> None:
    assert complete.ask("show", "l") == []  # type: ignore[attr-defined]
    complete.db.parent.mkdir()
    complete.db.write_text("no database")
    assert complete.ask("show", "l") == []  # type: ignore[attr-defined]

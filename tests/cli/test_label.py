"""`corevital label`: what a person says of a run, and how it is found again."""

import json

import pytest

from tests.support.command_line import Cli
from tests.support.spans import make_call, make_spans


def labels(cli: Cli, *options: str) -> list[str | None]:
    return [run["label"] for run in json.loads(cli("runs", "--json", *options)[1])]


def test_a_label_is_given_found_changed_and_taken_away(cli: Cli) -> None:
    spans = make_spans(3)
    cli.store(spans)
    trace = json.loads(cli("runs", "--json")[1])[1]["trace_id"]
    code, out, err = cli("label", trace[:8], "--outcome", "incorrect", "--note", "names the [wrong] year")
    assert (code, out, err) == (0, f"run {trace}:0 is incorrect\n", "")
    assert labels(cli) == [None, "incorrect", None]
    assert labels(cli, "--label", "incorrect") == labels(cli, "--label", "any") == ["incorrect"]
    assert labels(cli, "--label", "none") == [None, None]
    assert "label: incorrect, names the [wrong] year" in cli("show", trace)[1]
    told = json.loads(cli("show", trace, "--json")[1])["label"]
    assert (told["outcome"], told["note"]) == ("incorrect", "names the [wrong] year")
    cli.store(spans)  # delivered again
    assert labels(cli, "--label", "any") == ["incorrect"]
    assert cli("label", trace, "--outcome", "my-own_word")[0] == 0
    assert labels(cli, "--label", "any") == ["my-own_word"]
    assert "label:" in cli("show", trace)[1]
    assert cli("label", trace, "--remove") == (0, f"run {trace}:0 has no label any more\n", "")
    assert labels(cli, "--label", "any") == []
    assert "label:" not in cli("show", trace)[1]


def test_each_sequence_has_its_own(cli: Cli) -> None:
    cli.store(make_call(2))
    code, _, err = cli("label", "last", "--outcome", "correct")
    assert code == 1
    assert "its call's sequences are" in err
    trace = json.loads(cli("runs", "--json")[1])[0]["trace_id"]
    assert cli("label", f"{trace}:1", "--outcome", "correct")[0] == 0
    assert labels(cli) == [None, "correct"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("last",), "Give the outcome with --outcome, or take it away with --remove"),
        (("last", "--outcome", "correct", "--remove"), "or take it away with --remove"),
        (("last", "--remove", "--note", "x"), "--note goes with --outcome"),
        (("last", "--outcome", "not a word"), "give one word of at most 64 letters"),
        (("last", "--outcome", ""), "give one word"),
        (("last", "--outcome", "none"), "any and none mean any label and none"),
        (("last", "--outcome", "x" * 65), "give one word"),
        (("ffffff", "--outcome", "correct"), "holds no run ffffff"),
        (("last", "--outcome", "correct", "--db", "none.db"), "none.db: there is no such file"),
    ],
)
def test_wrong_use_changes_nothing(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    cli.store(make_spans())
    code, out, err = cli("label", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert labels(cli) == [None]

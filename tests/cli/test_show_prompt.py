"""`corevital show --prompt`: what a stored run tells of its prompt."""

import json

import pytest

from tests.support.command_line import Cli


@pytest.fixture
def asked(cli: Cli, tiny_folder: str) -> Cli:
    arguments = ("-m", tiny_folder, "-p", "w5 w6 w7 w8 w9 w10", "--max-new-tokens", "3", "--raw")
    assert cli("run", *arguments, "--prompt-analysis", "full", "--store-content")[0] == 0
    return cli


def test_tokens_have_their_text_where_content_is_stored(asked: Cli, tiny_folder: str) -> None:
    code, out, _ = asked("show", "last", "--prompt", "--tokenizer", tiny_folder)
    assert code == 0
    for title in ("most surprising tokens", "What the layers do", "What the last token attends to"):
        assert title in out
    assert any(line.split()[-1] == "w9" for line in out.splitlines() if line.strip())


def test_the_numbers_are_those_of_the_json(asked: Cli) -> None:
    told = json.loads(asked("show", "last", "--json")[1])["prompt_analysis"]
    out = asked("show", "last", "--prompt")[1]
    assert f"mean {told['surprisal_mean']:.2f}, max {told['surprisal_max']:.2f} bit" in out
    assert len(told["surprisal"]) == 5
    assert "below 0.5 in" in asked("show", "last")[1]


def test_without_content_there_are_positions_and_no_text(cli: Cli, tiny_folder: str) -> None:
    arguments = ("-m", tiny_folder, "-p", "w5 w6 w7 w8 w9 w10", "--max-new-tokens", "3", "--raw")
    assert cli("run", *arguments, "--prompt-analysis", "full")[0] == 0
    out = cli("show", "last", "--prompt")[1]
    assert "most surprising tokens" in out
    assert "w9" not in out
    assert "it is stored with content on alone" in out
    assert "surprisal" not in json.loads(cli("show", "last", "--json")[1])["prompt_analysis"]


def test_another_tokenizers_tokens_are_not_shown(asked: Cli, tmp_path: object) -> None:
    code, _, err = asked("show", "last", "--prompt", "--tokenizer", f"{tmp_path}/none")
    assert code != 0
    assert "none" in err


def test_a_run_without_an_analysis_says_so(cli: Cli, tiny_folder: str) -> None:
    cli("run", "-m", tiny_folder, "-p", "w5 w6", "--max-new-tokens", "3", "--prompt-analysis", "off")
    assert "was not analysed" in cli("show", "last", "--prompt")[1]

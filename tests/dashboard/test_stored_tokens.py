"""The text of stored ids, by a tokenizer's file of this machine, whatever a store calls its models."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.dashboard.stored_tokens import stored_pieces, tokenizer_file
from tests.support.made_runs import make_run
from tests.support.stored_runs import stored_with

REVISION = "ab" * 20


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache of the hub with the tokenizer of one model."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "hub" / "models--org--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(REVISION)
    (model / "snapshots" / REVISION).mkdir(parents=True)
    words = {f"w{number}": number for number in range(8)} | {"[UNK]": 8}
    Tokenizer(WordLevel(words, unk_token="[UNK]")).save(str(model / "snapshots" / REVISION / "tokenizer.json"))
    return tmp_path / "hub"


@pytest.mark.usefixtures("hub")
def test_ids_become_text_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    run = stored_with(tmp_path, make_run(3, tokens=[1, 5, 2]), **{semconv.STEPS_TOTAL: 3})
    texts = stored_pieces(run)
    assert texts is not None
    assert [text.strip() for text in texts] == ["w1", "w5", "w2"]


@pytest.mark.usefixtures("hub")
def test_ids_stand_for_text_where_no_tokenizer_is_here(tmp_path: Path) -> None:
    other = {semconv.STEPS_TOTAL: 3, semconv.GEN_AI_REQUEST_MODEL: "org/other"}
    assert stored_pieces(stored_with(tmp_path, make_run(3, tokens=[1, 5, 2]), **other)) == ["[1]", "[5]", "[2]"]
    assert stored_pieces(stored_with(tmp_path, **{semconv.STEPS_TOTAL: 3})) is None


def test_a_file_that_is_no_tokenizer_is_none(hub: Path, tmp_path: Path) -> None:
    file = hub / "models--org--model" / "snapshots" / REVISION / "tokenizer.json"
    file.write_text("{}")
    run = stored_with(tmp_path, make_run(2, tokens=[1, 5]), **{semconv.STEPS_TOTAL: 2})
    assert stored_pieces(run) == ["[1]", "[5]"]


@pytest.mark.parametrize(
    "name", ["", "..", "../hub/models--org--model", "/etc", "a/b/c", "org/..", "~/x", "org\\model", "a\n"]
)
def test_a_name_is_never_a_path(hub: Path, name: str) -> None:
    assert tokenizer_file(name) is None
    assert (
        tokenizer_file("org/model", "../../refs") == hub / "models--org--model/snapshots" / REVISION / "tokenizer.json"
    )

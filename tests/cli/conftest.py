"""Command lines run in a folder of their own, over stores made by the exporter."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from tests.support.tiny_models import tiny_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Cli:
    """Runs commands in a folder of their own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.db = folder / "runs" / "corevital.db"
        self._capsys = capsys

    def store(self, *batches: Sequence[ReadableSpan]) -> None:
        exporter = SQLiteSpanExporter(str(self.db))
        for spans in batches:
            exporter.export(spans)
        exporter.shutdown()
        assert exporter.last_error is None

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = run_command(list(arguments))
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    return Cli(tmp_path, capsys)


def word_tokenizer() -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{index}": index for index in range(128)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="w127"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w127", pad_token="w0")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved tiny model with a tokenizer."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


def save_tiny(folder: Path, *, seed: int = 0) -> str:
    tiny_model(scale=2.0, seed=seed).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)

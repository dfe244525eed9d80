"""The file of `corevital show --html`: whole or not at all, with the text of the tokens where that can be read."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.cli.html_file import token_texts
from opentelemetry_instrumentation_corevital.loading import models
from tests.support.stored_runs import stored_with_layers as stored


def test_ids_stand_for_tokens_that_nobody_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_hub_has", lambda *_: pytest.fail("the hub was asked"))
    run = stored(tmp_path, **{semconv.GEN_AI_REQUEST_MODEL: "nobody/has-this"})
    texts = token_texts(run, None)
    assert texts == [f"[{token}]" for token in run.columns["tokens"].tolist()]


def test_tokens_come_out_as_they_stand_in_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token alone may lose its space, or be a part of a character."""

    class Bytes:
        def decode(self, tokens: list[int]) -> str:
            return bytes(tokens).decode(errors="replace").removeprefix(" ")

    run = stored(tmp_path)
    text = "a na\u00efve \u6d77 bird sings here, once more".encode()[:40].ljust(40)
    columns = {**run.columns, "tokens": np.frombuffer(text, np.uint8).astype(np.int32)}
    monkeypatch.setattr(models, "load_tokenizer", lambda *_, **__: Bytes())
    texts = token_texts(dataclasses.replace(run, data=to_npz(columns)), None)
    assert texts is not None
    assert len(texts) == 40
    assert "".join(texts) == text.decode()
    assert texts[4:6] == ["", "\u00ef"]


def test_the_file_is_written_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    db = str(tmp_path / "store.db")
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "run.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "nowhere" / "run.html")]) == 1
    error = capsys.readouterr().err
    assert "--html" in error
    assert "cannot be written" in error
    assert run_command(["show", "last", "--db", db, "--html", str(tmp_path / "b.html"), "--tokenizer", "x"]) == 1
    assert "no token ids are stored" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["run.html"]

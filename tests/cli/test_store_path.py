"""What commands say of a path that names no store."""

import os
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.store_paths import NO_FILES


@pytest.mark.parametrize("path", sorted(NO_FILES.keys() - {"a\0b.db"}), ids=repr)
def test_commands_name_the_option_or_the_variable(path: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("telemetry.json").write_text("")
    Path("old").mkdir()
    there = sorted(os.listdir())
    for words in (
        ("import", "telemetry.json"),
        ("runs",),
        ("show", "last"),
        ("label", "last", "--outcome", "correct"),
        ("export",),
        ("compare",),
        ("db", "stats"),
        ("db", "prune", "--days", "1"),
        ("db", "upgrade"),
        ("run", "-m", "none", "-p", "x"),
        ("compare", "-p", "x", "--models", "a,b"),
    ):
        code, out, err = cli(*words, "--db", path)
        assert (code, out) == (1, ""), words
        assert NO_FILES[path] in err, (words, err)
    code, out, err = cli("migrate", "--from-dir", "old", "--to-db", path, "--dry-run")
    assert (code, out) == (1, "")
    assert "--to-db" in err
    if path:  # a variable that is empty is one that is not set
        monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", path)
        assert "OTEL_COREVITAL_SQLITE_PATH" in cli("runs")[2]
    assert sorted(os.listdir()) == there, "nothing was made"

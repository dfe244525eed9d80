"""`corevital db backup` and `corevital db restore`: what they say, and what they ask."""

import io
import json
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.spans import make_spans


class Answer(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


def count(cli: Cli) -> int:
    return len(json.loads(cli("runs", "--json")[1]))


def test_a_backup_and_the_way_back(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.store(make_spans(3))
    code, out, err = cli("db", "backup", "backups/monday.db")
    assert (code, err) == (0, "")
    assert out.startswith("backups/monday.db: 3 runs, ")
    code, out, err = cli("db", "backup", "backups/monday.db")
    assert (code, out) == (1, "")
    assert "is there already; nothing was written. --overwrite replaces it." in " ".join(err.split())
    cli.store(make_spans(2))
    told = json.loads(cli("db", "backup", "backups/monday.db", "--overwrite", "--json")[1])
    assert (told["path"], told["runs"]) == ("backups/monday.db", 5)
    cli.store(make_spans(1))

    code, _, err = cli("db", "restore", "backups/monday.db")
    assert code == 1
    assert "There is no terminal to ask on; add --yes" in err
    monkeypatch.setattr("sys.stdin", Answer("n\n"))
    code, out, err = cli("db", "restore", "backups/monday.db")
    assert code == 1
    assert "Replace what is in runs/corevital.db (6 runs) by backups/monday.db for good? [y/N]" in out + err
    assert count(cli) == 6
    code, out, _ = cli("db", "restore", "backups/monday.db", "--yes")
    assert (code, out.startswith("runs/corevital.db: 5 runs, ")) == (0, True)
    assert count(cli) == 5
    assert cli("db", "restore", "backups/monday.db", "--db", "new.db")[0] == 0, "there is nothing to ask about"
    assert json.loads(cli("runs", "--db", "new.db", "--json")[1]) == json.loads(cli("runs", "--json")[1])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("backup", ":memory:"), "TO :memory:: a store in memory"),
        (("backup", "backups/"), "TO backups/: is a folder"),
        (("backup", "x.db", "--db", "none.db"), "none.db: there is no such file"),
        (("restore", "none.db"), "none.db: there is no such file"),
        (("restore", "notes.txt"), "notes.txt: is not an SQLite database"),
    ],
)
def test_what_cannot_be_done_is_said(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 100)
    code, out, err = cli("db", *arguments)
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"notes.txt"}


def test_it_asks_nothing_about_a_file_that_is_no_backup(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database" * 100)
    cli.store(make_spans(1))
    code, out, err = cli("db", "restore", "notes.txt")
    assert (code, out) == (1, "")
    assert "notes.txt: is not an SQLite database" in " ".join(err.split())
    assert "terminal" not in err, "it would ask"

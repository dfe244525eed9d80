"""`corevital baseline`: what was learned, in 80 columns and as JSON, and what is done to it."""

import json
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.baselines.learned import key_of
from opentelemetry_instrumentation_corevital.baselines.learned_files import (
    baselines_folder,
    files,
    read_baseline,
    to_bytes,
)
from tests.support.command_line import Cli
from tests.support.taught_baselines import added, taught


@pytest.fixture
def key(cli: Cli) -> str:
    """A baseline of 60 runs in this command line's data folder."""
    return key_of(added(taught(*range(60))).identity)


def test_list_and_show_fit_80_columns(cli: Cli, key: str) -> None:
    (baselines_folder() / f"{'0' * 32}.baseline").write_bytes(b"no baseline")
    code, out, _ = cli("baseline", "list")
    assert code == 0
    assert key[:12] in out
    assert "org/model" in out
    assert "cannot be read: not an .npz archive" in out
    code, shown, _ = cli("baseline", "show", "org/model")
    assert code == 0
    assert "60, of 3600 tokens" in shown
    assert "1 of 61 healthy runs" in shown
    assert cli("baseline", "show", key[:12])[1] == shown == cli("baseline", "show", "model")[1]
    assert cli("baseline", "show", str(files()[1]))[1] == shown


def test_json_has_all_of_it(cli: Cli, key: str) -> None:
    code, out, _ = cli("baseline", "list", "--json")
    (told,) = json.loads(out)["baselines"]
    assert code == 0
    assert (told["key"], told["runs"], told["tokens"], told["frozen"]) == (key, 60, 3600, False)
    assert told["model"]["name"] == "org/model"
    assert json.loads(cli("baseline", "show", key, "--json")[1]) == told
    assert told["limit"] > 0


def test_without_any(cli: Cli) -> None:
    assert "nothing was learned yet" in cli("baseline", "list")[1]
    assert json.loads(cli("baseline", "list", "--json")[1])["baselines"] == []
    for command in ("show", "freeze"):
        code, _, err = cli("baseline", command, "org/model")
        assert code == 1
        assert "nothing was learned of a model of that name" in err


def test_freeze_and_its_undo(cli: Cli, key: str) -> None:
    assert "frozen" in cli("baseline", "freeze", "org/model")[1]
    assert read_baseline(files()[0]).frozen
    assert "frozen" in cli("baseline", "list")[1]
    assert "frozen" not in cli("baseline", "freeze", key, "--undo")[1]
    assert not read_baseline(files()[0]).frozen


def test_reset_asks_and_removes(cli: Cli, key: str) -> None:
    code, _, err = cli("baseline", "reset", "org/model")
    assert code == 1
    assert "--yes" in err
    assert len(files()) == 1
    assert cli("baseline", "reset")[0] == 1
    assert cli("baseline", "reset", "org/model", "--yes")[0] == 0
    assert files() == []
    (baselines_folder() / f"{'0' * 32}.baseline").write_bytes(b"no baseline")
    assert cli("baseline", "reset", "--all", "--yes")[0] == 0
    assert files() == []


def test_merge_adds_up_baselines_of_one_model(cli: Cli, key: str, tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("a.baseline", "b.baseline", "c.baseline"))
    one.write_bytes(to_bytes(taught(100, 101)))
    two.write_bytes(to_bytes(taught(102)))
    foreign = taught(103)
    foreign.identity = foreign.identity.model_copy(update={"architecture": "Other"})
    other.write_bytes(to_bytes(foreign))
    both = tmp_path / "both.baseline"
    assert cli("baseline", "merge", str(one), str(two), "--out", str(both))[0] == 0
    assert read_baseline(both).runs == 3
    code, out, _ = cli("baseline", "merge", str(both))
    assert code == 0
    assert "63 runs" in out
    assert read_baseline(files()[0]).runs == 63
    code, _, err = cli("baseline", "merge", str(one), str(other), "--out", str(tmp_path / "more.baseline"))
    assert code == 1
    assert "another model" in err
    assert not (tmp_path / "more.baseline").exists()
    for wrong, says in (((one, one), "named twice"), ((one, two, "--out", both), "exists already")):
        code, _, err = cli("baseline", "merge", *map(str, wrong))
        assert code == 1
        assert says in err
    assert read_baseline(both).runs == 3
    code, _, err = cli("baseline", "merge", str(files()[0]))
    assert code == 1
    assert "already" in err
    assert cli("baseline", "merge", str(tmp_path / "none.baseline"))[0] == 1

"""`corevital calibrate --from-store`: a profile of served runs."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital.calibration import fit_profile, profiles_folder, read_profile
from opentelemetry_instrumentation_corevital.catalogue.signals import in_row
from opentelemetry_instrumentation_corevital.run import Prompt, Run
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter, SQLiteSpanExporter
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.command_line import Cli
from tests.support.healthy_runs import LAYERS, healthy
from tests.support.reported_runs import report
from tests.support.spans import make_spans, run_code

STORED = {each.name: each.stored for each in in_row()}


def served(seed: int, steps: int = 60) -> Run:
    """Return a healthy run whose numbers are those that are stored of it: some in half precision."""
    run = healthy(seed, steps)
    run.columns = {name: values.astype(STORED[name]).astype(values.dtype) for name, values in run.columns.items()}
    run.prompt = Prompt(f"prompt {seed // 2}", "text")
    run.start_ns, run.end_ns = 10**18 + seed * 10**9, 10**18 + seed * 10**9 + 5
    return run


def looping(seed: int) -> Run:
    run = served(seed)
    run.tokens[10:] = np.tile(np.arange(5), 10)
    return run


def not_finite(seed: int) -> Run:
    run = served(seed)
    run.columns["hidden_nan"][30:, 4] = 2
    return run


def failed(seed: int) -> Run:
    run = served(seed)
    run.error_type, run.finish_reason, run.stop_reason = "RuntimeError", "error", "error"
    return run


def keep(file: Path, runs: Sequence[Run]) -> None:
    telemetry = InMemoryTelemetry()
    for run in runs:
        report(telemetry, run)
    spans, logs = SQLiteSpanExporter(str(file)), SQLiteLogExporter(str(file))
    spans.export(telemetry.spans)
    logs.export(telemetry.log_exporter.get_finished_logs())
    for exporter in (spans, logs):
        exporter.shutdown()
        assert exporter.last_error is None


HEALTHY = [served(seed) for seed in range(60)]
OTHERS = [looping(100), looping(101), not_finite(102), served(103, 8), failed(104)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "served.db"
    keep(file, [*HEALTHY, *OTHERS])
    return file


def test_a_profile_of_served_runs_is_that_of_the_same_runs_in_memory(cli: Cli, store: Path) -> None:
    code, out, err = cli("calibrate", "--from-store", str(store))
    assert code == 0, err
    assert "org/model: 60 runs, 3600 steps, of 65 runs" in out
    assert "dropped: loop 2, error 1, too short 1, not finite 1" in out
    assert "at most 1 in 61 healthy runs" in out
    assert "of 60 (" in out
    assert "longest run: 60 tokens" in out
    file = profiles_folder() / "org--model.json"
    assert str(file) in out
    assert "judged with it from now on" in out
    groups = [number // 2 for number in range(60)]  # answers to one prompt are left out together
    in_memory = fit_profile(HEALTHY[::-1], groups=[each + 3 for each in groups])
    unknown = in_memory.model.model_copy(update={"vocabulary_size": None})  # spans do not have it
    assert read_profile(file) == in_memory.model_copy(update={"model": unknown})


def test_json_says_the_same(cli: Cli, store: Path) -> None:
    elsewhere = cli("calibrate", "--from-store", str(store), "--out", "p.json")[1].split("KiB; ")[1]
    assert "where OTEL_COREVITAL_BASELINE=" in elsewhere
    code, out, _ = cli("calibrate", "--from-store", "--db", str(store), "--out", "p.json", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["runs"], found["tokens"], found["longest_run"]) == (60, 3600, 60)
    assert found["dropped"] == {"error": 1, "too short": 1, "not finite": 1, "loop": 2}
    assert found["promised_rate"] == pytest.approx(1 / 61)
    runs = read_profile("p.json").runs
    assert runs is not None
    assert found["limit"] == max(runs.values)
    assert found["false_alarms"]["beyond"] == 1, "the largest is beyond all others"
    assert found["strange"] == []
    assert found["model"]["name"] == "org/model"


def test_a_strange_run_is_named_and_does_not_set_the_limit(cli: Cli, tmp_path: Path) -> None:
    """One of 60, a token of which becomes a second sink: its norm rises in one layer and stays."""
    odd = served(200)
    odd.columns["hidden_l2_norm"][20, 4:] *= np.float32(64)
    keep(tmp_path / "odd.db", [*HEALTHY, odd])
    code, out, err = cli("calibrate", "--from-store", str(tmp_path / "odd.db"), "--out", "p.json", "--json")
    assert code == 0, err
    found, runs = json.loads(out), read_profile("p.json").runs
    assert runs is not None
    *usual, largest = sorted(runs.values)
    assert (found["strange"], found["limit"]) == ([largest], usual[-1])
    assert largest > 2 * usual[-1]
    assert found["false_alarms"]["beyond"] >= 1
    code, out, _ = cli("calibrate", "--from-store", str(tmp_path / "odd.db"), "--out", "p.json")
    assert f"1 run more than 2 times as far out as all others ({largest:.3g}): not counted in the limit" in out


def test_runs_of_one_prompt_are_refused(cli: Cli, tmp_path: Path) -> None:
    """How far out a run is can be measured by the runs of other prompts only."""
    runs = [served(seed) for seed in range(100, 160)]
    for run in runs:
        run.prompt = Prompt("the same", "text")
    keep(tmp_path / "one.db", runs)
    code, _, err = cli("calibrate", "--from-store", str(tmp_path / "one.db"), "--out", str(tmp_path / "p.json"))
    assert code == 1
    assert "answer one prompt" in err
    assert not (tmp_path / "p.json").exists()


def test_runs_are_chosen_as_other_commands_choose_them(cli: Cli, store: Path) -> None:
    code, _, err = cli("calibrate", "--from-store", str(store), "--limit", "20")
    assert code == 1
    assert "15 healthy runs of 900 tokens among 20" in err
    assert "Dropped: loop 2, " in err
    assert "Give 47 more runs or more" in err.replace("\n", " "), "35 healthy ones at 15 of 20"
    assert not profiles_folder().exists(), "nothing is written"
    assert cli("calibrate", "--from-store", str(store), "--model", "model", "--out", "p.json")[0] == 0
    code, _, err = cli("calibrate", "--from-store", str(store), "--model", "org/nobody")
    assert code == 1
    assert "no run that is asked for has layer arrays" in err
    code, _, err = cli("calibrate", "--from-store", str(store), "--since", "1h")
    assert code == 1
    assert "no run that is asked for has layer arrays" in err


def test_runs_without_layer_arrays_are_left_aside_and_said(cli: Cli, store: Path) -> None:
    cli.store(make_spans(3))
    code, _, err = cli("calibrate", "--from-store")
    assert code == 1
    for part in ("no run of it has layer arrays", "of 3 runs only the span is stored", "run_data=on", "--prompts"):
        assert part in err.replace("\n", " ")
    shutil.copy(store, cli.db)
    cli.store(make_spans(3))
    code, out, _ = cli("calibrate", "--from-store", "--model", "org/model")
    assert code == 0
    assert "60 runs, 3600 steps, of 65 runs" in out
    assert "3 runs without layer arrays left aside" in out


def test_several_models_are_not_mixed(cli: Cli, store: Path) -> None:
    others = [served(200 + seed) for seed in range(3)]
    for run in others:
        run.model = dataclasses.replace(run.model, name="org/other")
    later = served(300)
    later.model = dataclasses.replace(later.model, quantization="int8")
    cli.db.parent.mkdir()
    shutil.copy(store, cli.db)
    keep(cli.db, [*others, later])
    code, _, err = cli("calibrate", "--from-store")
    assert code == 1
    assert "several models; add --model: org/model, org/other" in err.replace("\n", " ")
    code, out, _ = cli("calibrate", "--from-store", "--model", "org/model", "--out", "p.json")
    assert code == 0
    assert "another model 1" in out, "one of another quantisation"
    assert read_profile("p.json").made.runs == 60
    assert read_profile("p.json").model.quantization is None


def test_arrays_that_are_not_those_of_the_model_are_left_aside(cli: Cli, store: Path) -> None:
    odd = [served(400 + seed) for seed in range(2)]
    for run in odd:
        run.model = dataclasses.replace(run.model, layer_count=12)
    cli.db.parent.mkdir()
    shutil.copy(store, cli.db)
    keep(cli.db, odd)
    code, out, _ = cli("calibrate", "--from-store", "--out", "p.json")
    assert code == 0
    assert "2 runs without layer arrays left aside" in out
    assert read_profile("p.json").model.layer_count == LAYERS


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from-store", "--prompts", "x"], "--prompts is about generating"),
        (["--from-store", "--temperatures", "1"], "--temperatures is about generating"),
        (["--from-store", "--seed", "0"], "--seed is about generating"),
        (["--from-store", "a.db", "--db", "b.db"], "--db b.db: the store is named already"),
        (["--from-store", "no-such.db"], "no-such.db"),
        (["--since", "1h", "--prompts", "x", "--model", "x"], "--since is about stored runs: add --from-store"),
        (["a.db", "--prompts", "x", "--model", "x"], "STORE is about stored runs: add --from-store"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cli: Cli, arguments: list[str], says: str) -> None:
    code, out, err = cli("calibrate", *arguments)
    assert (code, out) == (1, "")
    assert says in err.replace("\n", " ")


def test_it_needs_no_torch(cli: Cli, store: Path) -> None:
    code = """
        import sys

        class Without:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "triton"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Without())
        from opentelemetry_instrumentation_corevital.cli.app import run_command

        assert run_command(["calibrate", "--from-store", sys.argv[1], "--out", "p.json"]) == 0
        assert run_command("calibrate -m x --prompts p.txt".split()) == 1
    """
    Path("p.txt").write_text("\n".join(f"prompt {number}" for number in range(20)))
    found = run_code(code, str(store))
    assert found.returncode == 0, found.stderr
    assert read_profile("p.json").made.runs == 60
    assert "[transformers]" in found.stderr, "and generating says what it needs"

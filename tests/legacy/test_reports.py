"""Reports of our runs are what the schema says: its fields, its words, its types; and the first CoreVital's options."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opentelemetry_instrumentation_corevital import RAGContext, get_fingerprint, open_store, semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.catalogue import rag_names
from opentelemetry_instrumentation_corevital.cli.report_export import report_text
from opentelemetry_instrumentation_corevital.legacy.report import report_of
from opentelemetry_instrumentation_corevital.legacy.report_words import RISK_FACTORS
from opentelemetry_instrumentation_corevital.store import StoreWriter, checked_columns
from opentelemetry_instrumentation_corevital.store.run_data_rows import whole_run_data
from opentelemetry_instrumentation_corevital.store.span_rows import rows_of
from tests.support.command_line import Cli
from tests.support.hostile_stores import span
from tests.support.legacy_reports import report
from tests.support.report_fields import FIELDS, LEFT_OUT, fields_of, left_out
from tests.support.spans import make_spans

RETRIEVED = {
    "context_token_count": 3,
    "retrieved_doc_ids": ["doc-1", "doc-2"],
    "retrieved_doc_titles": ["One", "Two"],
    "retrieval_metadata": {"index": "wiki", "scores": [0.5, 0.25]},
}


@pytest.fixture
def run_once(cli: Cli, tiny_folder: str) -> Any:
    """Run with every option that a report has a field for, and return a function that does it with others."""
    Path("rag.json").write_text(json.dumps(RETRIEVED))

    def run(*options: str) -> dict[str, Any]:
        arguments = (
            "run",
            "-m",
            tiny_folder,
            "-p",
            "w5 w6 w7 w8",
            "--max-new-tokens",
            "12",
            "--rag-context",
            "rag.json",
        )
        arguments = (*arguments, "--temperature", "0.8", "--top-k", "50", "--top-p", "0.95", "--seed", "42")
        code, _, err = cli(*arguments, "--write-json", "--store-content", *options)
        assert code == 0, err
        (path,) = Path("runs").glob("trace_*.json")
        made: dict[str, Any] = json.loads(path.read_text())
        return made

    return run


def test_every_field_of_the_schema_is_there_or_left_out_for_a_reason(run_once: Any, cli: Cli) -> None:
    written = run_once("--prompt-analysis", "full")
    with open_store(cli.db) as store:
        run = store.run("last")
    # What a short run of a small healthy model lacks: a revision, somebody to blame, flags that can be judged.
    attributes = {**run.attributes, semconv.MODEL_REVISION: "0e9e39f", semconv.BLAME_LAYERS: [1]}
    unjudged = {"attention_collapse_detected": False, "mid_layer_anomaly_detected": False}
    whole = replace(run, attributes=attributes, summary=replace(run.summary, **unjudged))
    found = set(fields_of(json.loads(json.dumps(report_of(whole)))))
    missing = {field for field in FIELDS if field not in found and not left_out(field)}
    assert missing == set()
    there = {field for field in found if left_out(field)}
    assert there == set(), "these are written by now: they are no longer left out"
    assert all(any(field == each or field.startswith(f"{each}.") for field in FIELDS) for each in LEFT_OUT)
    made_up = {"model.revision", "extensions.risk.blamed_layers", *(f"health_flags.{name}" for name in unjudged)}
    assert set(fields_of(written)) >= {each for each in found if "attributes" not in each} - made_up


def test_extensions_have_the_schemas_types_and_words(run_once: Any, cli: Cli) -> None:
    extensions = run_once()["extensions"]
    with open_store(cli.db) as store:
        run = store.run("last")
    assert extensions["fingerprint"]["vector"] == run.attributes[semconv.FINGERPRINT_VECTOR]
    assert extensions["rag"] == {**RETRIEVED, "document_count": 2}
    assert set(extensions["risk"]["risk_factors"]) <= set(RISK_FACTORS.values())
    own = extensions["corevital"]["attributes"]
    assert own[semconv.RISK_FACTORS] == run.attributes[semconv.RISK_FACTORS], "ours stay"
    assert json.loads(own[rag_names.METADATA]) == RETRIEVED["retrieval_metadata"]
    Path("again.json").write_text(json.dumps(extensions["rag"]))
    assert RAGContext.from_json(Path("again.json").read_text()).metadata == RETRIEVED["retrieval_metadata"]


def test_heads_are_counted_and_the_largest_weight_is_there(run_once: Any, cli: Cli) -> None:
    timeline = run_once()["timeline"]
    with open_store(cli.db) as store:
        run = store.run("last")
    heads = run.attributes[semconv.MODEL_HEAD_COUNT]
    for step, made in enumerate(timeline):
        for layer, each in enumerate(made["layers"]):
            summary = each["attention_summary"]
            assert summary["concentration_max"] == float(run.columns["attention_max_weight_max"][step, layer])
            assert summary["focused_head_count"] == round(float(run.columns["focused_head_rate"][step, layer]) * heads)
            assert isinstance(summary["focused_head_count"], int)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["nan_detected=1.0"], ["nan_or_inf"]),
        (["inf_detected=1.0", "high_entropy_share=0.25"], ["nan_or_inf", "high_entropy_steps"]),
        (["repetition_loop_detected=0.9"], ["repetition_loop"]),
        (["mid_layer_anomaly_detected=0.7"], ["mid_layer_anomaly"]),
        (["attention_collapse_detected=0.3", "high_entropy_share=0.1"], ["attention_collapse", "high_entropy_steps"]),
        (["a_word_of_somebody_else=0.5"], ["a_word_of_somebody_else"]),
        ([], []),
    ],
)
def test_risk_factors_are_the_schemas_words(cli: Cli, ours: list[str], theirs: list[str]) -> None:
    cli.store(make_spans(**{semconv.RISK_FACTORS: ours}))
    made = json.loads(cli("export", "last")[1])
    assert made["extensions"]["risk"]["risk_factors"] == theirs
    assert made["extensions"]["corevital"]["attributes"][semconv.RISK_FACTORS] == ours


def test_every_factor_of_the_rules_has_a_word() -> None:
    from opentelemetry_instrumentation_corevital.assessment.risk import FLAG_RISK

    assert set(RISK_FACTORS) == {*FLAG_RISK, "high_entropy_share"}


def test_each_step_has_its_likeliest_tokens(run_once: Any, cli: Cli) -> None:
    written = run_once("--capture", "full")
    with open_store(cli.db) as store:
        columns = store.columns(store.run("last"))
    for step, told in enumerate(written["timeline"]):
        likely = told["logits_summary"]["topk"]
        assert [each["token_id"] for each in likely] == columns["alternative_token"][step].tolist()
        assert [each["prob"] for each in likely] == pytest.approx(
            columns["alternative_probability"][step].tolist(), abs=1e-6
        )


def test_what_the_prompt_tells_is_there(run_once: Any, cli: Cli) -> None:
    told = run_once("--prompt-analysis", "full")["prompt_analysis"]
    with open_store(cli.db) as store:
        run = store.run("last")
        found = run.prompt_analysis
    assert found is not None
    assert found.basin is not None
    assert found.surprisal is not None
    assert found.layer_transformation is not None
    assert told["prompt_surprisals"] == pytest.approx(found.surprisal.tolist(), abs=1e-6)
    assert told["layer_transformations"] == pytest.approx(found.layer_transformation[1:].tolist(), abs=1e-6)
    assert run.summary.input_tokens is not None
    strongest = found.top_connections(1)[0]
    for layer, of_layer in enumerate(told["layers"]):
        known = [math.nan if each is None else each for each in of_layer["basin_scores"]]
        assert known == pytest.approx(found.basin[layer].tolist(), abs=1e-6, nan_ok=True)
        for head in of_layer["heads"]:
            assert set(head["query_indices"]) == {run.summary.input_tokens - 1}
            assert len(head["query_indices"]) == len(head["key_indices"]) == len(head["weights"]) > 0
    head = told["layers"][strongest.layer]["heads"][strongest.head]
    assert (head["key_indices"][0], head["weights"][0]) == (strongest.token, pytest.approx(strongest.weight, abs=1e-6))


def test_a_report_of_ours_is_exported_and_migrated_and_exported_again(run_once: Any, cli: Cli) -> None:
    written = run_once("--prompt-analysis", "full")
    assert cli("migrate", "--from-dir", "runs", "--to-db", "new.db", "--with-content")[1].startswith("1 migrated")
    assert json.loads(cli("export", "last", "--db", "new.db")[1]) == written
    with open_store(cli.db) as store, open_store("new.db") as moved:
        was, now = store.run("last").prompt_analysis, moved.run("last").prompt_analysis
    assert was is not None
    assert now is not None
    assert was.connections is not None
    assert now.connections is not None
    assert now.surprising is not None
    assert now.surprising.tolist() == was.surprising.tolist()  # type: ignore[union-attr]
    assert now.connections.index.tolist() == was.connections.index.tolist()
    for name in ("surprisal", "layer_transformation", "basin"):
        assert getattr(now, name) == pytest.approx(getattr(was, name), abs=1e-6, nan_ok=True)
    assert cli("migrate", "--from-dir", "runs", "--to-db", "none.db")[1].startswith("1 migrated")
    without = cli("export", "last", "--db", "none.db")[1]
    for content in ("doc-1", "Two", "wiki", "w5", "token_id", "prompt_surprisals"):
        assert content not in without


def test_the_fingerprint_of_a_report(run_once: Any, cli: Cli) -> None:
    written = run_once()
    with open_store(cli.db) as store:
        stored = get_fingerprint(store.run("last"))
    assert get_fingerprint(written) == stored
    assert get_fingerprint(written).distance(stored) == 0
    old = report()
    old["extensions"]["fingerprint"] = {"vector": [0.5] * 9, "prompt_hash": "ab"}
    assert (get_fingerprint(old).vector, get_fingerprint(old).prompt_hash) == ((0.5,) * 9, "ab")
    with pytest.raises(ValueError, match="no distance"):
        get_fingerprint(old).distance(stored)
    del old["extensions"]
    assert get_fingerprint(old).vector is None
    for wrong, message in (
        ({}, "this is no report"),
        ({"schema_version": "0.4.0", "extensions": {"fingerprint": {"vector": "x"}}}, r"fingerprint\.vector"),
        ({"schema_version": "0.4.0", "extensions": {"fingerprint": {"run_hash": 1}}}, r"fingerprint\.run_hash"),
    ):
        with pytest.raises(ValueError, match=message):
            get_fingerprint(wrong)


def test_both_names_of_metadata_are_read_and_not_both_at_once(cli: Cli) -> None:
    metadata = {"index": "wiki"}
    for name in ("metadata", "retrieval_metadata"):
        assert RAGContext.from_json(json.dumps({name: metadata})) == RAGContext(metadata=metadata)
    assert RAGContext.from_json('{"retrieved_doc_ids": null, "retrieval_metadata": null}') == RAGContext()
    for text, message in (
        ('{"metadata": {}, "retrieval_metadata": {}}', "metadata, retrieval_metadata: are two names of one thing"),
        ('{"retrieval_metadata": [1]}', "retrieval_metadata: expected a mapping"),
    ):
        with pytest.raises(ValueError, match=message):
            RAGContext.from_json(text)
        Path("rag.json").write_text(text)
        code, _, err = cli("run", "-m", "none", "-p", "x", "--rag-context", "rag.json")
        assert code == 1
        assert f"--rag-context rag.json: {message}" in err


OLD_OPTIONS = [
    *(
        ["--quantize-4"],
        ["--quantize-8"],
        ["--perf"],
        ["--perf", "strict"],
        ["--perf=detailed"],
        ["--config", "x.yaml"],
    ),
    *(["--calibration", "p.json"], ["--log_level", "INFO"], ["--no-prompt-telemetry"], ["--report-on-gpu"]),
    *(["--early_stopping"], ["--datadog_api_key", "k"], ["--datadog_site", "s"], ["--prometheus_port", "9091"]),
    *(
        ["--wandb_project", "p"],
        ["--wandb_entity", "e"],
        ["--sink", "datadog"],
        ["--sink=prometheus"],
        ["--sink", "wandb"],
    ),
]


@pytest.mark.parametrize("options", OLD_OPTIONS, ids=" ".join)
def test_an_option_of_the_first_corevital_says_what_to_do_instead(cli: Cli, options: list[str]) -> None:
    code, out, err = cli("run", "--model", "none", "--prompt", "x", *options)
    assert (code, out) == (1, "")
    name = options[0].partition("=")[0].replace("_", "-")
    assert err.startswith(f"Error: {name}")
    assert "is an option of the first CoreVital; " in err
    assert len(err.splitlines()) == 1
    assert err.endswith(".\n")


def test_commands_of_the_first_corevital(cli: Cli) -> None:
    code, _, err = cli("calibrate", "--model", "none", "--prompts", "x", "--config", "y")
    assert (code, "--config is an option of the first CoreVital" in err) == (1, True)
    code, _, err = cli("serve", "--port", "8000")
    assert (code, "`corevital serve` is a command of the first CoreVital" in err) == (1, True)
    code, _, err = cli("run", "--model", "none", "--prompt", "x", "--sink", "cloud")
    assert (code, "first CoreVital" in err) == (1, False)
    code, _, err = cli("run", "--prompt", "--perf", "--model", "none")  # a prompt that looks like one
    assert "first CoreVital" not in err


def test_capture_mode_and_risk_threshold_are_taken(run_once: Any, cli: Cli) -> None:
    modes = {"0": "full", "1": "summary"}
    for threshold, reported in modes.items():
        for path in Path("runs").glob("trace_*"):
            path.unlink()
        run_once("--capture-mode", "on_risk", "--risk_threshold", threshold)
        with open_store(cli.db) as store:
            attributes = store.run("last").attributes
        assert attributes[semconv.CAPTURE_MODE] == "on_risk"
        assert attributes[semconv.CAPTURE_UPGRADED] is (reported == "full"), threshold


@pytest.mark.parametrize("mode", [[], ["--capture", "full"], ["--capture-mode", "summary"]])
def test_a_threshold_that_nothing_reads_is_refused(cli: Cli, mode: list[str]) -> None:
    code, _, err = cli("run", "--model", "none", "--prompt", "x", "--risk-threshold", "0.5", *mode)
    assert (code, "--risk-threshold goes with --capture on_risk" in err) == (1, True)


@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize("steps", [0, 5, 1024, 2500])
def test_a_report_in_pieces_is_the_report_as_one_text(steps: int, pretty: bool, cli: Cli) -> None:
    of_span = rows_of(span(1, {semconv.STEPS_TOTAL: steps}))
    some = {
        "entropy": np.linspace(0, 5, steps, dtype=np.float32),
        "tokens": np.arange(steps, dtype=np.int32),
        "top1_prob": np.zeros(0, np.float32),  # a column of no steps is no error
        "hidden_nan": np.ones((steps, 2), np.int32),
    }
    writer = StoreWriter(cli.db)
    records: list[Any] = [of_span, whole_run_data(*of_span.span[:2], to_npz(some))]
    assert writer.store(records, timeout=60).durable
    writer.close()
    with open_store(cli.db) as store:
        run = store.runs()[0]
        whole = report_of(store.load(run))
        text = "".join(report_text(store, run, pretty=pretty))
    assert text == json.dumps(whole, ensure_ascii=False, indent=2 if pretty else None) + "\n"
    assert [step["step_index"] for step in whole["timeline"]] == list(range(5, 5 + steps))
    assert [step["token"]["token_id"] for step in whole["timeline"]] == list(range(steps))


def test_a_column_that_is_not_kept_is_read_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_columns, "_KEEP_BYTES", 0)
    reads: list[str] = []
    read = checked_columns.Columns._read
    monkeypatch.setattr(checked_columns.Columns, "_read", lambda self, name: reads.append(name) or read(self, name))
    of_span = rows_of(span(1, {semconv.STEPS_TOTAL: 2500}))
    data = to_npz({"entropy": np.zeros(2500, np.float32), "top1_prob": np.zeros(2500, np.float32)})
    writer = StoreWriter(cli.db)
    assert writer.store([of_span, whole_run_data(*of_span.span[:2], data)], timeout=60).durable
    writer.close()
    with open_store(cli.db) as store:
        report = report_of(store.load(store.runs()[0]))
    assert len(report["timeline"]) == 2500
    assert reads.count("top1_prob") <= 3, "once as it is checked, not once a step"

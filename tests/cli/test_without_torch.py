"""Everything but `run` works where torch and transformers are not installed."""

import json
from pathlib import Path

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital._internal.npz import to_npz
from opentelemetry_instrumentation_corevital.emission.run_data import run_columns
from opentelemetry_instrumentation_corevital.store import SQLiteLogExporter
from tests.support.command_line import Cli
from tests.support.legacy_reports import report, write_file
from tests.support.logs_and_metrics import chunk_records, emitted, in_span
from tests.support.made_runs import add_layers, make_run
from tests.support.spans import make_spans, run_code

COMMANDS = (
    "runs --label none",
    "show last --layers",
    "show last --html page.html",
    "show last --csv",
    "compare",
    "label last --outcome correct",
    "export last --out report.json",
    "export --format otlp --out telemetry.json",
    "import telemetry.json --db copy.db",
    "migrate --from-dir old --to-db copy.db",
    "db stats",
    "db delete last --yes --db copy.db",
)


def test_every_command_that_reads_works_without_torch(cli: Cli) -> None:
    spans = [*make_spans(2), *make_spans(2, **{semconv.GEN_AI_REQUEST_MODEL: "org/other"})]
    cli.store(spans)
    context = spans[-1].context
    assert context is not None
    logs = SQLiteLogExporter(cli.db)
    data = to_npz(run_columns(add_layers(make_run(9), 3), content=True))
    logs.export(emitted(*chunk_records(data, 4000, context=in_span(context.trace_id, context.span_id))))
    logs.shutdown()
    write_file(Path("old"), report())
    code = """
        import json, sys

        class Without:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "triton"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Without())
        from opentelemetry_instrumentation_corevital import get_fingerprint, open_store
        from opentelemetry_instrumentation_corevital.cli.app import run_command

        with open_store("runs/corevital.db") as store:
            run = store.run("last")
            assert get_fingerprint(run).prompt_hash == "ab" * 32
            assert "org/other" in run._repr_html_() and "org/other" in store.runs()._repr_html_()
            assert run.columns["hidden_l2_norm"].shape == (9, 3)
        for command in json.loads(sys.argv[1]):
            assert run_command(command.split()) == 0, command
        assert run_command("run -m x -p y".split()) == 1
    """
    found = run_code(code, json.dumps(COMMANDS))
    assert found.returncode == 0, found.stderr
    assert "[transformers]" in found.stderr, "and `run` says what it needs"
    assert "[" in Path("page.html").read_text(), "ids stand for tokens"

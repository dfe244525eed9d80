"""A disk that fills up, a file that may not be written: told clearly, generate() unharmed, and all well again after."""

import os
import tempfile
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.spans import make_spans, rows, run_code

FULL = """
    import resource, signal, sys
    from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoreWriter
    from opentelemetry_instrumentation_corevital.store.span_rows import span_rows
    from tests.support.spans import make_spans
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    exporter = SQLiteSpanExporter(sys.argv[1])
    exporter.export(make_spans(3)); exporter.force_flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # the disk is full
    exporter.export(make_spans(300, events=60)); exporter.force_flush()
    print(exporter.last_error)
    lost = exporter.dropped
    receipt = StoreWriter(sys.argv[1]).store([span_rows(span) for span in make_spans(100, events=60)])
    assert receipt.failed_records == 100 and not receipt.durable, vars(receipt)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # somebody made room
    exporter.export(make_spans(4)); exporter.force_flush()
    assert exporter.last_error is None, exporter.last_error
    assert exporter.dropped == lost > 0
    exporter.shutdown()
    print(lost)
"""


def test_after_a_full_disk_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    found = run_code(FULL, str(path))
    assert found.returncode == 0, found.stderr
    told, lost = found.stdout.splitlines()
    assert str(path) in told
    assert "no space left" in told or "(I/O error)" in told
    assert rows(path, "SELECT count(*) FROM runs") == [(307 - int(lost),)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


READ_ONLY = """
    import os, sys
    from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
    from tests.support.spans import make_spans
    exporter = SQLiteSpanExporter(sys.argv[1])
    elsewhere = SQLiteSpanExporter(sys.argv[1] + ".other")  # imports what another user may not read
    elsewhere.export(make_spans()); elsewhere.shutdown()
    with open_store(sys.argv[1] + ".other") as store:
        store.runs()
    os.chmod(os.path.dirname(sys.argv[1]), 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # a superuser may write anything
    exporter.export(make_spans()); exporter.force_flush()
    print(exporter.last_error)
    with open_store(sys.argv[1]) as store:
        print(len(store.runs()))
    if os.getuid() == 0:
        os.seteuid(0)
    os.chmod(sys.argv[1], 0o666); os.chmod(os.path.dirname(sys.argv[1]), 0o777)
    exporter.export(make_spans()); exporter.force_flush()
    print(exporter.last_error)
    exporter.shutdown()
"""


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_a_read_only_file_in_a_read_only_folder_is_told_can_be_read_and_is_written_once_it_may() -> None:
    # Not below pytest's folders, which other users may not enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _read_only(Path(folder) / "store" / "runs.db")


def _read_only(path: Path) -> None:
    exporter = SQLiteSpanExporter(path)
    exporter.export(make_spans(2))
    exporter.shutdown()
    path.chmod(0o444)
    found = run_code(READ_ONLY, str(path))
    assert found.returncode == 0, found.stderr
    told, read, after = found.stdout.splitlines()
    assert "read-only" in told or "cannot be opened (permissions?)" in told
    assert (read, after) == ("2", "None")
    assert rows(path, "SELECT count(*) FROM runs") == [(3,)]


def test_generate_does_not_notice_a_store_that_fails(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from tests.support.in_memory import Telemetry, instrumented
    from tests.support.tiny_models import prompt, tiny_model

    model = tiny_model()
    expected = model.generate(prompt(), max_new_tokens=8, do_sample=False)
    path = tmp_path / "runs.db"
    exporter = SQLiteSpanExporter(path)
    telemetry = Telemetry()
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))

    def generate() -> None:
        assert torch.equal(model.generate(prompt(), max_new_tokens=8, do_sample=False), expected)
        exporter.force_flush()

    with instrumented(telemetry):
        path.mkdir()
        generate()
        assert "is a folder" in str(exporter.last_error)
        path.rmdir()
        path.write_bytes(b"not a database, and long enough to be read as the header of one " * 20)
        generate()
        assert "not an SQLite database" in str(exporter.last_error)
        path.unlink()
        generate()
        assert exporter.last_error is None
        path.unlink()  # deleted under the writer, with its log left behind
        generate()
        open_database(tmp_path / "other.db").close()
        (tmp_path / "other.db").replace(path)  # replaced under the writer
        generate()
        assert exporter.last_error is None
    exporter.shutdown()
    assert rows(path, "SELECT count(*) FROM runs") == [(1,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert exporter.dropped == 2

"""What a store's path may be: any file's name, and none of the other things that SQLite or a shell make of a text."""

import os
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, StoreError, StoreWriter, open_store
from opentelemetry_instrumentation_corevital.store.database import open_database
from tests.support.spans import make_spans
from tests.support.store_paths import NO_FILES

FILES = ("a?mode=ro.db", "a#b.db", "100%25.db", "with space.db", "x:memory:", "12:30.db", "é\udcff.db", "data.json")


@pytest.mark.parametrize("path", NO_FILES, ids=repr)
def test_what_names_no_file_is_refused_everywhere(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (open_store, open_database):
        with pytest.raises(StoreError, match=NO_FILES[path]):
            use(path)
    exporter = SQLiteSpanExporter(path)
    exporter.export(make_spans())
    exporter.shutdown()
    assert NO_FILES[path] in str(exporter.last_error)
    assert exporter.dropped == 1
    assert NO_FILES[path] in caplog.text
    writer = StoreWriter(path)
    writer.close()
    assert not os.listdir(tmp_path), "nothing was made"


@pytest.mark.parametrize("name", FILES, ids=ascii)
@pytest.mark.parametrize("folder", ["", "./", "{tmp}/"], ids=["bare", "dot", "absolute"])
def test_every_other_text_is_a_files_name(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = folder.format(tmp=tmp_path) + name
    exporter = SQLiteSpanExporter(path)
    assert exporter.export(make_spans()) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert exporter.last_error is None
    assert os.listdir(tmp_path) == [name]
    with open_store(path) as store:
        assert len(store.runs()) == 1
        assert store.path == Path(path)


def test_a_folder_may_have_a_name_that_is_none_for_a_file(tmp_path: Path) -> None:
    for name in (":memory:", "file:x.db"):
        open_database(tmp_path / name).close()
        assert (tmp_path / name).is_file()


def test_the_home_folder_is_found_where_no_shell_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("OTEL_COREVITAL_SQLITE_PATH", "~/setting.db")
    exporters = [SQLiteSpanExporter(path) for path in ("~/x.db", home / "x.db", None)]
    for exporter in exporters:
        exporter.export(make_spans())
    assert exporters[0]._joined is exporters[1]._joined, "two names of one file share a writer"
    for exporter in exporters:
        exporter.shutdown()
        assert exporter.last_error is None
    assert sorted(os.listdir(home)) == ["setting.db", "x.db"]
    assert not os.listdir(here)
    with open_store("~/x.db") as store:
        assert len(store.runs()) == 2

"""Commands that run in a folder of their own."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from opentelemetry_instrumentation_corevital.cli.app import run_command
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter


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

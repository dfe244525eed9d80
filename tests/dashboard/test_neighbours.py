"""The runs before and behind one in a list."""

from pathlib import Path

from opentelemetry_instrumentation_corevital import semconv
from opentelemetry_instrumentation_corevital.dashboard.neighbours import runs_beside
from opentelemetry_instrumentation_corevital.store import SQLiteSpanExporter, open_store
from opentelemetry_instrumentation_corevital.store.filters import RunFilter
from tests.support.spans import make_spans


def test_a_run_has_those_beside_it_in_its_list(tmp_path: Path) -> None:
    exporter = SQLiteSpanExporter(str(tmp_path / "runs.db"))
    for number in range(6):
        exporter.export(make_spans(1, **{semconv.GEN_AI_REQUEST_MODEL: f"org/{number % 2}"}))
    exporter.shutdown()
    with open_store(tmp_path / "runs.db") as store:
        for wanted in (RunFilter(), RunFilter(model="org/1"), RunFilter(model="nobody/has-this")):
            listed = store.runs(wanted, limit=None)
            for at, run in enumerate(listed):
                before = listed[at - 1] if at else None
                behind = listed[at + 1] if at + 1 < len(listed) else None
                assert tuple(runs_beside(store, run, wanted)) == (before, behind)
        every = store.runs(limit=None)
        stranger = next(run for run in every if run.model == "org/0")
        place = every.index(stranger)
        others = [run for run in every if run.model == "org/1"]
        before = [run for run in others if every.index(run) < place]
        behind = [run for run in others if every.index(run) > place]
        found = runs_beside(store, stranger, RunFilter(model="org/1"))
        assert tuple(found) == (before[-1] if before else None, behind[0] if behind else None)

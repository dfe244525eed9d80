"""A store with every kind of damaged run among healthy ones: commands, pages and notebooks over all of it."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital.store import RunList, open_store
from tests.support.command_line import Cli
from tests.support.hostile_stores import HEAVY, KINDS, fill

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HARMLESS = {  # texts that are what they are declared to be: they are shown, and cannot steer anything
    "steering model name",
    "model name of several lines",
    "steering everywhere",
    "evidence that is nested",
    "evidence at negative steps",
    "formula as a name",
    "zeros over 262,144 steps",
    "text that is no UTF-8",
}
KINDS_DAMAGED = set(KINDS) - HARMLESS
WHOLE = (
    ("runs", "--limit", "2000"),
    ("runs", "--limit", "2000", "--json"),
    ("runs", "--limit", "2000", "--csv"),
    ("runs", "--level", "low", "--risk-above", "0.2"),
    ("compare",),
    ("compare", "--json"),
    ("compare", "--csv"),
    ("export", "--format", "report", "--out", "reports"),
    ("export", "--format", "report"),
    ("export", "--format", "otlp", "--out", "telemetry.json"),
    ("import", "telemetry.json", "--db", "copy.db"),
    ("export", "--format", "csv"),
    ("db", "stats"),
    ("db", "check"),
    ("db", "prune", "--days", "90", "--dry-run"),
)
ONE = (
    (),
    ("--steps",),
    ("--layers",),
    ("--json", "--layers"),
    ("--csv",),
    ("--csv", "--layers"),
    ("--html", "run.html"),
)
UNSEEN_BY_LISTS = {  # what is wrong is inside of what lists do not read: values of run data, a span changed afterwards
    "attributes that are a list",
    "beyond its range",
    "report that is none",
    "report of other types",
}


def arguments(command: tuple[str, ...], path: Path) -> list[str]:
    return [*command] if "--db" in command else [*command, "--db", str(path)]


def lists_all(command: tuple[str, ...]) -> bool:
    return (command[0] == "runs" and "--level" not in command) or command == ("export", "--format", "csv")


def named_by_a_list(hostile: dict[str, str], err: str) -> None:
    """Assert that every damaged run of a list is named, and no other."""
    for kind, trace_id in hostile.items():
        assert (f"run {trace_id[:12]}:" in err) is (kind not in HARMLESS | UNSEEN_BY_LISTS), kind
    assert "more runs with damaged values" not in err
    assert err.count(" is damaged, ") == len(hostile.keys() - HARMLESS - UNSEEN_BY_LISTS)


def check(command: tuple[str, ...], code: int, out: str, err: str) -> None:
    assert "internal error" not in err, (command, err[-2000:])
    assert code in (0, 1), (command, code, err[-2000:])
    assert not STEERS.search(out), (command, STEERS.search(out))
    assert not STEERS.search(err), (command, STEERS.search(err))


@pytest.fixture
def hostile(cli: Cli) -> dict[str, str]:
    cli.db.parent.mkdir(parents=True)
    return fill(cli.db, 60, tuple(kind for kind in KINDS if kind not in HEAVY))


def test_every_command_works_over_all_and_names_what_is_damaged(cli: Cli, hostile: dict[str, str]) -> None:
    assert len(hostile) >= 40
    for command in WHOLE:
        code, out, err = cli(*arguments(command, cli.db))
        check(command, code, out, err)
        if command[0] == "runs" and len(command) == 3:
            assert len(out.splitlines()) == 61, "every run is in the list"
            assert out.splitlines()[0].split()[:5] == ["run", "age", "model", "risk", "flags"]
        if lists_all(command):
            named_by_a_list(hostile, err)
    told = cli("export", "--format", "report", "--out", "reports")[2]
    for kind, trace_id in hostile.items():
        assert (trace_id[:12] in told) is (kind not in HARMLESS), kind
    written = {path.name.split("_")[1] for path in Path("reports").iterdir()}
    without = {kind for kind, trace_id in hostile.items() if trace_id not in written}
    assert without == {"pickle", "truncated", "something behind it", "a directory that lies"}
    assert len(written) == 60 - len(without)


def test_every_view_of_each_damaged_run_works_and_names_it(cli: Cli, hostile: dict[str, str]) -> None:
    for number, (kind, trace_id) in enumerate(hostile.items()):
        for options in (ONE[0], ONE[1 + number % (len(ONE) - 2)], ONE[-1]):
            code, out, err = cli("show", trace_id, *options)
            check((kind, *options), code, out, err)
            if not options:
                assert code == 0, (kind, err)
                assert ("is damaged" in err) is (kind not in HARMLESS), (kind, err)
            if options[:1] == ("--html",) and code == 0:
                page = Path("run.html").read_text(encoding="utf-8")
                assert not STEERS.search(page), kind
                assert len(page) < 16_000_000, kind
                assert kind in HARMLESS or "damaged" in page.lower(), kind
        check((kind, "compare"), *cli("compare", trace_id, "last"))


def test_notebooks_show_it(cli: Cli, hostile: dict[str, str]) -> None:
    with open_store(cli.db) as store:
        found = store.runs(limit=None)
        assert len(found) == 60
        shown = [found._repr_html_(), *(store.load(run)._repr_html_() for run in found)]
        frame = found.to_pandas()
        assert len(frame) == 60
        told = dict(zip(frame.trace_id, frame.damage, strict=True))
        for kind, trace_id in hostile.items():
            listed = kind not in HARMLESS | UNSEEN_BY_LISTS
            assert isinstance(told[trace_id], str) is listed, kind
            mine = RunList(run for run in found if run.trace_id == trace_id)
            assert (f"run <code>{trace_id[:12]}</code> is damaged" in mine._repr_html_()) is listed, kind
            assert (">damaged<" in store.run(trace_id)._repr_html_()) is (kind not in HARMLESS), kind
        assert {run.trace_id for run in found if store.load(run).damage} >= {
            trace_id for kind, trace_id in hostile.items() if kind not in HARMLESS
        }
    assert not any(STEERS.search(each) for each in shown)


def test_a_damaged_value_is_absent_and_what_is_right_beside_it_stays(cli: Cli, hostile: dict[str, str]) -> None:
    with open_store(cli.db) as store:
        run = store.run(hostile["risk of 1e308"])
        assert run.summary.risk_score is None
        assert "corevital.risk.score" not in run.attributes
        assert run.damage["corevital.risk.score"] == "is 1e+308; 1 is the most"
        assert run.summary.risk_level == "low"
        run = store.run(hostile["beyond its range"])
        assert [repr(float(value)) for value in run.columns["entropy"]] == ["nan", "nan", "nan", "nan", "1.0"]
        assert run.columns["hidden_l2_norm"].tolist() == [[1.0] * 3] * 5
        run = store.run(hostile["objects"])
        assert dict(run.columns) == {}
        assert "Python objects" in run.damage["run_data.entropy"]


# --- what it costs -----------------------------------------------------------------------------------------------


def measured(command: list[str], folder: Path) -> tuple[int, str, str, float, float]:
    """Run a command in a process of its own; return code, output, errors, seconds and MiB at most."""
    code = (
        "import sys\n"
        "from opentelemetry_instrumentation_corevital.cli.app import run_command\n"
        "done = run_command(sys.argv[1:])\n"
        # Not ru_maxrss, which has the parent's memory, too, until the program is executed.
        "most = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "sys.stderr.write(f'\\nRSS {most}\\n')\n"
        "sys.exit(done)\n"
    )
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime  # of a processor: others work here too
    err, _, rss = done.stderr.rpartition("\nRSS ")
    return done.returncode, done.stdout, err, seconds, int(rss) / 1024


@pytest.mark.acceptance
def test_a_thousand_runs_with_every_kind_stay_small_and_quick(tmp_path: Path) -> None:
    path = tmp_path / "hostile.db"
    ids = fill(path, 1000)
    assert len(KINDS) >= 40
    worst: dict[str, tuple[float, float]] = {}
    ids_to_kind = {trace_id: kind for kind, trace_id in ids.items()}
    commands = [*WHOLE]
    for kind in HEAVY:
        commands += [("show", ids[kind], *options) for options in ONE]
    for command in commands:
        code, out, err, seconds, mib = measured(arguments(command, path), tmp_path)
        check(command, code, out, err)
        names = tuple(command[:4])
        if lists_all(command):
            named_by_a_list(ids, err)
        elif names[:3] == ("export", "--format", "report"):
            assert {kind for kind, trace_id in ids.items() if trace_id[:12] in err} == KINDS_DAMAGED
        elif names[0] == "show":
            assert ("is damaged" in err) is (ids_to_kind[names[1]] not in HARMLESS), command
        assert mib < 500, (command, mib)
        assert seconds < 10, (command, seconds)
        name = " ".join(command[:3] if command[0] != "show" else (command[0], *command[2:]))
        before = worst.get(name, (0.0, 0.0))
        worst[name] = (max(before[0], seconds), max(before[1], mib))
    for name, (seconds, mib) in worst.items():
        print(f"{name}: {seconds:.1f} s, {mib:.0f} MiB")

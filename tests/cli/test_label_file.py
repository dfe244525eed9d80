"""`corevital label --from`: labels of many runs from a CSV, all of them or none."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital._internal.user_error import UserError
from opentelemetry_instrumentation_corevital.cli import label_file
from opentelemetry_instrumentation_corevital.cli.label_file import read_labels
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.command_line import Cli
from tests.support.spans import make_call, make_spans


@pytest.fixture
def three(cli: Cli) -> list[str]:
    """Return the trace ids of three stored runs, the newest first."""
    cli.store(make_spans(3))
    return [run["trace_id"] for run in json.loads(cli("runs", "--json")[1])]


def labels(cli: Cli) -> dict[str, tuple[str | None, str | None]]:
    """Return the outcome and the note of each run."""
    with open_store(cli.db) as store:
        runs = [store.load(run) for run in store.runs(limit=None)]
    return {
        f"{run.summary.trace_id}:{run.summary.sequence_index}": (
            (None, None) if run.label is None else (run.label.outcome, run.label.note)
        )
        for run in runs
    }


def test_labels_are_new_changed_or_the_same_and_a_dry_run_writes_none(cli: Cli, three: list[str]) -> None:
    a, b, c = three
    cli("label", b, "--outcome", "correct", "--note", "seen")
    cli("label", c, "--outcome", "correct", "--note", "seen")
    text = f'ID, Outcome ,note,who\r\n{a[:8]},incorrect,"no, ""1823""\nis wrong",me\r\n\r\n,,,\r\n'
    text += f"{b}:0,correct,,me\r\n{c},mine,,"
    Path("l.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    before = labels(cli)
    dry = cli("label", "--from", "l.csv", "--dry-run")
    told = "1 new, 1 changed, 1 the same"
    assert dry == (0, f"3 runs would be labelled: {told}; nothing was written\n", "")
    assert labels(cli) == before
    assert cli("label", "--from", "l.csv") == (0, f"3 runs labelled: {told}\n", "")
    assert labels(cli) == {
        f"{a}:0": ("incorrect", 'no, "1823"\nis wrong'),
        f"{b}:0": ("correct", "seen"),
        f"{c}:0": ("mine", None),
    }
    assert cli("label", "--from", "l.csv")[1] == "3 runs labelled: 0 new, 0 changed, 3 the same\n"


def test_what_runs_writes_with_a_column_more_is_read(
    cli: Cli, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.store(make_call(2))
    rows = list(csv.DictReader(io.StringIO(cli("runs", "--csv")[1])))
    out = io.StringIO()
    writer = csv.DictWriter(out, [*rows[0], "outcome"])
    writer.writeheader()
    writer.writerows({**row, "outcome": "correct" if row["sequence_index"] == "0" else "incorrect"} for row in rows)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.getvalue().encode())))
    assert cli("label", "--from", "-")[1] == "5 runs labelled: 5 new, 0 changed, 0 the same\n"
    assert {name[-1]: outcome for name, (outcome, _) in labels(cli).items()} == {"0": "correct", "1": "incorrect"}
    call = rows[-1]["trace_id"]
    Path("l.csv").write_text(f"trace_id,sequence_index,outcome\n{call},1,correct\n{call},0,correct\n")
    assert cli("label", "--from", "l.csv")[1] == "2 runs labelled: 0 new, 1 changed, 1 the same\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "l.csv: is empty; write a header such as id,outcome,note"),
        ("\n ,\n", "l.csv: is empty"),
        ("id,outcome\n", "l.csv: has no line behind its header"),
        (
            "{a},correct\n",
            "l.csv, line 1: is no header with a column id (or trace_id); write a header such as id,outcome",
        ),
        ("id,label\n{a},correct\n", "l.csv, line 1: the header has no column outcome; name the column label so"),
        ("id;outcome\n{a};correct\n", "l.csv, line 1: its columns are divided by semicolons"),
        ("id\toutcome\n{a}\tcorrect\n", "l.csv, line 1: its columns are divided by tabs"),
        ("id,outcome,ID\n{a},correct,{a}\n", "l.csv, line 1: the header has the column id twice"),
        (
            "id,outcome\n{a},correct\n{b},\n",
            "l.csv, line 3: outcome: is empty, which takes no label away; `corevital label",
        ),
        ("id,outcome\n{a},correct\n{b}\n", "l.csv, line 3: outcome: is empty"),
        ("id,outcome\n{a},correct\n,correct\n", "l.csv, line 3: id: is empty"),
        ("id,outcome\n{a},correct\n\nffffff,correct\n", "l.csv, line 4: id: "),
        ("id,outcome\n{a},correct\nffffff,correct\n", "holds no run ffffff"),
        ("id,outcome\n{a},correct\nab,correct\n", "line 3: id: run 'ab': give at least four characters"),
        ("id,outcome\n{a},correct\n{a}:x,correct\n", "line 3: id: run"),
        ("id,outcome\n{a},correct\n{a}:7,correct\n", "line 3: id: run"),
        ("trace_id,sequence_index,outcome\n{a},0,correct\n{b},x,correct\n", "line 3: sequence_index: x is no number"),
        ("trace_id,span_id,outcome\n{a},,correct\n{b},12,correct\n", "line 3: trace_id, span_id: "),
        ("id,outcome\n{a},correct\n{a}:0,incorrect\n", "line 3: outcome: line 2 says something else of this run"),
        ("id,outcome,note\n{a},correct,x\n{a},correct,y\n", "line 3: note: line 2 says something else of this run"),
        ("id,outcome\n{a},correct\n{b},very wrong\n", "line 3: outcome 'very wrong': give one word"),
        ("id,outcome\n{a},correct\n{b},none\n", "any and none mean any label and none"),
        ("id,outcome,note\n{a},correct,\n{b},correct,no, it is\n", "line 3: has 4 cells, and the header 3; put a text"),
        ('id,outcome,note\n{a},correct,\n{b},correct,"no\n', "line 3: is no CSV"),
        (
            f"id,outcome,note\n{{a}},correct,{'x' * 20_000}\n",
            "line 2: note: has 20,000 characters; 16,384 are the most",
        ),
        (b"id,outcome\n\xe9,correct\n", "l.csv, line 2: is not UTF-8 at byte 11 of the file; save it as UTF-8"),
        ("id,outcome\n{a},correct\n".encode("utf-16"), "l.csv, line 1: is not UTF-8 at byte 0"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    cli: Cli, three: list[str], text: str | bytes, told: str
) -> None:
    a, b, _ = three
    data = text if isinstance(text, bytes) else text.replace("{a}", a).replace("{b}", b).encode()
    Path("l.csv").write_bytes(data)
    code, out, err = cli("label", "--from", "l.csv")
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())
    assert "--from l.csv" in err
    assert set(labels(cli).values()) == {(None, None)}


def test_all_wrong_lines_are_told_up_to_five_of_them(cli: Cli, three: list[str]) -> None:
    Path("l.csv").write_text("id,outcome\n" + f"{three[0]},correct\n" + "ffffff,correct\n" * 9)
    code, _, err = cli("label", "--from", "l.csv")
    assert code == 1
    assert [f"line {number}:" in err for number in (2, 3, 4, 5, 6, 7, 8)] == [False, *[True] * 5, False]
    assert "No line behind that was checked." in err
    assert set(labels(cli).values()) == {(None, None)}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: None, "cannot be read: No such file"),
        (lambda: os.mkdir("l.csv"), "cannot be read: "),
        (lambda: Path("l.csv").write_bytes(b"id,outcome\n" * 100), "cannot be read: "),
    ],
    ids=["missing", "folder", "huge"],
)
def test_a_file_that_is_none_is_told(
    cli: Cli, three: list[str], make: Callable[[], None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_file, "MOST_INPUT_BYTES", 1000)
    make()
    with open_store(cli.db) as store, pytest.raises(UserError, match=f"--from l.csv: {told}"):
        read_labels("l.csv", store)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("last", "--from", "l.csv"), "so RUN does not go with it"),
        (("--from", "l.csv", "--outcome", "correct"), "so --outcome does not go with it"),
        (("--from", "l.csv", "--note", "x"), "so --note does not go with it"),
        (("--from", "l.csv", "--remove"), "so --remove does not go with it"),
        (("last", "--outcome", "correct", "--dry-run"), "--dry-run goes with --from"),
        (("--outcome", "correct"), "Name a run, such as last, or give many with --from"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    cli: Cli, three: list[str], arguments: tuple[str, ...], told: str
) -> None:
    Path("l.csv").write_text(f"id,outcome\n{three[0]},correct\n")
    code, out, err = cli("label", *arguments)
    assert (code, out) == (1, "")
    assert told in " ".join(err.split())
    assert set(labels(cli).values()) == {(None, None)}

"""docs/demo/: the commands of its page print what it says, its store is small and well, and its files fit together."""

import re
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from opentelemetry_instrumentation_corevital.store import RunSource, RunSummary, open_store
from opentelemetry_instrumentation_corevital.store.maintenance import check
from tests.support.html_files import Outline, data_of, unnamed
from tests.support.transcripts import Quoted, printed, transcripts, with_what_is_printed, without_ages

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "docs" / "demo"
README = (DEMO / "README.md").read_text("utf-8")
QUOTED = transcripts(README)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a copy of the store where a checkout has it."""
    folder = tmp_path / "docs" / "demo"
    folder.mkdir(parents=True)
    shutil.copy(DEMO / "runs.db", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_page_quotes_each_command_that_reads_the_store() -> None:
    assert {each.command.split()[1] for each in QUOTED} == {"runs", "show", "similar", "compare"}


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda quoted: quoted.command.split()[1])
@pytest.mark.usefixtures("checkout")
def test_a_command_prints_what_the_page_says(quoted: Quoted) -> None:
    assert without_ages(printed(quoted.command)) == without_ages(quoted.printed)


def test_what_a_command_prints_is_put_behind_it_and_ages_are_not_compared() -> None:
    page = "a\n```console\n$ one\nold\n$ two\n```\nb\n"
    made = with_what_is_printed(page, lambda command: f"{command}!\n")
    assert made == "a\n```console\n$ one\none!\n$ two\ntwo!\n```\nb\n"
    assert without_ages("ab  5 min  x") == without_ages("ab    3 d  x") != without_ages("ab  5 min  y")


def looping(store: RunSource) -> RunSummary:
    return store.runs(limit=1)[0]


def test_the_store_is_small_and_well_and_has_what_the_page_promises(checkout: Path) -> None:
    file = checkout / "runs.db"
    assert file.stat().st_size < 2_000_000
    assert check(file) == []
    with open_store(file) as store:
        runs = store.runs(limit=100)
        assert looping(store).repetition_loop_detected is True
    assert len(runs) == sum(int(count) for count in re.findall(r"^\| (\d+) \| `", README, re.MULTILINE))
    assert {run.model for run in runs} == set(re.findall(r"^\| \d+ \| `([^`]+)`", README, re.MULTILINE))
    assert any(run.inf_detected or run.nan_detected for run in runs)
    assert {run.label for run in runs} == {"correct", "incorrect", None}
    assert sorted(path.name for path in checkout.iterdir()) == ["runs.db"]


def test_nothing_tells_of_the_machine_that_made_it() -> None:
    for name in ("runs.db", "run.html", "README.md"):
        content = (DEMO / name).read_bytes()
        # A folder of somebody's; what stands in the vendored library is a path of an SVG.
        assert re.findall(rb"/(?:home|root|tmp|work|Users)/[\w.-]+", content) == [], name
        assert re.search(rb"\bhost\.(?:name|id)\b|process\.(?:command|executable|owner)", content) is None, name
        assert len(host := socket.gethostname()) < 5 or host.encode() not in content, name


def test_the_page_of_the_run_is_whole_and_is_the_run_that_is_stored(checkout: Path) -> None:
    text = (DEMO / "run.html").read_text("utf-8")
    outline = Outline(text)
    assert unnamed(outline) == []
    assert outline.references == []
    with open_store(checkout / "runs.db") as store:
        run = store.load(looping(store))
    assert run.summary.trace_id in text
    assert (run.summary.narrative or "nothing").split(";")[0] in text
    assert data_of(text, "timelines-data")["last"] == len(run.columns["entropy"]) - 1
    assert data_of(text, "maps-data")["maps"]


def test_pictures_are_small_and_have_the_width_that_their_name_says() -> None:
    pictures = [*DEMO.glob("*.png"), ROOT / "docs" / "images" / "run-1440-light.png"]
    assert {path.name for path in pictures} >= set(re.findall(r"\(([\w-]+\.png)\)", README))
    for path in pictures:
        assert path.stat().st_size < 150_000, path.name
        with Image.open(path) as picture:
            assert picture.mode == "P", path.name
            told = re.search(r"-(\d+)-", path.name)
            assert picture.width == (int(told[1]) if told else 1440), path.name

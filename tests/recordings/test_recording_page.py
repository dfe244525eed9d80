"""docs/recording.md and the README's first program: they run, print a verdict and leave the runs in the store."""

import re
from pathlib import Path

import pytest

import opentelemetry_instrumentation_corevital as corevital
from opentelemetry_instrumentation_corevital.store import open_store
from tests.support.cyclic_models import save_cyclic
from tests.support.subprocesses import ROOT

PAGE = ROOT / "docs" / "recording.md"
README = ROOT / "README.md"
DEMO = '"HuggingFaceTB/SmolLM2-135M-Instruct"'


@pytest.fixture(scope="module")
def looping(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose runs are loops."""
    return save_cyclic(tmp_path_factory.mktemp("looping") / "looping", 10)


def programs(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def stored() -> list[str | None]:
    with open_store("runs/corevital.db") as store:
        return [run.risk_level for run in store.runs(limit=None)]


def test_the_programs_of_the_page_run_one_after_the_other(
    looping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    said, recorded = [], []
    for number, program in enumerate(programs(PAGE)):
        # After `recording.stop()` only what is on by itself judges: here nothing is.
        block = f"with corevital.recording():\n{re.sub('^', '    ', program, flags=re.M)}"
        alone = "recording(" not in program and "generate(" in program and "async" not in program
        text = (block if alone else program).replace(DEMO, repr(looping))
        exec(compile(text, f"{PAGE}:{number}", "exec"), names)
        said.append(capsys.readouterr().out)
        recorded.append(len(stored()) if (tmp_path / "runs").exists() else 0)
    assert "its risk is high" in said[1]
    assert "1 run in " in said[1]
    assert recorded == [0, 1, 3, 4, 5, 8, 11]
    assert said[3].startswith("high 0.9"), "the verdict at the call"
    assert said[4] == "high\n", "of a call in another thread"
    assert re.match(r"risk 0\.9\d after 3 attempts: w\d+", said[5]), said[5]
    assert said[6]


def test_the_recipe_stops_at_an_attempt_that_is_not_risky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    healthy = save_cyclic(tmp_path / "healthy", 100)
    found, (recipe, *_) = programs(PAGE), [each for each in programs(PAGE) if "careful_answer" in each]
    names: dict[str, object] = {}
    for program in (found[0], found[1], recipe):
        exec(compile(program.replace(DEMO, repr(healthy)), str(PAGE), "exec"), names)
    assert names["attempts"] == 1


def test_the_first_program_of_the_readme_is_six_lines_and_records(
    looping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = programs(README)[0]
    assert len(program.strip().splitlines()) <= 6 + 1, "and one that is empty"
    exec(compile(program.replace(DEMO, repr(looping)), str(README), "exec"), {})
    assert "its risk is high" in capsys.readouterr().out
    assert stored() == ["high"]
    assert not corevital.CoreVitalInstrumentor().is_instrumented_by_opentelemetry


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_the_short_name_is_explained_where_it_is_used(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = [name for name in re.findall(r"\bcorevital\.(\w+)", text) if name in corevital.__all__]
    explained = (f"import {corevital.__name__} as corevital", "`corevital` here for short", "written\n`corevital`")
    assert not used or any(each in text for each in explained), used

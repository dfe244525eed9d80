"""docs/monitor.md: its programs run, and its tables name all that there is."""

import re
from pathlib import Path

import pytest

from opentelemetry_instrumentation_corevital import policies
from opentelemetry_instrumentation_corevital.assessment.live_judge import LiveJudge
from opentelemetry_instrumentation_corevital.catalogue.warnings import EARLY_WARNINGS
from tests.support.cyclic_models import save_cyclic
from tests.support.made_runs import make_run
from tests.support.subprocesses import ROOT

PAGE = ROOT / "docs" / "monitor.md"
README = ROOT / "README.md"
DEMO = r'"(smollm2|HuggingFaceTB/SmolLM2-135M-Instruct)"'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose runs are loops."""
    return save_cyclic(tmp_path_factory.mktemp("looping") / "looping", 10)


def programs(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[str]:
    """Return the first cell of each row of the table below a heading."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    return re.findall(r"^\| (`.+?) \|", text.split("\n#")[0], re.MULTILINE)


def test_the_programs_of_the_page_run_one_after_the_other(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, names = programs(PAGE), dict[str, object]()
    assert len(found) >= 7
    for number, program in enumerate(found):
        exec(compile(re.sub(DEMO, repr(model), program), f"{PAGE}:{number}", "exec"), names)
        out, err = capsys.readouterr()
        assert "CoreVital:" not in err
        assert out or "policies=[RollBack" in program
        if number == 0:
            assert "was stopped by a policy" in out


def test_the_program_of_the_readme_runs(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = (each for each in programs(README) if "CoreVitalMonitor" in each)
    assert len(program.splitlines()) <= 15
    exec(compile(re.sub(DEMO, repr(model), program), str(README), "exec"), {})
    assert "\npolicy: The run generated" in capsys.readouterr().out


def test_the_page_names_every_field_of_a_step() -> None:
    event = LiveJudge().judge(0, make_run(1)).event
    assert [row.strip("`") for row in rows("## A step")] == list(event)


def test_the_page_names_every_policy_with_its_defaults() -> None:
    kinds = (policies.Stop, policies.CoolDown, policies.RollBack, policies.BreakReasoning, policies.Retry)
    assert {row.partition("(")[0].strip("`") for row in rows("## Policies")} == {kind.__name__ for kind in kinds}
    for row in rows("## Policies"):
        kind = getattr(policies, row.partition("(")[0].strip("`"))
        fields = kind.__dataclass_fields__
        for name, value in re.findall(r"(\w+)=([^,)]*)", row):
            assert name in fields
            assert not value or fields[name].default == eval(value), row
    text = ", ".join(f"{name}={value!r}" for name, value in policies.ROLL_BACK_CHANGES.items()).replace("'", '"')
    assert text in PAGE.read_text(encoding="utf-8")


def test_the_page_names_every_condition() -> None:
    named = re.findall(r"`([^`]+)`", " ".join(rows("### Conditions")))
    flags = [name.removesuffix("_detected") for name in policies.LIVE_FLAGS]
    assert {name for name in named if ">" not in name} == {*flags, *(each.name for each in EARLY_WARNINGS)}
    for name in named:
        policies.condition(name)

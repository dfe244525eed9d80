"""docs/plan.md: every command, option, name and path in it exists, and no row is without an answer."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

import opentelemetry_instrumentation_corevital as package
from opentelemetry_instrumentation_corevital import policies, processors, semconv
from opentelemetry_instrumentation_corevital.cli.app import app
from opentelemetry_instrumentation_corevital.config import Settings, environment_variable

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "docs" / "plan.md").read_text("utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
STATES: Final = ("works", "partly", "not built")
FORMER: Final = TEXT.index("## From the first CoreVital's `run`")
"""From here on options of the first CoreVital are named."""


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table that has a column `state`, its last two first: state, what differs."""
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            head = []
        elif not head:
            head = cells
        elif "state" in head and not set(cells[0]) <= {"-"}:
            yield cells


ROWS: Final = list(rows(TEXT))
NAMES: Final = sorted(set(re.findall(r"`([^`]+)`", TEXT[:FORMER])))


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    found = dict(group.commands)
    for name, command in group.commands.items():
        found |= {f"{name} {inner}": each for inner, each in getattr(command, "commands", {}).items()}
    return found


def options() -> set[str]:
    return {option for command in commands().values() for each in command.params for option in each.opts}


def exists(name: str) -> bool:
    """Return whether a name of the page is there, in the way in which it is one."""
    bare = name.split(" of ", maxsplit=1)[0].split(", ", maxsplit=1)[0]
    if name.startswith("corevital "):
        return name == "corevital ..." or name.removeprefix("corevital ") in commands()
    if name.startswith("--"):
        return name.split(maxsplit=1)[0] in options()
    if name.startswith("OTEL_"):
        variables = {environment_variable(option) for option in Settings.model_fields}
        return name in variables or name == "OTEL_EXPORTER_OTLP_ENDPOINT"
    if name.startswith("corevital."):
        return name in {each for _, each in semconv.DEFINITIONS} or name == "corevital.x.y"
    if "/" in name or name.endswith((".md", ".yaml", ".toml")):
        return (ROOT / name.split("#", maxsplit=1)[0]).exists()
    head, _, rest = bare.partition("(")[0].partition(".")
    found = next((getattr(place, head) for place in (package, policies, processors) if hasattr(place, head)), None)
    if found is not None:
        return all(hasattr(found, part) for part in rest.split(".") if part)
    return bare in known_words()


def known_words() -> set[str]:
    entry_points = {name for group in PROJECT["entry-points"].values() for name in group}
    return {*entry_points, *PROJECT["optional-dependencies"], *WORDS}


WORDS: Final = {
    *("generate", "run", "stream", "wrap_generation", "should_intervene", "get_risk_score", "get_health_flags"),
    *("get_summary", "set_rag_context", "run_data", "summary", "full", "on_risk", "hub", "extensions.rag", "run_hash"),
    *("failure_risk", "repetition_risk", "generate()", "transformers serve", "processors", "policies"),
}
"""What is named in the plan's words, or is a part of a sentence beside a name that is checked."""


@pytest.mark.parametrize("name", NAMES)
def test_what_the_page_names_is_there(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0][:30])
def test_a_row_has_an_answer_a_test_and_a_state(cells: list[str]) -> None:
    *_, answer, test, state, differs = cells
    assert state in STATES
    if state == "not built":
        assert (answer, test) == ("-", "-")
    else:
        assert answer
        assert all((ROOT / path).is_file() for path in re.findall(r"`(tests/[^`]+)`", test))
        assert "`tests/" in test
    assert state == "works" or len(differs) > 20, "why, or which issue"


def test_every_item_of_the_plan_has_a_row() -> None:
    items = [f"F1.{n}" for n in range(1, 5)] + [f"F2.{n}" for n in range(1, 6)] + [f"F3.{n}" for n in range(1, 5)]
    items += [f"F4.{n}" for n in range(1, 5)] + ["P2.1", "P2.2"] + [f"D{n}" for n in range(1, 6)]
    items += [f"Phase {n}" for n in range(3, 9)]
    first = {cells[0] for cells in ROWS}
    assert [item for item in items if item not in first] == []


def test_the_figures_of_a_published_report_are_those_of_the_script() -> None:
    figures = json.loads((ROOT / "docs/results/plan-rules.json").read_text("utf-8"))
    assert f"blames {figures['layers_blamed']} of the {figures['layers']} layers" in TEXT
    assert not figures["any_flag_but_collapse"]

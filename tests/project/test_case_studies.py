"""docs/case-studies/: every figure that a page quotes is one of its result, and everything that it names is there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "case-studies"
STUDIES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md", FOLDER / "template.md"})
SECTIONS = ["The situation", "What one sees", "The finding", "The mend", "The figures", "Do it again"]
ROW = re.compile(r"^\| (?P<what>[^|]+) \| `(?P<path>[a-z0-9_.]+)` \| (?P<figure>[^|]+) \|$", re.MULTILINE)


def result(page: str) -> dict[str, Any]:
    (name,) = set(re.findall(r"\(\.\./results/(case-[a-z0-9-]+\.json)\)", page))
    return dict(json.loads((FOLDER.parent / "results" / name).read_text("utf-8")))


def at(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = found[int(part)] if part.isdigit() else found[part]
    return found


def shown(value: Any) -> str:
    """Return a value of a result as pages write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{value:g}" if isinstance(value, float) and value < 1000 else f"{value:,}"


def wrong(page: str, found: dict[str, Any]) -> list[str]:
    """Return the rows of a page whose figure is not that of the result, and figures of its prose that no row has."""
    rows = {row["path"]: row["figure"].strip() for row in ROW.finditer(page)}
    assert rows, "a page has a table of figures"
    bad = [f"{path}: {figure}" for path, figure in rows.items() if figure != shown(at(found, path))]
    told = {number for text in re.findall(r"\*\*([^*]+)\*\*", page) for number in re.findall(r"\d[\d,.]*\d|\d", text)}
    # A fraction may be told in percent, too.
    known = set(rows.values()) | {f"{100 * float(each):.0f}" for each in rows.values() if re.fullmatch(r"0\.\d+", each)}
    return bad + sorted(told - known)


def test_there_are_two_studies_and_a_template_and_the_list_names_them() -> None:
    assert len(STUDIES) >= 2
    listed = re.findall(r"\]\(([a-z0-9-]+\.md)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert set(listed) == {path.name for path in (*STUDIES, FOLDER / "template.md")}


@pytest.mark.parametrize("path", [*STUDIES, FOLDER / "template.md"], ids=lambda path: path.stem)
def test_a_study_has_every_section(path: Path) -> None:
    assert re.findall(r"^## (.+)$", path.read_text("utf-8"), re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_quotes_its_result_and_the_command_that_made_it(path: Path) -> None:
    page = path.read_text("utf-8")
    found = result(page)
    assert wrong(page, found) == []
    assert found["command"] in page
    assert str(found["commit"]).removesuffix("-dirty") in page
    script = found["command"].split()[1]
    assert (ROOT / script).is_file()


def test_a_figure_that_is_not_of_the_result_is_found() -> None:
    page = "| lost | `lost` | 3 |\n| part | `part` | 0.25 |\n**3** of **25 %**, and **7**"
    assert wrong(page, {"lost": 3, "part": 0.25}) == ["7"]
    assert wrong(page, {"lost": 4, "part": 0.25}) == ["lost: 3", "7"]

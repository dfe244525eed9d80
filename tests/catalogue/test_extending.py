"""docs/extending.md names the files that have to be touched: those of the toys, and no other."""

import re
from pathlib import Path

import pytest

from tests.support import catalogue_additions
from tests.support.catalogue_additions import ADDED, Addition, changed, located
from tests.support.subprocesses import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {heading: text for heading, _, text in (part.partition("\n") for part in re.split(r"\n##+ ", PAGE)[1:])}

ADDITIONS = {
    "A signal": (*catalogue_additions.SIGNAL, *catalogue_additions.STEP_SIGNAL),
    "Of modules that only some layers have": catalogue_additions.FAMILY,
    "A verdict: a health flag": catalogue_additions.FLAG,
    "A verdict: an early warning": catalogue_additions.WARNING,
    "A verdict: a compound signal": catalogue_additions.COMPOUND,
    "A verdict: another attribute": catalogue_additions.CARRIED,
}


def rows(section: str, kind: str) -> list[set[str]]:
    """Return the files of each row of a section's table with this heading."""
    _, _, table = SECTIONS[section].partition(f"| {kind} |")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [set(re.findall(r"`([^`]+)`", line.split("|")[1])) for line in lines]


@pytest.mark.parametrize("section", ADDITIONS)
def test_what_is_touched_by_hand_is_what_the_table_names(section: str) -> None:
    named = rows(section, "touch")
    touched = {path if into else f"{path.rpartition('/')[0]}/" for path, into, _ in ADDITIONS[section]}
    assert named
    assert touched <= set().union(*named), "the page forgets a file"
    assert all(row & touched for row in named), "the page names a file that need not be touched"


def test_a_copy_differs_in_what_the_page_names_and_in_what_make_docs_writes(tree: Path) -> None:
    touched = {located(addition.path).relative_to(ROOT).as_posix() for addition in ADDED}
    generated = set().union(*rows("What `make docs` writes", "generated"))
    assert changed(tree) - touched == generated
    assert touched <= changed(tree)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_file_that_is_named_is_there(section: str) -> None:
    found = {
        name for name in re.findall(r"`([\w./-]+)`", SECTIONS[section]) if "/" in name or name.endswith((".py", ".md"))
    }
    assert found or section.startswith("A verdict")
    assert not {name for name in found if not located(name).exists()}


def test_every_recipe_has_a_table() -> None:
    for section in SECTIONS:
        assert rows(section, "touch") or rows(section, "generated"), section


def test_an_addition_that_has_no_place_is_no_addition(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("A: tuple = (\n    1,\n)\n", encoding="utf-8")
    catalogue_additions.add([Addition("x.py", "A", "    2,")], tmp_path)
    assert (tmp_path / "x.py").read_text(encoding="utf-8") == "A: tuple = (\n    1,\n    2,\n)\n"
    with pytest.raises(ValueError, match="there is no B"):
        catalogue_additions.add([Addition("x.py", "B", "3,")], tmp_path)

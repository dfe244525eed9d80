"""docs/architecture.md describes every room and names only what is there; its drawing is that of the import graph."""

import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.import_graph import PACKAGE, ROOT, SOURCE, downward, ours, room_of, rooms

DOCS = ROOT / "docs"
PAGE = (DOCS / "architecture.md").read_text("utf-8")
SVG = "{http://www.w3.org/2000/svg}"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
PAGES.remove(ROOT / "CHANGELOG.md")  # of versions in which files had other names
PACKAGES = sorted(path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*/__init__.py"))


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("architecture_drawing")


def drawn() -> str:
    return (DOCS / "architecture.svg").read_text("utf-8")


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 120


def test_the_page_describes_every_room() -> None:
    modules = {room for room in rooms() if (SOURCE / f"{room}.py").exists()}
    table = PAGE.partition("| room | its job |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([\w/.]+)`", row.partition(" | ")[0])}
    assert named == {f"{room}.py" if room in modules else f"{room}/" for room in rooms()}


@pytest.mark.parametrize("package", [name for name in PACKAGES if "/" in name])
def test_the_page_leads_into_every_room_of_a_room(package: str) -> None:
    assert f"`{package}/" in PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    """A path begins at the package, the repository's root or the page; a test's data may go by their file's name."""
    text = page.read_text("utf-8")
    named = set(
        re.findall(r"`((?:[\w.]+/)*\w+\.(?:py|sql|j2)|(?:tests|docs|benchmarks|collector|scripts)/[\w./]*)`", text)
    )
    named |= {name for name in re.findall(r"`((?:\w+/)+)`", text) if name.split("/")[0] in rooms()}
    places = (SOURCE, ROOT, page.parent, ROOT / "tests" / "store", ROOT / "collector")
    assert sorted(name for name in named if not any((place / name).exists() for place in places)) == []


def test_the_page_names_what_to_open() -> None:
    assert len(re.findall(r"`[\w/]+/\w+\.py`", PAGE)) > 20


# --- the drawing ---------------------------------------------------------------------------------------------------


def test_the_drawing_is_that_of_the_import_graph(drawing: ModuleType) -> None:
    assert drawing.page() == drawn(), "run `make docs`"


def test_the_drawing_has_a_box_for_every_room() -> None:
    boxes = [text.text for text in ET.fromstring(drawn()).iterfind(f".//{SVG}g/{SVG}text")]
    inside = {name.split(".")[2] for name in ours() if name.startswith(f"{PACKAGE}.capture.")}
    assert sorted(boxes) == sorted([*rooms(), *inside])


def test_the_drawing_names_every_import_between_rooms() -> None:
    titles = [title.text or "" for title in ET.fromstring(drawn()).iterfind(f".//{SVG}g/{SVG}title")]
    names = [text.text for text in ET.fromstring(drawn()).iterfind(f".//{SVG}g/{SVG}text")]
    said = dict(zip(names, titles, strict=True))
    for name in ours():
        for imported in downward().find_modules_directly_imported_by(name):
            if imported.startswith(f"{PACKAGE}.") and room_of(imported) != (room := room_of(name)):
                assert re.search(rf"Imports: .*\b{room_of(imported)}\b", said[room]), (room, imported)


def test_a_new_import_changes_the_drawing(drawing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawing.imports

    def one_more(graph: object, above: str) -> dict[str, set[str]]:
        edges: dict[str, set[str]] = found(graph, above)
        if above == PACKAGE:
            assert "presentation" not in edges["doctor"]
            edges["doctor"].add("presentation")
        return edges

    before = drawing.page()
    monkeypatch.setattr(drawing, "imports", one_more)
    assert drawing.page() != before


ORDER = [["cli"], ["store", "capture"], ["run"]]


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ({"cli": {"store"}, "store": {"cli"}, "capture": set(), "run": set()}, "store imports cli"),
        ({"cli": {"store"}, "store": {"capture"}, "capture": set(), "run": set()}, "store imports capture"),
        ({"cli": {"store"}, "store": set(), "run": set()}, "capture"),
        ({"cli": {"store"}, "store": set(), "capture": set(), "run": set(), "new": set()}, "new"),
    ],
    ids=["upwards", "sideways", "missing", "new"],
)
def test_what_cannot_be_drawn_is_refused(drawing: ModuleType, edges: dict[str, set[str]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        drawing.check(edges, ORDER)


def test_a_room_without_a_column_is_refused(drawing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(drawing.COLUMNS, "store")
    with pytest.raises(ValueError, match="store"):
        drawing.page()


def test_an_arrow_is_an_import_that_does_not_follow_from_others(drawing: ModuleType) -> None:
    edges = {"cli": {"store", "run"}, "store": {"run"}, "run": set()}
    assert set(drawing.arrows(edges)) == {("cli", "store"), ("store", "run")}


def test_no_arrow_runs_through_a_box(drawing: ModuleType) -> None:
    """Every line of the drawing keeps out of all boxes: it only begins and ends at one's edge."""
    root = ET.fromstring(drawn())
    boxes = [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in root.iterfind(f"{SVG}g/{SVG}rect")
    ]
    lines = [
        tuple(float(line.attrib[name]) for name in ("x1", "y1", "x2", "y2")) for line in root.iterfind(f"{SVG}line")
    ]
    assert len(lines) > 10
    for x1, y1, x2, y2 in lines:
        for part in range(1, 200):
            x, y = x1 + (x2 - x1) * part / 200, y1 + (y2 - y1) * part / 200
            assert not any(left < x < left + width and top < y < top + height for left, top, width, height in boxes)

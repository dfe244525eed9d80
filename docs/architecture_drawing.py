"""docs/architecture.svg: the rooms, in the order in which they may import each other, drawn from the import graph.

The order is that of the contracts in pyproject.toml, what a room does the first sentence of its docstring. Only where a
room stands in its row is chosen here. An import upwards that the contracts do not name, a room without a place and a place without a room are errors.
"""

import ast
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

import grimp

PACKAGE: Final = "opentelemetry_instrumentation_corevital"
ROOT: Final = Path(__file__).parent.parent

COLUMNS: Final = {
    "processors": (2, 2),
    "testing": (0, 0),
    "cli": (3, 7),
    "doctor": (3, 3),
    "receiver": (4, 4),
    "dashboard": (5, 5),
    "monitor": (8, 8),
    "recordings": (1, 1),
    "overhead": (9, 9),
    "instrumentation": (0, 1),
    "legacy": (6, 6),
    "loading": (8, 8),
    "emission": (2, 2),
    "store": (4, 4),
    "presentation": (4, 4),
    "calibration": (7, 7),
    "evaluation": (7, 7),
    "capture": (0, 1),
    "assessment": (3, 3),
    "baselines": (4, 4),
}
"""Room -> the first and the last column of its box, so that no arrow crosses another box."""

SHARED: Final = "run"
"""The first room of the lowest layers: any room above may import these, so that no arrow leads there."""

WIDTH, HEIGHT, STEP, CELL, MARGIN = 118, 30, 52, 134, 12

Edges = dict[str, set[str]]


def imports(graph: grimp.ImportGraph, above: str) -> Edges:
    """Return which rooms below `above` import which others, for types and inside of functions, too."""
    found: Edges = {name.rpartition(".")[2]: set() for name in graph.find_children(above)}
    for name in graph.find_descendants(above):
        room = name.removeprefix(f"{above}.").split(".")[0]
        for imported in graph.find_modules_directly_imported_by(name):
            if imported.startswith(f"{above}."):
                found[room].add(imported.removeprefix(f"{above}.").split(".")[0])
    return {room: others - {room} for room, others in found.items()}


def layers(container: str) -> list[list[str]]:
    """Return the layers of a contract of pyproject.toml, the top one first; those still to come are left out."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == [container])
    named = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [[name for name in layer if not name.startswith("(")] for layer in named]


def upward() -> list[tuple[str, str]]:
    """Return the imports upwards that the contracts of pyproject.toml name: they are not drawn."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == [PACKAGE])
    pairs = (each.split(" -> ") for each in contract.get("ignore_imports", ()))
    return [(importer, imported) for importer, imported in pairs]


def check(edges: Edges, order: list[list[str]]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ValueError: if a room is in no layer, a layer names a room that is not there, or an import does not lead down.
    """
    row = {room: number for number, layer in enumerate(order) for room in layer}
    if row.keys() != edges.keys():
        raise ValueError(f"rooms without a layer, or layers without a room: {sorted(row.keys() ^ edges.keys())}")
    for room, others in edges.items():
        for other in sorted(others):
            if row[room] >= row[other]:
                raise ValueError(f"{room} imports {other}, which does not lie below it")


def arrows(edges: Edges) -> Iterator[tuple[str, str]]:
    """Yield the imports that do not follow from others: none that also leads through a third room."""
    reached: Edges = {}

    def below(room: str) -> set[str]:
        if room not in reached:
            reached[room] = edges[room].union(*map(below, edges[room]))
        return reached[room]

    for room, others in edges.items():
        for other in sorted(others):
            if not any(other in below(third) for third in others - {other}):
                yield room, other


def job(room: str) -> str:
    """Return the first line of a room's docstring."""
    path = ROOT / "src" / PACKAGE / room
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def _box(name: str, said: str, left: float, top: float, width: float, kind: str = "room") -> list[str]:
    return [
        f'<g class="{kind}"><title>{escape(said)}</title>',
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{HEIGHT}" rx="5"/>',
        f'<text x="{left + width / 2:g}" y="{top + HEIGHT / 2 + 4:g}">{escape(name)}</text></g>',
    ]


def _row_of_boxes(names: list[str], said: dict[str, str], top: float, width: float, kind: str) -> list[str]:
    each = (width + 8) / len(names)
    placed = ((name, MARGIN + each * number) for number, name in enumerate(names))
    return [line for name, left in placed for line in _box(name, said[name], left, top, each - 8, kind)]


def _said(edges: Edges, folder: str = "") -> dict[str, str]:
    """Return for each room its job and all that it imports."""
    return {
        room: f"{job(f'{folder}{room}')} Imports: {', '.join(sorted(others)) or 'nothing of ours'}."
        for room, others in edges.items()
    }


def page() -> str:
    """Return docs/architecture.svg.

    Raises:
        ValueError: if a room cannot be drawn, see `check`.
    """
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    for importer, imported in upward():
        graph.remove_import(importer=importer, imported=imported)
    edges, order = imports(graph, PACKAGE), layers(PACKAGE)
    check(edges, order)
    inside, steps = imports(graph, f"{PACKAGE}.capture"), layers(f"{PACKAGE}.capture")
    check(inside, steps)
    first = next(number for number, layer in enumerate(order) if SHARED in layer)
    drawn = {room: number for number, layer in enumerate(order[:first]) for room in layer}
    if drawn.keys() != COLUMNS.keys():
        raise ValueError(f"COLUMNS: rooms without a place, or places without a room: {drawn.keys() ^ COLUMNS.keys()}")

    said, lines = _said(edges), list[str]()
    width = CELL * max(last + 1 for _, last in COLUMNS.values()) - (CELL - WIDTH)
    for room, lower in arrows({room: edges[room] & drawn.keys() for room in drawn}):
        begin, end = COLUMNS[room], COLUMNS[lower]
        from_column = min(max(end[0], begin[0]), begin[1])
        x, to = (MARGIN + column * CELL + WIDTH / 2 for column in (from_column, end[0]))
        y, bottom = MARGIN + drawn[room] * STEP + HEIGHT, MARGIN + drawn[lower] * STEP
        lines.append(f'<line x1="{x:g}" y1="{y:g}" x2="{to:g}" y2="{bottom - 2:g}"/>')
    for room, row in drawn.items():
        left, right = COLUMNS[room]
        box = _box(room, said[room], MARGIN + left * CELL, MARGIN + row * STEP, (right - left) * CELL + WIDTH)
        lines += box
    top = MARGIN + first * STEP
    lines.append(f'<text class="note" x="{MARGIN}" y="{top + 6}">Any room above may import these:</text>')
    for layer in order[first:]:
        top += 14 if layer is order[first] else STEP - 12
        lines += _row_of_boxes(layer, said, top, width, "shared")
    top += STEP + 8
    lines.append(
        f'<text class="note" x="{MARGIN}" y="{top}">Inside capture, each may import those to its right:</text>'
    )
    names = [name for layer in steps for name in layer]
    lines += _row_of_boxes(names, _said(inside, "capture/"), top + 8, width, "inside")
    return _document(lines, width + 2 * MARGIN, top + 8 + HEIGHT + MARGIN)


def _document(lines: list[str], width: float, height: float) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">',
            "<title>The rooms of CoreVital; imports go down</title>",
            "<style>",
            "rect { stroke: #57606a; fill: #eef4fb } .shared rect { fill: #f4f1e8 } .inside rect { fill: #edf7ed }",
            "text { font: 13px sans-serif; text-anchor: middle; fill: #1f2328 }",
            ".shared text, .inside text { font-size: 12px } text.note { text-anchor: start; font-size: 12px }",
            "line { stroke: #57606a; stroke-width: 1.3; marker-end: url(#head) }",
            "</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
            '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>',
            f'<rect width="{width:g}" height="{height:g}" style="fill: #ffffff; stroke: none"/>',
            *lines,
            "</svg>",
            "",
        ]
    )

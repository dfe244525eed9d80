"""No benchmark learns a baseline into the data folder of whoever runs it."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
WATCHING = {"instrument", "CoreVitalMonitor", "default_judgements"}
"""What learns where nothing else is asked for."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="only a checkout has the benchmarks")


def called(tree: ast.AST) -> set[str]:
    """Return the names of what a file calls."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {each.id for each in functions if isinstance(each, ast.Name)}
    return named | {each.attr for each in functions if isinstance(each, ast.Attribute)}


def chooses(tree: ast.AST) -> bool:
    """Whether a file names the baseline of its runs, or gives its process a data folder of its own."""
    named, folder = False, False
    for node in ast.walk(tree):
        named |= isinstance(node, ast.keyword) and node.arg == "baseline"
        if isinstance(node, ast.Dict):
            named |= "baseline" in {key.value for key in node.keys if isinstance(key, ast.Constant)}
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            folder |= isinstance(node.slice, ast.Constant) and node.slice.value == "XDG_DATA_HOME"
    return named or folder


def test_every_benchmark_that_watches_runs_says_what_becomes_of_their_baseline() -> None:
    watching, careless = 0, []
    for path in sorted(FOLDER.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        if not called(tree) & WATCHING:
            continue
        watching += 1
        program = path.with_name("__main__.py")
        if not chooses(tree) and not (program.is_file() and chooses(ast.parse(program.read_text("utf-8")))):
            careless.append(str(path.relative_to(FOLDER)))
    assert watching > 3
    assert careless == []


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("instrument(judgements=[keep])", False),
        ("instrument(judgements=[keep], baseline='off')", True),
        ("default_judgements(load_settings({'capture': 'full'}))", False),
        ("default_judgements(load_settings({'baseline': 'off'}))", True),
        ("os.environ['XDG_DATA_HOME'] = folder\nmonitor = CoreVitalMonitor()", True),
        ("os.environ['HOME'] = folder\nmonitor = CoreVitalMonitor()", False),
    ],
)
def test_what_counts_as_saying_so(text: str, chosen: bool) -> None:
    assert chooses(ast.parse(text)) == chosen

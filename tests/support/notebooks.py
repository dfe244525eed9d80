"""Runs the code of a notebook, in order and in one namespace, and makes what its cells would show.

`python -m tests.support.notebooks examples/notebook/first_look.ipynb` writes the outputs of one anew.
"""

import ast
import base64
import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

SHOWN: Final = {"text/html": "_repr_html_", "image/png": "_repr_png_"}
"""MIME type -> the method by which an object shows itself so."""

Output = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """Return a notebook."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def executed(notebook: dict[str, Any], names: dict[str, Any] | None = None) -> list[list[Output]]:
    """Return the outputs of each code cell: what it prints, and what its last expression shows.

    Args:
        notebook: what is run, in the current folder.
        names: the namespace, which has what the cells have made afterwards.
    """
    names = {"__name__": "__main__"} if names is None else names
    return [_executed(source(cell), number, names) for number, cell in enumerate(code_cells(notebook), 1)]


def _executed(code: str, number: int, names: dict[str, Any]) -> list[Output]:
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = StringIO(), None
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)  # type: ignore[attr-defined]
    outputs: list[Output] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(printed.getvalue())})
    if value is not None:
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
        outputs.append({**result, "data": shown(value)})
    return outputs


def shown(value: Any) -> dict[str, Any]:
    """Return an object as Jupyter shows it, by MIME type."""
    data: dict[str, Any] = {"text/plain": lines(repr(value))}
    for kind, method in SHOWN.items():
        made = getattr(value, method, lambda: None)()
        if isinstance(made, bytes):
            data[kind] = base64.b64encode(made).decode("ascii")
        elif made is not None:
            data[kind] = lines(made)
    return data


def lines(text: str) -> list[str]:
    """Return text as notebooks hold it."""
    return text.splitlines(keepends=True)


def rewrite(path: Path) -> None:
    """Run a notebook and write its outputs into it."""
    notebook = read(path)
    for number, (cell, outputs) in enumerate(zip(code_cells(notebook), executed(notebook), strict=True), 1):
        cell["outputs"], cell["execution_count"] = outputs, number
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]).resolve())

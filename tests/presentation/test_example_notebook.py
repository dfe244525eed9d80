"""examples/notebook: its cells run, and the outputs that it holds are those of such a run."""

import base64
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from opentelemetry_instrumentation_corevital import Run
from opentelemetry_instrumentation_corevital.loading.models import LoadedModel
from opentelemetry_instrumentation_corevital.presentation.notebook import MOST
from opentelemetry_instrumentation_corevital.store import RunList, StoredRun
from tests.support.notebooks import Output, code_cells, executed, read, source

NOTEBOOK: Final = Path(__file__).parents[2] / "examples" / "notebook" / "first_look.ipynb"
MOST_TOKENS: Final = 40
USUAL_FOLDERS: Final = ("home", "root", "tmp")
"""Where programs and their files are on the machines that make notebooks."""


def kinds(outputs: list[Output]) -> list[tuple[str, list[str]]]:
    return [(each["output_type"], sorted(each.get("data", ()))) for each in outputs]


@pytest.mark.real_model
def test_its_cells_run_and_show_what_it_holds(
    smollm2: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is loaded by its name, as a user does it; the fixture says whether it is there."""
    monkeypatch.chdir(tmp_path)
    notebook, names = read(NOTEBOOK), dict[str, Any]()
    found = executed(notebook, names)
    held = [cell["outputs"] for cell in code_cells(notebook)]
    assert [kinds(each) for each in found] == [kinds(each) for each in held]
    assert isinstance(names["run"], Run)
    assert isinstance(names["stored"], StoredRun)
    assert isinstance(names["rec"].runs, RunList)
    assert sum(run.output_tokens or 0 for run in names["rec"].runs) <= MOST_TOKENS
    assert (tmp_path / "runs" / "run.html").stat().st_size > 20_000
    shown = "".join(text for each in found for output in each for text in output.get("data", {}).get("text/html", ()))
    assert "The primary colours are" in shown, "the tokens of the live run"


def test_what_it_holds_is_small_and_names_no_machine() -> None:
    notebook, text = read(NOTEBOOK), NOTEBOOK.read_text(encoding="utf-8")
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len(text) < 150_000
    assert not re.search(rf"/({'|'.join(USUAL_FOLDERS)})/|Traceback", text)
    assert [cell["execution_count"] for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    data = [output["data"] for cell in code_cells(notebook) for output in cell["outputs"] if "data" in output]
    assert all(len("".join(each["text/html"])) <= MOST for each in data if "text/html" in each)
    (picture,) = (each["image/png"] for each in data if "image/png" in each)
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert json.dumps(notebook, indent=1, ensure_ascii=False) + "\n" == text


def test_it_imports_public_names_alone() -> None:
    code = "\n".join(source(cell) for cell in code_cells(read(NOTEBOOK)))
    assert re.findall(r"^(?:from|import) .*$", code, re.M) == [
        "import opentelemetry_instrumentation_corevital as corevital"
    ]

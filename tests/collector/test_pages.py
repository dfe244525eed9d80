"""What the heads of the files and docs/collector.md say of variables, defaults and files is what the files do."""

import re
from pathlib import Path

import pytest

from tests.support.collectors import FOLDER, OVERLAYS, ROOT, variables_without_default
from tests.support.processes import COLLECTOR_CONFIG

PAGE = (ROOT / "docs" / "collector.md").read_text(encoding="utf-8")
FILES = [COLLECTOR_CONFIG, *(FOLDER / f"{name}.yaml" for name in OVERLAYS)]
# Read by more than one file: the base's page has them.
SHARED = {"COREVITAL_COLLECTOR_GIVE_UP", "COREVITAL_COLLECTOR_QUEUE_BYTES"}


def defaults(path: Path) -> dict[str, str]:
    """Variable -> its default, of what a file reads outside its comments."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    return dict(re.findall(r"\$\{env:(\w+)(?::-([^}]*))?\}", "\n".join(lines)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_of_a_file_names_its_variables_with_their_defaults(path: Path) -> None:
    head = path.read_text(encoding="utf-8").partition("\n\n" if path != COLLECTOR_CONFIG else "extensions:")[0]
    required = variables_without_default(path)
    for variable, default in defaults(path).items():
        if path != COLLECTOR_CONFIG and variable in SHARED:
            continue
        assert re.search(rf"^#   {variable}\b", head, re.MULTILINE), f"{variable} is not explained"
        if variable in required:
            assert "has to be set" in head, variable
        elif default not in ("", "[]"):
            assert default in head, (variable, default)


def test_the_page_has_the_variables_of_the_base_with_their_defaults() -> None:
    rows = [row for row in PAGE.splitlines() if row.startswith("| `COREVITAL_")]
    for variable, default in defaults(COLLECTOR_CONFIG).items():
        (row,) = [row for row in rows if f"`{variable}`" in row.split("|")[1]]
        shown = {"1073741824": "1 GiB"}.get(default, default)
        assert shown in row, (variable, default)


def test_the_page_has_every_file_and_no_others() -> None:
    for name in OVERLAYS:
        assert f"`{name}.yaml`" in PAGE, name
    ours = {"otlp", "jaeger", "phoenix", "clickhouse", "file", "gateway", "no-store", "secure"}
    assert ours <= set(OVERLAYS)
    for page in (ROOT / "docs" / "collector.md", ROOT / "docs" / "integrations.md", ROOT / "README.md", *FILES):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"--config (collector\S*\.yaml)", text):
            assert (ROOT / name).is_file(), (page.name, name)
        for target in re.findall(r"\]\((?!http)([^)#]+\.md)", text) if page.suffix == ".md" else ():
            assert (page.parent / target).is_file(), (page.name, target)


def test_variables_of_the_pages_are_read_by_something() -> None:
    read = {variable for path in FILES for variable in defaults(path)}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    for page in ("collector.md", "integrations.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for variable in set(re.findall(r"\b(?:OTEL_)?COREVITAL_\w+\b", text)):
            known = variable in read or variable in code
            assert known or variable.startswith(("COREVITAL_PROMETHEUS", "COREVITAL_SAMPLING")), (page, variable)

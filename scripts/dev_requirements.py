"""Print the development dependencies of pyproject.toml, one a line: the pip of a new environment may know no groups."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
print(*project["dependency-groups"]["dev"], sep="\n")

"""What somebody writes who adds signals and verdicts as docs/extending.md says, and how it comes into a copy."""

import ast
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from opentelemetry_instrumentation_corevital.store.database import SCHEMA_VERSION
from tests.support.subprocesses import ROOT, run

NEXT: Final = SCHEMA_VERSION + 1
"""The version of the store that has the columns of the toys."""

PACKAGE: Final = "src/opentelemetry_instrumentation_corevital"
COPIED: Final = ("src", "docs", "collector", "tests")
"""Beside pyproject.toml, from which pages are made, too."""


class Addition(NamedTuple):
    """A text that is written into a file of the copy."""

    path: str
    """From the root, or from the package."""
    into: str
    """The tuple or dictionary of the module, or the function whose returned dictionary, that it becomes the last part
    of; or how the line begins that it comes behind; empty: the file is new."""
    text: str


_ENTRY = """
        entry=Entry(
            definition="a toy, at {{limit norm_jump}}",
            unit="boolean",
            default="every run",
            evidence="layer",
            measured="never",
            advice="put it away",
        ),"""

SIGNAL: Final = (
    Addition(
        "catalogue/hidden_state_signals.py",
        "SIGNALS",
        """
    Signal(
        name="toy_smallest",
        family="hidden",
        shape="layer",
        definition="smallest absolute value",
        lowest=0.0,
        entry=replace(entries.HIDDEN, definition="the smallest absolute value"),
        stored="float16",
        dropped=5,
        layer_array=LayerArray(meaning="mean over steps of the smallest absolute value", heading="toys"),
        step=StepField(meaning="mean over layers of it", detail=True),
        gauge="mean of it in the last run",
        heat_map=HeatMap(rank=15, title="smallest absolute value"),
    ),""",
    ),
    Addition("catalogue/hidden_state_signals.py", "from typing import Final", "from dataclasses import replace"),
    Addition("capture/definitions/hidden_states.py", "hidden_statistics", '"toy_smallest": hidden.abs().amin(-1),'),
    Addition("tests/support/reference.py", "hidden_reference", '"toy_smallest": min(abs(x) for x in vector),'),
)
"""A number per step and layer, of a family that there is."""

STEP_SIGNAL: Final = (
    Addition(
        "catalogue/logit_signals.py",
        "SIGNALS",
        """
    Signal(
        name="toy_step",
        family="logits",
        shape="step",
        definition="twice the margin",
        entry=replace(entries.MARGIN, definition="twice the margin"),
        summaries=(Summary(statistic="max", meaning="largest toy"),),
        series="toys over steps",
        step=StepField(meaning="a toy", heading="toy"),
        timeline=Timeline(rank=5, title="twice the margin"),
        profile=25,
    ),""",
    ),
    Addition("catalogue/logit_signals.py", "from typing import Final", "from dataclasses import replace"),
    Addition("capture/definitions/logits.py", "numbers_of", '"toy_step": 2.0 * signals.margin,'),
)

FAMILY: Final = (
    Addition(
        "catalogue/toys.py",
        "",
        '''"""Numbers of some layers."""

from dataclasses import replace

from . import signal_entries as entries
from .signal import HeatMap, LayerArray, Signal

SIGNALS = (
    Signal(
        name="toy_routed",
        family="toys",
        shape="layer",
        definition="a number of some layers",
        entry=replace(entries.HIDDEN, definition="a number of some layers"),
        dropped=6,
        layer_array=LayerArray(meaning="mean over steps of a number of some layers"),
        heat_map=HeatMap(rank=25, title="a number of some layers"),
    ),
)
''',
    ),
    Addition("catalogue/signals.py", "from . import attention", "from . import toys"),
    Addition("catalogue/signals.py", "*hidden_state_signals.SIGNALS", "    *toys.SIGNALS,"),
    Addition(
        "catalogue/signals.py",
        'name="hidden", title=',
        """),
    Family(name="toys", title="Toys: one number per step and layer", group="toys", index="toys_index"
""",
    ),
    Addition("catalogue/measured.py", "GROUPS", '"toys": "the toys",'),
)
"""A family of its own has layers of its own: the others are holes."""

FLAG: Final = (
    Addition(
        "catalogue/flags.py",
        "FLAGS",
        f"""
    Flag(
        name="toy_detected",
        word="toy",
        label="toy",
        meaning="there was a toy",
        about="layers",
        needs=("hidden_states",),
        weight=0.6,
        sentences=(Sentence("A toy lay in layer {{layer}}."),),{_ENTRY}
        since={NEXT},
    ),""",
    ),
    Addition(
        "assessment/health.py",
        "JUDGES",
        """
    "toy_detected": lambda run, thresholds, deviating: FlagFinding(
        {"layer": 2} if "hidden_nan" in run.columns else {},
        {} if "hidden_nan" in run.columns else {"toy_detected": "the layers were not measured"},
    ),""",
    ),
    Addition("tests/support/reported_runs.py", "FLAGGED", '"toy_detected": lambda: add_layers(make_run(), 6),'),
)

COMPOUND: Final = (
    Addition(
        "catalogue/warnings.py",
        "COMPOUND",
        f"""
    Compound(
        name="toy_heap",
        severity=0.6,
        needs=("entropy",),{_ENTRY}
    ),""",
    ),
    Addition("assessment/compound.py", "JUDGES", '"toy_heap": lambda run, thresholds: {"toys": 3},'),
)

WARNING: Final = (
    Addition(
        "catalogue/warnings.py",
        "EARLY_WARNINGS",
        f"""
    WarningSignal(
        name="toy_coming",
        signal="entropy",
        needs="entropy",
        sentence="a toy came",{_ENTRY}
    ),""",
    ),
    Addition(
        "assessment/early_warning.py",
        "        self._logits_warn(signals)",
        """
        if self._step == 30:
            self._warn(signals, "toy_coming", lambda: {"toys": 1})""",
    ),
)

CARRIED: Final = (
    Addition(
        "catalogue/carried.py",
        "CARRIED",
        f"""
    Carried(
        path="risk.toys",
        type="double",
        unit="1",
        meaning="toys for each layer",
        role="risk",
        column="toys",
        since={NEXT},
        view="Toys",
        carriers=("route",),
    ),""",
    ),
    Addition(
        "assessment/verdict_attributes.py",
        "            semconv.RISK_METHOD: lambda _, risk: risk.method,",
        '            "corevital.risk.toys": lambda _, risk: risk.score / 2,',
    ),
)


def add(additions: Iterable[Addition], tree: Path) -> None:
    """Write additions into a copy."""
    for path, into, text in additions:
        file = located(path, tree)
        if not into:
            file.write_text(text, encoding="utf-8")
            continue
        lines = file.read_text(encoding="utf-8").splitlines()
        at = _behind(lines, into)
        file.write_text("\n".join([*lines[:at], text, *lines[at:], ""]), encoding="utf-8")


def located(path: str, tree: Path = ROOT) -> Path:
    """Return a file that is named from the root or from the package."""
    return tree / path if (tree / path).exists() else tree / PACKAGE / path


def _behind(lines: list[str], into: str) -> int:
    """Return how many lines come before what is added."""
    for number, line in enumerate(lines, 1):
        if not into.isidentifier() and line.strip().startswith(into.strip()):
            return number
    for node in ast.parse("\n".join(lines)).body:
        value: ast.AST | None = None
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == into:
            value = node.value
        elif isinstance(node, ast.FunctionDef) and node.name == into:
            value = next(each for each in reversed(node.body) if isinstance(each, ast.Return)).value
        if isinstance(value, ast.Tuple | ast.Dict):
            assert value.end_lineno is not None
            return value.end_lineno - 1
    raise ValueError(f"there is no {into}")


def copy(folder: Path) -> Path:
    """Return a copy of this checkout, without caches."""
    for each in COPIED:
        shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def changed(tree: Path) -> set[str]:
    """Return the paths, from the root, of the files that a copy has otherwise or in addition."""
    files = (path for each in COPIED for path in (tree / each).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {
        name
        for path in files
        if not (ROOT / (name := path.relative_to(tree).as_posix())).is_file()
        or path.read_bytes() != (ROOT / name).read_bytes()
    }


ADDED: Final = (*SIGNAL, *STEP_SIGNAL, *FAMILY, *FLAG, *COMPOUND, *WARNING, *CARRIED)
"""Everything that is added at once."""


def program(tree: Path, name: str, *arguments: str) -> str:
    """Return what a program of a copy prints: one of docs/, or of tests/catalogue/programs/."""
    path = tree / name if "/" in name else tree / "tests" / "catalogue" / "programs" / name
    found = [str(part) for part in (tree / "src", tree, tree / "docs")]
    return run([sys.executable, "-W", "ignore", str(path), *arguments], PYTHONPATH=":".join(found)).stdout

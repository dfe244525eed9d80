"""What would be instrumented, found without importing transformers: that takes seconds and loads torch."""

import ast
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..instrumentation.uninstrumented import CONTINUOUS_BATCHING, CONTINUOUS_BATCHING_MODULE, OWN_GENERATE
from .findings import Area, Finding, note, ok, problem

NAME: Final = "corevital"
"""Of the entry point, which `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` may list."""

NEEDED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "transformers.generation.utils": {
        "GenerationMixin": ("generate", "_get_logits_processor", "_get_stopping_criteria")
    },
}
"""Module -> class -> methods without which no run is recorded."""
HELPFUL: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "transformers.generation.utils": {
        "GenerationMixin": (
            "_update_model_kwargs_for_generation",
            "_get_running_beams_for_next_iteration",
            "_update_finished_beams",
        )
    },
    "transformers.generation.streamers": {"TextStreamer": ("__init__",)},
    "transformers.pipelines.base": {"Pipeline": ("forward",)},
    "transformers.tokenization_utils_base": {
        "PreTrainedTokenizerBase": ("apply_chat_template", "__call__", "encode", "encode_plus", "batch_encode_plus")
    },
    "transformers.processing_utils": {"ProcessorMixin": ("apply_chat_template",)},
    "transformers.cli.serving.utils": {"InferenceThread": ("submit", "async_submit")},
}
"""The same for methods that tell of a prompt, a parent span or what beams descend from. A version that lacks one only
tells less."""
_OF_TRANSFORMERS_4: Final = frozenset({"encode_plus", "batch_encode_plus"})
"""Nothing is missed where a later version lacks them: callers have the others there."""


def check() -> Iterator[Finding]:
    """Yield what stands in the way of instrumenting, and what would be instrumented."""
    yield from _methods()
    yield from _entry_point()
    yield from _switches()


def _methods() -> Iterator[Finding]:
    package = find_spec("transformers")
    if package is None or not package.submodule_search_locations:
        return  # told among what is installed
    root = Path(package.submodule_search_locations[0])
    for needed, table in ((True, NEEDED), (False, HELPFUL)):
        for module, classes in table.items():
            found = _methods_of(_source(root, module))
            for class_name, methods in classes.items():
                there = found.get(class_name, set())
                lacking = [name for name in methods if name not in there | _OF_TRANSFORMERS_4]
                subject, whole = f"{module}.{class_name}", ", ".join(name for name in methods if name in there)
                if not lacking:
                    yield ok(Area.INSTRUMENTED, subject, whole)
                elif needed:
                    yield problem(
                        Area.INSTRUMENTED,
                        subject,
                        f"has no {', '.join(lacking)}",
                        "install a version of transformers that is supported",
                    )
                else:
                    yield note(
                        Area.INSTRUMENTED, subject, f"is not there ({', '.join(lacking)}): less is known of callers"
                    )

    yield from _unseen(root)


def _unseen(root: Path) -> Iterator[Finding]:
    """Name what generates without `GenerationMixin.generate`, of what this version of transformers has."""
    unseen = [CONTINUOUS_BATCHING] if _source(root, CONTINUOUS_BATCHING_MODULE).exists() else []
    unseen += [name for module, classes in OWN_GENERATE.items() if _source(root, module).exists() for name in classes]
    if unseen:
        yield note(
            Area.INSTRUMENTED,
            "not seen",
            f"{len(unseen)} that loop by themselves and make no span: {', '.join(unseen)}",
        )


def _source(root: Path, module: str) -> Path:
    return root.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _methods_of(path: Path) -> dict[str, set[str]]:
    """Return class -> methods of a source file; nothing where there is none."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name: {child.name for child in node.body if isinstance(child, functions)}
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


def _entry_point() -> Iterator[Finding]:
    area, subject = Area.INSTRUMENTED, f"entry point {NAME}"
    found = entry_points(group="opentelemetry_instrumentor", name=NAME)
    if found:
        yield ok(area, subject, "opentelemetry-instrument finds it")
    else:
        yield problem(
            area,
            subject,
            "opentelemetry-instrument does not find it: the package's metadata are missing",
            "install the package, with pip install -e . in a source tree",
        )


def _switches() -> Iterator[Finding]:
    area = Area.INSTRUMENTED
    variable = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
    names = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    stopping = [name for name in names if name in (NAME, "*")]
    if stopping:
        yield problem(
            area, variable, f"contains {stopping[0]}: CoreVital is not started", f"take {stopping[0]} out of it"
        )
    elif names:
        yield ok(area, variable, f"{', '.join(names)}: not CoreVital")
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield problem(area, "OTEL_SDK_DISABLED", "is true: OpenTelemetry records nothing at all", "unset it")

"""`torch.compile(model.generate)`: the graphs, breaks and warnings are those of a process without CoreVital."""

import time
import warnings
from collections import Counter
from typing import Any

import pytest
import torch

from opentelemetry_instrumentation_corevital.capture.isolation.compiled_code import Compiled, leave_out, left_out
from opentelemetry_instrumentation_corevital.instrumentation.patches import ClassPatch
from tests.support.in_memory import instrumented
from tests.support.tiny_models import prompt, tiny_model


def compiled(function: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return the result of a compiled call, and how many graphs, operations and warnings there were."""
    torch._dynamo.reset()
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        graphs.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
        return graph.forward

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = torch.compile(function, backend=backend)(*args, **kwargs)
    torch._dynamo.reset()
    return result, (graphs, Counter(str(warning.message) for warning in caught))


class Model:
    def generate(self, x: torch.Tensor) -> torch.Tensor:
        return self.prepare(x).sin() + 1

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        return x.cos() * 2


def test_what_is_compiled_of_a_patched_method_is_what_it_was() -> None:
    plain = compiled(Model().generate, torch.ones(3))
    seen: list[type] = []

    def wrapper(wrapped: Any, _model: Any, args: Any, kwargs: Any) -> Any:
        seen.append(type(wrapped))
        time.perf_counter_ns()  # of this dynamo would warn
        torch.ones(3).tan()  # and this it would compile
        return wrapped(*args, **kwargs)

    patches = [ClassPatch(name, left_out(wrapper)) for name in ("generate", "prepare")]
    for patch in patches:
        patch.apply(Model)
        leave_out(getattr(Model, patch.name))
    try:
        found = compiled(Model().generate, torch.ones(3))
        assert Compiled in seen
        seen.clear()
        Model().generate(torch.ones(3))
        assert seen
        assert Compiled not in seen
    finally:
        for patch in patches:
            patch.remove()
    assert torch.equal(found[0], plain[0])
    assert found[1] == plain[1]


@pytest.mark.acceptance
def test_a_compiled_generate_is_recorded_and_compiled_as_it_was() -> None:
    model = tiny_model(num_hidden_layers=1)
    plain = compiled(model.generate, prompt(), max_new_tokens=2, do_sample=False)
    with instrumented(capture="full") as telemetry:
        found = compiled(model.generate, prompt(), max_new_tokens=2, do_sample=False)
    assert torch.equal(found[0], plain[0])
    assert found[1] == plain[1]
    attributes = telemetry.span.attributes or {}
    assert attributes["corevital.capture.absent"] == '{"run":"compiled"}'
    assert attributes["gen_ai.usage.output_tokens"] == 2

"""What the test call of `generate()` tells: device, kernels, compiled graphs, and whether it made a span."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .findings import Area, Finding, note, ok, problem

_AREA: Final = Area.MACHINE
_SUBJECT: Final = "generate()"
_WITH: Final = "with this output"
DOUBT: Final = "consistency"
"""Under which a run says that its numbers disagree."""


def check(ran: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings on what the test process told of its call."""
    if ran.get("elsewhere"):
        yield note(_AREA, _SUBJECT, f"was not called: {ran['failed']}")
        return
    if "failed" in ran:
        yield problem(
            _AREA, _SUBJECT, f"failed with a tiny model: {ran['failed']}", "mend it first: your program meets it, too"
        )
        return
    yield ok(_AREA, "device", ran["device"])
    yield _kernels(ran)
    yield _compiled(ran)
    for line in ran["said"]:
        yield note(_AREA, _SUBJECT, line)
    yield from _span(ran)


def _kernels(ran: Mapping[str, Any]) -> Finding:
    if ran["kernels"] == "on":
        return ok(_AREA, "kernels", "Triton")
    if ran["kernels"] == "off":
        return ok(_AREA, "kernels", "torch's own operations: OTEL_COREVITAL_KERNELS=off")
    if ran["kind"] == "cuda":
        text = "Triton's do not run here: torch's own operations give the same numbers and cost more"
        return note(_AREA, "kernels", text, "install a Triton that fits this torch")
    return ok(_AREA, "kernels", "torch's own operations; Triton's are for CUDA")


def _compiled(ran: Mapping[str, Any]) -> Finding:
    if ran["compiled"]:
        return note(_AREA, "compiled", "generate() compiles here: hidden states and attention are absent")
    return ok(_AREA, "compiled", "no: generate() runs the model as it is")


def _span(ran: Mapping[str, Any]) -> Iterator[Finding]:
    verdict = ran["verdict"]
    if verdict is not None and DOUBT in verdict["absent"]:
        yield problem(_AREA, _SUBJECT, verdict["absent"][DOUBT], f"say so to CoreVital's authors, {_WITH}")
    if verdict is None:
        if ran["enabled"]:
            advice = f"say so to CoreVital's authors, {_WITH}: a run of yours would make none, either"
            yield problem(_AREA, _SUBJECT, "ran, and made no span", advice)
    elif verdict["risk"] is None:
        why = next(iter(verdict["absent"].values()), "nobody says why")
        yield note(_AREA, _SUBJECT, f"made a span without a risk: {why}")
    else:
        text = f"{ran['tokens']} tokens of a tiny random model made a span, risk {verdict['risk']:.2f}"
        yield ok(_AREA, _SUBJECT, text)

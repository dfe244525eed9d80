"""Runs made by hand, reported through CoreVital's own judgements, spans and log events."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from opentelemetry_instrumentation_corevital import Judgement, Run, semconv
from opentelemetry_instrumentation_corevital.assessment.risk import risk_level
from opentelemetry_instrumentation_corevital.assessment.run_attributes import start_attributes
from opentelemetry_instrumentation_corevital.assessment.thresholds import Thresholds
from opentelemetry_instrumentation_corevital.config import load_settings
from opentelemetry_instrumentation_corevital.emission.instruments import Instruments
from opentelemetry_instrumentation_corevital.emission.judgements import (
    BlameProcessor,
    HealthProcessor,
    default_judgements,
    in_order,
)
from opentelemetry_instrumentation_corevital.instrumentation.reporting import CallReport
from opentelemetry_instrumentation_corevital.run import Risk
from opentelemetry_instrumentation_corevital.testing import InMemoryTelemetry
from tests.support.known_models import known
from tests.support.made_runs import add_layers, make_run

LAYERS: Final = 6


class NoPromptAndResponse:
    """Of a call whose prompts and answers are not known."""

    def give_prompts(self, runs: Sequence[Run]) -> None: ...


class OwnRisk(Judgement):
    """A user's judgement of risk, which gives every run the same."""

    role = "risk"

    def __init__(self, score: float) -> None:
        self._score = score

    def on_run_ending(self, span: Span, run: Run) -> None:
        run.risk = Risk(self._score, risk_level(self._score), (), "own")
        span.set_attributes({semconv.RISK_SCORE: run.risk.score, semconv.RISK_LEVEL: run.risk.level})


def report(
    telemetry: InMemoryTelemetry,
    *runs: Run,
    risk: float | None = None,
    failed: bool = False,
    within: Context | None = None,
) -> Span:
    """Report the runs of one call; return its span.

    Args:
        telemetry: where it goes.
        runs: the call's sequences.
        risk: what a user's own judgement says of all of them, in place of ours.
        failed: whether the call's span has the status of an error.
        within: holds the span that the call belongs below.
    """
    settings = load_settings({"capture": "full"})
    judgements = in_order(default_judgements(settings), [HealthProcessor(usual()), BlameProcessor(usual())])
    if risk is not None:
        judgements = [OwnRisk(risk) if judgement.role == "risk" else judgement for judgement in judgements]
    for index, run in enumerate(runs):
        run.sequence_index, run.sequence_count = index, len(runs)
    tracer = telemetry.tracer_provider.get_tracer(semconv.SCOPE_NAME)
    start = start_attributes(runs[0].model.name, chat=False)
    span = tracer.start_span("text_completion org/model", within, attributes=start, start_time=runs[0].start_ns)
    context = set_span_in_context(span, within)
    CallReport(
        settings=settings,
        tracer=tracer,
        instruments=Instruments(telemetry.meter_provider.get_meter(semconv.SCOPE_NAME)),
        logger=telemetry.logger_provider.get_logger(semconv.SCOPE_NAME),
        judgements=judgements,
        span=span,
        context=context,
        model=runs[0].model,
        prompt_and_response=NoPromptAndResponse(),  # type: ignore[arg-type]
        start=start,
    ).write(runs, None)
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end(runs[0].end_ns)
    return span


@cache
def usual() -> Thresholds:
    """Return what is known of the model."""
    runs = [add_layers(make_run(), LAYERS, seed=seed) for seed in range(100, 140)]
    for run in runs:
        run.model = replace(run.model, layer_count=LAYERS)
    return known(runs)


def healthy() -> Run:
    return add_layers(make_run(), LAYERS)


def medium() -> Run:
    return make_run(entropy=5.0)


def looping() -> Run:
    return make_run(120, tokens=np.arange(120) % 10)


def torn() -> Run:
    run = healthy()
    run.columns["hidden_nan"][20:, 3] = 1
    return run


def infinite() -> Run:
    run = healthy()
    run.columns["hidden_inf"][20:, 3] = 1
    return run


def collapsed() -> Run:
    run = healthy()
    run.columns["collapsed_head_rate"][:] = 0.8
    return run


def turning(layer: int) -> Run:
    run = healthy()
    run.columns["layer_transformation"][17:, layer] = 30
    return run


FLAGGED: Final[dict[str, Callable[[], Run]]] = {
    "nan_detected": torn,
    "inf_detected": infinite,
    "repetition_loop_detected": looping,
    "attention_collapse_detected": collapsed,
    "mid_layer_anomaly_detected": lambda: turning(LAYERS // 2),
    "layer_anomaly_detected": lambda: turning(0),
}
"""Flag -> a run that raises it, and no other that does not follow from it."""


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of an OTLP span, event or record as Python values."""
    return {each.key: plain(each.value) for each in item.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind)

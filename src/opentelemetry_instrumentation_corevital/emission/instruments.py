"""The instruments and what a call records in them. Attributes are few: no id and no step ever becomes one."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray
from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider, Observation, get_meter, get_meter_provider
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from .. import semconv
from .._internal.values import number
from ..assessment.layer_arrays import layer_means
from ..assessment.run_attributes import call_input_tokens, call_output_tokens, first_token_seconds
from ..assessment.verdict_attributes import INTERVENTION
from ..catalogue import signals
from ..catalogue.fitting import fitting
from ..run import Run
from ..version import __version__
from .exemplars import exemplar_context, without_exemplar

# Of the GenAI conventions, for the instruments that they define.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_INTERVENTION_LABELS: Final = (semconv.INTERVENTION_KIND, semconv.INTERVENTION_TRIGGER, semconv.INTERVENTION_OUTCOME)
_RISK = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Instruments:
    """CoreVital's metric instruments on one meter."""

    def __init__(self, meter: Meter) -> None:
        def unit(name: str) -> dict[str, str]:
            definition = semconv.DEFINITIONS["metric", name]
            return {"unit": definition.unit, "description": definition.meaning}

        def histogram(name: str, boundaries: Sequence[float]) -> Any:
            return meter.create_histogram(name, **unit(name), explicit_bucket_boundaries_advisory=boundaries)

        def gauge(name: str) -> Any:
            return meter.create_gauge(name, **unit(name))

        def counter(name: str) -> Any:
            return meter.create_counter(name, **unit(name))

        def observed(name: str, column: str) -> None:
            meter.create_observable_gauge(name, [lambda _options: self._observe(column)], **unit(name))

        self._layers = _nothing()
        for each in signals.with_gauge("layer"):
            observed(each.gauge_name, each.name)
        self._means = {each.name: gauge(each.gauge_name) for each in signals.with_gauge("step")}
        self.risk_score = gauge(semconv.METRIC_RISK_SCORE)
        self.risk_answer = gauge(semconv.METRIC_RISK_ANSWER)
        self.run_risk_answer = histogram(semconv.METRIC_RUN_RISK_ANSWER, _RISK)
        self.failure_risk = gauge(semconv.METRIC_FAILURE_RISK)
        self.run_risk_score = histogram(semconv.METRIC_RUN_RISK_SCORE, _RISK)
        self._steps = {each.name: histogram(each.step_name, each.buckets) for each in signals.with_histogram()}
        self.operation_duration = histogram(semconv.METRIC_OPERATION_DURATION, _SECONDS)
        self.token_usage = histogram(semconv.METRIC_TOKEN_USAGE, _TOKENS)
        self.time_to_first_token = histogram(semconv.METRIC_TIME_TO_FIRST_TOKEN, _FIRST_TOKEN)
        self.time_per_output_token = histogram(semconv.METRIC_TIME_PER_OUTPUT_TOKEN, _PER_TOKEN)
        self.runs = counter(semconv.METRIC_RUNS)
        self.high_entropy_steps = counter(semconv.METRIC_HIGH_ENTROPY_STEPS)
        self.health_flags = counter(semconv.METRIC_HEALTH_FLAGS)
        self.warnings = counter(semconv.METRIC_WARNINGS)
        self.interventions = counter(semconv.METRIC_INTERVENTIONS)
        self.dropped = counter(semconv.METRIC_DROPPED)

    def close(self) -> None:
        """Report no layer any more: an observed instrument cannot be taken back."""
        self._layers = _nothing()

    def _observe(self, column: str) -> Iterator[Observation]:
        """Yield every model's last run's layers."""
        context = without_exemplar()
        for model, means in list(self._layers[column].items()):
            for layer in np.flatnonzero(np.isfinite(means)).tolist():
                yield Observation(
                    float(means[layer]), {semconv.GEN_AI_REQUEST_MODEL: model, semconv.LABEL_LAYER: int(layer)}, context
                )

    def record_call(
        self,
        start: dict[str, Any],
        seconds: float,
        tokens: tuple[int | None, int | None],
        error_type: str | None,
        context: Context,
    ) -> None:
        """Record a call's duration and its exact token counts (input, output), whether it was measured or not."""
        attributes = dict(start)
        if error_type is not None:
            attributes[semconv.ERROR_TYPE] = error_type
        _record(self.operation_duration, (seconds,), attributes, context)
        for kind, count in zip(("input", "output"), tokens, strict=True):
            if count is not None:
                _record(self.token_usage, (count,), {**start, semconv.LABEL_TOKEN_TYPE: kind}, context)

    def record_uncaptured(self, model: str, context: Context) -> None:
        """Count a call that was not measured."""
        labels = {semconv.GEN_AI_REQUEST_MODEL: model, semconv.LABEL_CAPTURED: False}
        self.runs.add(1, labels, without_exemplar(context))

    def record_latency(self, start: dict[str, Any], runs: Sequence[Run], context: Context) -> None:
        """Record the time to the first token and the mean time per token after it."""
        first = first_token_seconds(runs)
        if first is not None:
            _record(self.time_to_first_token, (first,), start, context)
        longest = max(runs, key=lambda run: len(run.time_ns))
        if len(longest.time_ns) > 1:
            per_token = (int(longest.time_ns[-1]) - int(longest.time_ns[0])) / 1e9 / (len(longest.time_ns) - 1)
            _record(self.time_per_output_token, (per_token,), start, context)

    def record_run(self, run: Run, context: Context) -> None:
        """Record a judged sequence."""
        labels, apart = {semconv.GEN_AI_REQUEST_MODEL: run.model.name}, without_exemplar(context)
        level = {} if run.risk is None else fitting({semconv.RISK_LEVEL: run.risk.level})
        self.runs.add(1, {**labels, **level, semconv.LABEL_CAPTURED: True}, apart)
        for column in {**self._means, **self._steps}:
            values = run.column(column)
            finite = np.empty(0) if values is None else values[np.isfinite(values)].astype(np.float64)
            if finite.size and column in self._means:
                self._means[column].set(float(np.mean(finite)), labels, apart)
            if finite.size and column in self._steps:
                _record(self._steps[column], finite.tolist(), labels, context)
        for column, last in self._layers.items():
            means = layer_means(run, column)
            if means is not None:
                last[run.model.name] = means
        score = None if run.risk is None else number(run.risk.score)
        if score is not None:
            self.risk_score.set(score, labels, apart)
            _record(self.run_risk_score, (score,), labels, context)
        answer = None if run.answer is None else number(run.answer.probability)
        if answer is not None:
            self.risk_answer.set(answer, labels, apart)
            _record(self.run_risk_answer, (answer,), labels, context)
        at_end = None if run.early_warning is None else number(run.early_warning.failure_risk_at_end)
        if at_end is not None:
            self.failure_risk.set(at_end, labels, apart)
        high = None if run.health is None else run.health.high_entropy_steps
        if high is not None:
            self.high_entropy_steps.add(high, labels, apart)
        for flag in run.health.raised() if run.health is not None else ():
            self.health_flags.add(1, {**labels, semconv.LABEL_FLAG: flag}, apart)
        for warning in run.warnings:
            self.warnings.add(1, fitting({**labels, semconv.LABEL_WARNING: warning}), apart)
        for each in run.interventions:
            told = {name: INTERVENTION[name](each) for name in _INTERVENTION_LABELS}
            self.interventions.add(1, fitting({**labels, **told}), apart)

    def record_dropped(self, kind: str, count: int, context: Context) -> None:
        """Count what had to be left out."""
        if count:
            self.dropped.add(count, {semconv.LABEL_DROPPED_KIND: kind}, without_exemplar(context))

    def record_unstored(self, count: int) -> None:
        """Count spans, log records and metrics that the store could not take."""
        self.record_dropped("unstored", count, set_span_in_context(INVALID_SPAN, Context()))


def _nothing() -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return layer signal -> model -> the means of its last run, empty."""
    return {each.name: {} for each in signals.with_gauge("layer")}


def _record(histogram: Any, values: Sequence[float], attributes: dict[str, Any], context: Context) -> None:
    context = exemplar_context(histogram, context)
    for value in values:
        histogram.record(value, attributes, context)


class _Global:
    """Stands for the global provider, which may be set after the first instruments were made."""


_GLOBAL: Final = _Global()
_made: WeakKeyDictionary[Any, Callable[[], Instruments | None]] = WeakKeyDictionary()
"""Those of a given provider weakly: its meter has their callbacks, and may refer to the provider."""


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """Return the instruments on a provider's meter (None: the global one's), made once.

    An observed instrument cannot be taken back, and asked for once more a meter gives the first one, with its callback.
    """
    given = get_meter_provider() if provider is None else provider
    keys = (given, _GLOBAL) if given is get_meter_provider() else (given,)
    try:
        found = next((made for key in keys if key in _made and (made := _made[key]())), None)
        if found is None:
            found = Instruments(get_meter(semconv.SCOPE_NAME, __version__, provider))
            _made[keys[-1]] = partial(_itself, found) if keys[-1] is _GLOBAL else ref(found)
    except TypeError:  # a foreign provider without hash or weak references
        found = Instruments(get_meter(semconv.SCOPE_NAME, __version__, provider))
    return found


def _itself(instruments: Instruments) -> Instruments:
    return instruments


def call_tokens(runs: Sequence[Run]) -> tuple[int | None, int | None]:
    """Return the call's input and output tokens, each None where it is not known."""
    return call_input_tokens(runs), call_output_tokens(runs)

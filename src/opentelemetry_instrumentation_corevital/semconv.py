"""Every name that CoreVital emits, each once, with its type, unit and meaning; most are the catalogue's.

`docs/attributes.md` is made from `DEFINITIONS` and the tests hold every exported attribute against it. Names of
the GenAI semantic conventions are spelled out here because no published Python package holds the current ones: the
`GEN_AI_*` constants of `opentelemetry-semantic-conventions` are deprecated without a replacement.
"""

from typing import Final

from .catalogue import (  # noqa: F401 - declare names
    definitions,
    intervention_names,
    prompt_names,
    prompt_span_names,
    rag_names,
    signals,
)
from .catalogue.definitions import MOST_LAYERS, MOST_STEPS, ValueType, attribute, define, known, metric, step_attribute
from .catalogue.signals import signal
from .catalogue.verdicts import CARRIED, FLAGS

SCHEMA_VERSION: Final = "0.2"
"""Version of the `corevital.*` vocabulary, emitted as `corevital.schema_version`."""

DEFINITIONS: Final = definitions.DEFINITIONS
"""Kind and name -> what is declared of it."""

_FRACTION: Final = (0.0, 1.0)

SCOPE_NAME: Final = "opentelemetry_instrumentation_corevital"

# --- GenAI semantic conventions (https://github.com/open-telemetry/semantic-conventions-genai) -----------------------
GEN_AI_OPERATION_NAME: Final = attribute(
    "gen_ai.operation.name", "string", "", "`text_completion`, or `chat` when a chat template made the prompt"
)
GEN_AI_PROVIDER_NAME: Final = attribute("gen_ai.provider.name", "string", "", "always `huggingface`")
GEN_AI_REQUEST_MODEL: Final = attribute(
    "gen_ai.request.model", "string", "", "hub id of the model, or the last part of its local path"
)
GEN_AI_REQUEST_MAX_TOKENS: Final = attribute(
    "gen_ai.request.max_tokens", "int", "{token}", "most new tokens that the call allows a sequence", between=(0, None)
)
GEN_AI_REQUEST_TEMPERATURE: Final = attribute(
    "gen_ai.request.temperature", "double", "1", "sampling temperature; absent in greedy decoding", between=(0.0, None)
)
GEN_AI_REQUEST_TOP_P: Final = attribute(
    "gen_ai.request.top_p", "double", "1", "nucleus mass; absent in greedy decoding", between=_FRACTION
)
GEN_AI_REQUEST_TOP_K: Final = attribute(
    "gen_ai.request.top_k", "int", "{token}", "top-k cut-off; absent in greedy decoding"
)
GEN_AI_REQUEST_SEED: Final = attribute("gen_ai.request.seed", "int", "", "seed, where the caller told it")
GEN_AI_REQUEST_CHOICE_COUNT: Final = attribute(
    "gen_ai.request.choice.count", "int", "{choice}", "`num_return_sequences`, when above 1"
)
GEN_AI_REQUEST_STOP_SEQUENCES: Final = attribute(
    "gen_ai.request.stop_sequences", "string[]", "", "`stop_strings` of the call; only with content on", content=True
)
GEN_AI_RESPONSE_MODEL: Final = attribute("gen_ai.response.model", "string", "", "same as the request's model")
GEN_AI_RESPONSE_FINISH_REASONS: Final = attribute(
    "gen_ai.response.finish_reasons", "string[]", "", "`stop`, `length` or `error`, one per sequence"
)
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = attribute(
    "gen_ai.response.time_to_first_chunk", "double", "s", "from the call to the first token"
)
GEN_AI_USAGE_INPUT_TOKENS: Final = attribute(
    "gen_ai.usage.input_tokens", "int", "{token}", "prompt tokens without padding, over the whole call"
)
GEN_AI_USAGE_OUTPUT_TOKENS: Final = attribute(
    "gen_ai.usage.output_tokens", "int", "{token}", "generated tokens without padding, over the whole call"
)
GEN_AI_INPUT_MESSAGES: Final = attribute(
    "gen_ai.input.messages", "string", "", "the prompt as JSON messages; only with content on", content=True
)
GEN_AI_OUTPUT_MESSAGES: Final = attribute(
    "gen_ai.output.messages", "string", "", "the answer as JSON messages; only with content on", content=True
)
INPUT_VALUE: Final = attribute("input.value", "string", "", "the prompt; with option `openinference`", content=True)
OUTPUT_VALUE: Final = attribute("output.value", "string", "", "the answer; with option `openinference`", content=True)
ERROR_TYPE: Final = attribute("error.type", "string", "", "qualified class of the exception that ended the call")

# --- the run -----------------------------------------------------------------------------------------------------
SCHEMA: Final = attribute("corevital.schema_version", "string", "", "version of the `corevital.*` names")
CAPTURE_MODE: Final = attribute("corevital.capture.mode", "string", "", "`summary`, `full` or `on_risk`")
CAPTURE_UPGRADED: Final = attribute(
    "corevital.capture.upgraded", "boolean", "", "mode `on_risk`: the run triggered and is reported in full"
)
CAPTURE_RATIO: Final = attribute(
    "corevital.capture.ratio", "double", "1", "share of the calls that are measured, if below 1", between=_FRACTION
)
CAPTURE_ATTENTION_EVERY: Final = attribute(
    "corevital.capture.attention_every",
    "int",
    "{step}",
    "attention was looked at on every n-th step; 0: never",
    between=(0, None),
)
CAPTURE_LAYERS: Final = attribute("corevital.capture.layers", "string", "", "the setting `layers`, if not `all`")
CAPTURE_ABSENT: Final = attribute(
    "corevital.capture.absent", "string", "", "JSON object: what is not there, and the reason", longest=definitions.LONG
)
DECODING_STRATEGY: Final = attribute(
    "corevital.decoding.strategy", "string", "", "transformers' generation mode, e.g. `greedy_search`, `sample`"
)
MODEL_NAME: Final = attribute(
    "corevital.model.name", "string", "", "on a sequence's span: what `gen_ai.request.model` is on the call's"
)
MODEL_ARCHITECTURE: Final = attribute("corevital.model.architecture", "string", "", "class of the model")
MODEL_DTYPE: Final = attribute("corevital.model.dtype", "string", "", "dtype of the weights, e.g. `bfloat16`")
MODEL_DEVICE: Final = attribute("corevital.model.device", "string", "", "device of the first weights, e.g. `cuda:0`")
MODEL_LAYER_COUNT: Final = attribute("corevital.model.layer_count", "int", "{layer}", "decoder layers")
MODEL_HEAD_COUNT: Final = attribute("corevital.model.head_count", "int", "{head}", "attention heads of a layer")
MODEL_ATTENTION_IMPLEMENTATION: Final = attribute(
    "corevital.model.attention_implementation", "string", "", "as configured: `sdpa`, `flash_attention_2`, `eager`, ..."
)
MODEL_QUANTIZATION: Final = attribute("corevital.model.quantization", "string", "", "quantisation method, if any")
MODEL_REVISION: Final = attribute("corevital.model.revision", "string", "", "commit of the hub repository, if known")
MODEL_ADAPTERS: Final = attribute(
    "corevital.model.adapters", "string[]", "", "names of the active PEFT adapters, sorted, where there are any"
)
PROFILE_DIFFERENCES: Final = attribute(
    "corevital.profile.differences",
    "string[]",
    "",
    "what the baseline profile in use was made with and the run's model has not, as `dtype float32, not bfloat16`",
)
STEPS_TOTAL: Final = attribute("corevital.steps.total", "int", "{step}", "steps (tokens) of this sequence")
STEPS_RECORDED: Final = attribute(
    "corevital.steps.recorded", "int", "{step}", "steps told as `corevital.step` events: on the span, or as log events"
)
SEQUENCE_COUNT: Final = attribute(
    "corevital.sequence.count", "int", "{sequence}", "on a call's span: sequences, each with a span of its own"
)
SEQUENCE_FLAGGED: Final = attribute(
    "corevital.sequence.flagged", "int", "{sequence}", "on a call's span: sequences with a raised health flag"
)
SEQUENCE_INDEX: Final = attribute(
    "corevital.sequence.index", "int", "", "on a sequence's span: its row, from 0", between=(0, 2**31)
)
SEQUENCE_INPUT_TOKENS: Final = attribute(
    "corevital.sequence.input_tokens", "int", "{token}", "on a sequence's span: tokens of its prompt"
)
SEQUENCE_OUTPUT_TOKENS: Final = attribute(
    "corevital.sequence.output_tokens", "int", "{token}", "on a sequence's span: tokens that it generated"
)

MIGRATED_FROM: Final = attribute(
    "corevital.migrated.from",
    "string",
    "",
    "schema of the report that the run was migrated from; its logit signals are those after temperature and top-k/p",
)

# --- summaries and series -----------------------------------------------------------------------------------------
for _signal in signals.with_summaries():
    for _summary in _signal.summaries:
        attribute(
            _signal.summary_name(_summary.statistic),
            "double",
            _summary.unit or _signal.unit,
            _summary.meaning,
            between=_signal.read_range(_summary.statistic),
        )
for _signal in signals.with_series():
    attribute(_signal.series_name, "double[]", _signal.unit, _signal.series, between=_signal.read_range())

ENTROPY_MEAN: Final = known("attribute", signal("entropy").summary_name("mean"))
ENTROPY_MAX: Final = known("attribute", signal("entropy").summary_name("max"))
ENTROPY_SLOPE: Final = known("attribute", signal("entropy").summary_name("slope"))
SURPRISAL_MEAN: Final = known("attribute", signal("surprisal").summary_name("mean"))
SURPRISAL_SUM: Final = known("attribute", signal("surprisal").summary_name("sum"))
SURPRISAL_MAX: Final = known("attribute", signal("surprisal").summary_name("max"))
MARGIN_MEAN: Final = known("attribute", signal("margin").summary_name("mean"))
MARGIN_MIN: Final = known("attribute", signal("margin").summary_name("min"))
SERIES_ENTROPY: Final = known("attribute", signal("entropy").series_name)
SERIES_SURPRISAL: Final = known("attribute", signal("surprisal").series_name)
SERIES_MARGIN: Final = known("attribute", signal("margin").series_name)
SERIES_HIDDEN_COSINE: Final = known("attribute", signal("hidden_cosine").series_name)
SERIES_STRIDE: Final = attribute(
    "corevital.series.stride",
    "double",
    "{step}",
    "mean steps per point of the series; above 1 each bucket of steps keeps its minimum and its maximum",
)

# --- layers: one value per layer ----------------------------------------------------------------------------------
for _family in signals.FAMILIES:
    if _family.index:
        attribute(signals.index_name(_family), "int[]", "", signals.index_meaning(_family), between=(0, MOST_LAYERS))
for _signal in signals.SIGNALS:
    if _signal.layer_array is not None:
        _type: ValueType = "int[]" if _signal.layer_array.integers else "double[]"
        attribute(
            _signal.layers_name,
            _type,
            _signal.unit,
            _signal.layer_array.meaning,
            between=_signal.read_range(_signal.layer_array.statistic),
        )

LAYERS_INDEX: Final = known("attribute", signals.index_name(signals.family("faults")))
LAYERS_NORM_INDEX: Final = known("attribute", signals.index_name(signals.family("hidden")))
LAYERS_ATTENTION_INDEX: Final = known("attribute", signals.index_name(signals.family("attention")))
LAYERS_L2_NORM: Final = known("attribute", signal("hidden_l2_norm").layers_name)
LAYERS_MAX_ABS: Final = known("attribute", signal("hidden_max_abs").layers_name)
LAYERS_ATTENTION_ENTROPY: Final = known("attribute", signal("attention_entropy").layers_name)
LAYERS_ATTENTION_ENTROPY_STD: Final = known("attribute", signal("attention_entropy_std").layers_name)
LAYERS_COLLAPSED_HEAD_RATE: Final = known("attribute", signal("collapsed_head_rate").layers_name)
LAYERS_NONFINITE: Final = known("attribute", signal("nonfinite").layers_name)

# --- judgements: declared in `catalogue/`, with the columns and pages that they have --------------------------------
HEALTH_FLAGS: Final = {flag.name: attribute(flag.attribute, "boolean", "", flag.meaning) for flag in FLAGS}
"""Name of a flag -> its attribute."""
VERDICTS: Final = {
    each.path: attribute(each.attribute, each.type, each.unit, each.meaning, between=each.between, longest=each.longest)
    for each in CARRIED
}
"""What a verdict's attribute is called after `corevital.` -> the attribute."""
EVIDENCE: Final = tuple(name for path, name in VERDICTS.items() if path.endswith(".evidence"))
"""Those that hold the numbers of the others, which a span that is too large loses first."""

ASSESSMENT: Final = VERDICTS["assessment"]
HEALTH_NAN: Final = HEALTH_FLAGS["nan_detected"]
HEALTH_INF: Final = HEALTH_FLAGS["inf_detected"]
HEALTH_REPETITION_LOOP: Final = HEALTH_FLAGS["repetition_loop_detected"]
HEALTH_ATTENTION_COLLAPSE: Final = HEALTH_FLAGS["attention_collapse_detected"]
HEALTH_MID_LAYER_ANOMALY: Final = HEALTH_FLAGS["mid_layer_anomaly_detected"]
HEALTH_LAYER_ANOMALY: Final = HEALTH_FLAGS["layer_anomaly_detected"]
HEALTH_HIGH_ENTROPY_STEPS: Final = VERDICTS["health.high_entropy_steps"]
HEALTH_EVIDENCE: Final = VERDICTS["health.evidence"]
RISK_SCORE: Final = VERDICTS["risk.score"]
RISK_LEVEL: Final = VERDICTS["risk.level"]
RISK_FACTORS: Final = VERDICTS["risk.factors"]
RISK_METHOD: Final = VERDICTS["risk.method"]
RISK_ANSWER: Final = VERDICTS["risk.answer"]
RISK_ANSWER_SUPPORT: Final = VERDICTS["risk.answer_support"]
RISK_ANSWER_METHOD: Final = VERDICTS["risk.answer_method"]
RISK_ANSWER_FACTORS: Final = VERDICTS["risk.answer_factors"]
BLAME_LAYERS: Final = VERDICTS["blame.layers"]
BLAME_REASONS: Final = VERDICTS["blame.reasons"]
BLAME_SEVERITIES: Final = VERDICTS["blame.severities"]
EARLY_WARNING_FAILURE_RISK: Final = VERDICTS["early_warning.failure_risk"]
EARLY_WARNING_SIGNALS: Final = VERDICTS["early_warning.signals"]
EARLY_WARNING_FIRST_STEP: Final = VERDICTS["early_warning.first_step"]
EARLY_WARNING_EVIDENCE: Final = VERDICTS["early_warning.evidence"]
COMPOUND_SIGNALS: Final = VERDICTS["compound.signals"]
COMPOUND_SEVERITIES: Final = VERDICTS["compound.severities"]
COMPOUND_EVIDENCE: Final = VERDICTS["compound.evidence"]
FINGERPRINT_VECTOR: Final = VERDICTS["fingerprint.vector"]
FINGERPRINT_VERSION: Final = VERDICTS["fingerprint.version"]
FINGERPRINT_PROMPT_HASH: Final = VERDICTS["fingerprint.prompt_hash"]
FINGERPRINT_PROMPT_HASH_SOURCE: Final = VERDICTS["fingerprint.prompt_hash_source"]
FINGERPRINT_RUN_HASH: Final = VERDICTS["fingerprint.run_hash"]
WARNINGS: Final = VERDICTS["warnings"]
NARRATIVE: Final = VERDICTS["narrative"]
STOP_REASON: Final = VERDICTS["stop_reason"]
INTERVENTION_KIND: Final = VERDICTS["intervention.kind"]
INTERVENTION_TRIGGER: Final = VERDICTS["intervention.trigger"]
INTERVENTION_STEP: Final = VERDICTS["intervention.step"]
INTERVENTION_OUTCOME: Final = VERDICTS["intervention.outcome"]

# --- step events --------------------------------------------------------------------------------------------------
STEP_EVENT: Final = define("event", "corevital.step", "-", "", "one decoding step, at the time of its token")
STEP_INDEX: Final = step_attribute("corevital.step.index", "int", "", "step, from 0", between=(0, MOST_STEPS))
for _signal in signals.SIGNALS:
    if _signal.step is not None:
        step_attribute(_signal.step_name, "double", _signal.unit, _signal.step.meaning, between=_signal.read_range())
STEP_ENTROPY: Final = known("event attribute", signal("entropy").step_name)
STEP_SURPRISAL: Final = known("event attribute", signal("surprisal").step_name)
STEP_MARGIN: Final = known("event attribute", signal("margin").step_name)
STEP_TOP1_PROB: Final = known("event attribute", signal("top1_prob").step_name)
STEP_TOPK_MASS: Final = known("event attribute", signal("topk_mass").step_name)
STEP_HIDDEN_COSINE: Final = known("event attribute", signal("hidden_cosine").step_name)
STEP_ATTENTION_ENTROPY: Final = known("event attribute", signal("attention_entropy").step_name)
STEP_RISK_SO_FAR: Final = step_attribute(
    "corevital.step.risk_so_far",
    "double",
    "1",
    "risk of the run up to this step, without what only the whole run tells: a middle layer's anomaly, -Inf logits, a "
    "collapse that the profile tells",
    between=_FRACTION,
)
STEP_ANSWER_SO_FAR: Final = step_attribute(
    "corevital.step.answer_so_far",
    "double",
    "1",
    "probability that the answer up to this step is wrong; absent outside the support",
    between=_FRACTION,
)
STEP_WARNINGS: Final = step_attribute("corevital.step.warnings", "string[]", "", "warnings that hold at this step")
STEP_TOKEN_TEXT: Final = step_attribute("corevital.step.token_text", "string", "", "text of its token", content=True)

EXCEPTION_EVENT: Final = define("event", "exception", "-", "", "the exception that ended the call")
EXCEPTION_TYPE: Final = define("event attribute", "exception.type", "string", "", "qualified class")
EXCEPTION_MESSAGE: Final = define(
    "event attribute", "exception.message", "string", "", "message; only with content on", content=True
)
EXCEPTION_STACKTRACE: Final = define(
    "event attribute", "exception.stacktrace", "string", "", "traceback; only with content on", content=True
)
CONTENT_EVENT: Final = define(
    "event",
    "gen_ai.client.inference.operation.details",
    "-",
    "",
    "log event: the call's `gen_ai.*` attributes with prompt and answer as structured messages; only with content on",
    content=True,
)
EVALUATION_EVENT: Final = define(
    "event", "gen_ai.evaluation.result", "-", "", "log event: the verdict, beside the span"
)
EVALUATION_NAME: Final = define("event attribute", "gen_ai.evaluation.name", "string", "", "`corevital.risk`")
EVALUATION_SCORE: Final = define("event attribute", "gen_ai.evaluation.score.value", "double", "1", "risk score")
EVALUATION_LABEL: Final = define("event attribute", "gen_ai.evaluation.score.label", "string", "", "risk level")
EVALUATION_EXPLANATION: Final = define(
    "event attribute", "gen_ai.evaluation.explanation", "string", "", "the narrative"
)

# --- run data: every step x signal x layer, as log events ---------------------------------------------------------
RUN_DATA_EVENT: Final = define(
    "event",
    "corevital.run.data",
    "-",
    "",
    "log event: a chunk of the run's columns; the body is bytes of a compressed NumPy `.npz` (docs/run-data.md)",
)
RUN_DATA_CHUNK_INDEX: Final = define("event attribute", "corevital.run.data.chunk.index", "int", "", "from 0")
RUN_DATA_CHUNK_COUNT: Final = define(
    "event attribute", "corevital.run.data.chunk.count", "int", "{chunk}", "of the run"
)
RUN_DATA_SIZE: Final = define("event attribute", "corevital.run.data.size", "int", "By", "all chunks together")
RUN_DATA_SHA256: Final = define(
    "event attribute", "corevital.run.data.sha256", "string", "", "SHA-256 of all chunks together, hexadecimal"
)

# --- metrics ------------------------------------------------------------------------------------------------------
for _signal in signals.SIGNALS:
    if _signal.gauge:
        metric(_signal.gauge_name, "gauge", _signal.unit, _signal.gauge)
METRIC_ENTROPY: Final = known("metric", signal("entropy").gauge_name)
METRIC_SURPRISAL: Final = known("metric", signal("surprisal").gauge_name)
METRIC_MARGIN: Final = known("metric", signal("margin").gauge_name)
METRIC_LAYER_L2_NORM: Final = known("metric", signal("hidden_l2_norm").gauge_name)
METRIC_LAYER_ATTENTION_ENTROPY: Final = known("metric", signal("attention_entropy").gauge_name)
METRIC_LAYER_COLLAPSED_HEAD_RATE: Final = known("metric", signal("collapsed_head_rate").gauge_name)
METRIC_RISK_SCORE: Final = metric("corevital.risk.score", "gauge", "1", "risk of the last run")
METRIC_RISK_ANSWER: Final = metric("corevital.risk.answer", "gauge", "1", "answer risk of the last run in its support")
METRIC_FAILURE_RISK: Final = metric("corevital.early_warning.failure_risk", "gauge", "1", "last run's failure risk")
METRIC_RUN_RISK_SCORE: Final = metric("corevital.run.risk_score", "histogram", "1", "risk of runs")
METRIC_RUN_RISK_ANSWER: Final = metric(
    "corevital.run.risk_answer", "histogram", "1", "answer risk of runs that have it"
)
for _signal in signals.SIGNALS:
    if _signal.histogram:
        metric(_signal.step_name, "histogram", _signal.unit, _signal.histogram)
METRIC_STEP_ENTROPY: Final = known("metric", signal("entropy").step_name)
METRIC_STEP_SURPRISAL: Final = known("metric", signal("surprisal").step_name)
METRIC_OPERATION_DURATION: Final = metric(
    "gen_ai.client.operation.duration", "histogram", "s", "duration of generate()"
)
METRIC_TOKEN_USAGE: Final = metric("gen_ai.client.token.usage", "histogram", "{token}", "tokens of a call")
METRIC_TIME_TO_FIRST_TOKEN: Final = metric(
    "gen_ai.server.time_to_first_token", "histogram", "s", "from the call to the first token"
)
METRIC_TIME_PER_OUTPUT_TOKEN: Final = metric(
    "gen_ai.server.time_per_output_token", "histogram", "s", "mean time per token after the first"
)
METRIC_RUNS: Final = metric("corevital.runs", "counter", "{run}", "calls of generate() (captured) or sequences judged")
METRIC_HIGH_ENTROPY_STEPS: Final = metric("corevital.high_entropy_steps", "counter", "{step}", "high-entropy steps")
METRIC_HEALTH_FLAGS: Final = metric("corevital.health.flags", "counter", "{flag}", "health flags raised")
METRIC_WARNINGS: Final = metric("corevital.warnings", "counter", "{warning}", "warnings given")
METRIC_INTERVENTIONS: Final = metric(
    "corevital.interventions", "counter", "{intervention}", "what policies did to runs, by kind, trigger and outcome"
)
METRIC_DROPPED: Final = metric(
    "corevital.dropped", "counter", "{item}", "what CoreVital had to leave out, and numbers of a run that disagree"
)

LABEL_CAPTURED: Final = define(
    "metric attribute", "corevital.captured", "boolean", "", "on `corevital.runs`: whether anything was measured"
)
LABEL_LAYER: Final = define("metric attribute", "corevital.layer", "int", "", "index of the layer")
LABEL_FLAG: Final = define("metric attribute", "corevital.health.flag", "string", "", "name of the flag")
LABEL_WARNING: Final = define("metric attribute", "corevital.warning", "string", "", "name of the warning")
LABEL_DROPPED_KIND: Final = define(
    "metric attribute", "corevital.dropped.kind", "string", "", "what was left out; `consistency`: what disagrees"
)
LABEL_TOKEN_TYPE: Final = define("metric attribute", "gen_ai.token.type", "string", "", "`input` or `output`")


def content_attributes(carried: definitions.Kind = "attribute") -> frozenset[str]:
    """Return the attributes of spans, or of another kind, that hold content."""
    return frozenset(name for (kind, name), each in DEFINITIONS.items() if kind == carried and each.content)

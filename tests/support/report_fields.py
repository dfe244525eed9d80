"""The fields of a report of the first CoreVital (schema 0.4.0, captured in full), and those not written."""

from collections.abc import Iterator
from typing import Any, Final

_GROUPS: Final = {
    "": "schema_version trace_id created_at_utc warnings",
    "model": "hf_id revision architecture num_layers hidden_size num_attention_heads tokenizer_hf_id dtype device",
    "model.quantization": "enabled method",
    "run_config": "seed device_requested max_new_tokens",
    "run_config.generation": "do_sample temperature top_k top_p",
    "run_config.summaries.hidden": "enabled stats",
    "run_config.summaries.hidden.sketch": "method dim seed",
    "run_config.summaries.attention": "enabled stats",
    "run_config.summaries.logits": "enabled stats topk",
    "run_config.sink": "type target",
    "prompt": "text token_ids num_tokens",
    "generated": "output_text token_ids num_tokens",
    "timeline": "step_index extensions",
    "timeline.token": "token_id token_text is_prompt_token",
    "timeline.logits_summary": "entropy top1_top2_margin top_k_margin voter_agreement perplexity surprisal",
    "timeline.logits_summary.topk": "token_id token_text prob",
    "timeline.layers": "layer_index extensions",
    "timeline.layers.hidden_summary": "mean std l2_norm_mean max_abs sketch clipped",
    "timeline.layers.attention_summary": "entropy_mean entropy_min concentration_max entropy_max concentration_min "
    "collapsed_head_count focused_head_count",
    "timeline.layers.anomalies": "has_nan has_inf",
    "summary": "prompt_tokens generated_tokens total_steps elapsed_ms",
    "prompt_analysis.layers.heads": "query_indices key_indices weights",
    "prompt_analysis.layers": "basin_scores",
    "prompt_analysis": "layer_transformations prompt_surprisals",
    "health_flags": "nan_detected inf_detected attention_collapse_detected high_entropy_steps "
    "repetition_loop_detected mid_layer_anomaly_detected",
    "extensions.risk": "risk_score risk_factors blamed_layers",
    "extensions.fingerprint": "vector prompt_hash",
    "extensions.early_warning": "failure_risk warning_signals",
    "extensions.narrative": "summary",
    "extensions.performance": "total_wall_time_ms detailed_file original_model_load_ms warmup_ms baseline_ms "
    "instrumented_inference_ms inference_overhead_ms inference_overhead_pct corevital_overhead_ms "
    "corevital_overhead_pct",
    "extensions.performance.parent_operations": "name ms pct",
    "extensions.performance.unaccounted_time": "ms pct",
}
FIELDS: Final = frozenset(
    f"{group}.{name}".removeprefix(".") for group, names in _GROUPS.items() for name in names.split()
)

LEFT_OUT: Final = {
    "model.hidden_size": "a run's span does not have it",
    "model.tokenizer_hf_id": "generate() is given token ids and knows no tokenizer's name",
    "run_config.device_requested": "a run's span has the device it was on, under model.device",
    "run_config.summaries": "what is summarised is no setting here",
    "run_config.sink": "a report is written from the store, by whoever wants one",
    "prompt.token_ids": "the prompt's ids are content that is never kept; its text is, where that is switched on",
    "timeline.token.token_text": "needs the tokenizer; generated.output_text has the text",
    "timeline.logits_summary.top1_top2_margin": "the older name of top_k_margin",
    "timeline.logits_summary.voter_agreement": "the older name of topk_mass",
    "timeline.logits_summary.topk.token_text": "needs the tokenizer",
    "timeline.layers.extensions": "the first CoreVital wrote nothing into it",
    "timeline.layers.hidden_summary.sketch": "no sketch is made",
    "timeline.layers.hidden_summary.clipped": "nothing is clipped",
    "timeline.layers.attention_summary.entropy_mean": "in nats; entropy_mean_normalized is written",
    "timeline.layers.attention_summary.entropy_min": "in nats, which normalised entropies do not give back",
    "timeline.layers.attention_summary.entropy_max": "in nats, which normalised entropies do not give back",
    "timeline.layers.attention_summary.concentration_min": "the smallest over heads is not computed",
    "extensions.performance": "timings of the first CoreVital's own steps",
}
"""Field, or object with all below it -> why no exported report has it."""


def left_out(field: str) -> bool:
    """Return whether a field is one of those, or below one."""
    return any(field == each or field.startswith(f"{each}.") for each in LEFT_OUT)


def fields_of(value: Any, where: str = "") -> Iterator[str]:
    """Yield the path of every field; that of a list's elements is the list's."""
    if isinstance(value, dict):
        for name, each in value.items():
            path = f"{where}.{name}".removeprefix(".")
            yield path
            yield from fields_of(each, path)
    elif isinstance(value, list):
        for each in value:
            yield from fields_of(each, where)

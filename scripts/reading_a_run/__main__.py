"""Makes docs/reading-a-run.md and its pictures: python scripts/reading_a_run. Some minutes on a CPU."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from cases import CASES, Made, make_runs
from pictures import draw

from opentelemetry_instrumentation_corevital.catalogue import verdicts
from opentelemetry_instrumentation_corevital.catalogue.signal import Signal
from opentelemetry_instrumentation_corevital.catalogue.signals import SIGNALS, signal
from opentelemetry_instrumentation_corevital.catalogue.spelling import for_people

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "images" / "reading"

BAD_OF = {
    **dict.fromkeys(("entropy", "surprisal", "margin", "top1_prob", "topk_mass"), "hot"),
    **dict.fromkeys(("hidden_mean", "hidden_std", "hidden_l2_norm", "hidden_max_abs", "layer_transformation"), "layer"),
    **dict.fromkeys(("logits_nan", "hidden_nan", "hidden_inf"), "overflow"),
    **dict.fromkeys(
        ("hidden_cosine", "attention_mass_sink", "attention_mass_prompt", "attention_mass_generated"), "loop"
    ),
    **dict.fromkeys(("attention_middle", "attention_previous"), "loop"),
    **dict.fromkeys(
        ("attention_entropy", "attention_entropy_std", "attention_entropy_min", "attention_entropy_max"), "queries"
    ),
    **dict.fromkeys(
        ("attention_max_weight", "attention_max_weight_max", "collapsed_head_rate", "focused_head_rate"), "queries"
    ),
}
"""Signal -> the case that shows it best."""
SHOWN_BY = {
    "nan_detected": ("overflow", "hidden_nan"),
    "inf_detected": ("overflow", "hidden_inf"),
    "repetition_loop_detected": ("loop", "surprisal"),
    "attention_collapse_detected": ("queries", "collapsed_head_rate"),
    "mid_layer_anomaly_detected": ("layer", "hidden_l2_norm"),
    "layer_anomaly_detected": ("layer", "hidden_l2_norm"),
    "repetition_risk": ("loop", "entropy"),
    "entropy_rising": ("jump", "entropy"),
    "margin_collapsing": ("hot", "margin"),
    "confidence_drop": ("jump", "top1_prob"),
    "attention_collapsing": ("queries", "collapsed_head_rate"),
    "norm_jump": ("jump", "hidden_l2_norm"),
}
"""Verdict -> the case that may raise it, and the signal that shows it."""
NOT_SHOWN = {
    "logits_posinf": "An infinite logit is drawn with those that are NaN, above.",
    "logits_neginf": "Logits processors that mask tokens make it; none was used in these runs.",
    "router_entropy": "SmolLM2 has no router; [metrics](metrics.md) has it.",
    "router_top1_prob": "SmolLM2 has no router; [metrics](metrics.md) has it.",
}


_BEGINNING = """# Reading a run

Made by `python scripts/reading_a_run`; do not edit. Each picture has a healthy run on the left and one that went wrong
on the right, on one scale. All are real runs of SmolLM2-135M-Instruct in float32 on a CPU, judged with its packaged
baseline; the faults were put in, as the table says. The dotted line is where a verdict first fired. Definitions are in
[metrics](metrics.md), rules in [judgement](judgement.md).

Read the narrative first, then the flags with their step, then the layer that is blamed first. Then look here.
"""


def main() -> None:
    """Make the runs, the pictures and the page."""
    made = dict(make_runs())
    for old in PICTURES.glob("*.png"):
        old.unlink()
    lines = [*_beginning(made), *_signals(made), *_verdicts(made)]
    (DOCS / "reading-a-run.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _beginning(made: dict[str, Made]) -> Iterator[str]:
    yield _BEGINNING
    yield "| run | how it was made | risk | what CoreVital says |\n|---|---|---|---|"
    for each in made.values():
        risk = each.run.risk
        level = "not judged" if risk is None else f"{risk.level} {risk.score:.2f}"
        yield f"| {each.case.title} | {each.case.made} | {level} | {_cell(each.run.narrative or 'nothing')} |"
    yield ""
    for each in made.values():
        yield f"- *{each.case.title}* wrote: \u201c{_cell(textwrap.shorten(each.text, 160, placeholder=' ...'))}\u201d"
    yield ""


def _signals(made: dict[str, Made]) -> Iterator[str]:
    yield "## Signals\n"
    for each in SIGNALS:
        if each.entry is None or each.family in ("cross", "heads", "derived", "faults"):
            continue
        yield f"### `{each.name}`\n"
        yield _sentence(each.entry.stands_out) + "\n"
        if each.name in NOT_SHOWN:
            yield NOT_SHOWN[each.name] + "\n"
        else:
            yield _picture(each, each.name, made, BAD_OF[each.name], _fault_step(made[BAD_OF[each.name]]))


def _verdicts(made: dict[str, Made]) -> Iterator[str]:
    yield "## Verdicts\n"
    entries = {
        each.name: each.entry
        for group in (verdicts.FLAGS, verdicts.EARLY_WARNINGS, verdicts.COMPOUND)
        for each in group
    }
    for name, entry in entries.items():
        raised = [case for case, each in made.items() if _raised(each, name)]
        yield f"### `{name}`: {for_people(name)}\n"
        yield f"What to do: {_sentence(entry.advice)}\n"
        if not raised:
            yield "None of these runs raised it.\n"
            continue
        yield (
            f"Raised by {_listed([made[case].case.title for case in raised])}; not by the healthy run.\n"
            if "healthy" not in raised
            else f"Raised by {_listed([made[case].case.title for case in raised])}.\n"
        )
        case, shown = SHOWN_BY.get(name, (raised[0], "entropy"))
        case = case if case in raised else raised[0]
        yield _picture(signal(shown), f"verdict-{name}", made, case, _first_step(made[case], name))
    yield "### Risk, blame, narrative\n"
    yield "The table at the top has the risk and the narrative of each run. Blamed first:\n"
    for each in made.values():
        layers = ", ".join(f"layer {blamed.layer} ({blamed.text()})" for blamed in (each.run.blame or ())[:2])
        yield f"- *{each.case.title}*: {layers or 'no layer'}"
    yield (
        "\nWhat to do: start with the layer that is blamed first: its weights, dtype, quantisation and adapters. "
        "The others mostly follow from it."
    )


def _picture(of: Signal, name: str, made: dict[str, Made], case: str, mark: int | None) -> str:
    drawn = draw(of, made["healthy"], made[case], PICTURES / f"{name}.png", mark)
    title = made[case].case.title
    return (
        f"![{of.name} of the healthy run, and of {title}](images/reading/{name}.png)\n"
        if drawn
        else "These runs have no value of it.\n"
    )


def _fault_step(made: Made) -> int | None:
    onsets = [evidence.get("onset_step") for evidence in (made.run.health.evidence if made.run.health else {}).values()]
    return next((int(step) for step in onsets if step is not None), None)


def _raised(made: Made, name: str) -> bool:
    run = made.run
    warned = run.early_warning.signals if run.early_warning else ()
    compound = [each.name for each in run.compound or ()]
    return name in (run.health.raised() if run.health else ()) or name in warned or name in compound


def _first_step(made: Made, name: str) -> int | None:
    """Return the step at which a verdict first fired, where it has one."""
    run = made.run
    health = dict(run.health.evidence.get(name, {})) if run.health else {}
    for key in ("onset_step", "first_step", "step"):
        if key in health:
            return int(health[key])
    active = run.early_warning.active if run.early_warning else {}
    return min((step for step, names in active.items() if name in names), default=None)


def _sentence(text: str) -> str:
    text = text.partition("{{")[0].strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


if __name__ == "__main__":
    assert set(BAD_OF.values()) <= CASES.keys()
    main()

"""The figures as a page."""

from collections.abc import Mapping
from typing import Any, Final

INTRO: Final = """
Made by `{command}`. SmolLM2-135M-Instruct, float32, on a CPU: {questions} questions of {tasks} tasks, each a text
to go on with after three solved ones, answered greedily with a fixed number of tokens. lm-polygraph {polygraph}
(MIT) ran in an environment of its own, with transformers {theirs} and eager attention; CoreVital with transformers
{own} and the model's own attention. Both had the same tokens of the prompt in {same_prompt} questions and chose
the same tokens in {same_tokens}; the figures are of these.
"""
DIFFERENCES: Final = """
The largest difference over all runs, tokens, layers and heads; nat, and weights from 0 to 1.

- lm-polygraph forbids the end token at the first two steps (`min_new_tokens=2`) and takes the distribution after
  that, so there its distributions have no end token. Behind these steps the numbers are the same.
- Its RAUQ takes the weight that the last token so far has on itself, in eleven layers. CoreVital's
  `attention_previous_heads` is the weight on the token before that, in ten. So the two RAUQ differ. With
  CoreVital's attention, lm-polygraph's class gives our RAUQ (and 1 more, which is added there); and the weights on
  the token before, which lm-polygraph has one place beside, are ours.
"""
SKILL: Final = """
AUROC within each task, the mean over the {tasks} tasks with at least five answers of each kind; 95 % intervals by
question (bootstrap, the same draws for all). Numbers without a name before them are lm-polygraph's, larger for less
sure. The answer's line ends with the first line break, which is counted with it; behind it the model goes on with a
question of its own.

The coefficients of CoreVital's answer risk were fitted without SmolLM2 and without the task; its features were chosen
with the answers of all models in view. It ranks all answers here; {in_support} of them are inside the shipped
model's support. What each number costs was not measured.
"""


def page(found: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    said = {
        "polygraph": found["theirs"]["lm-polygraph"],
        "theirs": found["theirs"]["transformers"],
        "own": found["corevital"]["transformers"],
    }
    counts = {name: found[name] for name in ("command", "questions", "same_prompt", "same_tokens")}
    parts = found["skill"]
    lines = [
        "# CoreVital's numbers beside lm-polygraph's",
        INTRO.format(tasks=len(found["tasks"]) + len(found["too_one_sided"]), **counts, **said),
        "## The same numbers",
        DIFFERENCES,
        "| number | largest difference |\n|---|---|",
        *(f"| {name} | {value:.1e} |" for name, value in found["largest_difference"].items()),
        "\n## Wrong answers",
        SKILL.format(tasks=len(found["tasks"]), in_support=found["in_support"]),
        f"| number | {' | '.join(parts)} |\n|---|{'---|' * len(parts)}",
        *_skill(parts),
        "",
        *(f"On {part}, {_gain(each)}.\n" for part, each in parts.items()),
        "| task | answers | wrong |\n|---|---|---|",
        *(f"| {task} | {each['runs']} | {each['wrong']} |" for task, each in found["tasks"].items()),
    ]
    if found["too_one_sided"]:
        lines.append(f"\nToo few right or wrong answers to count: {', '.join(found['too_one_sided'])}.")
    return "\n".join(lines) + "\n"


def _skill(parts: Mapping[str, Any]) -> list[str]:
    first = next(iter(parts.values()))["auroc"]
    order = sorted(first, key=lambda name: -first[name]["macro"])
    return [f"| {name} | {' | '.join(_cell(each['auroc'][name]) for each in parts.values())} |" for name in order]


def _cell(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['macro']:.3f} ({low:.3f} to {high:.3f})"


def _gain(part: Mapping[str, Any]) -> str:
    gain = part["gain"]
    low, high = gain["interval"]
    return (
        f"the answer risk has {gain['value']:+.3f} ({low:+.3f} to {high:+.3f}) over {gain['over']}, the best of theirs"
    )

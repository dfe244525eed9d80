"""`corevital compare --prompts`: two models, or two experiments, prompt by prompt, the worst difference first."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line
from .._internal.user_error import UserError
from ..catalogue.spelling import for_people
from ..store import RunSummary
from ..store.prompt_differences import PromptDifference, PromptFigures, prompt_differences
from .output import print_json, write_csv
from .printing import console

_MOST_NAME: Final = 100
_MOST_ID: Final = 40
_HASH_LENGTH: Final = 8
_SAME: Final = 0.005
"""Risks nearer than this are shown as the same."""


def compare_prompts(
    groups: Mapping[str, Sequence[RunSummary]], source: Text, *, as_json: bool, as_csv: bool, notes: Sequence[str]
) -> None:
    """Print how two models differ on each prompt that both have had.

    Args:
        groups: the runs of each, those of the reference first.
        source: says where they are stored.
        as_json: whether to print one JSON object.
        as_csv: whether to print CSV.
        notes: what to beware of.

    Raises:
        UserError: if there are not two of them, or they have no prompt in common.
    """
    if len(groups) != 2:
        raise UserError(
            f"--prompts compares two, and here are {len(groups)} ({', '.join(groups)}): name them with --models A,B or "
            "--experiments A,B."
        )
    (reference, its_runs), (other, runs) = groups.items()
    found = prompt_differences(its_runs, runs)
    if not found:
        raise UserError(f"--prompts: {reference} and {other} have no prompt in common.")
    if as_json:
        rows = [{**asdict(each), "risk_difference": each.risk} for each in found]
        print_json({"reference": reference, "other": other, "prompts": rows, "notes": list(notes)})
    elif as_csv:
        flat = [_flat(each) for each in found]
        write_csv(flat, list(flat[0]))
    else:
        out = console()
        out.print(_table(found, other, reference))
        out.print(_summary(found), soft_wrap=True)
        for note in notes:
            out.print(Text(one_line(note), "yellow"), soft_wrap=True)
        out.print(source, soft_wrap=True)


def _table(found: Sequence[PromptDifference], other: str, reference: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.title = Text(f"{one_line(other, _MOST_NAME)} against {one_line(reference, _MOST_NAME)}, by prompt", "bold")
    expecting = any(each.other.expected_found is not None for each in found)
    table.add_column("prompt", no_wrap=True)
    for name in ("risk", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flags", overflow="fold")
    for name in ("tokens", *(("expected",) if expecting else ())):
        table.add_column(name, no_wrap=True)
    for each in found:
        was, now = each.reference, each.other
        expected = [_from_to(_fraction(was), _fraction(now))] if expecting else []
        table.add_row(
            _named(each),
            _from_to(_number(was.risk, ".2f"), _number(now.risk, ".2f")),
            Text(_number(each.risk, "+.2f"), "bold" if abs(each.risk or 0) >= _SAME else ""),
            ", ".join(_changes(each)) or "-",
            _from_to(_number(was.tokens, ".0f"), _number(now.tokens, ".0f")),
            *expected,
        )
    return table


def _from_to(was: str, now: str) -> str:
    """Return the reference's value and the other's, or one where they are the same."""
    return now if was == now else f"{was} \u2192 {now}"


def _named(each: PromptDifference) -> str:
    return one_line(each.prompt_id or each.prompt_hash[:_HASH_LENGTH], _MOST_ID)


def _changes(each: PromptDifference) -> list[str]:
    """Return the flags of both: those that only the model has, those that only the reference has, and the others."""
    ours, theirs = each.other.flags, each.reference.flags
    signed = [("" if flag in theirs else "+", flag) for flag in ours]
    signed += [("-", flag) for flag in theirs if flag not in ours]
    return [f"{sign}{for_people(flag)}" for sign, flag in signed]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value + 0.0:{form}}"


def _fraction(figures: PromptFigures) -> str:
    found = figures.expected_found
    if found is None or found in (0, 1):
        return "-" if found is None else "found" if found else "missing"
    return f"{100 * found:.0f} %"


def _summary(found: Sequence[PromptDifference]) -> str:
    judged = [each.risk for each in found if each.risk is not None]
    worse, better = sum(risk >= _SAME for risk in judged), sum(risk <= -_SAME for risk in judged)
    unjudged = f", {len(found) - len(judged)} not judged" if len(judged) < len(found) else ""
    return (
        f"{len(found)} prompts in common: the risk is higher on {worse}, lower on {better}, "
        f"the same on {len(judged) - worse - better}{unjudged}{_expected(found)}"
    )


def _expected(found: Sequence[PromptDifference]) -> str:
    """Return how often each has the expected text, over the prompts where both are known; empty: there are none."""
    known = [(each.reference.expected_found, each.other.expected_found) for each in found]
    both = [(was, now) for was, now in known if was is not None and now is not None]
    if not both:
        return ""
    was, now = (f"{100 * sum(side) / len(both):.0f} %" for side in zip(*both, strict=True))
    prompts = f"{len(both)} prompt{'s' if len(both) > 1 else ''}"
    return f"\nthe expected text is in {_from_to(was, now)} of the answers to {prompts}"


def _flat(each: PromptDifference) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt_id": each.prompt_id, "prompt_hash": each.prompt_hash, "risk_difference": each.risk}
    for name, figures in (("other", each.other), ("reference", each.reference)):
        row |= {f"{name}_{key}": ";".join(v) if key == "flags" else v for key, v in asdict(figures).items()}
    return row

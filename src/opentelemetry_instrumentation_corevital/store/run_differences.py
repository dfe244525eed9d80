"""Runs beside each other: what differs, and where they part. Pure functions on stored runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from .. import semconv
from ..catalogue.spelling import factor_for_people, for_people
from ..presentation.panel import message_text
from .comparison import prompt_of
from .stored_run import StoredRun

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

_ALIKE: Final = 1e-3  # entropies nearer than this (bit, or relative) differ by rounding: another device or batch
_AROUND: Final = 80
"""Characters of text before and behind the place at which runs part."""


@dataclass(frozen=True, slots=True)
class RunField:
    """One fact of a run: its name, its value, how a number is written (None: text)."""

    name: str
    of: Callable[[StoredRun], Any]
    form: str | None = None
    unit: str = ""


def _attribute(name: str) -> Callable[[StoredRun], Any]:
    return lambda run: run.attributes.get(name)


RUN_FIELDS: Final = (
    RunField("model", lambda run: run.summary.model),
    RunField("prompt hash", lambda run: run.summary.prompt_hash and run.summary.prompt_hash[:16]),
    RunField("prompt id", lambda run: run.summary.prompt_id),
    RunField("experiment", lambda run: run.summary.experiment),
    RunField("decoding", lambda run: run.summary.strategy),
    RunField("seed", _attribute(semconv.GEN_AI_REQUEST_SEED)),
    RunField("risk", lambda run: run.summary.risk_score, ".2f"),
    RunField("level", lambda run: run.summary.risk_level),
    RunField("factors", _attribute(semconv.RISK_FACTORS)),
    RunField("answer risk", lambda run: run.summary.risk_answer, ".2f"),
    RunField("flags", lambda run: list(run.summary.flags) if run.summary.judged else None),
    RunField("warnings", lambda run: None if run.summary.warnings is None else list(run.summary.warnings)),
    RunField("failure risk", lambda run: run.summary.failure_risk, ".2f"),
    RunField("blamed layers", _attribute(semconv.BLAME_LAYERS)),
    RunField("entropy, mean", lambda run: run.summary.entropy_mean, ".2f", "bit"),
    RunField("entropy, largest", _attribute(semconv.ENTROPY_MAX), ".2f", "bit"),
    RunField("steps of high entropy", lambda run: run.summary.high_entropy_steps, "d"),
    RunField("surprisal, mean", lambda run: run.summary.surprisal_mean, ".2f", "bit"),
    RunField("surprisal, sum", _attribute(semconv.SURPRISAL_SUM), ".1f", "bit"),
    RunField("margin, mean", lambda run: run.summary.margin_mean, ".3f"),
    RunField("tokens in", lambda run: run.summary.input_tokens, "d"),
    RunField("tokens out", lambda run: run.summary.output_tokens, "d"),
    RunField("finish", lambda run: run.summary.error_type or run.summary.stop_reason or run.summary.finish_reason),
    RunField("intervention", lambda run: run.summary.intervention),
    RunField("duration", lambda run: run.summary.seconds, ".2f", "s"),
    RunField("label", lambda run: run.summary.label),
    RunField("narrative", lambda run: run.summary.narrative),
)

_SPELT: Final = {"factors": factor_for_people, "flags": for_people, "warnings": for_people}
"""Fields that hold names, which people read in another spelling than programs."""


def difference(field: RunField, first: Any, second: Any) -> float | int | None:
    """Return the second number less the first; None where there are no two."""
    if field.form is None or first is None or second is None:
        return None
    found: float | int = second - first
    return found


def difference_text(field: RunField, first: Any, second: Any) -> str:
    """Return how much more the second has, with its unit; empty where there are no two numbers."""
    found = difference(field, first, second)
    return "" if found is None else f"{found:+{field.form}}{f' {field.unit}' if field.unit else ''}"


def value_text(field: RunField, value: Any) -> str:
    """Return a value as people read it."""
    if value is None or value == []:
        return "-" if value is None else "none"
    if field.form is not None:
        return f"{value:{field.form}}{f' {field.unit}' if field.unit else ''}"
    spelt = _SPELT.get(field.name, str)
    return ", ".join(spelt(str(each)) for each in value) if isinstance(value, list) else str(value)


def same_prompt(runs: Sequence[StoredRun]) -> bool | None:
    """Return whether all runs answer one prompt; None where the prompt of one is not known."""
    prompts = {prompt_of(run.summary) for run in runs}
    return None if None in prompts else len(prompts) == 1


# --- where they part ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parting:
    """Where runs part."""

    basis: Literal["tokens", "text", "entropy"]
    """What was compared: token ids, the generated text, or the entropy of each step."""
    step: int | None
    """The first step at which not all have the same token; None where all have the same, and of a text."""
    alike: int
    """How many tokens, characters, or entropies in a row all have in common."""
    before: str | None = None
    """The text that they have in common, the end of it; None where no text is stored."""
    then: Sequence[str] | None = None
    """What each of them goes on with: text, or the id of a token; empty where it ends."""

    @property
    def parted(self) -> bool:
        """Return whether there is a place at which they part."""
        return self.step is not None or (self.basis == "text" and len(set(self.then or ())) > 1)


def parting(runs: Sequence[StoredRun]) -> Parting | None:
    """Return where runs part; None where nothing is stored that tells: text of different models, or steps of one."""
    one_model = len({run.summary.model for run in runs}) == 1 and runs[0].summary.model is not None
    columns = [_columns(run) for run in runs]
    told = [message_text(run.attributes.get(semconv.GEN_AI_OUTPUT_MESSAGES)) for run in runs]
    answers = [text for text in told if text is not None]
    whole = len(answers) == len(runs)
    if one_model and all("tokens" in each for each in columns):
        ids = [each["tokens"].tolist() for each in columns]
        alike = _in_common(ids)
        ended = all(len(each) == alike for each in ids)
        then = [f"token {each[alike]}" if alike < len(each) else "" for each in ids]
        if whole:
            before, then_text = _around(answers)
            return Parting("tokens", None if ended else alike, alike, before, then_text if any(then_text) else then)
        return Parting("tokens", None if ended else alike, alike, None, None if ended else then)
    if whole:
        before, then = _around(answers)
        return Parting("text", None, _in_common(answers), before, then)
    if not one_model or not all("entropy" in each for each in columns):
        return None
    found = [steps_alike(columns[0], each) for each in columns[1:]]
    alike = min(each for each in found if each is not None)
    shortest, longest = (pick(len(each["entropy"]) for each in columns) for pick in (min, max))
    if alike < shortest:  # a step's entropy follows from the tokens before it
        return Parting("entropy", max(0, alike - 1), alike)
    return Parting("entropy", None if shortest == longest else alike, alike)


def steps_alike(first: "Columns | None", second: "Columns | None") -> int | None:
    """Return over how many steps two runs have the same entropies; None where one has no run data."""
    if first is None or second is None or "entropy" not in first or "entropy" not in second:
        return None
    from numpy import flatnonzero, isclose

    steps = min(len(first["entropy"]), len(second["entropy"]))
    a, b = first["entropy"][:steps], second["entropy"][:steps]
    apart = flatnonzero(~isclose(a, b, rtol=_ALIKE, atol=_ALIKE, equal_nan=True))
    return int(apart[0]) if len(apart) else steps


def _columns(run: StoredRun) -> "Columns":
    try:
        return run.columns
    except ValueError:  # no archive of columns at all
        return {}


def _in_common(sequences: Sequence[Sequence[Any]]) -> int:
    """Return how many items all sequences begin with alike."""
    shortest = min(map(len, sequences))
    return next((n for n in range(shortest) if len({each[n] for each in sequences}) > 1), shortest)


def _around(answers: Sequence[str]) -> tuple[str, list[str]]:
    """Return the end of what all answers have in common, and what each goes on with."""
    alike = _in_common(answers)
    return answers[0][max(0, alike - _AROUND) : alike], [text[alike : alike + _AROUND] for text in answers]

"""What may act on a run while it goes on: policies, and the conditions on which they act. Off unless they are given.

    from opentelemetry_instrumentation_corevital.policies import RollBack, Stop

    CoreVitalInstrumentor().instrument(policies=[RollBack(on="repetition_loop"), Stop(on=("nan", "inf", "risk>0.9"))])

A condition is the name of a health flag that can be judged while a run goes on (its `_detected` may be left out), the
name of an early warning, a threshold of `risk`, `failure_risk` or `answer` such as `risk>0.9`, or a function of the
step's event that returns whether to act. A policy has one or several of them, and acts when the first one begins to be
true. Step k is judged from the numbers of step k-1, so a run that is repeated acts at the same step.
"""

import difflib
import inspect
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from ._internal.short_repr import short_repr
from .catalogue.spelling import flag_for_programs, for_people
from .catalogue.warnings import EARLY_WARNINGS

__all__ = ["BreakReasoning", "CoolDown", "Policy", "PolicyError", "Retry", "RollBack", "Stop"]

LIVE_FLAGS: Final = ("nan_detected", "inf_detected", "repetition_loop_detected")
"""The flags that can be judged while a run goes on; the others are judged when it is over."""

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {">": operator.gt, ">=": operator.ge}
_THRESHOLD: Final = re.compile(r"(risk|failure_risk|answer)\s*(>=?)\s*(\S+)")
_READ_AS: Final[Mapping[str, tuple[str, float | None]]] = {
    "risk": ("risk_so_far", 0.0),
    "failure_risk": ("failure_risk", 0.0),
    "answer": ("answer_so_far", None),
}
"""Threshold -> what it reads of a step's event, and what an event without it counts as; None meets no threshold."""

LEAST_TEMPERATURE: Final = 0.001
"""Of a policy: logits that are divided by much less are not finite any more."""

Trigger = str | Callable[[Any], object]
"""A condition as a user writes it."""


class PolicyError(ValueError):
    """A policy or a condition cannot be what it says; the message names it and what is allowed."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a policy acts."""

    name: str
    """A flag or a warning by its name in the catalogue, a threshold such as `risk>0.9`, or a function's name."""
    holds: Callable[[Any], object] = field(compare=False)
    """Tells of a step's event whether it is true."""


def condition(trigger: Trigger) -> Condition:
    """Read a condition.

    Raises:
        PolicyError: if it is none.
    """
    if callable(trigger):
        if is_coroutine_function(trigger):
            raise PolicyError(f"{_name(trigger)} is called by the thread that generates, so it cannot be a coroutine")
        return Condition(_name(trigger), trigger)
    if not isinstance(trigger, str):
        raise PolicyError(f"a policy acts on names, thresholds or functions, not on {trigger!r}")
    text = trigger.strip()
    if match := _THRESHOLD.fullmatch(text):
        return _threshold(text, *match.groups())
    flag = flag_for_programs(text)
    if flag in LIVE_FLAGS:
        return Condition(flag, lambda event: flag in event.flags)
    if flag is not None:
        raise PolicyError(f"no policy can act on {text!r}: it is judged when the run is over. {_allowed()}")
    warning = next((each.name for each in EARLY_WARNINGS if text in (each.name, for_people(each.name))), None)
    if warning is not None:
        return Condition(warning, lambda event: warning in event.get("warning_signals", ()))
    raise PolicyError(f"no policy can act on {text!r}{_meant(text)} {_allowed()}")


def _threshold(text: str, of: str, comparison: str, number: str) -> Condition:
    try:
        limit = float(number)
    except ValueError:
        limit = -1.0
    if not 0.0 <= limit <= 1.0:
        raise PolicyError(f"{text!r}: a threshold of {of} is a number from 0 to 1")
    compare, (read, absent) = _COMPARISONS[comparison], _READ_AS[of]

    def holds(event: Any) -> bool:
        value = event.get(read, absent)
        return value is not None and compare(value, limit)

    return Condition(f"{of}{comparison}{limit:g}", holds)


def _meant(text: str) -> str:
    """Return a hint at what a name may have been meant for, a full stop where nothing is near."""
    if "," in text:
        return "; several conditions are a list of names."
    names = {name.removesuffix("_detected"): name for name in LIVE_FLAGS}
    names |= {warning.name: warning.name for warning in EARLY_WARNINGS}
    near = difflib.get_close_matches(text.lower().removesuffix("_detected"), names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else "."


def _allowed() -> str:
    warnings = ", ".join(warning.name for warning in EARLY_WARNINGS)
    thresholds = ", ".join(f"{name}>0.9" for name in _READ_AS)
    return f"Flags: {', '.join(LIVE_FLAGS)}. Early warnings: {warnings}. Thresholds: {thresholds}"


def conditions(on: Trigger | Sequence[Trigger]) -> tuple[Condition, ...]:
    """Read one condition or several.

    Raises:
        PolicyError: if one of them is none, or there is none.
    """
    several = isinstance(on, Sequence) and not isinstance(on, str)
    triggers: list[Any] = list(on) if several else [on]  # type: ignore[arg-type]
    if not triggers:
        raise PolicyError(f"a policy needs something to act on. {_allowed()}")
    return tuple(map(condition, triggers))


@dataclass(frozen=True, slots=True)
class _Policy:
    on: Trigger | Sequence[Trigger]
    conditions: tuple[Condition, ...] = field(init=False, repr=False, compare=False)

    __repr__ = short_repr

    def _read(self) -> None:
        object.__setattr__(self, "conditions", conditions(self.on))


@dataclass(frozen=True, slots=True, repr=False)
class Stop(_Policy):
    """Ends a sequence; the others of its batch go on.

    `on` is one condition or a list of them, of which one is enough, as in every policy.

    Raises:
        PolicyError: for what is no condition; the message names those that there are. So does every policy.
    """

    kind: ClassVar[Literal["stop"]] = "stop"
    on: Trigger | Sequence[Trigger] = "repetition_loop"

    def __post_init__(self) -> None:
        self._read()


@dataclass(frozen=True, slots=True, repr=False)
class CoolDown(_Policy):
    """Samples at another temperature for some steps, and for as long as its condition is true.

    Greedy decoding has no temperature: there it does nothing, and says so.
    """

    kind: ClassVar[Literal["cool_down"]] = "cool_down"
    on: Trigger | Sequence[Trigger] = "repetition_risk"
    temperature: float = 0.3
    """Of the softmax, as in `generate()`; from 0.001 on."""
    steps: int = 16
    """For how many steps; at least 1."""

    def __post_init__(self) -> None:
        self._read()
        if not _is_number(self.temperature) or not LEAST_TEMPERATURE <= self.temperature < math.inf:
            raise PolicyError(
                f"CoolDown: temperature is {self.temperature!r}, but has to be a number from {LEAST_TEMPERATURE} on"
            )
        _at_least("CoolDown", "steps", self.steps, 1)


@dataclass(frozen=True, slots=True, repr=False)
class RollBack(_Policy):
    """Takes back the tokens since the repetition began and goes on from there with other settings.

    The ids are cut back to the end of the first copy. The cache is cropped where it can be, else computed again.
    """

    kind: ClassVar[Literal["roll_back"]] = "roll_back"
    on: Trigger | Sequence[Trigger] = "repetition_loop"
    to: Literal["onset"] | int = "onset"
    """`onset`: to the end of the first copy; a number: so many tokens are taken back."""
    changes: Mapping[str, Any] = field(default_factory=lambda: dict(ROLL_BACK_CHANGES))
    """Keywords of `generate()` for what comes after."""

    def __post_init__(self) -> None:
        self._read()
        if self.to != "onset":
            _at_least("RollBack", "to", self.to, 1, or_else="'onset' or ")
        _check_changes("RollBack", self.changes)
        fixed = sorted(FIXED.intersection(self.changes))
        if fixed:
            raise PolicyError(
                f"RollBack: changes has {', '.join(fixed)}, but only how tokens are chosen can change within a call, "
                "such as do_sample, temperature, top_p or repetition_penalty"
            )


@dataclass(frozen=True, slots=True, repr=False)
class BreakReasoning(_Policy):
    """Ends a model's reasoning instead of its run: forces the tokens that end it, once in a sequence."""

    kind: ClassVar[Literal["break_reasoning"]] = "break_reasoning"
    on: Trigger | Sequence[Trigger] = "repetition_loop"
    tokens: Sequence[int] = ()
    """Ids of the tokens, such as those of `</think>`."""

    def __post_init__(self) -> None:
        self._read()
        tokens = tuple(self.tokens) if isinstance(self.tokens, Iterable) else ()
        if not tokens or not all(map(_is_token, tokens)):
            raise PolicyError(
                f"BreakReasoning: tokens is {self.tokens!r}, but has to be the ids of the tokens that end the "
                "reasoning: tokenizer.encode('</think>', add_special_tokens=False), for example"
            )
        object.__setattr__(self, "tokens", tokens)


@dataclass(frozen=True, slots=True, repr=False)
class Retry(_Policy):
    """Runs the prompt again with other settings where the finished run was bad. For `CoreVitalMonitor` alone."""

    kind: ClassVar[Literal["retry"]] = "retry"
    on: Trigger | Sequence[Trigger] = "repetition_loop"
    changes: Mapping[str, Any] = field(default_factory=lambda: dict(ROLL_BACK_CHANGES))
    """Keywords of `generate()` for the new run."""
    max: int = 1
    """How often at most, at least 1."""

    def __post_init__(self) -> None:
        self._read()
        _at_least("Retry", "max", self.max, 1)
        _check_changes("Retry", self.changes)


ROLL_BACK_CHANGES: Final[Mapping[str, Any]] = {"do_sample": True, "temperature": 1.0, "repetition_penalty": 1.2}
"""What is changed after a rollback where the caller names nothing."""

FIXED: Final = frozenset(
    {
        *("inputs", "input_ids", "inputs_embeds", "attention_mask", "position_ids", "token_type_ids", "tokenizer"),
        *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "max_time"),
        *("num_beams", "num_return_sequences", "assistant_model", "prompt_lookup_num_tokens", "custom_generate"),
        *("past_key_values", "use_cache", "cache_implementation", "cache_config", "prefill_chunk_size"),
        *("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states"),
        *("generation_config", "streamer", "synced_gpus", "logits_processor", "stopping_criteria"),
    }
)
"""Keywords of `generate()` that a rollback cannot change: what the call takes, how long it is and what it returns."""

Policy = Stop | CoolDown | RollBack | BreakReasoning | Retry
"""Any of the policies."""


def stop_on(text: str) -> Stop:
    """Return the policy that the option `stop_on` means: conditions with commas between them.

    Raises:
        PolicyError: if one of them is none.
    """
    return Stop(on=[each for each in (part.strip() for part in text.split(",")) if each])


def check_policies(policies: Any, *, retry: bool = False) -> tuple[Policy, ...]:
    """Return policies as they were given.

    Args:
        policies: a list that somebody gave.
        retry: whether `Retry` may be among them.

    Raises:
        PolicyError: if one is none, or cannot work here.
    """
    if isinstance(policies, str) or not isinstance(policies, Sequence):
        raise PolicyError(f"policies: a list of policies is needed, not {policies!r}")
    for policy in policies:
        if not isinstance(policy, Policy):
            raise PolicyError(
                f"policies: {policy!r} is no policy; give objects such as Stop(on='repetition_loop'), "
                "and CoolDown, RollBack, BreakReasoning or Retry likewise"
            )
        if isinstance(policy, Retry) and not retry:
            raise PolicyError("policies: Retry runs a prompt again, which only CoreVitalMonitor can do")
    return tuple(policies)


def is_coroutine_function(function: Any) -> bool:
    """Return whether calling something only makes a coroutine, for which nobody would wait."""
    of_class = type(function).__call__ if callable(function) else None
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(of_class)


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _at_least(policy: str, name: str, value: Any, least: int, *, or_else: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PolicyError(f"{policy}: {name} is {value!r}, but has to be {or_else}a whole number from {least} on")


def _check_changes(policy: str, changes: Any) -> None:
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        raise PolicyError(f"{policy}: changes has to be keywords of generate() with their values, not {changes!r}")

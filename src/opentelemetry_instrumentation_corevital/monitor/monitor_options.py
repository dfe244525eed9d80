"""What a monitor is made with, checked once."""

import difflib
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..catalogue.warnings import EARLY_WARNINGS
from ..config import Settings, SettingsError, load_settings, settings_over
from ..policies import Condition, Policy, PolicyError, Retry, check_policies, is_coroutine_function, stop_on
from .step_queue import Overflow

_FAILURE_RISK: Final = "failure_risk>"
_WARNINGS: Final = frozenset(each.name for each in EARLY_WARNINGS)

INTERVENE_ON_SIGNALS: Final = ("repetition_risk",)
"""The default, for which nobody has asked: told from the same one given by its identity."""


class DefaultText(str):
    """A default that can be told from the same text given: then the option's environment variable counts."""

    __slots__ = ()


class DefaultNumber(float):
    """A default that can be told from the same number given: then the option's environment variable counts."""

    __slots__ = ()


CAPTURE_MODE: Final = DefaultText("summary")
RISK_THRESHOLD: Final = DefaultNumber(0.7)


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What a monitor is made with."""

    settings: Settings
    keywords: Mapping[str, Any]
    """The options among them that were given, by name."""
    policies: tuple[Policy, ...]
    retries: tuple[Retry, ...]
    early_warning: bool

    def over(self, others: Settings) -> Settings:
        """Return the options that were given, and for the rest those of `others`."""
        return settings_over(others, self.settings, self.keywords.keys())


def monitor_options(
    keywords: Mapping[str, Any], policies: Sequence[Policy], *, own: Any, early_warning: bool
) -> MonitorOptions:
    """Check what a monitor is made with.

    Args:
        keywords: the options of `Settings` that were given, and `capture_mode`.
        policies: what may act on its runs.
        own: the monitor's constructor, whose own keywords count as well where one is misspelt.
        early_warning: whether early warnings are made.

    Raises:
        SettingsError: for an unknown option, a bad value, or two that do not go together.
        PolicyError: for what is no policy, or one that waits for a warning that is not made.
    """
    given = dict(keywords)
    if "capture_mode" in given and "capture" in given:
        raise SettingsError("CoreVital: capture_mode and capture are two names of one option; give one of them")
    if "capture_mode" in given:
        given["capture"] = given.pop("capture_mode")
    if given.get("enabled", True) is not True:
        raise SettingsError("CoreVital: enabled=False makes no sense for a monitor: call generate() without one")
    _check_names(given, own)
    settings = load_settings(given | {"enabled": True})
    checked = check_policies(policies, retry=True)
    if not early_warning:
        for policy in (*checked, *([stop_on(settings.stop_on)] if settings.stop_on else [])):
            _check_conditions(policy)
    retries = tuple(policy for policy in checked if isinstance(policy, Retry))
    acting = tuple(policy for policy in checked if not isinstance(policy, Retry))
    return MonitorOptions(settings, given, acting, retries, early_warning)


def check_store(value: Any) -> None:
    """See to it that a store is a path or None.

    Raises:
        SettingsError: if it is neither.
    """
    if value is not None and not isinstance(value, str | os.PathLike):
        raise SettingsError(f"CoreVital: store is {value!r}, but has to be the path of a file, or None")


def check_flag(name: str, value: Any) -> None:
    """See to it that a switch is one.

    Raises:
        SettingsError: if it is not True or False.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"CoreVital: {name} is {value!r}, but has to be True or False")


def check_callback(name: str, value: Any) -> None:
    """See to it that a callback can be called.

    Raises:
        SettingsError: if it is neither a function nor None, or a coroutine function, for which nobody would wait.
    """
    if value is not None and not callable(value):
        raise SettingsError(f"CoreVital: {name} is {value!r}, but has to be a function")
    if is_coroutine_function(value):
        raise SettingsError(f"CoreVital: {name} is called by the thread that generates, so it cannot be a coroutine")


def check_tokenizer(tokenizer: Any) -> None:
    """See to it that something is a tokenizer, or None.

    Raises:
        TypeError: if it is neither.
    """
    if tokenizer is not None and not callable(getattr(tokenizer, "decode", None)):
        raise TypeError(f"tokenizer: give a tokenizer, not {type(tokenizer).__name__}")


def check_buffer(buffer: Any, overflow: Any) -> tuple[int, Overflow]:
    """Return how many steps a stream holds, and what happens beyond.

    Raises:
        ValueError: if one is not what it has to be.
    """
    if not isinstance(buffer, int) or isinstance(buffer, bool) or buffer < 1:
        raise ValueError(f"buffer is {buffer!r}, but has to be a whole number from 1 on")
    if overflow not in ("block", "drop_oldest"):
        raise ValueError(f"overflow is {overflow!r}, but has to be 'block' or 'drop_oldest'")
    return buffer, overflow


def _check_names(given: Mapping[str, Any], own: Any) -> None:
    """Name the nearest option for a misspelt one, among the constructor's own keywords, too."""
    ours = [name for name, each in inspect.signature(own).parameters.items() if each.kind is not each.VAR_KEYWORD]
    for name in given:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, [*Settings.model_fields, *ours[1:]], n=1)
            if near and near[0] in ours:
                raise SettingsError(f"CoreVital: unknown option {name!r}; did you mean {near[0]!r}?")


def check_signals(found: Sequence[Condition]) -> None:
    """See to it that nobody waits for an early warning where none is made.

    Raises:
        PolicyError: if one of these conditions does.
    """
    for each in found:
        if needs_early_warning(each):
            raise PolicyError(f"intervene_on_signals: {each.name!r} is switched off by enable_early_warning=False")


def needs_early_warning(found: Condition) -> bool:
    """Return whether a condition can be true only where early warnings are made."""
    return found.name in _WARNINGS or found.name.startswith(_FAILURE_RISK)


def _check_conditions(policy: Policy) -> None:
    for each in policy.conditions:
        if needs_early_warning(each):
            raise PolicyError(
                f"policies: {type(policy).__name__} acts on {each.name!r}, which "
                "enable_early_warning=False switches off"
            )

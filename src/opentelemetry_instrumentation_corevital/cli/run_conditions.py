"""The options that say which stored runs a command is about: the same ones for every command that takes them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from ..store import RunFilter
from .options import (
    AnswerAbove,
    AnswerBelow,
    BaselineFrom,
    EndedBy,
    Flag,
    HasWarning,
    Intervened,
    Label,
    Level,
    LongerThan,
    Model,
    OfExperiment,
    OfService,
    PromptHash,
    RiskAbove,
    RiskBelow,
    Since,
    TokensAbove,
    Until,
    WithText,
    since_ns,
)

_WANTED: Final = "wanted"


@dataclass(frozen=True, slots=True)
class RunConditions:
    """The options, in the order in which help lists them."""

    model: Model = None
    since: Since = None
    until: Until = None
    service: OfService = None
    experiment: OfExperiment = None
    risk_above: RiskAbove = None
    risk_below: RiskBelow = None
    answer_above: AnswerAbove = None
    answer_below: AnswerBelow = None
    level: Level = None
    flag: Flag = None
    warning: HasWarning = None
    prompt_hash: PromptHash = None
    label: Label = None
    longer_than: LongerThan = None
    tokens_above: TokensAbove = None
    stop_reason: EndedBy = None
    intervened: Intervened = False
    baseline_source: BaselineFrom = None
    search: WithText = None

    def run_filter(self) -> RunFilter:
        """Return the conditions as a store takes them.

        Raises:
            UserError: for a time that is none.
            StoreError: for a level, flag, stop reason or source that there is not.
        """
        return RunFilter(
            model=self.model,
            since_ns=since_ns(self.since),
            until_ns=since_ns(self.until, "--until"),
            service=self.service,
            experiment=self.experiment,
            risk_above=self.risk_above,
            risk_below=self.risk_below,
            answer_above=self.answer_above,
            answer_below=self.answer_below,
            level=self.level,
            flag=self.flag,
            warning=self.warning,
            prompt_hash=self.prompt_hash,
            label=self.label,
            longer_than=self.longer_than,
            tokens_above=self.tokens_above,
            stop_reason=self.stop_reason,
            intervened=self.intervened or None,
            baseline_source=self.baseline_source,
            text=self.search,
        )


_OPTIONS: Final = inspect.signature(RunConditions).parameters


def choosing_runs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all these options where its parameter `wanted` stands, which gets the `RunFilter` of them."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _OPTIONS}
        command(**given, wanted=RunConditions(**chosen).run_filter())

    parameters = list[inspect.Parameter]()
    for each in inspect.signature(command).parameters.values():
        parameters += _OPTIONS.values() if each.name == _WANTED else [each]
    # typer reads both. Keywords: `wanted` has no default, and may stand behind options that have one.
    shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    with_options.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in shown}
    return with_options

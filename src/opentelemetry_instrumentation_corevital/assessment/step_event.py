"""What is known of one step while its run goes on."""

from collections.abc import Iterator, Mapping
from typing import Any

from .._internal.short_repr import short_value


class StepEvent(Mapping[str, Any]):
    """One step of one sequence: a read-only mapping whose values are attributes, too.

    Keys, in this order: `step_index`; `token_id`; `token_text`, None where nothing decodes it; `entropy` and
    `surprisal` (bit), None where they were not measured; `risk_so_far` in [0, 1]; `warning_signals`, the early
    warnings that are true at this step; `margin` in [0, 1]; `failure_risk` in [0, 1]; `flags`, the health flags
    raised so far; `sequence_index`; `time`, Unix time in seconds; `answer_so_far`, the probability in [0, 1] that the
    answer up to here is wrong, None outside the support of the answer risk. Without early warnings there are no
    `warning_signals` and no `failure_risk`.
    """

    __slots__ = ("_values",)

    _values: Mapping[str, Any]

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_values")[name]
        except (KeyError, AttributeError):
            raise AttributeError(f"a step's event has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a step's event is read-only: {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return StepEvent, (dict(self._values),)

    def __repr__(self) -> str:
        return f"StepEvent({short_value(dict(self._values))})"

"""What `corevital run --prompts` has in the end: a line for each prompt, the worst first; printed or as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .._internal.printable import one_line, printable
from .._internal.user_error import UserError
from ..catalogue.spelling import for_people
from ..presentation.panel import level_style
from ..store import RunSummary
from ..store.filters import LEVELS
from .printing import console
from .prompt_set import SetPrompt

_MOST_ID: Final = 24
_MOST_WORD: Final = 40
_NAMED: Final = 3
_GAP: Final = 2
_SHORTEST_ASKED: Final = 12
_GO_FIRST: Final = ("run", "finish", "tokens", "of")
_NUMBERS: Final = ("tokens", "of")


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """What became of one prompt."""

    prompt: SetPrompt
    runs: Sequence[RunSummary]
    """Of its newest whole call, one per sequence; empty: it is not answered."""
    before: bool
    """Whether it was answered by an earlier command."""
    why: str | None = None
    """Why it could not be answered."""

    @property
    def worst(self) -> RunSummary | None:
        """Return the run of the highest risk."""
        return max(self.runs, key=lambda run: -1.0 if run.risk_score is None else run.risk_score, default=None)

    @property
    def badness(self) -> float:
        """Return what prompts are ordered by: those without an answer are worse than any risk."""
        if self.worst is None:
            return 2.0
        return -1.0 if self.worst.risk_score is None else self.worst.risk_score


@dataclass(frozen=True, slots=True)
class SetResults:
    """What is stored of a prompt set."""

    outcomes: Sequence[PromptOutcome]
    database: str
    experiment: str | None
    sent: Sequence[str]
    """Where spans were sent to by OTLP, in words."""

    @property
    def risk(self) -> float:
        """Return the highest risk; 0 where none was judged."""
        return max((run.risk_score or 0.0 for each in self.outcomes for run in each.runs), default=0.0)

    @property
    def problem(self) -> UserError | None:
        """Return what there is to say of prompts without an answer; None: all have one."""
        failed = [each for each in self.outcomes if not each.runs]
        if not failed:
            return None
        named = "; ".join(f"{each.prompt.id}: {each.why or 'no whole answer is stored'}" for each in failed[:_NAMED])
        more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        return UserError(
            f"{len(failed)} of {len(self.outcomes)} prompts have no answer ({named}{more}); the same command asks them "
            "again."
        )

    def print(self) -> None:
        """Print a line for each prompt, and what all of them come to."""
        out = console()
        out.print(_table(self._worst_first(), out.width))
        out.print(self._summary(), soft_wrap=True)
        named = [] if self.experiment is None else [f"experiment {self.experiment}"]
        out.print(Text(printable(", ".join([f"stored in {self.database}", *named, *self.sent])), "dim"), soft_wrap=True)

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; prompts are in it by id and line, without their text."""
        return {
            "database": self.database,
            "experiment": self.experiment,
            "prompts": [
                {
                    "id": each.prompt.id,
                    "line": each.prompt.line,
                    "answered_before": each.before,
                    "error": each.why,
                    "runs": [run.as_dict() for run in each.runs],
                }
                for each in self._worst_first()
            ],
        }

    def _worst_first(self) -> list[PromptOutcome]:
        return sorted(
            self.outcomes,
            key=lambda each: (-each.badness, each.worst is None or each.worst.expected_found is not False),
        )

    def _summary(self) -> str:
        worst = [each.worst for each in self.outcomes if each.worst is not None]
        levels = Counter(run.risk_level for run in worst)
        parts = [f"{levels[level]} {level}" for level in reversed(LEVELS) if levels[level]]
        failed = len(self.outcomes) - len(worst)
        parts += [f"{failed} without an answer"] if failed else []
        expecting = [run for run in worst if run.expected_found is not None]
        told = [f"{len(self.outcomes)} prompts: {', '.join(parts) or 'none judged'}"]
        if expecting:
            found = sum(any(run.expected_found for run in each.runs) for each in self.outcomes)
            told.append(f"the expected text is in {found} of {len(expecting)} answers")
        if before := sum(each.before for each in self.outcomes):
            told.append(f"{before} answered before (--again asks them again)")
        return "; ".join(told)


def _table(outcomes: Sequence[PromptOutcome], width: int) -> Table:
    """Return a line for each prompt. Where it is narrow, what is asked is cut off first, then columns go."""
    columns = _columns(outcomes)
    for name in ("", *_GO_FIRST):
        columns.pop(name, None)
        if _needed(columns) + _GAP + _SHORTEST_ASKED <= width:
            columns["asked"] = [Text(each.prompt.shown) for each in outcomes]
            break
        if _needed(columns) <= width:
            break
    room = width - _needed({name: cells for name, cells in columns.items() if name != "asked"}) - _GAP
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        if name == "asked":
            table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=room)
        else:
            table.add_column(name, no_wrap=True, justify="right" if name in _NUMBERS else "left")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _columns(outcomes: Sequence[PromptOutcome]) -> dict[str, list[Text]]:
    columns = {
        "prompt": [Text(one_line(each.prompt.id, _MOST_ID)) for each in outcomes],
        "risk": [_risk(each.worst) for each in outcomes],
        "flags": [_flags(each) for each in outcomes],
        "expected": [_expected(each.worst) for each in outcomes],
        "tokens": [Text(_word(each.worst and each.worst.output_tokens)) for each in outcomes],
        "finish": [Text(_finish(each.worst)) for each in outcomes],
        "of": [Text(str(len(each.runs))) for each in outcomes],
        "run": [Text(_word(each.worst and each.worst.trace_id[:12])) for each in outcomes],
    }
    if not any(run.expected_found is not None for each in outcomes for run in each.runs):
        del columns["expected"]
    if not any(len(each.runs) > 1 for each in outcomes):
        del columns["of"]
    return columns


def _needed(columns: Mapping[str, Sequence[Text]]) -> int:
    """Return the width at which nothing is cut off, each flag on a line of its own."""
    total = _GAP * (len(columns) - 1)
    for name, cells in columns.items():
        parts = [part for cell in cells for part in (cell.plain.splitlines() if name == "flags" else [cell.plain])]
        total += max(map(cell_len, (name, *parts)))
    return total


def _word(value: object) -> str:
    return "-" if value is None else one_line(str(value), _MOST_WORD)


def _risk(run: RunSummary | None) -> Text:
    if run is None:
        return Text("no answer", "bold red")
    told = "-" if run.risk_score is None else f"{run.risk_score:.2f} {one_line(run.risk_level or '', _MOST_ID)}"
    return Text(told.strip(), level_style(run.risk_level))


def _flags(each: PromptOutcome) -> Text:
    if each.worst is None:
        return Text(one_line(each.why or "-", _MOST_WORD))
    names = ",\n".join(map(for_people, each.worst.flags))
    return Text(names or ("-" if each.worst.judged else "unknown"))


def _finish(run: RunSummary | None) -> str:
    return _word(None if run is None else run.stop_reason or run.finish_reason)


def _expected(run: RunSummary | None) -> Text:
    if run is None or run.expected_found is None:
        return Text("-")
    return Text("found") if run.expected_found else Text("missing", "yellow")

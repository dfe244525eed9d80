"""Moving reports of the first CoreVital into a store."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..config import Settings
from ..store import StoreError, StoreWriter
from ..store.database import check_place
from ..store.maintenance import run_ids
from .report_reader import ReportError, ids_of, read_report
from .report_sources import find


@dataclass(slots=True)
class Outcome:
    """What became of the reports that were found."""

    migrated: int = 0
    already_there: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Where, and why."""


def migrate(folder: Path, target: Path, settings: Settings, *, content: bool, dry_run: bool) -> Iterator[Outcome]:
    """Move every report of a folder into a store; yield the outcome so far after each.

    Each report goes in whole or not at all; one that is there already stays as it is.

    Args:
        folder: where the reports and databases of the first CoreVital are.
        target: the store; made if there is none.
        settings: how prompts are hashed.
        content: whether texts, tokens and documents are kept.
        dry_run: read everything, write nothing.

    Raises:
        StoreError: if the folder or the store cannot be used.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder}: is no folder; --from-dir names the one with the reports.")
    outcome = Outcome()
    there = _there(target)
    writer = None if dry_run else StoreWriter(target, synchronous="FULL")
    try:
        for found in find(folder, but=target):
            if found.problem is None:
                _move(found.report, found.where, writer, there, outcome, settings, content=content)
            else:
                outcome.skipped.append((found.where, found.problem))
            yield outcome
    finally:
        if writer is not None:
            writer.close()


def _move(
    report: object,
    where: str,
    writer: StoreWriter | None,
    there: set[tuple[str, str]],
    outcome: Outcome,
    settings: Settings,
    *,
    content: bool,
) -> None:
    try:
        if isinstance(report, dict) and isinstance(report.get("trace_id"), str) and ids_of(report) in there:
            outcome.already_there += 1
            return
        read = read_report(report, settings, content=content)
    except ReportError as error:
        outcome.skipped.append((where, str(error)))
        return
    except (
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:  # of a shape nobody thought of
        outcome.skipped.append((where, f"cannot be understood ({type(error).__name__}: {error})"))
        return
    if writer is not None:
        receipt = writer.store(read.records, timeout=120)
        if not receipt.durable:
            reason = "; ".join(receipt.reasons) or "the store did not answer in time"
            if receipt.failed_records:
                raise StoreError(reason)
            outcome.skipped.append((where, reason))
            return
    there.add((read.trace_id, read.span_id))
    outcome.migrated += 1


def _there(target: Path) -> set[tuple[str, str]]:
    """Return the trace and span ids of the runs that the store holds."""
    if not target.exists():
        check_place(target)
        return set()
    return run_ids(target)

"""What directory and headers of a run's data say is wrong with them, kept in the run's row: lists read nothing else.

Span and data come in any order, so whichever is stored second notes it.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from .. import semconv
from .checked_attributes import RUN_DATA, Damage, Findings, damage_json, read_damage
from .common_rows import integer

_OF_RUN: Final = "WHERE trace_id = ? AND span_id = ?"
_MOST_DATA: Final = 128 * 1024**2
"""Bytes that are read to be checked; more are damage to whoever reads the run, too."""
_DATA: Final = f"SELECT CASE WHEN length(data) <= {_MOST_DATA} THEN data END FROM run_data {_OF_RUN}"
_SAID: Final = (
    f"SELECT json_extract(attributes, '$.\"{semconv.STEPS_TOTAL}\"'), "
    f"json_extract(attributes, '$.\"{semconv.MODEL_LAYER_COUNT}\"') FROM spans {_OF_RUN}"
)


def note_damage_of_data(connection: sqlite3.Connection, key: Sequence[Any], data: bytes | None = None) -> Damage:
    """Write into a run's row what is wrong with its data, in place of what was wrong with earlier ones.

    Args:
        connection: in a transaction.
        key: trace id and span id.
        data: the run data; None: those that are stored, if any are.

    Returns:
        what is wrong with the data, also where there is no row yet.
    """
    row = connection.execute(f"SELECT damage FROM runs {_OF_RUN}", key).fetchone()
    if data is None:
        found = connection.execute(_DATA, key).fetchone()
        data = None if found is None else found[0]
    if data is None:
        return {}
    wrong = _wrong_with(data, *(connection.execute(_SAID, key).fetchone() or (None, None)))
    if row is not None:
        said = Findings()
        read_damage(row[0], said)
        damage = {name: why for name, why in said.named.items() if name.partition(".")[0] != RUN_DATA}
        told = damage_json({**damage, **wrong})
        if told != row[0]:
            connection.execute(f"UPDATE runs SET damage = ? {_OF_RUN}", (told, *key))
    return wrong


def _wrong_with(data: bytes, steps: Any, layers: Any) -> Damage:
    from .checked_columns import header_damage  # NumPy

    try:
        return header_damage(data, steps=integer(steps), layers=integer(layers))
    except ValueError as error:
        return {RUN_DATA: f"is {error}"}
